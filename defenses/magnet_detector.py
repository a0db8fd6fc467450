"""MagNet's detectors: images too far from the manifold of clean ones are rejected."""

from __future__ import annotations

import abc
import os
from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from defenses.batches import predict_in_batches
from defenses.detector_files import network_sum, read_detector, write_detector
from defenses.losses import check_same_shape
from defenses.purifier import Purifier
from models.layers import check_classifier
from validation import (
    check_call,
    check_flag,
    check_images,
    check_integer,
    check_labels,
    check_number,
)

__all__ = [
    "DivergenceDetector",
    "ErrorDetector",
    "MagNetDetector",
    "accepted_by_all",
    "handled",
    "jensen_shannon_divergence",
    "published_detectors",
    "reconstruction_error",
]


def reconstruction_error(images: Any, reconstructions: Any, order: int) -> Any:
    """The p-norm of what a reconstruction changes, over pixels and channels.

    **Reference**: Meng and Chen, "MagNet", 2017, the detector based on reconstruction error.
    **Differs from the paper**: nothing; the authors' code has the mean of the p-th powers, which
    orders images alike.

    Args:
        images: ``(batch, height, width, channels)`` in [0, 1].
        reconstructions: Same shape and range.
        order: The p, 1 or 2.

    Returns:
        ``(batch,)``, at least 0.
    """
    check_same_shape(images=images, reconstructions=reconstructions)
    powers = ops.power(ops.abs(images - reconstructions), order)
    return ops.power(ops.sum(powers, axis=(1, 2, 3)), 1.0 / order)


def jensen_shannon_divergence(logits: Any, other_logits: Any, temperature: float) -> Any:
    """How far two predictions are apart, with their softmaxes flattened by a temperature.

    The temperature keeps small differences visible where the classifier is confident.

    **Reference**: Meng and Chen, "MagNet", 2017, the detector based on probability divergence:
    half of KL(P, M) + KL(Q, M), where M is the mean of P and Q.
    **Differs from the paper**: nothing.

    Args:
        logits: ``(batch, num_classes)``, any range.
        other_logits: Same shape.
        temperature: Positive divisor of the logits.

    Returns:
        ``(batch,)``, from 0 to log 2.
    """
    check_same_shape(logits=logits, other_logits=other_logits)
    first = ops.log_softmax(logits / temperature, axis=-1)
    second = ops.log_softmax(other_logits / temperature, axis=-1)
    middle = ops.logaddexp(first, second) - float(np.log(2.0))
    terms = ops.exp(first) * (first - middle) + ops.exp(second) * (second - middle)
    return 0.5 * ops.sum(terms, axis=-1)


class MagNetDetector(abc.ABC):
    """Rejects images that its autoencoder changes more than nearly all clean images.

    A subclass defines the score. The threshold is fitted to clean images that were not used in
    training.

    **Reference**: Meng and Chen, "MagNet", 2017, the detectors; thresholds by false positive
    rate: 0.001 for MNIST, for CIFAR-10 0.005 by error and 0.01 by divergence.
    **Differs from the paper**: an image at the threshold is accepted, so that equal scores (of
    identical images) never raise the rate of rejection above the given one.

    Args:
        reformer: Trained purifier whose output is compared with its input.
        threshold: Largest score that is accepted; ``None`` until ``fit_threshold`` has set it.

    Raises:
        ValueError: If the reformer is no purifier or the threshold no finite number of at least 0.
    """

    def __init__(self, reformer: Purifier, *, threshold: float | None = None) -> None:
        if not isinstance(reformer, Purifier):
            raise ValueError(
                f"Expected a Purifier as reformer, received {type(reformer).__name__}. Pass the "
                "trained MagNet."
            )
        if threshold is not None:
            check_number("threshold", threshold, at_least=0)
        self.reformer = reformer
        self.threshold = threshold

    @abc.abstractmethod
    def score_batch(self, images: Any) -> Any:
        """Scores a batch as a tensor ``(batch,)``, differentiably where the networks are."""

    def scores(self, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """Scores any number of images; higher is farther from clean.

        Args:
            images: Float array ``(num_images, height, width, channels)`` in [0, 1].
            batch_size: Images per batch, at least 1.

        Returns:
            float32 array ``(num_images,)``, finite.

        Raises:
            ValueError: If the images are not valid or a score is not finite.
        """
        checked = check_images(images, self.reformer.image_shape)

        def score(batch: np.ndarray) -> np.ndarray:
            return ops.convert_to_numpy(self.score_batch(ops.convert_to_tensor(batch)))

        scores = predict_in_batches(score, checked, batch_size)
        if not np.isfinite(scores).all():
            raise ValueError(
                "Expected finite scores, received NaN or infinity. A network of the detector has "
                "damaged weights: train it again at a lower learning rate."
            )
        return scores

    def fit_threshold(
        self, validation_images: np.ndarray, false_positive_rate: float, batch_size: int = 256
    ) -> Self:
        """Sets the threshold so that this share of the given clean images is rejected.

        Args:
            validation_images: Clean images that neither the reformer nor a classifier was trained
                on; at least ``1 / false_positive_rate`` of them.
            false_positive_rate: Share of them to reject, above 0 and below 1. That many images,
                rounded down, lie above the threshold; fewer where scores are equal.
            batch_size: Images per batch.

        Returns:
            The detector itself.

        Raises:
            ValueError: If the rate is out of range or amounts to less than one image.
        """
        check_number("false_positive_rate", false_positive_rate, above=0, below=1, such_as=0.01)
        validation_images = check_images(validation_images, self.reformer.image_shape)
        num_rejected = int(false_positive_rate * len(validation_images) + 1e-9)
        if num_rejected < 1:
            raise ValueError(
                "Expected a false_positive_rate that is at least one of the images, received "
                f"{false_positive_rate} and {len(validation_images)} images. Raise the rate or "
                "pass more images."
            )
        scores = np.sort(self.scores(validation_images, batch_size))
        self.threshold = float(scores[-num_rejected - 1])
        return self

    def accepts(self, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """Whether each image is close enough to clean ones to be classified.

        Args:
            images: Float array ``(num_images, height, width, channels)`` in [0, 1].
            batch_size: Images per batch.

        Returns:
            Booleans ``(num_images,)``.

        Raises:
            ValueError: If there is no threshold yet.
        """
        return self.scores(images, batch_size) <= np.float32(self._fitted_threshold())

    def save(self, filepath: str | os.PathLike[str]) -> None:
        """Writes class, option and threshold to a JSON file, but not the networks.

        Args:
            filepath: Where to write; ends in ``.json``. An existing file is replaced.

        Raises:
            ValueError: If there is no threshold yet, or the path cannot be written to.
        """
        content = {
            "class": type(self).__name__,
            "networks": {name: network_sum(network) for name, network in self.networks().items()},
            "options": self.options(),
            "threshold": self._fitted_threshold(),
        }
        write_detector(filepath, content)

    @classmethod
    def load(cls, filepath: str | os.PathLike[str], *networks: keras.Model) -> Self:
        """Reads a detector that ``save`` wrote, for the networks whose scores it judges.

        Args:
            filepath: The file.
            *networks: Those that the constructor takes, in its order and with the weights that they
                had when the threshold was fitted.

        Returns:
            The detector, with its threshold.

        Raises:
            ValueError: If the file is damaged, of another class, or belongs to networks with other
                weights, of whose scores its threshold says nothing.
        """
        content = read_detector(filepath)
        if content.get("class") != cls.__name__:
            raise ValueError(
                f"Expected the file of a {cls.__name__}, received one of {content.get('class')!r}. "
                "Read it by the load of that class."
            )
        build: Any = cls
        found = build(*networks, **content["options"], threshold=content["threshold"])
        for name, network in found.networks().items():
            if content["networks"].get(name) != network_sum(network):
                raise ValueError(
                    f"Expected the {name} that the detector was fitted with, received one with "
                    "other weights. Pass that one, or fit the detector again."
                )
        return found

    def options(self) -> dict[str, float]:
        """The constructor's arguments that define the score, by name."""
        return {}

    def networks(self) -> dict[str, keras.Model]:
        """The networks that the scores come from, by the names of their arguments."""
        return {"reformer": self.reformer}

    def _fitted_threshold(self) -> float:
        if self.threshold is None:
            raise ValueError(
                "Expected a threshold, received None. Call fit_threshold with clean validation "
                "images first."
            )
        return check_number("threshold", self.threshold, at_least=0)


class ErrorDetector(MagNetDetector):
    """Rejects images that the autoencoder reconstructs badly.

    **Reference**: Meng and Chen, "MagNet", 2017: for MNIST order 2 with autoencoder I and order 1
    with II, for CIFAR-10 order 1 with II.
    **Differs from the paper**: nothing.

    Args:
        reformer: Trained purifier.
        order: The p of the norm, 1 or 2.
        threshold: Largest accepted score, if known.

    Raises:
        ValueError: If ``order`` is neither 1 nor 2.

    Example:
        import numpy as np
        from defenses.magnet import MagNet
        from defenses.magnet_detector import ErrorDetector

        images = np.random.default_rng(0).random((8, 28, 28, 1), dtype="float32")
        reformer = MagNet.for_images((28, 28, 1))
        detector = ErrorDetector(reformer, order=2).fit_threshold(images, false_positive_rate=0.25)
        int(np.sum(detector.accepts(images)))  # 6
    """

    def __init__(
        self, reformer: Purifier, *, order: int = 2, threshold: float | None = None
    ) -> None:
        super().__init__(reformer, threshold=threshold)
        check_integer("order", order, at_least=1, at_most=2)
        self.order = order

    def options(self) -> dict[str, float]:
        """The order of the norm."""
        return {"order": int(self.order)}

    def score_batch(self, images: Any) -> Any:
        """The norm of the change; see the base class."""
        check_call(images, self.reformer.image_shape)
        return reconstruction_error(images, self.reformer(images, training=False), self.order)


class DivergenceDetector(MagNetDetector):
    """Rejects images whose predicted probabilities change when they are reformed.

    **Reference**: Meng and Chen, "MagNet", 2017: for CIFAR-10, temperatures 10 and 40.
    **Differs from the paper**: nothing.

    Args:
        reformer: Trained purifier.
        classifier: The classifier behind it, which returns logits.
        temperature: Positive divisor of the logits.
        threshold: Largest accepted score, if known.

    Raises:
        ValueError: If the temperature is not positive.

    Example:
        import numpy as np
        from defenses.magnet import MagNet
        from defenses.magnet_detector import DivergenceDetector
        from models.classifiers import classifier_a

        images = np.random.default_rng(0).random((8, 28, 28, 1), dtype="float32")
        reformer = MagNet.for_images((28, 28, 1))
        classifier = classifier_a((28, 28, 1), width=0.125)
        detector = DivergenceDetector(reformer, classifier)
        detector.fit_threshold(images, false_positive_rate=0.25)
        int(np.sum(detector.accepts(images)))  # 6
    """

    def __init__(
        self,
        reformer: Purifier,
        classifier: keras.Model,
        *,
        temperature: float = 10.0,
        threshold: float | None = None,
    ) -> None:
        super().__init__(reformer, threshold=threshold)
        check_number("temperature", temperature, above=0, at_most=1e6, such_as=10.0)
        check_classifier(classifier)
        self.classifier = classifier
        self.temperature = float(temperature)

    def options(self) -> dict[str, float]:
        """The temperature."""
        return {"temperature": self.temperature}

    def networks(self) -> dict[str, keras.Model]:
        """Reformer and classifier."""
        return {**super().networks(), "classifier": self.classifier}

    def score_batch(self, images: Any) -> Any:
        """The divergence of the two predictions; see the base class."""
        check_call(images, self.reformer.image_shape)
        reformed = self.reformer(images, training=False)
        before, after = (self.classifier(x, training=False) for x in (images, reformed))
        return jensen_shannon_divergence(before, after, self.temperature)


def accepted_by_all(
    detectors: Sequence[MagNetDetector], images: np.ndarray, batch_size: int = 256
) -> np.ndarray:
    """Whether every detector accepts an image; MagNet classifies only those.

    Args:
        detectors: Fitted detectors; without any, every image is accepted.
        images: Float array ``(num_images, height, width, channels)`` in [0, 1].
        batch_size: Images per batch.

    Returns:
        Booleans ``(num_images,)``.
    """
    accepted = np.ones(len(check_images(images)), dtype=bool)
    for detector in detectors:
        accepted &= detector.accepts(images, batch_size)
    return accepted


def handled(
    labels: np.ndarray, predictions: np.ndarray, accepted: np.ndarray, *, adversarial: bool
) -> np.ndarray:
    """Which images MagNet as a whole, detectors and reformer, handles correctly.

    An adversarial image is handled if it is rejected or classified as labelled; a clean one only if
    it is accepted and classified as labelled. The mean is the accuracy.

    **Reference**: Meng and Chen, "MagNet", 2017, its accuracy under attack.
    **Differs from the paper**: nothing.

    Args:
        labels: True labels, integers ``(num_images,)``.
        predictions: Labels predicted for the reformed images, same shape.
        accepted: Booleans from ``accepted_by_all``, same shape.
        adversarial: Whether the images, all of them, are attacked.

    Returns:
        Booleans ``(num_images,)``.

    Raises:
        ValueError: If the three differ in shape.
    """
    check_flag("adversarial", adversarial)
    num_images = np.size(accepted)
    truth = check_labels(labels, num_images)
    found = check_labels(predictions, num_images, name="predictions")
    accepts = np.asarray(accepted)
    if accepts.dtype.kind != "b" or accepts.ndim != 1:
        raise ValueError(
            f"Expected accepted as booleans of shape ({num_images},), one for each image, received "
            f"dtype {accepts.dtype} and shape {accepts.shape}. Pass the result of accepted_by_all."
        )
    correct = truth == found
    return correct | ~accepts if adversarial else correct & accepts


def published_detectors(
    purifier: Purifier, classifier: keras.Model, images: np.ndarray
) -> list[MagNetDetector]:
    """The published detectors for grey or colour images, their thresholds fitted.

    **Reference**: Meng and Chen, "MagNet", 2017: by error at a false positive rate of 0.001 for
    MNIST; for CIFAR-10 by error at 0.005 and by divergence at 0.01, at temperatures 10 and 40.

    **Differs from the paper**: MNIST's second detector belongs to a second autoencoder, which the
    reformer alone does not have. A rate that asks for less than one of the images asks for one.

    Args:
        purifier: A trained ``MagNet``.
        classifier: The classifier behind it, images in [0, 1] to logits.
        images: Clean images that neither was trained on,
            ``(batch, height, width, channels)`` float32 in [0, 1].

    Returns:
        Detectors with thresholds.
    """
    detectors: list[tuple[MagNetDetector, float]]
    images = check_images(images, purifier.image_shape)
    if images.shape[-1] == 1:
        detectors = [(ErrorDetector(purifier, order=2), 0.001)]
    else:
        detectors = [(ErrorDetector(purifier, order=1), 0.005)]
        detectors += [
            (DivergenceDetector(purifier, classifier, temperature=temperature), 0.01)
            for temperature in (10.0, 40.0)
        ]
    return [
        detector.fit_threshold(images, max(rate, 1.0 / len(images))) for detector, rate in detectors
    ]
