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

from validation import check_integer, check_logits, check_number

__all__ = [
    "LOG_VARIANCE_LIMIT",
    "MOST_CLASSES",
    "MOST_SEED",
    "MOST_UNITS",
    "MOST_WIDTH",
    "ClipLogVariance",
    "ClipToUnitRange",
    "LayerSeeds",
    "Sampling",
    "check_classifier",
    "check_data_format",
    "check_latent_dim",
    "check_num_classes",
    "scaled",
]

_PROBES = 4

MOST_WIDTH = 16.0
"""Largest multiplier of the printed channel counts: 8,192 channels where 512 are printed."""

MOST_CLASSES = 100_000
"""Most classes of a classifier; networks with a code or an image for each class have fewer."""

MOST_UNITS = 65_536
"""Largest printed channel count and largest latent vector."""

MOST_SEED = 2**32 - 1
"""Largest seed of a stream of random numbers, whose state has 32 bits."""

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
        ValueError: If ``count`` is not in [1, ``MOST_UNITS``], ``multiple`` is below 1 or ``width``
            is not above 0 and at most ``MOST_WIDTH``.
    """
    check_integer("count", count, at_least=1, at_most=MOST_UNITS, such_as=64)
    check_integer("multiple", multiple, at_least=1, such_as=8)
    check_number("width", width, above=0, at_most=MOST_WIDTH, such_as=1.0)
    if width == 1:
        return count
    exact = count * width
    step = multiple if exact >= multiple else 1
    return max(1, step * math.floor(exact / step + 0.5))


def check_num_classes(num_classes: int, *, at_least: int = 2, at_most: int = MOST_CLASSES) -> None:
    """Raises a ValueError unless a number of classes is an integer in a range.

    Args:
        num_classes: What the caller passed.
        at_least: Fewest classes.
        at_most: Most classes, where more would not fit in memory.

    Raises:
        ValueError: If it is no integer or out of range.
    """
    check_integer("num_classes", num_classes, at_least=at_least, at_most=at_most, such_as=10)


def check_latent_dim(latent_dim: int) -> None:
    """Raises a ValueError unless the size of a latent vector is an integer in [1, ``MOST_UNITS``].

    Args:
        latent_dim: What the caller passed.

    Raises:
        ValueError: If it is no integer or out of range.
    """
    check_integer("latent_dim", latent_dim, at_least=1, at_most=MOST_UNITS, such_as=128)


def check_data_format() -> None:
    """Raises a ValueError where Keras is configured to build layers for images of another layout.

    Saved networks carry their own layout and are not concerned.

    Raises:
        ValueError: If Keras's image data format is not ``"channels_last"``.
    """
    received = keras.config.image_data_format()
    if received != "channels_last":
        raise ValueError(
            f"Expected Keras's image data format channels_last, received {received}, with which "
            "layers take the height for the channels. Call "
            'keras.config.set_image_data_format("channels_last") before networks are built, or '
            "change image_data_format in keras.json."
        )


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

    Every network takes its seeds from here before its first layer, so this is also where Keras's
    image data format is checked.

    Args:
        seed: Non-negative integer; the same seed builds the same weights.
        name: Name of the network; networks of different names get different seeds.

    Raises:
        ValueError: If ``seed`` is not a non-negative integer, the name is no text, or Keras builds
            layers for images with the channels first.
    """

    def __init__(self, seed: int, name: str) -> None:
        check_data_format()
        check_integer("seed", seed, such_as=0)
        if not isinstance(name, str) or not name:
            raise ValueError(
                f"Expected name as a text that is not empty, received {name!r}. Pass the name of "
                "the network, such as 'unet'."
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
        """Returns a fresh dropout layer that drops a fraction ``rate`` with its own seed.

        Raises:
            ValueError: If the rate is not at least 0 and below 1.
        """
        check_number("dropout", rate, at_least=0, below=1, such_as=0.2)
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
        seed: Seed of the noise, in [0, ``MOST_SEED``].
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
        check_integer("seed", seed, at_most=MOST_SEED, such_as=0)
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
        check_number("limit", limit, above=0, such_as=LOG_VARIANCE_LIMIT)
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
