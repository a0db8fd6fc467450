"""Images that an attack did not attack: told in the result, warned of, refused where too many."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from attacks import (
    AttackFailedError,
    UnattackedImagesWarning,
    attack_names,
    attack_random_member,
    get_attack,
)
from attacks.attacked_model import attacked_model, batch_seed
from attacks.carlini_wagner import CarliniWagner
from attacks.cleverhans_tensorflow import random_vector
from attacks.gradient import BIM, FGSM, PGD
from attacks.job import tolerated_share, validated_job
from attacks.threat_models import attack_mixed
from tests.attack_helpers import (
    SHORT,
    accuracy,
    lengths,
    linear_classifier,
    predictions,
    quick,
)

GRADIENT_ATTACKS = ["fgsm", "rand_fgsm", "bim", "pgd", "mi_fgsm", "apgd"]


@keras.saving.register_keras_serializable(package="test_unattacked_images")
class Bright(keras.layers.Layer):
    """Sees nothing of an image unless it is brighter than grey, as a ReLU that is off."""

    def call(self, inputs):
        return keras.ops.relu(inputs - 0.5)


def blind_classifier(seed: int = 0) -> keras.Model:
    """A classifier without a gradient on dark images."""
    inputs = keras.Input((4, 4, 1))
    hidden = keras.layers.Flatten()(Bright()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(hidden))
    weights = np.random.default_rng(seed).normal(size=(16, 3)).astype("float32")
    model.layers[-1].set_weights([weights, np.array([0.1, 0.0, 0.0], "float32")])
    return model


def dark_and_bright(num_dark: int, num_images: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of which some are dark, at random places, and which they are."""
    rng = np.random.default_rng(0)
    dark = rng.permutation(np.arange(num_images) < num_dark)
    low = np.where(dark, 0.1, 0.7)[:, None, None, None]
    return (low + rng.uniform(0.0, 0.2, (num_images, 4, 4, 1))).astype("float32"), dark


def steep(model: keras.Model, factor: float) -> keras.Model:
    """The same decisions from logits so many times larger."""
    return keras.Model(model.inputs[0], keras.layers.Rescaling(factor)(model.outputs[0]))


def without_gradient(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which images the cross-entropy has no gradient on."""
    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(x))
    return ~np.any(tape.gradient(loss, x) != 0.0, axis=(1, 2, 3))


# Steep logits: the softmax saturates, and the gradient is exactly zero


@pytest.mark.parametrize("factor", [20.0, 50.0])
@pytest.mark.parametrize("name", GRADIENT_ATTACKS)
def test_saturated_logits_are_refused(digits, name, factor):
    model, images, labels = digits
    model = steep(model, factor)
    assert without_gradient(model, images, labels).mean() > 0.3
    with pytest.raises(AttackFailedError, match=r"of 100 where it started, more than the 10\.0%"):
        get_attack(name)(model, images, labels, 0.1)


def test_the_number_of_saturated_images_is_counted(digits):
    model, images, labels = digits
    model = steep(model, 20.0)
    zero = without_gradient(model, images, labels)
    (result,) = FGSM().run(model, images, labels, [0.1], require_change=False).values()
    np.testing.assert_array_equal(result.unattacked, zero)
    np.testing.assert_array_equal(result.adversarial_images[zero], images[zero])
    with pytest.raises(AttackFailedError, match=f"received {zero.sum()} of 100 where it started"):
        FGSM()(model, images, labels, 0.1)


def test_a_gradient_too_small_for_the_budget_is_none(digits):
    """CleverHans scales an L2 step by the gradient's length, unless that is below 1e-6."""
    model, images, _ = digits
    model, images = steep(model, 1e-12), images[:20]
    labels = predictions(model, images)
    assert not without_gradient(model, images, labels).any()
    with pytest.raises(AttackFailedError, match="changed none"):
        FGSM(norm="l2")(model, images, labels, 1.0)


def test_a_margin_does_not_saturate(digits):
    """The search for the constant makes up for a factor on the logits, which scales the margin."""
    model, images, labels = digits
    images, labels = images[:20], labels[:20]
    attack, found = CarliniWagner(**{**SHORT, "binary_search_steps": 6}), []
    for factor in (1.0, 20.0, 50.0):
        result = attack.minimal_perturbation(steep(model, factor), images, labels)
        assert accuracy(model, result, labels) == 0.0
        found.append(lengths(result - images))
    for other in found[1:]:
        np.testing.assert_allclose(other.mean(), found[0].mean(), rtol=0.05)


# A random model, whose draws move images that had no gradient at the start


@keras.saving.register_keras_serializable(package="test_unattacked_images")
class Noise(keras.layers.Layer):
    """Adds noise at inference, as a purifier that samples does."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(7)

    def call(self, inputs):
        shape = keras.ops.shape(inputs)
        return inputs + keras.random.normal(shape, stddev=0.25, seed=self.seed_generator)


@pytest.mark.parametrize(
    "attack",
    [PGD(), BIM(num_steps=20), get_attack("mi_fgsm"), get_attack("apgd", num_steps=20)],
    ids=lambda attack: attack.name,
)
def test_an_image_that_chance_moved_counts_where_it_had_no_gradient(digits, attack):
    """A later draw has a gradient now and then, and momentum goes on with it."""
    model, images, labels = digits
    inputs = keras.Input(images.shape[1:])
    noisy = keras.Model(inputs, steep(model, 30.0)(Noise()(inputs)))
    (result,) = attack.run(
        noisy, images, labels, [0.1], tolerated=1.0, require_change=False
    ).values()
    start = attack._starting_points(attacked_model(noisy), _job(images, labels), 0.1)
    moved = np.abs(result.adversarial_images - start).reshape(len(images), -1).max(axis=1) > 0.002
    assert (result.unattacked & moved).sum() >= 5
    if attack.name != "apgd":  # whose start may be the best point that was found
        assert not (result.unmoved & ~result.unattacked).any()
    with pytest.raises(AttackFailedError, match=r"images without a gradient at the start count"):
        attack(noisy, images, labels, 0.1)


def _job(images: np.ndarray, labels: np.ndarray):
    return validated_job(images, labels, None, 0, None, None)


# A part of the images has no gradient


@pytest.mark.parametrize("name", attack_names())
def test_half_of_the_images_without_a_gradient_are_refused(name):
    model, (images, _) = blind_classifier(), dark_and_bright(10, 20)
    with pytest.raises(AttackFailedError, match=r"10 of 20 where it started, more than the 22\.4%"):
        quick(name)(model, images, predictions(model, images), 0.1)


@pytest.mark.parametrize("name", attack_names())
def test_a_few_images_without_a_gradient_are_told(name):
    model, (images, dark) = blind_classifier(), dark_and_bright(3, 20)
    labels = predictions(model, images)
    (result,) = quick(name).run(model, images, labels, [0.1]).values()
    np.testing.assert_array_equal(result.unattacked, dark)
    np.testing.assert_array_equal(result.unmoved, dark)
    with pytest.warns(UnattackedImagesWarning, match=r"received 3 of 20 at epsilon 0\.1 unmoved"):
        images_again = quick(name)(model, images, labels, 0.1)
    np.testing.assert_array_equal(images_again, result.adversarial_images)
    both = r"3 of 20 at epsilon 0\.1, 3 of 20 at epsilon 0\.2"
    with pytest.warns(UnattackedImagesWarning, match=both):
        quick(name).curve(model, images, labels, [0.0, 0.1, 0.2])


@pytest.mark.parametrize(("num_dark", "refused"), [(10, False), (11, True)])
def test_the_margin_is_two_standard_deviations(num_dark, refused):
    assert tolerated_share(100) == pytest.approx(0.1)
    model, (images, dark) = blind_classifier(), dark_and_bright(num_dark, 100)
    labels = predictions(model, images)
    if refused:
        with pytest.raises(AttackFailedError, match="received 11 of 100"):
            FGSM()(model, images, labels, 0.1)
    else:
        with pytest.warns(UnattackedImagesWarning, match="10 of 100 at epsilon"):
            FGSM()(model, images, labels, 0.1)
    (result,) = FGSM().run(model, images, labels, [0.1], tolerated=0.11).values()
    np.testing.assert_array_equal(result.unattacked, dark)
    with pytest.raises(AttackFailedError, match=r"more than the 9\.0% that are tolerated"):
        FGSM().run(model, images, labels, [0.1], tolerated=0.09)
    with pytest.raises(ValueError, match="tolerated to be a finite number of at least 0"):
        FGSM().run(model, images, labels, [0.1], tolerated=9)


@pytest.mark.parametrize("name", attack_names())
def test_an_image_that_was_adversarial_before_needs_no_attack(name):
    model, (images, dark) = blind_classifier(), dark_and_bright(10, 20)
    labels = predictions(model, images)
    labels[dark] = (labels[dark] + 1) % 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (result,) = quick(name).run(model, images, labels, [0.1]).values()
        quick(name)(model, images, labels, 0.1)
    assert not result.unattacked.any() and not result.unmoved.any()


def test_a_random_start_that_is_adversarial_needs_no_attack():
    """A start on the target has no gradient where the softmax saturates, and needs none."""
    model, weights, _ = linear_classifier(2)
    model = steep(model, 1e4)
    images = np.full((6, 4, 4, 1), 0.5, "float32")
    normal = (weights[:, 1] - weights[:, 0]).reshape(4, 4, 1)
    images += (0.002 * normal / np.linalg.norm(normal)).astype("float32")
    assert (predictions(model, images) == 1).all()
    labels, targets = np.ones(6, int), np.zeros(6, int)
    attack, seed = PGD(num_steps=2), 3
    result = attack.run(model, images, labels, [0.1], target_labels=targets, seed=seed)[0.1]
    radius = tf.constant(0.1)
    start = images + random_vector(batch_seed(seed, 0), tf.shape(images), np.inf, radius).numpy()
    stayed = np.isclose(result.adversarial_images, start, atol=1e-6).all(axis=(1, 2, 3))
    assert 0 < stayed.sum() < 6 and (predictions(model, start[stayed]) == 0).all()
    assert not result.unmoved.any() and not result.unattacked.any()


# Steps that cannot be seen


def test_steps_that_are_no_part_of_the_budget_are_refused():
    model, *_ = linear_classifier(3)
    images = np.random.default_rng(0).uniform(0.3, 0.7, (20, 4, 4, 1)).astype("float32")
    labels = predictions(model, images)
    for attack in (PGD(num_steps=3, step_size=1e-6), BIM(num_steps=3, step_size=1e-4)):
        with pytest.raises(AttackFailedError, match=r"Expected .* to .*raise step_size"):
            attack(model, images, labels, 0.2)
    longer = BIM(num_steps=3, step_size=1e-3)(model, images, labels, 0.2)
    assert np.abs(longer - images).max() == pytest.approx(3e-3, abs=1e-6)
    with pytest.raises(ValueError, match=r"step_size of pgd to be .* at least 1e-06"):
        PGD(step_size=1e-30)
    with pytest.raises(ValueError, match=r"0 or at least 1e-05, received 1e-30"):
        FGSM()(model, images, labels, 1e-30)


# A search for the smallest perturbation


def test_a_search_without_success_is_told_from_one_without_a_gradient():
    model, (images, dark) = blind_classifier(), dark_and_bright(4, 20)
    labels = predictions(model, images)
    # The one constant tried is too small for all but the images next to the boundary.
    short = CarliniWagner(
        max_iterations=30, learning_rate=0.05, binary_search_steps=1, initial_const=0.03
    )
    result = short.run(model, images, labels, [None], require_change=False)[None]
    found = predictions(model, result.adversarial_images) != labels
    assert (result.unmoved == ~found).all()
    assert 0 < found.sum() < (~dark).sum()
    np.testing.assert_array_equal(result.unattacked, dark)
    np.testing.assert_array_equal(result.adversarial_images[~found], images[~found])


# Pools


def test_a_pool_tells_which_images_no_member_could_attack():
    models = [blind_classifier(seed) for seed in range(3)]
    images, dark = dark_and_bright(4, 60)
    labels = predictions(models[0], images)
    labels[dark] = 0  # the class of every member where it sees nothing
    with pytest.warns(UnattackedImagesWarning, match="received 4 of 60 at epsilon"):
        sets, _, unattacked = attack_random_member(FGSM(), models, images, labels, [0.0, 0.1])
    np.testing.assert_array_equal(unattacked[0.1], dark)
    assert not unattacked[0.0].any()
    np.testing.assert_array_equal(sets[0.1][dark], images[dark])
    with pytest.warns(UnattackedImagesWarning):
        *_, unattacked = attack_mixed(FGSM(), models[0], models[1:], images, labels, [0.1])
    np.testing.assert_array_equal(unattacked[0.1], dark)


def test_a_pool_without_a_gradient_on_many_images_is_refused():
    models = [blind_classifier(seed) for seed in range(3)]
    images, _ = dark_and_bright(20, 40)
    labels = np.zeros(40, int)
    with pytest.raises(AttackFailedError, match="received 20 of 40 where it started"):
        attack_random_member(PGD(num_steps=2), models, images, labels, [0.1])


# A softmax, wherever it stands


@keras.saving.register_keras_serializable(package="test_unattacked_images")
class Probabilities(keras.layers.Layer):
    """A softmax that no configuration tells of."""

    def call(self, inputs):
        return keras.ops.exp(inputs) / keras.ops.sum(keras.ops.exp(inputs), -1, keepdims=True)


@pytest.mark.parametrize("kind", ["nested", "layer", "operation", "activation", "scaled"])
def test_a_softmax_is_found_wherever_it_stands(kind):
    inputs = keras.Input((4, 4, 1))
    logits = keras.layers.Dense(3)(keras.layers.Flatten()(inputs))
    outputs = {
        "nested": lambda: keras.Sequential([keras.layers.Softmax()])(logits),
        "layer": lambda: Probabilities()(logits),
        "operation": lambda: keras.ops.softmax(logits),
        "activation": lambda: keras.layers.Activation("softmax")(logits),
        "scaled": lambda: 7.0 * keras.ops.softmax(logits),
    }[kind]()
    for images in (dark_and_bright(3, 6)[0], dark_and_bright(0, 1)[0]):
        labels = np.zeros(len(images), int)
        with pytest.raises(AttackFailedError, match=r"sum to [17]: the model ends in a softmax"):
            FGSM()(keras.Model(inputs, outputs), images, labels, 0.1)
