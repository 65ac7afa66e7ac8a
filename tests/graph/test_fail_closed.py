"""What has no rule is frozen and named; what cannot be captured is refused with its reason and source line."""

from __future__ import annotations

import pytest
import torch
from plans import check_proof, random_plan
from torch import Tensor, nn

from deployprune.errors import UnsupportedModelError
from deployprune.graph.analysis import analyze


class Whitened(nn.Module):
    """``linalg_inv`` mixes all channels in a way that no rule knows."""

    def __init__(self) -> None:
        super().__init__()
        self.mixing, self.hidden, self.out = nn.Linear(6, 6), nn.Linear(6, 12), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        whitened = x @ torch.linalg.inv(self.mixing.weight)
        return self.out(self.hidden(whitened).relu())


class Ranked(nn.Module):
    """``sort`` has a rule, by which every channel has to stay."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.ranked, self.out = nn.Linear(4, 8), nn.Linear(8, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.sort(self.ranked(self.hidden(x).relu()), dim=1).values)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) if x.sum() > 0 else x


class Sliced(Branching):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)[: int(self.linear(x).sum().item())]


class Through(Branching):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.from_numpy(x.numpy() * 2))


class Masking(Branching):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * torch.rand(4)


def test_an_unknown_operation_freezes_its_operands_and_names_the_users_line() -> None:
    analysis = analyze(Whitened().eval(), (torch.randn(3, 6),))
    (frozen,) = [item for item in analysis.record.frozen if "inv" in item.op]
    assert "test_fail_closed.py" in frozen.location
    assert "torch.linalg.inv(self.mixing.weight)" in frozen.location
    assert frozen.parameters == ("mixing.weight",)
    assert not any(axis.parameter == "mixing.weight" for group in analysis.record.groups for axis in group.axes)
    check_proof(analysis.prune(random_plan(analysis, seed=0)))


def test_what_a_rule_keeps_whole_is_told_with_the_users_line() -> None:
    record = analyze(Ranked().eval(), (torch.randn(3, 4),)).record
    held = {item.op: item for item in record.held}
    assert set(held["sort"].parameters) == {"ranked.weight", "ranked.bias"}
    assert "torch.sort(self.ranked" in held["sort"].location
    assert set(held["output"].parameters) == {"out.weight", "out.bias"}
    assert record.frozen == ()


def test_control_flow_over_data_is_refused_with_its_source_line() -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        analyze(Branching().eval(), (torch.ones(2, 4),))
    assert caught.value.exit_code == 3
    assert "test_fail_closed.py:" in caught.value.message
    assert len(caught.value.message) < 400
    assert "torch.where" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("model", "line", "advice"),
    [
        (Sliced, "return self.linear(x)[: int(", "fixed size"),
        (Through, "torch.from_numpy(x.numpy() * 2)", "torch operations"),
        (Masking, "torch.rand(4)", "give noise or masks as an input"),
        (Branching, "if x.sum() > 0", "torch.where"),
    ],
)
def test_a_refusal_is_short_and_shows_the_users_line(
    model: type[nn.Module], line: str, advice: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        analyze(model().eval(), (torch.ones(3, 4),))
    assert line in caught.value.message
    assert "test_fail_closed.py" in caught.value.message
    assert advice in (caught.value.hint or "")
    assert len(caught.value.message) < 450
    assert capfd.readouterr() == ("", "")


def test_a_forward_that_fails_is_refused_with_the_shape_it_was_given() -> None:
    with pytest.raises(UnsupportedModelError, match="shape \\(2, 5\\)"):
        analyze(nn.Linear(4, 2), (torch.ones(2, 5),))


def test_a_model_without_free_channels_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="nothing in this model can be pruned"):
        analyze(nn.Linear(4, 2), (torch.ones(2, 4),))


def test_the_analysed_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(), nn.ReLU(), nn.Linear(8, 2)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    analysis = analyze(model, (torch.randn(2, 4),))
    analysis.prune(random_plan(analysis, seed=1))
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
