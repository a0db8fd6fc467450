"""Prediction in batches of one size, and repeatable randomness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from validation import check_integer

__all__ = ["predict_in_batches", "reset_seed_generators", "seed_states"]

_SEED_STATE_NAME = "seed_generator_state"


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
    batch_size = check_integer("batch_size", batch_size, at_least=1, such_as=256)
    size = min(batch_size, 1 << (len(images) - 1).bit_length())
    results = []
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        missing = size - len(batch)
        if missing:
            batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        results.append(np.asarray(predict(batch))[: size - missing])
    return np.concatenate(results)


def seed_states(model: keras.Model) -> list[keras.Variable]:
    """The states of every ``SeedGenerator`` of a model, nested networks included, in order."""
    return [variable for variable in model.variables if variable.name == _SEED_STATE_NAME]


def reset_seed_generators(model: keras.Model, seed: int) -> None:
    """Restarts every ``SeedGenerator`` of a model, each with its own stream.

    Args:
        model: A built model; nested networks are included.
        seed: Non-negative integer. The same seed repeats the same draws.

    Raises:
        ValueError: If the seed is negative or not an integer.
    """
    check_integer("seed", seed)
    for index, state in enumerate(seed_states(model)):
        drawn = np.random.SeedSequence([int(seed), index]).generate_state(1)[0]
        # 31 bits fit the signed seed type that some backends use.
        state.assign(np.array([int(drawn) & 0x7FFFFFFF, 0], dtype=str(state.dtype)))
