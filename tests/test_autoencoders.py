"""The autoencoder of Table A.1: sizes, shapes, ranges."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from models.autoencoders import DECODER_VARIANTS, sfl_vae_decoder, sfl_vae_encoder
from tests.model_helpers import COLOUR, GREY, images, layers_of, num_trainable, same_weights


@pytest.mark.parametrize(("shape", "count"), [(COLOUR, 6_954_816), (GREY, 6_952_768)])
def test_encoder_has_the_published_size(shape: tuple[int, int, int], count: int) -> None:
    encoder = sfl_vae_encoder(shape)
    assert num_trainable(encoder) == count
    assert encoder.output_shape == [(None, 1024), (None, 1024)]
    sizes = [layer.output.shape[1:] for layer in layers_of(encoder, keras.layers.Conv2D)]
    first = -(-shape[0] // 2)
    second = -(-first // 2)
    assert sizes == [(first, first, 64), (second, second, 128), (4, 4, 256), (2, 2, 512)]


@pytest.mark.parametrize(
    ("variant", "count"), [("stride1", 9_052_099), ("drop2", 4_857_027), ("from1", 40_509_379)]
)
def test_decoder_has_the_published_size(variant: str, count: int) -> None:
    decoder = sfl_vae_decoder(COLOUR, variant=variant)
    assert num_trainable(decoder) == count
    assert decoder.output_shape == (None, *COLOUR)


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("stride1", [(4, 512), (4, 256), (8, 128), (14, 64), (28, 1)]),
        ("drop2", [(8, 128), (14, 64), (28, 1)]),
        ("from1", [(2, 512), (4, 256), (8, 128), (14, 64), (28, 1)]),
    ],
)
def test_decoder_stages_for_28_pixels(variant: str, expected: list[tuple[int, int]]) -> None:
    decoder = sfl_vae_decoder(GREY, variant=variant)
    stages = [layer.output for layer in layers_of(decoder, keras.layers.Conv2DTranspose)]
    assert [(stage.shape[1], stage.shape[-1]) for stage in stages] == expected
    (crop,) = layers_of(decoder, keras.layers.Cropping2D)
    assert crop.output.shape[1:3] == (7, 7)
    assert crop.cropping == ((0, 1), (0, 1))


@pytest.mark.parametrize("shape", [GREY, COLOUR, (20, 26, 2)])
@pytest.mark.parametrize("variant", sorted(DECODER_VARIANTS))
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_autoencoder_keeps_shape_and_range(
    shape: tuple[int, int, int], variant: str, activation: str
) -> None:
    encoder = sfl_vae_encoder(shape, 128, width=0.125)
    decoder = sfl_vae_decoder(
        shape, 128, width=0.125, variant=variant, output_activation=activation
    )
    z_mean, z_log_var = encoder(images(shape), training=False)
    assert z_mean.shape == z_log_var.shape == (3, 16)
    assert decoder.input_shape == (None, 16)
    # Latents far from the prior drive the last layer out of [0, 1] if anything can.
    result = np.asarray(decoder(1e8 * z_mean))
    assert result.shape == (3, *shape) and result.dtype == np.float32
    assert result.min() >= 0.0 and result.max() <= 1.0
    assert result.max() > 0.9


def test_encoder_bounds_the_log_variance() -> None:
    encoder = sfl_vae_encoder(GREY, width=0.125)
    head = encoder.get_layer("unbounded_z_log_var")
    for bias, expected in ((50.0, 10.0), (-50.0, -10.0)):
        head.bias.assign(np.full(head.bias.shape, bias, "float32"))
        z_mean, z_log_var = encoder(images(GREY), training=False)
        np.testing.assert_array_equal(z_log_var, np.full((3, 128), expected, "float32"))
    assert not np.array_equal(np.abs(z_mean), np.full((3, 128), 10.0))


def test_encoder_drops_in_training_only_and_at_the_given_rate() -> None:
    encoder = sfl_vae_encoder(GREY, width=0.125, dropout=0.3, seed=4)
    assert [layer.rate for layer in layers_of(encoder, keras.layers.Dropout)] == [0.3] * 4
    batch = images(GREY)
    still = [np.asarray(encoder(batch, training=False)[0]) for _ in range(2)]
    np.testing.assert_array_equal(still[0], still[1])
    moving = [np.asarray(encoder(batch, training=True)[0]) for _ in range(2)]
    assert not np.allclose(moving[0], moving[1])


def test_autoencoder_is_seeded() -> None:
    for build in (sfl_vae_encoder, sfl_vae_decoder):
        assert same_weights(build(GREY, width=0.125, seed=1), build(GREY, width=0.125, seed=1))
        assert not same_weights(build(GREY, width=0.125, seed=1), build(GREY, width=0.125, seed=2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"variant": "full"}, "stride1.*'full'"), ({"output_activation": "tanh"}, "sigmoid.*'tanh'")],
)
def test_decoder_says_what_is_wrong(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sfl_vae_decoder(GREY, **arguments)
