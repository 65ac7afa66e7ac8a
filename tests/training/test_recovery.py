"""Fine-tuning through its door: what it learns, keeps, repeats and refuses."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from deployprune.errors import UsageError
from deployprune.sources.batches import ArrayDataset
from deployprune.sources.data import Data
from deployprune.training.evaluate import accuracy
from deployprune.training.recovery import finetune
from deployprune.training.settings import RecoverySettings


def small_net(width=8, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * width, 3),
    )


def stripes(count, seed, labelled=True):
    """Images whose class is the quarter that is bright."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (count,), generator=generator)
    x = torch.rand(count, 1, 8, 8, generator=generator) * 0.5
    for index, label in enumerate(y.tolist()):
        row, column = divmod(label, 2)
        x[index, 0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 0.5
    return ArrayDataset(x, y if labelled else None)


@pytest.fixture
def data():
    return Data(train=stripes(256, 1), val=stripes(96, 2), labelled=True, classes=3)


@pytest.fixture
def unlabelled():
    return Data(train=stripes(256, 1, False), val=stripes(96, 2, False), labelled=False, classes=None)


def settings(**changes):
    chosen = {"epochs": 3, "batch_size": 32, "learning_rate": 0.1, "precision": "fp32", "seed": 5, **changes}
    return RecoverySettings(**chosen)


def weights(module):
    return torch.cat([tensor.double().flatten() for tensor in module.state_dict().values()])


def test_labels_alone_teach(data):
    net = small_net()
    before = accuracy(net, data).value
    record = finetune(net, None, data, settings())
    assert accuracy(net, data).value > max(0.9, before)
    assert (record.epochs, record.distilled, record.labels, record.criterion) == (3, False, True, "validation loss")
    assert record.images_per_second > 0
    json.dumps(record.history)


def test_a_teacher_alone_teaches_and_stays_as_it_was(data, unlabelled):
    teacher = small_net(16, seed=3)
    finetune(teacher, None, data, settings(epochs=4))
    before = weights(teacher)
    student = small_net()
    record = finetune(student, teacher, unlabelled, settings(epochs=4))
    assert accuracy(student, data).value > 0.9
    assert (record.distilled, record.labels) == (True, False)
    assert torch.equal(weights(teacher), before)
    assert record.history[-1]["score"] < record.history[0]["score"]


def test_the_same_seed_gives_the_same_bits_and_another_does_not(data):
    nets = [small_net() for _ in range(3)]
    for net, seed in zip(nets, (5, 5, 6), strict=True):
        torch.manual_seed(int(weights(net)[0] * 1000) + len(nets))
        torch.rand(seed)  # what happened before must not matter
        finetune(net, None, data, settings(seed=seed, epochs=2, augment="crop-flip"))
    assert torch.equal(weights(nets[0]), weights(nets[1]))
    assert not torch.equal(weights(nets[0]), weights(nets[2]))


def test_the_callers_random_numbers_are_left_alone(data):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    finetune(small_net_quietly(), None, data, settings(epochs=1))
    assert torch.equal(torch.rand(3), expected)


def small_net_quietly():
    with torch.random.fork_rng():
        return small_net()


def test_the_best_epoch_is_kept_even_if_it_is_the_start(data):
    net = small_net()
    start = weights(net)
    scores = iter([0.9, 0.2, 0.3])
    record = finetune(net, None, data, settings(epochs=2), evaluate=lambda _: next(scores))
    assert record.best_epoch == 0
    assert torch.equal(weights(net), start)
    scores = iter([0.1, 0.8, 0.3])
    snapshots = []

    def evaluate(module):
        snapshots.append(weights(module))
        return next(scores)

    record = finetune(net, None, data, settings(epochs=2), evaluate=evaluate)
    assert (record.best_epoch, record.criterion) == (1, "metric")
    assert torch.equal(weights(net), snapshots[1])
    assert [entry["score"] for entry in record.history] == [0.1, 0.8, 0.3]


def test_masked_weights_stay_zero(data):
    net = small_net()
    masks = {"0.weight": (torch.rand(8, 1, 3, 3) > 0.5).float(), "6.weight": (torch.rand(3, 32) > 0.8).float()}
    finetune(net, None, data, settings(epochs=2, optimizer="adamw", learning_rate=0.01), masks=masks)
    for name, mask in masks.items():
        parameter = net.get_parameter(name)
        assert torch.all(parameter[mask == 0] == 0)
        assert torch.all(parameter[mask == 1] != 0)
    with pytest.raises(UsageError, match=r"mask for 'nowhere'"):
        finetune(net, None, data, settings(), masks={"nowhere": torch.ones(1)})


class KilledError(Exception):
    """Stands for whatever ends a training early."""


def test_an_interrupted_training_goes_on_to_the_same_bits(data, tmp_path):
    teacher, whole = small_net(16, seed=3), small_net()
    broken = copy.deepcopy(whole)
    expected = finetune(whole, teacher, data, settings(augment="crop"))

    def die_in_the_third_epoch(event):
        if event.epoch == 3:
            raise KilledError

    with pytest.raises(KilledError):
        finetune(
            copy.deepcopy(broken), teacher, data, settings(augment="crop"), checkpoint=tmp_path / "c.pt",
            progress=die_in_the_third_epoch,
        )  # fmt: skip
    events = []
    record = finetune(
        broken, teacher, data, settings(augment="crop"), checkpoint=tmp_path / "c.pt", progress=events.append
    )
    assert torch.equal(weights(broken), weights(whole))
    assert {event.epoch for event in events} == {3}
    assert record.history == expected.history
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.pt"]


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_not_taken(data, tmp_path):
    path = tmp_path / "c.pt"
    finetune(small_net(), None, data, settings(epochs=1), checkpoint=path)
    expected = small_net()
    finetune(expected, None, data, settings(epochs=1, seed=9))
    for spoil in (lambda: None, lambda: path.write_bytes(path.read_bytes()[:1000])):
        spoil()
        net = small_net()
        finetune(net, None, data, settings(epochs=1, seed=9), checkpoint=path)
        assert torch.equal(weights(net), weights(expected))


def test_progress_tells_step_rate_and_time_to_go(data):
    events = []
    finetune(small_net(), None, data, settings(epochs=2), progress=events.append)
    assert [event.step for event in events] == list(range(1, 17))
    assert {event.steps for event in events} == {16}
    assert events[-1].eta_s == 0
    assert events[0].eta_s > 0
    assert all(event.images_per_second > 0 for event in events)
    assert events[-1].score is not None


def test_max_steps_shortens_training(data):
    events = []
    record = finetune(small_net(), None, data, settings(epochs=5, max_steps=10), progress=events.append)
    assert len(events) == 10
    assert record.epochs == 2


def test_no_epochs_change_nothing(data):
    net = small_net()
    start = weights(net)
    record = finetune(net, None, data, settings(epochs=0, precision="auto"))
    assert torch.equal(weights(net), start)
    assert (record.epochs, record.best_epoch) == (0, 0)


def test_mode_layout_and_gradients_are_given_back(data):
    net = small_net().eval()
    finetune(net, None, data, settings(epochs=1, precision="bf16"))
    assert not net.training
    assert net[0].weight.is_contiguous()
    assert all(parameter.grad is None and parameter.dtype == torch.float32 for parameter in net.parameters())


def test_bf16_learns_too(data):
    net = small_net()
    finetune(net, None, data, settings(epochs=4, precision="bf16"))
    assert accuracy(net, data).value > 0.9


def test_training_that_cannot_be_is_a_usage_error(data, unlabelled):
    with pytest.raises(UsageError, match="neither"):
        finetune(small_net(), None, unlabelled, settings())
    with pytest.raises(UsageError, match="diverged"):
        finetune(small_net(), None, data, settings(learning_rate=1e30, warmup_epochs=0))
    wrong = Data(train=ArrayDataset(data.train.x, data.train.y + 7), val=data.val, labelled=True, classes=10)
    with pytest.raises(UsageError, match="3 outputs"):
        finetune(small_net(), None, wrong, settings())
    for changes in ({"optimizer": "lion"}, {"precision": "fp8"}, {"batch_size": 0}, {"distill_weight": 1.5}):
        with pytest.raises(UsageError):
            settings(**changes)


class Wrapped(nn.Module):
    """A model whose output is a tuple or a dictionary."""

    def __init__(self, form):
        super().__init__()
        self.net = small_net()
        self.form = form

    def forward(self, x):
        logits = self.net(x)
        return (logits, x) if self.form == "tuple" else {"hidden": x, "logits": logits}


@pytest.mark.parametrize("form", ["tuple", "dict"])
def test_outputs_may_be_tuples_or_dictionaries(data, form):
    net = Wrapped(form)
    finetune(net, Wrapped(form), data, settings(epochs=1))
    assert accuracy(net, data).examples == 96


def test_nothing_is_written_to_the_terminal(data, capfd):
    finetune(small_net(), small_net(16), data, settings(epochs=1, precision="auto"))
    assert capfd.readouterr() == ("", "")


DISTRIBUTED = """
import sys, json
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from test_recovery import small_net, stripes, settings, weights
from deployprune.sources.data import Data
from deployprune.training.evaluate import accuracy
from deployprune.training.recovery import finetune
from accelerate import PartialState
data = Data(train=stripes(256, 1), val=stripes(96, 2), labelled=True, classes=3)
net, events = small_net(), []
record = finetune(net, small_net(16, seed=3), data, settings(distill_weight=0.2), progress=events.append)
state = PartialState()
row = [state.process_index, state.num_processes, len(events), weights(net).sum().item(), accuracy(net, data).value]
open(f"{folder}/{{state.process_index}}.json", "w").write(json.dumps(row))
"""


def test_two_processes_share_the_batch_and_end_with_the_same_weights(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(DISTRIBUTED.format(tests=str(Path(__file__).parent), folder=tmp_path))
    rendezvous = ["--nproc-per-node=2", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
    command = [sys.executable, "-m", "torch.distributed.run", *rendezvous, str(script)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    rows = [json.loads((tmp_path / f"{index}.json").read_text()) for index in range(2)]
    assert [row[:3] for row in rows] == [[0, 2, 24], [1, 2, 0]]
    assert rows[0][3:] == rows[1][3:]
    assert rows[0][4] > 0.9
