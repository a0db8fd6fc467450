"""What a training step of a compiled epoch costs, against its bare forward and backward pass.

    KERAS_BACKEND=jax python -m benchmarks.scan_cost

The step gathers its batch on the device, augments it, updates weights, statistics and means; the
bare pass computes the loss of one batch and its gradient alone. Both run in one process in turn,
and the least time of each counts, which other work on the machine disturbs least. Exits with 1 if
a step takes more than 1.1 times its bare pass, or an epoch was traced more than once.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import keras
import numpy as np

from defenses.registry import get_purifier
from experiments import fitting
from experiments.config import TrainingConfig
from experiments.datasets import Batches
from experiments.device_training import DeviceTraining
from models.registry import build_classifier

LIMIT = 1.1
SHAPE, BATCH = (32, 32, 3), 32
CASES = {"A": 0.5, "sfl_vae": 0.25}
"""Networks and their widths: a classifier, and a purifier with noise and batch statistics."""


def training(name: str, steps: int) -> DeviceTraining:
    """A training whose epoch has so many steps."""
    config = TrainingConfig(epochs=100, batch_size=BATCH, augmentation=("flip", "shift"))
    rng = np.random.default_rng(0)
    count = steps * BATCH
    images = rng.integers(0, 256, (count, *SHAPE)).astype("float32") / np.float32(255)
    labels = rng.integers(0, 10, count)
    optimizer = fitting.make_optimizer(config, steps)
    if name == "A":
        model = build_classifier(name, SHAPE, 10, width=CASES[name], seed=1)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, metrics=["accuracy"])
        return DeviceTraining(model, Batches(images, labels, config, seed=1))
    purifier = get_purifier(name).for_images(SHAPE, 10, width=CASES[name], seed=1)
    purifier.compile(optimizer)
    batches = Batches(images, labels, config, seed=1, keys=purifier.batch_keys)
    return DeviceTraining(purifier, batches)


def bare_pass(trained: DeviceTraining) -> Callable[[], Any]:
    """Loss and gradient of one batch, compiled; all values come in as arguments."""
    model, batches = trained.model, trained.batches
    others = list(model.non_trainable_variables)
    weights = list(model.trainable_variables)

    def loss(weight_values: Any, other_values: Any, images: Any, labels: Any) -> Any:
        pairs = [*zip(weights, weight_values, strict=True), *zip(others, other_values, strict=True)]
        with keras.StatelessScope(pairs):
            if batches.keys is None:
                logits = model(images, training=True)
                return keras.ops.mean(
                    keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
                )
            losses, _ = model.phases()[0].evaluate({"clean": images}, training=True)
            return losses["loss"]

    compiled = jax.jit(jax.value_and_grad(loss))
    images, labels = jax.device_put((batches.images[:BATCH], batches.labels[:BATCH]))

    def values(variables: list[keras.Variable]) -> list[Any]:
        return [jax.numpy.array(v.value) for v in variables]

    arguments = (values(weights), values(others), images, labels)
    return lambda: jax.block_until_ready(compiled(*arguments))


def seconds(call: Callable[[], Any]) -> np.ndarray:
    """How long a call takes: on the clock, and of processors."""
    before = np.array([time.perf_counter(), time.process_time()])
    call()
    return np.array([time.perf_counter(), time.process_time()]) - before


def measure(name: str, steps: int, rounds: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Least seconds of a step and of a bare pass, and how often the epoch was traced."""
    trained = training(name, steps)
    bare = bare_pass(trained)
    bare(), trained.epoch()
    taken = [
        (seconds(trained.epoch) / steps, seconds(lambda: [bare() for _ in range(steps)]) / steps)
        for _ in range(rounds)
    ]
    step, alone = np.min(taken, axis=0)
    return step, alone, trained.traces


def main() -> int:
    """Prints the ratio of each case; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=4, help="steps of an epoch")
    parser.add_argument("--rounds", type=int, default=12, help="epochs of each case")
    arguments = parser.parse_args()
    print(f"{jax.devices()[0]}, batches of {BATCH} images {SHAPE}")
    failed = False
    for name, width in CASES.items():
        step, alone, traces = measure(name, arguments.steps, arguments.rounds)
        ratio, of_processors = step / alone
        failed = failed or ratio > LIMIT or traces > 1
        print(
            f"{name} at width {width}: step {1000 * step[0]:.1f} ms, bare pass "
            f"{1000 * alone[0]:.1f} ms, ratio {ratio:.3f} (of processor time "
            f"{of_processors:.3f}), traced {traces} time(s)",
            flush=True,
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
