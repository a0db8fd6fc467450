"""Attacks draw their own random numbers, and leave those of their caller alone."""

from __future__ import annotations

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from cleverhans.tf2.utils import random_lp_vector

from attacks import attack_names
from attacks.cleverhans_tensorflow import random_vector
from attacks.gradient import PGD
from attacks.substitute import SubstituteTraining
from tests.attack_helpers import grey_images, linear_classifier, predictions, quick


def draws(between) -> list[np.ndarray]:
    """Numbers from every generator of the process, before and after a call."""
    random.seed(1)
    np.random.seed(1)
    keras.utils.set_random_seed(1)
    tf.random.set_seed(1)
    generator = tf.random.get_global_generator()
    generator.reset_from_seed(1)
    found = []
    for after in (False, True):
        if after:
            between()
        found += [
            tf.random.uniform([3]).numpy(),
            tf.random.normal([3], seed=7).numpy(),
            generator.normal([3]).numpy(),
            keras.ops.convert_to_numpy(keras.random.uniform([3])),
            np.random.random(3),
            np.array([random.random()]),
        ]
    return found


@pytest.mark.parametrize("name", attack_names())
def test_the_random_numbers_of_the_caller_go_on_as_if_nothing_had_been_attacked(name):
    model, *_ = linear_classifier(3)
    images = grey_images(4)
    labels = predictions(model, images)
    expected = draws(lambda: None)
    found = draws(lambda: quick(name)(model, images, labels, 0.2, seed=5))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_caller_without_a_seed_stays_without_one():
    from tensorflow.python.eager import context

    model, *_ = linear_classifier(3)
    images = grey_images(4)
    labels = predictions(model, images)
    before = context.global_seed()
    try:
        tf.random.set_seed(None)
        drawn = []
        for _ in range(3):
            PGD(num_steps=1)(model, images, labels, 0.1)
            drawn.append(tuple(tf.random.uniform([2]).numpy()))
        assert context.global_seed() is None
        assert len(set(drawn)) == 3
    finally:
        tf.random.set_seed(before)


@pytest.mark.parametrize("order", [np.inf, 2])
@pytest.mark.parametrize("seed", [0, 17, 2**31 - 1])
def test_the_own_draw_is_that_of_cleverhans_after_setting_the_seed(order, seed):
    shape, radius = tf.constant([5, 6, 7, 3]), tf.constant(0.1)
    tf.random.set_seed(seed)
    expected = random_lp_vector(shape, order, radius)
    np.testing.assert_array_equal(random_vector(seed, shape, order, radius), expected)


def test_a_substitute_leaves_the_random_numbers_alone():
    target, *_ = linear_classifier()
    own, images = linear_classifier(seed=1)[0], grey_images(8)
    own(images)
    training = SubstituteTraining(num_seed_images=8, num_rounds=2, epochs=1)
    expected = draws(lambda: None)
    found = draws(lambda: training(own, lambda x: predictions(target, x), images))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)
