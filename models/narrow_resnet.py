"""The narrow residual network of the CIFAR-10 challenge, the classifier that CAP-GAN protects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from models.layers import LayerSeeds, scaled
from models.preactivation import MOST_BLOCKS, PreactivationLayers
from validation import check_image_shape, check_integer

__all__ = ["PadChannels", "StandardiseImages", "narrow_resnet"]

STEM_FILTERS = 16
STAGE_FILTERS = (16, 32, 64)
LEAKY_SLOPE = 0.1


@keras.saving.register_keras_serializable(package="cleanroom")
class StandardiseImages(layers.Layer):
    """Gives each image mean 0 and variance 1, over its pixels and channels.

    An image without contrast would be divided by 0: a deviation counts as at least that of noise
    of one grey level in 255 on a single value.

    Call arguments:
        inputs: Images ``(batch, height, width, channels)`` in [0, 1].

    Returns:
        Tensor of the same shape, any range.
    """

    def call(self, inputs: Any) -> Any:
        """Returns the standardised images; see the class."""
        mean, variance = ops.moments(inputs, axes=(1, 2, 3), keepdims=True)
        least = 1.0 / (255.0**2 * math.prod(inputs.shape[1:]))
        # Bounded before the root, whose slope at 0 is infinite.
        return (inputs - mean) * ops.rsqrt(ops.maximum(variance, least))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the unchanged shape."""
        return tuple(input_shape)


@keras.saving.register_keras_serializable(package="cleanroom")
class PadChannels(layers.Layer):
    """Adds maps of zeros, half of them before the given ones, for a shortcut without weights.

    Args:
        added: Number of maps that are added, at least 1; an odd one is behind.
        **kwargs: Name and dtype, as of any layer.

    Call arguments:
        inputs: Maps ``(batch, height, width, channels)``.

    Returns:
        Maps ``(batch, height, width, channels + added)``.

    Raises:
        ValueError: If ``added`` is no integer of at least 1.
    """

    def __init__(self, added: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_integer("added", added, at_least=1, such_as=16)
        self.added = added

    def call(self, inputs: Any) -> Any:
        """Returns the maps and the zeros; see the class."""
        before = self.added // 2
        return ops.pad(inputs, ((0, 0), (0, 0), (0, 0), (before, self.added - before)))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the shape with more channels."""
        *rest, channels = input_shape
        return (*rest, None if channels is None else channels + self.added)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "added": self.added}


def narrow_resnet(
    input_shape: tuple[int, int, int],
    num_classes: int = 10,
    *,
    num_blocks: int = 5,
    width: float = 1.0,
    weight_decay: float = 1e-4,
    standardised: bool = True,
    seed: int = 0,
    name: str = "narrow_resnet",
) -> keras.Model:
    """Builds the simple ResNet that CAP-GAN protects, 32 layers of 16 to 64 channels.

    Pre-activation residual units whose shortcuts have no weights: where a stage begins, the
    shortcut is averaged over 2x2 pixels and filled up by maps of zeros.

    **Reference**: CAP-GAN, sec. IV-A, "a simple ResNet model as a victim model following" Madry et
    al., "Towards Deep Learning Models Resistant to Adversarial Attacks", 2018, sec. 5 and app. B,
    the narrow network of its public CIFAR-10 challenge.
    **Differs from the paper**: ends in logits; standardises each image itself, so that it takes
    images in [0, 1]. Initial kernels are He normal by their inputs, not outputs, and batch
    normalisation adds 1e-5 to the variance, as in the other residual networks here. The penalty
    there, 2e-4 times half the sum of squared kernels, is ``weight_decay`` 1e-4.

    Args:
        input_shape: ``(height, width, channels)``.
        num_classes: Number of logits.
        num_blocks: Residual units in each of the three stages, at least 1.
        width: Multiplier of the channel counts 16, 32 and 64.
        weight_decay: Factor of the sum of squared kernel weights that is added to the loss.
        standardised: Whether each image is standardised first.
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
        from models.narrow_resnet import narrow_resnet

        classifier = narrow_resnet((28, 28, 1), num_blocks=1, width=0.125)
        classifier(keras.random.uniform((2, 28, 28, 1))).shape  # (2, 10)
    """
    check_integer("num_blocks", num_blocks, at_least=1, at_most=MOST_BLOCKS, such_as=5)
    build = PreactivationLayers(
        LayerSeeds(seed, name),
        weight_decay=weight_decay,
        use_bias=False,
        negative_slope=LEAKY_SLOPE,
    )
    inputs = keras.Input(check_image_shape(input_shape), name="images")
    x = StandardiseImages(name="standardise")(inputs) if standardised else inputs
    x = build.conv(x, scaled(STEM_FILTERS, width), 3)
    for stage, filters in enumerate(STAGE_FILTERS):
        for block in range(num_blocks):
            first = block == 0
            x = _unit(
                build,
                x,
                scaled(filters, width),
                strides=2 if stage > 0 and first else 1,
                activated_shortcut=stage == 0 and first,
            )
    return keras.Model(inputs, build.logits(x, num_classes), name=name)


def _unit(
    build: PreactivationLayers,
    x: keras.KerasTensor,
    filters: int,
    *,
    strides: int,
    activated_shortcut: bool,
) -> keras.KerasTensor:
    """``x`` plus two convolutions of it; the first unit of all adds to the activated ``x``."""
    activated = build.activate(x)
    shortcut = activated if activated_shortcut else x
    residual = build.conv(activated, filters, 3, strides=strides)
    residual = build.conv(build.activate(residual), filters, 3)
    if strides > 1:
        shortcut = layers.AveragePooling2D(strides, padding="same")(shortcut)
    if filters > shortcut.shape[-1]:
        shortcut = PadChannels(filters - shortcut.shape[-1])(shortcut)
    return layers.Add()([residual, shortcut])
