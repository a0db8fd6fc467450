"""The published losses against numbers computed by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from defenses.losses import (
    binary_cross_entropy_loss,
    kl_divergence_loss,
    laplacian_of_gaussian_kernel,
    reconstruction_loss,
    spatial_frequency_loss,
    to_grey,
)

JAX_GRADIENT = """
import jax, numpy as np
from defenses.losses import spatial_frequency_loss
images = np.random.default_rng(0).random((2, 9, 9, 1), dtype="float32")
gradient = jax.grad(lambda x: spatial_frequency_loss(images, x).sum())(images)
print(float(abs(gradient).max()))
"""

KERNEL_NORM = 0.40098  # Frobenius norm of the kernel for sigma 1


def random_images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype("float32")


def numpy(tensor) -> np.ndarray:
    return ops.convert_to_numpy(tensor)


def test_reconstruction_loss_is_half_the_summed_square():
    images = np.zeros((2, 2, 2, 1), "float32")
    reconstructions = np.zeros_like(images)
    reconstructions[0, 0, 0, 0] = 1.0
    reconstructions[1] = 0.5
    loss = numpy(reconstruction_loss(images, reconstructions))
    np.testing.assert_allclose(loss, [0.5, 0.5 * 4 * 0.25])


def test_binary_cross_entropy_sums_over_an_image():
    images = np.zeros((2, 2, 2, 1), "float32")
    images[0, 0, 0, 0] = 1.0
    images[1] = 0.25
    reconstructions = np.full_like(images, 0.5)
    reconstructions[0, 0, 0, 0] = 0.8
    reconstructions[1] = 0.25
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    loss = numpy(binary_cross_entropy_loss(images, reconstructions))
    np.testing.assert_allclose(loss, [-np.log(0.8) - 3 * np.log(0.5), 4 * entropy], rtol=1e-6)


def test_binary_cross_entropy_is_finite_at_black_and_white():
    images = np.array([0.0, 1.0, 0.0, 1.0], "float32").reshape(4, 1, 1, 1)
    reconstructions = np.array([0.0, 1.0, 1.0, 0.0], "float32").reshape(4, 1, 1, 1)
    loss = numpy(binary_cross_entropy_loss(images, reconstructions))
    np.testing.assert_allclose(loss[:2], 0.0, atol=2e-7)
    np.testing.assert_allclose(loss[2:], -np.log(1e-7), rtol=0.02)  # 1 - 1e-7 rounds in float32


def test_binary_cross_entropy_is_least_at_the_image_itself():
    images = random_images(2, 3, 3, 1) * 0.8 + 0.1
    reconstructions = tf.Variable(images)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(binary_cross_entropy_loss(images, reconstructions))
    np.testing.assert_allclose(tape.gradient(loss, reconstructions), 0.0, atol=1e-5)
    least = numpy(binary_cross_entropy_loss(images, images))
    for change in (-0.05, 0.05):
        assert (numpy(binary_cross_entropy_loss(images, images + change)) > least + 0.01).all()


def test_kl_divergence_against_a_worked_example():
    z_mean = np.array([[1.0, 0.0], [0.0, 0.0]], "float32")
    z_log_var = np.array([[0.0, 2 * np.log(0.5)], [0.0, 0.0]], "float32")
    np.testing.assert_allclose(
        numpy(kl_divergence_loss(z_mean, z_log_var)), [0.818147, 0.0], atol=1e-6
    )


def test_kl_divergence_agrees_with_a_monte_carlo_estimate():
    mean, log_var = 0.7, -0.9
    sigma = np.exp(log_var / 2)
    z = mean + sigma * np.random.default_rng(0).standard_normal(400_000)
    log_ratio = -0.5 * ((z - mean) / sigma) ** 2 - np.log(sigma) + 0.5 * z**2
    loss = numpy(kl_divergence_loss(np.array([[mean]], "f4"), np.array([[log_var]], "f4")))
    np.testing.assert_allclose(loss, [log_ratio.mean()], atol=5e-3)


def test_kl_divergence_is_never_negative():
    rng = np.random.default_rng(0)
    z_mean = rng.normal(scale=1e-3, size=(200, 8)).astype("float32")
    z_log_var = rng.normal(scale=1e-3, size=(200, 8)).astype("float32")
    loss = numpy(kl_divergence_loss(z_mean, z_log_var))
    assert (loss > 0).all()
    expected = 0.5 * (z_mean.astype("f8") ** 2 + 0.5 * z_log_var.astype("f8") ** 2).sum(axis=1)
    np.testing.assert_allclose(loss, expected, rtol=1e-2)


def test_laplacian_of_gaussian_kernel_against_published_samples():
    quadrant = np.array(
        [
            [-0.31814, -0.09637, 0.04325, 0.01254],
            [-0.09637, 0.00017, 0.03936, 0.00875],
            [0.04325, 0.03936, 0.01766, 0.00280],
            [0.01254, 0.00875, 0.00280, 0.00048],
        ]
    )
    kernel = laplacian_of_gaussian_kernel()
    assert kernel.shape == (7, 7)
    assert kernel.dtype == np.float32
    np.testing.assert_allclose(kernel[3:, 3:], quadrant, atol=6e-6)
    np.testing.assert_array_equal(kernel, kernel[::-1])
    np.testing.assert_array_equal(kernel, kernel[:, ::-1])
    np.testing.assert_array_equal(kernel, kernel.T)
    assert abs(kernel.sum(dtype="float64")) < 1e-6
    assert np.linalg.norm(kernel) == pytest.approx(KERNEL_NORM, abs=1e-5)


@pytest.mark.parametrize(("sigma", "size"), [(0.8, 7), (1.0, 7), (1.4, 11), (2.0, 13)])
def test_kernel_size_follows_the_scale(sigma, size):
    kernel = laplacian_of_gaussian_kernel(sigma)
    assert kernel.shape == (size, size)
    assert abs(kernel.sum(dtype="float64")) < 1e-6
    raw_difference = -(1 - 0.5 / sigma**2) * np.exp(-0.5 / sigma**2) + 1
    centre = size // 2
    assert kernel[centre, centre + 1] - kernel[centre, centre] == pytest.approx(
        raw_difference / (np.pi * sigma**4), rel=1e-5
    )


def test_grey_value_of_primary_colours():
    colours = np.array([[[[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]]], "float32")
    grey = numpy(to_grey(colours))
    assert grey.shape == (1, 1, 4, 1)
    np.testing.assert_allclose(grey.ravel(), [0.299, 0.587, 0.114, 1.0], rtol=1e-6)
    single = random_images(2, 3, 3, 1)
    np.testing.assert_array_equal(numpy(to_grey(single)), single)


def test_spatial_frequency_loss_of_one_changed_pixel_is_the_kernel_norm():
    images = random_images(2, 15, 15, 1) * 0.5
    reconstructions = images.copy()
    reconstructions[0, 7, 7, 0] += 0.5
    np.testing.assert_allclose(
        numpy(spatial_frequency_loss(images, reconstructions)),
        [0.5 * KERNEL_NORM, 0.0],
        rtol=1e-4,
        atol=1e-7,
    )
    colours = np.repeat(images, 3, axis=-1)
    changed = colours.copy()
    changed[0, 7, 7, 1] += 0.5
    np.testing.assert_allclose(
        numpy(spatial_frequency_loss(colours, changed)),
        [0.587 * 0.5 * KERNEL_NORM, 0.0],
        rtol=1e-4,
        atol=1e-7,
    )


def test_spatial_frequency_loss_adds_up_its_scales():
    images, reconstructions = random_images(3, 16, 16, 1), random_images(3, 16, 16, 1, seed=1)
    both = numpy(spatial_frequency_loss(images, reconstructions, sigmas=(0.8, 1.4)))
    apart = [
        numpy(spatial_frequency_loss(images, reconstructions, sigmas=(s,))) for s in (0.8, 1.4)
    ]
    assert both.shape == (3,)
    np.testing.assert_allclose(both, apart[0] + apart[1], rtol=1e-6)
    assert not np.allclose(apart[0], apart[1])


def test_spatial_frequency_loss_agrees_with_a_direct_convolution():
    images, reconstructions = random_images(1, 9, 8, 1), random_images(1, 9, 8, 1, seed=1)
    kernel = laplacian_of_gaussian_kernel().astype("float64")

    def edges(image: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(image[0, :, :, 0], (7, 7))
        return (windows * kernel).sum(axis=(2, 3))

    expected = np.linalg.norm(edges(images) - edges(reconstructions))
    loss = numpy(spatial_frequency_loss(images, reconstructions))
    np.testing.assert_allclose(loss, [expected], rtol=1e-5)


def test_spatial_frequency_loss_ignores_brightness_and_punishes_blur():
    images = random_images(4, 16, 16, 3) * 0.5
    brighter = numpy(spatial_frequency_loss(images, images + 0.25))
    np.testing.assert_allclose(brighter, 0.0, atol=1e-5)
    square = np.zeros((1, 24, 24, 1), "float32")
    square[:, 8:16, 8:16] = 1.0
    losses, blurred = [], square
    for _ in range(4):
        for axis in (1, 2):
            blurred = sum(np.roll(blurred, shift, axis) for shift in (-1, 0, 1)) / 3
        losses.append(numpy(spatial_frequency_loss(square, blurred))[0])
    assert losses[0] > 0.1
    assert (np.diff(losses) > 0).all()


def test_spatial_frequency_loss_has_a_zero_gradient_where_it_is_zero():
    images = tf.constant(random_images(2, 12, 12, 1))
    reconstructions = tf.Variable(images)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(spatial_frequency_loss(images, reconstructions))
    np.testing.assert_array_equal(tape.gradient(loss, reconstructions).numpy(), 0.0)

    bump = np.zeros((2, 15, 15, 1), "float32")
    bump[:, 7, 7, 0] = 0.5
    reconstructions = tf.Variable(bump)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(spatial_frequency_loss(tf.zeros_like(bump), reconstructions))
    # At the changed pixel the loss is 0.5 times the kernel's norm, so its slope is that norm.
    slope = tape.gradient(loss, reconstructions).numpy()[:, 7, 7, 0]
    np.testing.assert_allclose(slope, KERNEL_NORM, rtol=1e-4)


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_the_zero_gradient_holds_on_another_backend():
    root = str(Path(__file__).resolve().parent.parent)
    process = subprocess.run(
        [sys.executable, "-c", JAX_GRADIENT],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert float(process.stdout) == 0.0


BESIDE = np.zeros((2, 9, 9, 1), "f4"), np.zeros((2, 9, 9, 3), "f4")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: laplacian_of_gaussian_kernel(0.0), "sigma to be a finite number above 0"),
        (lambda: laplacian_of_gaussian_kernel(1.0, 6), "size to be odd, received 6"),
        (lambda: reconstruction_loss(*BESIDE), r"of one shape, received .*1\).* and .*3\)"),
        (lambda: spatial_frequency_loss(*BESIDE), "of one shape"),
        (lambda: laplacian_of_gaussian_kernel(float("inf")), "received inf"),
        (lambda: to_grey(np.zeros((1, 8, 8, 2), "f4")), "1 or 3 channels"),
        (lambda: spatial_frequency_loss(*[np.zeros((1, 6, 9, 1), "f4")] * 2), "7x7"),
        (
            lambda: spatial_frequency_loss(*[np.zeros((1, 9, 9, 1), "f4")] * 2, ()),
            "at least one number, received none",
        ),
    ],
)
def test_bad_arguments_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()
