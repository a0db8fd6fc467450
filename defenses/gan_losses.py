"""Losses of adversarial training and of cycles, one pure function each, in ``keras.ops`` alone.

A loss returns one number per image, shape ``(batch,)``; the mean over the batch is the training
step's.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from defenses.losses import check_same_shape, full_precision

__all__ = [
    "GAN_POWERS",
    "check_power",
    "cross_entropy_discriminator_loss",
    "cross_entropy_generator_loss",
    "cycle_loss",
    "least_squares_discriminator_loss",
    "least_squares_generator_loss",
]

GAN_POWERS = (1, 2)
"""Powers of a score's distance from its target: the printed absolute value, least squares."""


def least_squares_discriminator_loss(real_scores: Any, fake_scores: Any, power: int = 2) -> Any:
    """How far real images score from 1 and generated ones from 0, averaged over patches.

    Unlike a cross-entropy, squares also penalise fakes that are classified as real but lie far from
    the real images.

    **Reference**: Defense-CycleGAN, eq. 1; Dissertation, eq. 4.3.1; Mao et al., "Least Squares
    Generative Adversarial Networks", 2017, eq. 2 (without its factors of one half).
    **Differs from the paper**: eq. 1 takes the root of each square, which makes it an absolute
    value, and is called least squares; the default is squares, ``power=1`` the absolute value.
    Where a discriminator scores patches, each has its distance and the distances are averaged.

    Args:
        real_scores: Scores of real images, ``(batch, ...)``, any range.
        fake_scores: Scores of as many generated images, ``(batch, ...)``.
        power: 2 for squares, 1 for absolute values.

    Returns:
        ``(batch,)``, at least 0; 0 exactly where all real scores are 1 and all fake ones 0.

    Raises:
        ValueError: If ``power`` is neither 1 nor 2.
    """
    return _distance(real_scores, 1.0, power) + _distance(fake_scores, 0.0, power)


def least_squares_generator_loss(fake_scores: Any, power: int = 2) -> Any:
    """How far generated images score from 1, the target of real ones, averaged over patches.

    **Reference**: Defense-CycleGAN, eq. 2; Dissertation, eq. 4.3.2; Mao et al., "Least Squares
    Generative Adversarial Networks", 2017, eq. 2 (without its factor of one half).
    **Differs from the paper**: squares by default, as in ``least_squares_discriminator_loss``.

    Args:
        fake_scores: Scores of generated images, ``(batch, ...)``, any range.
        power: 2 for squares, 1 for absolute values.

    Returns:
        ``(batch,)``, at least 0; 0 exactly where all scores are 1.

    Raises:
        ValueError: If ``power`` is neither 1 nor 2.
    """
    return _distance(fake_scores, 1.0, power)


def cross_entropy_discriminator_loss(real_logits: Any, fake_logits: Any) -> Any:
    """Cross-entropy of a discriminator that takes real images for 1 and generated ones for 0.

    **Reference**: Goodfellow et al., "Generative Adversarial Nets", 2014, eq. 1; Shen et al.,
    "APE-GAN", 2017, the loss of its discriminator.
    **Differs from the paper**: nothing; scores are logits, whose sigmoid is taken in the loss.

    Args:
        real_logits: Scores of real images, ``(batch, ...)``, any range.
        fake_logits: Scores of as many generated images, ``(batch, ...)``.

    Returns:
        ``(batch,)``, at least 0: −log σ(real) − log(1 − σ(fake)), each averaged over an image.
    """
    return _cross_entropy(real_logits) + _cross_entropy(-fake_logits)


def cross_entropy_generator_loss(fake_logits: Any) -> Any:
    """Cross-entropy of generated images that are to be taken for real ones.

    **Reference**: Goodfellow et al., "Generative Adversarial Nets", 2014, sec. 3, the form with the
    stronger gradient; Shen et al., "APE-GAN", 2017, the adversarial part of the generator's loss.
    **Differs from the paper**: nothing; scores are logits.

    Args:
        fake_logits: Scores of generated images, ``(batch, ...)``, any range.

    Returns:
        ``(batch,)``, at least 0: −log σ(fake), averaged over an image.
    """
    return _cross_entropy(fake_logits)


def cycle_loss(images: Any, cycled_images: Any) -> Any:
    """Absolute difference of an image and its pass through both generators, averaged over pixels.

    An adversarial loss alone would accept any image of the target domain; the cycle requires that
    the generated image determine the original one.

    **Reference**: Defense-CycleGAN, eq. 3, one of its two terms; Dissertation, eq. 4.3.3; CAP-GAN,
    sec. III-C.1, a term of L_cyc, or of L_identity for a pass through one generator.
    **Differs from the paper**: the equation leaves the reduction open; it is a mean over pixels and
    channels, with which the usual weight of 10 balances the adversarial losses.

    Args:
        images: ``(batch, height, width, channels)``.
        cycled_images: What generators made of them, same shape.

    Returns:
        ``(batch,)``, at least 0.
    """
    check_same_shape(images=images, cycled_images=cycled_images)
    images, cycled_images = full_precision(images, cycled_images)
    return ops.mean(ops.abs(cycled_images - images), axis=(1, 2, 3))


def check_power(power: int) -> None:
    """Raises a ValueError unless ``power`` is one of ``GAN_POWERS``."""
    if not isinstance(power, int) or isinstance(power, bool) or power not in GAN_POWERS:
        raise ValueError(
            f"Expected a power of {' or '.join(map(str, GAN_POWERS))}, received {power!r}. Use 2 "
            "for least squares, 1 for absolute values."
        )


def _distance(scores: Any, target: float, power: int) -> Any:
    """Distance of scores from their target, raised to a power and averaged over each image."""
    check_power(power)
    (scores,) = full_precision(scores)
    distance = ops.abs(scores - target) if power == 1 else ops.square(scores - target)
    return ops.mean(distance, axis=tuple(range(1, len(distance.shape))))


def _cross_entropy(logits: Any) -> Any:
    """−log σ(logits), averaged over each image."""
    (logits,) = full_precision(logits)
    return ops.mean(ops.softplus(-logits), axis=tuple(range(1, len(logits.shape))))
