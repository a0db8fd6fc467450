"""Training: an interrupted run ends in the same weights; divergence is an error."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from defenses.registry import get_purifier
from experiments import fitting, reproducibility
from experiments.config import TrainingConfig
from experiments.datasets import Batches
from models.registry import build_classifier

TRAINING = TrainingConfig(
    epochs=3, batch_size=16, schedule="cosine", global_clipnorm=5.0, augmentation=("flip",)
)
RNG = np.random.default_rng(0)
IMAGES = RNG.random((40, 28, 28, 1), dtype=np.float32)
LABELS = RNG.integers(0, 10, 40)


def _classifier():
    # Dropout is in B, so the random generators' states have to survive too.
    model = build_classifier("B", (28, 28, 1), width=0.1, seed=1)
    batches = Batches(IMAGES, LABELS, TRAINING, seed=5)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(fitting.make_optimizer(TRAINING, len(batches)), loss)
    return model, batches


def _linear():
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(10))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    return model, Batches(IMAGES, LABELS, TRAINING, seed=5)


def _purifier():
    model = get_purifier("sfl_vae").for_images((28, 28, 1), width=0.05, seed=1)
    batches = Batches(IMAGES, LABELS, TRAINING, seed=5, keys=model.batch_keys)
    model.compile(fitting.make_optimizer(TRAINING, len(batches)))
    return model, batches


class Killed(Exception):
    """Stands for a kill in the middle of an epoch."""


@pytest.mark.parametrize("build", [_classifier, _purifier])
def test_interrupted_training_ends_in_the_same_weights(tmp_path, build, monkeypatch):
    reproducibility.set_seeds(0)
    whole, batches = build()
    fitting.fit(whole, batches, 3, checkpoint=tmp_path / "whole.npz", label="whole")

    checkpoint = tmp_path / "part.npz"
    part, batches = build()
    steps = 0

    def killed_in_second_epoch(self, batch, logs=None):
        nonlocal steps
        steps += 1
        if steps > len(batches) + 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(fitting._EpochRecorder, "on_train_batch_end", killed_in_second_epoch)
        with pytest.raises(Killed):
            fitting.fit(part, batches, 3, checkpoint=checkpoint, label="part")
    assert checkpoint.is_file()

    resumed, batches = build()
    fitting.fit(resumed, batches, 3, checkpoint=checkpoint, label="resumed")
    for expected, received in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, received)


def _nothing(path, arrays):
    path.write_bytes(b"nothing")


def _other_shape_at_the_end(path, arrays):
    last = max(name for name in arrays if name.startswith("v"))
    np.savez(path, **{**arrays, last: np.zeros((2, 3))})


def _not_finite(path, arrays):
    np.savez(path, **{**arrays, "v0000": arrays["v0000"] * np.nan})


def _without_epoch(path, arrays):
    np.savez(path, **{name: value for name, value in arrays.items() if name != "epoch"})


def _cut(path, arrays):
    path.write_bytes(path.read_bytes()[:-300])


def _encrypted(path, arrays):
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] ^= 1
    path.write_bytes(content)


def _no_archive(path, arrays):
    with path.open("wb") as file:
        np.save(file, arrays["v0000"])


@pytest.mark.parametrize(
    "damage",
    [
        _nothing,
        _other_shape_at_the_end,
        _not_finite,
        _without_epoch,
        _cut,
        _encrypted,
        _no_archive,
    ],
)
def test_unreadable_checkpoint_restarts(tmp_path, caplog, damage):
    checkpoint = tmp_path / "bad.npz"
    model, batches = _linear()
    fitting.fit(model, batches, 1, checkpoint=checkpoint, label="first")
    with np.load(checkpoint) as file:
        arrays = dict(file)
    damage(checkpoint, arrays)
    model, batches = _linear()
    before = model.get_weights()
    fitting.fit(model, batches, 1, checkpoint=checkpoint, label="restart")
    assert "unreadable" in caplog.text
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


def test_nan_loss_is_an_error(tmp_path):
    model, _ = _classifier()
    model.set_weights([weights * np.nan for weights in model.get_weights()])
    with pytest.raises(ValueError, match="not finite after epoch 1"):
        fitting.fit(
            model,
            Batches(IMAGES, LABELS, TRAINING, seed=0),
            1,
            checkpoint=tmp_path / "x.npz",
            label="nan",
        )


def test_schedules_have_the_printed_values():
    steps = TrainingConfig(
        epochs=10,
        optimizer="sgd",
        learning_rate=0.1,
        schedule="steps",
        milestones=(0.4, 0.61),
        decays=(0.1, 0.01),
    )
    rate = fitting.make_optimizer(steps, 10)._learning_rate
    values = [float(rate(step)) for step in (0, 40, 41, 61, 62, 99)]
    np.testing.assert_allclose(values, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-5)
    cosine = TrainingConfig(epochs=10, schedule="cosine", learning_rate=1e-3)
    rate = fitting.make_optimizer(cosine, 10)._learning_rate
    np.testing.assert_allclose(
        [float(rate(0)), float(rate(50)), float(rate(100))], [1e-3, 5.05e-4, 1e-5], rtol=1e-4
    )


@pytest.mark.parametrize(("field", "known"), [("schedule", "cosine"), ("optimizer", "adam")])
def test_unknown_names_list_the_known_ones(field, known):
    with pytest.raises(ValueError, match=known):
        fitting.make_optimizer(TrainingConfig(epochs=1, **{field: "other"}), 1)
