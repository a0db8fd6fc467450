"""PuVAE's losses, one pure function each, in ``keras.ops`` alone.

Its reconstruction loss, eq. 15, is ``defenses.losses.binary_cross_entropy_loss``.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from defenses.losses import check_same_shape, full_precision, kl_divergence_loss
from validation import check_choice

__all__ = ["check_reduction", "class_cross_entropy_loss", "deviation_kl_loss"]

_EXCLUDED = -1e9
_REDUCTIONS = ("sum", "mean")


def deviation_kl_loss(z_mean: Any, z_deviation: Any, reduction: str = "sum") -> Any:
    """Twice the divergence of N(mean, deviation²) from N(0, I), over the latent axis.

    **Reference**: PuVAE, eq. 16: μ² + σ² − log σ² − 1, printed without the factor ½.
    **Differs from the paper**: nothing; whether the latent axis is summed or averaged is left open
    there.

    Args:
        z_mean: Means μ, ``(batch, latent_dim)``.
        z_deviation: Standard deviations σ, positive, same shape.
        reduction: ``"sum"`` or ``"mean"`` over the latent axis.

    Returns:
        ``(batch,)``, at least 0; 0 exactly where the mean is 0 and the deviation 1.

    Raises:
        ValueError: If the reduction is unknown.
    """
    check_reduction(reduction)
    z_mean, z_deviation = full_precision(z_mean, z_deviation)
    summed = 2.0 * kl_divergence_loss(z_mean, 2.0 * ops.log(z_deviation))
    return summed / z_mean.shape[-1] if reduction == "mean" else summed


def check_reduction(reduction: str) -> None:
    """Raises a ValueError unless ``reduction`` is ``"sum"`` or ``"mean"``."""
    check_choice("reduction of the divergence", reduction, _REDUCTIONS)


def class_cross_entropy_loss(labels: Any, logits: Any) -> Any:
    """Cross-entropy of each class on its own, present or absent, summed over the classes.

    Besides a high probability of the label, it requires that no single other class be likely.

    **Reference**: PuVAE, eq. 18: −Σ [y log p + (1 − y) log(1 − p)], where p is a softmax.
    **Differs from the paper**: nothing; computed from logits, so no logarithm has to be clipped
    and a confident mistake keeps its gradient.

    Args:
        labels: One-hot, ``(batch, num_classes)``.
        logits: Same shape, any range.

    Returns:
        ``(batch,)``, at least 0.
    """
    check_same_shape(labels=labels, logits=logits)
    labels, logits = full_precision(labels, logits)
    num_classes = logits.shape[-1]
    everything = ops.logsumexp(logits, axis=-1, keepdims=True)
    # log(1 - p_k) is the logarithm of the total probability of all classes but k.
    without_own = ops.eye(num_classes, dtype=logits.dtype) * _EXCLUDED
    others = ops.logsumexp(logits[:, None, :] + without_own, axis=-1)
    present = labels * (logits - everything)
    absent = (1.0 - labels) * (others - everything)
    return -ops.sum(present + absent, axis=-1)
