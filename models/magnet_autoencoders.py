"""MagNet's two small denoising autoencoders."""

from __future__ import annotations

import keras
from keras import layers

from models.layers import LayerSeeds, scaled
from validation import check_choice, check_image_shape

__all__ = ["VARIANTS", "magnet_autoencoder"]

NUM_MAPS = 3

VARIANTS = ("I", "II")
"""AE-I, which works at half the resolution inside, and AE-II, which keeps the resolution."""


def magnet_autoencoder(
    input_shape: tuple[int, int, int],
    *,
    variant: str = "I",
    width: float = 1.0,
    seed: int = 0,
) -> keras.Model:
    """Builds one of MagNet's autoencoders, a few narrow convolutions with sigmoids.

    Its few maps are a bottleneck that removes perturbations.

    **Reference**: Meng and Chen, "MagNet", 2017, the architectures of the defensive devices:
    autoencoder I (MNIST) and II (MNIST's second detector, CIFAR-10); the baseline of PuVAE, eq. 5.
    **Differs from the paper**: the last layer has the image's channels for any data set. The
    penalty on activations is added in training, not by the network.

    Args:
        input_shape: ``(height, width, channels)``; height and width even for variant I.
        variant: ``"I"`` or ``"II"``.
        width: Multiplier of the number of maps, 3 as published.
        seed: Non-negative seed of the weights.

    Returns:
        Functional model, images ``(batch, *input_shape)`` in [0, 1] to images of the same shape and
        range; a plain chain of layers.

    Raises:
        ValueError: If the variant is unknown or an argument is out of range for it.

    Example:
        import keras
        from models.magnet_autoencoders import magnet_autoencoder

        autoencoder = magnet_autoencoder((28, 28, 1), variant="I")
        autoencoder(keras.random.uniform((2, 28, 28, 1))).shape  # (2, 28, 28, 1)
    """
    check_choice("variant", variant, VARIANTS)
    shape = check_image_shape(input_shape)
    if variant == "I" and (shape[0] % 2 or shape[1] % 2):
        raise ValueError(
            f"Expected even height and width for MagNet's autoencoder I, received {shape}. Pad the "
            "images or use variant 'II'."
        )
    maps = scaled(NUM_MAPS, width)
    name = f"magnet_autoencoder_{variant.lower()}"
    seeds = LayerSeeds(seed, name)

    def convolution(filters: int) -> layers.Conv2D:
        return layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="sigmoid",
            kernel_initializer=seeds.glorot_uniform(),
        )

    inputs = keras.Input(shape, name="images")
    x = convolution(maps)(inputs)
    if variant == "I":
        x = layers.AveragePooling2D(2)(x)
        x = convolution(maps)(x)
        x = convolution(maps)(x)
        x = layers.UpSampling2D(2)(x)
    x = convolution(maps)(x)
    x = convolution(shape[2])(x)
    return keras.Model(inputs, x, name=name)
