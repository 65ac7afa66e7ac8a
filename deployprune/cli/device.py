"""``deployprune profile`` without a model: measure this device, check a table of it, or merge two."""

from __future__ import annotations

from pathlib import Path

from deployprune.cli.common import Output
from deployprune.config import Config
from deployprune.errors import UsageError

__all__ = ["check_file", "merge_files", "profile_device"]


def profile_device(
    output: Output, config: Config, *, folder: Path, budget_seconds: float, pictures: Path | None
) -> None:
    """Measure the suite on every configured backend, one table file each below ``folder``."""
    from rich.console import Group

    from deployprune.backends.devices.address import LOCAL
    from deployprune.backends.registry import backend_of
    from deployprune.device.files import table_path, write_table
    from deployprune.device.measuring import measure_device
    from deployprune.records.naming import label_targets
    from deployprune.reporting.device import render_device
    from deployprune.reporting.pictures.files import draw_device, require_pictures
    from deployprune.units import format_share

    if pictures is not None:
        require_pictures()
    observer, tables = output.observer(), {}
    for target, label in label_targets(config.budgets).items():
        backend_of(target)
        where = "this device" if target.device == LOCAL else target.device
        with observer.step(f"Measuring {where} with {label}") as task:
            table = measure_device(target, budget_s=budget_seconds, seed=config.seed, task=task)
            task.finish(f"channel step {table.channel_step}, noise {format_share(table.noise)}")
        path = table_path(folder, table)
        write_table(path, table)
        observer.message(f"table: {path}")
        tables[str(path)] = table
        for picture in draw_device(table, pictures) if pictures is not None else ():
            observer.message(f"picture: {picture}")
    output.show(tables, lambda: Group(*map(render_device, tables.values())))


def check_file(output: Output, path: Path, *, force: bool, seed: int) -> None:
    """Measure a few cells of a table again; ends the command with the verdict's exit code."""
    from deployprune.backends.registry import backend_of
    from deployprune.device.checking import check_table
    from deployprune.device.files import read_table
    from deployprune.reporting.device import render_check

    table = read_table(path)
    backend_of(table.target)
    with output.observer().step(f"Checking {path.name} on this device") as task:
        check = check_table(path.name, table, force=force, seed=seed, task=task)
        task.finish(check.verdict)
    output.show(check, lambda: render_check(check))
    output.end(check.verdict)


def merge_files(output: Output, paths: tuple[Path, Path], destination: Path | None, *, force: bool) -> None:
    """Write the samples of two tables of this kind as one table, fitted anew."""
    from deployprune.device.files import read_table, write_table
    from deployprune.device.merging import merge_tables
    from deployprune.reporting.device import render_device

    if destination is None:
        raise UsageError("there is no file to write the merged table to", hint="name one with --output FILE")
    merged = merge_tables(read_table(paths[0]), read_table(paths[1]), force=force)
    write_table(destination, merged)
    output.observer().message(f"table: {destination}")
    output.show(merged, lambda: render_device(merged))
