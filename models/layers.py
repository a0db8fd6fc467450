"""Layers and building helpers shared by all networks of the project.

Only ``keras.ops``, ``keras.random`` and stock layers are used, so that a saved network loads on any
Keras backend.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from validation import check_logits

__all__ = [
    "LOG_VARIANCE_LIMIT",
    "ClipLogVariance",
    "ClipToUnitRange",
    "LayerSeeds",
    "Sampling",
    "check_classifier",
    "scaled",
]

_PROBES = 4

LOG_VARIANCE_LIMIT = 10.0
"""Largest magnitude of a log-variance, so that exp() stays between 4.5e-5 and 2.2e4."""


def scaled(count: int, width: float, *, multiple: int = 8) -> int:
    """Scales a printed channel count by a width multiplier.

    Small profiles keep a paper's depth, strides and skips and cut only its widths. Multiples of
    eight keep vectorised convolutions fast; a printed count (``width=1``) is never touched.

    Args:
        count: The channel count as printed, at least 1.
        width: Positive multiplier.
        multiple: Results of at least this size are rounded (half up) to a multiple of it;
            1 rounds to whole numbers, which suits growth rates.

    Returns:
        The scaled count, an integer of at least 1.

    Raises:
        ValueError: If ``count`` or ``multiple`` is below 1 or ``width`` is not a positive finite
            number.
    """
    if count < 1 or multiple < 1:
        raise ValueError(
            f"Expected count and multiple of at least 1, received count={count}, "
            f"multiple={multiple}. Pass the printed channel count and a positive multiple."
        )
    if not (math.isfinite(width) and width > 0):
        raise ValueError(
            f"Expected a positive finite width, received width={width}. "
            "Use 1.0 for the printed network and, for example, 0.25 for a quarter of its channels."
        )
    if width == 1:
        return count
    exact = count * width
    step = multiple if exact >= multiple else 1
    return max(1, step * math.floor(exact / step + 0.5))


def check_classifier(classifier: keras.Model) -> None:
    """Raises a ValueError unless a model is a functional classifier that returns logits.

    A softmax anywhere in it would hide its gradient from an attack; it is found by the outputs for
    a few random images.

    Args:
        classifier: A built functional or sequential model, images to logits.

    Raises:
        ValueError: If it is another kind of model, takes no images, or returns probabilities.
    """
    if not isinstance(classifier, keras.Model) or not hasattr(classifier, "input_shape"):
        raise ValueError(
            "Expected a classifier as a built functional or sequential model, received "
            f"{type(classifier).__name__}. Wrap a model that is written as a subclass: "
            "inputs = keras.Input((height, width, channels)); "
            "keras.Model(inputs, classifier(inputs))."
        )
    shape = classifier.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:]:
        raise ValueError(
            f"Expected a classifier of images (batch, height, width, channels) of one size, "
            f"received {classifier.name!r} with the input shape {shape}. Build it with "
            "keras.Input((height, width, channels))."
        )
    images = np.random.default_rng(0).random((_PROBES, *shape[1:]), dtype=np.float32)
    logits = ops.convert_to_numpy(classifier(ops.convert_to_tensor(images), training=False))
    check_logits(logits, _PROBES)


class LayerSeeds:
    """Gives each layer of a network its own reproducible seed and a fresh initializer.

    One initializer instance shared by two layers, or one seed shared by two networks, starts them
    identical. A counter under (seed, network name) makes every draw distinct, makes a build
    repeatable without touching any global state, and keeps networks built from one seed (an encoder
    and its decoder, the voters of an ensemble) independent.

    Args:
        seed: Non-negative integer; the same seed builds the same weights.
        name: Name of the network; networks of different names get different seeds.

    Raises:
        ValueError: If ``seed`` is not a non-negative integer.
    """

    def __init__(self, seed: int, name: str) -> None:
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ValueError(
                f"Expected seed as a non-negative integer, received {seed!r}. "
                "Networks are built reproducibly, so None is not accepted: pass 0, 1, 2, ..."
            )
        self._entropy = [int(seed), zlib.crc32(name.encode("utf-8"))]
        self._count = 0

    def next(self) -> int:
        """Returns the next seed, an integer in [0, 2**31)."""
        state = np.random.SeedSequence([*self._entropy, self._count]).generate_state(1)[0]
        self._count += 1
        return int(state) & 0x7FFFFFFF

    def glorot_uniform(self) -> keras.initializers.Initializer:
        """Returns a fresh Glorot uniform initializer, Keras's default for kernels."""
        return keras.initializers.GlorotUniform(seed=self.next())

    def he_normal(self) -> keras.initializers.Initializer:
        """Returns a fresh He normal initializer, which the voters use for kernels."""
        return keras.initializers.HeNormal(seed=self.next())

    def dropout(self, rate: float) -> keras.layers.Layer:
        """Returns a fresh dropout layer that drops a fraction ``rate`` with its own seed."""
        return layers.Dropout(rate, seed=self.next())


@keras.saving.register_keras_serializable(package="cleanroom")
class Sampling(layers.Layer):
    """Draws a latent vector from a diagonal Gaussian, differentiably in its parameters.

    Noise comes from an attached ``keras.random.SeedGenerator``: it is fresh at every call, also
    inside a compiled function, repeatable from ``seed``, and saved with the model.

    **Reference**: Dissertation, ch. 2.4 and 3.3 (z = mu + sigma * noise, noise ~ N(0, I)); Kingma
    and Welling, "Auto-Encoding Variational Bayes", 2014, sec. 2.4.
    **Differs from the paper**: nothing. The log-variance is bounded by the encoder, not here, so
    that the Kullback-Leibler term and the noise see the same variance.

    Args:
        seed: Integer seed of the noise.
        **kwargs: Name and dtype, as of any layer.

    Call arguments:
        inputs: ``[z_mean, z_log_var]``, two tensors of one shape ``(batch, latent_dim)``, any
            range.

    Returns:
        ``z_mean + exp(z_log_var / 2) * noise``, shape ``(batch, latent_dim)``, any range.

    Example:
        import keras
        from models.layers import Sampling

        z_mean, z_log_var = keras.ops.zeros((2, 32)), keras.ops.zeros((2, 32))
        Sampling(seed=0)([z_mean, z_log_var]).shape  # (2, 32)
    """

    def __init__(self, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Sequence[Any]) -> Any:
        """Returns one draw; see the class."""
        z_mean, z_log_var = inputs
        noise = keras.random.normal(ops.shape(z_mean), dtype=z_mean.dtype, seed=self.seed_generator)
        return z_mean + ops.exp(0.5 * z_log_var) * noise

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple[int | None, ...]:
        """Returns the shape of the mean."""
        return tuple(input_shape[0])

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="cleanroom")
class ClipToUnitRange(layers.Layer):
    """Clips images to [0, 1], for networks whose last activation does not bound them.

    Call arguments:
        inputs: Tensor of any shape and range.

    Returns:
        Tensor of the same shape, range [0, 1].
    """

    def call(self, inputs: Any) -> Any:
        """Returns the clipped tensor; see the class."""
        return ops.clip(inputs, 0.0, 1.0)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple[int | None, ...]:
        """Returns the unchanged shape."""
        return tuple(input_shape)


@keras.saving.register_keras_serializable(package="cleanroom")
class ClipLogVariance(layers.Layer):
    """Bounds a log-variance, whose exponential can overflow in the first steps of training.

    Args:
        limit: Largest magnitude of the output, positive.
        **kwargs: Name and dtype, as of any layer.

    Call arguments:
        inputs: Log-variances, any shape and range.

    Returns:
        Tensor of the same shape, range [-limit, limit].

    Raises:
        ValueError: If ``limit`` is not positive.
    """

    def __init__(self, limit: float = LOG_VARIANCE_LIMIT, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if limit <= 0:
            raise ValueError(
                f"Expected a positive limit, received {limit}. The default is {LOG_VARIANCE_LIMIT}."
            )
        self.limit = limit

    def call(self, inputs: Any) -> Any:
        """Returns the bounded log-variance; see the class."""
        return ops.clip(inputs, -self.limit, self.limit)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple[int | None, ...]:
        """Returns the unchanged shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "limit": self.limit}
