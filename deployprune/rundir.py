"""The run directory: one record a step, written whole, chained by the hashes of what it was made from.

    with RunDirectory.create(Path("runs"), config) as run:
        analysis = run.step(ANALYSIS, lambda: analyze(...), inputs=[MODEL])
        plan = run.step(PLAN, lambda: plan_widths(...), inputs=[ANALYSIS])

A step that has its record already is not computed again, which is all that resuming is.
"""

from __future__ import annotations

import datetime
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from deployprune.codec import decode, encode, read_envelope
from deployprune.config import Config, dump_config, parse_config
from deployprune.errors import DeployPruneError, ExportError, RunDirectoryError
from deployprune.files import make_new_folder, remove_unfinished, sha256_bytes, write_atomic
from deployprune.lock import Lock, is_locked
from deployprune.provenance import hash_inputs, require_same
from deployprune.records import LatencyTable
from deployprune.steps import ANALYSIS, Step, find_step, table_step

__all__ = ["CONFIG_FILE", "RunDirectory", "name_run"]

T = TypeVar("T")
CONFIG_FILE = "config.yaml"
RECORDS = "[0-9][0-9]-*.json"
_RESUMABLE = (ExportError, RunDirectoryError)  # a full disk, for one: the run can go on once there is room


class RunDirectory:
    """A folder of records and artifacts (``root``) and the configuration they came from (``config``).

    A run that was created or opened holds a lock until its ``with`` block, or :meth:`close`, gives it back. A new run
    that is refused before its model was analysed leaves no directory: what it asked for cannot be done.
    """

    def __init__(self, root: Path, config: Config, lock: Lock | None, *, is_new: bool = False) -> None:
        self.root = root
        self.config = config
        self._lock = lock
        self._is_new = is_new

    @classmethod
    def create(cls, folder: Path, config: Config, *, name: str | None = None) -> Self:
        """Make a new run in ``folder``, called ``name`` or what :func:`name_run` says."""
        root = make_new_folder(folder, name or name_run(config))
        lock = Lock(root)
        write_atomic(root / CONFIG_FILE, dump_config(config).encode())
        return cls(root, config, lock, is_new=True)

    @classmethod
    def open(cls, root: Path) -> Self:
        """Open a run to go on with it.

        Raises RunDirectoryError when another process has it, a record is damaged, or something that a record was
        made from has changed. Records whose inputs are gone are removed, so that their steps are done again.
        """
        config = _read_config(root)
        lock = Lock(root)
        run = cls(root, config, lock)
        try:
            remove_unfinished(root)
            run._check_chain()
        except RunDirectoryError:
            lock.release()
            raise
        return run

    @classmethod
    def view(cls, root: Path) -> Self:
        """Open a run to read its records only: no lock, and nothing but the records has to be there."""
        return cls(root, _read_config(root), None)

    def path(self, name: str) -> Path:
        """The place of an artifact such as ``export/model.onnx``; its folder is made."""
        path = self.root / name
        if self._lock is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def is_held(self) -> bool:
        """Whether some process works in the run."""
        return is_locked(self.root)

    def has(self, step: Step[Any]) -> bool:
        """Whether the step has ended."""
        return (self.root / step.filename).is_file()

    def read(self, step: Step[T]) -> T:
        """The step's record. Raises RunDirectoryError when it is missing or damaged."""
        return decode(self._bytes_of(step.filename), step.kind, name=str(self.root / step.filename))

    def find(self, step: Step[T]) -> T | None:
        """The step's record, or None where the step has not ended."""
        return self.read(step) if self.has(step) else None

    def table_files(self) -> list[Path]:
        """The files of the latency tables that are there."""
        return sorted(self.root.glob(f"{table_step('').name}*.json"))

    def tables(self) -> dict[str, LatencyTable]:
        """The latency tables that are there, by target key."""
        keys = (file.stem.removeprefix(table_step("").name) for file in self.table_files())
        return {key: self.read(table_step(key)) for key in keys}

    def records(self) -> dict[str, Any]:
        """Every record that is there, by the name of its step."""
        names = (file.stem for file in sorted(self.root.glob(RECORDS)))
        return {name: self.read(step) for name in names if (step := find_step(name))}

    def step(
        self,
        step: Step[T],
        compute: Callable[[], T],
        *,
        inputs: Iterable[Step[Any]] = (),
        files: Iterable[Path] = (),
    ) -> T:
        """The step's record: the stored one, or what ``compute`` gives, written before it is returned.

        ``inputs`` are the steps and ``files`` the files (in the run or outside) that it is made from; the effective
        configuration always is one. Raises RunDirectoryError when a stored record was made from other inputs.
        """
        hashes = self._hash_inputs(inputs, files)
        if self.has(step):
            require_same(self.root / step.filename, read_envelope(self._bytes_of(step.filename)).inputs, hashes)
            return self.read(step)
        record = compute()
        self.write(step, record, hashes)
        return record

    def write(self, step: Step[T], record: T, inputs: dict[str, str] | None = None) -> None:
        """Write the step's record with the hashes of its inputs. Raises RunDirectoryError on a full disk."""
        write_atomic(self.root / step.filename, encode(record, inputs))

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        """The run itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Give the lock back."""
        refused = isinstance(error, DeployPruneError) and not isinstance(error, _RESUMABLE)
        if self._is_new and refused and not self.has(ANALYSIS):
            shutil.rmtree(self.root)
        self.close()

    def _hash_inputs(self, inputs: Iterable[Step[Any]], files: Iterable[Path]) -> dict[str, str]:
        records = (self.root / step.filename for step in inputs)
        return hash_inputs(self.root, [self.root / CONFIG_FILE, *records, *files])

    def _check_chain(self) -> None:
        for file in sorted(self.root.glob(RECORDS)):
            known = find_step(file.stem)
            if known is None:
                raise RunDirectoryError(f"{file} is no step's record", hint="move it out of the run directory")
            self.read(known)
            stored = read_envelope(file.read_bytes()).inputs
            gone = [name for name in stored if find_step(Path(name).stem) and not (self.root / name).exists()]
            if gone:
                file.unlink()
                continue
            require_same(file, stored, hash_inputs(self.root, [self.root / name for name in stored]))

    def _bytes_of(self, filename: str) -> bytes:
        try:
            return (self.root / filename).read_bytes()
        except OSError as error:
            raise RunDirectoryError(f"cannot read {self.root / filename}: {error.strerror}") from error


def name_run(config: Config, *kind: str) -> str:
    """``<model>-<kind>-<date>-<hash of the configuration>``."""
    date = datetime.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    return "-".join((_model_name(config), *kind, date, sha256_bytes(dump_config(config).encode())[:6]))


def _read_config(root: Path) -> Config:
    path = root / CONFIG_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RunDirectoryError(
            f"{root} is not a run directory: {CONFIG_FILE} cannot be read ({error.strerror})",
            hint="name the folder that compress made, such as runs/model-20260102-101500-1a2b3c",
        ) from error
    return parse_config(text, str(path))


def _model_name(config: Config) -> str:
    stem = Path((config.model.source or "model").rpartition(":")[2]).stem
    return re.sub(r"[^A-Za-z0-9_.]+", "-", stem).strip("-.") or "model"
