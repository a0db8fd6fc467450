"""Small networks and helpers for the tests of ``models/``."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import keras
import numpy as np

from models.registry import TARGETS, build_classifier

GREY = (28, 28, 1)
COLOUR = (32, 32, 3)
ROOT = Path(__file__).resolve().parents[1]
SMALL_VOTERS = ("resnet_a", "densenet_a", "wide_resnet_a")


@cache
def small(name: str, shape: tuple[int, int, int] = COLOUR, seed: int = 0) -> keras.Model:
    """Returns a network of the named family, cut to a size that runs in milliseconds."""
    if name in TARGETS:
        return build_classifier(name, shape, width=0.25, seed=seed)
    width = 0.5 if name.startswith("densenet") else 0.125
    return build_classifier(name, shape, width=width, depth=1, seed=seed)


def images(shape: tuple[int, int, int], count: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, *shape), dtype=np.float32)


def num_trainable(model: keras.Model) -> int:
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def layers_of(model: keras.Model, kind: type) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if isinstance(layer, kind)]


def kernels_of(model: keras.Model) -> list[keras.Variable]:
    return [variable for variable in model.trainable_variables if variable.path.endswith("kernel")]


def same_weights(one: keras.Model, other: keras.Model) -> bool:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)
