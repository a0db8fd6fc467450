"""CAP-GAN's losses of features, one pure function each, in ``keras.ops`` alone.

Its losses of pixels are those of ``defenses.gan_losses``. A loss returns one number per image,
shape ``(batch,)``; the mean over the batch is the training step's.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from defenses.losses import check_same_shape, full_precision
from validation import check_number

__all__ = ["domain_loss", "semantic_loss", "softened_log_probabilities"]


def domain_loss(source_logits: Any, other_logits: Any) -> Any:
    """Cross-entropy of the question whether images come from a generator's source domain.

    It makes the weights of a generator's auxiliary classifier, which scale its maps, those that
    tell the domains apart.

    **Reference**: CAP-GAN, sec. III-C.2, L_cam^T, one of its two pairs of terms.
    **Differs from the paper**: the second term of each pair is printed with a plus,
    −log η(source) + log(1 − η(other)), which has no least value and rewards the wrong answer; the
    text asks for an output of 1 for the source domain and of 0 for the other, which is a minus.

    Args:
        source_logits: Of images of the source domain, ``(batch, 1)``, any range.
        other_logits: Of as many images of the other domain, same shape.

    Returns:
        ``(batch,)``, above 0: −log σ(source) − log(1 − σ(other)) with the logistic function σ.
    """
    check_same_shape(source_logits=source_logits, other_logits=other_logits)
    source_logits, other_logits = full_precision(source_logits, other_logits)
    return ops.sum(ops.softplus(-source_logits) + ops.softplus(other_logits), axis=-1)


def softened_log_probabilities(logits: Any, temperature: float) -> Any:
    """Logarithms of p(z, T), a softmax of logits that are divided by a temperature.

    **Reference**: CAP-GAN, sec. III-C.2, p(z_i, T); Hinton, Vinyals and Dean, "Distilling the
    Knowledge in a Neural Network", 2015.
    **Differs from the paper**: nothing.

    Args:
        logits: ``(batch, num_classes)``, any range.
        temperature: The T, above 0; the larger, the more equal the probabilities.

    Returns:
        ``(batch, num_classes)``, at most 0; the exponentials of a row add up to 1.
    """
    (logits,) = full_precision(logits)
    return ops.log_softmax(logits / temperature, axis=-1)


def semantic_loss(teacher_logits: Any, student_logits: Any, temperature: float = 10.0) -> Any:
    """T² times the divergence of a classifier's soft answers for two images.

    An image may look alike and be read otherwise; soft answers compare all classes, also the
    unlikely ones. T² makes up for the gradient, which falls with it.

    **Reference**: CAP-GAN, sec. III-C.2, L_sem, for one version of one domain:
    T² · KL(p(z_real, T), p(z_fake, T)).
    **Differs from the paper**: nothing; the sum runs over the classes, and no gradient reaches the
    teacher.

    Args:
        teacher_logits: z_real, of the real image, ``(batch, num_classes)``, any range.
        student_logits: z_fake, of the generated image, same shape.
        temperature: The T, above 0.

    Returns:
        ``(batch,)``, at least 0; 0 exactly where the logits agree up to a constant.

    Raises:
        ValueError: If the shapes differ or the temperature is not above 0.
    """
    check_number("temperature", temperature, above=0, such_as=10.0)
    check_same_shape(teacher_logits=teacher_logits, student_logits=student_logits)
    teacher = ops.stop_gradient(softened_log_probabilities(teacher_logits, temperature))
    student = softened_log_probabilities(student_logits, temperature)
    return temperature**2 * ops.sum(ops.exp(teacher) * (teacher - student), axis=-1)
