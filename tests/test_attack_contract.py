"""What every attack promises: budget and range, repeatability, one trace for each model."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import keras
import numpy as np
import pytest
from cleverhans.tf2.utils import compute_gradient

from attacks import attack_names, get_attack
from attacks.gradient import PGD
from tests.attack_helpers import grey_images, linear_classifier, predictions, quick


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


def test_the_registry_knows_its_names():
    assert set(attack_names()) == {
        "fgsm",
        "bim",
        "pgd",
        "mi_fgsm",
        "rand_fgsm",
        "carlini_wagner",
        "carlini_wagner_cleverhans",
        "apgd",
        "square",
        "spsa",
        "spsa_cleverhans",
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
