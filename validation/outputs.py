"""The check of what a classifier returns."""

from __future__ import annotations

import numpy as np

__all__ = ["check_logits"]

_PROBABILITY_TOLERANCE = 1e-4
_NEAR = 0.05
"""How far from -1, 0 or 1 an output counts as pressed against it."""


def check_logits(logits: np.ndarray, num_images: int) -> int:
    """Returns the number of classes, if these are the logits of so many images.

    A softmax is found by what comes out, wherever in the model it stands: rows without a negative
    value that all have one sum, though the images differ.

    Args:
        logits: The model's output for a batch of different images.
        num_images: Size of the batch.

    Raises:
        ValueError: If the output is not ``(num_images, classes)``, is not finite, or is
            probabilities or pressed against the bounds of a sigmoid or tanh, whose gradients nearly
            vanish where the model is confident.
    """
    if logits.ndim != 2 or logits.shape[0] != num_images or logits.shape[1] < 2:
        raise ValueError(
            f"Expected a model that returns logits of shape ({num_images}, classes) with at "
            f"least 2 classes, received {logits.shape}. Pass a classifier."
        )
    if not np.isfinite(logits).all():
        raise ValueError(
            "Expected finite logits for clean images, received NaN or infinity. The model's "
            "weights or its normalisation are broken: evaluate it on clean images first."
        )
    sums = logits.sum(axis=1, dtype=np.float64)
    common = 1.0 if num_images == 1 or (logits == logits[:1]).all() else float(sums[0])
    if logits.min() >= 0.0 and np.allclose(sums, common, rtol=_PROBABILITY_TOLERANCE, atol=0.0):
        raise ValueError(
            f"Expected logits, received non-negative rows that sum to {common:.4g}: the model ends "
            "in a softmax, whose gradient vanishes where the model is sure, so that it would seem "
            "robust. Remove the last activation, or take the logarithm of the probabilities."
        )
    low, high = logits.min(), np.abs(logits).max()
    pressed = np.abs(logits) > 1.0 - _NEAR
    if low >= 0.0:
        pressed |= logits < _NEAR
    if 0.99 < high <= 1.0 and pressed.mean() > 0.25:
        raise ValueError(
            f"Expected logits, received values from {logits.min():.4g} to {logits.max():.4g}, many "
            "of them at the bounds: the model ends in a sigmoid or tanh, whose gradient vanishes "
            "there, so that it would seem robust. Remove the last activation."
        )
    return int(logits.shape[1])
