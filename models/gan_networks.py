"""Networks of adversarial training: a patch discriminator, and the four of a CycleGAN."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from models.layers import LayerSeeds, check_image_shape, scaled
from models.unet import unet

__all__ = ["PATCH_STAGES", "cyclegan_networks", "patch_discriminator"]

PATCH_STAGES = ((64, 2), (128, 2), (256, 1))
"""(filters, stride) of the hidden stages of a patch discriminator."""

KERNEL_SIZE = 4
LEAKY_SLOPE = 0.2


def patch_discriminator(
    input_shape: tuple[int, int, int],
    *,
    stages: Sequence[tuple[int, int]] = PATCH_STAGES,
    sigmoid: bool = False,
    width: float = 1.0,
    name: str = "patch_discriminator",
    seed: int = 0,
) -> keras.Model:
    """Build a discriminator that scores overlapping patches of an image, not the image as a whole.

    Each score sees a part of the image, so what is judged is texture, where noise and blur show;
    content is left to other losses.

    **Reference**: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks",
    2017, sec. 3.2.2; Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent
    Adversarial Networks", 2017, sec. 4.
    **Differs from the paper**: two stages of stride 2 instead of three, for images of 28 to 32
    pixels, and no normalisation.

    Args:
        input_shape: `(height, width, channels)`.
        stages: (filters, stride) of each hidden convolution, at width 1.
        sigmoid: whether scores pass a sigmoid; least squares do without.
        width: multiplier of all hidden channel counts.
        name: name of the model, which also separates its weights from those of another
            discriminator of the same seed.
        seed: non-negative seed of the weights.

    Returns:
        Functional model, images `(batch, *input_shape)` of any range to scores
        `(batch, rows, columns, 1)`, one for each patch (8x8 for images of 32x32, 7x7 for 28x28), of
        any range, or in [0, 1] with `sigmoid`.

    Raises:
        ValueError: if there is no stage or an argument is out of range.
    """
    if not stages:
        raise ValueError(
            "Expected at least one hidden stage in `stages`, received none. Leave it out for "
            f"{PATCH_STAGES}."
        )
    seeds = LayerSeeds(seed, name)
    inputs = keras.Input(check_image_shape(input_shape), name="images")
    x = inputs
    for filters, stride in stages:
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
    discriminator_width: float | None = None,
    sigmoid: bool = False,
    seed: int = 0,
) -> tuple[keras.Model, keras.Model, keras.Model, keras.Model]:
    """Build the networks of Defense-CycleGAN: alike in pairs, each with weights of its own.

    **Reference**: Defense-CycleGAN, sec. III-A and III-B; Dissertation, ch. 4.3.1-4.3.2.
    **Differs from the paper**: the discriminators are not described; they are patch discriminators,
    as CycleGANs have them.

    Args:
        input_shape: `(height, width, channels)`.
        removed_concatenations: 0 to 4, of both generators; see `unet`.
        width: multiplier of all hidden channel counts.
        discriminator_width: the same for the discriminators; None is `width`.
        sigmoid: whether the discriminators' scores pass a sigmoid.
        seed: non-negative seed of the weights.

    Returns:
        Generators A and B, images to images; discriminators A and B, images to scores.

    Raises:
        ValueError: if an argument is out of range.
    """
    depth = removed_concatenations
    judge_width = width if discriminator_width is None else discriminator_width
    generator_a, generator_b = (
        unet(input_shape, removed_concatenations=depth, width=width, name=name, seed=seed)
        for name in ("generator_a", "generator_b")
    )
    discriminator_a, discriminator_b = (
        patch_discriminator(input_shape, sigmoid=sigmoid, width=judge_width, name=name, seed=seed)
        for name in ("discriminator_a", "discriminator_b")
    )
    return generator_a, generator_b, discriminator_a, discriminator_b
