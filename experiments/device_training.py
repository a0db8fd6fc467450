"""Training on JAX: the images lie on the device, and an epoch is one compiled program.

Networks of these sizes take less time for a step than a host takes to prepare its batch. So the
program of an epoch gathers each batch from images that are already there, changes them at random
and performs the training step, one after the other in a ``jax.lax.scan``. The step is the model's
own, as Keras's trainer would call it: of a purifier the one that ``defenses.stateless`` makes from
its phases, of a classifier Keras's.

The order of the images is that of ``experiments.datasets.Batches``: it depends on seed and epoch
alone, so a resumed training is exact. Every batch is full: where the images do not fill the last
one, those left over are skipped in this epoch (another order leaves out others). Fewer images than
a batch are one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from experiments.datasets import Batches
from experiments.device_augmentation import augment
from experiments.loop_convolutions import with_ordered_convolutions

__all__ = ["DeviceTraining", "steps_of_an_epoch"]

_AT_ONCE = 10_000
"""Images that are looked at together, which bounds the memory of the host."""
_AUGMENTATION = 1
"""Tells the keys of augmentation from other uses of seed and epoch."""


def steps_of_an_epoch(batches: Batches) -> int:
    """How many full batches an epoch has; fewer images than a batch are one.

    Args:
        batches: The training data.
    """
    return max(1, len(batches.order) // batches.training.batch_size)


class DeviceTraining:
    """Trains a model epoch by epoch; the state stays on the device between epochs.

    The program of an epoch is compiled once, when the first epoch runs. The variables of the model
    have the values of the last epoch after each one, and may be changed between epochs.

    Args:
        model: Compiled and built: a purifier, adversarial training, or a classifier with a loss of
            Keras's.
        batches: The training data.

    Raises:
        ValueError: If the backend is not JAX.
    """

    def __init__(self, model: keras.Model, batches: Batches) -> None:
        if keras.backend.backend() != "jax":
            raise ValueError(
                f"Expected the backend jax for training on the device, received "
                f"{keras.backend.backend()!r}. Set KERAS_BACKEND=jax before Keras is imported, or "
                "call model.fit."
            )
        self.model, self.batches = model, batches
        self.steps = steps_of_an_epoch(batches)
        self.traces = 0
        """How often the step was traced, which is once."""
        self._build_model()
        batches.on_epoch_end()  # Keras's fit does so before its first epoch: the order is the same
        self._data = _on_all_devices(_resident(batches))
        self._program: Callable[..., Any] | None = None

    def epoch(self) -> dict[str, float]:
        """Trains for one epoch, in the order of the batches' present one, and moves to the next.

        Returns:
            Means over the images of the epoch, by name.
        """
        import jax

        self.model.reset_metrics()
        state = self._state()
        drawn = self._order()
        if self._program is None:
            # Compiled ahead: a call that would compile anew is an error then, not a silent cost.
            placed = jax.tree.map(lambda value: value.sharding, state)
            program = jax.jit(self._run, donate_argnums=0, out_shardings=(placed, None))
            self._program = program.lower(state, self._data, *drawn).compile()
        state, logs = self._program(state, self._data, *drawn)
        for variables, values in zip(self._variables(), state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        self.batches.start_at(self.batches.epoch + 1)
        return {name: float(value) for name, value in jax.device_get(logs).items()}

    def _build_model(self) -> None:
        """Creates what Keras would create at the first step: optimizer slots and metrics."""
        images, labels = self.batches.images[:1], self.batches.labels[:1]
        self.model._symbolic_build(data_batch=(images, labels))

    def _variables(self) -> list[list[keras.Variable]]:
        model = self.model
        return [
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        ]

    def _state(self) -> tuple[list[Any], ...]:
        """The values of all variables, copied: the program overwrites what it is given."""
        import jax.numpy as jnp

        return tuple([jnp.array(v.value, v.dtype) for v in part] for part in self._variables())

    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        """Which images make each batch of this epoch, and the key of its augmentation."""
        size = min(self.batches.training.batch_size, len(self.batches.order))
        order = self.batches.order[: self.steps * size].astype(np.int32)
        origin = [self.batches.seed, self.batches.epoch, _AUGMENTATION]
        key = np.random.SeedSequence(origin).generate_state(2, np.uint32)
        return order.reshape(self.steps, size), key

    def _run(self, state: Any, data: Any, order: Any, key: Any) -> tuple[Any, dict[str, Any]]:
        """The program: all steps of an epoch."""
        import jax

        self.traces += 1
        keys = jax.random.split(jax.random.wrap_key_data(key, impl="threefry2x32"), self.steps)

        def step(state: Any, drawn: Any) -> Any:
            indices, key = drawn
            logs, state = self.model.train_step(state, self._batch(data, indices, key))
            # Lists without weak types, as the state came in: a scan keeps its kind.
            kept = [[jax.lax.convert_element_type(v, v.dtype) for v in part] for part in state]
            return tuple(kept), logs

        if jax.default_backend() == "cpu":
            step = with_ordered_convolutions(step)
        state, logs = jax.lax.scan(step, state, (order, keys))
        return state, {name: values[-1] for name, values in logs.items()}

    def _batch(self, data: dict[str, Any], indices: Any, key: Any) -> Any:
        """A batch as ``Batches`` would yield it."""
        count = len(self.batches.labels)
        copies, chosen = indices // count, indices % count
        images = augment(_as_floats(data["clean"][chosen]), key, self.batches.training)
        available = {"clean": images, "label": data["label"][chosen]}
        if self.batches.attacked:
            available["adversarial"] = _as_floats(data["adversarial"][copies, chosen])
        available = {name: _shared(values) for name, values in available.items()}
        if self.batches.keys is None:
            return available["clean"], available["label"]
        return ({name: available[name] for name in self.batches.keys},)


def _resident(batches: Batches) -> dict[str, np.ndarray]:
    """The training data as they lie on the device: 8 bits for each value where that is exact."""
    data = {"clean": _smallest([batches.images])[0], "label": batches.labels.astype(np.int32)}
    if batches.attacked:
        data["adversarial"] = _smallest(batches.attacked)
    return data


def _smallest(arrays: Any) -> np.ndarray:
    """Image arrays, stacked: uint8 if every value is one of k/255, else as they are."""
    codes = np.empty((len(arrays), *arrays[0].shape), np.uint8)
    for array, code in zip(arrays, codes, strict=True):
        for part in _parts(len(array)):
            np.rint(array[part] * np.float32(255), out=code[part], casting="unsafe")
            if not np.array_equal(_LEVELS[code[part]], array[part]):
                return np.stack(arrays)
    return codes


def _parts(length: int) -> Iterator[slice]:
    return (slice(start, start + _AT_ONCE) for start in range(0, length, _AT_ONCE))


_LEVELS = np.arange(256, dtype=np.float32) / np.float32(255)
"""The values of 8-bit images, looked up: a compiled division may round otherwise."""


def _as_floats(images: Any) -> Any:
    import jax.numpy as jnp

    return jnp.asarray(_LEVELS)[images] if images.dtype == jnp.uint8 else images


def _on_all_devices(data: dict[str, np.ndarray]) -> dict[str, Any]:
    """Puts arrays on the device, or on each of those that share a batch."""
    import jax

    spread = keras.distribution.distribution()
    if spread is None:
        return {name: jax.device_put(values) for name, values in data.items()}
    whole = {
        name: keras.distribution.TensorLayout([None] * values.ndim, spread.device_mesh)
        for name, values in data.items()
    }
    return {
        name: keras.distribution.distribute_tensor(values, whole[name])
        for name, values in data.items()
    }


def _shared(values: Any) -> Any:
    """A batch, of which each device takes its share if there are several."""
    spread = keras.distribution.distribution()
    if spread is None:
        return values
    layout = spread.get_data_layout(values.shape)
    return keras.distribution.distribute_tensor(values, layout)
