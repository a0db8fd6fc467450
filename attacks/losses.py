"""What an attack climbs: losses of logits that grow as a model errs the way the attacker wants."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

__all__ = ["FEWEST_CLASSES", "LOSSES", "attack_loss", "goal_is_reached", "lead"]

LOSSES = ("cross_entropy", "difference_of_logits", "margin")
"""Names of the losses; see ``attack_loss``."""

FEWEST_CLASSES = {
    ("difference_of_logits", False): 3,
    ("difference_of_logits", True): 4,
}
"""The number of classes that a loss needs, by its name and whether it is targeted; else 2."""

_SMALLEST = np.finfo(np.float32).min
_TINY = 1e-12


def attack_loss(name: str, logits: Any, labels: Any, *, targeted: bool) -> Any:
    """Returns the loss of each image, higher where the attacker is nearer to the goal.

    * ``"cross_entropy"``: of the label, negative if targeted. It saturates: where the other classes
      have no probability in float32, its gradient is exactly zero.
    * ``"margin"``: the logit of the best other class minus that of the label, negative if targeted.
      Steps along the sign or the direction of its gradient do not depend on the scale of logits.
    * ``"difference_of_logits"``: the margin divided by the lead of the highest over the third
      logit, if targeted over the mean of the third and the fourth. It does not depend on the scale
      of logits at all.

    **Reference**: Croce and Hein 2020, "Reliable evaluation of adversarial robustness", eqs. 6 and
    7 (difference of logits ratio); Carlini and Wagner 2017 (margin).

    **Differs from the paper**: in the targeted ratio the best class beside the target takes the
    place of the true one, since here the target has to be predicted.

    Args:
        name: One of ``LOSSES``.
        logits: ``(batch, classes)`` logits or log-probabilities.
        labels: ``(batch,)`` integers: labels to be avoided, or to be predicted if ``targeted``.
        targeted: Whether the labels are the goal.

    Returns:
        ``(batch,)`` float32.
    """
    logits = ops.cast(logits, "float32")
    if name == "cross_entropy":
        entropy = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        return -entropy if targeted else entropy
    margin = lead(logits, labels) if targeted else -lead(logits, labels)
    if name == "margin":
        return margin
    highest = ops.top_k(logits, 4 if targeted else 3)[0]
    low = (highest[:, 2] + highest[:, 3]) / 2.0 if targeted else highest[:, 2]
    return margin / ops.maximum(highest[:, 0] - low, _TINY)


def lead(logits: Any, labels: Any) -> Any:
    """Returns ``(batch,)`` float32: by how much the label's logit exceeds every other."""
    logits = ops.cast(logits, "float32")
    is_label = ops.one_hot(labels, logits.shape[-1], dtype="bool")
    of_label = ops.sum(ops.where(is_label, logits, 0.0), axis=1)
    of_other = ops.max(ops.where(is_label, _SMALLEST, logits), axis=1)
    return of_label - of_other


def goal_is_reached(logits: Any, labels: Any, *, targeted: bool) -> Any:
    """Returns ``(batch,)`` booleans: whether the attacker has won; never where a logit is NaN."""
    predicted = ops.cast(ops.argmax(logits, axis=1), "int32")
    is_label = predicted == ops.cast(labels, "int32")
    finite = ops.all(ops.isfinite(logits), axis=1)
    return ops.logical_and(is_label if targeted else ops.logical_not(is_label), finite)
