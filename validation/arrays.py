"""Checks of images and labels, where arrays come in and, of shape and kind alone, inside graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from validation.numbers import check_integer

__all__ = ["check_call", "check_image_shape", "check_images", "check_labels", "check_one_each"]

_CHANNELS = (1, 3)
"""Grey and colour: what a first axis of this size means, if the last is longer than four."""

_LONGEST_AXIS = 4_096
"""Largest height, width and number of channels; a network for more would not fit in memory."""

_LARGEST_LABEL = 2**63 - 1
"""More would turn negative as int64."""

_ROUNDING = 1e-6
"""How far a value that a model is called with may leave [0, 1]: eight units of float32 at 1."""


def check_image_shape(
    input_shape: Sequence[int],
    *,
    channels: Sequence[int] | None = None,
    minimum_size: int = 1,
    name: str = "input_shape",
) -> tuple[int, int, int]:
    """Returns the shape of an image as a tuple.

    Args:
        input_shape: Expected ``(height, width, channels)``, without the batch axis.
        channels: The channel counts that the caller supports; ``None`` is any.
        minimum_size: Smallest height and width that the caller supports.
        name: What the message calls it.

    Returns:
        ``(height, width, channels)`` as Python integers.

    Raises:
        ValueError: If it is not three positive integers, has the channels first, or is not
            supported by the caller.
    """
    try:
        shape = tuple(input_shape)
        height, width, depth = (
            check_integer(name, n, at_least=1, at_most=_LONGEST_AXIS) for n in shape
        )
    except (TypeError, ValueError):
        raise ValueError(
            f"Expected {name} as three positive integers (height, width, channels) of at most "
            f"{_LONGEST_AXIS}, received {input_shape!r}. Leave the batch axis out."
        ) from None
    if height in _CHANNELS and depth > 4:
        raise ValueError(
            f"Expected {name} as (height, width, channels), received {shape}, which has the "
            f"channels first. Pass {(width, depth, height)}, and images with the channels last."
        )
    if channels is not None and depth not in channels:
        raise ValueError(
            f"Expected images with {' or '.join(map(str, channels))} channels, received {depth} "
            f"in {name}={shape}. Convert the images to one of these."
        )
    if min(height, width) < minimum_size:
        raise ValueError(
            f"Expected images of at least {minimum_size}x{minimum_size} pixels, received "
            f"{name}={shape}. Pad or enlarge the images."
        )
    return height, width, depth


def check_images(
    images: Any,
    image_shape: Sequence[int | None] | None = None,
    *,
    name: str = "images",
    tolerance: float = 0.0,
) -> np.ndarray:
    """Returns images as float32.

    Integer images, images in [0, 255] or [-1, 1] and missing axes pass through most networks
    without an error and give meaningless results.

    Args:
        images: Float array ``(num_images, height, width, channels)`` in [0, 1], to be checked.
        image_shape: The expected ``(height, width, channels)``; ``None`` is any, as a whole or for
            one of them.
        name: What the message calls them.
        tolerance: How far a value may leave [0, 1].

    Returns:
        float32 array of the same shape, values in [0, 1]; ``images`` itself if it is one.

    Raises:
        ValueError: If the kind, shape, number or range of the images is wrong, or a value is
            not finite.
    """
    array = _as_array(name, images)
    _check_kind(name, str(array.dtype), "float" in str(array.dtype))
    _check_shape(name, array.shape, image_shape)
    if array.size == 0:
        raise ValueError(
            f"Expected at least one of {name}, received none: shape {array.shape}. Pass one image "
            "or more."
        )
    array = array.astype("float32", copy=False)
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(
            f"Expected finite {name}, received {int((~np.isfinite(array)).sum())} values that are "
            "NaN or infinite. Look for a division by zero where the images are made."
        )
    if low < -tolerance or high > 1.0 + tolerance:
        raise ValueError(
            f"Expected {name} in [0, 1], received values from {low:.8g} to {high:.8g}. "
            f"{_range_remedy(low, high)}"
        )
    return array


def check_call(images: Any, image_shape: Sequence[int | None], *, name: str = "images") -> None:
    """Checks a tensor that a model is called with: its kind and shape, wherever it comes from.

    Inside a graph there are no values to look at. Where there are (a NumPy array, a tensor of eager
    execution), they are checked too, up to the rounding error of an image plus a perturbation.

    Args:
        images: Array or tensor ``(batch, height, width, channels)``; axes that are not known yet
            are ``None``.
        image_shape: The expected ``(height, width, channels)``.
        name: What the message calls them.

    Raises:
        ValueError: As of ``check_images``, as far as it can be seen; an empty batch is allowed.
    """
    if isinstance(images, np.ndarray) or _has_values(images):
        # PyTorch hands values on only without their gradient, and from the memory of the processor.
        array = np.asarray(images.detach().cpu() if hasattr(images, "detach") else images)
        if array.ndim != 4 or len(array):
            check_images(array, image_shape, name=name, tolerance=_ROUNDING)
            return
    dtype, shape = getattr(images, "dtype", None), getattr(images, "shape", None)
    if dtype is None or shape is None:
        check_images(images, image_shape, name=name)
        return
    text = str(getattr(dtype, "name", dtype))
    _check_kind(name, text, "float" in text)
    rank = getattr(shape, "rank", 4)
    if rank is not None:
        _check_shape(name, tuple(shape), image_shape)


def check_labels(
    labels: Any, num_images: int, num_classes: int | None = None, *, name: str = "labels"
) -> np.ndarray:
    """Returns labels as int64, one for each image.

    Args:
        labels: Integers ``(num_images,)``, or ``(num_images, 1)`` as ``keras.datasets`` gives them.
        num_images: How many images they belong to.
        num_classes: How many classes there are; ``None`` if nobody knows.
        name: What the message calls them.

    Returns:
        int64 array ``(num_images,)``, values in [0, num_classes - 1].

    Raises:
        ValueError: If they are of another kind, number or range, or one-hot.
    """
    array = _as_array(name, labels)
    if array.shape == (num_images, 1) and array.dtype.kind in "iu":
        array = array.reshape(-1)
    if array.dtype.kind not in "iu" or array.shape != (num_images,):
        raise ValueError(
            f"Expected {name} as integers of shape ({num_images},), one for each image, received "
            f"dtype {array.dtype} and shape {array.shape}. {_label_remedy(name, array, num_images)}"
        )
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    most = _LARGEST_LABEL if num_classes is None else num_classes - 1
    if low < 0 or high > most:
        wanted = "of at least 0" if low < 0 and num_classes is None else f"in [0, {most}]"
        raise ValueError(
            f"Expected {name} {wanted}, received values from {low} to {high}. Number the classes "
            "from 0, or use a model with more classes."
        )
    return array.astype(np.int64, copy=False)


def check_one_each(**arrays: Any) -> None:
    """Checks that several arrays have one entry for each image.

    Raises:
        ValueError: If their lengths differ; the message has each.
    """
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{length} of {name}" for name, length in lengths.items())
        raise ValueError(
            f"Expected as many of each, received {counts}. Pass one entry for each image, in the "
            "same order."
        )


def _has_values(tensor: Any) -> bool:
    """Whether a tensor is one of eager execution: TensorFlow's and PyTorch's have a method for
    their values, JAX's outside a transformation is of this class."""
    return callable(getattr(tensor, "numpy", None)) or type(tensor).__name__ == "ArrayImpl"


def _as_array(name: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values)
    except (TypeError, ValueError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"Expected {name} as one array, received {type(values).__name__} ({reason}). Pass a "
            "NumPy array whose rows have one shape."
        ) from error


def _check_kind(name: str, dtype: str, is_float: bool) -> None:
    if is_float:
        return
    remedy = "Pass an array of float32."
    if "int" in dtype or "bool" in dtype:
        remedy = f"Convert integer images in [0, 255] by {name}.astype('float32') / 255."
    raise ValueError(
        f"Expected {name} of a floating-point dtype, in [0, 1], received dtype {dtype}. {remedy}"
    )


def _check_shape(
    name: str, shape: Sequence[int | None], image_shape: Sequence[int | None] | None
) -> None:
    wanted = (None, None, None) if image_shape is None else tuple(image_shape)
    given = tuple(shape)
    if len(given) == 4 and all(
        None in (a, b) or a == b for a, b in zip(given[1:], wanted, strict=True)
    ):
        return
    axes = zip(wanted, ("height", "width", "channels"), strict=True)
    expected = ", ".join(str(size or axis) for size, axis in axes)
    remedy = f"Add the missing axis: {name}[None] for one image, {name}[..., None] for one channel."
    if len(given) == 4:
        remedy = "Resize the images, or take a model for this shape."
        if (given[2], given[3], given[1]) == wanted:
            remedy = f"Move the channels last: numpy.moveaxis({name}, 1, -1)."
    elif len(given) > 4:
        remedy = f"Join the leading axes: {name}.reshape(-1, height, width, channels)."
    raise ValueError(
        f"Expected {name} of shape (num_images, {expected}), received {given}. {remedy}"
    )


def _range_remedy(low: float, high: float) -> str:
    if high > 2.0 and low >= 0.0:
        return "Divide 8-bit images by 255."
    if low >= -1.001 and low < -0.01:
        return "Rescale [-1, 1] to [0, 1] by (images + 1) / 2."
    return "Clip the rounding error of an attack by numpy.clip(images, 0, 1), or rescale."


def _label_remedy(name: str, array: np.ndarray, num_images: int) -> str:
    if array.ndim == 2 and array.shape[0] == num_images and array.shape[1] > 1:
        return f"Turn one-hot labels into integers by {name}.argmax(axis=-1)."
    if array.size == num_images and array.shape != (num_images,):
        return f"Flatten them by {name}.ravel()."
    if array.shape == (num_images,):
        return f"Turn whole numbers into integers by {name}.astype('int64')."
    return "Pass one integer for each image."
