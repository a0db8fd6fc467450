"""What an attack needs of a backend beyond Keras's operations: compile, gradient, loop.

An attack is written once in ``keras.ops`` over these three. On TensorFlow they are a function of a
graph, a tape and a while loop. On JAX a program may read and write its arguments and results only,
so the values of a model's variables are lent to it in a ``keras.StatelessScope``, and what the
program changes, the states of random generators, is carried out of gradient, loop and program and
given back. A random purifier draws anew at every call for that reason.

Keras's own scopes do not see the values of an outer one; those made here do, so that a gradient
within a loop within a program, or within a training step of somebody else, begins from the values
as they are at that point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras

__all__ = ["compile", "gradient", "loop"]


def compile(
    function: Callable[..., Any],
    variables: Callable[[], Sequence[keras.Variable]],
    *,
    any_batch_size: bool = False,
    rarely: bool = False,
) -> Callable[..., Any]:
    """Compiles a function of arrays that calls a model.

    It is traced once for each set of shapes of its arguments. Pass what differs between calls, a
    budget or a seed, as a NumPy scalar or an array: a Python number would be a constant.

    Args:
        function: Arrays to a tensor, or to a structure of tensors.
        variables: Gives every variable that the function reads or writes, such as
            ``lambda: model.variables``; asked at the first call. TensorFlow finds them by itself.
        any_batch_size: Whether the first axis of all arguments is that of a batch, whose size
            varies. TensorFlow then traces the function once for all sizes; a program of JAX has
            fixed shapes, and the caller fills up its batches. All arguments are arrays.
        rarely: Whether it is called so few times that tracing takes longer than running one
            operation after the other. TensorFlow then does so; JAX, which would compile each
            operation by itself, compiles the whole.

    Returns:
        A function of the same arguments.

    Raises:
        ValueError: On a backend other than TensorFlow and JAX.
    """
    if _backend() == "jax":
        return _JaxProgram(function, variables)
    if rarely:
        return function
    if any_batch_size:
        return _TensorFlowProgram(function)
    import tensorflow as tf

    return tf.function(function, reduce_retracing=True)


def gradient(function: Callable[[Any], Any], inputs: Any, *, has_auxiliary: bool = False) -> Any:
    """Gradient, with respect to the inputs, of the sum of what a function returns.

    Where each result depends on its own input alone, these are the gradients of all results. They
    can be differentiated once more. A gradient of a random function is that of one draw.

    Args:
        function: A tensor to a tensor of any shape.
        inputs: The float tensor at which the gradient is taken.
        has_auxiliary: Whether the function returns a pair, whose second part is a tensor, or a
            structure of tensors, that is handed on.

    Returns:
        A tensor shaped like the inputs, with ``has_auxiliary`` a pair of it and the second part. On
        TensorFlow ``None`` instead of the tensor if the result does not depend on the inputs; on
        JAX it is zero then.

    Raises:
        ValueError: On a backend other than TensorFlow and JAX.
    """
    if _backend() == "tensorflow":
        import tensorflow as tf

        inputs = tf.convert_to_tensor(inputs)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            results = function(inputs)
            results, auxiliary = results if has_auxiliary else (results, None)
        slope = tape.gradient(results, inputs)
        return (slope, auxiliary) if has_auxiliary else slope
    import jax

    changed: list[keras.Variable] = []

    def objective(x: Any) -> tuple[Any, Any]:
        with _Scope() as scope:
            results = function(x)
        results, auxiliary = results if has_auxiliary else (results, None)
        changed[:] = scope.changed
        return keras.ops.sum(results), (auxiliary, scope.values_of(changed))

    slope, (auxiliary, values) = jax.grad(objective, has_aux=True)(inputs)
    _assign(changed, values)
    return (slope, auxiliary) if has_auxiliary else slope


def loop(
    body: Callable[[Any, Any], Any],
    state: Any,
    num_steps: int,
    *,
    until: Callable[[Any], Any] | None = None,
) -> Any:
    """Repeats a step; as one loop of the program where the whole is compiled.

    Args:
        body: Called as ``body(index, state)`` with the number of the step, from 0; returns the next
            state, of the same shapes and types.
        state: A tuple of tensors, plain or named.
        num_steps: The largest number of steps, an integer of at least 0.
        until: From a state to a boolean scalar: whether to stop before the next step. Without it a
            gradient can be taken through the loop on JAX, too.

    Returns:
        The state at the end.

    Raises:
        ValueError: On a backend other than TensorFlow and JAX.
    """
    if _backend() == "tensorflow":
        import tensorflow as tf

        def as_state(fields: Sequence[Any]) -> Any:
            return type(state)(*fields) if hasattr(state, "_fields") else tuple(fields)

        def unfinished(index: Any, *fields: Any) -> Any:
            return True if until is None else tf.logical_not(until(as_state(fields)))

        def step(index: Any, *fields: Any) -> tuple[Any, ...]:
            return (index + 1, *body(index, as_state(fields)))

        start = (tf.constant(0), *(tf.convert_to_tensor(field) for field in state))
        return as_state(tf.while_loop(unfinished, step, start, maximum_iterations=num_steps)[1:])
    import jax

    state = jax.tree.map(keras.ops.convert_to_tensor, state)
    with _Scope() as scope:
        jax.eval_shape(lambda fields: body(keras.ops.convert_to_tensor(0), fields), state)
    changed = scope.changed

    def carried(index: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        values, fields = carry
        with _Scope(zip(changed, values, strict=True)) as scope:
            fields = body(index, fields)
        return scope.values_of(changed), fields

    start = [variable.value for variable in changed], state
    if until is None:
        values, state = jax.lax.fori_loop(0, num_steps, carried, start)
    else:
        _, (values, state) = jax.lax.while_loop(
            lambda whole: (whole[0] < num_steps) & ~until(whole[1][1]),
            lambda whole: (whole[0] + 1, carried(*whole)),
            (keras.ops.convert_to_tensor(0), start),
        )
    _assign(changed, values)
    return state


class _Scope(keras.StatelessScope):
    """A scope that sees the values of the scope around it, and knows what was changed in it."""

    def __init__(self, values: Iterable[tuple[keras.Variable, Any]] = ()) -> None:
        super().__init__(list(values), initialize_variables=False)
        self.changed: list[keras.Variable] = []

    def get_current_value(self, variable: keras.Variable) -> Any:
        value = super().get_current_value(variable)
        if value is None and self.original_scope is not None:
            return self.original_scope.get_current_value(variable)
        return value

    def add_update(self, update: tuple[keras.Variable, Any]) -> None:
        super().add_update(update)
        if not any(update[0] is variable for variable in self.changed):
            self.changed.append(update[0])

    def values_of(self, variables: Sequence[keras.Variable]) -> list[Any]:
        """Values as they are at the end of the scope."""
        return [self.state_mapping[id(variable)] for variable in variables]


class _JaxProgram:
    """A compiled function whose model's variables are arguments, not constants."""

    def __init__(
        self, function: Callable[..., Any], variables: Callable[[], Sequence[keras.Variable]]
    ) -> None:
        import jax

        self._get_variables = variables
        self._variables: list[keras.Variable] | None = None

        def pure(values: list[Any], *arguments: Any) -> tuple[Any, dict[int, Any]]:
            variables = self._variables or []
            with _Scope(zip(variables, values, strict=True)) as scope:
                result = function(*arguments)
            numbers = {id(variable): number for number, variable in enumerate(variables)}
            changed = {numbers[id(v)]: scope.state_mapping[id(v)] for v in scope.changed}
            return result, changed

        self._program = jax.jit(pure)

    def __call__(self, *arguments: Any) -> Any:
        if self._variables is None:
            self._variables = list(self._get_variables())
        values = [variable.value for variable in self._variables]
        result, changed = self._program(values, *arguments)
        for number, value in changed.items():
            self._variables[number].assign(value)
        return result


class _TensorFlowProgram:
    """A function of a graph for batches of any size; traced once for each size of an image."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.programs: dict[Any, Any] = {}

    def __call__(self, *arguments: Any) -> Any:
        import tensorflow as tf

        flat = tf.nest.flatten(arguments)
        key = tuple((tuple(array.shape[1:]), str(array.dtype)) for array in flat)
        if key not in self.programs:
            signature = tf.nest.map_structure(_of_any_batch_size, arguments)
            self.programs[key] = tf.function(
                self._function, input_signature=signature, autograph=False
            )
        return self.programs[key](*arguments)


def _of_any_batch_size(array: Any) -> Any:
    """What TensorFlow calls an array whose first axis may be of any length."""
    import tensorflow as tf

    array = tf.convert_to_tensor(array)
    return tf.TensorSpec([None, *array.shape[1:]], array.dtype)


def _assign(variables: Sequence[keras.Variable], values: Sequence[Any]) -> None:
    """Gives values back, in the scope around if there is one."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _backend() -> str:
    """``"tensorflow"`` or ``"jax"``."""
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        raise ValueError(
            f"Expected the backend tensorflow or jax for gradients, received {backend!r}. Set "
            "KERAS_BACKEND to one of them before Keras is imported."
        )
    return backend
