"""Networks for training GANs: a patch discriminator, and the four networks of a CycleGAN."""

from __future__ import annotations

import keras
from keras import layers

from models.layers import LayerSeeds, scaled
from models.unet import unet
from validation import check_flag, check_image_shape

__all__ = ["PATCH_STAGES", "cyclegan_networks", "patch_discriminator"]

PATCH_STAGES = ((64, 2), (128, 2), (256, 1))
"""(filters, stride) of the hidden stages of a patch discriminator, at width 1."""

KERNEL_SIZE = 4
LEAKY_SLOPE = 0.2


def patch_discriminator(
    input_shape: tuple[int, int, int],
    *,
    sigmoid: bool = False,
    width: float = 1.0,
    name: str = "patch_discriminator",
    seed: int = 0,
) -> keras.Model:
    """Builds a discriminator that scores overlapping patches of an image, not the image as a whole.

    Each score sees a part of the image, so the discriminator judges texture, where noise and blur
    show; content is left to other losses.

    **Reference**: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks",
    2017, sec. 3.2.2; Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent
    Adversarial Networks", 2017, sec. 4.
    **Differs from the paper**: two stages of stride 2 instead of three, for images of 28 to 32
    pixels, and no normalisation.

    Args:
        input_shape: ``(height, width, channels)``.
        sigmoid: Whether scores pass a sigmoid; the least-squares loss needs none.
        width: Multiplier of all hidden channel counts.
        name: Name of the model, which also enters the seed: networks of different names differ.
        seed: Non-negative seed of the weights.

    Returns:
        Functional model, images ``(batch, *input_shape)`` of any range to scores
        ``(batch, rows, columns, 1)``, one for each patch (8x8 for images of 32x32, 7x7 for 28x28),
        of any range, or in [0, 1] with ``sigmoid``.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        import keras
        from models.gan_networks import patch_discriminator

        discriminator = patch_discriminator((28, 28, 1), width=0.125)
        discriminator(keras.random.uniform((2, 28, 28, 1))).shape  # (2, 7, 7, 1)
    """
    check_flag("sigmoid", sigmoid)
    seeds = LayerSeeds(seed, name)
    inputs = keras.Input(check_image_shape(input_shape), name="images")
    x = inputs
    for filters, stride in PATCH_STAGES:
        x = layers.Conv2D(
            scaled(filters, width),
            KERNEL_SIZE,
            strides=stride,
            padding="same",
            kernel_initializer=seeds.glorot_uniform(),
        )(x)
        x = layers.LeakyReLU(negative_slope=LEAKY_SLOPE)(x)
    scores = layers.Conv2D(
        1,
        KERNEL_SIZE,
        padding="same",
        activation="sigmoid" if sigmoid else "linear",
        kernel_initializer=seeds.glorot_uniform(),
        name="scores",
    )(x)
    return keras.Model(inputs, scores, name=name)


def cyclegan_networks(
    input_shape: tuple[int, int, int],
    *,
    removed_concatenations: int = 0,
    width: float = 1.0,
    sigmoid: bool = False,
    seed: int = 0,
) -> tuple[keras.Model, keras.Model, keras.Model, keras.Model]:
    """Builds the networks of Defense-CycleGAN: two U-Nets and two patch discriminators.

    **Reference**: Defense-CycleGAN, sec. III-A and III-B; Dissertation, ch. 4.3.1-4.3.2.
    **Differs from the paper**: the discriminators are not described; they are patch discriminators,
    as in CycleGAN. Networks of one kind differ in their weights only.

    Args:
        input_shape: ``(height, width, channels)``.
        removed_concatenations: 0 to 4, of both generators; see ``unet``.
        width: Multiplier of all hidden channel counts.
        sigmoid: Whether the discriminators' scores pass a sigmoid.
        seed: Non-negative seed of the weights.

    Returns:
        Generators A and B, images to images; discriminators A and B, images to scores.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        import keras
        from models.gan_networks import cyclegan_networks

        generator_a, generator_b, *discriminators = cyclegan_networks((28, 28, 1), width=0.125)
        images = keras.random.uniform((2, 28, 28, 1))
        generator_b(generator_a(images)).shape  # (2, 28, 28, 1)
    """
    depth = removed_concatenations
    generator_a, generator_b = (
        unet(input_shape, removed_concatenations=depth, width=width, name=name, seed=seed)
        for name in ("generator_a", "generator_b")
    )
    discriminator_a, discriminator_b = (
        patch_discriminator(input_shape, sigmoid=sigmoid, width=width, name=name, seed=seed)
        for name in ("discriminator_a", "discriminator_b")
    )
    return generator_a, generator_b, discriminator_a, discriminator_b
