"""Training on JAX: the same classes, the same steps; one process on each backend.

The processes share initial weights, images, their order and all random numbers, and take three
plain steps of SGD (Adam would amplify rounding).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import fitting
from experiments.artifacts import ArtifactStore
from experiments.config import ClassifierConfig, DatasetConfig, PurifierConfig, TrainingConfig
from experiments.datasets import Batches, Dataset, Split
from experiments.device_training import DeviceTraining, steps_of_an_epoch
from experiments.profile import DatasetPlan
from experiments.training import TrainedModels
from tests import device_training_cases as cases

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("trainings")


@pytest.fixture(scope="module")
def on_tensorflow(folder):
    """Starts the other process, and trains here meanwhile."""
    cases.start(folder)
    # Compiling is most of the time, and the programs are small.
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    with (folder / "errors.txt").open("w") as errors:
        other = subprocess.Popen(
            [sys.executable, "-m", "tests.device_training_cases", str(folder)],
            cwd=ROOT,
            env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
            stderr=errors,
        )
        try:
            trained = {case: cases.train(case, folder) for case in cases.CASES}
            other.wait(timeout=900)
        finally:
            other.kill()
    assert other.returncode == 0, (folder / "errors.txt").read_text()[-5000:]
    return trained


@pytest.fixture(scope="module")
def on_jax(folder, on_tensorflow):
    return json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize("case", cases.CASES)
def test_three_steps_agree_with_tensorflow(case, folder, on_tensorflow, on_jax):
    logs, expected = on_tensorflow[case]
    received = on_jax["logs"][case]
    assert received == pytest.approx(logs, rel=1e-5, abs=1e-6)
    moved = 0.0
    with (
        np.load(folder / f"{case}_on_jax.npz") as values,
        np.load(folder / f"{case}_start.npz") as start,
    ):
        for ours, theirs, before in zip(values.values(), expected, start.values(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
            moved = max(moved, np.abs(theirs.astype("float64") - before).max())
    assert moved > 1e-3


def test_a_resumed_training_is_exact(on_jax):
    assert on_jax["resumed"]["equal"]


def test_an_epoch_is_compiled_once_and_has_full_batches(on_jax):
    assert on_jax["resumed"]["traces"] == [1]
    # 12 images in batches of 5: two are left out.
    assert on_jax["resumed"]["steps"] == 2
    assert on_jax["resumed"]["iterations"] == 3 * 2


def test_fewer_images_than_a_batch_are_one_batch():
    batches = Batches(cases.images(3), np.arange(3), cases.PLAIN, seed=0)
    assert steps_of_an_epoch(batches) == 1
    assert fitting.steps_per_epoch(batches) == len(batches) == 1
    batches = Batches(cases.images(7), np.arange(7), cases.PLAIN, seed=0)
    assert steps_of_an_epoch(batches) == 1
    assert fitting.steps_per_epoch(batches) == 2, "on TensorFlow the last batch may be smaller"


def test_the_other_backend_is_refused():
    model = cases.classifier()
    with pytest.raises(ValueError, match="KERAS_BACKEND=jax"):
        DeviceTraining(model, Batches(cases.images(3), np.arange(3), cases.PLAIN, seed=0))


@pytest.mark.parametrize("schedule", cases.SCHEDULES)
def test_schedules_agree_with_tensorflow(schedule, on_jax):
    expected = cases.rates(schedule)
    assert on_jax["rates"][schedule] == pytest.approx(expected, rel=1e-5, abs=1e-9)
    assert schedule == "constant" or expected[0] > 2 * expected[-1]


@pytest.mark.parametrize("name", ["flip", "vertical_flip", "shift", "stretch", "noise"])
def test_augmentations_agree_with_numpy(name, on_jax):
    found = on_jax["augmentations"][name]
    assert found["difference"] < 1e-5
    assert found["moved"] > 0.1
    assert found["range"][0] >= 0.0 and found["range"][1] <= 1.0
    assert found["repeats"] and found["varies"]


def test_images_are_kept_as_small_as_is_exact(on_jax):
    assert on_jax["device"] == {"levels": "uint8, exact True", "between": "float32, exact True"}


@pytest.mark.parametrize("case", cases.BY_KERAS)
def test_the_fit_of_keras_trains_alike(case, on_jax):
    assert on_jax["by_keras"][case] < 1e-5


def test_half_precision_trains_full_weights(on_jax):
    half = on_jax["half"]
    assert half["weights"] == ["float32"] and half["computes"] == ["bfloat16"]
    assert half["finite"] and half["moved"] > 1e-3
    assert half["policy"] == "float32"


def test_half_precision_is_for_classifiers():
    half = TrainingConfig(epochs=1, precision="bfloat16")
    assert ClassifierConfig(architecture="A", training=half).training.precision == "bfloat16"
    with pytest.raises(ValueError, match="for classifiers"):
        PurifierConfig(name="sfl_vae", training=half)
    with pytest.raises(ValueError, match="bfloat16"):
        TrainingConfig(epochs=1, precision="float16")


def test_what_is_kept_of_half_precision_computes_in_full(tmp_path, monkeypatch):
    training = TrainingConfig(epochs=1, batch_size=6, precision="bfloat16")
    config = ClassifierConfig(architecture="puvae_b", training=training, width=0.1)
    plan = DatasetPlan(dataset=DatasetConfig(name="mnist"), classifiers={"b": config}, purifiers={})
    split = Split(cases.images(), np.arange(cases.COUNT) % 10)
    data = Dataset("mnist", split, split, split, tuple("0123456789"), "0" * 16)
    trained = []
    fit = fitting.fit

    def seen(model, *arguments, **named):
        logs = fit(model, *arguments, **named)
        trained.append((model, [np.asarray(v) for v in model.trainable_variables]))
        return logs

    monkeypatch.setattr(fitting, "fit", seen)
    monkeypatch.setattr(fitting, "round_weights", lambda model: None)
    kept = TrainedModels(plan, data, ArtifactStore(tmp_path), 0).target("b")
    ((model, weights),) = trained
    assert {layer.compute_dtype for layer in model.layers} == {"bfloat16"}
    assert {layer.compute_dtype for layer in kept.layers} == {"float32"}
    for ours, theirs in zip(kept.trainable_variables, weights, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), theirs)
