"""The attacked model: one stable callable, fixed batch shapes, seeded randomness."""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from attacks import engine
from attacks.job import AttackFailedError
from validation import check_logits

# Sets of fewer images keep their size; others are filled up to a multiple of so many rows.
_FEW, _ROWS = 10, 20
_NOISE_IMAGES = 4


class AttackedModel:
    """One stable callable from images to logits per model, shared by all attacks on it.

    CleverHans and TensorFlow retrace for every new callable they are given, so each model has one
    during its lifetime. It holds a weak reference: attacking a model does not keep it in memory.

    Attributes:
        num_classes: Number of classes, once ``check`` has seen images.
        is_random: Whether the model draws random numbers when it is called, once ``check`` has.
        compiled: What attacks have compiled for this model, by a key of their own.

    Args:
        model: A classifier that maps ``(batch, height, width, channels)`` images in [0, 1] to
            ``(batch, classes)`` logits.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = weakref.ref(model)
        self._predict = engine.compile(lambda images: self(images), self.variables)
        self.num_classes: int | None = None
        self.is_random = False
        self.compiled: dict[Any, Any] = {}

    @property
    def model(self) -> keras.Model:
        """The model; raises a ReferenceError if it no longer exists."""
        model = self._model()
        if model is None:
            raise ReferenceError("The attacked model no longer exists; keep a reference to it.")
        return model

    def variables(self) -> list[keras.Variable]:
        """Every variable of the model, the states of its random generators among them."""
        return list(self.model.variables)

    def __call__(self, images: Any) -> Any:
        """Returns the ``(batch, classes)`` logits of the model in inference mode, in float32."""
        logits = self.model(images, training=False)
        if ops.is_tensor(logits) and _dtype(logits) == "float64":
            return ops.cast(logits, "float32")
        return logits

    def program(self, key: Any, function: Callable[..., Any], **options: Any) -> Any:
        """Returns a function compiled for this model, at the first call with this key.

        Args:
            key: Everything that the function holds as a constant.
            function: As of ``engine.compile``; of later calls it is ignored.
            **options: As of ``engine.compile``.
        """
        if key not in self.compiled:
            self.compiled[key] = engine.compile(function, self.variables, **options)
        return self.compiled[key]

    def predict(self, images: np.ndarray, batch_size: int) -> np.ndarray:
        """Returns the ``(num_images, classes)`` logits, computed batch by batch."""
        logits = [
            ops.convert_to_numpy(self._predict(images[rows]))[:count]
            for _, count, rows in padded_batches(len(images), batch_size)
        ]
        return np.concatenate(logits)

    def check(self, images: np.ndarray) -> int:
        """Returns the number of classes, after a check of the logits of one batch of images.

        Images of noise are looked at too, since probabilities show by their common sum, which one
        image alone has always. On TensorFlow it runs uncompiled: for one batch, tracing would take
        longer.

        Raises:
            AttackFailedError: If the model does not return logits of float32 or float64.
        """
        if self.num_classes is not None:
            return self.num_classes
        states = seed_generator_states(self.model)
        before = [ops.convert_to_numpy(state) for state in states]
        count = len(images)
        noise = np.random.default_rng(0).random((_NOISE_IMAGES, *images.shape[1:]), np.float32)
        if keras.backend.backend() == "jax":
            # Of the shape of the images, as every shape is compiled.
            logits, of_noise = self._checked(images), self._checked(np.resize(noise, images.shape))
            joined = np.concatenate([logits, of_noise])
        else:
            joined = self._checked(np.concatenate([images, noise]))
            logits = joined[:count]
        after = [ops.convert_to_numpy(state) for state in states]
        self.is_random = not all(map(np.array_equal, before, after))
        try:
            num_classes = check_logits(logits, count)
            check_logits(joined, len(joined))
        except ValueError as error:
            raise AttackFailedError(str(error)) from None
        self.num_classes = num_classes
        return num_classes

    def _checked(self, images: np.ndarray) -> np.ndarray:
        """Returns the outputs for some images, which are float32 numbers in one tensor."""
        compiled = keras.backend.backend() == "jax"
        logits = (self._predict if compiled else self)(ops.convert_to_tensor(images))
        if not ops.is_tensor(logits):
            raise AttackFailedError(
                "Expected a model that returns one tensor of logits, received "
                f"{type(logits).__name__}. Pass keras.Model(model.inputs, logits) with the output "
                "that is to be attacked."
            )
        if _dtype(logits) != "float32":
            raise AttackFailedError(
                f"Expected logits of float32, received {_dtype(logits)}, whose gradient is "
                "rounded to zero or is none. Give the last layer dtype='float32', without a "
                "rounding or an argmax behind it."
            )
        return ops.convert_to_numpy(logits)


def seed_generator_states(model: keras.Model) -> list[keras.Variable]:
    """Returns the states of the random generators attached to a model."""
    return [v for v in model.variables if v.name == "seed_generator_state"]


def rows_of(count: int, size: int) -> int:
    """Returns to how many rows a batch is filled up for a program that takes any number of them.

    On TensorFlow to none more: it is traced once. Elsewhere to ``size``, which is compiled.
    """
    return count if keras.backend.backend() == "tensorflow" else max(count, size)


def _dtype(tensor: Any) -> str:
    """Name of the type of a tensor's numbers."""
    return keras.backend.standardize_dtype(tensor.dtype)


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
    states = seed_generator_states(model)
    saved = [keras.ops.convert_to_numpy(state) for state in states]

    def reseed(start: int) -> None:
        for index, state in enumerate(states):
            state.assign(np.array([batch_seed(seed, start), index], saved[index].dtype))

    try:
        yield reseed
    finally:
        for state, value in zip(states, saved, strict=True):
            state.assign(value)


_NO_DERIVATIVE = ("do not support JVP", "Reverse-mode differentiation", "Differentiation rule")
"""What JAX says of an operation that does not differentiate, in errors of several classes."""


@contextlib.contextmanager
def missing_gradients_explained(attack_name: str) -> Iterator[None]:
    """Replaces a backend's error for an operation without a gradient by one that says what to do.

    Args:
        attack_name: Name of the attack, for the message.

    Raises:
        AttackFailedError: If the block meets an operation that does not differentiate.
    """
    try:
        yield
    except AttackFailedError:
        raise
    except Exception as error:
        if _tells_of_no_gradient(error):
            raise AttackFailedError.no_gradient(attack_name, f"an error ({error})") from error
        raise


def _tells_of_no_gradient(error: Exception) -> bool:
    """Whether a backend raised it for an operation that does not differentiate."""
    if isinstance(error, LookupError | NotImplementedError):
        return not isinstance(error, KeyError | IndexError)
    if keras.backend.backend() != "jax":
        return False
    # NumPy code in a model meets a tracer, which has no values; Keras replaces that error.
    named = error if error.__context__ is None else error.__context__
    is_tracer_error = isinstance(named, TypeError) and type(named).__module__.startswith("jax")
    return is_tracer_error or any(words in str(error) for words in _NO_DERIVATIVE)
