"""Data: splits, checksums, and an order that a resumed training repeats."""

from __future__ import annotations

import dataclasses

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


@pytest.mark.parametrize(("shape", "changes"), [((4, 1, 1, 1), ()), ((5, 1, 1, 1), ("flip",))])
def test_attacked_copies_that_do_not_fit_are_refused(shape, changes):
    images = np.zeros((5, 1, 1, 1), np.float32)
    config = TrainingConfig(epochs=1, augmentation=changes)
    with pytest.raises(ValueError, match="Attack exactly these images"):
        datasets.Batches(images, np.arange(5), config, seed=0, attacked=[np.zeros(shape)])
