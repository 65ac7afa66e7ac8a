"""Frames between deployprune and its agent on a device: a head in JSON, then raw blocks. There is no pickle in them.

Needs nothing but Python, and numpy only for arrays: a device without numpy can still say so.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FrameError", "pack_arrays", "read_frame", "unpack_arrays", "write_frame"]

_LENGTH = struct.Struct(">I")
_LONGEST_HEAD = 1 << 26
_LONGEST_BLOCK = 1 << 33


class FrameError(Exception):
    """The other side has gone, or what it sent is no frame."""


def write_frame(stream: IO[bytes], message: Mapping[str, Any], blocks: Sequence[bytes | memoryview] = ()) -> None:
    """Send ``message`` and the blocks behind it. Raises OSError when the other side has gone."""
    head = json.dumps({"message": message, "blocks": [len(block) for block in blocks]}).encode()
    stream.write(_LENGTH.pack(len(head)) + head)
    for block in blocks:
        stream.write(block)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """The next message and its blocks. Raises FrameError at the end of the stream and for what is no frame."""
    (length,) = _LENGTH.unpack(_read(stream, _LENGTH.size, _LENGTH.size))
    try:
        head = json.loads(_read(stream, length, _LONGEST_HEAD))
        message, sizes = dict(head["message"]), [int(size) for size in head["blocks"]]
    except (ValueError, KeyError, TypeError) as error:
        raise FrameError(f"no frame: {error}") from error
    return message, [_read(stream, size, _LONGEST_BLOCK) for size in sizes]


def _read(stream: IO[bytes], length: int, most: int) -> bytes:
    if not 0 <= length <= most:
        raise FrameError(f"no frame: a part of {length} bytes")
    data = stream.read(length)
    if len(data) < length:
        raise FrameError("the connection ended")
    return data


def pack_arrays(arrays: Iterable[np.ndarray]) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Dtype and shape of every array, and its elements in C order."""
    import numpy as np

    whole = [np.asarray(array, order="C") for array in arrays]
    described = [{"dtype": array.dtype.str, "shape": list(array.shape)} for array in whole]
    return described, [array.tobytes() for array in whole]


def unpack_arrays(described: Iterable[Mapping[str, Any]], blocks: Sequence[bytes]) -> list[np.ndarray]:
    """The arrays of :func:`pack_arrays`. Raises FrameError where description and elements do not fit."""
    import numpy as np

    try:
        return [
            np.frombuffer(block, np.dtype(entry["dtype"])).reshape(entry["shape"]).copy()
            for entry, block in zip(described, blocks, strict=True)
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise FrameError(f"no arrays: {error}") from error
