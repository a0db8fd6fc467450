"""PuVAE: what the contract of all purifiers does not already hold."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from defenses.losses import binary_cross_entropy_loss
from defenses.puvae import PuVAE
from defenses.puvae_losses import class_cross_entropy_loss, deviation_kl_loss
from defenses.puvae_projection import Projection, purified_images
from defenses.registry import get_purifier
from models.registry import build_classifier
from tests.attack_helpers import linear_classifier

GREY = (28, 28, 1)


def some_images(num_images: int, shape=GREY, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((num_images, *shape), dtype="float32")


def source() -> keras.Model:
    return build_classifier("puvae_b", GREY, width=0.1, seed=5)


def small(**arguments) -> PuVAE:
    return PuVAE.for_images(GREY, width=0.1, **arguments)


def array(tensor) -> np.ndarray:
    return ops.convert_to_numpy(tensor)


def batch(num_images: int = 6) -> dict[str, tf.Tensor]:
    labels = np.arange(num_images) % 10
    return {"clean": tf.constant(some_images(num_images)), "label": tf.constant(labels)}


def scalars(losses) -> dict[str, float]:
    return {name: float(value) for name, value in losses.items()}


def brute_force(purifier: PuVAE, images: np.ndarray) -> np.ndarray:
    """Decodes the mean under one label after the other, by plain calls of the networks."""
    candidates = []
    for label in range(purifier.num_classes):
        codes = np.tile(np.eye(purifier.num_classes, dtype="float32")[label], (len(images), 1))
        z_mean, _ = purifier.encoder([images, codes])
        candidates.append(array(purifier.decoder([array(z_mean), codes])))
    return np.stack(candidates, axis=1)


# ---------------------------------------------------------------------- losses


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses_are_batch_means_of_the_published_ones(reduction):
    purifier = small(
        source_classifier=source(),
        reconstruction_weight=2.0,
        kl_weight=0.5,
        seed=1,
        cross_entropy_weight=3.0,
        noise_scale=0.0,
        kl_reduction=reduction,
    )
    data = batch()
    labels = np.eye(10, dtype="float32")[data["label"].numpy()]
    z_mean, z_deviation = purifier.encoder([data["clean"], tf.constant(labels)])
    purifier.reset_randomness(4)
    # Training draws with the whole deviation, whatever the purification does.
    latent = purifier.sampling([z_mean, 2 * ops.log(z_deviation)])
    assert not np.allclose(latent, z_mean)
    reconstructions = purifier.decoder([latent, tf.constant(labels)])
    expected = [
        float(np.mean(loss))
        for loss in (
            binary_cross_entropy_loss(data["clean"], reconstructions),
            deviation_kl_loss(z_mean, z_deviation, reduction),
            class_cross_entropy_loss(labels, source()(reconstructions, training=False)),
        )
    ]
    purifier.reset_randomness(4)
    losses = scalars(purifier.puvae_losses(data))
    names = ("reconstruction_loss", "kl_loss", "cross_entropy_loss")
    assert [losses[name] for name in names] == pytest.approx(expected, rel=1e-5)
    assert losses["loss"] == pytest.approx(np.dot([2.0, 0.5, 3.0], expected), rel=1e-5)


def test_the_published_numbers_are_the_default():
    purifier = small()
    weights = purifier.reconstruction_weight, purifier.kl_weight, purifier.cross_entropy_weight
    assert weights == (0.01, 0.1, 10.0)
    assert purifier.kl_reduction == "mean"
    assert purifier.noise_scale == 0.1
    assert purifier.num_classes == 10
    assert purifier.batch_keys == ("clean", "label")


# ---------------------------------------------------------------------- projection


@pytest.mark.parametrize("shape", [GREY, (32, 32, 3)])
def test_the_purified_image_is_the_nearest_of_all_candidates(shape):
    purifier = PuVAE.for_images(shape, width=0.1, noise_scale=0.0)
    images = some_images(5, shape)
    expected = brute_force(purifier, images)
    distances = np.sqrt(((expected - images[:, None]) ** 2).mean(axis=(2, 3, 4)))
    nearest = distances.argmin(axis=1)
    projection = purifier.project(images)
    np.testing.assert_allclose(array(projection.candidates), expected, atol=2e-6)
    np.testing.assert_allclose(array(projection.distances), distances, atol=2e-6)
    # An untrained network's candidates lie close together; none is nearer than the chosen one.
    chosen = array(projection.labels)
    rows = np.arange(5)
    np.testing.assert_allclose(distances[rows, chosen], distances[rows, nearest], atol=2e-6)
    candidates = array(projection.candidates)
    np.testing.assert_array_equal(array(purifier(images)), candidates[rows, chosen])


def test_each_image_and_class_draws_its_own_noise_of_the_given_size():
    quiet, noisy = small(noise_scale=0.0), small(noise_scale=0.3)
    assert (quiet.is_stochastic, noisy.is_stochastic) == (False, True)
    z_mean, z_deviation = np.full((4000, 2), 0.5, "float32"), np.full((4000, 2), 2.0, "float32")
    drawn = array(noisy._sample(z_mean, z_deviation, noisy.noise_scale))
    assert drawn.mean() == pytest.approx(0.5, abs=0.03)
    assert drawn.std() == pytest.approx(0.3 * 2.0, rel=0.03)
    same = np.repeat(some_images(1), 2, axis=0)
    plain = array(quiet.project(same).candidates)
    np.testing.assert_allclose(plain[0], plain[1], atol=1e-6)
    change = array(noisy.project(same).candidates) - plain
    flat = change.reshape(20, -1)
    assert (np.abs(flat[:, None] - flat[None]).max(axis=-1)[~np.eye(20, dtype=bool)] > 1e-5).all()


def test_the_gradient_is_that_of_the_chosen_candidate():
    purifier = small(noise_scale=0.0)
    images = tf.constant(some_images(3))
    weights = some_images(3, seed=1)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(images)
        whole = tf.reduce_sum(purifier(images) * weights)
        projection = purifier.project(images)
        chosen = tf.gather(projection.candidates, projection.labels, batch_dims=1)
        branch = tf.reduce_sum(chosen * weights)
    gradient = array(tape.gradient(whole, images))
    np.testing.assert_allclose(gradient, array(tape.gradient(branch, images)), atol=1e-7)
    assert (np.abs(gradient).max(axis=(1, 2, 3)) > 0).all()


def test_the_soft_minimum_tends_to_the_nearest_and_feels_the_distances():
    candidates = tf.constant(some_images(2 * 3, (2, 2, 1)).reshape(2, 3, 2, 2, 1))
    distances = tf.constant([[0.3, 0.1, 0.2], [0.1, 0.3, 0.2]])
    projection = Projection(candidates, distances, tf.constant([1, 0]))
    nearest = array(purified_images(projection))
    np.testing.assert_array_equal(nearest, array(candidates)[[0, 1], [1, 0]])
    np.testing.assert_allclose(array(purified_images(projection, 1e-3)), nearest, atol=1e-6)
    mean = array(candidates).mean(axis=1)
    np.testing.assert_allclose(array(purified_images(projection, 1e4)), mean, atol=1e-4)
    gradients = []
    for temperature in (None, 0.1):
        with tf.GradientTape() as tape:
            tape.watch(distances)
            mixed = purified_images(Projection(candidates, distances, [1, 0]), temperature)
        gradients.append(tape.gradient(mixed, distances))
    assert gradients[0] is None
    assert (np.abs(array(gradients[1])) > 1e-4).all()


def test_a_second_purifier_on_the_same_networks_is_softer():
    purifier = small(noise_scale=0.0)
    soft = PuVAE(purifier.encoder, purifier.decoder, noise_scale=0.0, soft_min_temperature=1e-3)
    images = some_images(3)
    candidates, distances, _ = map(array, purifier.project(images))
    shares = np.exp(-(distances - distances.min(axis=1, keepdims=True)) / 1e-3)
    shares /= shares.sum(axis=1, keepdims=True)
    expected = np.einsum("nk,nkhwc->nhwc", shares, candidates)
    np.testing.assert_allclose(soft.purify(images), expected, atol=1e-5)


# ---------------------------------------------------------------------- the source classifier


def test_the_attack_surrogate_shares_the_networks_and_makes_the_choice_differentiable():
    purifier, images = small(noise_scale=0.0), some_images(3)
    exact, soft = purifier.attack_surrogate(), purifier.attack_surrogate(0.05)
    assert exact.encoder is purifier.encoder and soft.decoder is purifier.decoder
    np.testing.assert_array_equal(array(exact(images)), array(purifier(images)))
    assert not np.allclose(array(soft(images)), array(purifier(images)), atol=1e-4)
    assert soft.soft_min_temperature == 0.05 and soft.noise_scale == 0.0


def test_training_moves_no_weight_of_the_source_and_gives_it_no_dropout():
    classifier = source()
    purifier = small(source_classifier=classifier)
    assert purifier.source_classifier is classifier
    before = classifier.get_weights()
    known = {id(variable) for variable in purifier.variables}
    assert not known & {id(variable) for variable in classifier.variables}
    purifier.compile()
    purifier.fit(dict(batch(8)), epochs=2, batch_size=4, verbose=0)
    for old, new in zip(before, classifier.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    runs = []
    for _ in range(2):
        purifier.reset_randomness(0)
        runs.append(scalars(purifier.puvae_losses(batch(), training=True)))
    assert runs[0] == runs[1]


def test_the_source_classifier_steers_the_training():
    """Its cross-entropy moves encoder and decoder, even alone."""
    purifier = small(
        source_classifier=linear_classifier(10, GREY)[0], reconstruction_weight=0.0, kl_weight=0.0
    )
    purifier.compile(keras.optimizers.Adam(2e-3))
    before = [variable.numpy() for variable in purifier.trainable_variables]
    history = purifier.fit(dict(batch(10)), epochs=25, batch_size=10, verbose=0).history
    assert history["cross_entropy_loss"][-1] < 0.9 * history["cross_entropy_loss"][0]
    for variable, old in zip(purifier.trainable_variables, before, strict=True):
        assert not np.array_equal(variable.numpy(), old), variable.path


@pytest.mark.parametrize(("shape", "size"), [(GREY, 0.1), ((32, 32, 3), 0.025)])
def test_the_noisy_variant_moves_every_pixel_of_what_the_encoder_sees(shape, size):
    given = {"width": 0.1, "source_classifier": linear_classifier(10, shape)[0]}
    noisy = get_purifier("puvae_noisy").for_images(shape, **given)
    assert noisy.input_noise == size and PuVAE.for_images(shape, **given).signs is None
    images = np.full((4, *shape), 0.5, "float32")
    seen, again = (array(noisy._seen(images, training=True)) for _ in range(2))
    np.testing.assert_allclose(np.abs(seen - images), size, rtol=1e-5)
    assert 0.45 < (seen > images).mean() < 0.55 and not np.array_equal(seen, again)
    np.testing.assert_array_equal(noisy._seen(images, training=False), images)
    assert array(noisy._seen(np.zeros_like(images), training=True)).min() == 0
    noisy.reset_randomness(3)
    first = array(noisy._seen(images, training=True))
    noisy.reset_randomness(3)
    np.testing.assert_array_equal(noisy._seen(images, training=True), first)


def test_noise_on_the_input_changes_the_losses_and_not_what_they_compare_with():
    data = batch()
    # Of one seed, hence of the same weights and the same noise.
    plain, fresh, noisy = (
        small(source_classifier=source(), input_noise=size) for size in (0.0, 0.3, 0.3)
    )
    seen = noisy._seen(data["clean"], training=True)
    z_mean, z_deviation = noisy.encoder([seen, ops.one_hot(data["label"], 10)], training=True)
    expected = float(ops.mean(deviation_kl_loss(z_mean, z_deviation, "mean")))
    assert scalars(fresh.puvae_losses(data))["kl_loss"] == pytest.approx(expected, rel=1e-5)
    assert scalars(plain.puvae_losses(data))["kl_loss"] != pytest.approx(expected, rel=1e-3)
    # A decoder that ignores its input compares with the clean image in either case.
    for purifier in (plain, fresh):
        for variable in purifier.decoder.trainable_variables:
            variable.assign(ops.zeros_like(variable))
    losses = [scalars(purifier.puvae_losses(data)) for purifier in (plain, fresh)]
    assert losses[0]["reconstruction_loss"] == pytest.approx(losses[1]["reconstruction_loss"])


def test_a_saved_purifier_carries_no_source_and_says_so_in_training(tmp_path):
    purifier = small(source_classifier=source(), noise_scale=0.25, soft_min_temperature=0.5)
    purifier.save(tmp_path / "puvae.keras")
    loaded = keras.saving.load_model(tmp_path / "puvae.keras", safe_mode=True)
    assert loaded.source_classifier is None
    assert (loaded.noise_scale, loaded.soft_min_temperature) == (0.25, 0.5)
    assert len(loaded.weights) == len(purifier.weights)
    loaded.compile()
    with pytest.raises(ValueError, match="Expected a source classifier for training"):
        loaded.train_step(batch())
    again = PuVAE(loaded.encoder, loaded.decoder, source_classifier=source())
    again.compile()
    assert np.isfinite(float(again.train_step(batch())["loss"]))


def test_config_keeps_every_argument():
    arguments = {
        "reconstruction_weight": 2.0,
        "kl_weight": 0.5,
        "kl_reduction": "sum",
        "cross_entropy_weight": 0.25,
        "noise_scale": 0.0,
        "soft_min_temperature": 0.1,
        "input_noise": 0.2,
    }
    purifier = small(latent_dim=8, **arguments)
    twin = PuVAE.from_config(purifier.get_config())
    for key, value in {**arguments, "seed": purifier.seed}.items():
        assert getattr(twin, key) == value, key
    assert [v.shape for v in twin.weights] == [v.shape for v in purifier.weights]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kl_weight": -1.0}, "kl_weight to be a finite number of at least 0"),
        ({"kl_reduction": "max"}, "sum, mean, received 'max'"),
        ({"noise_scale": -0.1}, "noise_scale to be .* received -0.1"),
        ({"soft_min_temperature": 0.0}, "soft_min_temperature to be .* above 0, received 0"),
        ({"input_noise": 1.5}, "input_noise to be .* received 1.5"),
        ({"nose_scale": 0.1}, r"Unrecognized keyword.*nose_scale"),
    ],
)
def test_mistakes_are_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**arguments)


def test_a_source_that_does_not_fit_is_explained():
    other_shape = build_classifier("puvae_b", (32, 32, 3), width=0.1)
    other_classes = build_classifier("puvae_b", GREY, 7, width=0.1)
    for classifier in (other_shape, other_classes):
        with pytest.raises(ValueError, match="Train one on the same data"):
            small(source_classifier=classifier)
    soft = keras.Sequential([source(), keras.layers.Softmax()])
    with pytest.raises(ValueError, match="ends in a softmax"):
        small(source_classifier=soft)
