"""Base class of purifiers that learn nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from defenses.purifier import Purifier
from validation import check_image_shape

__all__ = ["FixedTransform"]


class FixedTransform(Purifier):
    """A transformation of images without weights, that nothing differentiates.

    Args:
        image_shape: ``(height, width, channels)``.
        channels: Numbers of channels that it takes; ``None`` is any.
        **kwargs: Name and dtype, as of any model.

    Raises:
        ValueError: If the shape is not one of such images.
    """

    differentiable = False

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        channels: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._image_shape = check_image_shape(image_shape, channels=channels)

    @classmethod
    def for_images(
        cls,
        input_shape: tuple[int, int, int],
        num_classes: int = 10,
        *,
        width: float = 1.0,
        seed: int = 0,
        **arguments: Any,
    ) -> Self:
        """Builds the purifier.

        Args:
            input_shape: ``(height, width, channels)``.
            num_classes: Not used.
            width: Not used; there are no networks.
            seed: Not used.
            **arguments: Passed on to the constructor.

        Returns:
            A purifier, ready to purify.
        """
        del num_classes, width, seed
        return cls(input_shape, **arguments)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)`` of the images."""
        return self._image_shape

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates nothing: there are no weights."""
        del input_shape
        self.built = True
