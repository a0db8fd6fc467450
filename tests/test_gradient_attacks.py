"""Gradient attacks against closed forms, against CleverHans itself and against a second library."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from cleverhans.tf2.attacks.basic_iterative_method import basic_iterative_method
from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method
from cleverhans.tf2.attacks.momentum_iterative_method import momentum_iterative_method
from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent

from attacks import get_attack
from attacks.attacked_model import batch_seed
from attacks.gradient import BIM, FGSM, MIFGSM, PGD
from tests.attack_helpers import accuracy, grey_images, linear_classifier, predictions

GRADIENT_ATTACKS = ["fgsm", "bim", "pgd", "mi_fgsm"]


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def linear_gradient(images, labels, weights, bias) -> np.ndarray:
    """Cross-entropy gradient of a linear classifier, by hand: W (p - onehot)."""
    flat = images.reshape(len(images), -1).astype("float64")
    residual = softmax(flat @ weights + bias) - np.eye(weights.shape[1])[labels]
    return (residual @ weights.T).reshape(images.shape)


# Closed forms on a linear classifier


def test_fgsm_on_two_classes_steps_along_the_sign_of_the_weight_difference():
    model, weights, _ = linear_classifier(2)
    images = grey_images(7)
    labels = predictions(model, images)
    assert set(labels) == {0, 1}
    away = np.where(labels == 0, 1.0, -1.0)[:, None] * (weights[:, 1] - weights[:, 0])
    expected = images + 0.1 * np.sign(away).reshape(images.shape)
    np.testing.assert_allclose(FGSM()(model, images, labels, 0.1), expected, atol=1e-6)


@pytest.mark.parametrize("targeted", [False, True])
def test_fgsm_on_many_classes_follows_the_gradient_by_hand(targeted):
    model, weights, bias = linear_classifier(5)
    images = grey_images(9)
    labels = predictions(model, images)
    targets = (labels + 2) % 5
    goal = targets if targeted else labels
    direction = np.sign(linear_gradient(images, goal, weights, bias)) * (-1 if targeted else 1)
    result = FGSM()(model, images, labels, 0.05, target_labels=targets if targeted else None)
    np.testing.assert_allclose(result, images + 0.05 * direction, atol=1e-6)


def test_fgsm_in_l2_moves_epsilon_along_the_gradient():
    model, weights, bias = linear_classifier(3)
    images = grey_images(5)
    labels = predictions(model, images)
    gradient = linear_gradient(images, labels, weights, bias)
    unit = gradient / np.sqrt((gradient**2).sum(axis=(1, 2, 3), keepdims=True))
    result = FGSM(norm="l2")(model, images, labels, 0.3)
    np.testing.assert_allclose(result, images + 0.3 * unit, atol=1e-5)


@pytest.mark.parametrize("name", ["bim", "pgd", "mi_fgsm"])
def test_iterative_attacks_end_in_the_corner_where_the_model_is_linear(name):
    model, weights, _ = linear_classifier(2)
    images = grey_images(6)
    labels = predictions(model, images)
    away = np.where(labels == 0, 1.0, -1.0)[:, None] * (weights[:, 1] - weights[:, 0])
    corner = images + 0.1 * np.sign(away).reshape(images.shape)
    np.testing.assert_allclose(get_attack(name)(model, images, labels, 0.1), corner, atol=1e-6)


def test_bim_with_one_step_is_fgsm_bit_for_bit(digits):
    model, images, labels = digits
    one_step = BIM(num_steps=1)(model, images, labels, 0.1)
    np.testing.assert_allclose(one_step, FGSM()(model, images, labels, 0.1), atol=1e-7)


def test_a_random_step_and_a_gradient_step_share_the_budget():
    model, weights, _ = linear_classifier(2)
    images = grey_images(200)
    labels = predictions(model, images)
    attack = get_attack("rand_fgsm", random_share=0.25)
    away = np.where(labels == 0, 1.0, -1.0)[:, None] * (weights[:, 1] - weights[:, 0])
    ahead = (attack(model, images, labels, 0.1) - images) * np.sign(away).reshape(images.shape)
    # 0.075 up the loss, and 0.025 with or against it.
    with_it = np.isclose(ahead, 0.1, atol=1e-6)
    against = np.isclose(ahead, 0.05, atol=1e-6)
    assert (with_it | against).all()
    assert 0.45 < with_it.mean() < 0.55


def test_momentum_without_memory_is_bim(digits):
    model, images, labels = digits
    without = MIFGSM(num_steps=5, decay_factor=0.0)(model, images, labels, 0.1)
    np.testing.assert_allclose(without, BIM(num_steps=5)(model, images, labels, 0.1), atol=1e-6)


def test_momentum_remembers(digits):
    model, images, labels = digits
    without = MIFGSM(num_steps=5, decay_factor=0.0)(model, images, labels, 0.1)
    assert np.mean(MIFGSM(num_steps=5)(model, images, labels, 0.1) != without) > 0.05


def test_targeted_fgsm_raises_the_probability_of_the_target():
    model, _, _ = linear_classifier(4)
    images = grey_images(8)
    labels = predictions(model, images)
    targets = (labels + 1) % 4
    result = FGSM()(model, images, labels, 0.1, target_labels=targets)
    rows = np.arange(len(images))
    before = softmax(np.asarray(model(images)))[rows, targets]
    after = softmax(np.asarray(model(result)))[rows, targets]
    assert (after > before).all()


# Against CleverHans, called directly


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", GRADIENT_ATTACKS)
def test_adapters_return_cleverhans_bit_for_bit(digits, name, targeted, norm):
    model, images, labels = digits
    images, labels, epsilon = images[:20], labels[:20], 0.2 if norm == "linf" else 1.5
    targets = (labels + 3) % 10
    order = np.inf if norm == "linf" else 2
    common = {"clip_min": 0.0, "clip_max": 1.0, "targeted": targeted, "sanity_checks": False}
    common["y"] = tf.constant(targets if targeted else labels)
    if name == "fgsm":
        attack = FGSM(norm=norm)
        expected = fast_gradient_method(model, images, epsilon, order, **common)
    elif name == "bim":
        attack = BIM(norm=norm, num_steps=4, step_size=0.05)
        expected = basic_iterative_method(model, images, epsilon, 0.05, 4, order, **common)
    elif name == "pgd":
        attack = PGD(norm=norm, num_steps=4, step_size=0.05)
        tf.random.set_seed(batch_seed(3, 0))
        expected = projected_gradient_descent(
            model,
            tf.constant(images),
            epsilon,
            0.05,
            4,
            order,
            rand_init=True,
            rand_minmax=epsilon,
            **common,
        )
    else:
        attack = MIFGSM(norm=norm, num_steps=4, step_size=0.05, decay_factor=0.9)
        expected = momentum_iterative_method(
            model, tf.constant(images), epsilon, 0.05, 4, order, decay_factor=0.9, **common
        )
    result = attack(
        model, images, labels, epsilon, target_labels=targets if targeted else None, seed=3
    )
    np.testing.assert_array_equal(result, expected.numpy())


def test_the_step_follows_epsilon_and_never_exceeds_it():
    assert BIM(num_steps=10).step_for(0.2) == pytest.approx(0.05)
    assert BIM(num_steps=2).step_for(0.2) == 0.2
    assert BIM(step_size=0.05).step_for(0.3) == 0.05
    assert BIM(step_size=0.05).step_for(0.02) == 0.02


# Against a second library


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["fgsm", "bim", "pgd"])
def test_gradient_attacks_agree_with_the_adversarial_robustness_toolbox(digits, name):
    evasion = pytest.importorskip("art.attacks.evasion")
    estimators = pytest.importorskip("art.estimators.classification")
    model, images, labels = digits
    images, labels, epsilon, step = images[:40], labels[:40], 0.15, 0.03
    estimator = estimators.TensorFlowV2Classifier(
        model=model,
        nb_classes=10,
        input_shape=images.shape[1:],
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=(0.0, 1.0),
    )
    if name == "fgsm":
        ours, theirs = FGSM(), evasion.FastGradientMethod(estimator, eps=epsilon)
    elif name == "bim":
        ours = BIM(num_steps=5, step_size=step)
        theirs = evasion.BasicIterativeMethod(
            estimator, eps=epsilon, eps_step=step, max_iter=5, verbose=False
        )
    else:
        ours = PGD(num_steps=5, step_size=step, random_start=False)
        theirs = evasion.ProjectedGradientDescent(
            estimator, eps=epsilon, eps_step=step, max_iter=5, num_random_init=0, verbose=False
        )
    result = ours(model, images, labels, epsilon)
    expected = theirs.generate(images, y=np.eye(10, dtype="float32")[labels])
    # A pixel whose gradient is zero up to rounding may be given either sign.
    assert np.mean(np.abs(result - expected) < 1e-5) > 0.995
    assert accuracy(model, result, labels) == accuracy(model, expected, labels)


# An undefended network must fall: the self-test of every attack


def test_an_undefended_network_falls(digits):
    model, images, labels = digits
    assert accuracy(model, images, labels) >= 0.93
    for name, limit in (("fgsm", 0.30), ("bim", 0.05), ("pgd", 0.05), ("mi_fgsm", 0.05)):
        result = get_attack(name)(model, images, labels, 0.3)
        assert accuracy(model, result, labels) <= limit, name


def test_a_targeted_attack_reaches_its_target(digits):
    model, images, labels = digits
    targets = (labels + 1) % 10
    result = PGD()(model, images, labels, 0.4, target_labels=targets)
    assert accuracy(model, result, targets) >= 0.9
