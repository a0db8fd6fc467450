"""ResNet voters A-D: pre-activation residual networks of 6n + 2 layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from models.layers import LayerSeeds, scaled
from models.preactivation import MOST_BLOCKS, PreactivationLayers, standardise
from validation import check_image_shape, check_integer

__all__ = ["VARIANTS", "ResNetVariant", "resnet"]


@dataclass(frozen=True, kw_only=True)
class ResNetVariant:
    """One row of Table B.2.

    Args:
        stack_n: Residual blocks per stage; the network has 6 * stack_n + 2 layers.
    """

    stack_n: int


VARIANTS: dict[str, ResNetVariant] = {
    "A": ResNetVariant(stack_n=3),
    "B": ResNetVariant(stack_n=5),
    "C": ResNetVariant(stack_n=10),
    "D": ResNetVariant(stack_n=18),
}
"""Dissertation, Table B.2."""


def resnet(
    input_shape: tuple[int, int, int],
    num_classes: int = 10,
    *,
    stack_n: int = 3,
    width: float = 1.0,
    weight_decay: float = 1e-4,
    normalization: tuple[Sequence[float], Sequence[float]] | None = None,
    seed: int = 0,
    name: str = "resnet",
) -> keras.Model:
    """Builds a pre-activation ResNet.

    Four depths of it vote on purified images.

    **Reference**: Dissertation, app. B, Table B.2; He et al., "Identity Mappings in Deep Residual
    Networks", 2016.
    **Differs from the paper**: ends in logits; standardises its input itself, so that it takes
    images in [0, 1].

    Args:
        input_shape: ``(height, width, channels)``.
        num_classes: Number of logits.
        stack_n: Residual blocks in each of the three stages, at least 1.
        width: Multiplier of the channel counts 16, 32 and 64.
        weight_decay: Factor of the L2 penalty on kernels.
        normalization: ``(mean, standard_deviation)`` per channel in [0, 1] units; ``None`` takes
            CIFAR-10's for three channels and Fashion-MNIST's for one.
        seed: Seed of the weights.
        name: Name of the model, which also enters the seed: networks of different names differ.

    Returns:
        Functional model, images ``(batch, *input_shape)`` in [0, 1] to logits
        ``(batch, num_classes)`` of any range.

    Raises:
        ValueError: If ``stack_n`` is not in [1, ``MOST_BLOCKS``], another number is out of range
            or ``input_shape`` is not an image shape.

    Example:
        import keras
        from models.resnet import resnet

        classifier = resnet((28, 28, 1), stack_n=1, width=0.125)
        classifier(keras.random.uniform((2, 28, 28, 1))).shape  # (2, 10)
    """
    check_integer("stack_n", stack_n, at_least=1, at_most=MOST_BLOCKS, such_as=3)
    build = PreactivationLayers(LayerSeeds(seed, name), weight_decay=weight_decay, use_bias=True)
    inputs = keras.Input(check_image_shape(input_shape), name="images")
    x = build.conv(standardise(inputs, normalization), scaled(16, width), 3)
    for stage, filters in enumerate((16, 32, 64)):
        for block in range(stack_n):
            strides = 2 if stage > 0 and block == 0 else 1
            x = build.residual_block(x, scaled(filters, width), strides=strides)
    return keras.Model(inputs, build.logits(x, num_classes), name=name)
