"""The attacked model: one stable callable, fixed batch shapes, seeded randomness."""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from attacks.job import AttackFailedError
from validation import check_logits

# Sets of fewer images keep their size; others are filled up to a multiple of so many rows.
_FEW, _ROWS = 10, 20


class AttackedModel:
    """One stable callable from images to logits per model, shared by all attacks on it.

    CleverHans and TensorFlow retrace for every new callable they are given, so each model has one
    during its lifetime. It holds a weak reference: attacking a model does not keep it in memory.

    Args:
        model: A classifier that maps ``(batch, height, width, channels)`` images in [0, 1] to
            ``(batch, classes)`` logits.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = weakref.ref(model)
        self._predict = tf.function(lambda images: self(images), reduce_retracing=True)
        self.num_classes: int | None = None
        self.compiled: dict[Any, Any] = {}

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the ``(batch, classes)`` logits of the model in inference mode, in float32."""
        model = self._model()
        if model is None:
            raise ReferenceError("The attacked model no longer exists; keep a reference to it.")
        logits = model(images, training=False)
        if tf.is_tensor(logits) and logits.dtype == tf.float64:
            return tf.cast(logits, tf.float32)
        return logits

    def predict(self, images: np.ndarray, batch_size: int) -> np.ndarray:
        """Returns the ``(num_images, classes)`` logits, computed batch by batch."""
        logits = [
            self._predict(tf.constant(images[rows])).numpy()[:count]
            for _, count, rows in padded_batches(len(images), batch_size)
        ]
        return np.concatenate(logits)

    def check(self, images: np.ndarray) -> int:
        """Returns the number of classes, after a check of the logits of one batch of images.

        Runs uncompiled: for one batch, tracing would take longer. A single image does not tell
        scaled probabilities from logits, so that the next call looks again.

        Raises:
            AttackFailedError: If the model does not return logits of float32 or float64.
        """
        if self.num_classes is not None:
            return self.num_classes
        logits = self(tf.constant(images))
        if not tf.is_tensor(logits):
            raise AttackFailedError(
                "Expected a model that returns one tensor of logits, received "
                f"{type(logits).__name__}. Pass keras.Model(model.inputs, logits) with the output "
                "that is to be attacked."
            )
        if logits.dtype != tf.float32:
            raise AttackFailedError(
                f"Expected logits of float32, received {logits.dtype.name}, whose gradient is "
                "rounded to zero or is none. Give the last layer dtype='float32', without a "
                "rounding or an argmax behind it."
            )
        try:
            num_classes = check_logits(logits.numpy(), len(images))
        except ValueError as error:
            raise AttackFailedError(str(error)) from None
        if len(images) > 1:
            self.num_classes = num_classes
        return num_classes


_attacked_models: weakref.WeakKeyDictionary[keras.Model, AttackedModel] = (
    weakref.WeakKeyDictionary()
)


def attacked_model(model: keras.Model) -> AttackedModel:
    """Returns the only ``AttackedModel`` of a model, made at the first call.

    Raises:
        ValueError: If it is no Keras model, or one without weights yet.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"Expected a keras.Model from images to logits, received {type(model).__name__}. Load "
            "or build one; a function becomes one as the call method of a subclass."
        )
    if not model.built:
        raise ValueError(
            f"Expected a model with weights, received {model.name!r}, which was never called. Call "
            "it once on a batch of images, and train it before it is attacked."
        )
    if model not in _attacked_models:
        _attacked_models[model] = AttackedModel(model)
    return _attacked_models[model]


def image_shape_of(model: keras.Model) -> tuple[int | None, ...] | None:
    """Returns the ``(height, width, channels)`` that a model takes; ``None`` if it does not say.

    Raises:
        ValueError: If it takes anything but one batch of images.
    """
    shape = getattr(model, "input_shape", None)
    if shape is None:
        return getattr(model, "image_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4:
        raise ValueError(
            "Expected a model of one input (batch, height, width, channels), received one that "
            f"takes {shape}. Put a keras.layers.Flatten or Reshape before it, or a model that "
            "fills in its other inputs."
        )
    return shape[1:]


def padded_batches(num_images: int, batch_size: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yields ``(start, count, rows)``: batches of one size, the last one filled up from the start.

    A batch of a new size would be traced again, so even a set smaller than a batch is filled up, to
    a multiple of 20. Only the first ``count`` rows are results.

    Args:
        num_images: Number of images, at least 1.
        batch_size: Rows per batch; fewer where there are fewer images.
    """
    rounded = num_images if num_images < _FEW else math.ceil(num_images / _ROWS) * _ROWS
    size = min(batch_size, rounded)
    for start in range(0, num_images, size):
        yield start, min(size, num_images - start), np.arange(start, start + size) % num_images


def batch_seed(seed: int, start: int) -> int:
    """Returns the seed of the batch that begins at image ``start``, in [0, 2**31)."""
    return int(np.random.SeedSequence([seed, start]).generate_state(1)[0] >> 1)


@contextlib.contextmanager
def repeatable_randomness(model: keras.Model, seed: int) -> Iterator[Callable[[int], None]]:
    """Yields a function that reseeds a random model, and restores its generators at the end.

    A purifier that samples takes its noise from attached ``keras.random.SeedGenerator`` objects.
    Without reseeding, the result of an attack would depend on earlier calls of the purifier.

    Args:
        model: The attacked model; its seed generators' states are saved and restored.
        seed: Seed of the attack, from which that of each batch is derived.

    Returns:
        A context whose value is ``reseed(start)``, to be called before the batch that begins at
        image ``start``.
    """
    states = [v for v in model.variables if v.name == "seed_generator_state"]
    saved = [keras.ops.convert_to_numpy(state) for state in states]

    def reseed(start: int) -> None:
        for index, state in enumerate(states):
            state.assign(np.array([batch_seed(seed, start), index], saved[index].dtype))

    try:
        yield reseed
    finally:
        for state, value in zip(states, saved, strict=True):
            state.assign(value)


@contextlib.contextmanager
def missing_gradients_explained(attack_name: str) -> Iterator[None]:
    """Replaces TensorFlow's error for an operation without a gradient by one that says what to do.

    Args:
        attack_name: Name of the attack, for the message.

    Raises:
        AttackFailedError: If the block meets an operation that does not differentiate.
    """
    try:
        yield
    except (LookupError, NotImplementedError) as error:
        if isinstance(error, (KeyError, IndexError)):
            raise
        raise AttackFailedError.no_gradient(attack_name, f"an error ({error})") from error
