"""CleverHans v4's Carlini-Wagner attack, adapted to Keras 3 and otherwise unchanged."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import numpy as np

from attacks.attacked_model import AttackedModel, missing_gradients_explained, padded_batches
from attacks.carlini_wagner import MinimalAttack, check_search_fields
from attacks.job import Job


@dataclasses.dataclass(frozen=True, kw_only=True)
class CarliniWagnerCleverHans(MinimalAttack):
    """CleverHans v4's ``CarliniWagnerL2``, for comparison; figures use ``CarliniWagner``.

    On TensorFlow only: CleverHans has none for JAX.

    The papers used its predecessor. Its flaws are kept: the constant is broadcast over the pixels
    and, in grey images, over the batch, so that its effective value is height * width * batch times
    ``initial_const`` and results depend on the batch size; it grows tenfold after successes too;
    confidence does not enter the test of success.

    **Reference**: Carlini and Wagner 2017; CleverHans 4.0.0, ``carlini_wagner_l2``.

    **Differs from the paper**: as described above. The adapter gives the class a Keras 3 Adam
    behind the old interface (``optimizer.variables()`` as a method, without the learning rate,
    which the class would set to zero); passes each batch its own labels and states whether they are
    targets, since the class treats any labels as targets; passes colour images one at a time, since
    other batch sizes do not broadcast; and returns images unchanged that are adversarial from the
    start.

    Args:
        norm: ``"linf"`` or ``"l2"``, of epsilon.
        epsilon_mode: ``"rescale"`` or ``"clip"``; see ``MinimalAttack``.
        confidence: Margin of logits by which the wrong class must win, in the loss only.
        learning_rate: Rate of Adam, in tanh space.
        binary_search_steps: Number of constants tried.
        max_iterations: Adam steps for each constant.
        initial_const: First constant.
        abort_early: Whether to stop with a constant when the loss of the whole batch stalls.

    Example:
        import numpy as np
        from attacks.carlini_wagner_cleverhans import CarliniWagnerCleverHans
        from models.classifiers import classifier_a

        classifier = classifier_a((28, 28, 1), width=0.125)
        images = np.random.default_rng(0).random((4, 28, 28, 1), dtype="float32")
        labels = np.argmax(classifier(images), axis=1)
        attack = CarliniWagnerCleverHans(learning_rate=0.05, max_iterations=20)
        nearest = attack.minimal_perturbation(classifier, images, labels)
        int(np.sum(np.argmax(classifier(nearest), axis=1) == labels))  # 0
    """

    name: ClassVar[str] = "carlini_wagner_cleverhans"

    confidence: float = 0.0
    learning_rate: float = 5e-3
    binary_search_steps: int = 5
    max_iterations: int = 1000
    initial_const: float = 1e-2
    abort_early: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_search_fields(self)

    def num_gradients(self) -> int:
        """Returns the largest number of gradients per image; early abort saves some."""
        return int(self.binary_search_steps * self.max_iterations)

    def _prepare(self, victim: AttackedModel, job: Job) -> None:
        """Refuses a backend for which CleverHans has no such attack, then checks the model."""
        backend = keras.backend.backend()
        if backend != "tensorflow":
            raise ValueError(
                f"Expected the backend tensorflow for {self.name}, which CleverHans has for no "
                f"other, received {backend!r}. Use carlini_wagner, which runs on both."
            )
        super()._prepare(victim, job)

    def _minimal(
        self, victim: AttackedModel, job: Job, reseed: Callable[[int], None]
    ) -> np.ndarray:
        """Returns CleverHans' result for each image that needs one."""
        size = 1 if job.images.shape[-1] > 1 else job.batch_size
        reseed(0)
        predictions = victim.predict(job.images, job.batch_size).argmax(axis=1)
        pending = np.flatnonzero((predictions == job.goal_labels) != job.targeted)
        attack = self._cleverhans(victim, job.targeted)
        results = job.images.copy()
        for start, count, rows in padded_batches(len(pending), size) if len(pending) else ():
            reseed(start)
            attack.batch_size, attack.y = len(rows), job.goal_labels[pending[rows]]
            with missing_gradients_explained(self.name):
                batch = attack.attack(job.images[pending[rows]])
            results[pending[rows[:count]]] = batch[:count]
            job.report(len(results) - len(pending) + start + count)
        return results

    def _cleverhans(self, victim: AttackedModel, targeted: bool) -> Any:
        """Returns CleverHans' object for a model, kept because it holds the compiled gradient."""
        from cleverhans.tf2.attacks.carlini_wagner_l2 import CarliniWagnerL2

        key = (self, targeted)
        if key not in victim.compiled:
            attack = CarliniWagnerL2(
                victim,
                confidence=float(self.confidence),
                learning_rate=float(self.learning_rate),
                binary_search_steps=int(self.binary_search_steps),
                max_iterations=int(self.max_iterations),
                initial_const=float(self.initial_const),
                abort_early=bool(self.abort_early),
            )
            attack.optimizer = _LegacyAdam(self.learning_rate)
            attack.targeted = targeted
            victim.compiled[key] = attack
        return victim.compiled[key]


class _LegacyAdam:
    """Keras 3's Adam as CleverHans expects it: ``variables()`` are the ones it may set to zero.

    Those are the moments and the count of iterations, not the learning rate: at rate zero the
    attack runs, changes nothing, and any model looks robust.
    """

    def __init__(self, learning_rate: float) -> None:
        self._learning_rate = float(learning_rate)
        self._adam: keras.optimizers.Adam | None = None
        self._variable: Any = None

    def variables(self) -> list[Any]:
        """Returns the state to be cleared."""
        if self._adam is None:
            return []
        return [v for v in self._adam.variables if v.name != "learning_rate"]

    def apply_gradients(self, pairs: list[tuple[Any, Any]]) -> None:
        """Takes one step; each new variable (one per batch) gets a new optimizer."""
        variable = pairs[0][1]
        if self._adam is None or variable is not self._variable:
            self._adam = keras.optimizers.Adam(self._learning_rate)
            self._variable = variable
        self._adam.apply_gradients(pairs)
