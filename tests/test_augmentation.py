"""Random changes of training images."""

from __future__ import annotations

import numpy as np

from experiments import datasets
from experiments.augmentation import augment
from experiments.config import TrainingConfig


def _augmented(images: np.ndarray, *names: str, **sizes: float) -> np.ndarray:
    config = TrainingConfig(epochs=1, augmentation=names, **sizes)
    return augment(images, np.random.default_rng(0), config)


def test_flip_mirrors_some_images_and_leaves_the_others():
    images = np.random.default_rng(0).random((64, 4, 4, 1), dtype=np.float32)
    config = TrainingConfig(epochs=1, batch_size=64, augmentation=("flip",))
    batches = datasets.Batches(images, np.arange(64), config, seed=0)
    seen, labels = batches[0]
    mirrored = [np.array_equal(seen[i], images[labels[i], :, ::-1]) for i in range(64)]
    same = [np.array_equal(seen[i], images[labels[i]]) for i in range(64)]
    assert all(m or s for m, s in zip(mirrored, same, strict=True))
    assert 15 < sum(mirrored) < 49


def test_shift_translates_within_reach_and_fills_with_zeros():
    images = np.zeros((50, 10, 10, 1), np.float32)
    images[:, 5, 5] = 1
    config = TrainingConfig(epochs=1, batch_size=50, augmentation=("shift",), shift_fraction=0.2)
    seen, _ = datasets.Batches(images, np.arange(50), config, seed=0)[0]
    np.testing.assert_array_equal(seen.sum(axis=(1, 2, 3)), np.ones(50))
    places = np.argwhere(seen[..., 0] == 1)[:, 1:]
    assert places.min() == 3 and places.max() == 7
    assert len(np.unique(places, axis=0)) > 10


def test_vertical_flip_turns_some_images_upside_down():
    images = np.random.default_rng(0).random((64, 4, 4, 1), dtype=np.float32)
    seen = _augmented(images, "vertical_flip")
    turned = np.asarray([np.array_equal(a, b[::-1]) for a, b in zip(seen, images, strict=True)])
    np.testing.assert_array_equal(seen[~turned], images[~turned])
    assert 15 < turned.sum() < 49


def test_stretch_zooms_about_the_centre_within_its_reach():
    row = np.arange(21, dtype=np.float32) / 20
    images = np.broadcast_to(row[None, None, :, None], (100, 21, 21, 1))
    seen = _augmented(images, "stretch", stretch_fraction=0.1)
    np.testing.assert_allclose(seen[:, :, 10], images[:, :, 10], atol=1e-6)
    slopes = (seen[:, 10, 11, 0] - seen[:, 10, 10, 0]) * 20
    assert 1 / 1.1 - 1e-5 < slopes.min() < 0.93 and 1.08 < slopes.max() < 1 / 0.9 + 1e-5
    # Nothing changes across the image, where every row is alike; the border is repeated.
    assert np.ptp(seen, axis=1).max() < 1e-6
    assert seen.min() >= 0 and seen.max() <= 1


def test_noise_multiplies_pixels_by_factors_of_mean_one():
    seen = _augmented(np.full((20, 10, 10, 3), 0.5, np.float32), "noise", noise_scale=0.2)
    assert abs(seen.mean() - 0.5) < 0.005
    assert abs(seen.std() - 0.1) < 0.005
    assert not _augmented(np.zeros((2, 4, 4, 1), np.float32), "noise").any()
