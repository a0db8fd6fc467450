"""Wrappers that make a purified classifier attackable: BPDA and EOT, each a model of few lines.

Both are classifiers like any other, so that every attack works on them. ``identity_gradient`` and
``log_mean`` are the two ideas as functions, for models that do it themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from validation import check_choice, check_integer

__all__ = ["BPDA", "EOT", "MOST_DRAWS", "identity_gradient", "log_mean"]

MOST_DRAWS = 1_000
"""Most calls of a model that are averaged: each is a part of the graph of its own."""

_AVERAGES = ("probabilities", "log_probabilities")


def identity_gradient(purify: Callable[[Any], Any], images: Any) -> Any:
    """Returns purified images, bit for bit, with the gradient of the images themselves.

    The purifier is called outside of the gradient, so that none of its steps need to have one.

    **Reference**: Athalye, Carlini and Wagner 2018, "Obfuscated gradients give a false sense of
    security", sec. 4.1 (backward pass differentiable approximation).

    **Differs from the paper**: nothing; the approximation is the identity, as in its sec. 4.1.1.

    Args:
        purify: From images to images of the same shape.
        images: ``(batch, height, width, channels)`` floats.
    """
    fixed = ops.stop_gradient(images)
    return ops.stop_gradient(purify(fixed)) + (images - fixed)


def log_mean(log_probabilities: Sequence[Any]) -> Any:
    """Returns the logarithm of the mean of probabilities, each given as ``(batch, classes)`` logs.

    A single one is returned as it is.
    """
    if len(log_probabilities) == 1:
        return log_probabilities[0]
    total = ops.logsumexp(ops.stack(log_probabilities), axis=0)
    return total - math.log(len(log_probabilities))


class BPDA(keras.Model):
    """A classifier behind a purifier, whose gradient passes the purifier as if it were not there.

    For a purifier that does not differentiate. On one that does it is a weak attack: the gradient
    through the purifier is the right one.

    **Reference**: Athalye, Carlini and Wagner 2018, sec. 4.1.

    **Differs from the paper**: nothing.

    Args:
        purifier: From images to images of the same shape, a model or any function of tensors.
        classifier: A built model from images to logits.
        **kwargs: Name and dtype, as of any model.

    Call arguments:
        images: float32 ``(batch, height, width, channels)`` in [0, 1].
        training: Whether the classifier, and a purifier that is a model, behave as in training.

    Returns:
        What the classifier makes of the purified images, ``(batch, classes)``.

    Example:
        import numpy as np
        from keras import ops
        from attacks import get_attack
        from attacks.wrappers import BPDA
        from models.classifiers import classifier_a

        classifier = classifier_a((28, 28, 1), width=0.125)
        images = np.random.default_rng(0).random((4, 28, 28, 1), dtype="float32")
        labels = np.argmax(classifier(images), axis=1)
        rounding = BPDA(lambda x: ops.round(8.0 * x) / 8.0, classifier)
        adversarial_images = get_attack("bim")(rounding, images, labels, epsilon=0.1)
        round(float(np.abs(adversarial_images - images).max()), 3)  # 0.1
    """

    def __init__(
        self, purifier: Callable[..., Any], classifier: keras.Model, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not callable(purifier):
            raise ValueError(
                f"Expected a purifier, a function from images to images, received {purifier!r}. "
                "Pass a model or a function of tensors."
            )
        self.purifier = purifier
        self.classifier = _checked_model("classifier", classifier)
        self.built = True

    @property
    def image_shape(self) -> Any:
        """``(height, width, channels)`` of the images, where the classifier tells."""
        return _image_shape(self.classifier)

    def call(self, images: Any, training: bool = False) -> Any:
        """The logits; see the class docstring."""
        options = {"training": training} if isinstance(self.purifier, keras.layers.Layer) else {}
        purified = identity_gradient(lambda x: self.purifier(x, **options), images)
        return self.classifier(purified, training=training)


class EOT(keras.Model):
    """A random classifier that answers with the average of several calls.

    Its gradient is an expectation over the randomness of the model, estimated by so many draws. Of
    a model that draws nothing it is the model itself, up to the rounding of the average.

    **Reference**: Athalye, Carlini and Wagner 2018, sec. 4.2 (expectation over transformation);
    Athalye, Engstrom, Ilyas and Kwok 2018, "Synthesizing robust adversarial examples".

    **Differs from the paper**: the average is of outputs, inside the loss. With
    ``"log_probabilities"`` it is that of the log-likelihood, as the paper of 2018 has it; with
    ``"probabilities"`` it is that of the chance that the model errs.

    Args:
        model: A built model from images to logits.
        num_draws: Number of calls that are averaged, at most ``MOST_DRAWS``.
        average: ``"probabilities"``, the logarithm of their mean, as the defense that repeats its
            answer would decide; or ``"log_probabilities"``, the mean of their logarithms.
        **kwargs: Name and dtype, as of any model.

    Call arguments:
        images: float32 ``(batch, height, width, channels)`` in [0, 1].
        training: Whether the model behaves as in training.

    Returns:
        ``(batch, classes)``: log-probabilities, at most 0; with ``"log_probabilities"`` their sums
        of exponentials are at most 1.

    Example:
        import numpy as np
        from attacks.wrappers import EOT
        from models.classifiers import classifier_a

        classifier = classifier_a((28, 28, 1), width=0.125)
        images = np.random.default_rng(0).random((4, 28, 28, 1), dtype="float32")
        averaged, once = EOT(classifier, num_draws=3)(images), EOT(classifier, num_draws=1)(images)
        bool(np.allclose(averaged, once, atol=1e-5))  # True
    """

    def __init__(
        self, model: keras.Model, num_draws: int, average: str = "probabilities", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.model = _checked_model("model", model)
        self.num_draws = check_integer("num_draws", num_draws, at_least=1, at_most=MOST_DRAWS)
        check_choice("average", average, _AVERAGES)
        self.average = average
        self.built = True

    @property
    def image_shape(self) -> Any:
        """``(height, width, channels)`` of the images, where the model tells."""
        return _image_shape(self.model)

    def call(self, images: Any, training: bool = False) -> Any:
        """The averaged log-probabilities; see the class docstring."""
        draws = [
            ops.log_softmax(self.model(images, training=training), axis=-1)
            for _ in range(self.num_draws)
        ]
        if self.average == "probabilities":
            return log_mean(draws)
        return sum(draws) / self.num_draws


def _checked_model(name: str, model: Any) -> keras.Model:
    """Returns a model that has weights."""
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(
            f"Expected {name} to be a keras.Model with weights, received {model!r}. Load or build "
            "one, and call it once on a batch of images."
        )
    return model


def _image_shape(model: keras.Model) -> Any:
    """``(height, width, channels)`` that a model takes; ``None`` if it does not say."""
    shape = getattr(model, "input_shape", None)
    return getattr(model, "image_shape", None) if shape is None else shape[1:]
