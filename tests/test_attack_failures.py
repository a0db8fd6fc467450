"""What every attack raises errors for: dead gradients, wrong arguments, useless results."""

from __future__ import annotations

import dataclasses
import itertools
from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

from attacks import (
    Attack,
    AttackFailedError,
    UnattackedImagesWarning,
    attack_names,
    attack_random_member,
    get_attack,
)
from attacks.gradient import FGSM
from attacks.registry import ATTACKS
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
    with pytest.warns(UnattackedImagesWarning, match=r"received 4 of 4 at epsilon 0\.2 unmoved"):
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
    outputs = keras.layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(seed=1))(
        keras.layers.Flatten()(Through("jpeg")(inputs))
    )
    model, images = keras.Model(inputs, outputs), grey_images(3)
    labels = predictions(model, images)
    if ATTACKS[name].uses_gradient:
        with pytest.raises(AttackFailedError, match="BPDA"):
            quick(name)(model, images, labels, 0.2)
    else:
        assert (predictions(model, quick(name)(model, images, labels, 0.2)) != labels).any()


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
        ({"target_labels": np.array([1, 9])}, r"target_labels in \[0, 2\]"),
        ({"target_labels": np.array([0, 2])}, "received 1 of 2 that are equal"),
        ({"target_labels": np.array([[0], [1]])}, "received 2 of 2 that are equal"),
        (
            {"images": np.zeros((2, 5, 5, 1), "float32")},
            r"\(num_images, 4, 4, 1\), received \(2, 5",
        ),
        ({"epsilon": -0.1}, "epsilon"),
        ({"epsilon": 8.0}, "255"),
        ({"epsilon": float("nan")}, "epsilon"),
        ({"epsilon": None}, "epsilon"),
        ({"epsilon": "0.1"}, "epsilon"),
        ({"epsilon": True}, "epsilon"),
        ({"epsilon": 10**400}, "epsilon"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 2.5}, "batch_size to be an integer"),
        ({"seed": -1}, "seed"),
        ({"seed": None}, "seed to be an integer of at least 0, received None"),
        ({"progress": 3}, "progress to be a function"),
        ({"require_change": 0}, "require_change to be True or False"),
        ({"model": "digits"}, "keras.Model from images to logits, received str"),
        ({"model": keras.layers.Dense(3)}, "keras.Model from images to logits, received Dense"),
        ({"model": keras.Sequential([keras.layers.Dense(3)])}, "model with weights"),
    ],
)
def test_wrong_arguments_are_refused_with_words(change, message):
    model, _, _ = linear_classifier(3)
    arguments = {"model": model, "images": grey_images(2), "labels": np.array([0, 1])}
    with pytest.raises(ValueError, match=message):
        FGSM()(**(arguments | {"epsilon": 0.1} | change))


@pytest.mark.parametrize(
    ("epsilons", "message"),
    [
        ([], "at least one number, received none"),
        ((e for e in ()), "a generator that was read before is empty"),
        ("0.1", "sequence of numbers, received '0.1'"),
        (0.1, "sequence of numbers, received 0.1"),
        (np.array(0.1), "sequence of numbers"),
        (None, "sequence of numbers, received None"),
        ([0.1, "0.2"], "finite number of at least 0 and of at most 1, received '0.2'"),
        ([0.1, None], "received None"),
        (itertools.repeat(0.1), "at most 10,000 numbers"),
    ],
)
def test_a_curve_without_budgets_is_refused(epsilons, message):
    model, _, _ = linear_classifier(3)
    with pytest.raises(ValueError, match=f"epsilon of fgsm .*{message}"):
        FGSM().curve(model, grey_images(2), np.array([0, 1]), epsilons)


def test_a_curve_reads_a_generator_once_and_each_budget_once():
    model, _, _ = linear_classifier(3)
    images, labels = grey_images(4), np.array([[0], [1], [2], [0]])
    curve = FGSM().curve(model, images, labels, (e for e in (0.0, 0.05, 0.1, 0.05)))
    assert list(curve) == [0.0, 0.05, 0.1]
    np.testing.assert_array_equal(curve[0.1], FGSM()(model, images, labels.ravel(), 0.1))
    as_float32 = FGSM().curve(model, images, labels, np.array([0.05, 0.1], "float32"))
    assert list(as_float32) == [np.float32(0.05), np.float32(0.1)]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("fgsm", {"norm": "l1"}),
        ("fgsm", {"norm": np.array(["linf", "l2"])}),
        ("bim", {"num_steps": 0}),
        ("bim", {"num_steps": 2.5}),
        ("bim", {"num_steps": "3"}),
        ("bim", {"num_steps": None}),
        ("bim", {"num_steps": float("inf")}),
        ("bim", {"num_steps": 10**9}),
        ("bim", {"num_steps": True}),
        ("pgd", {"step_size": 0.0}),
        ("pgd", {"step_size": 1e-30}),
        ("pgd", {"step_size": 2.0}),
        ("pgd", {"step_size": "0.1"}),
        ("pgd", {"random_start": 1}),
        ("mi_fgsm", {"decay_factor": -1.0}),
        ("mi_fgsm", {"decay_factor": None}),
        ("mi_fgsm", {"decay_factor": float("nan")}),
        ("carlini_wagner", {"confidence": -1.0}),
        ("carlini_wagner", {"confidence": float("inf")}),
        ("carlini_wagner", {"learning_rate": float("inf")}),
        ("carlini_wagner", {"learning_rate": float("nan")}),
        ("carlini_wagner", {"initial_const": float("inf")}),
        ("carlini_wagner", {"max_iterations": 2.5}),
        ("carlini_wagner", {"max_iterations": 10**9}),
        ("carlini_wagner", {"binary_search_steps": 101}),
        ("carlini_wagner", {"abort_early": None}),
        ("carlini_wagner", {"epsilon_mode": "stretch"}),
        ("carlini_wagner", {"epsilon_mode": ["clip"]}),
        ("carlini_wagner_cleverhans", {"learning_rate": 0.0}),
        ("bim", {"num_restarts": 0}),
        ("bim", {"best_point": 1}),
        ("pgd", {"num_restarts": 10**6}),
        ("pgd", {"best_point": None}),
        ("apgd", {"loss": "entropy"}),
        ("apgd", {"num_steps": 0}),
        ("apgd", {"num_restarts": 2.5}),
        ("apgd", {"rho": 1.5}),
        ("apgd", {"momentum": 0.0}),
        ("square", {"norm": "l2"}),
        ("square", {"num_queries": 0}),
        ("square", {"num_queries": 3, "num_draws": 4}),
        ("square", {"p_init": 0.0}),
        ("square", {"num_draws": 0}),
        ("square", {"num_restarts": "2"}),
        ("spsa", {"norm": "l2"}),
        ("spsa", {"num_samples": 7}),
        ("spsa", {"delta": 0.0}),
        ("spsa", {"learning_rate": float("nan")}),
        ("spsa_cleverhans", {"num_steps": -1}),
        ("rand_fgsm", {"random_share": 1.0}),
        ("rand_fgsm", {"norm": "l2"}),
    ],
)
def test_wrong_hyperparameters_are_refused(name, fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        get_attack(name, **fields)


@pytest.mark.parametrize("name", [None, 3, "PGD", ["pgd"]])
def test_an_unknown_attack_lists_the_known_ones(name):
    with pytest.raises(ValueError, match="Known attacks: fgsm, rand_fgsm, bim, pgd"):
        get_attack(name)


# Models of other kinds


class Subclassed(keras.Model):
    """A classifier written as a subclass, whose output passes a function."""

    def __init__(self, function):
        super().__init__()
        self.dense, self.function = keras.layers.Dense(3), function

    def call(self, images, training=False):
        return self.function(self.dense(keras.ops.reshape(images, (-1, 16))))


def subclassed(function) -> keras.Model:
    model = Subclassed(function)
    model(grey_images(2))
    return model


@pytest.mark.parametrize("name", attack_names())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_subclassed_model_is_attacked_as_any_other(name, dtype):
    model, weights, bias = linear_classifier(3)
    other = subclassed(lambda logits: keras.ops.cast(logits, dtype))
    other.dense.set_weights([weights, bias])
    images = grey_images(6)
    labels = predictions(model, images)
    expected = quick(name)(model, images, labels, 0.1)
    np.testing.assert_allclose(quick(name)(other, images, labels, 0.1), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda logits: {"logits": logits}, "one tensor of logits, received dict"),
        (lambda logits: [logits, logits], "one tensor of logits, received list"),
        (lambda logits: keras.ops.cast(logits, "float16"), "float32, received float16"),
        (lambda logits: keras.ops.cast(logits, "int32"), "float32, received int32"),
        (lambda logits: logits[:, :1], r"at least 2 classes, received \(2, 1\)"),
        (lambda logits: logits[:, None], r"logits of shape \(2, classes\)"),
        (lambda logits: logits / 0.0, "finite logits"),
    ],
)
def test_what_is_no_classifier_is_refused(function, message):
    with pytest.raises(AttackFailedError, match=message):
        FGSM()(subclassed(function), grey_images(2), np.array([0, 1]), 0.1)


def test_a_model_of_other_inputs_is_refused():
    pixels, more = keras.Input((16,)), keras.Input((4, 4, 1))
    flat = keras.Model(pixels, keras.layers.Dense(3)(pixels))
    joined = keras.layers.Concatenate()([pixels, keras.layers.Flatten()(more)])
    several = keras.Model([pixels, more], keras.layers.Dense(3)(joined))
    for model in (flat, several):
        with pytest.raises(ValueError, match=r"one input \(batch, .* takes .*\(None, 16\)"):
            FGSM()(model, grey_images(2), np.array([0, 1]), 0.1)


@pytest.mark.parametrize("num_images", [1, 6])
def test_scaled_probabilities_are_found_on_any_number_of_images(num_images):
    """A single row could be logits; the images of noise beside it have the same sum."""
    model = subclassed(lambda logits: 7.0 * keras.ops.softmax(logits))
    images = grey_images(num_images)
    with pytest.raises(AttackFailedError, match="sum to 7"):
        FGSM()(model, images, np.zeros(num_images, int), 0.1, require_change=False)


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
