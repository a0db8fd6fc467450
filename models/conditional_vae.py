"""PuVAE's encoder and decoder, which are conditioned on the class of the image."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers, ops

from models.layers import LayerSeeds, check_classifier, check_latent_dim, check_num_classes, scaled
from validation import check_image_shape

__all__ = [
    "MIN_DEVIATION",
    "check_networks",
    "encode_every_class",
    "puvae_decoder",
    "puvae_encoder",
]

KERNEL_SIZE = 7
NUM_MAPS = 32
NUM_STAGES = 3
MOST_CLASSES = 1_000
"""Most classes: an image is encoded and decoded under each."""
MIN_DEVIATION = 1e-6
"""Added to the standard deviation, whose logarithm the divergence takes: softplus underflows."""

_PARTS = ("image_part", "label_part", "head")


def puvae_encoder(
    input_shape: tuple[int, int, int],
    num_classes: int = 10,
    *,
    latent_dim: int = 32,
    width: float = 1.0,
    seed: int = 0,
) -> keras.Model:
    """Builds PuVAE's encoder: dilated convolutions, then dense layers that also see the label.

    Dilation widens the receptive field without the pooling or striding that would lose detail.

    **Reference**: PuVAE, eq. 11 and Table 2, left column.
    **Differs from the paper**: where the label enters is not printed; its one-hot code is appended
    to the flattened maps. The first dense layer is built as two that are added up, one on the maps
    and one without bias on the code, which is the same function with the same initial
    distribution and lets ``encode_every_class`` share the first. The last one's 64 units are two
    layers of 32, one of which ends in the softplus; 1e-6 is added to the standard deviation.

    Args:
        input_shape: ``(height, width, channels)``.
        num_classes: Length of the one-hot code.
        latent_dim: Size of the latent vector; ``width`` does not change it.
        width: Multiplier of the number of maps and of hidden units.
        seed: Non-negative seed of the weights.

    Returns:
        Functional model, ``[images, labels]`` to ``[z_mean, z_deviation]``: images
        ``(batch, *input_shape)`` in [0, 1], one-hot labels ``(batch, num_classes)``; mean of any
        range and positive standard deviation (not a log-variance), both ``(batch, latent_dim)``.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        import keras
        from models.conditional_vae import puvae_encoder

        encoder = puvae_encoder((28, 28, 1), width=0.125)
        labels = keras.ops.one_hot([3, 7], 10)
        z_mean, z_deviation = encoder([keras.random.uniform((2, 28, 28, 1)), labels])
        z_mean.shape  # (2, 32)
    """
    shape = check_image_shape(input_shape)
    _check_counts(num_classes, latent_dim)
    units = scaled(1024, width)
    seeds = LayerSeeds(seed, "puvae_encoder")

    images = keras.Input(shape, name="images")
    x = images
    for _ in range(NUM_STAGES):
        x = layers.Conv2D(
            scaled(NUM_MAPS, width),
            KERNEL_SIZE,
            dilation_rate=2,
            padding="same",
            activation="relu",
            kernel_initializer=seeds.glorot_uniform(),
        )(x)
    x = layers.Flatten()(x)
    # Glorot's limit for the appended code and maps together, as if they were one input.
    limit = math.sqrt(6 / (x.shape[-1] + num_classes + units))

    def appended(name: str | None, use_bias: bool) -> layers.Dense:
        initializer = keras.initializers.RandomUniform(-limit, limit, seed=seeds.next())
        return layers.Dense(units, use_bias=use_bias, kernel_initializer=initializer, name=name)

    image_part = keras.Model(images, appended(None, True)(x), name=_PARTS[0])
    labels = keras.Input((num_classes,), name="labels")
    hidden = layers.Add()([image_part(images), appended(_PARTS[1], False)(labels)])
    head = _latent_head(units, latent_dim, seeds)
    return keras.Model([images, labels], head(hidden), name="puvae_encoder")


def _latent_head(units: int, latent_dim: int, seeds: LayerSeeds) -> keras.Model:
    """Returns the encoder's layers after the first dense one, up to mean and deviation."""
    hidden = keras.Input((units,), name="hidden")
    x = layers.ReLU()(hidden)
    x = layers.Dense(units, activation="relu", kernel_initializer=seeds.glorot_uniform())(x)
    z_mean = layers.Dense(latent_dim, kernel_initializer=seeds.glorot_uniform(), name="z_mean")(x)
    z_deviation = layers.Dense(
        latent_dim, activation="softplus", kernel_initializer=seeds.glorot_uniform()
    )(x)
    z_deviation = layers.Rescaling(1.0, offset=MIN_DEVIATION, name="z_deviation")(z_deviation)
    return keras.Model(hidden, [z_mean, z_deviation], name=_PARTS[2])


def puvae_decoder(
    output_shape: tuple[int, int, int],
    num_classes: int = 10,
    *,
    latent_dim: int = 32,
    width: float = 1.0,
    seed: int = 0,
) -> keras.Model:
    """Builds PuVAE's decoder: from a latent vector and a label to an image of that class.

    **Reference**: PuVAE, eq. 14 and Table 2, right column.
    **Differs from the paper**: the label's one-hot code is appended to the latent vector, which is
    not printed. The 512 units become 4x4 pixels of 32 maps (for images of 25 to 32 pixels; an
    eighth of the image, rounded up, in general). The last layer, printed with 32 maps, has the
    image's channels. Where a doubling overshoots (28 pixels: 8 to 7) the last row and column are
    cut off.

    Args:
        output_shape: ``(height, width, channels)`` of the images.
        num_classes: Length of the one-hot code.
        latent_dim: Size of the latent vector.
        width: Multiplier of the number of maps.
        seed: Non-negative seed of the weights.

    Returns:
        Functional model, ``[latent, labels]`` to images: latent vectors ``(batch, latent_dim)`` of
        any range, one-hot labels ``(batch, num_classes)``, images ``(batch, *output_shape)`` in
        [0, 1].

    Raises:
        ValueError: If an argument is out of range.

    Example:
        import keras
        from models.conditional_vae import puvae_decoder

        decoder = puvae_decoder((28, 28, 1), width=0.125)
        labels = keras.ops.one_hot([3, 7], 10)
        decoder([keras.random.normal((2, 32)), labels]).shape  # (2, 28, 28, 1)
    """
    height, image_width, channels = check_image_shape(output_shape)
    _check_counts(num_classes, latent_dim)
    sizes = [(-(-height // factor), -(-image_width // factor)) for factor in (8, 4, 2, 1)]
    maps = scaled(NUM_MAPS, width)
    seeds = LayerSeeds(seed, "puvae_decoder")

    latent = keras.Input((latent_dim,), name="latent")
    labels = keras.Input((num_classes,), name="labels")
    x = layers.Concatenate()([latent, labels])
    x = layers.Dense(
        sizes[0][0] * sizes[0][1] * maps,
        activation="relu",
        kernel_initializer=seeds.glorot_uniform(),
    )(x)
    x = layers.Reshape((*sizes[0], maps))(x)
    for stage, size in enumerate(sizes[1:], start=1):
        last = stage == NUM_STAGES
        x = layers.Conv2DTranspose(
            channels if last else maps,
            KERNEL_SIZE,
            strides=2,
            padding="same",
            activation="sigmoid" if last else "relu",
            kernel_initializer=seeds.glorot_uniform(),
        )(x)
        rows, columns = x.shape[1] - size[0], x.shape[2] - size[1]
        if rows or columns:
            x = layers.Cropping2D(((0, rows), (0, columns)))(x)
    return keras.Model([latent, labels], x, name="puvae_decoder")


def encode_every_class(encoder: keras.Model, images: Any, training: bool = False) -> Any:
    """Encodes each image under each label, at little more than the cost of one label.

    The convolutions and the product of the flattened maps with the first dense layer, together
    nearly all of the encoder, do not depend on the label; they run once for each image.

    **Reference**: PuVAE, eqs. 11 and 20.
    **Differs from the paper**: only in the order of the computation.

    Args:
        encoder: From ``puvae_encoder``.
        images: ``(batch, height, width, channels)`` in [0, 1].
        training: Passed on to the networks.

    Returns:
        ``[z_mean, z_deviation]``, both ``(batch * num_classes, latent_dim)``; row
        ``i * num_classes + k`` is image i under label k.
    """
    image_part, label_part, head = (encoder.get_layer(name) for name in _PARTS)
    num_classes = label_part.kernel.shape[0]
    codes = ops.eye(num_classes, dtype=label_part.compute_dtype)
    hidden = image_part(images, training=training)[:, None, :] + label_part(codes)
    return head(ops.reshape(hidden, (-1, hidden.shape[-1])), training=training)


def check_networks(
    encoder: keras.Model, decoder: keras.Model, classifier: keras.Model | None
) -> None:
    """Raises a ValueError unless PuVAE's networks agree on images, classes and latent vectors.

    Args:
        encoder: ``[images, labels]`` to ``[z_mean, z_deviation]``.
        decoder: ``[latent, labels]`` to images.
        classifier: The source classifier, images to logits; ``None`` is not checked.

    Raises:
        ValueError: If two of them do not fit each other, or the classifier ends in a softmax.
    """
    images, labels = encoder.input_shape
    fits = encoder.output_shape == [decoder.input_shape[0]] * 2 and labels == decoder.input_shape[1]
    if not fits or images != decoder.output_shape:
        raise ValueError(
            "Expected an encoder from images and labels to two latent vectors and a decoder from "
            f"one and labels back to images, received {encoder.input_shape} to "
            f"{encoder.output_shape} and {decoder.input_shape} to {decoder.output_shape}. Build "
            "both for the same image shape, num_classes and latent_dim."
        )
    if classifier is None:
        return
    check_classifier(classifier)
    if classifier.input_shape != images or classifier.output_shape != labels:
        raise ValueError(
            f"Expected a source classifier from {images} to {labels}, received "
            f"{classifier.input_shape} to {classifier.output_shape}. Train one on the same data."
        )


def _check_counts(num_classes: int, latent_dim: int) -> None:
    check_num_classes(num_classes, at_most=MOST_CLASSES)
    check_latent_dim(latent_dim)
