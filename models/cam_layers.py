"""The layers of attention generators and their discriminators: padding, norms, attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from models.layers import MOST_SEED
from validation import check_flag, check_integer, check_number

__all__ = [
    "AdaptiveLayerInstanceNormalization",
    "ClassActivation",
    "LayerInstanceNormalization",
    "ReflectionPadding2D",
    "SpectralConv2D",
    "UnitInterval",
]

_EPSILON = 1e-5
_SPATIAL, _WHOLE = (1, 2), (1, 2, 3)
_SMALLEST_NORM = 1e-12


@keras.saving.register_keras_serializable(package="cleanroom")
class UnitInterval(keras.constraints.Constraint):
    """Clips a weight to [0, 1] after each update; every Keras optimizer does so by itself."""

    def __call__(self, w: Any) -> Any:
        """Returns the clipped weight, of the same shape."""
        return ops.clip(w, 0.0, 1.0)


@keras.saving.register_keras_serializable(package="cleanroom")
class ReflectionPadding2D(layers.Layer):
    """Continues an image beyond its border by its mirror image, so that no border is drawn there.

    Args:
        padding: Rows and columns on each side, at least 1 and less than the image has.
        **kwargs: Name and dtype, as of any layer.

    Call arguments:
        inputs: Tensor ``(batch, height, width, channels)``, any range.

    Returns:
        Tensor ``(batch, height + 2 * padding, width + 2 * padding, channels)``, the same range.

    Raises:
        ValueError: If ``padding`` is no integer of at least 1, or an image is not larger than it.
    """

    def __init__(self, padding: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_integer("padding", padding, at_least=1, such_as=1)
        self.padding = padding

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Checks that there is enough to mirror."""
        height, width = input_shape[1:3]
        if min(side for side in (height, width, self.padding + 1) if side) <= self.padding:
            raise ValueError(
                f"Expected images of more than {self.padding} rows and columns, received "
                f"{height}x{width}. Pass larger images, or pad less."
            )
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Returns the padded tensor; see the class."""
        sides = (self.padding, self.padding)
        return ops.pad(inputs, ((0, 0), sides, sides, (0, 0)), mode="reflect")

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the shape with the sides grown."""
        batch, height, width, channels = input_shape
        grown = (None if side is None else side + 2 * self.padding for side in (height, width))
        return (batch, *grown, channels)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "padding": self.padding}


def _mixed(inputs: Any, rho: Any) -> Any:
    """``rho`` times the instance norm of each map, the rest the layer norm of each image."""
    maps = ops.cast(inputs, "float32")
    rho = ops.cast(rho, "float32")
    by_map, by_image = (
        (maps - mean) * ops.rsqrt(variance + _EPSILON)
        for mean, variance in (
            ops.moments(maps, axes, keepdims=True) for axes in (_SPATIAL, _WHOLE)
        )
    )
    return rho * by_map + (1.0 - rho) * by_image


class _MixedNormalization(layers.Layer):
    """What both norms share: the weight ρ of each map, kept in [0, 1]."""

    def __init__(self, rho: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_number("rho", rho, at_least=0, at_most=1, such_as=0.9)
        self.initial_rho = float(rho)

    def _add_rho(self, channels: int | None) -> None:
        self.rho = self.add_weight(
            name="rho",
            shape=(channels,),
            initializer=keras.initializers.Constant(self.initial_rho),
            constraint=UnitInterval(),
        )

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "rho": self.initial_rho}


@keras.saving.register_keras_serializable(package="cleanroom")
class LayerInstanceNormalization(_MixedNormalization):
    """LIN: a learnt mixture of instance and layer normalisation, scaled and shifted by map.

    Instance normalisation removes what is peculiar to an image, layer normalisation keeps how its
    maps compare; ρ decides for each map.

    **Reference**: Kim et al., "U-GAT-IT: Unsupervised Generative Attentional Networks with Adaptive
    Layer-Instance Normalization", 2020, sec. 2.1.1, eq. 1, with a learnt scale and shift.
    **Differs from the paper**: nothing. Variances are those of the population, and 1e-5 is added.

    Args:
        rho: Initial ρ, in [0, 1]; 0 is layer normalisation, 1 instance normalisation.
        **kwargs: Name and dtype, as of any layer.

    Call arguments:
        inputs: Maps ``(batch, height, width, channels)``, any range.

    Returns:
        Tensor of the same shape, ``gamma * (rho * IN + (1 - rho) * LN) + beta``, any range.

    Raises:
        ValueError: If ``rho`` is not in [0, 1].
    """

    def __init__(self, rho: float = 0.0, **kwargs: Any) -> None:
        super().__init__(rho, **kwargs)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates ρ, scale and shift."""
        self._add_rho(input_shape[-1])
        self.gamma = self.add_weight(name="gamma", shape=(input_shape[-1],), initializer="ones")
        self.beta = self.add_weight(name="beta", shape=(input_shape[-1],), initializer="zeros")
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Returns the normalised maps; see the class."""
        normalised = ops.cast(_mixed(inputs, self.rho), self.compute_dtype)
        return self.gamma * normalised + self.beta

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the unchanged shape."""
        return tuple(input_shape)


@keras.saving.register_keras_serializable(package="cleanroom")
class AdaptiveLayerInstanceNormalization(_MixedNormalization):
    """AdaLIN: as ``LayerInstanceNormalization``, scaled and shifted by what the image says.

    **Reference**: Kim et al., "U-GAT-IT: Unsupervised Generative Attentional Networks with Adaptive
    Layer-Instance Normalization", 2020, sec. 2.1.1, eq. 1.
    **Differs from the paper**: nothing. Variances are those of the population, and 1e-5 is added.

    Args:
        rho: Initial ρ, in [0, 1]; 0 is layer normalisation, 1 instance normalisation.
        **kwargs: Name and dtype, as of any layer.

    Call arguments:
        inputs: ``[maps, gamma, beta]``: maps ``(batch, height, width, channels)``, and a scale and
            a shift ``(batch, channels)`` for each image; any range.

    Returns:
        Tensor of the shape of the maps, ``gamma * (rho * IN + (1 - rho) * LN) + beta``, any range.

    Raises:
        ValueError: If ``rho`` is not in [0, 1].
    """

    def __init__(self, rho: float = 0.9, **kwargs: Any) -> None:
        super().__init__(rho, **kwargs)

    def build(self, input_shape: Sequence[Sequence[int | None]]) -> None:
        """Creates ρ."""
        self._add_rho(input_shape[0][-1])
        self.built = True

    def call(self, inputs: Sequence[Any]) -> Any:
        """Returns the normalised maps; see the class."""
        maps, gamma, beta = inputs
        normalised = ops.cast(_mixed(maps, self.rho), self.compute_dtype)
        return gamma[:, None, None, :] * normalised + beta[:, None, None, :]

    def compute_output_shape(
        self, input_shape: Sequence[Sequence[int | None]]
    ) -> tuple[int | None, ...]:
        """Returns the shape of the maps."""
        return tuple(input_shape[0])


@keras.saving.register_keras_serializable(package="cleanroom")
class ClassActivation(layers.Layer):
    """An auxiliary classifier of maps whose weights say where the maps show its class.

    The logit is the weighted sum of the maps' spatial means. The same weights on the maps
    themselves are a class activation map: its mean over the image is the logit.

    **Reference**: CAP-GAN, sec. III-B, η and M = Σ_k w_k · ψ(E_k); Zhou et al., "Learning Deep
    Features for Discriminative Localization", 2016, sec. 2.
    **Differs from the paper**: M is printed with the spatial mean ψ, which would leave one number
    and nothing to decode; ψ enters the logit alone here, and the maps stay apart, each scaled by
    its weight, as in U-GAT-IT, which the architecture is taken from.

    Args:
        unit_norm: Whether the weights are divided by their length, which for a vector is spectral
            normalisation.
        kernel_initializer: Of the weights.
        **kwargs: Name and dtype, as of any layer.

    Call arguments:
        inputs: Maps E, ``(batch, height, width, channels)``, any range.

    Returns:
        ``(attended, logit)``: the scaled maps, shape of the inputs, and ``(batch, 1)``, any range.

    Raises:
        ValueError: If ``unit_norm`` is no flag.
    """

    def __init__(
        self, unit_norm: bool = False, kernel_initializer: Any = "glorot_uniform", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_flag("unit_norm", unit_norm)
        self.unit_norm = bool(unit_norm)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates one weight for each map."""
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[-1], 1), initializer=self.kernel_initializer
        )
        self.built = True

    def call(self, inputs: Any) -> tuple[Any, Any]:
        """Returns the scaled maps and the logit; see the class."""
        kernel = ops.convert_to_tensor(self.kernel)
        if self.unit_norm:
            kernel = kernel * ops.rsqrt(ops.sum(ops.square(kernel)) + _SMALLEST_NORM)
        logit = ops.matmul(ops.mean(inputs, axis=_SPATIAL), kernel)
        return inputs * kernel[:, 0], logit

    def compute_output_shape(
        self, input_shape: Sequence[int | None]
    ) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
        """Returns the shapes of the maps and of the logit."""
        return tuple(input_shape), (input_shape[0], 1)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {
            **super().get_config(),
            "unit_norm": self.unit_norm,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@keras.saving.register_keras_serializable(package="cleanroom")
class SpectralConv2D(layers.Conv2D):
    """A convolution whose kernel, as a matrix, is divided by its largest singular value.

    A discriminator of such layers cannot grow steep without bound, which keeps its lead over the
    generators small. The value is estimated by power iteration from the vector of the step before:
    one iteration for each call in training, none in inference. The kernel itself is changed by its
    optimizer alone, so a discriminator that rests while generators are trained stays as it is;
    ``keras.layers.SpectralNormalization`` overwrites it in the forward pass.

    **Reference**: Miyato et al., "Spectral Normalization for Generative Adversarial Networks",
    2018, eq. 8 and algorithm 1.
    **Differs from the paper**: nothing.

    Args:
        filters: Number of output maps.
        kernel_size: Rows and columns of the kernel.
        seed: Seed of the first vector.
        **kwargs: What a ``Conv2D`` takes.

    Call arguments:
        inputs: Maps ``(batch, height, width, channels)``, any range.
        training: Whether to take a step of the power iteration.

    Returns:
        Maps ``(batch, rows, columns, filters)``, any range.

    Raises:
        ValueError: If ``seed`` is out of range.
    """

    def __init__(
        self, filters: int, kernel_size: int | Sequence[int], *, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(filters, kernel_size, **kwargs)
        check_integer("seed", seed, at_most=MOST_SEED, such_as=0)
        self.seed = seed

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates kernel, bias, and the vector of the power iteration."""
        super().build(input_shape)
        self.direction = self.add_weight(
            name="direction",
            shape=(self.filters, 1),
            initializer=keras.initializers.RandomNormal(stddev=1.0, seed=self.seed),
            trainable=False,
            aggregation="mean",
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Returns the maps; see the class."""
        outputs = self.convolution_op(inputs, self.normalised_kernel(training))
        if self.use_bias:
            outputs = outputs + ops.convert_to_tensor(self.bias)
        return outputs if self.activation is None else self.activation(outputs)

    def normalised_kernel(self, training: bool = False) -> Any:
        """The kernel divided by its largest singular value, as far as that is known.

        Args:
            training: Whether to take a step of the power iteration first.

        Returns:
            Tensor of the kernel's shape; its gradient reaches the kernel through both.
        """
        kernel = ops.convert_to_tensor(self.kernel)
        matrix = ops.reshape(kernel, (-1, self.filters))
        fixed = ops.stop_gradient(matrix)
        direction = ops.convert_to_tensor(self.direction)
        if training:
            direction = _unit(ops.matmul(ops.transpose(fixed), _unit(ops.matmul(fixed, direction))))
            self.direction.assign(direction)
        direction = _unit(direction)
        image = _unit(ops.matmul(fixed, direction))
        largest = ops.sum(image * ops.matmul(matrix, direction))
        return kernel / (largest + _SMALLEST_NORM)

    def save_own_variables(self, store: Any) -> None:
        """Writes the vector of the power iteration too, of which a convolution knows nothing."""
        super().save_own_variables(store)
        store["direction"] = self.direction

    def load_own_variables(self, store: Any) -> None:
        """Reads what ``save_own_variables`` writes."""
        super().load_own_variables(store)
        self.direction.assign(store["direction"])

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "seed": self.seed}


def _unit(vector: Any) -> Any:
    """A vector of length 1 in the same direction; of zeros, zeros."""
    return vector * ops.rsqrt(ops.sum(ops.square(vector)) + _SMALLEST_NORM)
