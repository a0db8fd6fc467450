"""A purifier and the classifiers behind it as one model, which every attack can attack."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from attacks.wrappers import MOST_DRAWS, identity_gradient, log_mean
from defenses.batches import predict_in_batches, reset_seed_generators
from defenses.image_model import ImageModel
from defenses.purifier import Purifier
from models.layers import check_classifier
from validation import check_choice, check_flag, check_images, check_integer

__all__ = ["RULES", "DefendedClassifier"]

RULES = ("single", "mean", "mean_logits")
"""How several classifiers are combined; see ``DefendedClassifier``."""


@keras.saving.register_keras_serializable(package="cleanroom")
class DefendedClassifier(ImageModel):
    """Purifies an image, classifies the result, and returns log-probabilities.

    It is itself a classifier, so an attack on it is an attack on the whole defense: the gradient
    runs through classifiers and purifier, and a stochastic purifier draws anew at every call, as
    expectation over transformation requires. Log-probabilities are valid logits: their softmax is
    the probabilities.

    The collective vote has no gradient. ``"mean"`` and ``"mean_logits"`` replace it in an attack;
    the vote itself is ``defenses.decision.majority_vote``.

    **Reference**: Dissertation, ch. 3.4.4 (each voter connected to the purifier end to end, rule
    ``"single"``).
    **Differs from the paper**: the two means; the paper attacks single voters only. The identity
    gradient is BPDA of Athalye, Carlini and Wagner 2018.

    Args:
        purifier: Cleans the images; ``None`` leaves them unchanged.
        classifiers: At least one classifier that returns logits; with a purifier, also one that is
            written as a subclass of ``keras.Model``.
        rule: ``"single"``, the one classifier; ``"mean"``, the mean of the probabilities;
            ``"mean_logits"``, the mean of the logits.
        identity_gradient: Whether the gradient of the purifier is replaced by that of the identity
            (BPDA), for one that is not differentiable. Values stay the same, bit for bit.
        num_draws: Number of purifications of each image whose probabilities are averaged; more than
            one makes the gradient an expectation over the purifier's randomness (EOT); at most
            ``MOST_DRAWS``.
        **kwargs: Name and dtype, as of any model.

    Call arguments:
        images: float32 ``(batch, height, width, channels)`` in [0, 1].
        training: Whether purifier and classifiers behave as in training.

    Returns:
        Log-probabilities ``(batch, classes)``, at most 0; their exponentials sum to 1.

    Raises:
        ValueError: If the rule is unknown, there is no classifier, several for ``"single"``, the
            models are of another kind or do not fit each other, a classifier ends in a softmax, or
            ``num_draws`` is out of range.

    Example:
        import numpy as np
        from defenses import DefendedClassifier, get_purifier
        from models import build_classifier

        images = np.random.default_rng(0).random((8, 28, 28, 1), dtype="float32")
        purifier = get_purifier("magnet").for_images((28, 28, 1))
        defended = DefendedClassifier(purifier, [build_classifier("A", (28, 28, 1), width=0.125)])
        defended.predict_labels(images).shape  # (8,)
    """

    def __init__(
        self,
        purifier: Purifier | None,
        classifiers: Sequence[keras.Model],
        rule: str = "single",
        identity_gradient: bool = False,
        num_draws: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        classifiers = _check_members(purifier, classifiers, rule)
        check_flag("identity_gradient", identity_gradient)
        check_integer("num_draws", num_draws, at_least=1, at_most=MOST_DRAWS)
        self.purifier = purifier
        self.classifiers = classifiers
        self.rule = rule
        self.identity_gradient = bool(identity_gradient)
        self.num_draws = int(num_draws)
        self.build((None, *self.image_shape))

    @property
    def image_shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        """``(height, width, channels)`` of the images."""
        return tuple(self.classifiers[0].input_shape[1:])

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return int(self.classifiers[0].output_shape[-1])

    @property
    def is_stochastic(self) -> bool:
        """Whether two calls on one image differ."""
        return self.purifier is not None and self.purifier.is_stochastic

    @property
    def differentiable(self) -> bool:
        """Whether a gradient flows to the images; if not, an attack needs BPDA."""
        return self.purifier is None or self.identity_gradient or self.purifier.differentiable

    def call(self, images: Any, training: bool = False) -> Any:
        """Log-probabilities of a batch; see the class docstring."""
        if len(self.classifiers) > 1 and self.num_draws > 1:
            # Each classifier stands once in the graph, not once for each draw.
            draws = [self._purify(images, training) for _ in range(self.num_draws)]
            classified = self._classify(ops.concatenate(draws, axis=0), training)
            return log_mean(ops.split(classified, self.num_draws, axis=0))
        return log_mean(
            [
                self._classify(self._purify(images, training), training)
                for _ in range(self.num_draws)
            ]
        )

    def _purify(self, images: Any, training: bool) -> Any:
        """One draw of the purifier."""
        if self.purifier is None:
            return images
        purify = functools.partial(self.purifier, training=training)
        return identity_gradient(purify, images) if self.identity_gradient else purify(images)

    def _classify(self, images: Any, training: bool) -> Any:
        """Log-probabilities by the rule."""
        logits = [classifier(images, training=training) for classifier in self.classifiers]
        if self.rule == "mean":
            return log_mean([ops.log_softmax(member, axis=-1) for member in logits])
        return ops.log_softmax(sum(logits) / len(logits), axis=-1)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, int]:
        """One row of classes for each image."""
        return (input_shape[0], self.num_classes)

    def predict_labels(self, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """The most probable class of each image, computed in compiled batches of one size.

        Args:
            images: Float array ``(num_images, height, width, channels)`` in [0, 1].
            batch_size: Images per batch, at least 1.

        Returns:
            Labels ``(num_images,)``, int64.

        Raises:
            ValueError: If the images are not valid, or a log-probability is NaN.
        """
        checked = check_images(images, self.image_shape)
        log_probabilities = predict_in_batches(self.predict_checked, checked, batch_size)
        if np.isnan(log_probabilities).any():
            raise ValueError(
                "Expected log-probabilities, received NaN. A network has damaged weights: train "
                "it again with a lower learning rate, or load another file."
            )
        return log_probabilities.argmax(axis=-1).astype("int64")

    def reset_randomness(self, seed: int) -> None:
        """Restarts every random stream, so that the following calls are repeatable."""
        reset_seed_generators(self, seed)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the model, its networks included."""
        return {
            **super().get_config(),
            "purifier": keras.saving.serialize_keras_object(self.purifier),
            "classifiers": [keras.saving.serialize_keras_object(c) for c in self.classifiers],
            "rule": self.rule,
            "identity_gradient": self.identity_gradient,
            "num_draws": self.num_draws,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Rebuilds the model from ``get_config``, with fresh weights."""

        def rebuild(nested: Any) -> Any:
            return keras.saving.deserialize_keras_object(nested, custom_objects)

        return cls(
            **{
                **config,
                "purifier": rebuild(config["purifier"]),
                "classifiers": [rebuild(nested) for nested in config["classifiers"]],
            }
        )


def _check_members(
    purifier: Purifier | None, classifiers: Sequence[keras.Model], rule: str
) -> list[keras.Model]:
    """Returns the classifiers, each of known shapes, once all members are found to fit."""
    check_choice("rule", rule, RULES)
    if purifier is not None and not isinstance(purifier, Purifier):
        raise ValueError(
            f"Expected a Purifier or None as purifier, received {type(purifier).__name__}. Build "
            "one with get_purifier(name).for_images(input_shape)."
        )
    if not isinstance(classifiers, list | tuple):
        raise ValueError(
            f"Expected classifiers as a list of models, received {type(classifiers).__name__}. "
            "Pass [classifier]."
        )
    if len(classifiers) == 0 or (rule == "single" and len(classifiers) > 1):
        wanted = "exactly one classifier" if rule == "single" else "at least one classifier"
        raise ValueError(
            f"Expected {wanted} for the rule {rule!r}, received {len(classifiers)}. Use the rule "
            "'mean' for several."
        )
    if purifier is not None:
        classifiers = [_functional(c, purifier.image_shape) for c in classifiers]
    for classifier in classifiers:
        check_classifier(classifier)
    inputs = {tuple(classifier.input_shape[1:]) for classifier in classifiers}
    outputs = {tuple(classifier.output_shape[1:]) for classifier in classifiers}
    if purifier is not None:
        inputs.add(tuple(purifier.image_shape))
    if len(inputs) > 1 or len(outputs) > 1:
        raise ValueError(
            "Expected purifier and classifiers for one image shape and one number of classes, "
            f"received image shapes {sorted(inputs)} and output shapes {sorted(outputs)}. Build "
            "all of them for the same data set."
        )
    return list(classifiers)


def _functional(classifier: Any, image_shape: tuple[int, int, int]) -> Any:
    """A classifier written as a subclass as a functional model, whose shapes are known."""
    if not isinstance(classifier, keras.Model) or hasattr(classifier, "input_shape"):
        return classifier
    images = keras.Input(image_shape, name="images")
    return keras.Model(images, classifier(images), name=classifier.name)
