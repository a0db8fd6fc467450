"""U-Nets: encoder and decoder joined by concatenations at every depth."""

from __future__ import annotations

import keras
from keras import layers

from models.layers import LayerSeeds, scaled
from validation import check_image_shape, check_integer

__all__ = ["NUM_CONCATENATIONS", "unet"]

ENCODER_FILTERS = (64, 128, 256, 512, 512)
KERNEL_SIZE = 4

NUM_CONCATENATIONS = len(ENCODER_FILTERS) - 1
"""Number of skip connections: all encoder stages but the last, which is the bottleneck."""


def unet(
    input_shape: tuple[int, int, int],
    *,
    removed_concatenations: int = 0,
    width: float = 1.0,
    name: str = "unet",
    seed: int = 0,
) -> keras.Model:
    """Builds the generator of Defense-CycleGAN, complete or with concatenations removed.

    Five strided convolutions lead to a bottleneck of one pixel (for images of up to 32 pixels),
    five transposed ones back. Before each of the last four, the encoder's features of that size are
    concatenated, so that detail can bypass the bottleneck.

    **Reference**: Defense-CycleGAN, sec. III-B, IV-C and fig. 3; Dissertation, ch. 4.3.2, 4.4.4 and
    fig. 4.6, "Cyc" and "Cyc_1" to "Cyc_4".
    **Differs from the paper**: the figure prints kernel 4, stride 2, ReLU in the encoder, four
    concatenations and a crop before each, but its sizes are illegible. Filter counts are those of
    the autoencoder drawn beside it (Table A.1) with a fifth stage of 512. Transposed convolutions
    are unpadded and cropped to the size of the features they are concatenated with: one row and
    column at the top and left, the rest at the bottom and right. The last layer is linear: with a
    sigmoid the cycle loss loses its gradient on dark images. Where a concatenation is removed, the
    transposed convolution before it has twice its filters, which keeps every later shape.

    Args:
        input_shape: ``(height, width, channels)``.
        removed_concatenations: 0 to 4; k removes the concatenations 1 to k, of which 1 is the
            outermost. 4 leaves a sequential network, without a skip.
        width: Multiplier of all hidden channel counts.
        name: Name of the model, which also enters the seed: networks of different names differ.
        seed: Non-negative seed of the weights.

    Returns:
        Functional model, images ``(batch, *input_shape)`` in [0, 1] to images of the same shape and
        any range.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        import keras
        from models.unet import unet

        generator = unet((28, 28, 1), width=0.125)
        generator(keras.random.uniform((2, 28, 28, 1))).shape  # (2, 28, 28, 1)
    """
    check_integer("removed_concatenations", removed_concatenations, at_most=NUM_CONCATENATIONS)
    shape = check_image_shape(input_shape)
    seeds = LayerSeeds(seed, name)
    inputs = keras.Input(shape, name="images")
    stages = []
    x = inputs
    for depth, filters in enumerate(ENCODER_FILTERS, start=1):
        x = layers.Conv2D(
            scaled(filters, width),
            KERNEL_SIZE,
            strides=2,
            padding="same",
            activation="relu",
            kernel_initializer=seeds.glorot_uniform(),
            name=f"encoder_{depth}",
        )(x)
        stages.append(x)
    for depth in range(NUM_CONCATENATIONS, 0, -1):
        encoded = stages[depth - 1]
        removed = depth <= removed_concatenations
        filters = encoded.shape[-1] * (2 if removed else 1)
        x = _transposed_conv(x, filters, "relu", encoded.shape, seeds, f"decoder_{depth}")
        if not removed:
            x = layers.Concatenate(name=f"concatenate_{depth}")([x, encoded])
    x = _transposed_conv(x, shape[2], "linear", inputs.shape, seeds, "purified")
    return keras.Model(inputs, x, name=name)


def _transposed_conv(
    x: keras.KerasTensor,
    filters: int,
    activation: str,
    target_shape: tuple[int | None, ...],
    seeds: LayerSeeds,
    name: str,
) -> keras.KerasTensor:
    """Returns an unpadded transposed convolution of ``x``, cropped to the given shape."""
    x = layers.Conv2DTranspose(
        filters,
        KERNEL_SIZE,
        strides=2,
        padding="valid",
        activation=activation,
        kernel_initializer=seeds.glorot_uniform(),
        name=name,
    )(x)
    surplus = [have - want for have, want in zip(x.shape[1:3], target_shape[1:3], strict=True)]
    # One at the top and left undoes the padding of the strided convolution; n becomes 2n + 2.
    crops = tuple((1, total - 1) for total in surplus)
    return layers.Cropping2D(crops, name=f"{name}_crop")(x)
