"""The target classifiers A, B and C: the plain networks that the attacks are aimed at."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from models.layers import LayerSeeds, check_num_classes, scaled
from validation import check_choice, check_image_shape

__all__ = ["STRIDES", "classifier_a", "classifier_b", "classifier_c"]

STRIDES = ("one", "printed")
"""Strides of target B's colour column."""


def classifier_a(
    input_shape: tuple[int, int, int],
    num_classes: int = 10,
    *,
    width: float = 1.0,
    seed: int = 0,
) -> keras.Model:
    """Builds target classifier A.

    The first of three networks of different design over which attack results are averaged.

    **Reference**: Dissertation, app. B, Table B.1, columns A. The one-channel column is network A
    of Samangouei et al., "Defense-GAN", 2018, from which the padding is taken.
    **Differs from the paper**: ends in logits (the softmax belongs to the loss).

    Args:
        input_shape: ``(height, width, channels)``; one channel takes the Fashion-MNIST column
            (at least 5x5 pixels), three the CIFAR-10 column (at least 8x8).
        num_classes: Number of logits.
        width: Multiplier of all hidden channel counts.
        seed: Seed of weights and dropout.

    Returns:
        Functional model named ``"A"``, images ``(batch, *input_shape)`` in [0, 1] to logits
        ``(batch, num_classes)`` of any range.

    Raises:
        ValueError: If the network has no column for ``input_shape``.

    Example:
        import keras
        from models.classifiers import classifier_a

        classifier = classifier_a((28, 28, 1), width=0.125)
        classifier(keras.random.uniform((2, 28, 28, 1))).shape  # (2, 10)
    """
    seeds = LayerSeeds(seed, "A")
    if _channels(input_shape) == 1:
        return _two_conv_grey(input_shape, num_classes, (64, 5), width, seeds, "A")
    stages = ((32, 32), (64, 64), (128, 128))
    return _colour(input_shape, num_classes, stages, "elu", width, seeds, "A")


def classifier_b(
    input_shape: tuple[int, int, int],
    num_classes: int = 10,
    *,
    width: float = 1.0,
    strides: str = "one",
    seed: int = 0,
) -> keras.Model:
    """Builds target classifier B.

    For one channel a network of strided convolutions behind dropout on the pixels; for three, A
    with ReLU in place of ELU.

    **Reference**: Dissertation, app. B, Table B.1, columns B. The one-channel column is network B
    of Samangouei et al., "Defense-GAN", 2018, from which the padding is taken.
    **Differs from the paper**: ends in logits; the colour column uses stride 1 throughout, because
    the printed stride 2 of its first four convolutions leaves one pixel before the second pooling,
    which then has nothing to pool. ``strides="printed"`` keeps those strides and pads the poolings.

    Args:
        input_shape: ``(height, width, channels)``; one channel takes the Fashion-MNIST column
            (at least 27x27 pixels), three the CIFAR-10 column (at least 8x8).
        num_classes: Number of logits.
        width: Multiplier of all hidden channel counts.
        strides: ``"one"`` or ``"printed"``, for three channels.
        seed: Seed of weights and dropout.

    Returns:
        Functional model named ``"B"``, images ``(batch, *input_shape)`` in [0, 1] to logits
        ``(batch, num_classes)`` of any range.

    Raises:
        ValueError: If the network has no column for ``input_shape``, ``strides`` is unknown, or it
            is ``"printed"`` for one channel, where the printed strides are always used.

    Example:
        import keras
        from models.classifiers import classifier_b

        classifier = classifier_b((28, 28, 1), width=0.125)
        classifier(keras.random.uniform((2, 28, 28, 1))).shape  # (2, 10)
    """
    check_choice("strides", strides, STRIDES)
    seeds = LayerSeeds(seed, "B")
    if _channels(input_shape) == 3:
        stages = ((32, 32), (64, 64), (128, 128))
        strided = 2 if strides == "printed" else 0
        return _colour(
            input_shape, num_classes, stages, "relu", width, seeds, "B", strided_stages=strided
        )
    if strides == "printed":
        raise ValueError(
            "Expected strides='one' for one-channel images, received 'printed'. The one-channel "
            "column is always built with its printed strides: leave strides out."
        )
    inputs = keras.Input(check_image_shape(input_shape, minimum_size=27), name="images")
    x = seeds.dropout(0.2)(inputs)
    x = _conv(x, scaled(64, width), 8, seeds, strides=2, padding="same")
    x = _conv(x, scaled(128, width), 6, seeds, strides=2, padding="valid")
    x = _conv(x, scaled(128, width), 5, seeds, padding="valid")
    x = seeds.dropout(0.5)(layers.Flatten()(x))
    return keras.Model(inputs, _logits(x, num_classes, seeds), name="B")


def classifier_c(
    input_shape: tuple[int, int, int],
    num_classes: int = 10,
    *,
    width: float = 1.0,
    seed: int = 0,
) -> keras.Model:
    """Builds target classifier C.

    For one channel, A with more and smaller filters in the first convolution; for three, A with two
    stages instead of three.

    **Reference**: Dissertation, app. B, Table B.1, columns C. The one-channel column is network C
    of Samangouei et al., "Defense-GAN", 2018, from which the padding and the hidden width are
    taken.
    **Differs from the paper**: ends in logits; the hidden layer printed as "Dense(0.25)" is
    Dense(128), as in the network that the column repeats.

    Args:
        input_shape: ``(height, width, channels)``; one channel takes the Fashion-MNIST column
            (at least 5x5 pixels), three the CIFAR-10 column (at least 4x4).
        num_classes: Number of logits.
        width: Multiplier of all hidden channel counts.
        seed: Seed of weights and dropout.

    Returns:
        Functional model named ``"C"``, images ``(batch, *input_shape)`` in [0, 1] to logits
        ``(batch, num_classes)`` of any range.

    Raises:
        ValueError: If the network has no column for ``input_shape``.

    Example:
        import keras
        from models.classifiers import classifier_c

        classifier = classifier_c((28, 28, 1), width=0.125)
        classifier(keras.random.uniform((2, 28, 28, 1))).shape  # (2, 10)
    """
    seeds = LayerSeeds(seed, "C")
    if _channels(input_shape) == 1:
        return _two_conv_grey(input_shape, num_classes, (128, 3), width, seeds, "C")
    stages = ((32, 32), (64, 128))
    return _colour(input_shape, num_classes, stages, "elu", width, seeds, "C")


def _channels(input_shape: Sequence[int]) -> int:
    return check_image_shape(input_shape, channels=(1, 3))[2]


def _conv(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    seeds: LayerSeeds,
    *,
    strides: int = 1,
    padding: str = "same",
    activation: str = "relu",
) -> keras.KerasTensor:
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        activation=activation,
        kernel_initializer=seeds.glorot_uniform(),
    )(x)


def _logits(x: keras.KerasTensor, num_classes: int, seeds: LayerSeeds) -> keras.KerasTensor:
    check_num_classes(num_classes)
    return layers.Dense(num_classes, kernel_initializer=seeds.glorot_uniform(), name="logits")(x)


def _two_conv_grey(
    input_shape: tuple[int, int, int],
    num_classes: int,
    first: tuple[int, int],
    width: float,
    seeds: LayerSeeds,
    name: str,
) -> keras.Model:
    """Builds the one-channel column that A and C share; ``first`` is (filters, kernel size)."""
    filters, kernel_size = first
    inputs = keras.Input(check_image_shape(input_shape, minimum_size=5), name="images")
    x = _conv(inputs, scaled(filters, width), kernel_size, seeds)
    x = _conv(x, scaled(64, width), 5, seeds, strides=2, padding="valid")
    x = seeds.dropout(0.25)(layers.Flatten()(x))
    x = layers.Dense(
        scaled(128, width), activation="relu", kernel_initializer=seeds.glorot_uniform()
    )(x)
    x = seeds.dropout(0.5)(x)
    return keras.Model(inputs, _logits(x, num_classes, seeds), name=name)


def _colour(
    input_shape: tuple[int, int, int],
    num_classes: int,
    stages: Sequence[Sequence[int]],
    activation: str,
    width: float,
    seeds: LayerSeeds,
    name: str,
    *,
    strided_stages: int = 0,
) -> keras.Model:
    """Builds a three-channel column: stages of convolutions, normalisation and pooling.

    The first ``strided_stages`` stages have convolutions of stride 2; all poolings are then padded.
    """
    padding = "same" if strided_stages else "valid"
    minimum_size = 1 if strided_stages else 2 ** len(stages)
    inputs = keras.Input(check_image_shape(input_shape, minimum_size=minimum_size), name="images")
    x = inputs
    for index, stage in enumerate(stages):
        for filters in stage:
            stride = 2 if index < strided_stages else 1
            x = _conv(x, scaled(filters, width), 3, seeds, strides=stride, activation=activation)
            x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(2, padding=padding)(x)
        x = seeds.dropout(0.2)(x)
    return keras.Model(inputs, _logits(layers.Flatten()(x), num_classes, seeds), name=name)
