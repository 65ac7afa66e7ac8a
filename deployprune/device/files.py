"""Device tables as files: a record's envelope, laid out for people, in a folder by processor."""

from __future__ import annotations

from pathlib import Path

from deployprune.backends.devices.address import LOCAL, device_label
from deployprune.codec import encode, readable
from deployprune.device.identity import device_folder
from deployprune.device.records import DeviceTable
from deployprune.files import write_atomic
from deployprune.record_file import read_record

__all__ = ["read_table", "table_path", "write_table"]


def table_path(folder: Path, table: DeviceTable) -> Path:
    """Where a table belongs: ``<processor>/<backend>-<version>-<precision>-t<threads>.json`` below ``folder``.

    That of another device has its label behind it, ``...-t1-board-1a2b3c.json``: two boards may have one processor.
    """
    target = table.target
    batch = f"-b{target.batch}" if target.batch != 1 else ""
    version = f"-{table.runtime_version}" if table.runtime_version else ""
    device = f"-{device_label(target.device)}" if target.device != LOCAL else ""
    name = f"{target.backend}{version}-{target.precision}-t{target.threads}{batch}{device}.json"
    return folder / device_folder(table.host) / name


def write_table(path: Path, table: DeviceTable) -> None:
    """Write the table whole, in place of an older one. Raises RunDirectoryError where the folder cannot be written."""
    write_atomic(path, readable(encode(table)))


def read_table(path: Path) -> DeviceTable:
    """The table in ``path``. Raises UsageError for a file that is not there, is damaged, or is no device table."""
    return read_record(path, DeviceTable, hint="give a file that `deployprune profile` wrote without a model")
