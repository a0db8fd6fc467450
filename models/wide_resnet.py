"""Wide-ResNet voters A-D: shallow residual networks with many channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from models.layers import LayerSeeds, scaled
from models.preactivation import MOST_BLOCKS, PreactivationLayers, standardise
from validation import check_image_shape, check_integer

__all__ = ["VARIANTS", "WideResNetVariant", "blocks_per_group", "wide_resnet"]

STEM_FILTERS = 16


@dataclass(frozen=True, kw_only=True)
class WideResNetVariant:
    """One row of Table B.4.

    Args:
        depth: Printed depth; see ``blocks_per_group``.
        widen_factor: Printed "wide", the multiple of 16, 32 and 64 channels.
    """

    depth: int
    widen_factor: int


VARIANTS: dict[str, WideResNetVariant] = {
    "A": WideResNetVariant(depth=8, widen_factor=8),
    "B": WideResNetVariant(depth=16, widen_factor=8),
    "C": WideResNetVariant(depth=16, widen_factor=10),
    "D": WideResNetVariant(depth=28, widen_factor=10),
}
"""Dissertation, Table B.4."""


def blocks_per_group(depth: int) -> int:
    """Returns how many residual blocks each of the three groups has at a printed depth.

    **Reference**: Dissertation, app. B, Table B.4; Zagoruyko and Komodakis, "Wide Residual
    Networks", 2016: depth = 6 * blocks + 4.
    **Differs from the paper**: nothing. The printed depth 8 is not of this form and would leave no
    block; each group then has one, as in the public script that the dissertation used, so that
    "depth 8" is a network of 10 layers.

    Args:
        depth: Printed depth, positive.

    Returns:
        ``(depth - 4) // 6``, but at least 1.

    Raises:
        ValueError: If ``depth`` is below 1.
    """
    check_integer("depth", depth, at_least=1, at_most=MOST_BLOCKS * 6 + 4, such_as=28)
    return max(1, (depth - 4) // 6)


def wide_resnet(
    input_shape: tuple[int, int, int],
    num_classes: int = 10,
    *,
    num_blocks: int = 4,
    widen_factor: int = 10,
    width: float = 1.0,
    weight_decay: float = 5e-4,
    normalization: tuple[Sequence[float], Sequence[float]] | None = None,
    seed: int = 0,
    name: str = "wide_resnet",
) -> keras.Model:
    """Builds a Wide-ResNet; the defaults are WRN-28-10.

    Four combinations of depth and widening vote on purified images.

    **Reference**: Dissertation, app. B, Table B.4; Zagoruyko and Komodakis, "Wide Residual
    Networks", 2016.
    **Differs from the paper**: ends in logits; standardises its input itself, so that it takes
    images in [0, 1]; averages over the whole last feature map, which is the printed 8x8 pooling for
    32x32 images and also fits 28x28.

    Args:
        input_shape: ``(height, width, channels)``.
        num_classes: Number of logits.
        num_blocks: Residual blocks in each of the three groups, at least 1; ``blocks_per_group``
            gives it for a printed depth.
        widen_factor: Multiple of 16, 32 and 64 channels, at least 1.
        width: Multiplier of the widened channel counts. The stem always has 16 channels: width 1/8
            of widen factor 8 is a network of widen factor 1.
        weight_decay: Factor of the L2 penalty on kernels.
        normalization: ``(mean, standard_deviation)`` per channel in [0, 1] units; ``None`` takes
            CIFAR-10's for three channels and Fashion-MNIST's for one.
        seed: Seed of the weights.
        name: Name of the model, which also enters the seed: networks of different names differ.

    Returns:
        Functional model, images ``(batch, *input_shape)`` in [0, 1] to logits
        ``(batch, num_classes)`` of any range.

    Raises:
        ValueError: If ``num_blocks`` is not in [1, ``MOST_BLOCKS``], another number is out of range
            or ``input_shape`` is not an image shape.

    Example:
        import keras
        from models.wide_resnet import wide_resnet

        classifier = wide_resnet((28, 28, 1), num_blocks=1, widen_factor=8, width=0.125)
        classifier(keras.random.uniform((2, 28, 28, 1))).shape  # (2, 10)
    """
    check_integer("num_blocks", num_blocks, at_least=1, at_most=MOST_BLOCKS, such_as=4)
    check_integer("widen_factor", widen_factor, at_least=1, at_most=100, such_as=10)
    build = PreactivationLayers(LayerSeeds(seed, name), weight_decay=weight_decay, use_bias=False)
    inputs = keras.Input(check_image_shape(input_shape), name="images")
    x = build.conv(standardise(inputs, normalization), STEM_FILTERS, 3)
    for group, base in enumerate((16, 32, 64)):
        for block in range(num_blocks):
            strides = 2 if group > 0 and block == 0 else 1
            x = build.residual_block(x, scaled(base * widen_factor, width), strides=strides)
    return keras.Model(inputs, build.logits(x, num_classes, use_bias=False), name=name)
