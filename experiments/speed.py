"""How fast a device works through counted operations: a rate, and what each step costs besides."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Mapping
from types import MappingProxyType

import keras
import numpy as np

from experiments.config import ClassifierConfig, TrainingConfig
from experiments.costs import WEIGHT_GRADIENT, networks
from models.registry import build_classifier
from validation import check_number

KINDS = ("classifier", "bfloat16", "purifier", "attack", "passes")
"""Training a classifier in float32 or in bfloat16, training a purifier, attacking, and passing
images through networks."""
_YARDSTICK = "A"
_SHAPE = (32, 32, 3)
_SECONDS = 0.05
"""A step that is shorter is repeated with more images, of which a call costs no more."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """Something to be done, as a device sees it.

    Args:
        kind: One of ``KINDS``.
        operations: In all.
        steps: Calls of a compiled function.
        programs: Compiled functions.
        bytes: What is held in the device's memory at once.
    """

    kind: str
    operations: float
    steps: float = 0.0
    programs: int = 0
    bytes: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speed:
    """What a device takes for work.

    Args:
        device: What it is called.
        rate: Operations a second in the training step of target A at full width.
        factors: How many times faster or slower other kinds of work are.
        step_seconds: What each call costs besides.
        program_seconds: What compiling costs.
        accuracy: An estimate is within this factor of what was measured, either way, but for
            networks so small that their calls take longer than their operations.
    """

    device: str
    rate: float
    factors: Mapping[str, float]
    step_seconds: float
    program_seconds: float
    accuracy: float

    def __post_init__(self) -> None:
        check_number("rate", self.rate, above=0)
        for kind in KINDS:
            check_number(f"factor of {kind}", self.factors.get(kind, 1.0), above=0)

    def seconds(self, work: Work) -> float:
        """About how long work takes."""
        computed = work.operations / (self.rate * self.factors.get(work.kind, 1.0))
        return computed + work.steps * self.step_seconds + work.programs * self.program_seconds


GPU_FACTORS = MappingProxyType({**dict.fromkeys(KINDS, 1.9), "bfloat16": 21.0})
"""Against target A, which is among the slow ones. From epochs on one H200 under JAX that it shared
with two or three other trainings, in TFLOP a second: 6 for ResNet-B, 8 for target A, 6 to 22 for
SFL-VAE, 5 to 19 for Defense-CycleGAN, 21 for VQUNet, 3 to 9 for PuVAE, 35 for its classifiers, 140
to 220 for WRN-28-10 in bfloat16."""
SHARED_H200 = Speed(
    device="one H200, shared by three or four trainings (as measured), under JAX",
    rate=8.4e12,
    factors=GPU_FACTORS,
    step_seconds=2e-4,
    program_seconds=20.0,
    accuracy=3.0,
)
"""Programs took 5 to 20 s to compile, large ones to 70."""


def measured() -> Speed:
    """The speed of the device at hand, from a few training steps of target A at full width.

    It takes a second or two. What is timed includes the way of the images to the device, so that a
    fast one is measured with more images.
    """
    training = TrainingConfig(epochs=1)
    config = ClassifierConfig(architecture=_YARDSTICK, training=training)
    operations = WEIGHT_GRADIENT * networks(config, _SHAPE)["network"].operations
    # A seed of its own: what is trained later must not depend on having asked.
    model = build_classifier(_YARDSTICK, _SHAPE, seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-3), loss)
    images = 32
    seconds = _step_seconds(model, images)
    if seconds < _SECONDS:
        images = 2048
        seconds = _step_seconds(model, images)
    return of_rate(operations * images / seconds, accelerated=bool(_gpus()))


def of_rate(rate: float, *, accelerated: bool) -> Speed:
    """The speed of a device of which only the rate is known.

    Args:
        rate: Operations a second in the training step of target A.
        accelerated: Whether it is a GPU or the like.
    """
    if accelerated:
        return dataclasses.replace(SHARED_H200, device="the GPU at hand", rate=rate)
    return Speed(
        device="the processor at hand",
        rate=rate,
        factors=MappingProxyType({"bfloat16": 0.5}),
        step_seconds=0.015,
        program_seconds=3.0,
        accuracy=3.0,
    )


def _gpus() -> list[str]:
    return [name for name in keras.distribution.list_devices() if "cpu" not in name.lower()]


def _step_seconds(model: keras.Model, images: int) -> float:
    batch = np.zeros((images, *_SHAPE), np.float32)
    labels = np.zeros(images, np.int64)
    model.train_on_batch(batch, labels)
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        model.train_on_batch(batch, labels)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)
