"""A model of images that looks at what it is called with."""

from __future__ import annotations

from typing import Any

import keras

from validation import check_call, check_images

__all__ = ["ImageModel"]


class ImageModel(keras.Model):
    """A model whose calls take images and refuse anything else.

    Networks of convolutions compute something from integers, from [0, 255], or from images with the
    channels first. In a graph the kind and the shape of the images are checked; where there are
    values, in eager calls and in ``predict``, also that they are finite and in [0, 1], up to the
    rounding that ``validation.check_call`` allows.

    Attributes:
        image_shape: ``(height, width, channels)``, which a subclass gives.
    """

    image_shape: Any

    def __call__(self, images: Any, *arguments: Any, **options: Any) -> Any:
        """Calls the model; see the subclass.

        Raises:
            ValueError: If the images are of another kind, shape or range, or not finite.
        """
        if isinstance(images, list | tuple):
            images = check_images(images, self.image_shape)
        check_call(images, self.image_shape)
        return super().__call__(images, *arguments, **options)

    def predict(self, x: Any, *arguments: Any, **options: Any) -> Any:
        """Keras's prediction; an array is checked whole, at once.

        Raises:
            ValueError: If the images are of another kind, shape or range, or not finite.
        """
        if getattr(x, "shape", None) is not None or isinstance(x, list):
            check_call(x, self.image_shape, name="x")
        return super().predict(x, *arguments, **options)

    def predict_on_batch(self, x: Any) -> Any:
        """Keras's prediction of one batch, which is checked.

        Raises:
            ValueError: If the images are of another kind, shape or range, or not finite.
        """
        check_call(x, self.image_shape, name="x")
        return self.predict_checked(x)

    def predict_checked(self, images: Any) -> Any:
        """Keras's prediction of one batch of images whose values have been checked before."""
        return super().predict_on_batch(images)
