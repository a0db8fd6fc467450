"""Phases: the updates of a training step, stated as data.

Each purifier writes its ``train_step`` out, for a reader to hold against the paper. Beside it,
it lists the same updates as phases, from which one generic step can be made on any backend. A
test compares the two weight for weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

__all__ = ["Batch", "Losses", "Phase", "step_objective"]

Batch = Mapping[str, Any]
Losses = dict[str, Any]


@dataclass(frozen=True)
class Phase:
    """One update: which losses move which variables, by which optimizer.

    Attributes:
        name: What is updated, such as ``"generator"``.
        losses: Called as ``losses(batch, training=True)``. Returns a dict of scalars whose entry
            ``"loss"`` is minimised; where ``after`` needs a tensor, a pair ``(dict, tensor)``.
        variables: The variables this phase moves, always in the same order.
        optimizer: Moves them.
        after: Called with that tensor (``None`` where there is none) once the variables have
            moved, for updates that have no gradient.
    """

    name: str
    losses: Callable[..., Losses | tuple[Losses, Any]]
    variables: Sequence[keras.Variable]
    optimizer: keras.optimizers.Optimizer
    after: Callable[[Any], None] | None = None

    def evaluate(self, batch: Batch, training: bool) -> tuple[Losses, Any]:
        """Returns the losses of the phase and the tensor for ``after`` (or ``None``)."""
        result = self.losses(batch, training=training)
        return result if isinstance(result, tuple) else (result, None)


def step_objective(loss: Any, optimizer: keras.optimizers.Optimizer) -> Any:
    """Turns a batch-mean loss into the scalar whose gradient one replica contributes.

    A distribution strategy adds up the gradients of its replicas, so each one answers for its
    share of the mean only. Under mixed precision the optimizer asks for its scaling factor.

    Args:
        loss: Scalar tensor, the mean over this replica's batch.
        optimizer: The optimizer that will apply the gradient.

    Returns:
        A scalar tensor; ``loss`` itself on one device in full precision.
    """
    import tensorflow as tf

    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return optimizer.scale_loss(loss / replicas if replicas > 1 else loss)
