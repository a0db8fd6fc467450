"""Attacks that ask a model for its outputs, count how often, and never take a gradient."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from keras import ops

from attacks import engine
from attacks.attacked_model import AttackedModel, padded_batches
from attacks.job import Job
from attacks.losses import attack_loss
from attacks.restarts import RestartedAttack
from validation import check_choice

__all__ = ["QueryAttack", "mean_margins"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class QueryAttack(RestartedAttack, abc.ABC):
    """An attack by the margin of the logits, asked for query by query.

    Its queries are counted image by image, in ``AttackResult.num_queries`` of ``Attack.run``: one
    for the clean image, those of the runs, and none once the image is broken.

    Args:
        norm: ``"linf"`` only.
        num_restarts: Number of runs.
    """

    uses_gradient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(f"norm of {self.name}", self.norm, ["linf"])

    @abc.abstractmethod
    def most_queries(self) -> int:
        """Returns the largest number of queries for one image."""

    def num_gradients(self) -> int:
        """Returns the cost of the queries in gradients, each of which takes twice the work."""
        return -(-self.most_queries() // 2)

    def _draws(self) -> int:
        """Returns how many calls of the model are averaged at each point."""
        return 1

    def _standing(
        self, victim: AttackedModel, job: Job, reseed: Callable[[int], None]
    ) -> tuple[np.ndarray, int]:
        """Returns which images are classified rightly, on average, and the queries for that."""
        program = victim.program(
            ("mean_margins", job.targeted, self._draws()),
            lambda images, labels: mean_margins(
                victim, images, labels, targeted=job.targeted, num_draws=self._draws()
            ),
            any_batch_size=True,
        )
        margins = np.empty(len(job.images), np.float32)
        for start, count, rows in padded_batches(len(job.images), job.batch_size):
            reseed(start)
            found = program(job.images[rows], job.goal_labels[rows])
            margins[start : start + count] = ops.convert_to_numpy(found)[:count]
        return ~(margins > 0.0), self._draws()

    def _follows_gradient(
        self, victim: AttackedModel, job: Job, unmoved: np.ndarray, dead: np.ndarray
    ) -> np.ndarray:
        """Returns whether answers vary by themselves: a start that one draw misread is a result."""
        return np.full(len(unmoved), victim.is_random)


def mean_margins(
    victim: AttackedModel, points: Any, labels: Any, *, targeted: bool, num_draws: int
) -> Any:
    """Returns the mean over several calls of the margin, ``(batch,)``; above 0 the attacker wins.

    Args:
        victim: The attacked model.
        points: ``(batch, height, width, channels)`` in [0, 1].
        labels: ``(batch,)``: to be avoided, or to be predicted if ``targeted``.
        targeted: Whether labels are to be predicted.
        num_draws: Number of calls of the model.
    """

    def margins() -> Any:
        return attack_loss("margin", victim(points), labels, targeted=targeted)

    if num_draws == 1:
        return margins()
    # The model stands once in the program, not once for each draw.
    zeros = ops.zeros_like(points[:, 0, 0, 0])
    (total,) = engine.loop(lambda _, sums: (sums[0] + margins(),), (zeros,), num_draws)
    return total / num_draws
