"""Auto-PGD and Square against those of the Adversarial Robustness Toolbox.

    python -m benchmarks.against_toolbox [--images 60] [--repeats 3] [--out toolbox.json]

Runs both on three classifiers, the two digits targets of the zoo and a small network for colour
that is trained in seconds on made-up textures, at equal steps or queries, in one process. Prints
for each the accuracy that is left, with its 95 % interval, and the median seconds of an attack
after one that is not timed; writes them as JSON if asked. Exits with 1 if an accuracy of ours lies
outside the interval of the Toolbox's.

Needs ``adversarial-robustness-toolbox`` beside this project (``requirements.txt`` has it).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from attacks import get_attack
from experiments import datasets, zoo
from experiments.presets import profile
from results.sheet import wilson_interval

BATCH_SIZE = 50
ATTACKS = ("apgd", "apgd_difference_of_logits", "square")


@dataclasses.dataclass(frozen=True)
class Subject:
    """A classifier with images that it reads rightly for the most part, and a budget."""

    name: str
    model: keras.Model
    images: np.ndarray
    labels: np.ndarray
    epsilon: float


def textures(num_images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Colour images ``(num_images, 16, 16, 3)`` of six kinds of waves under noise, with labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, num_images)
    place = np.linspace(0.0, 8.0 * np.pi, 16)
    waves = np.stack([np.add.outer(a * place, b * place) for a, b in ((1, 0), (0, 1), (1, 1))])
    tints = np.array([[1.0, 0.3, 0.3], [0.3, 1.0, 0.3]])
    angles = waves[labels % 3] + rng.uniform(0.0, 2.0 * np.pi, (num_images, 1, 1))
    coloured = np.sin(angles)[..., None] * tints[labels // 3][:, None, None]
    images = 0.5 + 0.2 * coloured + rng.normal(0.0, 0.08, coloured.shape)
    return np.clip(images, 0.0, 1.0).astype("float32"), labels.astype("int64")


def colour_classifier() -> keras.Model:
    """A small convolutional network trained on textures."""
    images, labels = textures(1_500, seed=1)
    keras.utils.set_random_seed(0)
    convolution = keras.layers.Conv2D
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            convolution(16, 5, activation="relu"),
            convolution(32, 3, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(6),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(5e-3), loss)
    model.fit(images, labels, epochs=10, batch_size=32, verbose=0)
    return model


def subjects(num_images: int) -> list[Subject]:
    """The three classifiers with their images."""
    test = datasets.load(profile("demo").plans["digits"].dataset).test
    images, labels = test.images[:num_images], test.labels[:num_images]
    digits = [
        Subject(
            f"digits, target {letter}", zoo.load("digits", f"target_{letter}"), images, labels, 0.1
        )
        for letter in "AB"
    ]
    return [
        *digits,
        Subject("colour textures", colour_classifier(), *textures(num_images, 2), 0.03),
    ]


Attacked = Callable[[], np.ndarray]


def ours(subject: Subject, attack: str, num_steps: int) -> Attacked:
    """An attack of this project, to be called."""
    made = {
        "apgd": lambda: get_attack("apgd", num_steps=num_steps),
        "apgd_difference_of_logits": lambda: get_attack(
            "apgd", num_steps=num_steps, loss="difference_of_logits"
        ),
        "square": lambda: get_attack("square", num_queries=num_steps),
    }[attack]()
    images, labels = subject.images, subject.labels
    return lambda: made(subject.model, images, labels, subject.epsilon, batch_size=BATCH_SIZE)


def theirs(subject: Subject, attack: str, num_steps: int) -> Attacked:
    """The same attack of the Toolbox, to be called."""
    from art.attacks import evasion
    from art.estimators.classification import TensorFlowV2Classifier

    num_classes = int(subject.model.output_shape[-1])
    estimator = TensorFlowV2Classifier(
        model=subject.model,
        nb_classes=num_classes,
        input_shape=subject.images.shape[1:],
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=(0.0, 1.0),
    )
    common: dict[str, Any] = {"eps": subject.epsilon, "batch_size": BATCH_SIZE, "verbose": False}
    if attack == "square":
        # Its first point is the start, which is no iteration.
        made = evasion.SquareAttack(estimator, max_iter=num_steps - 1, p_init=0.8, **common)
    else:
        made = evasion.AutoProjectedGradientDescent(
            estimator,
            eps_step=2.0 * subject.epsilon,
            max_iter=num_steps,
            nb_random_init=1,
            loss_type="cross_entropy" if attack == "apgd" else "difference_logits_ratio",
            **common,
        )
    one_hot = np.eye(num_classes, dtype=np.float32)[subject.labels]

    def generate() -> np.ndarray:
        np.random.seed(0)  # which its attacks draw from
        return made.generate(subject.images, one_hot)

    return generate


def compare(
    subject: Subject, attack: str, num_steps: int, repeats: int
) -> dict[str, dict[str, Any]]:
    """Accuracy, its interval and seconds of both, which take turns."""
    calls = {
        "ours": ours(subject, attack, num_steps),
        "toolbox": theirs(subject, attack, num_steps),
    }
    seconds: dict[str, list[float]] = {who: [] for who in calls}
    right = {}
    for turn in range(repeats + 1):
        for who, call in calls.items():
            start = time.perf_counter()
            attacked = call()
            if turn:
                seconds[who].append(time.perf_counter() - start)
            logits = keras.ops.convert_to_numpy(subject.model(attacked, training=False))
            right[who] = int(np.sum(logits.argmax(axis=1) == subject.labels))
    total = len(subject.labels)
    return {
        who: {
            "accuracy": right[who] / total,
            "interval": wilson_interval(right[who], total),
            "seconds": statistics.median(seconds[who]) if seconds[who] else None,
        }
        for who in calls
    }


def agrees(pair: dict[str, dict[str, Any]]) -> bool:
    """Whether our accuracy lies in the interval of the Toolbox's."""
    low, high = pair["toolbox"]["interval"]
    return bool(low <= pair["ours"]["accuracy"] <= high)


def main(arguments: list[str] | None = None) -> int:
    """Runs the comparison; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40, help="steps of Auto-PGD")
    parser.add_argument("--queries", type=int, default=200, help="queries of Square")
    parser.add_argument("--out", type=Path, help="a JSON file to be written")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    found: list[dict[str, Any]] = []
    print(f"{'classifier':18} {'attack':26} {'ours':>12} {'Toolbox':>22} {'times faster':>13}")
    for subject in subjects(options.images):
        for attack in ATTACKS:
            steps = options.queries if attack == "square" else options.steps
            pair = compare(subject, attack, steps, options.repeats)
            found.append({"classifier": subject.name, "attack": attack, "steps": steps, **pair})
            mine, other = pair["ours"], pair["toolbox"]
            low, high = other["interval"]
            faster = other["seconds"] / mine["seconds"]
            print(
                f"{subject.name:18} {attack:26} {mine['accuracy']:6.3f} {mine['seconds']:4.2f}s "
                f"{other['accuracy']:6.3f} [{low:.2f}, {high:.2f}] {other['seconds']:5.2f}s "
                f"{faster:8.1f}  {'' if agrees(pair) else 'outside'}",
                flush=True,
            )
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if all(map(agrees, found)) else 1


if __name__ == "__main__":
    sys.exit(main())
