"""Carlini-Wagner implemented by others: CleverHans, and the Adversarial Robustness Toolbox."""

from __future__ import annotations

import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from cleverhans.tf2.attacks.carlini_wagner_l2 import CarliniWagnerL2

from attacks import get_attack
from attacks.attacked_model import attacked_model
from attacks.carlini_wagner import CarliniWagner
from attacks.carlini_wagner_cleverhans import CarliniWagnerCleverHans
from tests.attack_helpers import (
    EXACT,
    SHORT,
    accuracy,
    boundary_distances,
    grey_images,
    lengths,
    linear_classifier,
    predictions,
)

# Strength


@pytest.mark.parametrize("name", ["carlini_wagner", "carlini_wagner_cleverhans"])
def test_an_undefended_network_falls(digits, name):
    model, images, labels = digits
    images, labels = images[:40], labels[:40]
    attack = get_attack(name, max_iterations=60, learning_rate=0.05, binary_search_steps=4)
    result = attack.minimal_perturbation(model, images, labels)
    assert accuracy(model, images, labels) >= 0.9
    assert accuracy(model, result, labels) <= 0.05
    assert lengths(result - images).mean() < 3.0


def test_the_sound_search_finds_smaller_changes_than_cleverhans(digits):
    model, images, labels = digits
    images, labels = images[:16], labels[:16]
    ours = CarliniWagner(**SHORT).minimal_perturbation(model, images, labels)
    theirs = CarliniWagnerCleverHans(**SHORT).minimal_perturbation(model, images, labels)
    assert lengths(ours - images).mean() < 0.9 * lengths(theirs - images).mean()


@pytest.mark.filterwarnings("ignore")
def test_it_matches_the_adversarial_robustness_toolbox():
    evasion = pytest.importorskip("art.attacks.evasion")
    estimators = pytest.importorskip("art.estimators.classification")
    model, weights, bias = linear_classifier(2)
    images = grey_images(20)
    labels = predictions(model, images)
    # The Toolbox is some per cent off where the boundary is very near.
    far = boundary_distances(images, labels, weights, bias).min(axis=1) > 0.05
    images, labels = images[far][:6], labels[far][:6]
    estimator = estimators.TensorFlowV2Classifier(
        model=model,
        nb_classes=2,
        input_shape=images.shape[1:],
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=(0.0, 1.0),
    )
    theirs = evasion.CarliniL2Method(
        estimator,
        batch_size=6,
        max_iter=20,
        binary_search_steps=6,
        initial_const=1.0,
        verbose=False,
    ).generate(images, y=np.eye(2)[labels])
    ours = EXACT.minimal_perturbation(model, images, labels)
    assert len(images) == 6
    assert accuracy(model, ours, labels) == 0.0 == accuracy(model, theirs, labels)
    np.testing.assert_allclose(lengths(ours - images), lengths(theirs - images), rtol=0.08)
    assert (lengths(ours - images) <= 1.02 * lengths(theirs - images)).all()


# CleverHans' class, as the adapter leaves it


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("steps", [1, 3])
def test_the_adapter_returns_cleverhans_bit_for_bit(digits, steps, targeted):
    model, images, labels = digits
    images, labels = images[:5], predictions(model, images[:5])
    targets = (labels + 1) % 10
    settings = {"max_iterations": 25, "learning_rate": 0.05, "binary_search_steps": steps}
    direct = CarliniWagnerL2(
        lambda x: model(x, training=False), y=targets if targeted else labels, **settings
    )
    adam = tf.keras.optimizers.Adam(0.05)
    direct.optimizer = types.SimpleNamespace(
        apply_gradients=adam.apply_gradients,
        variables=lambda: [v for v in adam.variables if "learning_rate" not in v.path],
    )
    direct.targeted = targeted
    direct.batch_size = 5
    expected = direct.attack(images)
    result = CarliniWagnerCleverHans(**settings).minimal_perturbation(
        model, images, labels, target_labels=targets if targeted else None
    )
    np.testing.assert_array_equal(result, expected)


def test_the_adapter_takes_colour_images_and_odd_numbers_of_them():
    model, _, _ = linear_classifier(3, shape=(5, 5, 3))
    images = grey_images(5, shape=(5, 5, 3))
    labels = predictions(model, images)
    attack = CarliniWagnerCleverHans(max_iterations=60, learning_rate=0.05, binary_search_steps=2)
    result = attack.minimal_perturbation(model, images, labels, batch_size=4)
    assert accuracy(model, result, labels) == 0.0


def test_clearing_the_optimizer_spares_the_learning_rate(digits):
    model, images, labels = digits
    attack = CarliniWagnerCleverHans(max_iterations=20, learning_rate=0.1, binary_search_steps=3)
    attack.minimal_perturbation(model, images[:4], labels[:4])
    adam = attacked_model(model).compiled[(attack, False)].optimizer._adam
    assert float(adam.learning_rate) == pytest.approx(0.1)
