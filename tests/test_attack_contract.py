"""What every attack promises: budget and range, repeatability, errors instead of silence."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf
from cleverhans.tf2.utils import compute_gradient

from attacks import (
    Attack,
    AttackFailedError,
    ThreatModel,
    attack_names,
    attack_random_member,
    get_attack,
)
from attacks.gradient import FGSM, PGD
from tests.attack_helpers import digits_cnn, grey_images, linear_classifier, predictions

# Small settings for the tests that are about the frame, not about strength.
QUICK = {
    "carlini_wagner": {"max_iterations": 60, "learning_rate": 0.05, "binary_search_steps": 4},
    "carlini_wagner_cleverhans": {
        "max_iterations": 30,
        "learning_rate": 0.1,
        "binary_search_steps": 1,
        "initial_const": 0.1,
    },
}


@pytest.fixture(scope="module")
def digits():
    return digits_cnn()


def quick(name: str) -> Attack:
    return get_attack(name, **QUICK.get(name, {}))


# Budget, range and the identity


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rogue(Attack):
    """Returns whatever it is told to, to see what the base class lets through."""

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


@pytest.mark.parametrize("name", attack_names())
def test_range_budget_and_identity_hold_for_every_attack(digits, name):
    model, images, labels = digits
    images, labels = images[:13], labels[:13]
    before = images.copy()
    curve = quick(name).curve(model, images, labels, [0.0, 0.1, 0.25], batch_size=8)
    np.testing.assert_array_equal(curve[0.0], images)
    assert curve[0.0] is not images
    np.testing.assert_array_equal(images, before)
    for epsilon in (0.1, 0.25):
        assert curve[epsilon].dtype == np.float32 and curve[epsilon].shape == images.shape
        assert np.abs(curve[epsilon] - images).max() <= epsilon + 1e-6
        assert curve[epsilon].min() >= 0.0 and curve[epsilon].max() <= 1.0
        assert np.abs(curve[epsilon] - images).max() > 0.9 * epsilon


@pytest.mark.parametrize("name", attack_names())
def test_a_curve_equals_single_calls_and_repeats(digits, name):
    model, images, labels = digits
    images, labels, attack = images[:9], labels[:9], quick(name)
    curve = attack.curve(model, images, labels, [0.1, 0.2], seed=5)
    single = attack(model, images, labels, 0.2, seed=5)
    np.testing.assert_array_equal(curve[0.2], single)


def test_random_starts_follow_the_seed(digits):
    model, images, labels = digits
    attack = PGD(num_steps=1, step_size=0.01)
    first = attack(model, images, labels, 0.2, seed=1)
    assert np.mean(first != attack(model, images, labels, 0.2, seed=2)) > 0.5
    halves = attack(model, images, labels, 0.2, seed=1, batch_size=50) - images
    assert np.mean(halves[:50] == halves[50:]) < 0.5


@pytest.mark.parametrize("name", ["fgsm", "bim", "mi_fgsm"])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_padding_of_the_last_batch_changes_nothing(digits, name, batch_size):
    model, images, labels = digits
    images, labels = images[:23], labels[:23]
    whole = get_attack(name)(model, images, labels, 0.1, batch_size=23)
    parts = get_attack(name)(model, images, labels, 0.1, batch_size=batch_size)
    assert np.mean(np.abs(whole - parts) < 1e-5) > 0.999


def test_random_starts_do_not_depend_on_the_padding(digits):
    model, images, labels = digits
    attack = PGD(num_steps=2)
    long = attack(model, images[:16], labels[:16], 0.1, batch_size=8)
    short = attack(model, images[:11], labels[:11], 0.1, batch_size=8)
    np.testing.assert_array_equal(short, long[:11])


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


# Random models


@keras.saving.register_keras_serializable(package="test_attack_contract")
class Noise(keras.layers.Layer):
    """Adds noise at inference, as a purifier that samples does."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(7)

    def call(self, inputs):
        shape = keras.ops.shape(inputs)
        return inputs + keras.random.normal(shape, stddev=0.3, seed=self.seed_generator)


@pytest.mark.parametrize("name", ["bim", "pgd", "carlini_wagner"])
def test_attacks_on_a_random_model_repeat_and_leave_its_generator_alone(name):
    inputs = keras.Input((4, 4, 1))
    hidden = keras.layers.Dense(12, activation="tanh")(keras.layers.Flatten()(Noise()(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(3)(hidden))
    images, attack = grey_images(10), quick(name)
    labels = predictions(model, images)
    generator = next(layer for layer in model.layers if isinstance(layer, Noise)).seed_generator
    state = np.array(generator.state)
    first = attack(model, images, labels, 0.2, batch_size=4)
    np.testing.assert_array_equal(np.array(generator.state), state)
    model(images)
    np.testing.assert_array_equal(attack(model, images, labels, 0.2, batch_size=4), first)
    assert not np.array_equal(attack(model, images, labels, 0.2, batch_size=4, seed=1), first)


# Tracing and memory


def test_nothing_is_traced_twice_for_one_model():
    model, _, _ = linear_classifier(3, seed=4)
    images = grey_images(21)
    labels = predictions(model, images)
    PGD(num_steps=2)(model, images, labels, 0.1, batch_size=8)
    traced = compute_gradient.experimental_get_tracing_count()
    for name in ("fgsm", "bim", "pgd"):
        for epsilon, count in ((0.05, 21), (0.2, 11)):
            get_attack(name)(model, images[:count], labels[:count], epsilon, batch_size=8)
    assert compute_gradient.experimental_get_tracing_count() == traced


@pytest.mark.parametrize("name", attack_names())
def test_an_attacked_model_can_be_freed(name):
    model, _, _ = linear_classifier(3)
    images = grey_images(4)
    quick(name)(model, images, predictions(model, images), 0.2)
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None


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
        ({"labels": np.array([0, -1])}, r"\[0, 2\]"),
        ({"labels": np.array([0])}, "one per image"),
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


def test_the_registry_knows_its_names():
    assert set(attack_names()) == {
        "fgsm",
        "bim",
        "pgd",
        "mi_fgsm",
        "rand_fgsm",
        "carlini_wagner",
        "carlini_wagner_cleverhans",
    }
    with pytest.raises(ValueError, match="Known attacks: fgsm, rand_fgsm, bim"):
        get_attack("deepfool2")
    with pytest.raises(TypeError, match="stepsize"):
        get_attack("pgd", stepsize=0.1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_attack("pgd").num_steps = 3


def test_config_tells_everything_that_made_the_images():
    assert get_attack("pgd", step_size=0.01).config() == {
        "name": "pgd",
        "norm": "linf",
        "num_steps": 40,
        "step_size": 0.01,
        "random_start": True,
    }
    assert get_attack("pgd").num_gradients() == 40
    assert get_attack("carlini_wagner").num_gradients() == 5000


@pytest.mark.parametrize("name", attack_names())
def test_progress_counts_up_to_the_number_of_images(digits, name):
    model, images, labels = digits
    seen: list[int] = []
    quick(name).curve(
        model, images[:10], labels[:10], [0.0, 0.1, 0.2], batch_size=4, progress=seen.append
    )
    assert seen == sorted(seen) and seen[-1] == 10 and len(seen) > 2


# Threat models


def test_every_threat_model_says_what_the_attacker_knows():
    assert [str(model) for model in ThreatModel] == [
        "oblivious",
        "transfer",
        "mixed",
        "framework",
        "adaptive",
        "score",
    ]
    assert len({model.knowledge for model in ThreatModel}) == len(ThreatModel)
    assert ThreatModel("framework") is ThreatModel.FRAMEWORK


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
