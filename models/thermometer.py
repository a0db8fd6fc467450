"""Thermometer codes: grey values as rows of zeros and ones, and classifiers that read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import keras
from keras import layers, ops

from validation import check_image_shape, check_integer

__all__ = ["MOST_LEVELS", "PUBLISHED_LEVELS", "ThermometerCode", "thermometer_classifier"]

PUBLISHED_LEVELS = 16
MOST_LEVELS = 256
"""One level for each value of an 8-bit image."""

BELOW_ONE = 0.99999
"""Keeps the value 1 in the highest level."""


@keras.saving.register_keras_serializable(package="cleanroom")
class ThermometerCode(layers.Layer):
    """Replaces each value by ones up to its level and zeros above it.

    A value x in [0, 1] has level k = ⌊0.99999 · l · x⌋ of l; its code has ones at the positions 0
    to k. The code is a step function of x, so that a network behind it can be far from linear in
    the image; its own gradient is 0 almost everywhere.

    Backwards, position k' counts as clip(l · x − k', 0, 1): exactly the position of a value's own
    level passes a gradient, l times as large. An attack meets that surrogate on its way (BPDA).

    **Reference**: Buckman et al., "Thermometer Encoding: One Hot Way to Resist Adversarial
    Examples", 2018; Athalye, Carlini and Wagner, "Obfuscated Gradients Give a False Sense of
    Security", 2018, for the surrogate, and its public code for level and order of the codes.
    **Differs from the paper**: that code moves the surrogate by one position, which leaves values
    of the highest level without a gradient, and the paper prints it without the factor l, which
    lets all positions below a value pass one.

    Args:
        levels: Number l of levels, in [2, ``MOST_LEVELS``].
        **kwargs: Name and dtype, as of any layer; codes are computed in float32 by default, since
            another precision would move values to other levels.

    Call arguments:
        inputs: Images ``(..., channels)`` in [0, 1].

    Returns:
        Codes ``(..., channels * levels)``, each 0 or 1, the levels of a channel side by side.

    Raises:
        ValueError: If ``levels`` is no integer in its range.

    Example:
        import keras
        from models.thermometer import ThermometerCode

        codes = ThermometerCode(levels=4)(keras.ops.array([[0.0, 0.3]]))
        keras.ops.convert_to_numpy(codes).tolist()  # [[1, 0, 0, 0, 1, 1, 0, 0]]
    """

    def __init__(self, levels: int = PUBLISHED_LEVELS, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        check_integer("levels", levels, at_least=2, at_most=MOST_LEVELS, such_as=PUBLISHED_LEVELS)
        self.levels = int(levels)

    def call(self, inputs: Any) -> Any:
        """Returns the codes; see the class."""
        x = ops.expand_dims(inputs, -1)
        positions = ops.arange(self.levels, dtype=x.dtype)
        level = ops.floor(BELOW_ONE * self.levels * x)
        code = ops.cast(positions <= level, x.dtype)
        # What clip(...) is where it has a slope, at its ends too, on either backend.
        ramp = self.levels * x - positions
        ramp = ops.where((ramp >= 0) & (ramp <= 1), ramp, 0.0)
        code = ops.stop_gradient(code) + (ramp - ops.stop_gradient(ramp))
        *rest, channels = inputs.shape
        shape = (-1, *rest[1:], channels * self.levels)
        return ops.reshape(code, shape)

    def decode(self, codes: Any) -> Any:
        """The middle of the level that each code stands for.

        Args:
            codes: ``(..., channels * levels)``, as of a call.

        Returns:
            ``(..., channels)`` in [1 / (2 levels), 1 - 1 / (2 levels)], whose codes are these.
        """
        *rest, width = codes.shape
        split = ops.reshape(codes, (-1, *rest[1:], width // self.levels, self.levels))
        return (ops.sum(split, axis=-1) - 0.5) / self.levels

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the shape with ``levels`` times as many channels."""
        *rest, channels = input_shape
        return (*rest, None if channels is None else channels * self.levels)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "levels": self.levels}


class CodeNetwork(Protocol):
    """A function that builds a classifier of codes, such as one of ``models`` of images."""

    def __call__(
        self,
        input_shape: tuple[int, int, int],
        num_classes: int,
        *,
        width: float,
        seed: int,
    ) -> keras.Model: ...


def thermometer_classifier(
    network: CodeNetwork,
    input_shape: tuple[int, int, int],
    num_classes: int = 10,
    *,
    levels: int = PUBLISHED_LEVELS,
    width: float = 1.0,
    seed: int = 0,
    name: str = "thermometer",
) -> keras.Model:
    """Builds a classifier that sees thermometer codes of its images.

    The code is its first layer, so that it is trained, attacked and saved as any classifier of
    images; only the first convolution has more channels.

    **Reference**: Buckman et al., "Thermometer Encoding: One Hot Way to Resist Adversarial
    Examples", 2018; the baseline THM of CAP-GAN, sec. IV, Tables I and III.
    **Differs from the paper**: the network is the caller's, a wide residual network there; CAP-GAN
    does not say which it takes. The published one is trained on adversarial images too, which
    CAP-GAN does not mention.

    Args:
        network: Builds the classifier of codes, images of ``levels`` times the channels.
        input_shape: ``(height, width, channels)``.
        num_classes: Number of logits.
        levels: Number of levels, in [2, ``MOST_LEVELS``].
        width: Multiplier of the network's hidden channel counts.
        seed: Seed of the weights.
        name: Name of the model.

    Returns:
        Functional model, images ``(batch, *input_shape)`` in [0, 1] to logits
        ``(batch, num_classes)`` of any range.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        from functools import partial

        import keras
        from models.puvae_classifiers import puvae_classifier
        from models.thermometer import thermometer_classifier

        network = partial(puvae_classifier, variant="A")
        classifier = thermometer_classifier(network, (28, 28, 1), width=0.125)
        classifier(keras.random.uniform((2, 28, 28, 1))).shape  # (2, 10)
    """
    height, breadth, channels = check_image_shape(input_shape)
    inputs = keras.Input((height, breadth, channels), name="images")
    code = ThermometerCode(levels, name="thermometer_code")
    shape = (height, breadth, channels * code.levels)
    classifier = network(shape, num_classes, width=width, seed=seed)
    return keras.Model(inputs, classifier(code(inputs)), name=name)
