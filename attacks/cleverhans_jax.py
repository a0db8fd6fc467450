"""CleverHans v4's JAX functions, mended, for the gradient attacks; with its MI-FGSM for JAX.

CleverHans 4.0.0 has ``fast_gradient_method`` and ``projected_gradient_descent`` for JAX. Their code
runs here with other names behind it, since it was written for a JAX of 2021 and never corrected:
``jax.experimental.stax`` is gone and ``clip`` lost its old arguments; a step in L2 has length 1
for every epsilon; the random start asks for a generator that does not exist; and the model is
called for one image at a time by ``vmap``, which gives every image of a batch the same noise of a
random purifier. One step is compiled, with the model's weights, the budget and the labels as its
arguments; ``projected_gradient_descent`` repeats it. CleverHans has no MI-FGSM for JAX: the one
here is its TensorFlow function in Keras's operations.

The functions are those of ``attacks.cleverhans_tensorflow``. Without a random start both return the
same images up to rounding; random starts are drawn by other generators, so they differ.
"""

from __future__ import annotations

import functools
import importlib
import sys
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras import ops

from attacks import engine
from attacks.attacked_model import AttackedModel
from attacks.other_names import with_names

__all__ = [
    "basic_iterative_method",
    "fast_gradient_method",
    "has_gradient",
    "loss_gradient",
    "momentum_iterative_method",
    "projected_gradient_descent",
    "random_corner",
]

_ORDERS = {"linf": np.inf, "l2": 2}
_PACKAGE, _STAX = "cleverhans.jax", "jax.experimental.stax"
_SMALLEST = 1e-12


def has_gradient(
    victim: AttackedModel, images: np.ndarray, labels: np.ndarray, *, targeted: bool, momentum: bool
) -> bool:
    """Always true: JAX has a gradient of zeros where the logits do not depend on the images.

    An operation without a gradient raises an error when the attack is compiled.
    """
    return True


def loss_gradient(
    victim: AttackedModel, images: np.ndarray, labels: np.ndarray, *, targeted: bool, momentum: bool
) -> np.ndarray:
    """The gradient of the cross-entropy, shaped like the images."""

    def slope(images: Any, labels: Any) -> Any:
        return engine.gradient(lambda x: _cross_entropy(victim(x), labels), images)

    return np.asarray(victim.program("loss_gradient", slope)(images, labels))


def fast_gradient_method(
    victim: AttackedModel,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
    *,
    norm: str,
    targeted: bool,
) -> np.ndarray:
    """One step of length epsilon along the gradient of the loss."""
    step = _compiled_step(victim, norm, targeted)
    return np.asarray(step(images, _one_hot(victim, labels), np.float32(epsilon)))


def basic_iterative_method(
    victim: AttackedModel,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
    *,
    norm: str,
    targeted: bool,
    step_size: float,
    num_steps: int,
) -> np.ndarray:
    """Steps along the gradient from the images, projected on the ball."""
    return projected_gradient_descent(
        victim,
        images,
        labels,
        epsilon,
        norm=norm,
        targeted=targeted,
        step_size=step_size,
        num_steps=num_steps,
        seed=None,
    )


def projected_gradient_descent(
    victim: AttackedModel,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
    *,
    norm: str,
    targeted: bool,
    step_size: float,
    num_steps: int,
    seed: int | None,
) -> np.ndarray:
    """Steps along the gradient from a random point of the ball; from the images without a seed."""
    compiled = _compiled_step(victim, norm, targeted)

    def step(model_fn: Any, x: Any, length: float, order: float, *, y: Any, **_: Any) -> Any:
        return compiled(x, y, np.float32(length))

    def uniform(shape: tuple[int, ...], low: float, high: float) -> Any:
        return _random_vector(seed or 0, shape, norm, high)

    names = {
        "np": _numpy(random=types.SimpleNamespace(uniform=uniform)),
        "fast_gradient_method": step,
        "clip_eta": _cleverhans("utils", "clip_eta", np=_numpy()),
    }
    function = _cleverhans(
        "attacks.projected_gradient_descent", "projected_gradient_descent", **names
    )
    adversarial_images = function(
        victim,
        jnp.asarray(images),
        epsilon,
        step_size,
        num_steps,
        _ORDERS[norm],
        clip_min=0.0,
        clip_max=1.0,
        y=_one_hot(victim, labels),
        targeted=targeted,
        rand_init=seed is not None,
    )
    return np.asarray(adversarial_images)


def momentum_iterative_method(
    victim: AttackedModel,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
    *,
    norm: str,
    targeted: bool,
    step_size: float,
    num_steps: int,
    decay_factor: float,
) -> np.ndarray:
    """Steps along a running sum of normalised gradients, projected on the ball."""

    def attack(clean: Any, labels: Any, budget: Any, length: Any, decay: Any) -> Any:
        def loss(x: Any) -> Any:
            entropies = _cross_entropy(victim(x), labels)
            return -entropies if targeted else entropies

        def step(index: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
            adversarial, momentum = state
            slope = engine.gradient(loss, adversarial)
            mean = ops.mean(ops.abs(slope), axis=(1, 2, 3), keepdims=True)
            momentum = decay * momentum + slope / ops.maximum(mean, _SMALLEST)
            adversarial = adversarial + length * _direction(momentum, norm)
            adversarial = clean + _clipped(adversarial - clean, budget, norm)
            return ops.clip(adversarial, 0.0, 1.0), momentum

        return engine.loop(step, (clean, ops.zeros_like(clean)), num_steps)[0]

    program = victim.program(("momentum_iterative_method", norm, targeted, num_steps), attack)
    numbers = (np.float32(number) for number in (epsilon, step_size, decay_factor))
    return np.asarray(program(images, labels, *numbers))


def random_corner(seed: int, images: np.ndarray, length: float) -> np.ndarray:
    """The images moved to a random corner of the cube with that half edge, in [0, 1]."""
    signs = np.asarray(jax.random.rademacher(jax.random.key(seed), images.shape, "float32"))
    return np.clip(images + np.float32(length) * signs, np.float32(0.0), np.float32(1.0))


def _cross_entropy(logits: Any, labels: Any) -> Any:
    """Cross-entropies ``(batch,)``."""
    return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def _compiled_step(victim: AttackedModel, norm: str, targeted: bool) -> Callable[..., Any]:
    """CleverHans' ``fast_gradient_method`` compiled: images, one-hot labels, length to images."""

    def gradient_of(loss: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        return lambda images, labels: engine.gradient(lambda x: loss(x, labels), images)

    def step(images: Any, labels: Any, length: Any) -> Any:
        function = _cleverhans(
            "attacks.fast_gradient_method",
            "fast_gradient_method",
            np=_numpy(),
            grad=gradient_of,
            vmap=lambda function, **_: function,
        )

        # It adds an axis, that of a batch of one image, to what are all images here.
        def model_fn(x: Any) -> Any:
            return victim(x[0])

        moved = function(model_fn, images, length, _ORDERS[norm], y=labels, targeted=targeted)
        if norm == "l2":
            moved = images + length * (moved - images)
        return jnp.clip(moved, 0.0, 1.0)

    return victim.program(("fast_gradient_method", norm, targeted), step)


def _random_vector(seed: int, shape: tuple[int, ...], norm: str, radius: float) -> jax.Array:
    """A uniform draw from the cube of half edge ``radius``, in L2 from the ball."""
    first, second = jax.random.split(jax.random.key(seed))
    if norm == "linf":
        return jax.random.uniform(first, shape, minval=-radius, maxval=radius)
    direction = jax.random.normal(first, shape)
    length = jnp.sqrt(jnp.sum(jnp.square(direction), axis=(1, 2, 3), keepdims=True))
    share = jax.random.uniform(second, (shape[0], 1, 1, 1)) ** (1.0 / np.prod(shape[1:]))
    return radius * share * direction / length


def _direction(momentum: Any, norm: str) -> Any:
    """The vector of length 1 that goes farthest along the momentum."""
    if norm == "linf":
        return ops.sign(momentum)
    squares = ops.sum(ops.square(momentum), axis=(1, 2, 3), keepdims=True)
    return momentum / ops.sqrt(ops.maximum(squares, _SMALLEST))


def _clipped(delta: Any, epsilon: Any, norm: str) -> Any:
    """Changes clipped to the ball of radius epsilon."""
    if norm == "linf":
        return ops.clip(delta, -epsilon, epsilon)
    squares = ops.sum(ops.square(delta), axis=(1, 2, 3), keepdims=True)
    return delta * ops.minimum(1.0, epsilon / ops.sqrt(ops.maximum(squares, _SMALLEST)))


def _one_hot(victim: AttackedModel, labels: np.ndarray) -> np.ndarray:
    """Labels as CleverHans wants them on JAX, ``(batch, classes)``."""
    return np.eye(victim.num_classes or 0, dtype=np.float32)[labels]


def _numpy(**others: Any) -> types.SimpleNamespace:
    """``jax.numpy`` with the old arguments of ``clip``."""

    def clip(array: Any, a_min: Any, a_max: Any) -> Any:
        return jnp.clip(array, a_min, a_max)

    return types.SimpleNamespace(**{**vars(jnp), "clip": clip, **others})


def _cleverhans(module: str, name: str, **names: Any) -> Callable[..., Any]:
    """A function of CleverHans with other names behind its code."""
    return with_names(getattr(_module(module), name), **names)


@functools.cache
def _module(name: str) -> types.ModuleType:
    """A module of CleverHans' JAX part, which imports a function from a place it has left."""
    stand_in = types.ModuleType(_STAX)
    stand_in.logsoftmax = jax.nn.log_softmax  # type: ignore[attr-defined]
    kept = sys.modules.get(_STAX)
    sys.modules.setdefault(_STAX, stand_in)
    try:
        return importlib.import_module(f"{_PACKAGE}.{name}")
    finally:
        if kept is None:
            del sys.modules[_STAX]
