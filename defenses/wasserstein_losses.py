"""The losses of a Wasserstein GAN with gradient penalty, one pure function each.

A loss returns one number per image, shape ``(batch,)``; the mean over the batch is the training
step's. Keras has no operation for the gradient with respect to an input, so ``input_gradient`` is
that of the attacks; everything else is ``keras.ops`` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from attacks.engine import gradient
from defenses.losses import full_precision

__all__ = [
    "critic_score_loss",
    "generator_score_loss",
    "gradient_penalty_loss",
    "input_gradient",
    "interpolate",
]


def critic_score_loss(real_scores: Any, generated_scores: Any) -> Any:
    """Score of a generated image minus that of a real one.

    Its negative estimates the Wasserstein distance, if the critic is 1-Lipschitz.

    **Reference**: Gulrajani et al., "Improved training of Wasserstein GANs", 2017, eq. 3, first two
    terms.
    **Differs from the paper**: nothing.

    Args:
        real_scores: ``(batch, 1)``, any range.
        generated_scores: Same shape and range.

    Returns:
        ``(batch,)``, any sign.
    """
    real_scores, generated_scores = full_precision(real_scores, generated_scores)
    return ops.squeeze(generated_scores - real_scores, axis=-1)


def generator_score_loss(generated_scores: Any) -> Any:
    """The negative score of a generated image.

    **Reference**: Gulrajani et al., "Improved training of Wasserstein GANs", 2017, algorithm 1,
    line 12.
    **Differs from the paper**: nothing.

    Args:
        generated_scores: ``(batch, 1)``, any range.

    Returns:
        ``(batch,)``, any sign.
    """
    (generated_scores,) = full_precision(generated_scores)
    return ops.squeeze(-generated_scores, axis=-1)


def interpolate(images: Any, generated_images: Any, fractions: Any) -> Any:
    """Points on the straight lines from real to generated images.

    Args:
        images: ``(batch, height, width, channels)`` in [0, 1].
        generated_images: Same shape and range.
        fractions: ``(batch, 1, 1, 1)`` in [0, 1]; 0 is the real image.

    Returns:
        Shape and range of the images.
    """
    images, generated_images = full_precision(images, generated_images)
    return images + fractions * (generated_images - images)


def gradient_penalty_loss(critic: Callable[[Any], Any], images: Any) -> Any:
    """Squared distance of the critic's input gradient from unit length.

    It keeps the critic 1-Lipschitz, without which its scores measure no distance.

    **Reference**: Gulrajani et al., "Improved training of Wasserstein GANs", 2017, eq. 3, last
    term, without its weight.
    **Differs from the paper**: nothing. The public codes, which are written for flat images, sum
    the squares over one axis; for images the norm takes in all axes but that of the batch.

    Args:
        critic: Images to scores ``(batch, 1)``; each score depends on its own image alone.
        images: ``(batch, height, width, channels)``, where the gradient is taken.

    Returns:
        ``(batch,)``, at least 0. Where the gradient vanishes the penalty is 1 and, by definition
        here, has no gradient itself.
    """
    gradient = input_gradient(critic, images)
    squares = ops.sum(ops.square(gradient), axis=(1, 2, 3))
    positive = squares > 0
    # The inner choice keeps sqrt'(0), infinity, out of the backward pass.
    norms = ops.where(positive, ops.sqrt(ops.where(positive, squares, 1.0)), 0.0)
    return ops.square(norms - 1.0)


def input_gradient(function: Callable[[Any], Any], inputs: Any) -> Any:
    """Gradient, with respect to the inputs, of the sum of what a function returns.

    Where each result depends on its own input alone, these are the gradients of all results. They
    can be differentiated once more.

    Args:
        function: A tensor to a tensor of any shape, by Keras operations alone.
        inputs: The tensor at which the gradient is taken.

    Returns:
        A tensor shaped like the inputs.

    Raises:
        ValueError: On a backend other than TensorFlow and JAX.
    """
    return gradient(lambda x: full_precision(function(x))[0], inputs)
