"""Checks of training data, where they come in: images and labels of every batch."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from validation import (
    check_call,
    check_images,
    check_integer,
    check_labels,
    check_number,
    check_one_each,
)

__all__ = ["BatchCheck", "CheckedTraining"]

_MOST = 10**9
"""Largest number of epochs, steps or images in a batch that ``fit`` may be asked for."""


@dataclass(frozen=True, kw_only=True)
class BatchCheck:
    """What a training batch has to hold, and the check of it.

    Args:
        image_shape: ``(height, width, channels)`` of all images.
        image_keys: Names of the images in a batch.
        label_key: Name of the labels; ``None`` if there are none.
        num_classes: Labels are below it; ``None`` if nobody knows.
        as_pair: Whether a batch is a pair ``(images, labels)`` instead of a dict by these names.
    """

    image_shape: tuple[int, int, int]
    image_keys: tuple[str, ...]
    label_key: str | None = None
    num_classes: int | None = None
    as_pair: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """All names, in the order of a pair."""
        return self.image_keys if self.label_key is None else (*self.image_keys, self.label_key)

    def read(self, data: Any) -> Mapping[str, Any]:
        """Returns a batch by name, after checking that nothing is missing; looks at no value.

        Args:
            data: A dict, or a tuple of one (what Keras adds to it as targets and weights is
                ``None``); for pairs, a pair.

        Raises:
            ValueError: If it is of another kind or lacks one of the names.
        """
        parts = list(data) if isinstance(data, list | tuple) else [data]
        while len(parts) > (2 if self.as_pair else 1) and parts[-1] is None:
            parts.pop()
        if self.as_pair:
            if len(parts) != 2:
                count = type(data).__name__ if len(parts) == 1 else f"{len(parts)} values"
                raise ValueError(
                    f"Expected a batch as a pair (images, labels), received {count}. Pass "
                    "arrays to fit(images, labels), or a keras.utils.PyDataset of pairs."
                )
            return dict(zip(self.keys, parts, strict=True))
        batch = parts[0] if len(parts) == 1 else data
        if not isinstance(batch, Mapping) or not set(self.keys) <= set(batch):
            received: Any = type(batch).__name__
            if isinstance(batch, Mapping):
                received = sorted(batch)
            raise ValueError(
                f"Expected a batch as a dict with the keys {list(self.keys)}, received "
                f"{received}. Pass a keras.utils.PyDataset whose items are such dicts, or a "
                "dict of arrays; labels and weights of their own are not used."
            )
        return batch

    def tensors(self, data: Any) -> Mapping[str, Any]:
        """Returns a batch of tensors by name, checked as far as a graph allows.

        Args:
            data: As for ``read``.

        Raises:
            ValueError: If something is missing, or images or labels are of another kind or shape
                or, where there are values, out of range.
        """
        batch = self.read(data)
        for key in self.image_keys:
            check_call(batch[key], self.image_shape, name=key)
        if self.label_key is not None:
            images = batch[self.image_keys[0]]
            given = batch[self.label_key]
            labels = self._label_tensor(given, images)
            if labels is not given:
                batch = {**batch, self.label_key: labels}
        return batch

    def __call__(self, data: Any) -> Any:
        """Returns a batch of arrays in the form in which it came, float32 images and int64 labels.

        Args:
            data: As for ``read``.

        Raises:
            ValueError: If something is missing, or images or labels are of another kind, shape,
                number or range, or not finite.
        """
        batch = self.read(data)
        checked = {
            key: check_images(batch[key], self.image_shape, name=key)
            for key in self.keys[: len(self.image_keys)]
        }
        check_one_each(**checked)
        if self.label_key is not None:
            num_images = len(checked[self.image_keys[0]])
            checked[self.label_key] = check_labels(
                batch[self.label_key], num_images, self.num_classes, name=self.label_key
            )
        if self.as_pair:
            return tuple(checked.values())
        return {**batch, **checked}

    def _label_tensor(self, labels: Any, images: Any) -> Any:
        if isinstance(labels, np.ndarray) or callable(getattr(labels, "numpy", None)):
            check_labels(
                np.asarray(labels), len(images), self.num_classes, name=str(self.label_key)
            )
        rank = len(labels.shape)
        kind = keras.backend.standardize_dtype(labels.dtype)
        if "int" not in kind or rank > 2 or (rank == 2 and labels.shape[1] != 1):
            raise ValueError(
                f"Expected {self.label_key} as integers of shape (batch,), received dtype {kind} "
                f"and shape {tuple(labels.shape)}. Turn one-hot labels into integers by "
                f"{self.label_key}.argmax(axis=-1)."
            )
        return ops.reshape(labels, (-1,)) if rank == 2 else labels


class CheckedTraining(keras.Model):
    """A model that looks at its training data where they come in.

    Arrays are checked whole, at once; every batch of a ``keras.utils.PyDataset``, of a generator or
    of a ``tf.data.Dataset`` is checked as it comes. Inside the compiled step only kinds and shapes
    can be seen. Neither order nor number of the batches changes.

    A subclass gives ``batch_check()``.
    """

    def batch_check(self) -> BatchCheck:
        """What a training batch has to hold."""
        raise NotImplementedError

    @functools.wraps(keras.Model.fit)
    def fit(self, *arguments: Any, **named: Any) -> Any:
        """Trains as ``keras.Model.fit`` does, on checked data.

        Raises:
            ValueError: If the training or validation data are not as ``batch_check`` says.
        """
        given = _bound(keras.Model.fit, self, arguments, named)
        _check_fit_numbers(given)
        door = _Door(self.batch_check())
        door.check_arrays(given)
        if given.get("validation_data") is not None:
            given["validation_data"] = door.check_validation(given["validation_data"])
        with door.open():
            return super().fit(**given)

    @functools.wraps(keras.Model.evaluate)
    def evaluate(self, *arguments: Any, **named: Any) -> Any:
        """Evaluates as ``keras.Model.evaluate`` does, on checked data.

        Raises:
            ValueError: If the data are not as ``batch_check`` says.
        """
        if "_use_cached_eval_dataset" in named:  # by fit, which has checked them
            return super().evaluate(*arguments, **named)
        given = _bound(keras.Model.evaluate, self, arguments, named)
        door = _Door(self.batch_check())
        door.check_arrays(given)
        with door.open():
            return super().evaluate(**given)

    @functools.wraps(keras.Model.train_on_batch)
    def train_on_batch(self, *arguments: Any, **named: Any) -> Any:
        """One training step as of ``keras.Model.train_on_batch``, on a checked batch.

        Raises:
            ValueError: If the batch is not as ``batch_check`` says.
        """
        given = _bound(keras.Model.train_on_batch, self, arguments, named)
        _Door(self.batch_check()).check_arrays(given)
        return super().train_on_batch(**given)

    @functools.wraps(keras.Model.test_on_batch)
    def test_on_batch(self, *arguments: Any, **named: Any) -> Any:
        """The losses of one batch as of ``keras.Model.test_on_batch``, which is checked.

        Raises:
            ValueError: If the batch is not as ``batch_check`` says.
        """
        given = _bound(keras.Model.test_on_batch, self, arguments, named)
        _Door(self.batch_check()).check_arrays(given)
        return super().test_on_batch(**given)


class _Door:
    """Checks data of any kind that Keras trains on, and remembers what it refused."""

    def __init__(self, check: BatchCheck) -> None:
        self.check = check
        self.refusal: ValueError | None = None

    def __call__(self, batch: Any) -> Any:
        try:
            return self.check(batch)
        except ValueError as error:
            self.refusal = error
            raise

    @contextmanager
    def open(self) -> Iterator[None]:
        """Raises a refusal as it is, which TensorFlow wraps in an error of its own."""
        try:
            yield
        except Exception as error:
            if self.refusal is None or error is self.refusal:
                raise
            raise self.refusal from None

    def check_arrays(self, given: dict[str, Any]) -> None:
        """Replaces ``x`` and ``y`` among arguments of Keras's by checked ones."""
        for name in ("sample_weight", "class_weight"):
            if given.get(name) is not None:
                raise ValueError(
                    f"Expected no {name}, received {type(given[name]).__name__}. The losses weigh "
                    "all images alike: leave it out."
                )
        data, labels = given.get("x"), given.get("y")
        watched = self._watch(data)
        if watched is not None:
            given["x"] = watched
            return
        checked = self.check(data if labels is None else (data, labels))
        if self.check.as_pair:
            given["x"], given["y"] = checked
        else:
            given["x"] = checked

    def check_validation(self, data: Any) -> Any:
        """Validation data, checked: a dataset, or arrays as ``fit`` takes them."""
        watched = self._watch(data)
        if watched is not None:
            return watched
        return self.check(data)

    def _watch(self, data: Any) -> Any:
        """A dataset with each batch checked; ``None`` if the data are arrays."""
        if isinstance(data, keras.utils.PyDataset):
            return _CheckedDataset(data, self)
        if isinstance(data, types.GeneratorType):
            return _checked_generator(data, self)
        if _is_tensorflow_dataset(data):
            return _checked_tensorflow_dataset(data, self)
        # Datasets of other libraries: the step itself checks what a graph shows.
        is_arrays = data is None or isinstance(data, Mapping | list | tuple | str | int | float)
        return None if is_arrays or hasattr(data, "shape") else data


class _CheckedDataset(keras.utils.PyDataset):
    """Another dataset's batches, in its order, each of them checked."""

    def __init__(self, dataset: keras.utils.PyDataset, check: Callable[[Any], Any]) -> None:
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self.dataset, self.check = dataset, check

    @property
    def num_batches(self) -> int | None:
        return self.dataset.num_batches

    def __getitem__(self, index: int) -> Any:
        return self.check(self.dataset[index])

    def on_epoch_begin(self) -> None:
        self.dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.dataset.on_epoch_end()


def _checked_generator(batches: Iterator[Any], check: _Door) -> Iterator[Any]:
    for batch in batches:
        checked = check(batch)
        yield checked if check.check.as_pair else (checked,)  # Keras wants tuples of generators


def _is_tensorflow_dataset(data: Any) -> bool:
    return any(
        base.__name__ == "DatasetV2" and base.__module__.startswith("tensorflow.")
        for base in type(data).__mro__
    )


def _checked_tensorflow_dataset(dataset: Any, door: _Door) -> Any:
    """The dataset with every batch checked where it is made."""
    import tensorflow as tf

    check = door.check
    first, keys = check.image_keys[0], check.keys

    def values(*arrays: np.ndarray) -> np.int64:
        batch = dict(zip(keys, arrays, strict=True))
        door(tuple(arrays) if check.as_pair else batch)
        return np.int64(len(batch[first]))

    def checked(*elements: Any) -> Any:
        batch = check.tensors(elements)
        counted = tf.numpy_function(values, [batch[key] for key in keys], tf.int64)
        with tf.control_dependencies([counted]):
            batch = {**batch, **{key: tf.identity(batch[key]) for key in keys}}
        return tuple(batch[key] for key in keys) if check.as_pair else (batch,)

    return dataset.map(tf.autograph.experimental.do_not_convert(checked))


def _check_fit_numbers(given: Mapping[str, Any]) -> None:
    """Raises unless the numbers among the arguments of ``fit`` ask for a training."""
    epochs = check_integer("epochs", given.get("epochs", 1), at_least=1, at_most=_MOST)
    first = check_integer("initial_epoch", given.get("initial_epoch", 0))
    if first >= epochs:
        raise ValueError(
            f"Expected initial_epoch below epochs, received {first} and {epochs}. Raise epochs: it "
            "counts those that were trained before too."
        )
    for name in ("batch_size", "steps_per_epoch", "validation_steps", "validation_batch_size"):
        if given.get(name) is not None:
            check_integer(name, given[name], at_least=1, at_most=_MOST)
    share = given.get("validation_split", 0.0)
    check_number("validation_split", share, at_least=0, below=1, such_as=0.1)


def _bound(
    method: Callable[..., Any], model: Any, arguments: tuple[Any, ...], named: dict[str, Any]
) -> dict[str, Any]:
    """The arguments of a method of Keras's by name, without the model."""
    given = dict(inspect.signature(method).bind(model, *arguments, **named).arguments)
    del given["self"]
    return {**given, **given.pop("kwargs", {})}
