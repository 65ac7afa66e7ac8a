from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deployprune.backends.base import Closing
from deployprune.backends.onnxruntime import OnnxRuntimeBackend
from deployprune.errors import ParityError
from deployprune.export.onnx import export_onnx
from deployprune.export.parity import check_parity, require_parity
from deployprune.records import InputSpec, ParityResult, Target


class Returning(Closing):
    """A session whose runtime answers with what ``forward`` makes of the first input."""

    def __init__(self, forward: object, shape: tuple[int, ...] = (2, 4), dtype: str = "float32") -> None:
        self.inputs = (InputSpec(name="x", shape=shape, dtype=dtype),)
        self.forward = forward
        self.seen: list[np.ndarray] = []

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.seen.append(feeds["x"])
        return [self.forward(feeds["x"])]

    def bind(self, feeds: dict[str, np.ndarray]) -> None:
        raise NotImplementedError

    def time_once(self) -> float:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


def check(session: Returning, example: Tensor, module: nn.Module | None = None, **options: float) -> ParityResult:
    return check_parity(session, module or Double(), (example,), artifact="m.onnx", backend="test", **options)


def test_a_real_file_agrees_at_two_batches_and_another_models_file_does_not(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Dropout(0.5), nn.Flatten(), nn.Linear(216, 4))
    x = torch.randn(1, 3, 8, 8)
    export_onnx(model, (x,), tmp_path / "m.onnx", input_names=["x"])
    for batch in (1, 3):
        with OnnxRuntimeBackend().open(tmp_path / "m.onnx", Target(backend="onnxruntime", batch=batch)) as session:
            result = check_parity(session, model, (x,), artifact="m.onnx", backend="onnxruntime")
            assert require_parity(result) is result
            with torch.no_grad():
                model[4].bias[0] += 0.05
            changed = check_parity(session, model, (x,), artifact="m.onnx", backend="onnxruntime")
            with torch.no_grad():
                model[4].bias[0] -= 0.05
        assert changed.max_absolute == pytest.approx(0.05, rel=1e-3)
        with pytest.raises(ParityError, match=r"m\.onnx differs .* on onnxruntime"):
            require_parity(changed)
    assert model.training


def test_differences_are_relative_to_the_largest_output_and_held_against_the_tolerance() -> None:
    example = torch.tensor([[-4.0, 1.0, 2.0, 3.0]] * 2)
    result = check(Returning(lambda x: x * 2 + 0.08), example, trials=1)
    assert result.max_absolute == pytest.approx(0.08, rel=1e-5)
    assert result.max_relative == pytest.approx(0.01, rel=1e-5)
    assert not result.ok
    assert check(Returning(lambda x: x * 2 + 0.08), example, trials=1, tolerance=3e-2).ok


def test_the_example_comes_first_then_random_inputs_like_it_by_the_seed() -> None:
    example = 100 + 5 * torch.randn(1, 1000)
    session = Returning(lambda x: x * 2, shape=(3, 1000))
    for _ in range(2):
        check(session, example, seed=1)
    first, second, third, *again = session.seen
    np.testing.assert_array_equal(first, example.expand(3, -1).numpy())
    assert second.mean() == pytest.approx(100, abs=1)
    assert second.std() == pytest.approx(5, abs=0.5)
    assert not np.array_equal(second, third)
    np.testing.assert_array_equal(again, [first, second, third])


def test_integers_stay_in_the_range_of_the_example() -> None:
    session = Returning(lambda x: x * 2, dtype="int64", shape=(2, 100))
    assert check(session, torch.tensor([[3, 9] * 50]), trials=4).max_absolute == 0
    assert all(seen.dtype == np.int64 and set(seen.ravel()) <= set(range(3, 10)) for seen in session.seen)
    assert set(session.seen[1].ravel()) == set(range(3, 10))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_no_parity(wrong: float) -> None:
    def broken(x: np.ndarray) -> np.ndarray:
        values = x * 2
        values[0, 0] = wrong
        return values

    result = check(Returning(broken), torch.randn(2, 4))
    assert not result.ok
    assert np.isfinite(result.max_relative)


def test_infinities_of_the_model_itself_must_be_the_same_ones() -> None:
    class Logarithm(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where(x > 0, x, -torch.inf)

    example = torch.randn(2, 4)
    assert check(Returning(lambda x: np.where(x > 0, x, -np.inf)), example, Logarithm()).ok
    assert not check(Returning(lambda x: np.where(x > 0, x, np.inf)), example, Logarithm()).ok


def test_what_cannot_be_compared_is_an_error() -> None:
    class Nothing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.nan

    example = torch.randn(2, 4)
    with pytest.raises(ParityError, match="shape"):
        check(Returning(lambda x: x[:1]), example)
    with pytest.raises(ParityError, match="no finite"):
        check(Returning(lambda x: x * np.nan), example, Nothing())
    two_outputs = Returning(lambda x: x)
    two_outputs.run = lambda feeds: [feeds["x"], feeds["x"]]
    with pytest.raises(ParityError, match="2 outputs"):
        check(two_outputs, example)
