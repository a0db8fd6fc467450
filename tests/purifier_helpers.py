"""Small purifiers of every method, and batches for them."""

from __future__ import annotations

import inspect
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

from defenses.purifier import Purifier
from defenses.registry import get_purifier, purifier_names
from defenses.vqunet import VQUNet
from tests.attack_helpers import linear_classifier
from tests.tiny_profile import CODES_AT_ONCE

GREY, COLOUR = (28, 28, 1), (32, 32, 3)
WIDTH = 0.1
NUM_CLASSES = 10


def methods() -> list[str]:
    """Every method and one ablation of each: the others would only repeat costly tests."""
    seen, chosen = set(), []
    for name in purifier_names():
        entry = get_purifier(name)
        kind = (entry.purifier_class, bool(entry.arguments))
        if kind not in seen:
            seen.add(kind)
            chosen.append(name)
    return chosen


every_method = pytest.mark.parametrize("name", methods())
every_published_method = pytest.mark.parametrize(
    "name", [name for name in methods() if not get_purifier(name).arguments]
)


def build(name: str, shape=GREY, *, seed: int = 0, deterministic: bool = False) -> Purifier:
    entry = get_purifier(name)
    arguments: dict[str, object] = {}
    parameters = inspect.signature(entry.purifier_class).parameters
    given = {"num_restarts": 2, "num_steps": 5}
    given |= {"mean_latent": True, "noise_scale": 0.0} if deterministic else {}
    arguments |= {key: value for key, value in given.items() if key in parameters}
    if "num_residual_blocks" in inspect.signature(entry.purifier_class.for_images).parameters:
        arguments["num_residual_blocks"] = 1
    if "source_classifier" in parameters:
        arguments["source_classifier"] = linear_classifier(NUM_CLASSES, shape)[0]
    if entry.purifier_class is VQUNet:
        arguments["codes_at_once"] = CODES_AT_ONCE
    return entry.for_images(shape, NUM_CLASSES, width=WIDTH, seed=seed, **arguments)


@cache
def untrained(name: str, shape=GREY) -> Purifier:
    """A purifier to look at; tests that train build their own."""
    return build(name, shape)


def compiled(purifier: Purifier, make_optimizer) -> Purifier:
    """Compiles with one fresh optimizer for each that the method takes."""
    parameters = inspect.signature(purifier.compile).parameters
    purifier.compile(**{p: make_optimizer() for p in parameters if p.endswith("optimizer")})
    return purifier


def some_images(num_images: int, shape=GREY, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((num_images, *shape), dtype="float32")


def training_batch(purifier: Purifier, num_images: int, seed: int = 0) -> dict[str, np.ndarray]:
    clean = some_images(num_images, purifier.image_shape, seed)
    noise = np.random.default_rng(seed + 1).normal(scale=0.1, size=clean.shape)
    available = {
        "clean": clean,
        "adversarial": np.clip(clean + noise, 0, 1).astype("float32"),
        "label": np.arange(num_images) % NUM_CLASSES,
    }
    return {key: available[key] for key in purifier.batch_keys}


def as_tensors(batch: dict[str, np.ndarray]) -> dict[str, tf.Tensor]:
    return {key: tf.convert_to_tensor(value) for key, value in batch.items()}


class Batches(keras.utils.PyDataset):
    """Serves the given batches in order, as dicts."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def values(variables) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(v).copy() for v in variables]


def trains(purifier: Purifier) -> bool:
    return bool(purifier.loss_names)
