"""The networks of APE-GAN: a small encoder and decoder, and a discriminator of whole images."""

from __future__ import annotations

import keras
from keras import layers

from models.layers import LayerSeeds, scaled
from validation import check_image_shape

__all__ = ["ape_gan_discriminator", "ape_gan_generator"]

GENERATOR_FILTERS = (64, 128)
DISCRIMINATOR_FILTERS = (64, 128, 256)
KERNEL_SIZE = 4
LEAKY_SLOPE = 0.2


def ape_gan_generator(
    input_shape: tuple[int, int, int],
    *,
    width: float = 1.0,
    name: str = "ape_gan_generator",
    seed: int = 0,
) -> keras.Model:
    """Builds the generator of APE-GAN, two strided convolutions and two transposed ones.

    It has no skip: every pixel of the purified image comes out of a code of a quarter of the side,
    which leaves little room for a perturbation.

    **Reference**: Shen et al., "APE-GAN: Adversarial Perturbation Elimination with GAN", 2017, and
    the authors' public code; CAP-GAN, sec. IV, the baseline APE.
    **Differs from the paper**: kernels are 4x4, as in another public code, and not 5x5 as in the
    authors': with stride 2 a 4x4 transposed kernel covers all pixels equally. Images are read as
    they are and returned by (tanh + 1) / 2, where the authors' networks work in [-1, 1]. Batch
    normalisation follows each hidden convolution, with Keras's momentum and epsilon. Convolutions
    have a bias and Glorot uniform kernels.

    Args:
        input_shape: ``(height, width, channels)``; height and width are multiples of 4.
        width: Multiplier of all hidden channel counts.
        name: Name of the model, which also enters the seed: networks of different names differ.
        seed: Non-negative seed of the weights.

    Returns:
        Functional model, images ``(batch, *input_shape)`` in [0, 1] to images of the same shape and
        range.

    Raises:
        ValueError: If an argument is out of range, or a side is no multiple of 4.

    Example:
        import keras
        from models.ape_gan import ape_gan_generator

        generator = ape_gan_generator((28, 28, 1), width=0.125)
        generator(keras.random.uniform((2, 28, 28, 1))).shape  # (2, 28, 28, 1)
    """
    shape = check_image_shape(input_shape)
    if shape[0] % 4 or shape[1] % 4:
        raise ValueError(
            f"Expected height and width as multiples of 4 for APE-GAN, received {shape}. Pad the "
            "images."
        )
    seeds = LayerSeeds(seed, name)
    inputs = keras.Input(shape, name="images")
    x = inputs
    for number, filters in enumerate(GENERATOR_FILTERS, start=1):
        x = _conv(scaled(filters, width), seeds, f"encoder_{number}")(x)
        x = layers.BatchNormalization(name=f"encoder_{number}_normalised")(x)
        x = layers.LeakyReLU(negative_slope=LEAKY_SLOPE)(x)
    x = _transposed_conv(scaled(GENERATOR_FILTERS[0], width), seeds, "decoder_1")(x)
    x = layers.BatchNormalization(name="decoder_1_normalised")(x)
    x = layers.ReLU()(x)
    x = _transposed_conv(shape[2], seeds, "decoder_2")(x)
    x = layers.Activation("tanh", name="tanh")(x)
    x = layers.Rescaling(0.5, offset=0.5, name="purified")(x)
    return keras.Model(inputs, x, name=name)


def ape_gan_discriminator(
    input_shape: tuple[int, int, int],
    *,
    width: float = 1.0,
    name: str = "ape_gan_discriminator",
    seed: int = 0,
) -> keras.Model:
    """Builds the discriminator of APE-GAN, which gives an image one score.

    **Reference**: Shen et al., "APE-GAN", 2017, and the authors' public code.
    **Differs from the paper**: kernels are 4x4 and not 5x5, as in the generator. It ends in a
    logit; the sigmoid is part of the loss, as in the authors' code.

    Args:
        input_shape: ``(height, width, channels)``.
        width: Multiplier of all hidden channel counts.
        name: Name of the model, which also enters the seed: networks of different names differ.
        seed: Non-negative seed of the weights.

    Returns:
        Functional model, images ``(batch, *input_shape)`` in [0, 1] to logits ``(batch, 1)`` of any
        range, above 0 for images that it takes for clean ones.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        import keras
        from models.ape_gan import ape_gan_discriminator

        discriminator = ape_gan_discriminator((28, 28, 1), width=0.125)
        discriminator(keras.random.uniform((2, 28, 28, 1))).shape  # (2, 1)
    """
    seeds = LayerSeeds(seed, name)
    inputs = keras.Input(check_image_shape(input_shape), name="images")
    x = inputs
    for number, filters in enumerate(DISCRIMINATOR_FILTERS, start=1):
        x = _conv(scaled(filters, width), seeds, f"stage_{number}")(x)
        if number > 1:
            x = layers.BatchNormalization(name=f"stage_{number}_normalised")(x)
        x = layers.LeakyReLU(negative_slope=LEAKY_SLOPE)(x)
    x = layers.Flatten()(x)
    logit = layers.Dense(1, kernel_initializer=seeds.glorot_uniform(), name="logit")(x)
    return keras.Model(inputs, logit, name=name)


def _conv(filters: int, seeds: LayerSeeds, name: str) -> layers.Layer:
    return layers.Conv2D(
        filters,
        KERNEL_SIZE,
        strides=2,
        padding="same",
        kernel_initializer=seeds.glorot_uniform(),
        name=name,
    )


def _transposed_conv(filters: int, seeds: LayerSeeds, name: str) -> layers.Layer:
    return layers.Conv2DTranspose(
        filters,
        KERNEL_SIZE,
        strides=2,
        padding="same",
        kernel_initializer=seeds.glorot_uniform(),
        name=name,
    )
