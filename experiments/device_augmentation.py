"""The random changes of ``experiments.augmentation`` as part of a program of JAX.

Same names, order and sizes; the draws come from keys of JAX, so they are others than NumPy's. What
is drawn and what is done with it stand apart: for equal draws the images agree with NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from experiments.config import TrainingConfig

__all__ = ["CHANGES", "augment"]


def augment(images: Any, key: Any, training: TrainingConfig) -> Any:
    """Applies the augmentations of a training configuration in their order.

    Args:
        images: ``(n, height, width, channels)`` float32 in [0, 1].
        key: A key of ``jax.random``, used for nothing else.
        training: Names and sizes.

    Returns:
        Images of the same shape and range.
    """
    import jax

    for position, name in enumerate(training.augmentation):
        draw, change = CHANGES[name]
        drawn = draw(jax.random.fold_in(key, position), tuple(images.shape), training)
        images = change(images, drawn)
    return images


def _coins(key: Any, shape: tuple[int, ...], _: TrainingConfig) -> Any:
    import jax

    return jax.random.bernoulli(key, 0.5, (shape[0],))


def _flip(images: Any, flipped: Any) -> Any:
    return ops.where(flipped[:, None, None, None], ops.flip(images, axis=2), images)


def _vertical_flip(images: Any, flipped: Any) -> Any:
    return ops.where(flipped[:, None, None, None], ops.flip(images, axis=1), images)


def _corners(key: Any, shape: tuple[int, ...], training: TrainingConfig) -> Any:
    """How far each image moves down and to the right, ``(2, n)`` in [-reach, reach]."""
    import jax

    reach = round(training.shift_fraction * shape[1])
    return jax.random.randint(key, (2, shape[0]), -reach, reach + 1)


def _shift(images: Any, moved: Any) -> Any:
    """Image ``i`` shows at row r what was at row r + ``moved[0, i]``; zeros move in."""
    count, height, width, _ = images.shape
    rows, columns = (
        ops.arange(side) + offsets[:, None]
        for side, offsets in zip((height, width), moved, strict=True)
    )
    from_rows, from_columns = ops.clip(rows, 0, height - 1), ops.clip(columns, 0, width - 1)
    inside = (from_rows == rows)[:, :, None] & (from_columns == columns)[:, None, :]
    taken = images[ops.arange(count)[:, None, None], from_rows[:, :, None], from_columns[:, None]]
    return ops.where(inside[..., None], taken, 0.0)


def _zooms(key: Any, shape: tuple[int, ...], training: TrainingConfig) -> Any:
    """Factors of each image along rows and columns, ``(2, n)``."""
    import jax

    reach = training.stretch_fraction
    return jax.random.uniform(key, (2, shape[0]), minval=1 - reach, maxval=1 + reach)


def _stretch(images: Any, zooms: Any) -> Any:
    """Zooms along rows, then along columns, about the centre; the border is repeated."""
    for factors in zooms:
        side = images.shape[1]
        centre = (side - 1) / 2
        places = centre + (ops.arange(side, dtype="float32") - centre) / factors[:, None]
        places = ops.clip(places, 0, side - 1)
        before = ops.minimum(ops.cast(places, "int32"), side - 2)
        share = (places - ops.cast(before, "float32"))[:, :, None, None]
        of_image = ops.arange(len(images))[:, None]
        low, high = images[of_image, before], images[of_image, before + 1]
        # The other axis comes first in the second round, and back after it.
        images = ops.swapaxes(low + (high - low) * share, 1, 2)
    return images


def _factors(key: Any, shape: tuple[int, ...], training: TrainingConfig) -> Any:
    import jax

    return 1.0 + training.noise_scale * jax.random.normal(key, shape)


def _noise(images: Any, factors: Any) -> Any:
    return ops.clip(images * factors, 0.0, 1.0)


CHANGES: dict[str, tuple[Callable[..., Any], Callable[[Any, Any], Any]]] = {
    "flip": (_coins, _flip),
    "vertical_flip": (_coins, _vertical_flip),
    "shift": (_corners, _shift),
    "stretch": (_zooms, _stretch),
    "noise": (_factors, _noise),
}
"""By name: what draws from a key, the shape of the images and the configuration; and what changes
the images by what was drawn."""
