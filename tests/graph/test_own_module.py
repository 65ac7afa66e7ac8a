"""The user's own module, shrunk: what attributes cannot express runs as a graph in one module, all else is his code."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from architectures import ViT, conv
from plans import check_batch, check_proof, check_training, random_plan
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn import functional as F

from deployprune.graph.analysis import GraphAnalysis, PrunedModel, analyze

IMAGE = (torch.randn(1, 3, 16, 16),)


class Shortcut(nn.Module):
    """Without parameters: half the resolution, and zeros for the channels that are new."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(x)


class Block(nn.Module):
    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(width_in, width, stride=2), conv(width, width, act=False)
        more = (width - width_in) // 2
        self.shortcut = Shortcut(lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, more, more)))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(self.conv1(x)) + self.shortcut(x))


class PaddedShortcuts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8)
        self.blocks = nn.Sequential(Block(8, 16), Block(16, 24))
        self.head = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class Mixer(nn.Module):
    """Sizes as constants of the code, batch statistics, dropout, and a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.norm, self.out = nn.Linear(24, 72), nn.BatchNorm1d(24), nn.Linear(24, 24)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("scale", torch.rand(24) + 0.5, persistent=False)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> tuple[Tensor, int]:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, 4, 6).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, 24)
        y = self.norm((self.drop(y) * self.scale).transpose(1, 2)).transpose(1, 2)
        return self.out(y) + (x if residual is None else residual), n


class Constants(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mixers, self.head = nn.Linear(3, 24), nn.ModuleList([Mixer(), Mixer()]), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.flatten(2).transpose(1, 2)[:, :9])
        for mixer in self.mixers:
            x, _ = mixer(x, residual=x)
        return self.head(x.mean(1))


class Heads(nn.Module):
    """Reads its size from an object that it shares with other modules, whose sizes become others."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.config = config
        self.qkv, self.out = nn.Linear(24, 72), nn.Linear(24, 24)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.config.heads, 6).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return x + self.out(y.reshape(b, n, self.config.heads * 6))


class SharedConfig(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        config = SimpleNamespace(heads=4)
        self.embed, self.layers, self.head = nn.Linear(3, 24), nn.Sequential(*(Heads(config) for _ in range(3))), None
        self.head = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.embed(x.flatten(2).transpose(1, 2))).mean(1))


class Cached(Heads):
    """Keeps what it has read of a parameter until the mode changes, as attention with relative positions does."""

    def __init__(self) -> None:
        super().__init__(SimpleNamespace(heads=4))
        self.table, self.cache = nn.Parameter(torch.randn(4, 7)), {}

    def train(self, mode: bool = True) -> nn.Module:
        self.cache = {}
        return super().train(mode)

    def bias(self, places: Tensor) -> Tensor:
        if self.training:
            return self.table[:, places]
        if places.device not in self.cache:
            self.cache[places.device] = self.table[:, places]
        return self.cache[places.device]

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.config.heads, 6).permute(2, 0, 3, 1, 4).unbind(0)
        places = (torch.arange(n)[:, None] - torch.arange(n)).clamp(-3, 3) + 3
        y = ((q @ k.transpose(2, 3)) / 6**0.5 + self.bias(places)).softmax(-1) @ v
        return x + self.out(y.transpose(1, 2).reshape(b, n, self.config.heads * 6))


class CachedResults(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.head = nn.Linear(3, 24), Cached(), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(self.embed(x.flatten(2)[:, :, :9].transpose(1, 2))).mean(1))


class Flat(nn.Module):
    """Its own forward holds the size: there is no module in it that could be grafted."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Conv2d(3, 12, 4, 4), nn.Linear(6, 5)
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.embed(x).flatten(2).mean(2).view(-1, 2, 6).sum(1)))


class Sequence(Flat):
    """Recurrent layers with dropout between them."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(12, 6, num_layers=2, dropout=0.5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.cell(self.embed(x).flatten(2).transpose(1, 2))
        return self.head(self.norm(y.mean(1)).view(-1, 2, 3).sum(1).repeat(1, 2))


class Recurrent(nn.Module):
    """Layers and a cell that check their own sizes, and a first state that the forward makes."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.hidden = nn.Conv2d(3, 12, 4, 4), 10
        self.layers = nn.GRU(12, 6, num_layers=2, bidirectional=True)
        self.cell, self.head = nn.LSTMCell(12, self.hidden), nn.Linear(self.hidden, 5)

    def forward(self, x: Tensor) -> Tensor:
        steps, _ = self.layers(self.embed(x).flatten(2).permute(2, 0, 1))
        state = (x.new_zeros(x.shape[0], self.hidden), x.new_zeros(x.shape[0], self.hidden))
        for step in steps[:3]:
            state = self.cell(step, state)
        return self.head(state[0])


PRODUCTS: dict[str, tuple[Callable[[], nn.Module], str, tuple[str, ...]]] = {
    "pad": (PaddedShortcuts, "grafted", ("blocks.0.shortcut", "blocks.1.shortcut")),
    "stock": (lambda: ViT("stock"), "grafted", ("blocks.0.attention", "blocks.1.attention")),
    "constants": (Constants, "grafted", ("mixers.0", "mixers.1")),
    "config": (SharedConfig, "eager", ()),
    "cached": (CachedResults, "eager", ()),
    "flat": (Flat, "graph", ()),
}


def pruned_of(name: str, seed: int = 0) -> tuple[GraphAnalysis, dict[str, list[int]], PrunedModel]:
    torch.manual_seed(0)
    inputs = (torch.randn(1, 3, 32, 32),) if name == "stock" else IMAGE
    analysis = analyze(PRODUCTS[name][0]().eval(), inputs)
    plan = random_plan(analysis, seed)
    return analysis, plan, analysis.prune(plan, trials=1)


@pytest.fixture(scope="module")
def products() -> dict[str, tuple[GraphAnalysis, dict[str, list[int]], PrunedModel]]:
    return {name: pruned_of(name) for name in PRODUCTS}


@pytest.mark.parametrize("name", PRODUCTS)
def test_only_what_cannot_follow_runs_as_a_graph(products: Any, name: str) -> None:
    analysis, _, pruned = products[name]
    check_proof(pruned)
    assert (pruned.proof.product, pruned.proof.grafted) == PRODUCTS[name][1:]
    assert (analysis.record.product, analysis.record.grafted) == PRODUCTS[name][1:]
    assert analysis.record.prunable_parameters >= 0.9 * analysis.record.parameters
    assert set(pruned.module.state_dict()) == set(analysis.module.state_dict())
    if pruned.proof.product != "graph":
        assert isinstance(pruned.module, type(analysis.module))
    for path in pruned.proof.grafted:
        assert isinstance(pruned.module.get_submodule(path), type(analysis.module.get_submodule(path)))


@pytest.mark.parametrize("name", PRODUCTS)
def test_every_product_trains_and_takes_other_batches(products: Any, name: str) -> None:
    analysis, _, pruned = products[name]
    check_training(pruned.module, analysis.graph.captured.inputs)
    check_batch(pruned.module, analysis.graph.captured.inputs)


@pytest.mark.parametrize("name", PRODUCTS)
def test_every_product_can_be_copied_wrapped_and_compiled(products: Any, name: str) -> None:
    analysis, _, pruned = products[name]
    (x,) = analysis.graph.captured.inputs
    expected = pruned.module(x)
    copied = copy.deepcopy(pruned.module)
    for parameter in copied.parameters():
        parameter.data.zero_()
    torch.testing.assert_close(pruned.module(x), expected)  # the copy shares nothing
    torch.testing.assert_close(nn.DataParallel(pruned.module)(x), expected)
    compiled = torch.compile(pruned.module, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), expected)


@pytest.mark.parametrize("name", PRODUCTS)
def test_every_product_is_made_again_from_its_record(products: Any, name: str, tmp_path: Path) -> None:
    analysis, plan, pruned = products[name]
    trained = copy.deepcopy(pruned.module)
    for parameter in trained.parameters():
        parameter.data.add_(0.01)
    save_model(trained, str(tmp_path / "weights.safetensors"))
    again = analysis.rebuild(plan, pruned.proof.product, pruned.attributes, pruned.proof.grafted).eval()
    load_model(again, tmp_path / "weights.safetensors")
    (x,) = analysis.graph.captured.inputs
    torch.testing.assert_close(again(x), trained(x))


def test_a_graft_follows_the_mode_of_training(products: Any) -> None:
    _, _, pruned = products["constants"]
    module, x = copy.deepcopy(pruned.module), torch.randn(4, 3, 16, 16)
    before = module.mixers[0].norm.running_mean.clone()
    assert torch.equal(module(x), module(x))
    module.train()
    assert not torch.equal(module(x), module(x))  # dropout
    assert not torch.equal(module.mixers[0].norm.running_mean, before)


def test_what_a_module_keeps_of_its_parameters_is_not_taken_over(products: Any) -> None:
    analysis, _, pruned = products["cached"]
    assert "mix.table" in pruned.kept
    assert analysis.module.mix.table.shape == (4, 7)
    assert all(type(tensor) is Tensor for tensor in analysis.module.mix.cache.values())  # nothing of the tracer's


def test_the_graph_drops_between_recurrent_layers_where_it_trains() -> None:
    torch.manual_seed(0)
    analysis = analyze(Sequence().eval(), IMAGE)
    pruned = analysis.prune(random_plan(analysis, 0), trials=1)
    module, x = pruned.module, torch.randn(4, 3, 16, 16)
    assert pruned.proof.product == "graph"
    assert torch.equal(module(x), module(x))
    module.train()
    assert not torch.equal(module(x), module(x))


def test_a_graft_can_be_pickled_where_its_class_can(products: Any) -> None:
    _, _, pruned = products["stock"]
    attention, x = pruned.module.blocks[0].attention, torch.randn(2, 17, pruned.module.norm.normalized_shape[0])
    again = pickle.loads(pickle.dumps(attention))
    torch.testing.assert_close(again(x, x, x, need_weights=False), attention(x, x, x, need_weights=False))


def test_modules_that_share_an_object_get_their_own(products: Any) -> None:
    analysis, _, pruned = products["config"]
    assert analysis.module.layers[0].config.heads == 4
    sizes = [layer.config.heads for layer in pruned.module.layers]
    assert sizes == [layer.qkv.out_features // 18 for layer in pruned.module.layers]
    assert len(set(sizes)) > 1


def test_recurrent_layers_are_set_to_what_is_left_of_them() -> None:
    torch.manual_seed(0)
    analysis = analyze(Recurrent().eval(), IMAGE)
    pruned = analysis.prune(random_plan(analysis, 0), trials=1)
    assert pruned.proof.product == "eager"
    assert pruned.module.layers.hidden_size == pruned.module.layers.weight_hh_l0.shape[1] < 6
    assert pruned.module.cell.input_size == 2 * pruned.module.layers.hidden_size
    check_training(pruned.module, IMAGE)
