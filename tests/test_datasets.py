"""Data: splits, checksums, and an order that a resumed training repeats."""

from __future__ import annotations

import dataclasses
import re
import shutil
import time

import keras
import numpy as np
import pytest

from experiments import datasets
from experiments.config import DatasetConfig, TrainingConfig

DIGITS = DatasetConfig(name="digits", validation_size=100)


@pytest.fixture(scope="module")
def digits() -> datasets.Dataset:
    return datasets.load(DIGITS)


def test_digits_are_unit_range_images(digits):
    assert digits.input_shape == (28, 28, 1)
    assert digits.train.images.dtype == np.float32
    assert digits.train.images.min() == 0 and digits.train.images.max() == 1
    assert (len(digits.train), len(digits.validation), len(digits.test)) == (1297, 100, 400)
    assert set(digits.test.labels) == set(range(10))


def test_splits_share_no_image(digits):
    images = np.concatenate([digits.train.images, digits.validation.images, digits.test.images])
    from sklearn.datasets import load_digits

    distinct = len(np.unique(load_digits().images.reshape(1797, -1), axis=0))
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == distinct


def test_validation_split_does_not_depend_on_the_limits(digits):
    smaller = datasets.load(dataclasses.replace(DIGITS, train_limit=50, test_limit=20))
    np.testing.assert_array_equal(smaller.validation.images, digits.validation.images)
    np.testing.assert_array_equal(smaller.train.images, digits.train.images[:50])
    np.testing.assert_array_equal(smaller.test.images, digits.test.images[:20])
    assert smaller.checksum == digits.checksum


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"one of .*cifar10.*digits, received 'imagenet'"):
        datasets.load(DatasetConfig(name="imagenet"))


def test_missing_directory_says_how_to_give_one(tmp_path):
    with pytest.raises(ValueError, match=r"does not exist.*--data-dir"):
        datasets.load(DatasetConfig(name="mnist"), tmp_path / "absent")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (__file__, "test_datasets.py', which is a file"),
        ("a\0b", "which does not"),
        (5, "'5', which"),
    ],
)
def test_what_is_no_directory_is_named(given, message):
    with pytest.raises(datasets.DatasetError, match=message):
        datasets.load(DatasetConfig(name="mnist"), given)


def test_a_validation_split_of_everything_is_named():
    with pytest.raises(
        datasets.DatasetError, match=r"validation_size below the 1397 .* such as 139"
    ):
        datasets.load(DatasetConfig(name="digits"))


@pytest.mark.parametrize("config", ["digits", None, {"name": "digits"}, DatasetConfig])
def test_another_kind_of_configuration_says_what_to_pass(config):
    with pytest.raises(datasets.DatasetError, match=r"Pass DatasetConfig\(name='digits'\)"):
        datasets.load(config)


def test_an_empty_directory_without_a_network_answers_at_once(tmp_path, monkeypatch):
    def refused(address, timeout):
        raise OSError(f"{address[0]} is not reachable")

    monkeypatch.setattr("socket.create_connection", refused)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    start = time.perf_counter()
    with pytest.raises(datasets.DatasetError, match=r"not prepared.*no connection to storage"):
        datasets.load(DatasetConfig(name="mnist"), tmp_path)
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize(
    ("name", "proxies", "asked"),
    [
        ("mnist", {}, ("storage.googleapis.com", 443)),
        ("fashion_mnist", {}, ("fashion-mnist.s3-website.eu-central-1.amazonaws.com", 80)),
        ("mnist", {"no": "localhost"}, ("storage.googleapis.com", 443)),
        ("mnist", {"https": "http://proxy.example:3128"}, ("proxy.example", 3128)),
        ("svhn_cropped", {"all": "proxy.example"}, ("proxy.example", 80)),
        ("cifar10", {"https": "socks5://proxy.example"}, ("proxy.example", 1080)),
    ],
)
def test_the_connection_is_tried_where_the_download_goes(
    name, proxies, asked, tmp_path, monkeypatch
):
    def refused(address, timeout):
        raise OSError(f"{address} is not reachable")

    monkeypatch.setattr("socket.create_connection", refused)
    monkeypatch.setattr("urllib.request.getproxies", lambda: proxies)
    monkeypatch.setattr("urllib.request.proxy_bypass", lambda host: False)
    with pytest.raises(datasets.DatasetError, match=re.escape(f"{asked} is not reachable")):
        datasets.load(DatasetConfig(name=name), tmp_path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A directory with twelve images in the format of TensorFlow Datasets."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("tfds")
    images = np.random.default_rng(0).integers(0, 256, (12, 28, 28, 1), np.uint8)
    features = {
        "image": tfds.features.Image(shape=(28, 28, 1)),
        "label": tfds.features.ClassLabel(num_classes=11),
    }
    labels = np.append(np.arange(11), 10)
    tfds.dataset_builders.store_as_tfds_dataset(
        name="mnist",
        version="3.0.1",
        features=tfds.features.FeaturesDict(features),
        split_datasets={
            split: tf.data.Dataset.from_tensor_slices({"image": images[a:b], "label": labels[a:b]})
            for split, a, b in (("train", 0, 8), ("test", 6, 10))
        },
        data_dir=folder,
        disable_shuffling=True,
    )
    return folder, images


def test_a_prepared_directory_is_read_without_a_network(prepared, monkeypatch):
    folder, images = prepared
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: pytest.fail("asked"))
    loaded = datasets.load(DatasetConfig(name="mnist", validation_size=2), folder)
    assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (6, 2, 4)
    np.testing.assert_allclose(loaded.test.images.sum(), images[6:10].sum() / 255, rtol=1e-5)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.97])
def test_damaged_records_are_called_damaged(prepared, tmp_path, kept):
    folder = shutil.copytree(prepared[0], tmp_path / "copy")
    (shard,) = folder.glob("mnist/*/*test*tfrecord*")
    content = shard.read_bytes()
    shard.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(datasets.DatasetError, match=r"damaged files in .*Delete that folder"):
        datasets.load(DatasetConfig(name="mnist", validation_size=2), folder)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("content", [b"", b"null", b"{}", b'{"name": "mn', b"\xff\0"])
def test_a_damaged_description_is_called_damaged(prepared, tmp_path, name, content):
    folder = shutil.copytree(prepared[0], tmp_path / "copy")
    (path,) = folder.glob(f"mnist/*/{name}")
    path.write_bytes(content)
    with pytest.raises(datasets.DatasetError, match=r"damaged files in .*mnist.*Delete that fold"):
        datasets.load(DatasetConfig(name="mnist", validation_size=2), folder)


@pytest.mark.parametrize("limits", [{"train_limit": 5000}, {"test_limit": 5000}])
def test_limits_beyond_the_data_are_refused(limits):
    with pytest.raises(ValueError, match="1397 training images"):
        datasets.load(dataclasses.replace(DIGITS, **limits))


def _batches(seed=3, **training):
    images = np.arange(40, dtype=np.float32).reshape(10, 2, 2, 1) / 40
    config = TrainingConfig(epochs=3, batch_size=4, **training)
    return datasets.Batches(images, np.arange(10), config, seed=seed)


def _order(batches):
    return np.concatenate([batches[i][1] for i in range(len(batches))])


def test_each_epoch_has_its_own_order_and_resuming_repeats_it():
    first = _batches()
    orders = []
    for _ in range(3):
        orders.append(_order(first))
        first.on_epoch_end()
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert not np.array_equal(orders[0], orders[1])
    resumed = _batches()
    resumed.start_at(2)
    np.testing.assert_array_equal(_order(resumed), orders[2])
    assert not np.array_equal(_order(_batches(seed=4)), orders[0])


def test_dict_batches_hold_what_a_purifier_asks_for():
    images = np.zeros((4, 2, 2, 1), np.float32)
    config = TrainingConfig(epochs=1, batch_size=4)
    batches = datasets.Batches(images, np.arange(4), config, seed=0, keys=("clean", "label"))
    (batch,) = batches[0]
    assert set(batch) == {"clean", "label"}


def test_unknown_augmentation_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"flip, vertical_flip, shift.*received 'mixup'"):
        _batches(augmentation=("mixup",))


def test_each_attacked_copy_stands_beside_its_clean_image_once_an_epoch():
    images = np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1) / 10
    copies = [images + 0.01, images + 0.02, images + 0.03]
    config = TrainingConfig(epochs=1, batch_size=4)
    keys = ("clean", "adversarial", "label")
    batches = datasets.Batches(images, np.arange(5), config, seed=0, keys=keys, attacked=copies)
    assert len(batches) == 4
    seen = [batches[i][0] for i in range(4)]
    clean, attacked, labels = (np.concatenate([batch[key] for batch in seen]) for key in keys)
    np.testing.assert_allclose(clean.ravel(), labels / 10, atol=1e-7)
    added = np.rint((attacked - clean).ravel() * 100)
    assert sorted(zip(added, labels, strict=True)) == [(a, i) for a in (1, 2, 3) for i in range(5)]
    assert not np.array_equal(labels, np.sort(labels))


IMAGES = np.full((5, 4, 4, 1), 0.5, np.float32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": (IMAGES * 255).astype("uint8")}, "dtype uint8"),
        ({"images": IMAGES * 255}, r"in \[0, 1\], received values from 127.5"),
        ({"images": IMAGES * np.nan}, "finite images"),
        ({"images": IMAGES[..., 0]}, "received \\(5, 4, 4\\)"),
        ({"images": np.zeros((5, 3, 8, 8))}, "has the channels first"),
        ({"images": IMAGES[:0], "labels": []}, "at least one"),
        ({"labels": np.eye(5, dtype=int)}, r"argmax\(axis=-1\)"),
        ({"labels": np.arange(4)}, "integers of shape \\(5,\\)"),
        ({"labels": np.arange(5) - 1}, "from -1 to 3"),
        ({"labels": np.arange(5.0)}, "astype"),
        ({"attacked": [IMAGES * 255]}, "each attacked copy in"),
        ({"keys": ("clean", "adversarial")}, "one of clean, label, received 'adversarial'"),
        ({"labels": np.full(5, 2**63, np.uint64)}, r"in \[0, 9223372036854775807\], received"),
        ({"keys": "clean"}, r"a tuple of one name or more, received 'clean'"),
        ({"keys": ()}, r"a tuple of one name or more, received \(\)"),
        ({"attacked": None}, "a sequence of image arrays, received None"),
        ({"seed": -1}, "seed to be an integer of at least 0"),
        ({"training": None}, r"Pass TrainingConfig\(epochs=1\)"),
    ],
)
def test_wrong_training_data_are_refused(changes, message):
    given = {"images": IMAGES, "labels": np.arange(5), "training": TrainingConfig(epochs=1)}
    given = {"seed": 0, **given, **changes}
    with pytest.raises(ValueError, match=message):
        datasets.Batches(given.pop("images"), given.pop("labels"), given.pop("training"), **given)


def test_labels_in_a_column_are_taken_as_labels_in_a_row():
    batches = datasets.Batches(
        IMAGES, np.arange(5)[:, None], TrainingConfig(epochs=1, batch_size=5), seed=0
    )
    assert sorted(batches[0][1]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("index", [-1, 3, 1.0, slice(2), None])
def test_a_batch_that_is_not_there_is_an_index_error(index):
    with pytest.raises(IndexError, match="one of 3 batches"):
        _batches()[index]


def test_a_pass_goes_on_where_shorter_epochs_stop():
    seen = []

    class Net(keras.Model):
        def train_step(self, data):
            seen.extend(np.ravel(data[1]).tolist())
            return {"loss": 0.0}

    net = Net()
    net.compile(run_eagerly=True)
    images = np.full((32, 1, 1, 1), 0.5, np.float32)
    batches = datasets.Batches(
        images, np.arange(32), TrainingConfig(epochs=2, batch_size=4), seed=0
    )
    net.fit(batches, steps_per_epoch=4, epochs=2, shuffle=False, verbose=0)
    assert sorted(seen) == list(range(32))


@pytest.mark.parametrize(("shape", "changes"), [((4, 1, 1, 1), ()), ((5, 1, 1, 1), ("flip",))])
def test_attacked_copies_that_do_not_fit_are_refused(shape, changes):
    images = np.zeros((5, 1, 1, 1), np.float32)
    config = TrainingConfig(epochs=1, augmentation=changes)
    with pytest.raises(ValueError, match="Attack exactly these images"):
        datasets.Batches(images, np.arange(5), config, seed=0, attacked=[np.zeros(shape)])
