"""Defense-VAE: what the contract of all purifiers does not already hold."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from defenses.defense_vae import DefenseVAE
from defenses.losses import binary_cross_entropy_loss, kl_divergence_loss
from defenses.registry import get_purifier
from experiments.config import DatasetConfig
from experiments.datasets import load
from models.defense_vae_networks import defense_vae_decoder, defense_vae_encoder
from tests.model_helpers import COLOUR, GREY, images, layers_of, num_trainable, same_weights


def small(**arguments) -> DefenseVAE:
    return DefenseVAE.for_images(GREY, width=0.1, **arguments)


def dense_vae(**arguments) -> DefenseVAE:
    """A VAE whose latent Gaussian is known: mean 0.5, log-variance log 4, output sigmoid(z)."""
    inputs = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(inputs)

    def constant(value: float):
        bias = keras.initializers.Constant(value)
        return keras.layers.Dense(3, kernel_initializer="zeros", bias_initializer=bias)(flat)

    encoder = keras.Model(inputs, [constant(0.5), constant(np.log(4.0))])
    latent = keras.Input((3,))
    spread = keras.layers.Dense(64, kernel_initializer="ones", activation="sigmoid")(latent)
    decoder = keras.Model(latent, keras.layers.Reshape((8, 8, 1))(spread))
    return DefenseVAE(encoder, decoder, **arguments)


def scalars(losses) -> dict[str, float]:
    return {name: float(value) for name, value in losses.items()}


# ---------------------------------------------------------------------- networks


@pytest.mark.parametrize(
    ("shape", "encoder_count", "decoder_count"),
    [(GREY, 1_772_352, 1_251_392), (COLOUR, 1_775_552, 1_254_592)],
)
def test_networks_have_the_published_size(shape, encoder_count, decoder_count):
    purifier = DefenseVAE.for_images(shape)
    assert num_trainable(purifier.encoder) == encoder_count
    assert num_trainable(purifier.decoder) == decoder_count
    assert purifier.decoder.input_shape == (None, 128)


@pytest.mark.parametrize("shape", [GREY, COLOUR, (32, 32, 1)])
def test_stages_are_the_published_ones(shape):
    encoder, decoder = defense_vae_encoder(shape), defense_vae_decoder(shape)
    down = [layer.output.shape[1::2] for layer in layers_of(encoder, keras.layers.Conv2D)]
    assert down == [(shape[0], 64), (16, 64), (8, 128), (4, 256)]
    up = [layer.output.shape[1::2] for layer in layers_of(decoder, keras.layers.Conv2DTranspose)]
    assert up == [(8, 128), (16, 64), (32, 64), (shape[0], shape[2])]
    assert decoder.output_shape == (None, *shape)


def test_the_padding_for_28_pixels_is_three_on_each_side():
    encoder = defense_vae_encoder(GREY, width=0.1)
    stem, convolution = layers_of(encoder, keras.layers.Conv2D)[:2]
    rectified = layers_of(encoder, keras.layers.ReLU)[0].output
    taps = keras.Model(encoder.input, [rectified, convolution.output])
    before, after = taps(images(GREY), training=False)
    padded = np.pad(before, ((0, 0), (3, 3), (3, 3), (0, 0)))
    expected = tf.nn.conv2d(padded, convolution.kernel, strides=2, padding="VALID")
    assert expected.shape[1:3] == (16, 16)
    np.testing.assert_allclose(after, expected, atol=1e-5)
    assert stem.kernel_size == (5, 5) and not stem.use_bias


@pytest.mark.parametrize("shape", [(8, 8, 1), (20, 27, 2)])
def test_other_shapes_come_back(shape):
    encoder, decoder = (
        build(shape, width=0.1) for build in (defense_vae_encoder, defense_vae_decoder)
    )
    z_mean, z_log_var = encoder(images(shape))
    assert z_mean.shape == z_log_var.shape == (3, 16)
    result = np.asarray(decoder(1e12 * z_mean))
    assert result.shape == (3, *shape)
    assert 0 <= result.min() < 0.1 and 0.9 < result.max() <= 1


def test_initial_weights_are_those_of_the_code_and_seeded():
    for build in (defense_vae_encoder, defense_vae_decoder):
        network = build(GREY, seed=1)
        assert same_weights(network, build(GREY, seed=1))
        assert not same_weights(network, build(GREY, seed=2))
        kernels = [layer.kernel for layer in network.layers if "conv" in layer.name]
        scales = [layer.gamma for layer in layers_of(network, keras.layers.BatchNormalization)]
        for weights, mean in [(k, 0.0) for k in kernels[1:-1]] + [(s, 1.0) for s in scales]:
            drawn = weights.numpy()
            assert drawn.mean() == pytest.approx(mean, abs=0.01)
            assert drawn.std() == pytest.approx(0.02, rel=0.3)


# ---------------------------------------------------------------------- losses and steps


def test_defaults_are_those_of_the_code():
    purifier = small()
    assert purifier.kl_weight == 0.0
    assert get_purifier("defense_vae").batch_keys == ("clean", "adversarial")
    purifier.compile()
    assert isinstance(purifier.optimizer, keras.optimizers.Adam)
    assert float(purifier.optimizer.learning_rate) == pytest.approx(5e-4)
    own = keras.optimizers.SGD(0.1)
    purifier.compile(own)
    assert purifier.optimizer is own


def test_losses_are_batch_means_against_the_clean_images():
    purifier = dense_vae(kl_weight=0.5)
    batch = {"clean": images((8, 8, 1)), "adversarial": images((8, 8, 1), seed=1)}
    purifier.reset_randomness(5)
    z_mean, z_log_var = purifier.encoder(batch["adversarial"])
    reconstructions = purifier.decoder(purifier.sampling([z_mean, z_log_var]))
    purifier.reset_randomness(5)
    losses = scalars(purifier.vae_losses(batch))

    entropy = float(np.mean(binary_cross_entropy_loss(batch["clean"], reconstructions)))
    divergence = float(np.mean(kl_divergence_loss(z_mean, z_log_var)))
    assert divergence == pytest.approx(3 * 0.5 * (0.25 + 4 - np.log(4.0) - 1), rel=1e-5)
    assert losses["reconstruction_loss"] == pytest.approx(entropy, rel=1e-5)
    assert losses["kl_loss"] == pytest.approx(divergence, rel=1e-5)
    assert losses["loss"] == pytest.approx(entropy + 0.5 * divergence, rel=1e-5)


def test_the_encoder_sees_the_attacked_images_alone():
    purifier = small(kl_weight=1.0)
    clean, attacked, other = (images(GREY, seed=seed) for seed in range(3))

    def losses(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
        purifier.reset_randomness(0)
        return scalars(purifier.vae_losses({"clean": first, "adversarial": second}, training=False))

    base = losses(clean, attacked)
    assert losses(other, attacked)["kl_loss"] == base["kl_loss"]
    assert losses(other, attacked)["reconstruction_loss"] != base["reconstruction_loss"]
    assert losses(clean, other)["kl_loss"] != base["kl_loss"]


def test_training_samples_and_purification_takes_the_mean():
    purifier = dense_vae()
    batch = {key: images((8, 8, 1)) for key in purifier.batch_keys}
    first, second = (scalars(purifier.vae_losses(batch)) for _ in range(2))
    assert first["reconstruction_loss"] != pytest.approx(second["reconstruction_loss"], rel=1e-4)
    purified = purifier.purify(batch["adversarial"])
    np.testing.assert_allclose(purified, 1 / (1 + np.exp(-1.5)), rtol=1e-5)  # sigmoid(3 * 0.5)
    outputs = [np.asarray(purifier(batch["clean"], training=True)) for _ in range(2)]
    assert not np.allclose(*outputs)


def test_a_short_training_takes_noise_off_digits():
    data = load(DatasetConfig(name="digits", train_limit=400, validation_size=100, test_limit=100))
    rng = np.random.default_rng(0)

    def attacked(clean: np.ndarray) -> np.ndarray:
        noise = rng.uniform(-0.4, 0.4, size=clean.shape)
        return np.clip(clean + noise, 0, 1).astype("float32")

    keras.utils.set_random_seed(0)  # orders the batches
    clean = data.train.images[:400]
    purifier = DefenseVAE.for_images(GREY, width=0.25, seed=1)
    purifier.compile(keras.optimizers.Adam(2e-3))
    history = purifier.fit(
        {"clean": clean, "adversarial": attacked(clean)}, epochs=5, batch_size=10, verbose=0
    ).history
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    test = data.test.images[:100]
    noisy = attacked(test)

    def distance(images: np.ndarray) -> float:
        return float(np.abs(images - test).sum(axis=(1, 2, 3)).mean())

    left = distance(purifier.purify(noisy))
    assert left < 0.6 * distance(noisy)
    assert left < 0.6 * distance(clean.mean(axis=0))  # an average digit would not do


# ---------------------------------------------------------------------- configuration


def test_config_keeps_every_argument():
    purifier = small(kl_weight=0.5, seed=3, latent_dim=64)
    twin = DefenseVAE.from_config(purifier.get_config())
    assert (twin.kl_weight, twin.seed, twin.name) == (0.5, purifier.seed, purifier.name)
    assert [v.shape for v in twin.weights] == [v.shape for v in purifier.weights]


def test_networks_that_do_not_fit_and_a_negative_weight_are_explained():
    encoder = defense_vae_encoder(GREY, width=0.1)
    with pytest.raises(ValueError, match="Build both for the same"):
        DefenseVAE(encoder, defense_vae_decoder(GREY, 512, width=0.1))
    with pytest.raises(ValueError, match="Build both for the same"):
        DefenseVAE(encoder, defense_vae_decoder(COLOUR, width=0.1))
    with pytest.raises(ValueError, match="kl_weight to be a finite number of at least 0"):
        small(kl_weight=-1.0)
