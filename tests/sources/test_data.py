"""Data from folders, .npz files and callables."""

import sys

import numpy as np
import pytest
import torch

from deployprune.errors import UsageError
from deployprune.sources.batches import split_batch
from deployprune.sources.data import load_data
from deployprune.sources.inputs import parse_input

GRAY = parse_input("1x1x8x8")
COLOUR = parse_input("1x3x8x8")


def save(path, count=100, shape=(8, 8), dtype=np.uint8, classes=5, **more):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (count, *shape)).astype(dtype)
    np.savez(path, x=x, **({"y": np.arange(count) % classes} if classes else {}), **more)
    return x


def test_npz_bytes_become_floats_with_a_channel_and_every_class_is_held_out(tmp_path):
    raw = save(tmp_path / "d.npz")
    data = load_data(str(tmp_path / "d.npz"), input_spec=GRAY, seed=1, validation_share=0.2)
    assert (len(data.train), len(data.val), data.labelled, data.classes) == (80, 20, True, 5)
    x, y = next(iter(data.loader("val", 20)))
    assert x.shape == (20, 1, 8, 8)
    assert x.dtype == torch.float32
    assert torch.bincount(y).tolist() == [4, 4, 4, 4, 4]
    everything = torch.cat([batch[0] for split in ("train", "val") for batch in data.loader(split, 7)])
    assert torch.isclose(everything.sum(), torch.tensor(raw.sum() / 255.0, dtype=torch.float32))


def test_the_seed_decides_the_order_and_the_split(tmp_path):
    save(tmp_path / "d.npz")

    def load(seed):
        return load_data(str(tmp_path / "d.npz"), input_spec=GRAY, seed=seed)

    first = [y.tolist() for _, y in load(0).loader("train", 16, shuffle=True, seed=3)]
    assert first == [y.tolist() for _, y in load(0).loader("train", 16, shuffle=True, seed=3)]
    assert first != [y.tolist() for _, y in load(0).loader("train", 16, shuffle=True, seed=4)]
    assert not torch.equal(load(0).val.x, load(1).val.x)
    assert torch.equal(load(0).val.x, load(0).val.x)


def test_single_examples_equal_those_of_batches_and_are_normalised(tmp_path):
    save(tmp_path / "d.npz", shape=(8, 8, 3))
    data = load_data(str(tmp_path / "d.npz"), input_spec=COLOUR, mean=[0.5, 0.4, 0.3], std=[0.2, 0.2, 0.1])
    plain = load_data(str(tmp_path / "d.npz"), input_spec=COLOUR)
    x, y = next(iter(data.loader("train", 4)))
    one, label = data.train[2]
    assert torch.equal(one, x[2])
    assert label == y[2]
    expected = (plain.train[2][0] - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.2, 0.1]).view(
        3, 1, 1
    )
    assert torch.allclose(one, expected)


@pytest.mark.parametrize(("mean", "std"), [([0.5, 0.5], None), ([0.5], [0.0])])
def test_a_normalisation_that_does_not_fit_is_a_usage_error(tmp_path, mean, std):
    save(tmp_path / "d.npz", shape=(8, 8, 3))
    with pytest.raises(UsageError, match="do not fit the input"):
        load_data(str(tmp_path / "d.npz"), input_spec=COLOUR, mean=mean, std=std)


def test_npz_without_labels_is_unlabelled(tmp_path):
    save(tmp_path / "d.npz", classes=0)
    data = load_data(str(tmp_path / "d.npz"), input_spec=GRAY)
    assert (data.labelled, data.classes) == (False, None)
    assert next(iter(data.loader("train", 3))).shape == (3, 1, 8, 8)


def test_a_folder_with_train_and_test_files(tmp_path):
    save(tmp_path / "train.npz")
    save(tmp_path / "test.npz", count=30)
    data = load_data(str(tmp_path), input_spec=GRAY)
    assert (len(data.train), len(data.val)) == (100, 30)


def test_sizes_are_changed_only_when_asked(tmp_path):
    save(tmp_path / "d.npz", shape=(6, 6))
    with pytest.raises(UsageError, match="are 1x6x6, the model takes 1x8x8"):
        load_data(str(tmp_path / "d.npz"), input_spec=GRAY)
    assert load_data(str(tmp_path / "d.npz"), input_spec=GRAY, resize=True).train[0][0].shape == (1, 8, 8)


def test_features_and_token_ids(tmp_path):
    save(tmp_path / "f.npz", shape=(16,), dtype=np.float64)
    assert load_data(str(tmp_path / "f.npz"), input_spec=parse_input("1x16")).train[0][0].dtype == torch.float32
    save(tmp_path / "t.npz", shape=(16,), dtype=np.int32)
    assert load_data(str(tmp_path / "t.npz"), input_spec=parse_input("1x16:int64")).train[0][0].dtype == torch.int64


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p.write_bytes(b"rubbish"), "not an .npz"),
        (lambda p: np.savez(p, images=np.zeros(3)), "no array x, only images"),
        (lambda p: np.savez(p, x=np.zeros((4, 8, 8)), y=np.zeros(4)), "class numbers"),
        (lambda p: np.savez(p, x=np.zeros((4, 8, 8)), y=np.array([0, 1, -1, 0])), "negative"),
        (lambda p: np.savez(p, x=np.zeros((4, 8, 8)), y=np.zeros(3, int)), "class numbers"),
        (lambda p: np.savez(p, x=np.array([{}, {}], dtype=object)), "plain arrays"),
        (lambda p: np.savez(p, x=np.zeros((1, 8, 8))), "too few"),
    ],
)
def test_wrong_npz_files_are_usage_errors(tmp_path, make, words):
    make(tmp_path / "d.npz")
    with pytest.raises(UsageError, match=words):
        load_data(str(tmp_path / "d.npz"), input_spec=GRAY)


def paint(path, colour, size=(20, 12)):
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.new("RGB", size, colour).save(path)


def test_class_folders_with_train_and_val(tmp_path):
    for split, count in (("train", 3), ("val", 2)):
        for index in range(count):
            paint(tmp_path / split / "blue" / f"{index}.png", (0, 0, 255))
            paint(tmp_path / split / "red" / f"{index}.png", (255, 0, 0), size=(8, 30))
    data = load_data(str(tmp_path), input_spec=COLOUR)
    assert (len(data.train), len(data.val), data.labelled, data.classes) == (6, 4, True, 2)
    for x, y in data.loader("val", 1):
        assert x.shape == (1, 3, 8, 8)
        assert x[0, :, 4, 4].tolist() == [[0, 0, 1], [1, 0, 0]][int(y)]


def test_the_centre_is_cut_out(tmp_path):
    image = pytest.importorskip("PIL.Image").new("RGB", (24, 8), (0, 0, 0))
    image.paste((255, 255, 255), (8, 0, 16, 8))
    for index in range(10):
        image.save(tmp_path / f"{index}.png")
    data = load_data(str(tmp_path), input_spec=COLOUR)
    assert not data.labelled
    assert data.train[0].min() == 1


def test_images_that_do_not_fit_in_memory_are_decoded_a_batch_at_a_time(tmp_path, monkeypatch):
    for index in range(10):
        paint(tmp_path / "a" / f"{index}.png", (index * 20, 0, 0))
        paint(tmp_path / "b" / f"{index}.png", (0, index * 20, 0))
    kept = load_data(str(tmp_path), input_spec=COLOUR)
    monkeypatch.setattr("deployprune.sources.folders._MEMORY_LIMIT", 0)
    lazy = load_data(str(tmp_path), input_spec=COLOUR, workers=1)
    for one, other in zip(kept.loader("train", 4), lazy.loader("train", 4), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_wrong_folders_are_usage_errors(tmp_path):
    with pytest.raises(UsageError, match="no images"):
        load_data(str(tmp_path), input_spec=COLOUR)
    paint(tmp_path / "train" / "a" / "0.png", (0, 0, 0))
    paint(tmp_path / "val" / "b" / "0.png", (0, 0, 0))
    with pytest.raises(UsageError, match="class 'b'"):
        load_data(str(tmp_path), input_spec=COLOUR)
    with pytest.raises(UsageError, match="input of shape 1x16"):
        load_data(str(tmp_path / "train"), input_spec=parse_input("1x16"))
    (tmp_path / "val" / "b").rename(tmp_path / "val" / "a")
    (tmp_path / "val" / "a" / "1.png").write_bytes(b"rubbish")
    with pytest.raises(UsageError, match=r"1\.png"):
        load_data(str(tmp_path), input_spec=COLOUR)


def test_image_folders_without_pillow_say_how_to_get_it(tmp_path, monkeypatch):
    paint(tmp_path / "a" / "0.png", (0, 0, 0))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UsageError, match="Pillow") as caught:
        load_data(str(tmp_path), input_spec=COLOUR)
    assert caught.value.hint == "pip install 'deployprune[images]'"


USER_FILE = """
import torch
from torch.utils.data import DataLoader, TensorDataset
x = torch.arange(40.).reshape(20, 2)
y = torch.arange(20) % 2
def loaders():
    return DataLoader(TensorDataset(x, y), batch_size=5), DataLoader(TensorDataset(x[:4], y[:4]), batch_size=2)
def dataset(): return TensorDataset(x, y)
def bare(): return {"train": [row for row in x], "val": [row for row in x[:4]]}
class Batches:
    def __len__(self): return 4
    def __iter__(self): return iter([(x[i::4], y[i::4]) for i in range(4)])
def streams(): return Batches(), Batches()
class Breaks:
    def __len__(self): return 3
    def __iter__(self):
        yield x[:5], y[:5]
        raise RuntimeError("cable pulled")
def breaking_stream(): return Breaks(), Breaks()
class Hole:
    def __len__(self): return 8
    def __getitem__(self, index): return x[index] if index != 3 else {}["three"]
def hole(): return {"train": Hole(), "val": [row for row in x[:4]]}
def ragged(): return {"train": [row[: 1 + i % 2] for i, row in enumerate(x)], "val": [row for row in x[:4]]}
def number(): return 3
def fails(): raise RuntimeError("disk gone")
"""


@pytest.mark.parametrize(
    ("name", "labelled", "sizes"),
    [("loaders", True, (20, 4)), ("dataset", True, (18, 2)), ("bare", False, (20, 4)), ("streams", True, (4, 4))],
)
def test_callables_give_loaders_or_data_sets(tmp_path, name, labelled, sizes):
    (tmp_path / "mine.py").write_text(USER_FILE)
    data = load_data(f"{tmp_path}/mine.py:{name}", input_spec=parse_input("1x2"))
    assert data.labelled == labelled
    assert (len(data.train), len(data.val)) == sizes
    batches = list(data.loader("train", 4, shuffle=True, seed=1))
    x, y = split_batch(batches[0])
    assert x.shape[1:] == (2,)
    assert (y is not None) == labelled
    if name != "streams":
        assert len(x) == 4


def test_wrong_callables_and_names_are_usage_errors(tmp_path):
    (tmp_path / "mine.py").write_text(USER_FILE)
    for name, words in (("number", "gave int"), ("fails", "disk gone"), ("absent", "no attribute")):
        with pytest.raises(UsageError, match=words):
            load_data(f"{tmp_path}/mine.py:{name}", input_spec=GRAY)
    with pytest.raises(UsageError, match="names no data"):
        load_data("/nowhere/at/all", input_spec=GRAY)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fails", r"mine\.py:fails failed: RuntimeError: disk gone \(mine\.py:\d+\)"),
        ("breaking_stream", r"breaking_stream failed to give batch 2: RuntimeError: cable pulled \(mine\.py:\d+\)"),
        ("hole", r"hole failed to give example 3: KeyError: 'three' \(mine\.py:\d+\)"),
        ("ragged", r"ragged failed to make a batch of 2 examples: RuntimeError: stack expects"),
    ],
)
def test_what_the_users_data_raise_names_them_and_the_line(tmp_path, name, words):
    (tmp_path / "mine.py").write_text(USER_FILE)
    with pytest.raises(UsageError, match=words) as caught:
        list(load_data(f"{tmp_path}/mine.py:{name}", input_spec=parse_input("1x2")).loader("train", 4))
    assert "your own code" in caught.value.hint
