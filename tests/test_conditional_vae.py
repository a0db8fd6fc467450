"""PuVAE's encoder and decoder: sizes, ranges, and that the label reaches the output unscrambled."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from models.conditional_vae import (
    MIN_DEVIATION,
    check_networks,
    encode_every_class,
    puvae_decoder,
    puvae_encoder,
)
from tests.model_helpers import COLOUR, GREY, images, layers_of, num_trainable, same_weights

WIDTH = 0.1


def codes(*labels: int) -> np.ndarray:
    return np.eye(10, dtype="float32")[list(labels)]


def arrays(outputs) -> list[np.ndarray]:
    return [ops.convert_to_numpy(output) for output in outputs]


def latents(num_images: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_images, 32)).astype("float32")


@pytest.mark.parametrize(
    ("shape", "encoder_count", "decoder_count"),
    [(COLOUR, 34_786_048, 127_139), (GREY, 26_918_592, 124_001)],
)
def test_the_published_networks_are_the_default(shape, encoder_count, decoder_count) -> None:
    encoder, decoder = puvae_encoder(shape), puvae_decoder(shape)
    assert num_trainable(encoder) == encoder_count
    assert num_trainable(decoder) == decoder_count
    assert encoder.output_shape == [(None, 32), (None, 32)]
    assert decoder.output_shape == (None, *shape)
    check_networks(encoder, decoder, None)


def test_stages_are_those_of_table_2() -> None:
    image_part = puvae_encoder(GREY, width=WIDTH).get_layer("image_part")
    convolutions = layers_of(image_part, keras.layers.Conv2D)
    assert [(layer.kernel_size, layer.dilation_rate) for layer in convolutions] == [
        ((7, 7), (2, 2))
    ] * 3
    assert [layer.output.shape[1:3] for layer in convolutions] == [(28, 28)] * 3
    decoder = puvae_decoder(GREY, width=WIDTH)
    stages = layers_of(decoder, keras.layers.Conv2DTranspose)
    assert [layer.output.shape[1] for layer in stages] == [8, 14, 28]
    assert [layer.cropping for layer in layers_of(decoder, keras.layers.Cropping2D)] == [
        ((0, 1), (0, 1))
    ]


@pytest.mark.parametrize("shape", [GREY, COLOUR, (16, 20, 1), (1, 1, 2)])
def test_outputs_keep_shape_and_range(shape) -> None:
    encoder, decoder = (build(shape, width=WIDTH) for build in (puvae_encoder, puvae_decoder))
    z_mean, z_deviation = arrays(encoder([images(shape), codes(1, 2, 3)]))
    assert z_mean.shape == z_deviation.shape == (3, 32)
    assert (z_deviation > 0).all()
    assert z_mean.min() < 0
    for scale in (1.0, 1e6):
        decoded = ops.convert_to_numpy(decoder([scale * latents(3), codes(1, 2, 3)]))
        assert decoded.shape == (3, *shape)
        assert decoded.min() >= 0
        assert decoded.max() <= 1


def test_the_deviation_stays_positive_and_is_a_softplus() -> None:
    encoder = puvae_encoder(GREY, width=WIDTH)
    head = encoder.get_layer("head")
    (softplus,) = [
        layer
        for layer in layers_of(head, keras.layers.Dense)
        if layer.activation is keras.activations.softplus
    ]
    softplus.kernel.assign(0.0 * softplus.kernel)
    for bias, expected in ((-200.0, MIN_DEVIATION), (0.0, np.log(2.0)), (30.0, 30.0)):
        softplus.bias.assign(np.full(32, bias, "float32"))
        _, z_deviation = arrays(encoder([images(GREY), codes(0, 1, 2)]))
        np.testing.assert_allclose(z_deviation, expected, rtol=1e-5)


def test_the_label_is_appended_to_the_flat_maps() -> None:
    """The two added layers are one layer on maps and one-hot code together."""
    encoder = puvae_encoder(GREY, width=WIDTH)
    image_part, label_part, head = map(encoder.get_layer, ("image_part", "label_part", "head"))
    first = image_part.layers[-1]
    maps = keras.Model(image_part.input, image_part.layers[-2].output)(images(GREY))
    batch = np.concatenate([ops.convert_to_numpy(maps), codes(4, 0, 9)], axis=1)
    kernel = np.concatenate(arrays([first.kernel, label_part.kernel]))
    hidden = batch @ kernel + ops.convert_to_numpy(first.bias)
    for received, expected in zip(
        arrays(encoder([images(GREY), codes(4, 0, 9)])), arrays(head(hidden)), strict=True
    ):
        np.testing.assert_allclose(received, expected, atol=1e-6)
    # Both halves start as one Glorot initializer would start the whole.
    limit = np.sqrt(6 / sum(kernel.shape))
    for part in np.split(kernel, [len(kernel) - 10]):
        assert np.abs(part).max() <= limit
        assert part.std() == pytest.approx(limit / np.sqrt(3), rel=0.05)


def test_labels_change_what_is_encoded_and_decoded() -> None:
    encoder, decoder = (build(GREY, width=WIDTH) for build in (puvae_encoder, puvae_decoder))
    same = np.repeat(images(GREY, 1), 10, axis=0)
    z_mean, z_deviation = arrays(encoder([same, codes(*range(10))]))
    decoded = ops.convert_to_numpy(decoder([np.repeat(latents(1), 10, axis=0), codes(*range(10))]))
    for output in (z_mean, z_deviation, decoded):
        flat = output.reshape(10, -1)
        distances = np.abs(flat[:, None] - flat[None]).max(axis=-1)
        assert (distances[~np.eye(10, dtype=bool)] > 1e-4).all()


def test_labels_follow_their_images_through_a_shuffle() -> None:
    encoder, decoder = (build(GREY, width=WIDTH) for build in (puvae_encoder, puvae_decoder))
    order = [2, 0, 3, 1]
    batch, labels, latent = images(GREY, 4), codes(5, 1, 8, 8), latents(4)
    for network, first in ((encoder, batch), (decoder, latent)):
        straight = keras.tree.flatten(network([first, labels]))
        shuffled = keras.tree.flatten(network([first[order], labels[order]]))
        for one, other in zip(arrays(straight), arrays(shuffled), strict=True):
            np.testing.assert_allclose(one[order], other, atol=1e-6)


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_every_class_at_once_is_each_class_in_turn(shape) -> None:
    encoder = puvae_encoder(shape, width=WIDTH, seed=2)
    batch = images(shape, 4)
    together = arrays(encode_every_class(encoder, batch))
    for label in range(10):
        apart = arrays(encoder([batch, codes(*[label] * 4)]))
        for one, other in zip(together, apart, strict=True):
            np.testing.assert_allclose(one.reshape(4, 10, 32)[:, label], other, atol=1e-6)


def test_networks_are_seeded_and_unrelated() -> None:
    for build in (puvae_encoder, puvae_decoder):
        one, again, other = (build(GREY, width=WIDTH, seed=seed) for seed in (1, 1, 2))
        assert same_weights(one, again)
        assert not same_weights(one, other)


def test_saved_networks_load_in_safe_mode_bit_for_bit(tmp_path) -> None:
    inputs = {"encoder": [images(GREY), codes(1, 2, 3)], "decoder": [latents(3), codes(1, 2, 3)]}
    for build, name in ((puvae_encoder, "encoder"), (puvae_decoder, "decoder")):
        network = build(GREY, width=WIDTH)
        network.save(tmp_path / f"{name}.keras")
        loaded = keras.saving.load_model(tmp_path / f"{name}.keras", safe_mode=True)
        outputs = [keras.tree.flatten(model(inputs[name])) for model in (network, loaded)]
        for one, other in zip(*map(arrays, outputs), strict=True):
            np.testing.assert_array_equal(one, other)


def test_mistakes_are_explained() -> None:
    for build in (puvae_encoder, puvae_decoder):
        with pytest.raises(
            ValueError, match=r"num_classes to be an integer of at least 2 .* received 1"
        ):
            build(GREY, 1)
        with pytest.raises(ValueError, match=r"latent_dim to be an integer .* received 0"):
            build(GREY, latent_dim=0)
        with pytest.raises(ValueError, match="three positive integers"):
            build((28, 28))
    encoder = puvae_encoder(GREY, width=WIDTH)
    for decoder in (
        puvae_decoder(COLOUR, width=WIDTH),
        puvae_decoder(GREY, 9, width=WIDTH),
        puvae_decoder(GREY, latent_dim=16, width=WIDTH),
    ):
        with pytest.raises(ValueError, match="Build both for the same"):
            check_networks(encoder, decoder, None)
