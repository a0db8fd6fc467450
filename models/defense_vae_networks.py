"""The encoder and decoder of Defense-VAE."""

from __future__ import annotations

import keras
from keras import layers

from models.layers import ClipLogVariance, LayerSeeds, check_latent_dim, scaled
from validation import check_image_shape

__all__ = ["defense_vae_decoder", "defense_vae_encoder"]

STEM_FILTERS = 64
ENCODER_FILTERS = (64, 128, 256)
DECODER_FILTERS = (128, 64, 64)
STEM_KERNEL_SIZE = 5
KERNEL_SIZE = 4
REDUCTION = 8
"""Factor between the image and the smallest feature map, by three strides of 2."""

WEIGHT_STDDEV = 0.02
"""Standard deviation of initial kernels around 0 and of initial normalisation scales around 1."""


def defense_vae_encoder(
    input_shape: tuple[int, int, int],
    latent_dim: int = 128,
    *,
    width: float = 1.0,
    seed: int = 0,
) -> keras.Model:
    """Builds the encoder of Defense-VAE.

    **Reference**: Li and Ji, "Defense-VAE", 2019, and its public code for 28x28 images; compared
    against in Dissertation, ch. 3.4.
    **Differs from the paper**: the code covers 28x28x1 only, where a padding of 3 leads from 28 to
    16 pixels. Here every image is padded with zeros to a multiple of 8 after the first convolution,
    which is the same for 28 pixels and nothing for 32; other channel counts change the first layer
    alone. The log-variance is clipped to [-10, 10]. The two dense heads start from Glorot's
    distribution.

    Args:
        input_shape: ``(height, width, channels)``.
        latent_dim: Size of the latent vector at width 1.
        width: Multiplier of all filter counts and of ``latent_dim``.
        seed: Non-negative seed of the weights.

    Returns:
        Functional model, images ``(batch, *input_shape)`` in [0, 1] to ``[z_mean, z_log_var]``,
        both ``(batch, scaled(latent_dim, width))``; the mean has any range, the log-variance
        [-10, 10].

    Raises:
        ValueError: If an argument is out of range.

    Example:
        import keras
        from models.defense_vae_networks import defense_vae_encoder

        encoder = defense_vae_encoder((28, 28, 1), width=0.125)
        z_mean, z_log_var = encoder(keras.random.uniform((2, 28, 28, 1)))
        z_mean.shape  # (2, 16)
    """
    shape = check_image_shape(input_shape)
    check_latent_dim(latent_dim)
    units = scaled(latent_dim, width)
    seeds = LayerSeeds(seed, "defense_vae_encoder")
    inputs = keras.Input(shape, name="images")
    x = layers.Conv2D(
        scaled(STEM_FILTERS, width),
        STEM_KERNEL_SIZE,
        padding="same",
        use_bias=False,
        kernel_initializer=_kernel(seeds),
    )(inputs)
    x = _normalise(x, seeds)
    margins = _margins(shape)
    if any(sum(margin) for margin in margins):
        x = layers.ZeroPadding2D(margins)(x)
    for filters in ENCODER_FILTERS:
        x = layers.Conv2D(
            scaled(filters, width),
            KERNEL_SIZE,
            strides=2,
            padding="same",
            use_bias=False,
            kernel_initializer=_kernel(seeds),
        )(x)
        x = _normalise(x, seeds)
    x = layers.Flatten()(x)
    z_mean = layers.Dense(units, kernel_initializer=seeds.glorot_uniform(), name="z_mean")(x)
    z_log_var = layers.Dense(
        units, kernel_initializer=seeds.glorot_uniform(), name="unbounded_z_log_var"
    )(x)
    z_log_var = ClipLogVariance(name="z_log_var")(z_log_var)
    return keras.Model(inputs, [z_mean, z_log_var], name="defense_vae_encoder")


def defense_vae_decoder(
    output_shape: tuple[int, int, int],
    latent_dim: int = 128,
    *,
    width: float = 1.0,
    seed: int = 0,
) -> keras.Model:
    """Builds the decoder of Defense-VAE.

    **Reference**: Li and Ji, "Defense-VAE", 2019, and its public code for 28x28 images.
    **Differs from the paper**: as the encoder: the margin that the encoder adds is cut off after
    the last doubling, which for 28 pixels is the code's padding of 3, and the last layer has the
    channels of the image. The dense layer starts from Glorot's distribution.

    Args:
        output_shape: ``(height, width, channels)`` of the images.
        latent_dim: Size of the latent vector at width 1, as given to the encoder.
        width: Multiplier of all hidden channel counts and of ``latent_dim``, as given to the
            encoder.
        seed: Non-negative seed of the weights.

    Returns:
        Functional model, latent vectors ``(batch, scaled(latent_dim, width))`` of any range to
        images ``(batch, *output_shape)`` in [0, 1].

    Raises:
        ValueError: If an argument is out of range.

    Example:
        import keras
        from models.defense_vae_networks import defense_vae_decoder

        decoder = defense_vae_decoder((28, 28, 1), width=0.125)
        decoder(keras.random.normal((2, 16))).shape  # (2, 28, 28, 1)
    """
    shape = check_image_shape(output_shape)
    check_latent_dim(latent_dim)
    seeds = LayerSeeds(seed, "defense_vae_decoder")
    start_filters = scaled(ENCODER_FILTERS[-1], width)
    rows, columns = -(-shape[0] // REDUCTION), -(-shape[1] // REDUCTION)
    inputs = keras.Input((scaled(latent_dim, width),), name="latent")
    x = layers.Dense(
        rows * columns * start_filters,
        activation="relu",
        kernel_initializer=seeds.glorot_uniform(),
    )(inputs)
    x = layers.Reshape((rows, columns, start_filters))(x)
    for index, filters in enumerate(DECODER_FILTERS, start=1):
        x = layers.Conv2DTranspose(
            scaled(filters, width),
            KERNEL_SIZE,
            strides=2,
            padding="same",
            use_bias=False,
            kernel_initializer=_kernel(seeds),
        )(x)
        margins = _margins(shape)
        if index == len(DECODER_FILTERS) and any(sum(margin) for margin in margins):
            x = layers.Cropping2D(margins)(x)
        x = _normalise(x, seeds)
    x = layers.Conv2DTranspose(
        shape[2],
        STEM_KERNEL_SIZE,
        padding="same",
        activation="sigmoid",
        use_bias=False,
        kernel_initializer=_kernel(seeds),
    )(x)
    return keras.Model(inputs, x, name="defense_vae_decoder")


def _margins(shape: tuple[int, int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns the rows and columns, before and after, that pad an image to a multiple of 8."""
    rows, columns = -shape[0] % REDUCTION, -shape[1] % REDUCTION
    return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)


def _kernel(seeds: LayerSeeds) -> keras.initializers.Initializer:
    """Returns a fresh initializer of a convolution's kernel."""
    return keras.initializers.RandomNormal(stddev=WEIGHT_STDDEV, seed=seeds.next())


def _normalise(x: keras.KerasTensor, seeds: LayerSeeds) -> keras.KerasTensor:
    """Returns ``x`` normalised over the batch and rectified, with the constants of the code."""
    x = layers.BatchNormalization(
        momentum=0.9,
        epsilon=1e-5,
        gamma_initializer=keras.initializers.RandomNormal(
            mean=1.0, stddev=WEIGHT_STDDEV, seed=seeds.next()
        ),
    )(x)
    return layers.ReLU()(x)
