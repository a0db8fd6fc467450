"""Defense-CycleGAN: what the contract of all purifiers does not already hold."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from defenses.defense_cyclegan import DefenseCycleGAN
from defenses.registry import get_purifier
from experiments.config import DatasetConfig
from experiments.datasets import load
from tests.model_helpers import GREY, images, num_trainable

SHAPE = (8, 8, 1)


def affine(scale: float, offset: float = 0.0, shape=SHAPE) -> keras.Model:
    """A trainable network x -> scale * x + offset, both as generator and as discriminator."""
    inputs = keras.Input(shape)
    layer = keras.layers.Conv2D(
        1,
        1,
        kernel_initializer=keras.initializers.Constant(scale),
        bias_initializer=keras.initializers.Constant(offset),
    )
    return keras.Model(inputs, layer(inputs))


def toy(**arguments) -> DefenseCycleGAN:
    """G_A(x) = x/2, G_B(x) = 1.5x + 0.2, D_A(x) = 0.8x, D_B(x) = x - 0.3."""
    networks = affine(0.5), affine(1.5, 0.2), affine(0.8), affine(1.0, -0.3)
    return DefenseCycleGAN(*networks, **arguments)


def small(**arguments) -> DefenseCycleGAN:
    return DefenseCycleGAN.for_images(GREY, width=0.1, **arguments)


def sgd(purifier: DefenseCycleGAN, generators: float, discriminators: float) -> DefenseCycleGAN:
    purifier.compile(keras.optimizers.SGD(generators), keras.optimizers.SGD(discriminators))
    return purifier


def scalars(losses) -> dict[str, float]:
    return {name: float(value) for name, value in losses.items()}


def values(variables) -> list[np.ndarray]:
    return [variable.numpy().copy() for variable in variables]


def unchanged(variables, before) -> bool:
    return all(np.array_equal(v, old) for v, old in zip(variables, before, strict=True))


# ---------------------------------------------------------------------- losses


@pytest.mark.parametrize("power", [1, 2])
def test_losses_of_a_batch_are_those_of_the_equations(power):
    purifier = toy(gan_p=power, cycle_weight=3.0)
    batch = images(SHAPE, count=6)
    x_a, x_b = batch[:3], batch[3:]

    def mean(difference):
        return np.mean(np.abs(difference) ** power)

    fake_b, fake_a = 0.5 * x_a, 1.5 * x_b + 0.2
    score_a, score_b = (lambda x: 0.8 * x), (lambda x: x - 0.3)
    expected = {
        "discriminator_a_loss": mean(1 - score_a(x_b)) + mean(score_a(fake_b)),
        "discriminator_b_loss": mean(1 - score_b(x_a)) + mean(score_b(fake_a)),
        "generator_a_loss": mean(1 - score_a(fake_b)),
        "generator_b_loss": mean(1 - score_b(fake_a)),
        "cycle_loss": np.abs(0.75 * x_a + 0.2 - x_a).mean() + np.abs(0.5 * fake_a - x_b).mean(),
    }
    of_discriminators = scalars(purifier.discriminator_losses({"clean": tf.constant(batch)}))
    of_generators = scalars(purifier.generator_losses({"clean": tf.constant(batch)}))
    totals = of_discriminators.pop("loss"), of_generators.pop("loss")
    assert {**of_discriminators, **of_generators} == pytest.approx(expected, rel=1e-5)
    assert totals[0] == pytest.approx(sum(of_discriminators.values()), rel=1e-5)
    weighted = expected["generator_a_loss"] + expected["generator_b_loss"]
    assert totals[1] == pytest.approx(weighted + 3 * expected["cycle_loss"], rel=1e-5)


def test_identity_generators_have_no_cycle_loss():
    purifier = DefenseCycleGAN(affine(1.0), affine(1.0), affine(0.8), affine(1.0, -0.3))
    losses = scalars(purifier.generator_losses({"clean": tf.constant(images(SHAPE, count=4))}))
    assert losses["cycle_loss"] == 0
    assert losses["loss"] == pytest.approx(losses["generator_a_loss"] + losses["generator_b_loss"])


# ---------------------------------------------------------------------- domains


@pytest.mark.parametrize(("count", "half"), [(1, 1), (2, 1), (5, 3), (6, 3)])
def test_domains_are_the_halves_of_a_batch(count, half):
    batch = images(SHAPE, count=count)
    x_a, x_b = (np.asarray(part) for part in toy().domains(tf.constant(batch)))
    np.testing.assert_array_equal(x_a, batch[:half])
    np.testing.assert_array_equal(x_b, batch[count - half :])
    assert len(x_a) + len(x_b) == count + count % 2


def test_noise_is_on_domain_a_alone_and_new_at_each_draw():
    purifier = toy(noisy_a=0.1)
    grey = tf.fill((200, *SHAPE), 0.5)
    (x_a, x_b), (again, _) = purifier.domains(grey), purifier.domains(grey)
    np.testing.assert_array_equal(x_b, grey[100:])
    noise = np.asarray(x_a) - 0.5
    assert noise.std() == pytest.approx(0.1, rel=0.05)
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert not np.allclose(x_a, again, atol=1e-3)
    purifier.reset_randomness(3)
    first = np.asarray(purifier.domains(grey)[0])
    purifier.reset_randomness(3)
    np.testing.assert_array_equal(purifier.domains(grey)[0], first)
    dark = np.asarray(purifier.domains(tf.zeros((200, *SHAPE)))[0])
    assert dark.min() == 0
    assert dark.max() > 0.1
    assert purifier.is_stochastic is False


# ---------------------------------------------------------------------- purifying


def test_a_purification_is_both_generators_or_the_first_clipped():
    batch = images(SHAPE, count=4)
    batch[0] = 1.0
    networks = affine(1.5), affine(1.0, -0.5)
    once = DefenseCycleGAN(*networks, mode="ga").purify(batch)
    np.testing.assert_allclose(once, np.clip(1.5 * batch, 0, 1), atol=1e-6)
    # Between the generators nothing is clipped, as in training: white stays white.
    twice = DefenseCycleGAN(*networks).purify(batch)
    np.testing.assert_allclose(twice, np.clip(1.5 * batch - 0.5, 0, 1), atol=1e-6)


def test_the_input_gradient_is_that_of_the_clip():
    purifier = DefenseCycleGAN(affine(1.0), affine(2.0, -0.5))
    x = tf.fill((1, *SHAPE), 0.5)
    x = tf.concat([x, x + 0.4, x - 0.4], axis=0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(purifier(x))
    gradient = tape.gradient(total, x).numpy()
    np.testing.assert_allclose(gradient[:, 0, 0, 0], [2.0, 0.0, 0.0])


# ---------------------------------------------------------------------- training


def test_each_phase_moves_its_own_side_alone():
    batch = {"clean": tf.constant(images(GREY, count=4))}
    for rates, moving in (((0.1, 0.0), "generator"), ((0.0, 0.1), "discriminator")):
        purifier = sgd(small(), *rates)
        sides = {
            "generator": purifier.generator_variables,
            "discriminator": purifier.discriminator_variables,
        }
        before = {side: values(variables) for side, variables in sides.items()}
        purifier.train_step(batch)
        for side, variables in sides.items():
            assert unchanged(variables, before[side]) is (side != moving)


def test_a_loss_pulls_only_at_the_networks_of_its_equation():
    purifier = toy()
    batch = {"clean": tf.constant(images(SHAPE, count=4))}
    reached = {}
    for method in (purifier.discriminator_losses, purifier.generator_losses):
        with tf.GradientTape(persistent=True) as tape:
            losses = method(batch)
        for name, loss in losses.items():
            reached[name] = [
                side
                for side in ("generator_a", "generator_b", "discriminator_a", "discriminator_b")
                if tape.gradient(loss, getattr(purifier, side).trainable_variables[0]) is not None
            ]
    assert reached["discriminator_a_loss"] == ["discriminator_a"]
    assert reached["discriminator_b_loss"] == ["discriminator_b"]
    assert reached["generator_a_loss"] == ["generator_a", "discriminator_a"]
    assert reached["generator_b_loss"] == ["generator_b", "discriminator_b"]
    assert reached["cycle_loss"] == ["generator_a", "generator_b"]


def test_the_generators_face_the_moved_discriminators():
    batch = {"clean": tf.constant(images(SHAPE, count=4))}
    purifier = sgd(toy(), 0.0, 0.5)
    before = scalars(purifier.generator_losses(batch))
    logged = scalars(purifier.train_step(batch))
    after = scalars(purifier.generator_losses(batch))
    assert logged["generator_a_loss"] == pytest.approx(after["generator_a_loss"], rel=1e-5)
    assert logged["generator_a_loss"] != pytest.approx(before["generator_a_loss"], rel=0.05)


def test_each_side_lowers_its_loss_while_the_other_rests():
    batch = {"clean": images(SHAPE, count=8)}
    for moving, (key, rate) in enumerate(
        {"generator_loss": 0.01, "discriminator_loss": 0.05}.items()
    ):
        optimizers = [keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0)]
        optimizers[moving] = keras.optimizers.Adam(rate)
        purifier = toy()
        purifier.compile(*optimizers)
        # Shuffling would draw from a state that other tests leave behind.
        history = purifier.fit(batch, batch_size=8, epochs=20, shuffle=False, verbose=0).history
        assert history[key][-1] < 0.7 * history[key][0]


def distance_after_training(name: str, splits) -> float:
    """L1 norm between test digits and their reconstructions, after 60 steps on 16 images."""
    train, test = splits
    purifier = get_purifier(name).for_images(GREY, width=0.125, seed=1)
    purifier.compile(*(keras.optimizers.Adam(1e-3, beta_1=0.5) for _ in range(2)))
    keras.utils.set_random_seed(0)
    purifier.fit({"clean": train[: 60 * 16]}, batch_size=16, epochs=1, verbose=0)
    return float(np.abs(purifier.purify(test, batch_size=128) - test).sum(axis=(1, 2, 3)).mean())


def test_concatenations_carry_detail():
    digits = load(DatasetConfig(name="digits", validation_size=100))
    splits = digits.train.images, digits.test.images[:128]
    whole, sequential = (
        distance_after_training(name, splits) for name in ("defense_cyclegan", "defense_cyclegan_4")
    )
    mean_image = np.abs(splits[1] - splits[0].mean(axis=0)).sum(axis=(1, 2, 3)).mean()
    assert whole < 0.7 * sequential
    assert whole < 0.7 * mean_image


# ---------------------------------------------------------------------- building and saving


def test_the_published_networks_are_the_default():
    purifier = DefenseCycleGAN.for_images((32, 32, 3))
    for generator in (purifier.generator_a, purifier.generator_b):
        assert num_trainable(generator) == 16_657_795
    assert purifier.discriminator_a.output_shape == (None, 8, 8, 1)
    assert (purifier.gan_p, purifier.cycle_weight, purifier.noisy_a) == (2, 10.0, 0.0)
    purifier.compile()
    for optimizer in (purifier.generator_optimizer, purifier.discriminator_optimizer):
        assert isinstance(optimizer, keras.optimizers.Adam)
        assert float(optimizer.learning_rate) == pytest.approx(2e-4)
        assert (optimizer.beta_1, optimizer.beta_2) == (0.5, 0.999)


@pytest.mark.parametrize("removed", [1, 2, 3, 4])
def test_ablations_have_both_generators_without_concatenations(removed):
    purifier = get_purifier(f"defense_cyclegan_{removed}").for_images(GREY, width=0.1)
    for generator in (purifier.generator_a, purifier.generator_b):
        kinds = [layer for layer in generator.layers if "concatenate" in layer.name]
        assert len(kinds) == 4 - removed


def test_a_saved_purifier_leaves_out_what_only_training_needs(tmp_path):
    purifier = small(mode="ga", noisy_a=0.1, cycle_weight=5.0)
    path = tmp_path / "purifier.keras"
    purifier.save(path)
    loaded = keras.saving.load_model(path, compile=False, safe_mode=True)
    assert loaded.discriminator_a is loaded.discriminator_b is None
    discriminators = (purifier.discriminator_a, purifier.discriminator_b)
    left_out = sum(network.count_params() for network in discriminators)
    assert loaded.count_params() == purifier.count_params() - left_out
    assert (loaded.name, loaded.cycle_weight) == (purifier.name, 5.0)
    batch = images(GREY)
    np.testing.assert_array_equal(loaded.purify(batch), purifier.purify(batch))
    with pytest.raises(ValueError, match="discriminator_a and discriminator_b, which training"):
        loaded.compile()
    again = DefenseCycleGAN(
        *(loaded.generator_a, loaded.generator_b),
        *(purifier.discriminator_a, purifier.discriminator_b),
    )
    sgd(again, 0.1, 0.1).train_step({"clean": tf.constant(batch)})


def test_config_keeps_every_argument():
    purifier = small(
        gan_p=1, cycle_weight=2.0, noisy_a=0.2, mode="ga", sigmoid=True, removed_concatenations=2
    )
    twin = DefenseCycleGAN.from_config(purifier.get_config())
    for key in ("gan_p", "cycle_weight", "noisy_a", "seed", "name"):
        assert getattr(twin, key) == getattr(purifier, key), key
    assert [v.shape for v in twin.weights] == [v.shape for v in purifier.weights]
    assert twin.get_config() == purifier.get_config()


def test_wrong_networks_options_and_optimizers_are_explained():
    g, d = affine(1.0), affine(2.0)
    for networks in ((g, affine(1.0, shape=GREY)), (g, g, d), (g, g, d, affine(1.0, shape=GREY))):
        with pytest.raises(ValueError, match="Build all networks for the same"):
            DefenseCycleGAN(*networks)
    for options, message in (
        ({"gan_p": 3}, "power of 1 or 2, received 3"),
        ({"cycle_weight": -1.0}, "cycle_weight to be a finite number of at least 0 .* received -1"),
        ({"noisy_a": float("nan")}, "noisy_a to be a finite number .* received nan"),
        ({"mode": "ab"}, "mode to be one of gb_ga, ga, received 'ab'"),
        ({"cycle_wieght": 1.0}, "Unrecognized keyword.*cycle_wieght"),
    ):
        with pytest.raises(ValueError, match=message):
            small(**options)
    one = keras.optimizers.SGD()
    with pytest.raises(ValueError, match="2 optimizers, received one SGD twice"):
        small().compile(one, one)
