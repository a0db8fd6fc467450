"""A training step as a function from state to state, made from phases: what JAX asks of a model.

A program of JAX may read and write its arguments and results only. So the values of all variables
come in as a state, every phase is evaluated in a ``keras.StatelessScope`` that lends the variables
these values, and what it changed is handed on. Scopes do not nest: each one here begins from the
values as they are at that point.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import keras

from defenses.phases import Batch, Losses, Phase, step_objective

__all__ = ["State", "lend_stateless_steps", "stateless_test_step", "stateless_train_step"]

State = tuple[Sequence[Any], ...]
"""Values of the trainable, the other, the optimizers' and the metrics' variables of a model; for
an evaluation without those of the optimizers."""


class Phased(Protocol):
    """What the steps ask of a model."""

    optimizer: keras.optimizers.Optimizer
    trainable_variables: list[keras.Variable]
    non_trainable_variables: list[keras.Variable]
    metrics_variables: list[keras.Variable]

    def phases(self) -> list[Phase]:
        """The updates of one step."""

    def read_batch(self, data: Any) -> Batch:
        """A training batch by name, checked."""

    def track(self, losses: Losses, batch: Batch, phase_name: str) -> None:
        """Adds losses to the epoch means."""

    def tracked_losses(self) -> dict[str, Any]:
        """The epoch means so far."""


def lend_stateless_steps(model: Any) -> None:
    """Gives a model the steps that Keras's trainer calls on JAX; elsewhere its own ones stay.

    Args:
        model: A ``Phased`` model, when it is compiled.
    """
    if keras.backend.backend() == "jax":
        model.train_step = lambda state, data: stateless_train_step(model, state, data)
        model.test_step = lambda state, data: stateless_test_step(model, state, data)
        for layer in model._flatten_layers():
            # All weights are there. Layers of noise, which only losses call, have none to build,
            # and Keras would call the model on a training batch to do so.
            layer.built = True


def stateless_train_step(model: Phased, state: State, data: Any) -> tuple[dict[str, Any], State]:
    """Performs the updates of every phase on a state.

    1. For each phase, evaluate its losses and their gradient with respect to its variables alone.
    2. Keep what the evaluation changed in other variables: statistics of batches, random states.
    3. Let the phase's optimizer update its variables, then do what comes ``after``.
    4. Add the losses to the epoch means.

    Args:
        model: Compiled; its own variables are neither read nor written.
        state: As ``State`` says, in the order of the model's lists.
        data: A training batch.

    Returns:
        The running epoch means by name, and the state after the step.
    """
    import jax

    values = _Values(_variables(model, optimized=True), state)
    batch = model.read_batch(data)
    for phase in model.phases():
        moved = list(phase.variables)

        def objective(weights: list[Any], phase: Phase = phase, moved: Any = moved) -> Any:
            with values.lent(zip(moved, weights, strict=True)) as scope:
                losses, auxiliary = phase.evaluate(batch, training=True)
                loss = step_objective(losses["loss"], phase.optimizer)
                return loss, (losses, auxiliary, values.seen(scope, less=moved))

        weights = values.of(moved)
        gradients, (losses, auxiliary, changed) = jax.grad(objective, has_aux=True)(weights)
        values.update(changed)
        slots = phase.optimizer.variables
        weights, slot_values = phase.optimizer.stateless_apply(values.of(slots), gradients, weights)
        values.assign(moved, weights)
        values.assign(slots, slot_values)
        with values.kept():
            if phase.after is not None:
                phase.after(auxiliary)
            model.track(losses, batch, phase.name)
    with values.lent():
        logs = model.tracked_losses()
    return logs, values.state()


def stateless_test_step(model: Phased, state: State, data: Any) -> tuple[dict[str, Any], State]:
    """Computes the losses of every phase in inference mode; only random states and means move.

    Args:
        model: Compiled; its own variables are neither read nor written.
        state: As ``State`` says, without the optimizers' values.
        data: A batch as for training.

    Returns:
        The running means by name, and the state after the step.
    """
    values = _Values(_variables(model, optimized=False), state)
    batch = model.read_batch(data)
    for phase in model.phases():
        with values.kept():
            losses, _ = phase.evaluate(batch, training=False)
            model.track(losses, batch, phase.name)
    with values.lent():
        logs = model.tracked_losses()
    return logs, values.state()


def _variables(model: Phased, *, optimized: bool) -> list[list[keras.Variable]]:
    lists = [model.trainable_variables, model.non_trainable_variables, model.metrics_variables]
    if optimized:
        lists.insert(2, model.optimizer.variables)
    return lists


class _Values:
    """The present value of every variable."""

    def __init__(self, variables: list[list[keras.Variable]], state: State) -> None:
        self.lists = variables
        self.variables = {id(v): v for part in variables for v in part}
        self.now: dict[int, Any] = {}
        for part, values in zip(variables, state, strict=True):
            self.assign(part, values)

    def of(self, variables: Iterable[keras.Variable]) -> list[Any]:
        return [self.now[id(v)] for v in variables]

    def assign(self, variables: Iterable[keras.Variable], values: Iterable[Any]) -> None:
        self.now.update(zip(map(id, variables), values, strict=True))

    def update(self, changed: dict[int, Any]) -> None:
        self.now.update(changed)

    def lent(self, instead: Iterable[tuple[keras.Variable, Any]] = ()) -> keras.StatelessScope:
        """A scope in which the variables have the present values, or those given."""
        lent = {**self.now, **{id(v): value for v, value in instead}}
        return keras.StatelessScope([(self.variables[key], value) for key, value in lent.items()])

    def seen(
        self, scope: keras.StatelessScope, less: Sequence[keras.Variable] = ()
    ) -> dict[int, Any]:
        """The values that a scope ended with, but for some variables."""
        left_out = {id(v) for v in less}
        return {
            key: scope.get_current_value(variable)
            for key, variable in self.variables.items()
            if key not in left_out
        }

    @contextmanager
    def kept(self) -> Iterator[None]:
        """A scope whose changes stay."""
        with self.lent() as scope:
            yield
        self.update(self.seen(scope))

    def state(self) -> State:
        return tuple(self.of(part) for part in self.lists)
