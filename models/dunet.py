"""The denoising U-Net of the high-level guided denoiser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from models.layers import LayerSeeds, scaled
from validation import check_image_shape, check_integer

__all__ = ["ResizeMaps", "dunet"]

DOWN = ((64, 2), (128, 3), (256, 3), (256, 3), (256, 3))
"""(filters, convolutions) of each group on the way down, at width 1."""
UP = ((64, 2), (128, 3), (256, 3), (256, 3))
"""The same on the way up, by the size of the images: the last is the first that is passed."""


@keras.saving.register_keras_serializable(package="cleanroom")
class ResizeMaps(layers.Layer):
    """Resizes maps bilinearly, by the positions of pixel centres.

    Keras's ``Resizing`` is made for data pipelines: called inside a network without a ``training``
    argument, it switches the layers behind it to training.

    Args:
        height: Rows of the result, at least 1.
        width: Columns of the result, at least 1.
        **kwargs: Name and dtype, as of any layer.

    Call arguments:
        inputs: Maps ``(batch, rows, columns, channels)``, any range.

    Returns:
        Maps ``(batch, height, width, channels)``, within the range of the given ones.

    Raises:
        ValueError: If a size is no integer of at least 1.
    """

    def __init__(self, height: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_integer("height", height, at_least=1, such_as=32)
        check_integer("width", width, at_least=1, such_as=32)
        self.height = int(height)
        self.width = int(width)

    def call(self, inputs: Any) -> Any:
        """Returns the resized maps; see the class."""
        size = (self.height, self.width)
        return ops.image.resize(inputs, size, "bilinear", data_format="channels_last")

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the shape with the new sides."""
        return (input_shape[0], self.height, self.width, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "height": self.height, "width": self.width}


def dunet(
    input_shape: tuple[int, int, int],
    *,
    width: float = 1.0,
    name: str = "dunet",
    seed: int = 0,
) -> keras.Model:
    """Builds DUNET, which estimates what is to be added to an adversarial image.

    Five groups of convolutions, each but the first at half the size of the one before it, and four
    groups back, each on the enlarged maps beside those of its size on the way down.

    **Reference**: Liao et al., "Defense against Adversarial Attacks Using High-Level Representation
    Guided Denoiser", 2018, DUNET, and its public code for the numbers; CAP-GAN, sec. IV, the
    baseline HGD.
    **Differs from the paper**: made for images of 299x299 there; with 32x32 the smallest maps have
    2x2 pixels. A strided convolution is padded as Keras does, at the right and bottom first.
    Maps are enlarged bilinearly by the positions of pixel centres, to the size of those beside
    them. Kernels are He normal, but the last one, which starts at the scale of the public code's
    framework, so that an untrained network returns little.

    Args:
        input_shape: ``(height, width, channels)``.
        width: Multiplier of all hidden channel counts.
        name: Name of the model, which also enters the seed: networks of different names differ.
        seed: Non-negative seed of the weights.

    Returns:
        Functional model, images ``(batch, *input_shape)`` in [0, 1] to changes of the same shape
        and any range. The last convolution, ``"change"``, has no bias: where its kernel is 0, so is
        the change.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        import keras
        from models.dunet import dunet

        network = dunet((28, 28, 1), width=0.125)
        network(keras.random.uniform((2, 28, 28, 1))).shape  # (2, 28, 28, 1)
    """
    shape = check_image_shape(input_shape)
    seeds = LayerSeeds(seed, name)
    inputs = keras.Input(shape, name="images")
    x, lateral = inputs, []
    for number, (filters, count) in enumerate(DOWN):
        for index in range(count):
            strides = 2 if number > 0 and index == 0 else 1
            x = _conv(x, scaled(filters, width), strides, seeds, f"down_{number + 1}_{index + 1}")
        lateral.append(x)
    for number, (filters, count) in reversed(list(enumerate(UP))):
        beside = lateral[number]
        x = ResizeMaps(*beside.shape[1:3], name=f"enlarge_{number + 1}")(x)
        x = layers.Concatenate(name=f"concatenate_{number + 1}")([x, beside])
        for index in range(count):
            x = _conv(x, scaled(filters, width), 1, seeds, f"up_{number + 1}_{index + 1}")
    change = layers.Conv2D(
        shape[2],
        1,
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(
            1 / 3, mode="fan_in", distribution="uniform", seed=seeds.next()
        ),
        name="change",
    )(x)
    return keras.Model(inputs, change, name=name)


def _conv(
    x: keras.KerasTensor, filters: int, strides: int, seeds: LayerSeeds, name: str
) -> keras.KerasTensor:
    """A 3x3 convolution without bias, batch normalisation and ReLU."""
    x = layers.Conv2D(
        filters,
        3,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer=seeds.he_normal(),
        name=name,
    )(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_normalised")(x)
    return layers.ReLU(name=f"{name}_active")(x)
