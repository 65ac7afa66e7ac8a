"""The parts of training that have a right answer: losses, schedule, augmentation, masks, accuracy, precision."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from deployprune.errors import UsageError
from deployprune.sources.batches import ArrayDataset
from deployprune.sources.data import Data
from deployprune.training.augment import augment
from deployprune.training.evaluate import accuracy
from deployprune.training.losses import distillation_loss, label_loss
from deployprune.training.precision import choose_precision
from deployprune.training.schedule import rate_at
from deployprune.training.sparsity import apply_masks, global_magnitude_masks


def test_distillation_is_zero_at_the_teacher_and_matches_the_formula():
    student, teacher = torch.randn(6, 4), torch.randn(6, 4)
    assert distillation_loss(teacher, teacher, 3.0).abs() < 1e-6
    p, q = (teacher / 2).softmax(1), (student / 2).softmax(1)
    assert torch.isclose(distillation_loss(student, teacher, 2.0), (p * (p / q).log()).sum(1).mean() * 4)


def test_dense_and_sequence_outputs_have_their_classes_where_they_belong():
    maps, labels = torch.randn(2, 5, 3, 4), torch.randint(0, 5, (2, 3, 4))
    assert torch.isclose(label_loss(maps, labels), nn.functional.cross_entropy(maps, labels))
    tokens, words = torch.randn(2, 7, 11), torch.randint(0, 11, (2, 7))
    assert torch.isclose(label_loss(tokens, words), nn.functional.cross_entropy(tokens.transpose(1, 2), words))


def test_labels_that_do_not_fit_are_usage_errors():
    with pytest.raises(UsageError, match="label 4"):
        label_loss(torch.randn(3, 4), torch.tensor([0, 4, 1]))
    with pytest.raises(UsageError, match="do not fit"):
        label_loss(torch.randn(3, 4), torch.rand(3))


def test_the_rate_rises_then_falls_to_zero():
    rates = [rate_at(step, 100, 10) for step in range(100)]
    assert all(a < b for a, b in pairwise(rates[:11]))
    assert rates[10] == 1.0
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert 0 < rates[-1] < 0.01


def test_crops_are_shifted_pictures_and_flips_are_mirrored():
    picture = torch.arange(1.0, 65).reshape(1, 1, 8, 8).repeat(64, 1, 1, 1)
    flipped = augment(picture, "flip", torch.Generator().manual_seed(0))
    kinds = {bool(torch.equal(one, picture[0])) for one in flipped}
    assert kinds == {True, False}
    assert all(torch.equal(one, picture[0]) or torch.equal(one, picture[0].flip(-1)) for one in flipped)
    padded = nn.functional.pad(picture[0], (1, 1, 1, 1))
    windows = [padded[:, r : r + 8, c : c + 8] for r in range(3) for c in range(3)]
    cropped = augment(picture, "crop", torch.Generator().manual_seed(0))
    found = {next(i for i, window in enumerate(windows) if torch.equal(one, window)) for one in cropped}
    assert len(found) == 9
    both = augment(picture, "crop-flip", torch.Generator().manual_seed(0))
    assert both.shape == picture.shape
    assert all(any(torch.equal(one, w) or torch.equal(one, w.flip(-1)) for w in windows) for one in both)


def test_global_masks_keep_exactly_the_largest_weights():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 4))
    masks = global_magnitude_masks(net, 150)
    assert set(masks) == {"0.weight", "3.weight"}
    apply_masks(net, masks)
    assert sum(int((p != 0).sum()) for p in net.parameters()) == 150 - 8  # the bias of BatchNorm starts at zero
    kept = torch.cat([net.get_parameter(name)[mask == 1].flatten() for name, mask in masks.items()])
    fresh = torch.manual_seed(0) and nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 4)
    )
    gone = torch.cat([fresh.get_parameter(name)[mask == 0].flatten() for name, mask in masks.items()])
    assert kept.abs().min() >= gone.abs().max()
    with pytest.raises(UsageError, match="fewer than"):
        global_magnitude_masks(net, 10)


class Fixed(nn.Module):
    """Gives class 1 to every example."""

    def __init__(self):
        super().__init__()
        self.scores = nn.Parameter(torch.tensor([0.0, 1.0, 0.5]))

    def forward(self, x):
        return self.scores.expand(len(x), 3)


def test_accuracy_is_counted_over_the_validation_examples():
    val = ArrayDataset(torch.zeros(10, 1, 2, 2), torch.tensor([1] * 7 + [0, 2, 2]))
    data = Data(train=val, val=val, labelled=True, classes=3)
    net = Fixed()
    result = accuracy(net, data, batch_size=4)
    assert (result.metric, result.value, result.examples) == ("top1", 0.7, 10)
    assert net.training

    def top2(outputs, targets):
        return float((np.argsort(outputs, axis=1)[:, -2:] == targets[:, None]).any(1).sum()), len(targets)

    assert accuracy(net, data, metric=top2).value == 0.9
    assert accuracy(net, data, metric=top2).metric == "top2"
    for metric, words in (("f1", "no metric 'f1'"), (lambda outputs, targets: 1 / 0, "ZeroDivisionError")):
        with pytest.raises(UsageError, match=words):
            accuracy(net, data, metric=metric)
    with pytest.raises(UsageError, match="labels"):
        accuracy(net, Data(train=val, val=val, labelled=False, classes=None))


class NoBf16(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        if x.dtype == torch.bfloat16:
            raise RuntimeError("no kernel for bfloat16")
        return x

    @staticmethod
    def backward(ctx, grad):
        return grad


class Picky(nn.Linear):
    def forward(self, x):
        return NoBf16.apply(super().forward(x))


def test_precision_is_one_of_two_and_leaves_the_module_alone():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    before = [tensor.clone() for tensor in net.state_dict().values()]
    assert choose_precision(net, torch.randn(4, 3, 8, 8)) in ("fp32", "bf16")
    assert all(torch.equal(a, b) for a, b in zip(before, net.state_dict().values(), strict=True))
    assert net[0].weight.grad is None


def test_precision_falls_back_where_bf16_has_no_kernel():
    assert choose_precision(Picky(4, 4), torch.randn(2, 4)) == "fp32"
