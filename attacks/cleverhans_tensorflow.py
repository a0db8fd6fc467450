"""CleverHans v4's TensorFlow functions with corrected defaults, for the gradient attacks.

Every function passes ``clip_min=0``, ``clip_max=1``, the true (or target) labels as integers, and
``sanity_checks=False`` (CleverHans 4.0.0 raises in them on current NumPy). The functions run
eagerly: their one expensive part, the gradient, is compiled by CleverHans itself, and it stays
compiled because it is always given the same callable for the same model.

``attacks.cleverhans_jax`` has the same functions. They take images ``(batch, height, width,
channels)`` in [0, 1], int64 labels ``(batch,)`` and a ``norm``, and return images of that shape.
"""

from __future__ import annotations

import random
import types
from typing import Any

import numpy as np
import tensorflow as tf
from cleverhans.tf2.attacks import basic_iterative_method as cleverhans_bim
from cleverhans.tf2.attacks import fast_gradient_method as cleverhans_fgm
from cleverhans.tf2.attacks import momentum_iterative_method as cleverhans_mim
from cleverhans.tf2.attacks import projected_gradient_descent as cleverhans_pgd
from cleverhans.tf2.attacks import spsa as cleverhans_spsa
from cleverhans.tf2.utils import compute_gradient

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
    "random_vector",
    "signs_from",
    "spsa",
    "spsa_adam",
]

_ORDERS = {"linf": np.inf, "l2": 2}
_SEEDS = 2**31 - 1  # TensorFlow takes seeds modulo this number.
_PHILOX = 1  # The number of the algorithm among those of tf.random.Generator.


def has_gradient(
    victim: AttackedModel, images: np.ndarray, labels: np.ndarray, *, targeted: bool, momentum: bool
) -> bool:
    """Whether the logits depend on the images; an operation without a gradient raises an error."""
    return _gradient(victim, images, labels, targeted, momentum) is not None


def loss_gradient(
    victim: AttackedModel, images: np.ndarray, labels: np.ndarray, *, targeted: bool, momentum: bool
) -> np.ndarray:
    """The gradient of the cross-entropy, shaped like the images."""
    return _gradient(victim, images, labels, targeted, momentum).numpy()


def _gradient(
    victim: AttackedModel, images: np.ndarray, labels: np.ndarray, targeted: bool, momentum: bool
) -> Any:
    """What the compiled function that CleverHans uses returns, so that nothing is traced twice."""
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits
    loss = cleverhans_mim.loss_fn if momentum else loss
    return compute_gradient(victim, loss, tf.constant(images), tf.constant(labels), targeted)


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
    settings = _settings(labels, norm, targeted)
    x = tf.constant(images)
    return cleverhans_fgm.fast_gradient_method(victim, x, epsilon, **settings).numpy()


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
    settings = _settings(labels, norm, targeted)
    x = tf.constant(images)
    return cleverhans_bim.basic_iterative_method(
        victim, x, epsilon, step_size, num_steps, **settings
    ).numpy()


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
    """Steps along the gradient from a random point of the ball; from the images without a seed.

    The function is CleverHans' code with another ``random_lp_vector``. Seeding TensorFlow instead
    would restart every random number of the caller, and no public function restores them.
    """

    def draw(shape: tf.Tensor, order: float, radius: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return random_vector(seed or 0, shape, order, radius)

    attack = with_names(cleverhans_pgd.projected_gradient_descent, random_lp_vector=draw)
    return attack(
        victim,
        tf.constant(images),
        epsilon,
        step_size,
        num_steps,
        rand_init=seed is not None,
        rand_minmax=epsilon,
        **_settings(labels, norm, targeted),
    ).numpy()


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
    return cleverhans_mim.momentum_iterative_method(
        victim,
        tf.constant(images),
        epsilon,
        step_size,
        num_steps,
        decay_factor=decay_factor,
        **_settings(labels, norm, targeted),
    ).numpy()


def random_corner(seed: int, images: np.ndarray, length: float) -> np.ndarray:
    """The images moved to a random corner of the cube with that half edge, in [0, 1]."""
    x = tf.constant(images)
    normal = tf.random.stateless_normal(x.shape, seed=(seed, 0))
    return tf.clip_by_value(x + length * tf.sign(normal), 0.0, 1.0).numpy()


def random_vector(seed: int, shape: tf.Tensor, order: float, radius: tf.Tensor) -> tf.Tensor:
    """Returns what CleverHans' ``random_lp_vector`` draws after ``tf.random.set_seed(seed)``.

    Args:
        seed: In [0, 2**31).
        shape: ``(4,)``, that of a batch of images.
        order: ``inf`` for a uniform draw from the cube, 2 from the ball.
        radius: Half the edge of the cube, or the radius of the ball.

    Returns:
        float32 tensor of that shape.
    """
    # TensorFlow seeds each operation by the global seed and by one from a generator seeded by it.
    operation_seeds = random.Random(seed)

    def bits(operation: Any, shape: Any) -> tf.Tensor:
        first, second = seed % _SEEDS, operation_seeds.randint(0, _SEEDS) % _SEEDS
        if first == second == 0:
            second = _SEEDS
        return operation(
            shape=shape,
            key=tf.constant([first], tf.uint64),
            counter=tf.constant([0, second], tf.uint64),
            alg=tf.constant(_PHILOX),
            dtype=tf.float32,
        )

    uniform, normal = tf.raw_ops.StatelessRandomUniformV2, tf.raw_ops.StatelessRandomNormalV2
    if order == np.inf:
        return bits(uniform, shape) * (2.0 * radius) - radius
    size = tf.reduce_prod(shape[1:])
    direction = bits(normal, (shape[0], size))
    length = tf.sqrt(tf.reduce_sum(tf.square(direction), axis=-1, keepdims=True))
    share = tf.pow(bits(uniform, (shape[0], 1)), 1.0 / tf.cast(size, tf.float32))
    return radius * tf.reshape(share * direction / length, shape)


def spsa(
    model_fn: Any,
    image: np.ndarray,
    label: np.ndarray,
    epsilon: float,
    *,
    start: np.ndarray,
    generator: np.random.Generator,
    num_steps: int,
    learning_rate: float,
    delta: float,
    num_samples: int,
    targeted: bool,
) -> np.ndarray:
    """Returns what CleverHans's function makes of one image, ``(1, height, width, channels)``.

    Args:
        model_fn: Images to logits.
        image: ``(1, height, width, channels)`` float32 in [0, 1].
        label: ``(1,)`` int64.
        epsilon: The budget.
        start: The change of the image to start from, in place of the function's random one.
        generator: Draws the signs.
        num_steps: ``nb_iter`` of the function.
        learning_rate: As of the function.
        delta: As of the function.
        num_samples: ``spsa_samples`` of the function.
        targeted: As of the function.
    """
    optimizer = spsa_adam(generator)
    drawn = types.SimpleNamespace(uniform=lambda *_, **__: tf.constant(start))
    search = with_names(cleverhans_spsa.projected_optimization, tf=_Library(tf, random=drawn))
    attack = with_names(cleverhans_spsa.spsa, SPSAAdam=optimizer, projected_optimization=search)
    return attack(
        model_fn,
        tf.constant(image),
        tf.constant(label),
        epsilon,
        num_steps,
        clip_min=0.0,
        clip_max=1.0,
        targeted=targeted,
        early_stop_loss_threshold=0.0,
        learning_rate=learning_rate,
        delta=delta,
        spsa_samples=num_samples,
    ).numpy()


def spsa_adam(generator: np.random.Generator) -> Any:
    """Returns CleverHans's optimizer as a class that Keras 3 constructs, with its own signs.

    Args:
        generator: Draws the signs of the steps, which TensorFlow's global generator drew.
    """

    class Mended(cleverhans_spsa.SPSAAdam):  # type: ignore[misc]  # a class without types
        def __init__(
            self, lr: float = 0.01, delta: float = 0.01, num_samples: int = 128, num_iters: int = 1
        ) -> None:
            tf.keras.optimizers.Adam.__init__(self, learning_rate=lr)
            self.lr = lr
            self._delta, self._num_samples, self._num_iters = delta, num_samples // 2, num_iters

        def _get_delta(self, x: Any, delta: float) -> Any:
            shape = (self._num_samples, *x.shape[1:])
            return tf.constant(delta * signs_from(generator, shape))

    return Mended


def signs_from(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Returns random signs ``(pairs, height, width, channels)``, drawn as ``SPSA`` draws them."""
    pairs, pixels = shape[0], int(np.prod(shape[1:]))
    num_bytes = -(-pixels // 8)
    packed = np.frombuffer(generator.bytes(pairs * num_bytes), np.uint8).reshape(pairs, num_bytes)
    bits = np.unpackbits(packed, axis=1, bitorder="little")[:, :pixels]
    return np.where(bits > 0, 1.0, -1.0).astype(np.float32).reshape(shape)


class _Library:
    """A library with other things behind some of its names."""

    def __init__(self, library: Any, **names: Any) -> None:
        self._library = library
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)


def _settings(labels: np.ndarray, norm: str, targeted: bool) -> dict[str, Any]:
    """Arguments that all functions of CleverHans take."""
    return {
        "clip_min": 0.0,
        "clip_max": 1.0,
        "targeted": targeted,
        "y": tf.constant(labels),
        "sanity_checks": False,
        "norm": _ORDERS[norm],
    }
