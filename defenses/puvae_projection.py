"""PuVAE's projection of an image on the manifold of each class, and the choice of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

from defenses.losses import full_precision
from models.conditional_vae import encode_every_class

__all__ = ["Projection", "project_on_classes", "purified_images", "rms_distance"]


class Projection(NamedTuple):
    """Reconstructions of an image under each class.

    Attributes:
        candidates: ``(batch, num_classes, height, width, channels)`` in [0, 1].
        distances: Root mean square error of each candidate, ``(batch, num_classes)``.
        labels: The class of the nearest candidate, ``(batch,)``, integers. Its candidate is the
            purified image; the class itself is a diagnostic, not the decision.
    """

    candidates: Any
    distances: Any
    labels: Any


def project_on_classes(
    encoder: keras.Model,
    decoder: keras.Model,
    sample: Callable[[Any, Any], Any],
    images: Any,
    training: bool = False,
) -> Projection:
    """Reconstructs each image under each class, in one pass, and measures the distances.

    **Reference**: PuVAE, eqs. 20-21.
    **Differs from the paper**: nothing.

    Args:
        encoder: From ``puvae_encoder``.
        decoder: From ``puvae_decoder``, for as many classes.
        sample: Draws latent vectors from their means and standard deviations.
        images: ``(batch, height, width, channels)`` in [0, 1].
        training: Passed on to the networks.

    Returns:
        Candidates, their distances and the class of the nearest, as tensors.
    """
    num_classes = decoder.input_shape[1][-1]
    latent = sample(*encode_every_class(encoder, images, training=training))
    rows = ops.reshape(latent, (-1, num_classes, latent.shape[-1]))
    codes = ops.zeros_like(rows[:, :, :1]) + ops.eye(num_classes, dtype=latent.dtype)
    labels = ops.reshape(codes, (-1, num_classes))  # in the order of the rows: class by class
    decoded = decoder([latent, labels], training=training)
    candidates = ops.reshape(decoded, (-1, num_classes, *decoder.output_shape[1:]))
    distances = rms_distance(images, candidates)
    return Projection(candidates, distances, ops.argmin(distances, axis=1))


def purified_images(projection: Projection, temperature: float | None = None) -> Any:
    """The nearest candidate, or a mixture in which nearer ones have the larger shares.

    **Reference**: PuVAE, eq. 22.
    **Differs from the paper**: the mixture, softmax(-distance / temperature), is for attacks: it
    tends to the nearest candidate as the temperature falls, and has a gradient in the distances.

    Args:
        projection: From ``project_on_classes``.
        temperature: ``None`` takes the nearest candidate; its choice counts as constant.

    Returns:
        ``(batch, height, width, channels)`` in [0, 1].
    """
    candidates, distances = full_precision(projection.candidates, projection.distances)
    if temperature is None:
        shares = ops.one_hot(projection.labels, distances.shape[1], dtype=distances.dtype)
    else:
        shares = ops.softmax(-distances / temperature, axis=1)
    # No matrix product, which some devices round: the nearest candidate comes back bit for bit.
    return ops.sum(shares[:, :, None, None, None] * candidates, axis=1)


def rms_distance(images: Any, candidates: Any) -> Any:
    """Distance of an image from each of its candidates: the root of the mean squared error.

    **Reference**: PuVAE, eq. 21, the measure D.
    **Differs from the paper**: nothing.

    Args:
        images: ``(batch, height, width, channels)`` in [0, 1].
        candidates: ``(batch, num_candidates, height, width, channels)`` in [0, 1].

    Returns:
        ``(batch, num_candidates)`` in [0, 1]. Where a candidate is the image itself, the gradient
        is defined as 0; the root alone would make it infinite.
    """
    images, candidates = full_precision(images, candidates)
    squares = ops.mean(ops.square(candidates - images[:, None]), axis=(2, 3, 4))
    positive = squares > 0
    # The inner choice keeps sqrt'(0), infinity, out of the backward pass.
    return ops.where(positive, ops.sqrt(ops.where(positive, squares, 1.0)), 0.0)
