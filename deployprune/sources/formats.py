"""What kind of model file this is, told from its first bytes and its archive's names, never by loading it."""

from __future__ import annotations

import json
import struct
import zipfile
from enum import Enum
from pathlib import Path

from deployprune.errors import UsageError

__all__ = ["Format", "sniff"]

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_LARGEST_HEADER = 100_000_000


class Format(Enum):
    """The kinds of files that are told apart."""

    CHECKPOINT = "torch.save archive"
    LEGACY = "torch.save file of torch 1.5 or older"
    EXPORTED = "torch.export archive"
    TORCHSCRIPT = "TorchScript archive"
    SAFETENSORS = "safetensors file"
    ONNX = "ONNX file"
    OPENVINO = "OpenVINO IR"


def sniff(path: Path) -> Format:
    """The format of a model file. Raises UsageError where there is none, it is empty, or it is not a model."""
    if path.is_dir():
        hint = f"write transformers:{path}" if (path / "config.json").is_file() else "name the model file inside it"
        raise UsageError(f"{path} is a folder, not a model file", hint=hint)
    if not path.is_file():
        raise _missing(path)
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise UsageError(f"{path} is empty", hint="save the model again; the copy was cut off")
    found = _sniff_head(path, head)
    if found is None:
        raise UsageError(
            f"{path} is not a model file: neither a torch.save archive, .pt2, safetensors, nor ONNX or OpenVINO",
            hint="save the model with torch.save(model, path) or safetensors.torch.save_file(model.state_dict(), path)",
        )
    return found


def _missing(path: Path) -> UsageError:
    if ":" in str(path):
        hint = f"of a factory give the weights: a state dict as the model, and --arch {path}"
    else:
        hint = "check the path; it is taken from the working directory"
    return UsageError(f"there is no file {path}", hint=hint)


def _sniff_head(path: Path, head: bytes) -> Format | None:
    if head.startswith(_ZIP):
        return _sniff_archive(path)
    if _is_safetensors(path, head):
        return Format.SAFETENSORS
    if path.suffix == ".onnx":
        return Format.ONNX
    if head.lstrip().startswith((b"<?xml", b"<net")):
        return Format.OPENVINO
    return Format.LEGACY if head.startswith(_PICKLE) else None


def _sniff_archive(path: Path) -> Format | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise UsageError(f"{path} is damaged: {error}", hint="copy or save the file again; it was cut off") from error
    inner = {name.partition("/")[2] or name for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return Format.TORCHSCRIPT
    if "archive_format" in inner or "serialized_exported_program.json" in names:
        return Format.EXPORTED
    return Format.CHECKPOINT if "data.pkl" in inner else None


def _is_safetensors(path: Path, head: bytes) -> bool:
    """A safetensors file begins with the length of its JSON header and that header."""
    if len(head) < 10:
        return False
    (length,) = struct.unpack("<Q", head[:8])
    if head[8:9] != b"{" or length > min(path.stat().st_size, _LARGEST_HEADER):
        return False
    with path.open("rb") as file:
        file.seek(8)
        try:
            return isinstance(json.loads(file.read(length)), dict)
        except ValueError:
            return False
