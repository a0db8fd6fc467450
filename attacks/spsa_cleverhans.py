"""CleverHans v4's SPSA, adapted to Keras 3 and otherwise unchanged."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any, ClassVar

import keras
from keras import ops

from attacks.attacked_model import AttackedModel
from attacks.job import Job
from attacks.losses import lead
from attacks.restarts import Batch, Run
from attacks.spsa import SamplingAttack

__all__ = ["SPSACleverHans"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SPSACleverHans(SamplingAttack):
    """CleverHans v4's ``spsa`` for TensorFlow, one image at a time, for comparison with ``SPSA``.

    **Reference**: Uesato et al. 2018; CleverHans 4.0.0, ``tf2.attacks.spsa``.

    **Differs from the paper**: nothing that the adapter adds. It gives the function an Adam whose
    rate Keras 3 takes (the argument ``lr`` is gone), tensors instead of arrays, one image at a
    time, as it asks for, and random numbers from a generator of its own; and it lets each image end
    at its first adversarial point (``early_stop_loss_threshold=0``).

    Args:
        norm: ``"linf"`` only.
        num_restarts: Number of runs, each from another random point of the ball.
        num_samples: Queries of each estimate, an even number.
        delta: Length of the steps, as the change of each pixel.
        learning_rate: Rate of Adam.
        num_steps: Number of estimates.

    Example:
        import numpy as np
        from attacks.spsa_cleverhans import SPSACleverHans
        from models.classifiers import classifier_a

        classifier = classifier_a((28, 28, 1), width=0.125)
        images = np.random.default_rng(0).random((2, 28, 28, 1), dtype="float32")
        labels = np.argmax(classifier(images), axis=1)
        attack = SPSACleverHans(num_samples=32, num_steps=3)
        result = attack.run(classifier, images, labels, [0.1])[0.1]
        bool(result.num_queries.max() <= 1 + 3 * 33)  # True
    """

    name: ClassVar[str] = "spsa_cleverhans"

    def _prepare(self, victim: AttackedModel, job: Job) -> None:
        """Refuses a backend for which CleverHans has no such attack, then checks the model."""
        backend = keras.backend.backend()
        if backend != "tensorflow":
            raise ValueError(
                f"Expected the backend tensorflow for {self.name}, which CleverHans has for no "
                f"other, received {backend!r}. Use spsa, which runs on both."
            )
        super()._prepare(victim, job)

    def _run(self, victim: AttackedModel, batch: Batch) -> Run:
        run = Run.begun(self._starts(batch))
        program = victim.program("logits", lambda images: victim(images), any_batch_size=True)
        function = importlib.import_module("attacks.cleverhans_tensorflow").spsa
        for row in range(len(batch.images)):
            asked, varies = 0, False

            def logits(images: Any) -> Any:
                nonlocal asked, varies
                found = program(images)
                asked += len(images)
                varies = varies or bool(ops.any(found != found[:1]))
                return found

            place = slice(row, row + 1)
            image, label = batch.images[place], batch.labels[place]
            moved = function(
                logits,
                image,
                label,
                batch.epsilon,
                start=run.images[place] - image,
                generator=batch.generators[row],
                num_steps=int(self.num_steps),
                learning_rate=float(self.learning_rate),
                delta=float(self.delta),
                num_samples=int(self.num_samples),
                targeted=batch.targeted,
            )
            margin = float(-lead(program(moved), label)[0]) * (-1.0 if batch.targeted else 1.0)
            run.losses[row], run.broken[row], run.queries[row] = margin, margin > 0.0, asked
            # Where all answers are one, its steps follow the rounding of a sum that should be zero.
            if varies:
                run.images[row] = moved[0]
        return run
