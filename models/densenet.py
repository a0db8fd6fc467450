"""DenseNet voters A-D: densely connected networks with bottlenecks and compression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import layers

from models.layers import MOST_UNITS, LayerSeeds, scaled
from models.preactivation import MOST_BLOCKS, PreactivationLayers, standardise
from validation import check_image_shape, check_integer

__all__ = ["VARIANTS", "DenseNetVariant", "densenet", "layers_per_block"]

NUM_BLOCKS = 3


@dataclass(frozen=True, kw_only=True)
class DenseNetVariant:
    """One row of Table B.3.

    Args:
        depth: Printed depth; see ``layers_per_block``.
        growth_rate: Channels that each bottleneck adds.
    """

    depth: int
    growth_rate: int


VARIANTS: dict[str, DenseNetVariant] = {
    "A": DenseNetVariant(depth=50, growth_rate=12),
    "B": DenseNetVariant(depth=50, growth_rate=24),
    "C": DenseNetVariant(depth=100, growth_rate=12),
    "D": DenseNetVariant(depth=100, growth_rate=24),
}
"""Dissertation, Table B.3."""


def layers_per_block(depth: int) -> int:
    """Returns how many bottlenecks each of the three dense blocks has at a printed depth.

    **Reference**: Dissertation, app. B, Table B.3; Huang et al., "Densely Connected Convolutional
    Networks", 2017: a bottleneck counts as two layers, so depth = 6 * bottlenecks + 4.
    **Differs from the paper**: nothing. The printed depth 50 is not of this form and gives 7
    bottlenecks, a network of 46 layers.

    Args:
        depth: Printed depth, at least 10.

    Returns:
        ``(depth - 4) // 6``, at least 1.

    Raises:
        ValueError: If ``depth`` leaves no bottleneck.
    """
    # Four layers, and three blocks of at least one bottleneck of two layers each.
    check_integer("depth", depth, at_least=10, at_most=MOST_BLOCKS * 6 + 4, such_as=100)
    return (depth - 4) // 6


def densenet(
    input_shape: tuple[int, int, int],
    num_classes: int = 10,
    *,
    num_layers: int = 7,
    growth_rate: int = 12,
    width: float = 1.0,
    weight_decay: float = 1e-4,
    normalization: tuple[Sequence[float], Sequence[float]] | None = None,
    seed: int = 0,
    name: str = "densenet",
) -> keras.Model:
    """Builds a DenseNet-BC.

    Four combinations of depth and growth rate vote on purified images.

    **Reference**: Dissertation, app. B, Table B.3; Huang et al., "Densely Connected Convolutional
    Networks", 2017 (bottlenecks of 4k channels, compression by half).
    **Differs from the paper**: ends in logits; standardises its input itself, so that it takes
    images in [0, 1].

    Args:
        input_shape: ``(height, width, channels)``, at least 4x4 pixels.
        num_classes: Number of logits.
        num_layers: Bottlenecks in each of the three dense blocks, at least 1; ``layers_per_block``
            gives it for a printed depth.
        growth_rate: Channels that each bottleneck adds, at least 1.
        width: Multiplier of the growth rate, rounded to a whole number; all other channel counts
            follow from it.
        weight_decay: Factor of the L2 penalty on kernels.
        normalization: ``(mean, standard_deviation)`` per channel in [0, 1] units; ``None`` takes
            CIFAR-10's for three channels and Fashion-MNIST's for one.
        seed: Seed of the weights.
        name: Name of the model, which also enters the seed: networks of different names differ.

    Returns:
        Functional model, images ``(batch, *input_shape)`` in [0, 1] to logits
        ``(batch, num_classes)`` of any range.

    Raises:
        ValueError: If ``num_layers`` is not in [1, ``MOST_BLOCKS``], another number is out of range
            or the images are too small.

    Example:
        import keras
        from models.densenet import densenet

        classifier = densenet((28, 28, 1), num_layers=1, width=0.5)
        classifier(keras.random.uniform((2, 28, 28, 1))).shape  # (2, 10)
    """
    check_integer("num_layers", num_layers, at_least=1, at_most=MOST_BLOCKS, such_as=7)
    check_integer("growth_rate", growth_rate, at_least=1, at_most=MOST_UNITS, such_as=12)
    growth_rate = scaled(growth_rate, width, multiple=1)
    build = PreactivationLayers(LayerSeeds(seed, name), weight_decay=weight_decay, use_bias=False)
    inputs = keras.Input(check_image_shape(input_shape, minimum_size=4), name="images")
    x = build.conv(standardise(inputs, normalization), 2 * growth_rate, 3)
    for block in range(NUM_BLOCKS):
        for _ in range(num_layers):
            x = _bottleneck(x, growth_rate, build)
        if block < NUM_BLOCKS - 1:
            x = _transition(x, build)
    return keras.Model(inputs, build.logits(x, num_classes), name=name)


def _bottleneck(
    x: keras.KerasTensor, growth_rate: int, build: PreactivationLayers
) -> keras.KerasTensor:
    """Prepends ``growth_rate`` new channels to those of ``x``."""
    new = build.conv(build.activate(x), 4 * growth_rate, 1)
    new = build.conv(build.activate(new), growth_rate, 3)
    return layers.Concatenate()([new, x])


def _transition(x: keras.KerasTensor, build: PreactivationLayers) -> keras.KerasTensor:
    """Halves channels, height and width."""
    x = build.conv(build.activate(x), x.shape[-1] // 2, 1)
    return layers.AveragePooling2D(2)(x)
