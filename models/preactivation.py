"""Shared by the voter families: standardised input and pre-activation layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from models.layers import LayerSeeds, check_num_classes
from validation import check_number, check_numbers

__all__ = ["CHANNEL_STATISTICS", "MOST_BLOCKS", "PreactivationLayers", "standardise"]

CHANNEL_STATISTICS: dict[int, tuple[tuple[float, ...], tuple[float, ...]]] = {
    1: ((0.2860,), (0.3530,)),
    3: (
        (125.307 / 255.0, 122.95 / 255.0, 113.865 / 255.0),
        (62.9932 / 255.0, 62.0887 / 255.0, 66.7048 / 255.0),
    ),
}
"""Channels -> (mean, deviation) in [0, 1] units: Fashion-MNIST's and CIFAR-10's training images."""


def standardise(
    images: keras.KerasTensor,
    normalization: tuple[Sequence[float], Sequence[float]] | None = None,
) -> keras.KerasTensor:
    """Subtracts a channel mean and divide by a channel standard deviation, inside the network.

    All modules exchange images in [0, 1]; a network that needs standardised ones converts them
    itself, so that an attack's budget always means the same.

    Args:
        images: Symbolic ``(batch, height, width, channels)``, range [0, 1].
        normalization: ``(mean, standard_deviation)``, one value per channel, in [0, 1] units;
            ``None`` takes ``CHANNEL_STATISTICS`` for one and three channels.

    Returns:
        Symbolic tensor of the same shape, zero mean and unit variance over the training images.

    Raises:
        ValueError: If no default exists for this number of channels, if the lengths do not match it
            or if a standard deviation is not positive.
    """
    channels = int(images.shape[-1])
    if normalization is None:
        if channels not in CHANNEL_STATISTICS:
            raise ValueError(
                f"Expected normalization=(mean, standard_deviation) for {channels} channels, "
                f"received None; defaults exist for {sorted(CHANNEL_STATISTICS)} channels only. "
                "Pass the means and deviations of the training images."
            )
        normalization = CHANNEL_STATISTICS[channels]
    if not isinstance(normalization, list | tuple) or len(normalization) != 2:
        raise ValueError(
            f"Expected normalization as a pair (means, standard deviations), received "
            f"{normalization!r}. Give one value per channel, in [0, 1] units."
        )
    mean = list(check_numbers("the means of normalization", normalization[0]))
    deviation = list(check_numbers("the deviations of normalization", normalization[1], above=0))
    if len(mean) != channels or len(deviation) != channels:
        raise ValueError(
            f"Expected normalization as {channels} means and {channels} positive standard "
            f"deviations, received {normalization!r}. Give one value per channel, in [0, 1] units."
        )
    variance = [value**2 for value in deviation]
    return layers.Normalization(mean=mean, variance=variance, name="standardise")(images)


MOST_BLOCKS = 200
"""Most blocks in a stage; each block is built layer by layer."""


class PreactivationLayers:
    """The layers that ResNet, DenseNet and Wide-ResNet voters share.

    He-normal kernels, L2 weight decay on kernels only, batch normalisation with momentum 0.9 and
    epsilon 1e-5 before each activation, a ReLU; only the decay and the bias differ between the
    families. The victim of CAP-GAN is built of them too, with a leaky ReLU.

    **Reference**: Dissertation, app. B ("the rest of the parameters" of Tables B.2-B.4 at the
    defaults of the public Keras scripts it cites); He et al., "Identity Mappings in Deep Residual
    Networks", 2016, for the order normalise-activate-convolve.
    **Differs from the paper**: nothing.

    Args:
        seeds: Source of the layers' seeds.
        weight_decay: Factor of the sum of squared kernel weights that each layer adds to the
            training loss; 0 adds none.
        use_bias: Whether convolutions have a bias.
        negative_slope: Slope of the activation below 0; 0 is a ReLU.

    Raises:
        ValueError: If ``weight_decay`` is negative or not finite.
    """

    def __init__(
        self,
        seeds: LayerSeeds,
        *,
        weight_decay: float,
        use_bias: bool,
        negative_slope: float = 0.0,
    ) -> None:
        check_number("weight_decay", weight_decay, at_least=0, such_as=1e-4)
        self.seeds = seeds
        self.weight_decay = weight_decay
        self.use_bias = use_bias
        self.negative_slope = negative_slope

    def _kernel_arguments(self) -> dict[str, Any]:
        decay = keras.regularizers.L2(self.weight_decay) if self.weight_decay else None
        return {"kernel_initializer": self.seeds.he_normal(), "kernel_regularizer": decay}

    def conv(
        self, x: keras.KerasTensor, filters: int, kernel_size: int, *, strides: int = 1
    ) -> keras.KerasTensor:
        """Returns a same-padded convolution of ``x`` with ``filters`` output channels."""
        layer = layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            padding="same",
            use_bias=self.use_bias,
            **self._kernel_arguments(),
        )
        return layer(x)

    def activate(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Returns ``x`` after batch normalisation and activation, same shape.

        The range is [0, inf), or any with a ``negative_slope``.
        """
        normalised = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
        return layers.ReLU(negative_slope=self.negative_slope)(normalised)

    def logits(
        self, x: keras.KerasTensor, num_classes: int, *, use_bias: bool = True
    ) -> keras.KerasTensor:
        """Returns ``(batch, num_classes)`` logits from the spatial means of the activated ``x``."""
        check_num_classes(num_classes)
        pooled = layers.GlobalAveragePooling2D()(self.activate(x))
        return layers.Dense(
            num_classes, use_bias=use_bias, name="logits", **self._kernel_arguments()
        )(pooled)

    def residual_block(
        self, x: keras.KerasTensor, filters: int, *, strides: int = 1
    ) -> keras.KerasTensor:
        """Returns ``x`` plus two convolutions of it, both projected where channels or size change.

        The projection reads the activated tensor, the identity the raw one.
        """
        activated = self.activate(x)
        residual = self.conv(activated, filters, 3, strides=strides)
        residual = self.conv(self.activate(residual), filters, 3)
        if strides != 1 or x.shape[-1] != filters:
            x = self.conv(_every(strides, activated), filters, 1)
        return layers.Add()([residual, x])


def _every(stride: int, x: keras.KerasTensor) -> keras.KerasTensor:
    """Returns every ``stride``-th row and column of ``x``: what a strided 1x1 convolution reads.

    Left to the convolution, oneDNN gets the gradient of its kernel wrong on processors without
    AVX-512 where the channels are no multiple of eight (oneDNN issue 6035).
    """
    return x if stride == 1 else layers.AveragePooling2D(1, strides=stride)(x)
