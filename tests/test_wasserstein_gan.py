"""The Wasserstein GAN behind Defense-GAN: its networks and its training."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from defenses.defense_gan import DefenseGAN
from defenses.phases import Phase
from defenses.wasserstein_losses import gradient_penalty_loss
from models.wasserstein_gan import wasserstein_critic, wasserstein_generator
from tests.model_helpers import COLOUR, GREY, images, layers_of, num_trainable, same_weights
from tests.wasserstein_helpers import TINY, small, starts, tiny


def weights_of(network: keras.Model) -> list[np.ndarray]:
    return [variable.numpy().copy() for variable in network.trainable_variables]


# ---------------------------------------------------------------------- networks


@pytest.mark.parametrize(
    ("shape", "generator_count", "critic_count"),
    [(GREY, 1_554_177, 1_030_144), (COLOUR, 5_171_331, 4_114_688)],
)
def test_networks_have_the_published_size(shape, generator_count, critic_count):
    purifier = DefenseGAN.for_images(shape)
    assert num_trainable(purifier.generator) == generator_count
    assert num_trainable(purifier.critic) == critic_count
    assert purifier.latent_dim == 128


@pytest.mark.parametrize(
    ("shape", "up", "down"),
    [
        (GREY, [(8, 128), (14, 64), (28, 1)], [(14, 64), (7, 128), (4, 256)]),
        (COLOUR, [(8, 256), (16, 128), (32, 3)], [(16, 128), (8, 256), (4, 512)]),
    ],
)
def test_stages_are_the_published_ones(shape, up, down):
    generator, critic = wasserstein_generator(shape), wasserstein_critic(shape)
    stages = layers_of(generator, keras.layers.Conv2DTranspose)
    assert [stage.output.shape[1::2] for stage in stages] == up
    assert [c.output.shape[1::2] for c in layers_of(critic, keras.layers.Conv2D)] == down
    crops = layers_of(generator, keras.layers.Cropping2D)
    assert [crop.output.shape[1:3] for crop in crops] == ([(7, 7)] if shape == GREY else [])
    normalised = layers_of(generator, keras.layers.BatchNormalization)
    assert len(normalised) == (0 if shape == GREY else 3)
    assert not layers_of(critic, keras.layers.BatchNormalization)


@pytest.mark.parametrize("shape", [GREY, COLOUR, (32, 32, 1)])
def test_generated_images_fill_the_unit_range_and_scores_are_single(shape):
    generator, critic = (
        build(shape, width=0.1) for build in (wasserstein_generator, wasserstein_critic)
    )
    generated = np.asarray(generator(1e3 * starts(3, 1, latent_dim=128)[:, 0]))
    assert generated.shape == (3, *shape)
    assert 0 <= generated.min() < 0.1 and 0.9 < generated.max() <= 1
    assert critic(generated).shape == (3, 1)
    for build in (wasserstein_generator, wasserstein_critic):
        assert same_weights(build(shape, width=0.1, seed=1), build(shape, width=0.1, seed=1))
        assert not same_weights(build(shape, width=0.1, seed=1), build(shape, width=0.1, seed=2))


def test_initial_kernels_have_the_spread_of_the_code():
    _, second, _ = layers_of(wasserstein_generator(GREY), keras.layers.Conv2DTranspose)
    # 128 channels in, a quarter of whose 25 taps meet a pixel, and 64 channels out.
    expected = np.sqrt(4 / (25 * (128 / 4 + 64)))
    assert second.kernel.numpy().std() == pytest.approx(expected, rel=0.02)
    _, second, _ = layers_of(wasserstein_critic(GREY), keras.layers.Conv2D)
    expected = np.sqrt(4 / (25 * (64 + 128 / 4)))
    assert second.kernel.numpy().std() == pytest.approx(expected, rel=0.02)


# ---------------------------------------------------------------------- training


@pytest.mark.parametrize(("num_images", "size"), [(10, 2), (5, 1), (12, 3), (4, 1), (1, 1)])
def test_every_image_trains_the_critic_and_an_even_batch_each_once(num_images, size):
    purifier = tiny()
    batch = np.arange(num_images, dtype="float32").reshape(-1, 1, 1, 1)
    parts = [np.asarray(purifier._part(batch, part)).ravel() for part in range(5)]
    assert [len(part) for part in parts] == [size] * 5
    assert set(np.concatenate(parts)) == set(range(num_images))
    if num_images % 5 == 0:
        np.testing.assert_array_equal(np.concatenate(parts), np.arange(num_images))


def test_losses_are_those_of_the_paper():
    purifier = tiny(gradient_penalty_weight=3.0, num_critic_steps=1)
    batch = {"clean": images(TINY, count=50)}
    losses = {name: float(value) for name, value in purifier.discriminator_losses(batch).items()}
    weights = purifier.critic.trainable_variables[0].numpy()
    penalty = (np.linalg.norm(weights) - 1) ** 2
    assert losses["gradient_penalty_loss"] == pytest.approx(penalty, rel=1e-4)
    assert losses["loss"] == pytest.approx(losses["score_loss"] + 3 * penalty, rel=1e-4)
    real = float(np.mean(purifier.critic(batch["clean"])))
    purifier.reset_randomness(1)
    generated = -float(purifier.generator_losses(batch)["loss"])
    purifier.reset_randomness(1)
    score_loss = float(purifier.discriminator_losses(batch)["score_loss"])
    assert score_loss == pytest.approx(generated - real, rel=1e-4)


def test_a_step_is_five_updates_of_the_critic_and_one_of_the_generator():
    purifier = tiny()
    purifier.compile()
    phases = purifier.phases()
    assert [phase.name for phase in phases] == ["critic"] * 5 + ["generator"]
    purifier.train_step({"clean": tf.constant(images(TINY, count=10))})
    assert int(purifier.discriminator_optimizer.iterations) == 5
    assert int(purifier.generator_optimizer.iterations) == 1
    for optimizer in (purifier.generator_optimizer, purifier.discriminator_optimizer):
        assert float(optimizer.learning_rate) == pytest.approx(1e-4)
        assert (optimizer.beta_1, optimizer.beta_2) == (0.5, 0.9)
    own = keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.2)
    purifier.compile(*own)
    assert (purifier.generator_optimizer, purifier.discriminator_optimizer) == own


def test_each_side_moves_alone():
    purifier = small(COLOUR)
    purifier.compile()
    batch = {"clean": tf.constant(images(COLOUR, count=20))}

    def update(phase: Phase) -> None:
        with tf.GradientTape() as tape:
            losses, _ = phase.evaluate(batch, training=True)
        gradients = tape.gradient(losses["loss"], list(phase.variables))
        phase.optimizer.apply_gradients(zip(gradients, phase.variables, strict=True))

    phases = purifier.phases()
    for phase, moved, still in (
        (phases[0], purifier.critic, purifier.generator),
        (phases[-1], purifier.generator, purifier.critic),
    ):
        before, fixed = weights_of(moved), weights_of(still)
        update(phase)
        assert all(
            not np.array_equal(*pair) for pair in zip(before, weights_of(moved), strict=True)
        )
        assert all(np.array_equal(*pair) for pair in zip(fixed, weights_of(still), strict=True))


def test_training_brings_the_generator_to_the_images():
    purifier = tiny()
    target = np.zeros((50, *TINY), "float32")
    target[:, :3] = 1.0

    def distance() -> float:
        made = np.asarray(purifier.generator(starts(200, 1, seed=5)[:, 0]))
        return float(np.abs(made.mean(axis=0) - target[0]).mean())

    before = distance()
    purifier.compile(*(keras.optimizers.Adam(0.1, beta_1=0.5, beta_2=0.9) for _ in range(2)))
    purifier.fit({"clean": np.repeat(target, 60, axis=0)}, batch_size=50, verbose=0)
    assert distance() < 0.2 * before
    slopes = np.sqrt(gradient_penalty_loss(purifier.critic, tf.constant(target[:1])))
    assert slopes[0] < 0.5  # the gradient's norm is within 0.5 of 1
