"""Defense-GAN: what the contract of all purifiers does not already hold."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import keras
import numpy as np
import pytest
import tensorflow as tf

from defenses.defense_gan import DefenseGAN
from defenses.latent_search import Candidates, descend_latents, nearest_candidates
from models.wasserstein_gan import wasserstein_critic, wasserstein_generator
from tests.model_helpers import COLOUR, GREY, ROOT, images
from tests.wasserstein_helpers import LATENT_DIM, TINY, small, starts, tiny

JAX_SEARCH = """
import sys
sys.modules["tensorflow"] = None  # makes its import fail
import keras, numpy as np
import defenses
purifier = keras.saving.load_model(sys.argv[1] + "/purifier.keras", safe_mode=True)
given = np.load(sys.argv[1] + "/given.npz")
found = purifier.search(given["images"], given["latents"])
np.save(sys.argv[1] + "/found.npy", np.asarray(found.reconstructions))
assert purifier.purify(given["images"]).shape == given["images"].shape
"""


# ---------------------------------------------------------------------- search


def test_the_search_descends_with_momentum_and_a_rate_that_falls_late():
    latent = keras.Input((4,))
    generator = keras.Model(latent, keras.layers.Reshape((2, 2, 1))(latent))  # G(z) = z
    image = np.array([0.1, 0.9, 0.4, 0.6], "float32")
    expected, velocity = np.zeros(4), np.zeros(4)
    for step in range(7):
        velocity = 0.7 * velocity + 2 * (expected - image) / 4
        expected = expected - 0.3 * (0.1 if step >= 6 else 1.0) * velocity  # ceil(0.8 * 7) = 6
    moved = descend_latents(
        generator,
        tf.reshape(image, (1, 2, 2, 1)),
        tf.zeros((1, 4)),
        num_steps=7,
        learning_rate=0.3,
        momentum=0.7,
    )
    np.testing.assert_allclose(moved[0], expected, rtol=1e-5)


def test_the_purified_image_is_a_generated_one_with_the_least_error():
    purifier = tiny(num_restarts=5, num_steps=10)
    batch = images(TINY)
    purifier.reset_randomness(1)
    found = Candidates(*(np.asarray(part) for part in purifier.search(batch)))
    purifier.reset_randomness(1)
    purified = np.asarray(purifier(batch))
    assert found.latents.shape == (3, 5, LATENT_DIM)
    assert found.reconstructions.shape == (3, 5, *TINY)
    remade = np.asarray(purifier.generator(found.latents.reshape(-1, LATENT_DIM)))
    np.testing.assert_allclose(remade.reshape(found.reconstructions.shape), found.reconstructions)
    errors = ((found.reconstructions - batch[:, None]) ** 2).mean(axis=(2, 3, 4))
    np.testing.assert_allclose(found.errors, errors, rtol=1e-5)
    best = errors.argmin(axis=1)
    assert len(set(best)) > 1
    np.testing.assert_array_equal(purified, found.reconstructions[np.arange(3), best])


def test_the_compiled_search_is_the_eager_one():
    purifier = small(num_restarts=2, num_steps=5)
    batch = images(GREY, count=4)
    purifier.reset_randomness(1)
    eager = np.asarray(purifier(batch))
    purifier.reset_randomness(1)
    np.testing.assert_allclose(purifier.purify(batch), eager, atol=1e-5)


def test_more_restarts_never_raise_the_error():
    purifier = tiny(num_steps=10)
    batch, latents = images(TINY, count=8), starts(8, 12)
    whole = np.asarray(purifier.search(batch, latents).errors)
    least = []
    for num_restarts in (1, 3, 12):
        errors = np.asarray(purifier.search(batch, latents[:, :num_restarts]).errors)
        np.testing.assert_allclose(errors, whole[:, :num_restarts], rtol=1e-4)
        least.append(errors.min(axis=1))
    assert (least[1] <= least[0] * (1 + 1e-4)).all() and (least[2] <= least[1] * (1 + 1e-4)).all()
    assert least[2].mean() < 0.95 * least[0].mean()


def test_more_steps_lower_the_error():
    batch, latents = images(TINY, count=8), starts(8, 2)
    means = [
        np.asarray(
            tiny(num_steps=num_steps, learning_rate=1.0).search(batch, latents).errors
        ).mean()
        for num_steps in (0, 3, 10, 50)
    ]
    assert (np.diff(means) < 0).all()
    assert means[-1] < 0.8 * means[0]


def test_a_generated_image_is_found_again_and_another_is_not():
    purifier = tiny(num_restarts=10, num_steps=200)
    made = np.asarray(purifier.generator(starts(6, 1, seed=3)[:, 0]))
    left = ((purifier.purify(made) - made) ** 2).mean(axis=(1, 2, 3))
    foreign = images(TINY, count=6)
    foreign_left = ((purifier.purify(foreign) - foreign) ** 2).mean(axis=(1, 2, 3))
    assert np.median(left) < 1e-3
    assert foreign_left.min() > 20 * np.median(left)


def test_the_search_for_an_image_does_not_depend_on_its_batch():
    purifier = small(COLOUR, num_steps=20)
    batch, latents = images(COLOUR), starts(3, 2, latent_dim=128)
    together = np.asarray(purifier.search(batch, latents).reconstructions)
    for index in range(3):
        part = slice(index, index + 1)
        alone = np.asarray(purifier.search(batch[part], latents[part]).reconstructions)
        np.testing.assert_allclose(alone, together[part], atol=1e-5)


def test_a_diverged_start_is_passed_over_unless_all_diverged():
    reconstructions = np.zeros((2, 2, *TINY), "float32")
    reconstructions[:, 0] = np.nan
    reconstructions[1, 1] = np.nan
    errors = np.array([[np.nan, 0.5], [np.nan, np.nan]], "float32")
    chosen = np.asarray(nearest_candidates(Candidates(None, reconstructions, errors)))
    np.testing.assert_array_equal(chosen[0], 0.0)
    assert np.isnan(chosen[1]).all()


@pytest.mark.parametrize(("scale", "expected"), [(None, 128**-0.5), (1.0, 1.0)])
def test_starts_are_drawn_with_the_given_scale(scale, expected):
    purifier = small(num_restarts=50, num_steps=0, initial_scale=scale)
    latents = np.asarray(purifier.search(images(GREY, count=2)).latents)
    assert latents.mean() == pytest.approx(0.0, abs=0.05 * expected)
    assert latents.std() == pytest.approx(expected, rel=0.05)
    assert len(np.unique(latents)) > 0.99 * latents.size


def test_no_gradient_reaches_the_input():
    batch = tf.constant(images(TINY))
    with tf.GradientTape() as tape:
        tape.watch(batch)
        output = tf.reduce_sum(tiny(num_steps=2)(batch))
    assert tape.gradient(output, batch) is None


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_another_backend_finds_the_same_without_tensorflow(tmp_path):
    purifier = small(num_restarts=2, num_steps=20)
    given = {"images": images(GREY), "latents": starts(3, 2, latent_dim=128)}
    purifier.save(tmp_path / "purifier.keras")
    np.savez(tmp_path / "given.npz", **given)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, "-c", JAX_SEARCH, str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": path},
        check=True,
        timeout=300,
    )
    here = purifier.search(**given).reconstructions
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), here, atol=1e-5)


# ---------------------------------------------------------------------- configuration


def test_config_keeps_every_argument():
    arguments = {
        "num_restarts": 3,
        "num_steps": 7,
        "learning_rate": 2.0,
        "momentum": 0.5,
        "initial_scale": 0.25,
        "gradient_penalty_weight": 4.0,
        "num_critic_steps": 2,
    }
    purifier = small(latent_dim=16, **arguments)
    twin = DefenseGAN.from_config(purifier.get_config())
    assert {name: getattr(twin, name) for name in arguments} == arguments
    assert (twin.latent_dim, twin.seed, twin.name) == (16, purifier.seed, purifier.name)


def test_the_published_search_is_the_default():
    purifier = small()
    assert (purifier.num_restarts, purifier.num_steps) == (10, 200)
    assert (purifier.learning_rate, purifier.momentum) == (10.0, 0.7)
    assert (purifier.gradient_penalty_weight, purifier.num_critic_steps) == (10.0, 5)


@pytest.mark.parametrize(
    "argument",
    [
        {"num_restarts": 0},
        {"num_steps": -1},
        {"num_steps": 2.5},
        {"num_steps": 10**9},
        {"num_restarts": 10**9},
        {"learning_rate": float("inf")},
        {"learning_rate": 0.0},
        {"momentum": 1.0},
        {"initial_scale": -1.0},
        {"gradient_penalty_weight": -1.0},
        {"num_critic_steps": 0},
    ],
)
def test_numbers_out_of_range_are_explained(argument):
    with pytest.raises(ValueError, match=f"Expected .*{next(iter(argument))}.*received"):
        tiny(**argument)


def test_networks_that_do_not_fit_are_explained():
    generator = wasserstein_generator(GREY, width=0.1)
    with pytest.raises(ValueError, match="Build both for the same"):
        DefenseGAN(generator, wasserstein_critic((32, 32, 1), width=0.1))
    with pytest.raises(ValueError, match="1 or 3 channels"):
        small((28, 28, 2))
