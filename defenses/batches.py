"""Checks of images, prediction in batches of one size, and repeatable randomness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

__all__ = ["predict_in_batches", "reset_seed_generators", "validate_images"]

_SEED_STATE_NAME = "seed_generator_state"


def validate_images(images: Any, image_shape: Sequence[int]) -> np.ndarray:
    """Returns images as float32, or raises an error that explains what is wrong with them.

    Integer images, images in [0, 255] or [-1, 1] and missing axes pass through most networks
    without an error and give meaningless results.

    Args:
        images: Float array ``(num_images, height, width, channels)`` in [0, 1], to be checked.
        image_shape: The expected ``(height, width, channels)``.

    Returns:
        float32 array of the same shape, values in [0, 1].

    Raises:
        ValueError: If the kind, shape, number or range of the images is wrong, or a value is
            not finite.
    """
    array = np.asarray(images)
    expected = f"(num_images, {', '.join(map(str, image_shape))})"
    if array.dtype.kind != "f":
        raise ValueError(
            f"Expected floating-point images in [0, 1], received dtype {array.dtype}. Integer "
            "images in [0, 255] become valid by images.astype('float32') / 255."
        )
    if array.ndim != 4 or array.shape[1:] != tuple(image_shape):
        raise ValueError(
            f"Expected images of shape {expected}, received {array.shape}. Add the missing axis "
            "(images[None] for one image, images[..., None] for one channel) or resize."
        )
    if len(array) == 0:
        raise ValueError(f"Expected at least one image of shape {expected}, received none.")
    array = array.astype("float32", copy=False)
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(
            "Expected finite images, received NaN or infinity. Look for a division by zero where "
            "the images are made."
        )
    if low < 0.0 or high > 1.0:
        raise ValueError(
            f"Expected images in [0, 1], received values from {low:g} to {high:g}. Rescale them, "
            "or clip the rounding error of an attack with numpy.clip(images, 0, 1)."
        )
    return array


def predict_in_batches(
    predict: Callable[[np.ndarray], Any], images: np.ndarray, batch_size: int
) -> np.ndarray:
    """Applies a compiled function to images in batches that all have one size.

    A compiled function is traced once for each batch size, so the last batch is filled up with
    copies of the last image, and a set smaller than ``batch_size`` is filled up to a power of
    two.

    Args:
        predict: Maps ``(size, ...)`` to an array or tensor ``(size, ...)``.
        images: Array ``(num_images, ...)``, at least one.
        batch_size: Largest size of a batch, at least 1.

    Returns:
        Array of the ``num_images`` results, in order.

    Raises:
        ValueError: If ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise ValueError(
            f"Expected batch_size of at least 1, received {batch_size}. Use 256 unless memory is "
            "short."
        )
    size = min(batch_size, 1 << (len(images) - 1).bit_length())
    results = []
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        missing = size - len(batch)
        if missing:
            batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        results.append(np.asarray(predict(batch))[: size - missing])
    return np.concatenate(results)


def reset_seed_generators(model: keras.Model, seed: int) -> None:
    """Restarts every ``SeedGenerator`` of a model, each with its own stream.

    Args:
        model: A built model; nested networks are included.
        seed: Non-negative integer. The same seed repeats the same draws.

    Raises:
        ValueError: If the seed is negative or not an integer.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(
            f"Expected a non-negative integer seed, received {seed!r}. Use 0, 1, 2, ..."
        )
    states = [variable for variable in model.variables if variable.name == _SEED_STATE_NAME]
    for index, state in enumerate(states):
        drawn = np.random.SeedSequence([int(seed), index]).generate_state(1)[0]
        # 31 bits fit the signed seed type that some backends use.
        state.assign(np.array([int(drawn) & 0x7FFFFFFF, 0], dtype=str(state.dtype)))
