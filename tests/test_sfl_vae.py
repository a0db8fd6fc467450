"""SFL-VAE: what the contract of all purifiers does not already hold."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from defenses.losses import kl_divergence_loss, reconstruction_loss, spatial_frequency_loss
from defenses.registry import get_purifier
from defenses.sfl_vae import GRADIENT_CLIP_NORM, SFLVAE
from models.autoencoders import sfl_vae_decoder, sfl_vae_encoder

GREY = (28, 28, 1)


def some_images(num_images: int, shape=GREY, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((num_images, *shape), dtype="float32")


def small(**arguments) -> SFLVAE:
    return SFLVAE.for_images(GREY, width=0.1, **arguments)


def dense_vae(latent_dim: int = 3, **arguments) -> SFLVAE:
    """A VAE whose latent Gaussian is known: mean 0.5, log-variance log 4, output sigmoid(z)."""
    inputs = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(inputs)

    def constant(value: float):
        return keras.layers.Dense(
            latent_dim,
            kernel_initializer="zeros",
            bias_initializer=keras.initializers.Constant(value),
        )(flat)

    encoder = keras.Model(inputs, [constant(0.5), constant(np.log(4.0))])
    latent = keras.Input((latent_dim,))
    spread = keras.layers.Dense(64, kernel_initializer="ones", activation="sigmoid")(latent)
    decoder = keras.Model(latent, keras.layers.Reshape((8, 8, 1))(spread))
    return SFLVAE(encoder, decoder, **arguments)


def scalars(losses) -> dict[str, float]:
    return {name: float(value) for name, value in losses.items()}


def test_the_published_network_is_the_default():
    purifier = SFLVAE.for_images((32, 32, 3))
    assert purifier.encoder.count_params() - _non_trainable(purifier.encoder) == 6_954_816
    assert purifier.decoder.count_params() == 9_052_099
    assert [tuple(shape) for shape in purifier.encoder.output_shape] == [(None, 1024)] * 2


def _non_trainable(model: keras.Model) -> int:
    return sum(int(np.prod(v.shape)) for v in model.non_trainable_weights)


def test_weights_of_the_losses_default_to_the_documented_ones():
    purifier = small()
    weights = purifier.reconstruction_weight, purifier.kl_weight, purifier.sfl_weight
    assert weights == (1.0, 0.01, 1.0)
    assert purifier.sigmas == (1.0,)


def test_losses_are_batch_means_of_the_published_ones():
    weights = {"reconstruction_weight": 2.0, "kl_weight": 0.5, "sfl_weight": 3.0}
    purifier = dense_vae(**weights, sigmas=(0.8, 1.0))
    images = some_images(4, (8, 8, 1))
    purifier.reset_randomness(5)
    z_mean, z_log_var = purifier.encoder(images)
    reconstructions = purifier.decoder(purifier.sampling([z_mean, z_log_var]))
    purifier.reset_randomness(5)
    losses = scalars(purifier.vae_losses({"clean": images}))

    expected = [
        float(np.mean(loss))
        for loss in (
            reconstruction_loss(images, reconstructions),
            kl_divergence_loss(z_mean, z_log_var),
            spatial_frequency_loss(images, reconstructions, (0.8, 1.0)),
        )
    ]
    # Each latent dimension has mean 0.5 and variance 4.
    assert expected[1] == pytest.approx(3 * 0.5 * (0.25 + 4 - np.log(4.0) - 1), rel=1e-5)
    received = [losses[key] for key in ("reconstruction_loss", "kl_loss", "sfl_loss")]
    assert received == pytest.approx(expected, rel=1e-5)
    assert losses["loss"] == pytest.approx(np.dot(list(weights.values()), expected), rel=1e-5)


def test_the_ablation_is_the_same_without_the_spatial_frequency_loss():
    entry = get_purifier("non_sfl_vae")
    assert entry.purifier_class is get_purifier("sfl_vae").purifier_class is SFLVAE
    ablation = entry.for_images(GREY, width=0.1, seed=4)
    full = small(seed=4)
    assert ablation.sfl_weight == 0.0
    for one, other in zip(ablation.weights, full.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    batch = {"clean": some_images(4)}
    losses = []
    for purifier in (ablation, full):
        purifier.reset_randomness(0)
        losses.append(scalars(purifier.vae_losses(batch)))
    assert losses[0]["sfl_loss"] == pytest.approx(losses[1]["sfl_loss"], rel=1e-6)
    assert losses[1]["loss"] - losses[0]["loss"] == pytest.approx(losses[1]["sfl_loss"], rel=1e-3)
    assert losses[0]["sfl_loss"] > 0.1


def test_the_mean_latent_is_the_decoded_mean_and_ignores_the_seed():
    sampled = small(seed=1)
    mean = SFLVAE(sampled.encoder, sampled.decoder, mean_latent=True)
    assert sampled.is_stochastic is True
    assert mean.is_stochastic is False
    images = some_images(3)
    z_mean, _ = sampled.encoder(images, training=False)
    expected = keras.ops.convert_to_numpy(sampled.decoder(z_mean, training=False))
    np.testing.assert_allclose(mean.purify(images), expected, atol=1e-6)
    mean.reset_randomness(1)
    first = mean.purify(images)
    mean.reset_randomness(2)
    np.testing.assert_array_equal(mean.purify(images), first)
    assert not np.allclose(sampled.purify(images), expected, atol=1e-4)


def test_training_samples_even_where_purification_takes_the_mean():
    purifier = dense_vae(mean_latent=True)
    batch = {"clean": some_images(4, (8, 8, 1))}
    first, second = (scalars(purifier.vae_losses(batch)) for _ in range(2))
    assert first["kl_loss"] == pytest.approx(second["kl_loss"])
    assert first["reconstruction_loss"] != pytest.approx(second["reconstruction_loss"], rel=1e-4)
    outputs = [np.asarray(purifier(batch["clean"], training=True)) for _ in range(2)]
    assert not np.allclose(*outputs)


def test_the_latent_noise_has_the_encoded_mean_and_variance():
    purifier = dense_vae(latent_dim=1)
    purified = purifier.purify(np.zeros((20_000, 8, 8, 1), "float32"), batch_size=20_000)[
        :, 0, 0, 0
    ]
    latent = np.log(purified / (1 - purified), dtype="float64")
    assert latent.mean() == pytest.approx(0.5, abs=0.05)
    assert latent.std() == pytest.approx(2.0, abs=0.05)


def test_dropout_and_batch_statistics_are_off_when_purifying():
    purifier = small(mean_latent=True)
    images = some_images(4)
    before = [v.numpy().copy() for v in purifier.weights]
    np.testing.assert_array_equal(purifier.purify(images), purifier.purify(images))
    for old, new in zip(before, purifier.weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_default_optimizer_clips_and_a_given_one_is_kept():
    purifier = small()
    purifier.compile()
    assert purifier.optimizer.global_clipnorm == GRADIENT_CLIP_NORM == 5.0
    assert float(purifier.optimizer.learning_rate) == pytest.approx(1e-3)
    own = keras.optimizers.SGD(0.1)
    purifier.compile(own)
    assert purifier.optimizer is own


def test_a_clipped_step_has_the_length_of_the_clip():
    purifier = dense_vae()
    purifier.compile(keras.optimizers.SGD(1.0, global_clipnorm=1e-2))
    variables = purifier.trainable_variables
    before = [v.numpy().copy() for v in variables]
    purifier.train_step({"clean": tf.constant(some_images(4, (8, 8, 1)))})
    moved = [v.numpy() - old for v, old in zip(variables, before, strict=True)]
    assert np.sqrt(sum((m**2).sum() for m in moved)) == pytest.approx(1e-2, rel=1e-3)


def test_config_keeps_every_argument():
    purifier = small(
        reconstruction_weight=2.0,
        kl_weight=0.5,
        sfl_weight=0.25,
        sigmas=(0.8, 1.4),
        mean_latent=True,
        decoder_variant="drop2",
        output_activation="relu",
    )
    twin = SFLVAE.from_config(purifier.get_config())
    losses = ("reconstruction_weight", "kl_weight", "sfl_weight", "sigmas")
    for key in (*losses, "mean_latent", "seed"):
        assert getattr(twin, key) == getattr(purifier, key), key
    assert [v.shape for v in twin.weights] == [v.shape for v in purifier.weights]
    assert twin.name == purifier.name


@pytest.mark.parametrize("decoder_variant", ["stride1", "drop2", "from1"])
@pytest.mark.parametrize("output_activation", ["sigmoid", "relu"])
def test_every_reading_of_the_decoder_purifies(decoder_variant, output_activation):
    purifier = small(decoder_variant=decoder_variant, output_activation=output_activation)
    purified = purifier.purify(some_images(2))
    assert purified.shape == (2, *GREY)
    assert purified.min() >= 0
    assert purified.max() <= 1


def test_networks_that_do_not_fit_and_negative_weights_are_explained():
    encoder = sfl_vae_encoder(GREY, 64, width=0.1)
    with pytest.raises(ValueError, match="Build both for the same"):
        SFLVAE(encoder, sfl_vae_decoder(GREY, 256, width=0.1))
    with pytest.raises(ValueError, match="Build both for the same"):
        SFLVAE(encoder, sfl_vae_decoder((32, 32, 1), 64, width=0.1))
    with pytest.raises(ValueError, match="kl_weight to be a finite number of at least 0"):
        small(kl_weight=-1.0)
    with pytest.raises(ValueError, match=r"Unrecognized keyword.*kl_wieght"):
        small(kl_wieght=1.0)
