"""What the checks of images cost, as a share of the calls that make them.

    python -m benchmarks.check_cost

Times, for each purifier of the zoo and for FGSM, the checks of 100 images alone and the whole call;
medians of many repeats on one machine. Exits with 1 if a check takes more than 1 % of its call.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from attacks import get_attack
from defenses.purifier import Purifier
from experiments import zoo
from validation import check_call, check_images, check_labels

NUM_IMAGES, LIMIT = 100, 0.01
DATASETS = ("digits", "cifar10")


def median_seconds(call: Callable[[], object], repeats: int) -> float:
    """The median time of a call, after one that is not timed."""
    call()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


Pair = tuple[Callable[[], object], Callable[[], object]]


def timed_calls(model: keras.Model) -> dict[str, Pair]:
    """The checks and the calls that make them, by name: of a purifier, or of an attack."""
    rng, is_purifier = np.random.default_rng(0), isinstance(model, Purifier)
    shape = model.image_shape if is_purifier else model.input_shape[1:]
    images = rng.random((NUM_IMAGES, *shape), dtype=np.float32)
    if is_purifier:
        return {
            "purify": (lambda: check_images(images, shape), lambda: model.purify(images)),
            "call": (lambda: check_call(images, shape), lambda: model(images)),
        }
    labels = np.arange(NUM_IMAGES) % 10
    return {
        "fgsm": (
            lambda: (check_images(images, shape), check_labels(labels, NUM_IMAGES, 10)),
            lambda: get_attack("fgsm")(model, images, labels, 0.1, require_change=False),
        )
    }


def main() -> int:
    """Prints one line for each call; returns the exit status."""
    worst = 0.0
    print("| call of 100 images | check, ms | call, ms | share |\n| :-- | --: | --: | --: |")
    for dataset in DATASETS:
        for name in zoo.names(dataset):
            model = zoo.load(dataset, name)
            if not isinstance(model, Purifier) and name != "target_A":
                continue
            for what, (check, call) in timed_calls(model).items():
                checked = median_seconds(check, 200)
                called = median_seconds(call, 3 if name == "defense_gan" else 15)
                worst = max(worst, checked / called)
                print(
                    f"| {dataset} {name}, {what} | {1e3 * checked:.3f} | {1e3 * called:.1f} | "
                    f"{checked / called:.2%} |",
                    flush=True,
                )
    print(f"\nLargest share: {worst:.2%}.")
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
