"""Convolutional autoencoders: the encoder and decoder of the spatial frequency loss VAE."""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras
from keras import layers

from models.layers import ClipLogVariance, ClipToUnitRange, LayerSeeds, check_latent_dim, scaled
from validation import check_choice, check_image_shape

__all__ = [
    "DECODER_VARIANTS",
    "OUTPUT_ACTIVATIONS",
    "DecoderVariant",
    "sfl_vae_decoder",
    "sfl_vae_encoder",
]

ENCODER_FILTERS = (64, 128, 256, 512)
KERNEL_SIZE = 4

OUTPUT_ACTIVATIONS = ("sigmoid", "relu")
"""Last activation of the decoder: a sigmoid, or the printed ReLU clipped to [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class DecoderVariant:
    """One interpretation of the decoder of Table A.1.

    Args:
        first_channels: Channels after the Dense layer is reshaped.
        stages: (filters, stride) of each transposed convolution but the last, which has the image's
            channels and stride 2.
    """

    first_channels: int
    stages: tuple[tuple[int, int], ...]


DECODER_VARIANTS: dict[str, DecoderVariant] = {
    "stride1": DecoderVariant(first_channels=256, stages=((512, 1), (256, 1), (128, 2), (64, 2))),
    "drop2": DecoderVariant(first_channels=256, stages=((128, 2), (64, 2))),
    "from1": DecoderVariant(first_channels=4096, stages=((512, 2), (256, 2), (128, 2), (64, 2))),
}
"""Interpretations that reach the image's size: the first two strides set to 1; the first two stages
left out; or all stages as printed, but started from a single pixel of 4096 channels."""


def sfl_vae_encoder(
    input_shape: tuple[int, int, int],
    latent_dim: int = 1024,
    *,
    width: float = 1.0,
    dropout: float = 0.2,
    seed: int = 0,
) -> keras.Model:
    """Builds the encoder of the spatial frequency loss VAE.

    **Reference**: Dissertation, app. A, Table A.1, left column, and ch. 3.3.1.
    **Differs from the paper**: the second head, printed as "Dense2(2014)", has the first one's 1024
    units, since mean and variance share the latent dimension; the log-variance is clipped to
    [-10, 10], because its exponential can overflow in the first steps of training.

    Args:
        input_shape: ``(height, width, channels)``.
        latent_dim: Size of the latent vector at width 1.
        width: Multiplier of all filter counts and of ``latent_dim``.
        dropout: Fraction of activations dropped after each stage in training.
        seed: Non-negative seed of weights and dropout.

    Returns:
        Functional model, images ``(batch, *input_shape)`` in [0, 1] to ``[z_mean, z_log_var]``,
        both ``(batch, scaled(latent_dim, width))``; the mean has any range, the log-variance
        [-10, 10].

    Raises:
        ValueError: If an argument is out of range.

    Example:
        import keras
        from models.autoencoders import sfl_vae_encoder

        encoder = sfl_vae_encoder((28, 28, 1), width=0.125)
        z_mean, z_log_var = encoder(keras.random.uniform((2, 28, 28, 1)))
        z_mean.shape  # (2, 128)
    """
    check_latent_dim(latent_dim)
    units = scaled(latent_dim, width)
    seeds = LayerSeeds(seed, "sfl_vae_encoder")
    inputs = keras.Input(check_image_shape(input_shape), name="images")
    x = inputs
    for filters in ENCODER_FILTERS:
        x = layers.Conv2D(
            scaled(filters, width),
            KERNEL_SIZE,
            strides=2,
            padding="same",
            kernel_initializer=seeds.glorot_uniform(),
        )(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = seeds.dropout(dropout)(x)
    x = layers.Flatten()(x)
    z_mean = layers.Dense(units, kernel_initializer=seeds.glorot_uniform(), name="z_mean")(x)
    z_log_var = layers.Dense(
        units, kernel_initializer=seeds.glorot_uniform(), name="unbounded_z_log_var"
    )(x)
    z_log_var = ClipLogVariance(name="z_log_var")(z_log_var)
    return keras.Model(inputs, [z_mean, z_log_var], name="sfl_vae_encoder")


def sfl_vae_decoder(
    output_shape: tuple[int, int, int],
    latent_dim: int = 1024,
    *,
    width: float = 1.0,
    variant: str = "stride1",
    output_activation: str = "sigmoid",
    seed: int = 0,
) -> keras.Model:
    """Builds the decoder of the spatial frequency loss VAE.

    **Reference**: Dissertation, app. A, Table A.1, right column.
    **Differs from the paper**: five printed strides of 2 turn the 4x4 start into 128x128, not
    32x32; ``variant`` chooses among the interpretations that fit (``DECODER_VARIANTS``). Sizes that
    are no multiple of the strides (28x28) lose the last row and column where a doubling overshoots
    (8x8 to 7x7). The output is a sigmoid; the printed ReLU, which is unbounded above and can die at
    zero, is ``output_activation="relu"`` and is clipped to [0, 1].

    Args:
        output_shape: ``(height, width, channels)`` of the images.
        latent_dim: Size of the latent vector at width 1, as given to the encoder.
        width: Multiplier of all hidden channel counts and of ``latent_dim``, as given to the
            encoder.
        variant: A key of ``DECODER_VARIANTS``.
        output_activation: One of ``OUTPUT_ACTIVATIONS``.
        seed: Non-negative seed of the weights.

    Returns:
        Functional model, latent vectors ``(batch, scaled(latent_dim, width))`` of any range to
        images ``(batch, *output_shape)`` in [0, 1].

    Raises:
        ValueError: If ``variant`` or ``output_activation`` is unknown or an argument is out of
            range.

    Example:
        import keras
        from models.autoencoders import sfl_vae_decoder

        decoder = sfl_vae_decoder((28, 28, 1), width=0.125)
        decoder(keras.random.normal((2, 128))).shape  # (2, 28, 28, 1)
    """
    check_choice("variant", variant, DECODER_VARIANTS)
    check_choice("output_activation", output_activation, OUTPUT_ACTIVATIONS)
    check_latent_dim(latent_dim)
    shape = check_image_shape(output_shape)
    plan = DECODER_VARIANTS[variant]
    seeds = LayerSeeds(seed, "sfl_vae_decoder")
    doublings = sum(stride == 2 for _, stride in plan.stages) + 1

    inputs = keras.Input((scaled(latent_dim, width),), name="latent")
    start = (*_size_before(shape, doublings), scaled(plan.first_channels, width))
    x = layers.Dense(
        math.prod(start), activation="relu", kernel_initializer=seeds.glorot_uniform()
    )(inputs)
    x = layers.Reshape(start)(x)
    for filters, stride in plan.stages:
        doublings -= stride == 2
        size = _size_before(shape, doublings)
        x = _transposed_conv(x, scaled(filters, width), stride, "relu", size, seeds)
    x = _transposed_conv(x, shape[2], 2, output_activation, shape[:2], seeds)
    if output_activation == "relu":
        x = ClipToUnitRange()(x)
    return keras.Model(inputs, x, name="sfl_vae_decoder")


def _size_before(shape: tuple[int, int, int], doublings: int) -> tuple[int, int]:
    """Returns the smallest height and width that reach ``shape`` after so many doublings."""
    return -(-shape[0] // 2**doublings), -(-shape[1] // 2**doublings)


def _transposed_conv(
    x: keras.KerasTensor,
    filters: int,
    strides: int,
    activation: str,
    size: tuple[int, int],
    seeds: LayerSeeds,
) -> keras.KerasTensor:
    """Returns a same-padded transposed convolution of ``x``, cut at the far edges to ``size``."""
    x = layers.Conv2DTranspose(
        filters,
        KERNEL_SIZE,
        strides=strides,
        padding="same",
        activation=activation,
        kernel_initializer=seeds.glorot_uniform(),
    )(x)
    rows, columns = x.shape[1] - size[0], x.shape[2] - size[1]
    if rows or columns:
        x = layers.Cropping2D(((0, rows), (0, columns)))(x)
    return x
