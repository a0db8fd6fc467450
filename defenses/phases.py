"""Phases: the updates of a training step, described as data.

Each purifier has an explicit ``train_step``, to be compared with the paper. It also lists the same
updates as phases, from which a generic training step is derived on any backend. A test compares the
resulting weights of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

__all__ = ["Batch", "Losses", "Phase", "step_objective", "sum_over_devices"]

Batch = Mapping[str, Any]
Losses = dict[str, Any]


@dataclass(frozen=True)
class Phase:
    """One update: which losses train which variables, by which optimizer.

    Attributes:
        name: What is updated, such as ``"generator"``.
        losses: Called as ``losses(batch, training=True)``. Returns a dict of scalars whose entry
            ``"loss"`` is minimised; where ``after`` needs a tensor, a pair ``(dict, tensor)``.
        variables: The variables that this phase updates, always in the same order.
        optimizer: Updates them.
        after: Called with that tensor (``None`` where there is none) once the variables are
            updated, for updates without a gradient.
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

    A distribution strategy adds up the gradients of its replicas, so each one contributes its share
    of the mean. Under mixed precision the loss is multiplied by the optimizer's scaling factor, in
    float32, which holds the product.

    Args:
        loss: Scalar tensor, the mean over this replica's batch.
        optimizer: The optimizer that will apply the gradient.

    Returns:
        A scalar tensor; ``loss`` itself on one device in full precision.
    """
    if keras.backend.standardize_dtype(loss.dtype) in ("float16", "bfloat16"):
        loss = ops.cast(loss, "float32")
    replicas = 1
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return optimizer.scale_loss(loss / replicas if replicas > 1 else loss)


def sum_over_devices(values: Any) -> Any:
    """Adds up what each device found in its share of a batch.

    Needed where an update is made without a gradient, as optimizers add up gradients themselves. On
    JAX the program already sees the whole batch.

    Args:
        values: A tensor of this device.

    Returns:
        The sum over all devices; the tensor itself on one device.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            return context.all_reduce(tf.distribute.ReduceOp.SUM, values)
    return values
