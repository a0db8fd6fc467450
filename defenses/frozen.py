"""A trained classifier that a purifier asks while it is trained, and that nothing may move."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from models.layers import check_classifier

__all__ = ["Frozen", "check_source"]


@dataclass(frozen=True)
class Frozen:
    """Hides a network from Keras, so that it is neither trained nor saved with its owner.

    Attributes:
        network: What is hidden; ``None`` in a purifier that only purifies.
    """

    network: keras.Model | None


def check_source(classifier: keras.Model | None, image_shape: tuple[int | None, ...]) -> None:
    """Raises a ValueError unless a source classifier reads images of a shape.

    Args:
        classifier: Images to logits; ``None`` is not checked.
        image_shape: ``(batch, height, width, channels)``, the batch ``None``.

    Raises:
        ValueError: If it is another kind of model, ends in a softmax, or reads other images.
    """
    if classifier is None:
        return
    check_classifier(classifier)
    if classifier.input_shape != image_shape:
        raise ValueError(
            f"Expected a source classifier of images {image_shape}, received one of "
            f"{classifier.input_shape}. Train one on the same data."
        )
