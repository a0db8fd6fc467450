"""Thermometer encoding as a purifier: an image keeps what its thermometer codes tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from defenses.fixed_transform import FixedTransform
from defenses.registry import register
from models.thermometer import PUBLISHED_LEVELS, ThermometerCode

__all__ = ["Thermometer"]


@register("thermometer")
@keras.saving.register_keras_serializable(package="cleanroom")
class Thermometer(FixedTransform):
    """Purifies by rounding each value to the middle of its level, which needs no training.

    The published defense is a classifier that was trained on codes,
    ``build_classifier("thermometer_...")``; it is attacked through its code. This is the rounding
    alone: the image that has the same codes. Before such a classifier it changes nothing, and
    before another one it shows what the discrete values do by themselves.

    It has no gradient of its own: an attack takes that of the identity in its place, by
    ``DefendedClassifier(..., identity_gradient=True)``.

    **Reference**: Buckman et al., "Thermometer Encoding: One Hot Way to Resist Adversarial
    Examples", 2018, the uniform quantisation; the baseline THM of CAP-GAN, sec. IV.
    **Differs from the paper**: there the codes are an input of the classifier and never turned back
    into an image.

    Args:
        image_shape: ``(height, width, channels)``.
        levels: Number of levels, in [2, 256].
        **kwargs: Name and dtype, as of any model.

    Raises:
        ValueError: If the shape is not one of images, or the number of levels out of range.

    Example:
        import numpy as np
        from defenses.thermometer import Thermometer

        images = np.random.default_rng(0).random((8, 28, 28, 1), dtype="float32")
        len(np.unique(Thermometer((28, 28, 1), levels=4).purify(images)))  # 4
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        levels: int = PUBLISHED_LEVELS,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, **kwargs)
        self.code = ThermometerCode(levels, name="thermometer_code")
        self.finish_building()

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Builds the code, which has no weights."""
        if not self.code.built:
            self.code.build(tuple(input_shape))
        self.built = True

    def call(self, images: Any, training: bool = False) -> Any:
        """Purifies images; see the base class for shapes and ranges.

        What passes back is the surrogate of ``ThermometerCode``, the identity inside each level.
        """
        del training
        return self.code.decode(self.code(images))

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the purifier."""
        return {
            **super().get_config(),
            "image_shape": list(self._image_shape),
            "levels": self.code.levels,
        }
