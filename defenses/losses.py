"""The published losses, one pure function each, in ``keras.ops`` alone.

A loss returns one number per image, shape ``(batch,)``, and says whether it sums or averages over
pixels; the mean over the batch is the training step's. What networks return in half precision is
brought to float32 first, since a sum over pixels would overflow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from validation import check_integer, check_number, check_numbers

__all__ = [
    "MOST_NOISE",
    "MOST_SIGMA",
    "MOST_WEIGHT",
    "binary_cross_entropy_loss",
    "check_same_shape",
    "check_weights",
    "full_precision",
    "kl_divergence_loss",
    "laplacian_of_gaussian_kernel",
    "mean_squared_error_loss",
    "reconstruction_loss",
    "spatial_frequency_loss",
    "to_grey",
]

LUMA_WEIGHTS = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the grey value of ITU-R BT.601; they add up to 1."""

PROBABILITY_MARGIN = 1e-7
"""Distance that probabilities keep from 0 and 1, where a logarithm is infinite."""


MOST_WEIGHT = 1e9
"""Largest weight of a loss; with more, float32 would lose the other losses or overflow."""

MOST_NOISE = 10.0
"""Largest standard deviation of noise on images in [0, 1]."""

MOST_SIGMA = 100.0
"""Largest scale of a Laplacian of Gaussian, in pixels."""

_LARGEST_KERNEL = 2 * math.ceil(3 * MOST_SIGMA) + 1


def check_weights(**weights: float) -> None:
    """Raises a ValueError unless all weights of losses are in [0, ``MOST_WEIGHT``].

    Args:
        **weights: What the caller passed, by name; 0 switches a loss off.

    Raises:
        ValueError: If one is no finite number or out of range.
    """
    for name, weight in weights.items():
        check_number(name, weight, at_least=0, at_most=MOST_WEIGHT, such_as=1.0)


def check_same_shape(**tensors: Any) -> None:
    """Raises a ValueError where tensors that are compared entry by entry differ in shape.

    Axes of one entry would be broadcast, such as one channel beside three.

    Args:
        **tensors: By the name that the message calls them; unknown sizes fit any.

    Raises:
        ValueError: If two shapes do not fit.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    (first, wanted), *others = shapes.items()
    for name, shape in others:
        sizes = zip(shape, wanted, strict=False)
        if len(shape) != len(wanted) or any(
            None not in pair and len({*pair}) > 1 for pair in sizes
        ):
            raise ValueError(
                f"Expected {first} and {name} of one shape, received {wanted} and {shape}. "
                "Pass one for each of the other, with as many channels."
            )


def full_precision(*tensors: Any) -> list[Any]:
    """The tensors, those of half precision as float32 and all others as they are."""
    halves = ("float16", "bfloat16")
    return [
        ops.cast(tensor, "float32")
        if keras.backend.standardize_dtype(tensor.dtype) in halves
        else tensor
        for tensor in tensors
    ]


def reconstruction_loss(images: Any, reconstructions: Any) -> Any:
    """Half the squared error, summed over pixels and channels.

    The negative log-likelihood of the image under a unit-variance Gaussian around its
    reconstruction, up to a constant.

    **Reference**: Dissertation, ch. 3, eq. 3.3.3.
    **Differs from the paper**: the equation leaves the reduction open; the likelihood implies a
    sum, which is used here.

    Args:
        images: ``(batch, height, width, channels)`` in [0, 1].
        reconstructions: Same shape and range.

    Returns:
        ``(batch,)``, from 0 to half the number of values of an image.
    """
    check_same_shape(images=images, reconstructions=reconstructions)
    images, reconstructions = full_precision(images, reconstructions)
    return 0.5 * ops.sum(ops.square(reconstructions - images), axis=(1, 2, 3))


def mean_squared_error_loss(images: Any, reconstructions: Any) -> Any:
    """Squared error, averaged over pixels and channels.

    **Reference**: Dissertation, ch. 5.3.2, eq. 5.3.2, which the text calls a mean square error;
    PuVAE, eq. 6, the error that Defense-GAN minimises.
    **Differs from the paper**: PuVAE's equation sums; the public code of Defense-GAN, whose
    learning rate is meant for it, averages.

    Args:
        images: ``(batch, height, width, channels)`` in [0, 1].
        reconstructions: Same shape and range.

    Returns:
        ``(batch,)`` in [0, 1].
    """
    check_same_shape(images=images, reconstructions=reconstructions)
    images, reconstructions = full_precision(images, reconstructions)
    return ops.mean(ops.square(reconstructions - images), axis=(1, 2, 3))


def binary_cross_entropy_loss(images: Any, reconstructions: Any) -> Any:
    """Cross-entropy of each pixel, read as a probability, summed over pixels and channels.

    The negative log-likelihood of the image if its values were drawn from Bernoulli
    distributions with the reconstruction as parameters. Unlike a squared error it does not
    saturate behind a sigmoid.

    **Reference**: PuVAE, eq. 15; Li and Ji, "Defense-VAE", 2019, takes the same for its images.
    **Differs from the paper**: reconstructions are clipped to [1e-7, 1 - 1e-7], which keeps the
    logarithms finite.

    Args:
        images: ``(batch, height, width, channels)`` in [0, 1].
        reconstructions: Same shape and range.

    Returns:
        ``(batch,)``, at least 0. At a perfect reconstruction it is the entropy of the image,
        which is 0 for black and white alone, and its gradient is 0 there.
    """
    check_same_shape(images=images, reconstructions=reconstructions)
    images, reconstructions = full_precision(images, reconstructions)
    probabilities = ops.clip(reconstructions, PROBABILITY_MARGIN, 1.0 - PROBABILITY_MARGIN)
    present = images * ops.log(probabilities)
    absent = (1.0 - images) * ops.log1p(-probabilities)
    return -ops.sum(present + absent, axis=(1, 2, 3))


def kl_divergence_loss(z_mean: Any, z_log_var: Any) -> Any:
    """Kullback-Leibler divergence of N(mean, variance) from N(0, I), summed over the latent axis.

    It draws the encoder's posterior towards the prior; this is its closed form.

    **Reference**: Dissertation, eq. 2.4.10b with its sign turned, the regularisation loss of
    eq. 3.3.5: ½ Σ (μ² + σ² − log σ² − 1).
    **Differs from the paper**: nothing.

    Args:
        z_mean: Means μ, ``(batch, latent_dim)``.
        z_log_var: Logarithms of the variances σ², same shape.

    Returns:
        ``(batch,)``, at least 0; 0 exactly where the mean is 0 and the variance 1.
    """
    check_same_shape(z_mean=z_mean, z_log_var=z_log_var)
    z_mean, z_log_var = full_precision(z_mean, z_log_var)
    terms = ops.square(z_mean) + ops.expm1(z_log_var) - z_log_var
    return 0.5 * ops.sum(terms, axis=1)


def laplacian_of_gaussian_kernel(sigma: float = 1.0, size: int | None = None) -> np.ndarray:
    """The Laplacian of a Gaussian, sampled on a square grid and shifted to sum to zero.

    The kernel responds to edges of about the scale ``sigma``.

    **Reference**: Dissertation, ch. 3, eq. 3.3.4.
    **Differs from the paper**: scale and size are not printed; the defaults are σ = 1 and a radius
    of 3σ, which is 7x7. The mean of the samples is subtracted, because a cut-off kernel does not
    sum to zero and would respond to constant brightness.

    Args:
        sigma: Scale in pixels, positive.
        size: Side in pixels, odd and at least 3. ``None`` gives a radius of 3σ, rounded up.

    Returns:
        float32 array ``(size, size)``, symmetric under all reflections, with sum 0.

    Raises:
        ValueError: If ``sigma`` is not positive or ``size`` is even or too small.
    """
    check_number("sigma", sigma, above=0, at_most=MOST_SIGMA, such_as=1.0)
    if size is None:
        size = 2 * math.ceil(3 * sigma) + 1
    check_integer("size (odd)", size, at_least=3, at_most=_LARGEST_KERNEL, such_as=7)
    if size % 2 == 0:
        raise ValueError(f"Expected size to be odd, received {size}. Use 7 for sigma 1, or None.")
    axis = np.arange(size, dtype="float64") - size // 2
    scaled_square = (axis[:, None] ** 2 + axis[None, :] ** 2) / (2 * sigma**2)
    kernel = -(1 - scaled_square) * np.exp(-scaled_square) / (math.pi * sigma**4)
    return (kernel - kernel.mean()).astype("float32")


def to_grey(images: Any) -> Any:
    """Brightness of each pixel: 0.299 R + 0.587 G + 0.114 B, or the single channel itself.

    **Reference**: Dissertation, ch. 3, eq. 3.3.5, which uses a grey image without defining it.
    **Differs from the paper**: nothing; the weights are the usual ones of ITU-R BT.601.

    Args:
        images: ``(batch, height, width, channels)`` with one channel or three, in [0, 1].

    Returns:
        ``(batch, height, width, 1)`` in [0, 1].

    Raises:
        ValueError: If the number of channels is neither 1 nor 3.
    """
    channels = images.shape[-1]
    if channels == 1:
        return images
    if channels != 3:
        raise ValueError(
            f"Expected images with 1 or 3 channels, received {channels}. Convert them to grey or "
            "RGB, channels last."
        )
    weights = ops.convert_to_tensor(LUMA_WEIGHTS, dtype=images.dtype)
    return ops.sum(images * weights, axis=-1, keepdims=True)


def spatial_frequency_loss(
    images: Any, reconstructions: Any, sigmas: Sequence[float] = (1.0,)
) -> Any:
    """Euclidean distance between the edge maps of an image and of its reconstruction.

    A squared error forgives blur; the edges, where the high spatial frequencies are, do not.
    The edge map is linear in the image, so the difference is convolved once.

    **Reference**: Dissertation, ch. 3, eq. 3.3.5 (the norm is not squared).
    **Differs from the paper**: the convolution is unpadded, so that the border, where padding
    would draw an edge, does not count. Several scales may be added up; the paper uses one.

    Args:
        images: ``(batch, height, width, channels)`` with one channel or three, in [0, 1].
        reconstructions: Same shape and range.
        sigmas: Scales of the Laplacian of Gaussian; the distances at each are added.

    Returns:
        ``(batch,)``, at least 0. Where the edge maps agree the loss is 0 and so, by definition
        here, is its gradient, which the square root alone would make infinite.

    Raises:
        ValueError: If there is no scale, or an image is smaller than a kernel.
    """
    sigmas = check_numbers("sigmas", sigmas, above=0, at_most=MOST_SIGMA)
    check_same_shape(images=images, reconstructions=reconstructions)
    images, reconstructions = full_precision(images, reconstructions)
    difference = to_grey(images) - to_grey(reconstructions)
    height, width = difference.shape[1:3]
    total = 0.0
    for sigma in sigmas:
        kernel = laplacian_of_gaussian_kernel(sigma)
        if min(height, width) < len(kernel):
            raise ValueError(
                f"Expected images of at least {len(kernel)}x{len(kernel)} pixels for sigma "
                f"{sigma}, received {height}x{width}. Use a smaller sigma."
            )
        filters = ops.convert_to_tensor(kernel[:, :, None, None], dtype=difference.dtype)
        edges = ops.conv(difference, filters, padding="valid", data_format="channels_last")
        total = total + _safe_norm(edges)
    return total


def _safe_norm(maps: Any) -> Any:
    """Euclidean norm of each map, ``(batch,)``, with gradient 0 where a map is 0."""
    squares = ops.sum(ops.square(maps), axis=(1, 2, 3))
    positive = squares > 0
    # The inner choice keeps sqrt'(0), infinity, out of the backward pass.
    return ops.where(positive, ops.sqrt(ops.where(positive, squares, 1.0)), 0.0)
