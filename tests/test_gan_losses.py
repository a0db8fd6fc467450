"""Losses of adversarial training and of cycles against numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from defenses.gan_losses import (
    cycle_loss,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
)


def test_least_squares_losses_on_hand_numbers():
    real, fake = np.array([[1.0, 0.5], [2.0, 0.0]]), np.array([[0.0, 0.5], [-1.0, 3.0]])
    expected = {2: ([0.25, 6.0], [0.625, 4.0]), 1: ([0.5, 3.0], [0.75, 2.0])}
    for power, (discriminator, generator) in expected.items():
        loss = least_squares_discriminator_loss(real, fake, power)
        np.testing.assert_allclose(loss, discriminator, rtol=1e-6)
        maps = [scores.reshape(2, 2, 1, 1) for scores in (real, fake)]
        np.testing.assert_allclose(least_squares_discriminator_loss(*maps, power), loss)
        loss = least_squares_generator_loss(fake, power)
        np.testing.assert_allclose(loss, generator, rtol=1e-6)
    np.testing.assert_allclose(least_squares_generator_loss(np.array([0.5, 3.0])), [0.25, 4.0])


@pytest.mark.parametrize("power", [1, 2])
def test_adversarial_losses_are_zero_exactly_at_their_targets(power):
    ones, zeros, off = np.ones((2, 3, 3, 1)), np.zeros((2, 3, 3, 1)), np.ones((2, 3, 3, 1))
    off[0, 2, 1] = 0.9
    np.testing.assert_array_equal(least_squares_discriminator_loss(ones, zeros, power), [0, 0])
    np.testing.assert_array_equal(least_squares_generator_loss(ones, power), [0, 0])
    for loss in (
        least_squares_discriminator_loss(off, zeros, power),
        least_squares_discriminator_loss(ones, 1 - off, power),
        least_squares_generator_loss(off, power),
    ):
        np.testing.assert_allclose(loss, [0.1**power / 9, 0], rtol=1e-5)


def test_cycle_loss_averages_over_an_image():
    batch = np.zeros((2, 2, 2, 3), "float32")
    cycled = batch.copy()
    cycled[0, 0, 0, 0], cycled[1] = -0.6, 0.5
    np.testing.assert_allclose(cycle_loss(batch, cycled), [0.05, 0.5], rtol=1e-6)


@pytest.mark.parametrize("power", [0, 3, 1.5])
def test_other_powers_are_refused(power):
    with pytest.raises(ValueError, match=f"power of 1 or 2, received {power}"):
        least_squares_generator_loss(np.ones(2), power)
