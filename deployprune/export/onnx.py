"""PyTorch to ONNX: one simplified, checked file, whose bytes depend on the model alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import OutputKind, TensorArgument

from deployprune.errors import ExportError, UsageError
from deployprune.export.causes import first_cause
from deployprune.export.denormals import flush_denormals
from deployprune.export.reference import evaluation_copy, named_outputs
from deployprune.export.simplify import canonicalize, has_dynamic_batch, simplify_onnx
from deployprune.export.staging import staged
from deployprune.export.translation import quiet_exporter, translate

__all__ = ["OnnxExport", "export_onnx"]

# A protobuf message ends at 2 GiB; the graph itself needs a little of that.
SINGLE_FILE_BYTES = 2**31 - 2**26


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxExport:
    """What an ONNX file came out as: its inputs and outputs in order, and what the user should know about it."""

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dynamic_batch: bool
    notes: tuple[str, ...]


def export_onnx(
    module: nn.Module,
    example_inputs: tuple[Tensor, ...],
    path: Path,
    *,
    input_names: Sequence[str],
    static: bool = False,
    simplify: bool = True,
) -> OnnxExport:
    """Write ``module``, in evaluation mode, as ONNX; the caller's module is left as it is.

    Dimension 0 of the inputs (those as long there as the first one) stays dynamic unless ``static``, or unless the
    model needs a fixed batch: the result's notes say so. Weights above 2 GiB go into ``<path>.data``, unsimplified.
    Raises UsageError for names that do not match the inputs, ExportError for everything that fails on the way.
    """
    if not example_inputs or len(input_names) != len(example_inputs):
        raise UsageError(f"{len(input_names)} input names for {len(example_inputs)} example inputs")
    reference = evaluation_copy(module)
    with quiet_exporter():
        program, model, notes = _convert(reference, example_inputs, input_names, static=static)
    large = _weight_bytes(program) > SINGLE_FILE_BYTES
    if simplify and not large:
        model = simplify_onnx(model)
    flush_denormals(model)
    canonicalize(model)
    _write(model, path, large=large)
    return OnnxExport(
        path=path,
        inputs=tuple(value.name for value in model.graph.input),
        outputs=tuple(value.name for value in model.graph.output),
        dynamic_batch=has_dynamic_batch(model),
        notes=notes,
    )


def _convert(
    module: nn.Module, example_inputs: tuple[Tensor, ...], input_names: Sequence[str], *, static: bool
) -> tuple[ExportedProgram, onnx.ModelProto, tuple[str, ...]]:
    """Capture and translate; a model that only translates at a fixed batch (windowed attention, say) gets one."""
    program, notes = _capture(module, example_inputs, static=static)
    try:
        names = _output_names(module, example_inputs, input_names, program)
        return program, translate(program, input_names, names), notes
    except ExportError as error:
        if static or notes:
            raise
        fixed = _convert(module, example_inputs, input_names, static=True)
        return fixed[0], fixed[1], (f"batch fixed at {example_inputs[0].shape[0]}: {error.message}",)


def _capture(
    module: nn.Module, example_inputs: tuple[Tensor, ...], *, static: bool
) -> tuple[ExportedProgram, tuple[str, ...]]:
    notes: tuple[str, ...] = ()
    batch = example_inputs[0].shape[:1]
    if batch and not static:
        batched = [tensor.shape[:1] == batch for tensor in example_inputs]
        # A batch of one would be taken for a constant.
        widened = tuple(
            torch.cat([tensor, tensor]) if grows else tensor
            for tensor, grows in zip(example_inputs, batched, strict=True)
        )
        shapes = tuple({0: Dim.DYNAMIC} if grows else None for grows in batched)
        try:
            return torch.export.export(module, widened, dynamic_shapes=shapes), ()
        except Exception as error:  # the user's code: a failure that is no matter of the batch comes again below
            notes = (f"batch fixed at {batch[0]}: {first_cause(error)}",)
    try:
        return torch.export.export(module, example_inputs), notes
    except Exception as error:
        raise ExportError(
            f"the model could not be captured for export: {first_cause(error)}",
            hint="check that the model runs on the example input, and that torch.export.export accepts it",
        ) from error


def _output_names(
    module: nn.Module, example_inputs: tuple[Tensor, ...], input_names: Sequence[str], program: ExportedProgram
) -> list[str] | None:
    with torch.inference_mode():
        names = list(named_outputs(module(*example_inputs)))
    specs = program.graph_signature.output_specs
    if len(names) != sum(
        spec.kind is OutputKind.USER_OUTPUT and isinstance(spec.arg, TensorArgument) for spec in specs
    ):
        return None  # outputs of a kind that only the exporter can flatten keep its names
    taken = {*input_names, *program.state_dict}
    return [f"{name}_output" if name in taken else name for name in names]


def _write(model: onnx.ModelProto, path: Path, *, large: bool) -> None:
    with staged(path) as place:
        if large:
            onnx.save(model, place, save_as_external_data=True, location=f"{path.name}.data")
        else:
            place.write_bytes(model.SerializeToString(deterministic=True))
        try:
            onnx.checker.check_model(place, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ExportError(f"{path} would not be a valid ONNX file: {first_cause(error)}") from error


def _weight_bytes(program: ExportedProgram) -> int:
    tensors = (tensor for tensor in program.state_dict.values() if isinstance(tensor, Tensor))
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
