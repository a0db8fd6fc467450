"""The losses of the Wasserstein GAN against closed forms."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from defenses.wasserstein_losses import (
    critic_score_loss,
    generator_score_loss,
    gradient_penalty_loss,
    input_gradient,
    interpolate,
)

SHAPE = (4, 5, 3)

JAX_PENALTY = """
import jax, numpy as np
from defenses.wasserstein_losses import gradient_penalty_loss
images = np.random.default_rng(0).random((2, 4, 5, 3), dtype="float32")
def penalty(scale):
    return gradient_penalty_loss(lambda x: scale * (x ** 2).sum(axis=(1, 2, 3)), images).sum()
print(float(penalty(0.5)), float(jax.grad(penalty)(0.5)))
"""


def some_images(num_images: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((num_images, *SHAPE), dtype="float32")


def linear_critic(weights: np.ndarray) -> keras.Model:
    """Scores an image by its inner product with the weights; its input gradient is the weights."""
    inputs = keras.Input(SHAPE)
    dense = keras.layers.Dense(1, use_bias=False)
    critic = keras.Model(inputs, dense(keras.layers.Flatten()(inputs)))
    dense.kernel.assign(weights.reshape(-1, 1))
    return critic


def half_square(images):
    """A critic whose input gradient is the image itself."""
    return 0.5 * keras.ops.sum(keras.ops.square(images), axis=(1, 2, 3))


def test_score_losses_are_differences_of_scores():
    real, generated = np.array([[1.0], [2.0]], "f4"), np.array([[0.5], [5.0]], "f4")
    np.testing.assert_allclose(critic_score_loss(real, generated), [-0.5, 3.0])
    np.testing.assert_allclose(generator_score_loss(generated), [-0.5, -5.0])


def test_points_lie_on_the_line_of_their_own_image():
    images, generated = some_images(seed=0), some_images(seed=1)
    fractions = np.array([0.0, 1.0, 0.25], "f4").reshape(3, 1, 1, 1)
    points = np.asarray(interpolate(images, generated, fractions))
    np.testing.assert_allclose(points[0], images[0])
    np.testing.assert_allclose(points[1], generated[1], rtol=1e-6)
    np.testing.assert_allclose(points[2], 0.75 * images[2] + 0.25 * generated[2], rtol=1e-6)


@pytest.mark.parametrize("norm", [0.5, 1.0, 3.0])
def test_penalty_of_a_linear_critic_knows_the_norm_of_the_whole_gradient(norm):
    weights = np.random.default_rng(2).normal(size=SHAPE).astype("float32")
    weights *= norm / np.linalg.norm(weights)
    penalty = gradient_penalty_loss(linear_critic(weights), tf.constant(some_images()))
    assert penalty.shape == (3,)
    np.testing.assert_allclose(penalty, (norm - 1) ** 2, atol=1e-5)


def test_each_image_has_its_own_penalty():
    images = some_images()
    norms = np.linalg.norm(images.reshape(3, -1), axis=1)
    penalty = gradient_penalty_loss(half_square, tf.constant(images))
    np.testing.assert_allclose(penalty, (norms - 1) ** 2, rtol=1e-5)
    alone = gradient_penalty_loss(half_square, tf.constant(images[1:2]))
    np.testing.assert_allclose(alone, penalty[1:2], rtol=1e-6)


def test_the_penalty_moves_the_critic():
    images = tf.constant(some_images())
    norms = np.linalg.norm(images.numpy().reshape(3, -1), axis=1)
    scale = tf.Variable(0.5)
    with tf.GradientTape() as tape:
        penalty = tf.reduce_sum(gradient_penalty_loss(lambda x: scale * half_square(x), images))
    # The gradient is scale times the image, so the penalty is (scale * norm - 1) squared.
    expected = (2 * (0.5 * norms - 1) * norms).sum()
    assert float(tape.gradient(penalty, scale)) == pytest.approx(expected, rel=1e-5)


def test_a_vanishing_gradient_costs_one_and_stays_finite():
    critic = linear_critic(np.zeros(SHAPE, "float32"))
    with tf.GradientTape() as tape:
        penalty = gradient_penalty_loss(critic, tf.constant(some_images()))
    np.testing.assert_array_equal(penalty, 1.0)
    np.testing.assert_array_equal(tape.gradient(penalty, critic.trainable_variables[0]), 0.0)


def test_input_gradient_is_that_of_each_image():
    images = tf.constant(some_images())
    np.testing.assert_allclose(input_gradient(half_square, images), images, rtol=1e-6)
    cubes = input_gradient(lambda x: x**3, images)
    np.testing.assert_allclose(cubes, 3 * images**2, rtol=1e-5)


def test_a_backend_without_a_gradient_is_explained(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(ValueError, match=r"tensorflow or jax.*'numpy'.*KERAS_BACKEND"):
        input_gradient(half_square, some_images())


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_the_penalty_holds_on_another_backend():
    process = subprocess.run(
        [sys.executable, "-c", JAX_PENALTY],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "PYTHONPATH": os.pathsep.join(
                [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
            ),
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    norms = np.linalg.norm(some_images(2).reshape(2, -1), axis=1)
    expected = [((norms - 1) ** 2).sum(), (2 * (norms - 1) * 2 * norms).sum()]
    np.testing.assert_allclose([float(x) for x in process.stdout.split()], expected, rtol=1e-4)
