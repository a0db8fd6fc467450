"""The losses of VQUNet, the extra update of its codebooks, and how much of a codebook is used.

Pure functions in ``keras.ops`` alone. A loss returns one number per image, shape ``(batch,)``.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from defenses.losses import full_precision
from defenses.phases import sum_over_devices

__all__ = [
    "class_averaged_codebook",
    "code_frequencies",
    "code_perplexity",
    "codebook_loss",
    "encoder_loss",
    "used_code_share",
]


def encoder_loss(features: Any, codes: Any) -> Any:
    """Squared distance of features to their codes, averaged over entries; trains the encoder.

    Features far from the codebook would change their codes at every step; this draws them to it.

    **Reference**: Dissertation, ch. 5.3.2, eq. 5.3.3.
    **Differs from the paper**: printed with the passed-on q*, whose distance to the features is
    held constant, so that the loss would have no gradient. The codes q, held constant, have the
    same value and give the gradient that the text describes.

    Args:
        features: Outputs of an encoding block, ``(batch, height, width, channels)``.
        codes: The codes nearest to them, same shape; no gradient reaches them.

    Returns:
        ``(batch,)``, at least 0.
    """
    return _mean_square(ops.stop_gradient(codes) - features)


def codebook_loss(features: Any, codes: Any) -> Any:
    """Squared distance of codes to the features they stand for, averaged over entries.

    It trains the chosen codes only.

    **Reference**: Dissertation, ch. 5.3.2, eq. 5.3.4, the quantization loss.
    **Differs from the paper**: nothing.

    Args:
        features: Outputs of an encoding block, ``(batch, height, width, channels)``; no gradient
            reaches them.
        codes: The codes nearest to them, same shape.

    Returns:
        ``(batch,)``, at least 0; equal in value to ``encoder_loss``.
    """
    return _mean_square(codes - ops.stop_gradient(features))


def class_averaged_codebook(codebook: Any, vectors: Any, labels: Any, rate: float) -> Any:
    """Moves the codes of each class and position towards the average vector found there.

    Codes far from all features are never chosen and never trained; this moves them too.

    **Reference**: Dissertation, ch. 5.3.2, algorithm 1:
    θ(c, m) ← (1 − ω) θ(c, m) + ω e(c, m), where e(c, m) averages the vectors at position m over
    the images of class c, and θ(c, m) is row c M + m, counted from 0.
    **Differs from the paper**: the printed average divides by zero where the batch has no image of
    a class. The rows of such a class stay as they are, bit for bit.

    Args:
        codebook: θ, ``(num_classes * positions, channels)``.
        vectors: ``(batch, height, width, channels)`` with ``positions`` = height * width.
        labels: Integers ``(batch,)`` in [0, num_classes).
        rate: ω in [0, 1].

    Returns:
        The new codebook, same shape; without a gradient.
    """
    height, width, channels = vectors.shape[1:]
    positions = height * width
    num_classes = codebook.shape[0] // positions
    (vectors,) = full_precision(ops.stop_gradient(vectors))
    flat = ops.reshape(vectors, (-1, positions * channels))
    labels = ops.cast(labels, "int32")
    counted = ops.concatenate([flat, ops.ones_like(flat[:, :1])], axis=1)
    totals = sum_over_devices(ops.segment_sum(counted, labels, num_segments=num_classes))
    sums, counts = totals[:, :-1], totals[:, -1:]
    averages = ops.reshape(sums / ops.maximum(counts, 1.0), (num_classes * positions, channels))
    present = ops.repeat(counts > 0.0, positions, axis=0)
    codebook = ops.stop_gradient(ops.convert_to_tensor(codebook))
    return ops.where(present, (1.0 - rate) * codebook + rate * averages, codebook)


def code_frequencies(indices: Any, num_embeddings: int) -> Any:
    """How often each code is chosen, as a share of all positions.

    Args:
        indices: Integers of any shape in [0, num_embeddings).
        num_embeddings: Number of codes.

    Returns:
        ``(num_embeddings,)``, at least 0, with sum 1.
    """
    flat = ops.reshape(indices, (-1,))
    counts = ops.segment_sum(ops.ones_like(flat), flat, num_segments=num_embeddings)
    counts = ops.cast(counts, "float32")
    return counts / ops.sum(counts)


def used_code_share(frequencies: Any) -> Any:
    """The share of codes that are chosen at all: a scalar from 0 to 1."""
    return ops.mean(ops.cast(frequencies > 0.0, "float32"))


def code_perplexity(frequencies: Any) -> Any:
    """Effective number of codes in use: the exponential of the entropy of their frequencies.

    Args:
        frequencies: ``(num_embeddings,)`` with sum 1.

    Returns:
        A scalar from 1 (always the same code) to ``num_embeddings`` (all equally often).
    """
    logarithms = ops.log(ops.maximum(frequencies, 1e-30))
    return ops.exp(-ops.sum(frequencies * logarithms))


def _mean_square(differences: Any) -> Any:
    """Averages squares over all axes but the first."""
    (differences,) = full_precision(differences)
    return ops.mean(ops.square(differences), axis=(1, 2, 3))
