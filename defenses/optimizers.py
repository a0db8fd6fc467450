"""The optimizers of a purifier: which it takes, and how Keras's callbacks see several of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import keras

from validation import check_number

__all__ = ["OptimizerGroup", "build_optimizer", "take_optimizers"]


class OptimizerGroup(keras.optimizers.Optimizer):
    """The optimizers of a model that has several, as the one optimizer that Keras expects.

    Callbacks for learning rates (``LearningRateScheduler``, ``ReduceLROnPlateau``) and for averaged
    weights act on each of ``optimizers``, from its own rate. It updates no variable itself: the
    phases of a training step do.

    Args:
        optimizers: At least one, each built for its own variables.
    """

    def __init__(self, optimizers: Sequence[keras.optimizers.Optimizer]) -> None:
        super().__init__(learning_rate=0.0, name="optimizer_group")
        self.optimizers = list(optimizers)
        self.built = True

    @property
    def iterations(self) -> Any:
        """How many steps the first optimizer has taken."""
        return self.optimizers[0].iterations

    @property
    def variables(self) -> list[keras.Variable]:
        """Those of all optimizers on JAX, where they pass through each step; else its own."""
        if keras.backend.backend() == "jax" and hasattr(self, "optimizers"):
            return [v for optimizer in self.optimizers for v in optimizer.variables]
        return super().variables

    @property
    def learning_rate(self) -> NoReturn:
        """There is none: each optimizer has its own.

        Raises:
            ValueError: Always, when it is read or assigned.
        """
        self._refuse()

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self._refuse()

    def apply(self, grads: Any, trainable_variables: Any = None) -> NoReturn:
        """Refuses: which optimizer updates a variable is said by the phases alone.

        Raises:
            ValueError: Always.
        """
        self._refuse()

    def finalize_variable_values(self, var_list: Any) -> None:
        """Lets each optimizer set its own variables to their averages, if it keeps any."""
        for optimizer in self.optimizers:
            optimizer.finalize_variable_values(_updated_by(optimizer))

    def _refuse(self) -> NoReturn:
        names = ", ".join(optimizer.name for optimizer in self.optimizers)
        raise ValueError(
            f"Expected one of the optimizers, received all {len(self.optimizers)} together "
            f"({names}). Use each of model.optimizer.optimizers, such as "
            "model.optimizer.optimizers[0].learning_rate."
        )


def take_optimizers(
    model: keras.Model,
    given: Mapping[str, keras.optimizers.Optimizer | str | None],
    default: Callable[[], keras.optimizers.Optimizer],
) -> dict[str, keras.optimizers.Optimizer]:
    """Returns the optimizers that ``compile`` was given, made from names or defaults.

    In half precision small gradients vanish, so each of them then scales its loss. Several are
    named by their arguments.

    Args:
        model: The model to be trained.
        given: By the name of the argument: an optimizer, the name of one, or ``None``.
        default: Makes the optimizer that stands for ``None``.

    Returns:
        The optimizers by the same names.

    Raises:
        ValueError: If an optimizer is unknown or of another kind, or given twice.
    """
    taken = {
        name: default() if value is None else _read(name, value) for name, value in given.items()
    }
    inner = [getattr(optimizer, "inner_optimizer", optimizer) for optimizer in taken.values()]
    if len(set(map(id, inner))) < len(inner):
        raise ValueError(
            f"Expected {len(inner)} optimizers, received one {type(inner[0]).__name__} twice. An "
            "optimizer keeps a state for each of its variables: make a second one."
        )
    if len(taken) > 1:  # by which Keras's logs tell their rates apart
        for name, optimizer in taken.items():
            optimizer.name = name
    scaled = keras.optimizers.LossScaleOptimizer
    if any(layer.compute_dtype == "float16" for layer in _layers(model)):
        taken = {
            name: optimizer if isinstance(optimizer, scaled) else scaled(optimizer, name=name)
            for name, optimizer in taken.items()
        }
    return taken


def build_optimizer(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]
) -> None:
    """Creates the state of an optimizer for variables, unless it has it.

    Raises:
        ValueError: If the optimizer was built for other variables.
    """
    if not optimizer.built:
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        if inner.built:
            _check_variables(inner, variables)
        optimizer.build(list(variables))
    _check_variables(optimizer, variables)


def _read(name: str, value: Any) -> keras.optimizers.Optimizer:
    try:
        optimizer = keras.optimizers.get(value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"Expected {name} as a Keras optimizer or the name of one, received {value!r}. Pass "
            "keras.optimizers.Adam(1e-3), 'adam', or None for the published one."
        ) from error
    rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    check_number(f"the learning rate of {name}", rate, at_least=0, such_as=0.001)
    return optimizer


def _layers(model: keras.Model) -> Iterator[keras.Layer]:
    """The model and its layers, those of networks inside it too."""
    yield model
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


def _updated_by(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    return list(getattr(optimizer, "_trainable_variables", None) or [])


def _check_variables(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]
) -> None:
    if not {id(v) for v in variables} <= {id(v) for v in _updated_by(optimizer)}:
        raise ValueError(
            f"Expected a new optimizer, received {type(optimizer).__name__} {optimizer.name!r} "
            "with a state for the variables of another model. Make a new optimizer for each model."
        )
