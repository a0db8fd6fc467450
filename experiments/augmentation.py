"""Random changes of training images, vectorised over a batch.

Each takes images ``(n, height, width, channels)`` in [0, 1] and returns images of the same shape
and range; what it draws comes from the generator it is given.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from experiments.config import TrainingConfig


def augment(images: np.ndarray, rng: np.random.Generator, training: TrainingConfig) -> np.ndarray:
    """Applies the augmentations of a training configuration in their order.

    Args:
        images: ``(n, height, width, channels)`` float32 in [0, 1].
        rng: Where every draw comes from.
        training: Names and sizes.
    """
    for name in training.augmentation:
        images = _AUGMENTATIONS[name](images, rng, training)
    return images


def _flip(images: np.ndarray, rng: np.random.Generator, _: TrainingConfig) -> np.ndarray:
    flipped = rng.random(len(images)) < 0.5
    return np.where(flipped[:, None, None, None], images[:, :, ::-1], images)


def _vertical_flip(images: np.ndarray, rng: np.random.Generator, _: TrainingConfig) -> np.ndarray:
    flipped = rng.random(len(images)) < 0.5
    return np.where(flipped[:, None, None, None], images[:, ::-1], images)


def _shift(images: np.ndarray, rng: np.random.Generator, training: TrainingConfig) -> np.ndarray:
    """Translates each image by up to the configured share of its side; zeros move in."""
    count, height, width, _ = images.shape
    reach = round(training.shift_fraction * height)
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    tops, lefts = rng.integers(0, 2 * reach + 1, (2, count))
    rows = tops[:, None] + np.arange(height)
    columns = lefts[:, None] + np.arange(width)
    return padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _stretch(images: np.ndarray, rng: np.random.Generator, training: TrainingConfig) -> np.ndarray:
    """Zooms each image along either axis on its own, about the centre; the border is repeated."""
    reach = training.stretch_fraction
    for axis in (1, 2):
        zooms = rng.uniform(1 - reach, 1 + reach, len(images))
        images = _zoomed(images, zooms, axis)
    return images


def _zoomed(images: np.ndarray, zooms: np.ndarray, axis: int) -> np.ndarray:
    """Images enlarged along one axis by their factors ``(n,)``, interpolated linearly."""
    side = images.shape[axis]
    centre = (side - 1) / 2
    places = centre + (np.arange(side) - centre) / zooms[:, np.newaxis]
    places = np.clip(places, 0, side - 1)
    before = np.minimum(places.astype(int), side - 2)
    share = (places - before).astype(images.dtype)
    shape = [len(images), 1, 1, 1]
    shape[axis] = side
    before, share = before.reshape(shape), share.reshape(shape)
    low = np.take_along_axis(images, before, axis)
    high = np.take_along_axis(images, before + 1, axis)
    return low + (high - low) * share


def _noise(images: np.ndarray, rng: np.random.Generator, training: TrainingConfig) -> np.ndarray:
    """Multiplies every pixel by a Gaussian factor of mean 1."""
    factors = rng.normal(1.0, training.noise_scale, images.shape).astype(images.dtype)
    return np.clip(images * factors, 0, 1)


_AUGMENTATIONS: dict[str, Callable[..., np.ndarray]] = {
    "flip": _flip,
    "vertical_flip": _vertical_flip,
    "shift": _shift,
    "stretch": _stretch,
    "noise": _noise,
}
