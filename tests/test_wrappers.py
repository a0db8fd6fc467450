"""BPDA and EOT as models: what they return, and what their gradients are."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from attacks import get_attack
from attacks.gradient import FGSM
from attacks.wrappers import BPDA, EOT, identity_gradient, log_mean
from defenses.batches import reset_seed_generators
from defenses.defended_classifier import DefendedClassifier
from tests.attack_helpers import grey_images, linear_classifier, predictions, quick

SHAPE = (4, 4, 1)


@keras.saving.register_keras_serializable(package="test_wrappers")
class Shift(keras.layers.Layer):
    """Adds one number to all pixels of an image, drawn at every call."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(7)

    def call(self, inputs):
        drawn = keras.random.normal((ops.shape(inputs)[0], 1, 1, 1), seed=self.seed_generator)
        return inputs + 0.3 * drawn


def random_classifier() -> keras.Model:
    plain, *_ = linear_classifier(3)
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, plain(Shift()(inputs)))


def gradient_of(model, images, label=0) -> np.ndarray:
    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(model(x)[:, label])
    return tape.gradient(total, x).numpy()


# BPDA


@pytest.mark.parametrize("name", ["fgsm", "bim", "apgd", "carlini_wagner"])
def test_bpda_of_the_identity_is_the_attack_end_to_end(name):
    classifier, *_ = linear_classifier(3)
    images = grey_images(8)
    labels = predictions(classifier, images)
    wrapped = BPDA(lambda x: x, classifier)
    np.testing.assert_array_equal(wrapped(images), classifier(images))
    np.testing.assert_array_equal(
        quick(name)(wrapped, images, labels, 0.1), quick(name)(classifier, images, labels, 0.1)
    )


def test_bpda_returns_what_the_purifier_returns_bit_for_bit():
    classifier, *_ = linear_classifier(3)
    images = grey_images(8)

    def purify(x):
        return ops.round(x * 7.0) / 7.0

    wrapped = BPDA(purify, classifier)
    np.testing.assert_array_equal(wrapped(images), classifier(purify(images)))
    # Its gradient is that of the classifier at the purified image.
    expected = gradient_of(classifier, np.asarray(purify(images)))
    np.testing.assert_allclose(gradient_of(wrapped, images), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="received None"):
        FGSM()(
            keras.Model(classifier.inputs, classifier(ops.round(classifier.inputs[0] * 7.0) / 7.0)),
            images,
            predictions(wrapped, images),
            0.1,
        )


def test_bpda_passes_a_purifier_that_raises_for_a_gradient():
    classifier, *_ = linear_classifier(3)
    images = grey_images(6)

    def jpeg(x):
        compressed = tf.map_fn(lambda image: tf.image.adjust_jpeg_quality(image, 50), x)
        return tf.ensure_shape(compressed, x.shape)

    wrapped = BPDA(jpeg, classifier)
    labels = predictions(wrapped, images)
    found = get_attack("pgd", num_steps=5)(wrapped, images, labels, 0.2)
    assert (predictions(wrapped, found) != labels).any()


def test_the_defended_classifier_has_the_same_identity():
    images = tf.constant(grey_images(3))
    with tf.GradientTape() as tape:
        tape.watch(images)
        purified = identity_gradient(lambda x: tf.round(x * 3.0) / 3.0, images)
    np.testing.assert_array_equal(purified, tf.round(images * 3.0) / 3.0)
    np.testing.assert_array_equal(tape.gradient(purified, images), np.ones((3, *SHAPE)))


def test_a_purifier_that_is_a_model_keeps_its_variables():
    purifier = keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(1, 3, padding="same")])
    classifier, *_ = linear_classifier(3)
    wrapped = BPDA(purifier, classifier)
    assert len(wrapped.variables) == len(purifier.variables) + len(classifier.variables)
    images = grey_images(4)
    np.testing.assert_allclose(wrapped(images), classifier(purifier(images)), rtol=1e-6)
    assert wrapped.image_shape == SHAPE


# EOT


@pytest.mark.parametrize("average", ["probabilities", "log_probabilities"])
@pytest.mark.parametrize("num_draws", [1, 3, 8])
def test_the_average_of_a_deterministic_model_changes_nothing_but_rounding(average, num_draws):
    classifier, *_ = linear_classifier(3)
    images = grey_images(8)
    averaged = EOT(classifier, num_draws, average)
    expected = ops.log_softmax(classifier(images), axis=-1)
    np.testing.assert_allclose(averaged(images), expected, atol=1e-6)
    np.testing.assert_allclose(
        gradient_of(averaged, images), gradient_of(EOT(classifier, 1), images), atol=1e-5
    )
    if num_draws == 1:
        np.testing.assert_array_equal(averaged(images), expected)


@pytest.mark.parametrize("average", ["probabilities", "log_probabilities"])
def test_the_average_of_a_random_model_is_that_of_its_draws(average):
    model, images = random_classifier(), grey_images(5)
    reset_seed_generators(model, 3)
    singly = np.stack([np.asarray(ops.log_softmax(model(images), -1), "float64") for _ in range(4)])
    assert singly.std(axis=0).max() > 0.01
    expected = singly.mean(axis=0)
    if average == "probabilities":
        expected = np.log(np.exp(singly).mean(axis=0))
    reset_seed_generators(model, 3)
    np.testing.assert_allclose(EOT(model, 4, average)(images), expected, atol=1e-5)
    reset_seed_generators(model, 3)
    defended = DefendedClassifier(None, [random_classifier()], num_draws=4)
    reset_seed_generators(defended, 3)
    if average == "probabilities":
        np.testing.assert_allclose(defended(images), EOT(model, 4)(images), atol=1e-5)


def test_more_draws_make_the_gradient_less_random():
    model, images = random_classifier(), grey_images(40)
    spread = []
    for num_draws in (1, 16):
        averaged = EOT(model, num_draws, "log_probabilities")
        repeats = np.stack([gradient_of(averaged, images) for _ in range(12)])
        spread.append(np.sqrt(np.mean(repeats.var(axis=0, ddof=1))))
    assert 0.15 < spread[1] / spread[0] < 0.4  # A quarter for sixteen draws.


def test_an_attack_works_on_a_wrapped_model_of_either_kind():
    model, images = random_classifier(), grey_images(12)
    labels = predictions(EOT(model, 16), images)
    for wrapped in (EOT(model, 4), BPDA(Shift(), linear_classifier(3)[0])):
        for name in ("pgd", "apgd", "square"):
            quick(name).run(wrapped, images, labels, [0.2], tolerated=1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: EOT(m, 0), "num_draws to be an integer of at least 1"),
        (lambda m: EOT(m, 2, "logits"), "average to be one of probabilities, log_probabilities"),
        (lambda m: EOT(lambda x: x, 2), "model to be a keras.Model with weights"),
        (lambda m: BPDA(3, m), "a purifier, a function from images to images, received 3"),
        (lambda m: BPDA(m, None), "classifier to be a keras.Model with weights, received None"),
    ],
)
def test_what_cannot_be_wrapped_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(linear_classifier(3)[0])


def test_the_log_mean_stays_finite_where_probabilities_underflow():
    low = np.array([[-300.0, 0.0]], "float32")
    np.testing.assert_allclose(
        log_mean([low, low - 5.0])[0, 0], -300.0 + np.log1p(np.exp(-5)) - np.log(2), rtol=1e-6
    )
    assert log_mean([low]) is low
