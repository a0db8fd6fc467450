"""Learns a substitute of a classifier that answers queries with labels only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from attacks import engine
from attacks.attacked_model import attacked_model, image_shape_of
from validation import check_images, check_integer, check_labels, check_number

__all__ = ["SubstituteTraining"]

_MOST_ROUNDS, _MOST_EPOCHS, _MOST_IMAGES = 12, 10_000, 1_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubstituteTraining:
    """Trains a substitute of a target that can be queried for labels only, to attack in its place.

    Each round trains the substitute on all images labelled so far. Between rounds each image is
    augmented by a copy, moved one step along the sign of the gradient of the substitute's logit of
    its label, which makes the substitute surer of it; the target is queried for the labels of these
    copies.

    **Reference**: PuVAE, sec. V and Table 6 (architecture E); Papernot et al., "Practical
    black-box attacks against machine learning", 2017, algorithm 1.
    **Differs from the paper**: PuVAE gives no numbers; these are those of Defense-GAN's public
    black-box script, but for the direction of the step, which that script turns around in the first
    three of its five augmentations. The optimizer is Adam with rate 0.001, and the substitute is
    trained on from round to round.

    Args:
        num_seed_images: Images that the attacker starts with.
        num_rounds: Rounds of training, at most 12; all but the last are followed by an
            augmentation, which doubles the images.
        step_size: Length of the augmentation step, as the change of each pixel.
        epochs: Passes over the images in each round.
        batch_size: Images per training step.

    Example:
        import numpy as np
        from attacks.substitute import SubstituteTraining
        from models import build_classifier

        target = build_classifier("A", (28, 28, 1), width=0.125)
        substitute = build_classifier("puvae_e", (28, 28, 1), width=0.125)
        images = np.random.default_rng(0).random((8, 28, 28, 1), dtype="float32")
        training = SubstituteTraining(num_seed_images=8, num_rounds=2, epochs=1)
        training(substitute, lambda x: np.argmax(target(x), axis=1), images)
        training.num_queries  # 16
    """

    num_seed_images: int = 150
    num_rounds: int = 6
    step_size: float = 0.1
    epochs: int = 10
    batch_size: int = 128

    def __post_init__(self) -> None:
        for field, most in (
            ("num_seed_images", _MOST_IMAGES),
            ("num_rounds", _MOST_ROUNDS),
            ("epochs", _MOST_EPOCHS),
            ("batch_size", _MOST_IMAGES),
        ):
            usual = getattr(type(self), field)
            value = getattr(self, field)
            check_integer(field, value, at_least=1, at_most=most, such_as=usual)
        check_number("step_size", self.step_size, above=0.0, at_most=1.0, such_as=0.1)

    @property
    def num_queries(self) -> int:
        """Number of images that the target is queried for."""
        return self.num_seed_images * 2 ** (self.num_rounds - 1)

    def __call__(
        self,
        substitute: keras.Model,
        query: Callable[[np.ndarray], np.ndarray],
        images: np.ndarray,
        *,
        seed: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Trains ``substitute`` in place.

        Args:
            substitute: Images to logits.
            query: The target: images ``(batch, height, width, channels)`` to labels ``(batch,)``.
            images: The attacker's images, at least ``num_seed_images``, float32 in [0, 1]; the
                first of them are used.
            seed: Seed of the order of the images in training.
            progress: Called with the number of rounds done so far.

        Raises:
            ValueError: If there are too few images, they are not valid, the substitute does not
                return logits, or the target answers with anything but one label of the
                substitute's classes for each image.
        """
        victim = attacked_model(substitute)
        if not callable(query):
            raise ValueError(
                f"Expected query to be a function from images to labels, received {query!r}. Pass "
                "the target's predictions, such as lambda x: target.predict(x).argmax(axis=-1)."
            )
        if progress is not None and not callable(progress):
            raise ValueError(
                f"Expected progress to be a function of the number of rounds done, received "
                f"{progress!r}. Pass a function, or None."
            )
        seed = check_integer("seed", seed)
        images = check_images(images, image_shape_of(substitute))
        if len(images) < self.num_seed_images:
            raise ValueError(
                f"Expected at least {self.num_seed_images} images, received {len(images)}. Pass "
                "more, or lower num_seed_images."
            )
        known = images[: self.num_seed_images]
        num_classes = victim.check(known[: self.batch_size])

        def ask(asked: np.ndarray) -> np.ndarray:
            return check_labels(query(asked), len(asked), num_classes, name="labels of the query")

        labels = ask(known)
        substitute.compile(
            keras.optimizers.Adam(1e-3),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        rng = np.random.default_rng(seed)
        for number in range(1, self.num_rounds + 1):
            for _ in range(self.epochs):
                order = rng.permutation(len(known))
                substitute.fit(
                    known[order], labels[order], self.batch_size, shuffle=False, verbose=0
                )
            if number < self.num_rounds:
                new_images = self._augmented(substitute, known, labels)
                known = np.concatenate([known, new_images])
                labels = np.concatenate([labels, ask(new_images)])
            if progress is not None:
                progress(number)

    def _augmented(
        self, substitute: keras.Model, images: np.ndarray, labels: np.ndarray
    ) -> np.ndarray:
        """Returns each image moved one step along the sign of the gradient of its label's logit."""
        victim = attacked_model(substitute)

        def slope(batch: Any, known_labels: Any) -> Any:
            def of_label(x: Any) -> Any:
                return ops.take_along_axis(victim(x), known_labels[:, None], axis=1)

            return engine.gradient(of_label, batch)

        program = victim.program("gradient_of_label", slope, rarely=True)
        new_images = []
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            known_labels = labels[start : start + self.batch_size]
            gradient = program(ops.convert_to_tensor(batch), ops.convert_to_tensor(known_labels))
            direction = np.sign(ops.convert_to_numpy(gradient))
            moved = batch + np.float32(self.step_size) * direction
            new_images.append(np.clip(moved, np.float32(0.0), np.float32(1.0)))
        return np.concatenate(new_images)
