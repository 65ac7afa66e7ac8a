"""The folder of a sweep: its configuration, its record, and one run directory a speed-up.

    runs/model-sweep-20260102-101500-1a2b3c/
        sweep.yaml  sweep.json  1.5x/  2x/  3x/

The first run measures the latency tables; the others are configured to use its files.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from deployprune.codec import decode, encode
from deployprune.config import Config, dump_config, parse_config
from deployprune.errors import DeployPruneError, RunDirectoryError
from deployprune.files import make_new_folder, write_atomic
from deployprune.lock import Lock
from deployprune.records import SweepPoint, SweepRecord
from deployprune.rundir import CONFIG_FILE, RunDirectory, name_run

__all__ = ["SweepDirectory"]

_CONFIG = "sweep.yaml"
_RECORD = "sweep.json"


class SweepDirectory:
    """A sweep's folder (``root``) and the configuration that its runs have in common (``config``).

    A sweep that was created or opened holds a lock until its ``with`` block gives it back. A new one that is refused
    before it has a run leaves no folder.
    """

    def __init__(self, root: Path, config: Config, lock: Lock | None, *, is_new: bool = False) -> None:
        self.root = root
        self.config = config
        self._lock = lock
        self._is_new = is_new

    @classmethod
    def create(cls, folder: Path, config: Config, speedups: Sequence[float]) -> Self:
        """Make a new sweep over ``speedups`` in ``folder``."""
        root = make_new_folder(folder, name_run(config, "sweep"))
        sweep = cls(root, config, Lock(root), is_new=True)
        write_atomic(root / _CONFIG, dump_config(_without_budgets(config)).encode())
        points = tuple(SweepPoint(speedup=factor, run=f"{factor:g}x") for factor in sorted(set(speedups)))
        sweep.write(SweepRecord(model=Path(config.model.source or "model").name, points=points))
        return sweep

    @classmethod
    def open(cls, root: Path, *, trust_pickle: bool = False) -> Self:
        """Open a sweep to go on with it; a permission to load any pickle has to be given anew.

        Raises RunDirectoryError for another folder, or one that is in use.
        """
        config = _read_config(root)
        model = msgspec.structs.replace(config.model, trust_pickle=trust_pickle)
        return cls(root, msgspec.structs.replace(config, model=model), Lock(root))

    @staticmethod
    def holds_sweep(root: Path) -> bool:
        """Whether ``root`` is the folder of a sweep."""
        return (root / _RECORD).is_file()

    @staticmethod
    def view(root: Path) -> SweepRecord:
        """The record of the sweep in ``root``; nothing else has to be there. Raises RunDirectoryError for none."""
        try:
            content = (root / _RECORD).read_bytes()
        except OSError as error:
            raise _not_a_sweep(root, _RECORD, error) from error
        return decode(content, SweepRecord, name=str(root / _RECORD))

    def read(self) -> SweepRecord:
        """The record as it is now."""
        return self.view(self.root)

    def write(self, record: SweepRecord) -> None:
        """Write the record. Raises RunDirectoryError on a full disk."""
        write_atomic(self.root / _RECORD, encode(record))

    def open_run(self, point: SweepPoint) -> RunDirectory:
        """The point's run: the one that was begun, or a new one that uses the latency tables that are there."""
        if (self.root / point.run / CONFIG_FILE).is_file():
            return RunDirectory.open(self.root / point.run)
        shutil.rmtree(self.root / point.run, ignore_errors=True)  # killed before it had its configuration
        return RunDirectory.create(self.root, self._configure(point), name=point.run)

    def _configure(self, point: SweepPoint) -> Config:
        replace = msgspec.structs.replace
        config, first = _without_budgets(self.config), self.root / self.read().points[0].run
        if point.run != first.name and (tables := RunDirectory.view(first).table_files()):
            config = replace(config, table=replace(config.table, files=[str(file) for file in tables]))
        target = replace(config.target, speedup=f"{point.speedup:g}x")
        return replace(config, target=target, output=str(self.root))

    def __enter__(self) -> Self:
        """The sweep itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Give the lock back."""
        refused = self._is_new and isinstance(error, DeployPruneError)
        if refused and not any((self.root / point.run).exists() for point in self.read().points):
            shutil.rmtree(self.root)
        if self._lock is not None:
            self._lock.release()


def _without_budgets(config: Config) -> Config:
    replace = msgspec.structs.replace
    targets = [replace(condition, latency=None, speedup=None) for condition in config.targets]
    return replace(config, target=replace(config.target, latency=None, speedup=None), targets=targets)


def _read_config(root: Path) -> Config:
    try:
        text = (root / _CONFIG).read_text(encoding="utf-8")
    except OSError as error:
        raise _not_a_sweep(root, _CONFIG, error) from error
    return parse_config(text, str(root / _CONFIG))


def _not_a_sweep(root: Path, name: str, error: OSError) -> RunDirectoryError:
    return RunDirectoryError(
        f"{root} is not the folder of a sweep: {name} cannot be read ({error.strerror})",
        hint="name the folder that sweep made, such as runs/model-sweep-20260102-101500-1a2b3c; "
        "a single run is resumed with `deployprune compress --resume`",
    )
