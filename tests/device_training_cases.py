"""Small trainings for both backends, and what a process on JAX finds about them.

Run as ``KERAS_BACKEND=jax python -m tests.device_training_cases FOLDER``.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from defenses.adversarial_training import FGSMAdversarialTraining, PGDAdversarialTraining
from defenses.registry import get_purifier, purifier_names
from experiments import augmentation, fitting
from experiments.config import TrainingConfig
from experiments.datasets import Batches
from models.registry import build_classifier

SHAPE, COUNT, STEPS = (28, 28, 1), 12, 3
PARTS = ("cap_gan_pixel", "cap_gan_pixel_cam", "cap_gan_pixel_semantic")
"""The steps of CAP-GAN with fewer losses, each of which takes as long to compile."""
PURIFIERS = [
    name
    for name in purifier_names()
    if get_purifier(name).purifier_class.loss_names and name not in PARTS
]
TRAINERS = {
    "adversarial_training": lambda model: FGSMAdversarialTraining(model, 0.1),
    "pgd_training": lambda model: PGDAdversarialTraining(model, 0.1, step_size=0.05, num_steps=3),
}
CASES = ["classifier", *TRAINERS, *PURIFIERS]
BY_KERAS = ["magnet", "adversarial_training"]
PLAIN = TrainingConfig(epochs=1, batch_size=COUNT // STEPS)
RATES = {
    **{"sfl_vae": 1e-4, "non_sfl_vae": 1e-4, "defense_vae": 1e-5},
    **{"magnet": 1.0, "puvae": 0.1, "puvae_noisy": 0.1},
}
"""Where losses are sums, or means, over pixels."""
SCHEDULES = {
    "constant": {},
    "cosine": {"final_learning_rate": 1e-4},
    "linear": {},
    "steps": {"milestones": (0.4, 0.61), "decays": (0.1, 0.01)},
}


def images(count: int = COUNT, seed: int = 0) -> np.ndarray:
    levels = np.random.default_rng(seed).integers(0, 256, (count, *SHAPE))
    return levels.astype("float32") / np.float32(255)


def fixed_noise(patch: pytest.MonkeyPatch) -> None:
    """Draws the same numbers on every backend: those that the shape alone decides."""

    def numbers(shape: Any, kind: str, dtype: Any = None) -> Any:
        sizes = tuple(int(side) for side in shape)
        drawn = getattr(np.random.default_rng(sizes), kind)(size=sizes)
        return keras.ops.convert_to_tensor(drawn, dtype=dtype or "float32")

    def normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
        return mean + stddev * numbers(shape, "standard_normal", dtype)

    def uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
        return minval + (maxval - minval) * numbers(shape, "random", dtype)

    def dropout(inputs, rate, noise_shape=None, seed=None):
        kept = numbers(inputs.shape, "random", inputs.dtype) >= rate
        return keras.ops.where(kept, inputs / (1.0 - rate), 0.0)

    random = keras.src.backend.random
    for function in (normal, uniform, dropout):
        patch.setattr(random, function.__name__, function)


def classifier(precision: str = "float32") -> keras.Model:
    """With everything that has a state or a loss of its own."""
    with fitting.computing_in(precision):
        decay = keras.regularizers.L2(0.01)
        return keras.Sequential(
            [
                keras.Input(SHAPE),
                keras.layers.Conv2D(4, 5, strides=3, kernel_regularizer=decay),
                keras.layers.BatchNormalization(),
                keras.layers.ReLU(),
                keras.layers.Dropout(0.3, seed=2),
                keras.layers.Flatten(),
                keras.layers.Dense(10),
            ]
        )


def compile_classifier(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], run_eagerly=on_tensorflow())


def on_tensorflow() -> bool:
    return keras.backend.backend() == "tensorflow"


def build(case: str) -> tuple[keras.Model, Batches, list[keras.Variable]]:
    """A compiled model, its data, and all variables that decide on its training."""

    def optimizer() -> keras.optimizers.Optimizer:
        return keras.optimizers.SGD(RATES.get(case, 0.01))

    labels = np.arange(COUNT) % 10
    if case in ("classifier", *TRAINERS):
        model = classifier()
        if case in TRAINERS:
            model = TRAINERS[case](model)
            model.compile(optimizer(), run_eagerly=on_tensorflow())
        else:
            compile_classifier(model, optimizer())
        return model, Batches(images(), labels, PLAIN, seed=5), list(model.variables)

    arguments: dict[str, Any] = {}
    purifier_class = get_purifier(case).purifier_class
    parameters = inspect.signature(purifier_class).parameters
    if "source_classifier" in parameters:
        arguments["source_classifier"] = build_classifier("B", SHAPE, 10, width=0.1, seed=3)
    if "temperature" in parameters:  # its square multiplies the rounding of a loss
        arguments["temperature"] = 1.0
    if "num_residual_blocks" in inspect.signature(purifier_class.for_images).parameters:
        arguments["num_residual_blocks"] = 1
    if case == "vqunet":
        arguments |= {"codes_at_once": 10_000, "ema_source": "encoder"}
    purifier = get_purifier(case).for_images(SHAPE, 10, width=0.05, seed=1, **arguments)
    purifier.compile(
        **{name: optimizer() for name in purifier.optimizer_names}, run_eagerly=on_tensorflow()
    )
    clean, attacked = images(), []
    if case == "defense_vae":  # two copies of half as many images are as many steps
        clean, labels = clean[: COUNT // 2], labels[: COUNT // 2]
        attacked = [images(COUNT // 2, seed) for seed in (1, 2)]
    batches = Batches(clean, labels, PLAIN, seed=5, keys=purifier.batch_keys, attacked=attacked)
    source = arguments.get("source_classifier")
    return purifier, batches, [*purifier.variables, *(source.variables if source else [])]


def start(folder: Path) -> None:
    """Writes the weights from which both backends begin."""
    for case in CASES:
        variables = build(case)[2]
        np.savez(folder / f"{case}_start.npz", *[np.asarray(v) for v in variables])


def train(case: str, folder: Path) -> tuple[dict[str, float], list[np.ndarray]]:
    """Three steps: the logged means, and all variables behind them."""
    model, batches, variables = build(case)
    with np.load(folder / f"{case}_start.npz") as file:
        for variable, value in zip(variables, file.values(), strict=True):
            variable.assign(value)
    checkpoint = folder / f"{case}_{keras.backend.backend()}.npz"
    with pytest.MonkeyPatch.context() as patch:
        fixed_noise(patch)
        logs = fitting.fit(model, batches, 1, checkpoint=checkpoint, label=case)
    return logs, [np.asarray(v) for v in variables]


def rates(schedule: str) -> list[float]:
    """The learning rates of all steps of a run, and one beyond."""
    training = TrainingConfig(epochs=4, schedule=schedule, **SCHEDULES[schedule])
    rate = fitting.make_optimizer(training, 5)._learning_rate
    return [float(rate(step)) if callable(rate) else float(rate) for step in range(21)]


class Preset:
    """Stands for a generator of NumPy's; returns what was drawn elsewhere."""

    def __init__(self, *drawn: np.ndarray) -> None:
        self.drawn = list(drawn)

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: self.drawn.pop(0)


def augmentations() -> dict[str, Any]:
    """By name: the largest difference from NumPy's for equal draws, the range, whether moved."""
    import jax

    from experiments.device_augmentation import CHANGES, augment

    found, before = {}, images(9, seed=4)
    for number, (name, (draw, change)) in enumerate(CHANGES.items()):
        training = TrainingConfig(epochs=1, augmentation=(name,), shift_fraction=0.2)
        drawn = draw(jax.random.key(number), before.shape, training)
        after = np.asarray(change(before, drawn))
        drawn = np.asarray(drawn)
        preset = {
            "flip": [np.where(drawn, 0.0, 1.0)],
            "vertical_flip": [np.where(drawn, 0.0, 1.0)],
            "shift": [drawn + round(0.2 * SHAPE[0])],
            "stretch": list(drawn),
            "noise": [drawn],
        }[name]
        expected = augmentation.augment(before, Preset(*preset), training)
        found[name] = {
            "difference": float(np.abs(after - expected).max()),
            "range": [float(after.min()), float(after.max())],
            "moved": float(np.abs(after - before).max()),
        }
        twice = [np.asarray(augment(before, jax.random.key(k), training)) for k in (1, 1, 2)]
        found[name]["repeats"] = bool((twice[0] == twice[1]).all())
        found[name]["varies"] = bool((twice[0] != twice[2]).any())
    return found


class Killed(Exception):
    """Stands for a kill in the second epoch."""


def resumed(folder: Path) -> dict[str, Any]:
    """An interrupted and an uninterrupted training of three epochs, and what each compiled."""
    from experiments.device_training import DeviceTraining

    training = TrainingConfig(
        epochs=3, batch_size=5, schedule="cosine", augmentation=("flip", "shift", "noise")
    )
    trainings: list[DeviceTraining] = []
    epoch = DeviceTraining.epoch

    def run(checkpoint: str, kill_at: int | None = None) -> list[np.ndarray]:
        model = classifier()
        model.set_weights([np.cos(np.arange(w.size).reshape(w.shape)) for w in model.get_weights()])
        batches = Batches(images(), np.arange(COUNT) % 10, training, seed=5)
        compile_classifier(
            model, fitting.make_optimizer(training, fitting.steps_per_epoch(batches))
        )

        def counted(self):
            trainings.append(self)
            if batches.epoch == kill_at:
                raise Killed
            return epoch(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(DeviceTraining, "epoch", counted)
            fitting.fit(model, batches, 3, checkpoint=folder / checkpoint, label=checkpoint)
        return [np.asarray(v) for v in [*model.variables, *model.optimizer.variables]]

    whole = run("whole.npz")
    traces = {training.traces for training in trainings}
    with pytest.raises(Killed):
        run("part.npz", kill_at=1)
    part = run("part.npz")
    return {
        "equal": all(np.array_equal(a, b) for a, b in zip(whole, part, strict=True)),
        "traces": sorted(traces),
        "steps": int(whole[-1].size and trainings[0].steps),
        "iterations": int(max(v for v in whole if v.ndim == 0 and v.dtype.kind in "iu")),
    }


def kept_on_the_device() -> dict[str, str]:
    """The kind of the images there, by what they are."""
    from experiments.device_training import DeviceTraining

    found = {}
    between = images() * np.float32(0.999)
    for name, clean in {"levels": images(), "between": between}.items():
        model = classifier()
        compile_classifier(model, keras.optimizers.SGD(0.0))
        training = DeviceTraining(model, Batches(clean, np.arange(COUNT) % 10, PLAIN, seed=5))
        seen = np.asarray(training._batch(training._data, np.arange(COUNT), None)[0])
        found[name] = f"{training._data['clean'].dtype}, exact {np.array_equal(seen, clean)}"
    return found


def by_keras(folder: Path, case: str) -> float:
    """The largest difference between weights trained by Keras's fit and by ours."""
    trained = []
    for keras_fits in (True, False):
        model, batches, variables = build(case)
        with np.load(folder / f"{case}_start.npz") as file:
            for variable, value in zip(variables, file.values(), strict=True):
                variable.assign(value)
        if keras_fits:
            model.fit(batches, epochs=2, shuffle=False, verbose=0)
        else:
            fitting.fit(model, batches, 2, checkpoint=folder / f"{case}_x.npz", label="x")
        trained.append([np.asarray(v) for v in variables])
    pairs = zip(*trained, strict=True)
    return float(max(np.abs(a.astype("float64") - b).max() for a, b in pairs))


def half() -> dict[str, Any]:
    """What a training in bfloat16 does to weights, and how the network computes."""
    from experiments.device_training import DeviceTraining

    model = classifier("bfloat16")
    before = model.get_weights()
    compile_classifier(model, keras.optimizers.SGD(0.1))
    batches = Batches(images(), np.arange(COUNT) % 10, PLAIN, seed=5)
    logs = DeviceTraining(model, batches).epoch()
    pairs = zip(before, model.get_weights(), strict=True)
    moved = max(float(np.abs(a - b).max()) for a, b in pairs)
    return {
        "weights": sorted({str(v.dtype) for v in model.trainable_variables}),
        "computes": sorted({layer.compute_dtype for layer in model.layers}),
        "finite": bool(np.isfinite(list(logs.values())).all()),
        "moved": moved,
        "policy": keras.config.dtype_policy().name,
    }


def main(folder: Path) -> None:
    found: dict[str, Any] = {"logs": {}}
    for case in CASES:
        found["logs"][case], values = train(case, folder)
        np.savez(folder / f"{case}_on_jax.npz", *values)
    found |= {
        "rates": {schedule: rates(schedule) for schedule in SCHEDULES},
        "augmentations": augmentations(),
        "resumed": resumed(folder),
        "device": kept_on_the_device(),
        "by_keras": {case: by_keras(folder, case) for case in BY_KERAS},
        "half": half(),
    }
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
