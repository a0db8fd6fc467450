"""PuVAE's losses and distance, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from defenses.puvae_losses import class_cross_entropy_loss, deviation_kl_loss
from defenses.puvae_projection import rms_distance


def some_images(num_images: int, shape) -> np.ndarray:
    return np.random.default_rng(0).random((num_images, *shape), dtype="float32")


def array(tensor) -> np.ndarray:
    return ops.convert_to_numpy(tensor)


def test_kl_has_no_half_and_sees_deviations():
    loss = array(deviation_kl_loss(np.array([[1.0, 0.0]]), np.array([[1.0, 0.5]])))
    np.testing.assert_allclose(loss, [1.636294], atol=1e-6)
    zeros, ones = np.zeros((2, 3), "float32"), np.ones((2, 3), "float32")
    np.testing.assert_array_equal(array(deviation_kl_loss(zeros, ones)), [0.0, 0.0])


def test_kl_is_summed_or_averaged_over_the_latent_axis():
    mean, deviation = np.array([[1.0, 0.0]]), np.array([[1.0, 0.5]])
    averaged = array(deviation_kl_loss(mean, deviation, "mean"))
    np.testing.assert_allclose(averaged, [1.636294 / 2], atol=1e-6)
    with pytest.raises(ValueError, match="sum, mean, received 'max'"):
        deviation_kl_loss(mean, deviation, "max")


def test_cross_entropy_counts_every_class_present_or_absent():
    logits = np.random.default_rng(0).normal(size=(4, 10)).astype("float32") * 2
    labels = np.eye(10, dtype="float32")[[3, 0, 9, 3]]
    p = np.exp(logits.astype("float64"))
    p /= p.sum(axis=1, keepdims=True)
    expected = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).sum(axis=1)
    np.testing.assert_allclose(array(class_cross_entropy_loss(labels, logits)), expected, rtol=1e-5)


def test_a_confident_mistake_keeps_its_gradient():
    logits, labels = tf.constant([[200.0, 0.0, 0.0]]), np.array([[0.0, 1.0, 0.0]], "float32")
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = class_cross_entropy_loss(labels, logits)
    # -log p_1 - log(1 - p_0), and p_1 : p_2 is 1 : 1.
    np.testing.assert_allclose(array(loss), [200.0 + 200.0 - np.log(2.0)], rtol=1e-5)
    np.testing.assert_allclose(array(tape.gradient(loss, logits)), [[2.0, -1.5, -0.5]], atol=1e-5)


def test_an_image_of_a_candidate_is_put_in_its_class():
    candidates = some_images(3 * 4, (2, 2, 1)).reshape(3, 4, 2, 2, 1)
    images = candidates[[0, 1, 2], [2, 0, 3]] + np.float32(0.01)
    distances = array(rms_distance(images, candidates))
    assert distances.argmin(axis=1).tolist() == [2, 0, 3]
    np.testing.assert_allclose(distances.min(axis=1), 0.01, rtol=1e-4)
    assert array(rms_distance(candidates[:, 1], candidates))[:, 1].tolist() == [0, 0, 0]


def test_an_image_equal_to_a_candidate_has_a_finite_gradient():
    image = tf.constant(some_images(1, (2, 2, 1)))
    with tf.GradientTape() as tape:
        tape.watch(image)
        distances = rms_distance(image, tf.stop_gradient(image)[:, None])
    np.testing.assert_array_equal(array(tape.gradient(distances, image)), np.zeros((1, 2, 2, 1)))
