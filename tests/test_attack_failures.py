"""What every attack raises errors for: dead gradients, wrong arguments, useless results."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

from attacks import Attack, AttackFailedError, attack_names, attack_random_member, get_attack
from attacks.gradient import FGSM
from tests.attack_helpers import grey_images, linear_classifier, predictions, quick

# Budget, range and the identity


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rogue(Attack):
    """Returns images out of budget and range, to test the base class."""

    name: ClassVar[str] = "rogue"

    factor: float = 10.0

    def _perturb(self, victim, images, labels, epsilon, *, targeted, seed):
        noise = np.random.default_rng(seed).normal(size=images.shape)
        return images.astype("float64") + self.factor * noise


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_attack_that_ignores_its_budget_is_clipped(norm):
    model, _, _ = linear_classifier(3)
    images = np.random.default_rng(0).uniform(size=(11, 4, 4, 1)).astype("float32")
    result = Rogue(norm=norm)(model, images, predictions(model, images), 0.2, batch_size=4)
    delta = (result.astype("float64") - images).reshape(len(images), -1)
    length = np.abs(delta).max(axis=1) if norm == "linf" else np.linalg.norm(delta, axis=1)
    assert result.dtype == np.float32
    assert length.max() <= 0.2 + 1e-6 and length.min() > 0.05
    assert result.min() >= 0.0 and result.max() <= 1.0


def test_an_attack_that_returns_nan_is_an_error():
    model, _, _ = linear_classifier(3)
    images = grey_images(4)
    with pytest.raises(AttackFailedError, match="NaN"):
        Rogue(factor=np.nan)(model, images, predictions(model, images), 0.2)


def test_an_attack_that_does_nothing_is_an_error():
    model, _, _ = linear_classifier(3)
    images = grey_images(4)
    labels = predictions(model, images)
    with pytest.raises(AttackFailedError, match="changed none"):
        Rogue(factor=0.0)(model, images, labels, 0.2)
    unchanged = Rogue(factor=0.0)(model, images, labels, 0.2, require_change=False)
    np.testing.assert_array_equal(unchanged, images)
    # Where there was nothing to do, nothing done is right.
    np.testing.assert_array_equal(Rogue(factor=0.0)(model, images, (labels + 1) % 3, 0.2), images)


# Gradients that are not there


@keras.saving.register_keras_serializable(package="test_attack_contract")
class Through(keras.layers.Layer):
    """Applies one of a few functions that break the gradient."""

    def __init__(self, kind: str, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind

    def call(self, inputs):
        ops = keras.ops
        if self.kind == "dead":
            return ops.relu(inputs - 2.0)
        if self.kind == "cut":
            return ops.stop_gradient(inputs)
        if self.kind == "jpeg":
            images = tf.map_fn(lambda image: tf.image.adjust_jpeg_quality(image, 75), inputs)
            return tf.ensure_shape(images, inputs.shape)
        if self.kind == "nan":
            return inputs + ops.sqrt(ops.relu(inputs - 2.0))
        raise ValueError(self.kind)


def broken_classifier(kind: str) -> keras.Model:
    inputs = keras.Input((4, 4, 1))
    hidden = keras.layers.Flatten()(inputs if kind == "softmax" else Through(kind)(inputs))
    activation = "softmax" if kind == "softmax" else None
    outputs = keras.layers.Dense(
        3, activation=activation, bias_initializer=keras.initializers.RandomNormal(seed=0)
    )(hidden)
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("name", ["fgsm", "bim", "pgd", "mi_fgsm", "carlini_wagner"])
@pytest.mark.parametrize(
    ("kind", "message"),
    [("dead", "zero"), ("cut", "None"), ("nan", "NaN"), ("softmax", "softmax")],
)
def test_a_broken_gradient_is_an_error_not_robustness(name, kind, message):
    model, images = broken_classifier(kind), grey_images(6)
    with pytest.raises(AttackFailedError, match=message):
        quick(name)(model, images, predictions(model, images), 0.2)


@pytest.mark.parametrize("name", attack_names())
def test_jpeg_cannot_be_attacked_unnoticed(name):
    inputs = keras.Input((4, 4, 1))
    outputs = keras.layers.Dense(3)(keras.layers.Flatten()(Through("jpeg")(inputs)))
    model, images = keras.Model(inputs, outputs), grey_images(3)
    with pytest.raises(AttackFailedError, match="BPDA"):
        quick(name)(model, images, predictions(model, images), 0.2)


def test_the_cleverhans_carlini_wagner_notices_a_dead_gradient():
    model, images = broken_classifier("dead"), grey_images(6)
    with pytest.raises(AttackFailedError, match="changed none"):
        quick("carlini_wagner_cleverhans")(model, images, predictions(model, images), 0.2)


# What is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((2, 4, 4), "float32")}, "shape"),
        ({"images": np.zeros((0, 4, 4, 1), "float32")}, "at least one"),
        ({"images": np.zeros((2, 4, 4, 1), "uint8")}, "float32"),
        ({"images": np.full((2, 4, 4, 1), 255.0, "float32")}, "255"),
        ({"images": np.full((2, 4, 4, 1), np.nan, "float32")}, "finite"),
        ({"labels": np.zeros(2, "float32")}, "integers"),
        ({"labels": np.zeros((2, 3), "int64")}, "one-hot"),
        ({"labels": np.array([0, 3])}, r"\[0, 2\]"),
        ({"labels": np.array([0, -1])}, "values from -1 to 0"),
        ({"labels": np.array([0])}, "one for each image"),
        ({"target_labels": np.array([0, 9])}, "target_labels"),
        ({"epsilon": -0.1}, "epsilon"),
        ({"epsilon": 8.0}, "255"),
        ({"epsilon": float("nan")}, "epsilon"),
        ({"epsilon": None}, "epsilon"),
        ({"epsilon": "0.1"}, "epsilon"),
        ({"batch_size": 0}, "batch_size"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_arguments_are_refused_with_words(change, message):
    model, _, _ = linear_classifier(3)
    arguments = {"images": grey_images(2), "labels": np.array([0, 1]), "epsilon": 0.1} | change
    with pytest.raises(ValueError, match=message):
        FGSM()(model, **arguments)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("fgsm", {"norm": "l1"}),
        ("bim", {"num_steps": 0}),
        ("pgd", {"step_size": 0.0}),
        ("mi_fgsm", {"decay_factor": -1.0}),
        ("carlini_wagner", {"confidence": -1.0}),
        ("carlini_wagner", {"epsilon_mode": "stretch"}),
        ("carlini_wagner_cleverhans", {"learning_rate": 0.0}),
        ("rand_fgsm", {"random_share": 1.0}),
        ("rand_fgsm", {"norm": "l2"}),
    ],
)
def test_wrong_hyperparameters_are_refused(name, fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        get_attack(name, **fields)


def test_a_pool_that_cannot_be_attacked_is_an_error():
    images = grey_images(12)
    models = [broken_classifier("dead") for _ in range(3)]
    labels = predictions(models[0], images)
    for model in models[1:]:
        model.set_weights(models[0].get_weights())
    with pytest.raises(AttackFailedError, match="changed none"):
        attack_random_member(FGSM(), models, images, labels, [0.1])
    with pytest.raises(ValueError, match="at least one member"):
        attack_random_member(FGSM(), [], images, labels, [0.1])
