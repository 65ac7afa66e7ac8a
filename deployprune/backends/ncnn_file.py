"""What an ncnn ``.param`` file says of its model, and the line below its layers that says what ncnn itself forgets.

ncnn reads as many layers as the file announces, and nothing after them. pnnx calls inputs ``in0``, ``in1``, ... and
outputs ``out0``, ``out1``, ... in the model's order; their own names, shapes and types are kept in that last line.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deployprune.errors import ExportError, UsageError
from deployprune.records import InputSpec

__all__ = ["NcnnFile", "NcnnInput", "NcnnLayer", "description_line", "read_ncnn_file"]

_MARK = "# deployprune "
_MAGIC = "7767517"
NO_BATCH = 233  # ncnn's and pnnx's own number for an array that has no batch dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class NcnnInput:
    """One input, and which of its dimensions is ncnn's batch (``NO_BATCH`` for none)."""

    spec: InputSpec
    batch_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NcnnLayer:
    """One layer: its type and name, and its parameters by number, as text."""

    kind: str
    name: str
    parameters: dict[int, str]

    def weight_shapes(self) -> tuple[tuple[int, ...], ...]:
        """(outputs, inputs of one group, *kernel), and (outputs,) of a bias, where the weights are in the file."""
        number = {key: int(value) for key, value in self.parameters.items() if value.lstrip("-").isdigit()}
        outputs = number.get(0, 0)
        if self.kind == "InnerProduct" and outputs:
            weight: tuple[int, ...] = (outputs, number.get(2, 0) // outputs)
            biased = number.get(1, 0)
        elif self.kind.startswith(("Convolution", "Deconvolution")) and outputs:
            kernel = (number.get(11, number.get(1, 1)), number.get(1, 1))
            weight = (outputs, number.get(6, 0) // (outputs * kernel[0] * kernel[1]), *kernel)
            biased = number.get(5, 0)
        else:
            return ()
        return (weight, (outputs,)) if biased else (weight,)


@dataclass(frozen=True, slots=True, kw_only=True)
class NcnnFile:
    """The model's inputs, the batch dimension of each of its outputs, and its layers in the order they run."""

    inputs: tuple[NcnnInput, ...]
    outputs: tuple[int, ...]
    layers: tuple[NcnnLayer, ...]


def description_line(inputs: Sequence[NcnnInput], outputs: Sequence[int]) -> str:
    """The line to put below the layers."""
    described = [
        {
            "name": entry.spec.name,
            "shape": entry.spec.shape,
            "dtype": entry.spec.dtype,
            "batch_index": entry.batch_index,
        }
        for entry in inputs
    ]
    return _MARK + json.dumps({"inputs": described, "outputs": list(outputs)}) + "\n"


def read_ncnn_file(path: Path) -> NcnnFile:
    """Read ``path``. Raises ExportError for what is no such file, UsageError where the last line is missing."""
    try:
        magic, counts, *lines = path.read_text(encoding="utf-8").splitlines()
        count = int(counts.split()[0])
        layers = tuple(_layer(line) for line in lines[:count])
    except (IndexError, ValueError) as e:
        raise ExportError(f"ncnn cannot open {path}: {e}", hint="export the model again") from e
    if magic.strip() != _MAGIC or len(layers) < count:
        raise ExportError(f"ncnn cannot open {path}: it is no text of {count} layers", hint="export the model again")
    found = [line for line in lines[count:] if line.startswith(_MARK)]
    if not found:
        raise UsageError(
            f"{path} does not say what its inputs are called and what shape they have",
            hint="write the file with deployprune, which adds that in a line below the layers",
        )
    return _described(path, found[0].removeprefix(_MARK), layers)


def _layer(line: str) -> NcnnLayer:
    kind, name, inputs, outputs, *rest = line.split()
    pairs = (word.partition("=") for word in rest[int(inputs) + int(outputs) :])
    return NcnnLayer(kind=kind, name=name, parameters={int(key): value for key, _, value in pairs})


def _described(path: Path, text: str, layers: tuple[NcnnLayer, ...]) -> NcnnFile:
    try:
        found = json.loads(text)
        inputs = tuple(
            NcnnInput(
                spec=InputSpec(name=entry["name"], shape=tuple(entry["shape"]), dtype=entry["dtype"]),
                batch_index=entry["batch_index"],
            )
            for entry in found["inputs"]
        )
        return NcnnFile(inputs=inputs, outputs=tuple(found["outputs"]), layers=layers)
    except (KeyError, TypeError, ValueError) as e:
        raise ExportError(f"the last line of {path} is damaged: {e}", hint="export the model again") from e
