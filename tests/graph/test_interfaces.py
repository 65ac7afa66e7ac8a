"""Models as they are called: several inputs and outputs, dictionaries, optional and named arguments, wrappers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import conv
from plans import check_batch, check_proof, check_training, random_plan
from safetensors.torch import load_model, save_model
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from deployprune.graph.analysis import GraphAnalysis, PrunedModel, analyze
from deployprune.graph.capture import flatten_outputs


class Towers(nn.Module):
    """An image and tokens, a mask that may be left out, a keyword, and a dictionary with something that is None."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(conv(3, 8), conv(8, 12, stride=2))
        self.tokens, self.text = nn.Embedding(20, 16), nn.Sequential(nn.Linear(16, 24), nn.GELU(), nn.Linear(24, 16))
        self.project, self.head = nn.Linear(16, 12), nn.Linear(24, 5)

    def forward(
        self, image: Tensor, tokens: Tensor, mask: Tensor | None = None, *, scale: float = 1.0
    ) -> dict[str, Tensor | None]:
        words = self.tokens(tokens)
        words = self.project(words + self.text(words))
        if mask is not None:
            words = words * mask[..., None].to(words.dtype)
        seen = self.image(image).mean((2, 3))
        joined = self.head(torch.cat([seen, words.mean(1)], 1)) * scale
        return {"joined": joined, "similar": (seen * words.mean(1)).sum(1), "hidden": None if mask is None else mask}


class Detector(nn.Module):
    """Two levels of a pyramid, on each of them classes and boxes by the same head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.low, self.high = conv(3, 8), conv(8, 16, stride=2), conv(16, 24, stride=2)
        self.lateral = nn.ModuleList([nn.Conv2d(16, 12, 1), nn.Conv2d(24, 12, 1)])
        self.tower = nn.Sequential(conv(12, 12), conv(12, 12))
        self.classes, self.boxes = nn.Conv2d(12, 3 * 5, 3, padding=1), nn.Conv2d(12, 3 * 4, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
        low = self.low(self.stem(x))
        high = self.high(low)
        top = self.lateral[1](high)
        levels = [self.lateral[0](low) + F.interpolate(top, scale_factor=2.0, mode="nearest"), top]
        classes, boxes = [], []
        for level in levels:
            y = self.tower(level)
            classes.append(self.classes(y).permute(0, 2, 3, 1).reshape(y.shape[0], -1, 5))
            boxes.append(self.boxes(y).permute(0, 2, 3, 1).reshape(y.shape[0], -1, 4))
        return levels_of(classes), {"scores": torch.cat(classes, 1).sigmoid(), "boxes": torch.cat(boxes, 1).exp()}


def levels_of(classes: list[Tensor]) -> list[Tensor]:
    return [level.softmax(-1).amax(-1) for level in classes]


class Segmenter(nn.Module):
    """Maps of two depths, brought to one size, then to that of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = conv(3, 8, stride=2), conv(8, 16, stride=2)
        self.reduce, self.fuse = nn.Conv2d(16, 10, 1), conv(18, 14)
        self.norm, self.classify, self.rough = nn.GroupNorm(1, 14), nn.Conv2d(14, 4, 1), nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first = self.first(x)
        second = self.second(first)
        size = {"mode": "bilinear", "align_corners": False}
        deep = F.interpolate(self.reduce(second), size=first.shape[-2:], **size)
        maps = self.classify(self.norm(self.fuse(torch.cat([first, deep], 1))))
        return F.interpolate(maps, size=x.shape[-2:], **size), self.rough(second)


class Fixed(Detector):
    """The same with a size in its own forward: the captured graph is the product."""

    def forward(self, x: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
        y = self.tower(self.lateral[0](self.low(self.stem(x)))).reshape(-1, 12, x.shape[-1] // 2, x.shape[-1] // 2)
        return [y.mean(1)], {"boxes": self.boxes(y)}


@dataclass(frozen=True)
class Example:
    """How a model is made and called, and what its product is."""

    build: Callable[[], nn.Module]
    inputs: tuple[Any, ...]
    product: str = "eager"


IMAGE, TOKENS = torch.randn(1, 3, 16, 16), torch.arange(6)[None]
EXAMPLES = {
    "towers": Example(Towers, (IMAGE, TOKENS)),
    "towers with a mask": Example(Towers, (IMAGE, TOKENS, TOKENS < 4)),
    "towers without a mask": Example(Towers, (IMAGE, TOKENS, None)),
    "detector": Example(Detector, (IMAGE,)),
    "segmenter": Example(Segmenter, (IMAGE,)),
    "graph": Example(Fixed, (IMAGE,), "graph"),
}


@lru_cache
def pruned_of(name: str) -> tuple[GraphAnalysis, dict[str, list[int]], PrunedModel]:
    torch.manual_seed(0)
    analysis = analyze(EXAMPLES[name].build().eval(), EXAMPLES[name].inputs)
    plan = random_plan(analysis, 0)
    return analysis, plan, analysis.prune(plan, trials=1)


def outputs_of(module: nn.Module, name: str) -> list[Tensor]:
    with torch.no_grad():
        return flatten_outputs(module(*EXAMPLES[name].inputs))


@pytest.fixture(scope="module")
def one_process() -> Iterator[None]:
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_is_pruned_and_proven_and_trains(name: str) -> None:
    analysis, _, pruned = pruned_of(name)
    check_proof(pruned)
    assert pruned.proof.product == EXAMPLES[name].product
    assert analysis.record.prunable_parameters >= 0.9 * analysis.record.parameters
    assert set(pruned.module.state_dict()) == set(analysis.module.state_dict())
    check_training(pruned.module, EXAMPLES[name].inputs)
    check_batch(pruned.module, EXAMPLES[name].inputs)


@pytest.mark.parametrize("name", EXAMPLES)
def test_outputs_have_the_form_that_they_had(name: str) -> None:
    analysis, _, pruned = pruned_of(name)
    before, after = (module(*EXAMPLES[name].inputs) for module in (analysis.module, pruned.module))
    assert torch.utils._pytree.tree_structure(after) == torch.utils._pytree.tree_structure(before)
    shapes = [[tuple(tensor.shape) for tensor in flatten_outputs(outputs)] for outputs in (before, after)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", EXAMPLES)
def test_copies_wrappers_and_the_compiler_take_it(name: str, one_process: None) -> None:
    _, _, pruned = pruned_of(name)
    expected = outputs_of(pruned.module, name)
    compiled = torch.compile(copy.deepcopy(pruned.module), backend="eager", fullgraph=True)
    parallel = nn.parallel.DistributedDataParallel(copy.deepcopy(pruned.module), find_unused_parameters=True)
    for module in (copy.deepcopy(pruned.module), compiled, nn.DataParallel(pruned.module), parallel):
        torch.testing.assert_close(outputs_of(module, name), expected)
    sum(out.float().square().mean() for out in flatten_outputs(parallel(*EXAMPLES[name].inputs))).backward()
    assert any(parameter.grad is not None for parameter in parallel.parameters())


@pytest.mark.parametrize("name", EXAMPLES)
def test_its_weights_go_through_a_file(name: str, tmp_path: Path) -> None:
    analysis, plan, pruned = pruned_of(name)
    save_model(pruned.module, str(tmp_path / "weights.safetensors"))
    again = analysis.rebuild(plan, pruned.proof.product, pruned.attributes, pruned.proof.grafted).eval()
    for parameter in again.parameters():
        parameter.data.zero_()
    load_model(again, tmp_path / "weights.safetensors")
    torch.testing.assert_close(outputs_of(again, name), outputs_of(pruned.module, name))


@pytest.mark.parametrize("name", ["towers", "towers with a mask", "towers without a mask"])
def test_optional_and_named_arguments_stay(name: str) -> None:
    _, _, pruned = pruned_of(name)
    module, mask = pruned.module, TOKENS < 2
    plain = module(IMAGE, TOKENS)
    torch.testing.assert_close(module(tokens=TOKENS, image=IMAGE)["joined"], plain["joined"])
    torch.testing.assert_close(module(IMAGE, TOKENS, scale=2.0)["joined"], 2 * plain["joined"])
    masked = module(IMAGE, TOKENS, mask=mask)
    assert masked["hidden"] is mask
    assert not torch.allclose(masked["joined"], plain["joined"])


def test_the_graph_takes_its_inputs_by_name() -> None:
    _, _, pruned = pruned_of("graph")
    torch.testing.assert_close(flatten_outputs(pruned.module(x=IMAGE)), outputs_of(pruned.module, "graph"))


class Clips(nn.Module):
    """Two frames a clip lie in the batch, and one clip is dealt with in its own way."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = conv(3, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        frames = self.stem(x).mean((2, 3))
        clips = frames[None] if len(x) == 2 else frames.view(len(x) // 2, 2, 8)
        return self.head(clips.mean(1))


def test_a_batch_is_not_free_where_the_model_does_otherwise_with_more() -> None:
    analysis = analyze(Clips().eval(), (torch.randn(2, 3, 16, 16),))
    assert not analysis.graph.captured.dynamic_batch
    check_proof(analysis.prune(random_plan(analysis, 0)))
