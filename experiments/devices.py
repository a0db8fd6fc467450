"""Trainings on several GPUs of one machine: each takes an equal share of every batch.

On TensorFlow a model is mirrored by ``tf.distribute.MirroredStrategy``, on JAX its step is split
by ``keras.distribution.DataParallel``. A step is that of one device: gradients, batch statistics
and averages of codes are those of the whole batch. Random draws differ, as each device makes
its own.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from defenses.purifier import Purifier
from validation import check_choice

ONE, ALL = "one", "all"
DEVICES = (ONE, ALL)
"""What ``use`` takes."""
_chosen = ONE


def use(devices: str) -> int:
    """Chooses the devices of all trainings that begin from here on.

    Args:
        devices: ``"one"``, or ``"all"`` for every GPU that the backend sees; without a GPU, every
            processor device that it was told to make.

    Returns:
        How many there are.

    Raises:
        ValueError: If the choice is unknown, or the backend trains on one device only.
    """
    global _chosen
    check_choice("the devices", devices, DEVICES)
    backend = keras.backend.backend()
    if devices == ALL and backend not in ("tensorflow", "jax"):
        raise ValueError(
            f"Expected the backend tensorflow or jax for several devices, received {backend!r}. "
            "Set KERAS_BACKEND to one of them, or train on one device."
        )
    _chosen = devices
    return count()


def count() -> int:
    """How many devices share each batch."""
    return len(_names()) if _chosen == ALL else 1


@contextlib.contextmanager
def spread() -> Iterator[None]:
    """A context within which a model is built, compiled and trained on the chosen devices."""
    if count() == 1:
        yield
    elif keras.backend.backend() == "jax":
        with keras.distribution.DataParallel(devices=_names()).scope():
            yield
    else:
        with _strategy().scope():
            yield


def prepare(model: keras.Model) -> None:
    """Lets batch statistics be those of the whole batch, on TensorFlow too."""
    if count() > 1 and keras.backend.backend() == "tensorflow":
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True


def dealt(batches: keras.utils.PyDataset, model: keras.Model) -> keras.utils.PyDataset:
    """Batches in the order in which each device's share has every part of the whole.

    Some purifiers cut a batch into parts that play different roles (``Purifier.num_parts``). On
    TensorFlow each device cuts its own share, so the rows are dealt out part by part.

    Args:
        batches: Each a dict or a tuple of arrays.
        model: What is trained on them.

    Returns:
        Batches of the same rows; ``batches`` itself where there is nothing to deal out.
    """
    parts = model.num_parts if isinstance(model, Purifier) else 1
    devices = count() if keras.backend.backend() == "tensorflow" else 1
    return _Dealt(batches, parts, devices) if parts > 1 and devices > 1 else batches


class _Dealt(keras.utils.PyDataset):
    def __init__(self, batches: keras.utils.PyDataset, parts: int, devices: int) -> None:
        super().__init__()
        self.batches, self.parts, self.devices = batches, parts, devices

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        return keras.tree.map_structure(self._deal, self.batches[index])

    def _deal(self, array: np.ndarray) -> np.ndarray:
        """The rows in another order; as they were where a share cannot be cut evenly."""
        if len(array) % (self.parts * self.devices):
            return array
        shares = array.reshape(self.parts, self.devices, -1, *array.shape[1:])
        return shares.swapaxes(0, 1).reshape(array.shape)

    def on_epoch_begin(self) -> None:
        self.batches.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.batches.on_epoch_end()


def _names() -> list[str]:
    """The devices of the backend, GPUs if there are any."""
    if keras.backend.backend() == "jax":
        return keras.distribution.list_devices()
    return keras.distribution.list_devices("gpu") or keras.distribution.list_devices("cpu")


@functools.cache
def _strategy() -> Any:
    """One for the whole process, as TensorFlow numbers what its replicas exchange."""
    import tensorflow as tf

    names = [name.upper() for name in _names()]
    # NCCL is for GPUs alone.
    exchange = None if "GPU" in names[0] else tf.distribute.HierarchicalCopyAllReduce()
    return tf.distribute.MirroredStrategy(names, cross_device_ops=exchange)
