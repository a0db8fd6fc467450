"""Several devices: a training step is that of one, and rows are dealt out with every part."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from experiments import devices

ROOT = Path(__file__).resolve().parents[1]
# One step on one device and on two; prints the largest differences of losses and weights.
_STEPS = """
import json, sys, tempfile
from pathlib import Path
if "tensorflow" == "{backend}":
    import tensorflow as tf
    (cpu,) = tf.config.list_physical_devices("CPU")
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, halves)
import keras, numpy as np
from defenses.registry import get_purifier
from experiments import datasets, devices, fitting
from experiments.config import TrainingConfig
from models.registry import build_classifier

rng = np.random.default_rng(0)
images, labels = rng.random((8, 16, 16, 1), dtype="float32"), np.arange(8)

def built(name):
    if name.startswith("resnet"):
        model = build_classifier(name, (16, 16, 1), width=0.0625, depth=1)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss)
        return model, None
    model = get_purifier(name).for_images((16, 16, 1), 10, width=0.0625, seed=0)
    model.compile(**dict((n, keras.optimizers.SGD(0.1)) for n in model.optimizer_names))
    return model, model.batch_keys

def step(name, which):
    number = devices.use(which)
    with devices.spread():
        model, keys = built(name)
        training = TrainingConfig(epochs=1, batch_size=8)
        batches = datasets.Batches(images, labels, training, seed=0, keys=keys)
        path = Path(tempfile.mkdtemp()) / "checkpoint.npz"
        logs = fitting.fit(model, batches, 1, checkpoint=path, label=name)
    weights = [np.asarray(v) for v in model.weights if v.name != "seed_generator_state"]
    return number, logs, weights

for name in ("resnet_a", "defense_cyclegan"):
    (one, logs, weights), (two, shared_logs, shared) = step(name, "one"), step(name, "all")
    print(json.dumps(dict(
        name=name,
        devices=[one, two],
        loss=max(abs(logs[k] - shared_logs[k]) for k in logs if k.endswith("loss")),
        weights=float(max(np.abs(a - b).max() for a, b in zip(weights, shared))),
    )))
if "tensorflow" == "{backend}":
    from defenses.vq_losses import class_averaged_codebook
    codes, vectors = np.ones((20, 3), "float32"), rng.random((8, 1, 2, 3), dtype="float32")
    classes = labels % 3
    with devices.spread():
        strategy = tf.distribute.get_strategy()
    shares = [
        strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(np.split(whole, 2)[context.replica_id_in_sync_group])
        )
        for whole in (vectors, classes)
    ]
    averaged = strategy.run(lambda v, y: class_averaged_codebook(codes, v, y, 0.2), shares)
    one = np.asarray(class_averaged_codebook(codes, vectors, classes, 0.2))
    found = strategy.experimental_local_results(averaged)
    print(json.dumps(dict(
        name="codebook",
        devices=[1, len(found)],
        loss=0.0,
        weights=float(max(np.abs(np.asarray(share) - one).max() for share in found)),
    )))
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_step_on_two_devices_is_that_of_one(backend):
    flags = "--xla_force_host_platform_device_count=2"
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.run(
        [sys.executable, "-c", _STEPS.replace("{backend}", backend)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**environment, "XLA_FLAGS": flags} if backend == "jax" else environment,
        timeout=900,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    averaged = ["codebook"] if backend == "tensorflow" else []
    assert [one["name"] for one in found] == ["resnet_a", "defense_cyclegan", *averaged]
    for one in found:
        assert one["devices"] == [1, 2]
        assert one["loss"] < 1e-5 and one["weights"] < 1e-5, one


def test_unknown_devices_list_the_known_ones():
    with pytest.raises(ValueError, match="the devices to be one of one, all, received 'two'"):
        devices.use("two")


def test_each_share_has_every_part(monkeypatch):
    """Two devices, two parts: the first device's first half is of the first part."""

    class Two(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return ({"clean": np.arange(8)},)

    dealt = devices._Dealt(Two(), parts=2, devices=2)
    assert dealt[0][0]["clean"].tolist() == [0, 1, 4, 5, 2, 3, 6, 7]
    assert devices._Dealt(Two(), parts=3, devices=2)[0][0]["clean"].tolist() == list(range(8))
