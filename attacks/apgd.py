"""Auto-PGD: projected gradient ascent that finds its own step size and keeps its best point."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from keras import ops

from attacks import engine
from attacks.attacked_model import AttackedModel
from attacks.best_point import (
    Best,
    BestPointAttack,
    Search,
    direction,
    keep_better,
    projected,
    select,
    slope_at,
    value_at,
)
from attacks.job import MOST_GRADIENTS, Job
from attacks.losses import FEWEST_CLASSES, LOSSES
from validation import check_choice, check_integer, check_number

_FIRST_PERIOD, _PERIOD_SHRINKS_BY, _SHORTEST_PERIOD = 0.22, 0.03, 0.06


@dataclasses.dataclass(frozen=True, kw_only=True)
class APGD(BestPointAttack):
    """Projected gradient ascent with momentum, which halves its step where it no longer pays.

    At growing density over the run it looks back: where too few steps raised the loss, or neither
    the step nor the best loss changed since the last look, the step is halved and the search goes
    on from the best point. There is no step size to choose. The result is each image's best point:
    an adversarial one if any was met, and of several the one of the highest loss.

    The difference of logits and the margin do not saturate, and give the same images whatever
    factor the logits are multiplied with, up to rounding. Draws of a random defense inside the
    gradient are the model's (``num_draws`` of ``DefendedClassifier``, or ``attacks.wrappers.EOT``).

    **Reference**: Croce and Hein 2020, "Reliable evaluation of adversarial robustness with an
    ensemble of diverse parameter-free attacks", algorithm 1 and sec. 3 and 4.

    **Differs from the paper**: starts are uniform in the ball, where the authors' code stretches
    them to its border. The look back at a step follows its gradient, so that no step is taken that
    the return to the best point would undo. Each image stops for itself at a restart: only images
    that still stand are attacked again. ``"margin"`` is no loss of the paper; the targeted
    difference of logits is described at ``attacks.losses.attack_loss``.

    Args:
        norm: ``"linf"`` or ``"l2"``.
        loss: ``"cross_entropy"``, ``"difference_of_logits"`` (for 3 classes and more, targeted for
            4) or ``"margin"``.
        num_steps: Number of steps and of gradients in each run.
        num_restarts: Number of runs, each from another random start.
        rho: Share of the steps between two looks that have to raise the loss.
        momentum: Weight alpha of the new step; 1 - alpha is that of the last one.

    Example:
        import numpy as np
        from attacks.apgd import APGD
        from models.classifiers import classifier_a

        classifier = classifier_a((28, 28, 1), width=0.125)
        images, labels = np.full((4, 28, 28, 1), 0.5, "float32"), np.arange(4)
        adversarial_images = APGD(num_steps=5)(classifier, images, labels, epsilon=0.1)
        round(float(np.abs(adversarial_images - images).max()), 3)  # 0.1
    """

    name: ClassVar[str] = "apgd"

    loss: str = "cross_entropy"
    num_steps: int = 100
    rho: float = 0.75
    momentum: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(f"loss of {self.name}", self.loss, LOSSES)
        check_integer(
            f"num_steps of {self.name}",
            self.num_steps,
            at_least=1,
            at_most=MOST_GRADIENTS,
            such_as=type(self).num_steps,
        )
        check_number(f"rho of {self.name}", self.rho, at_least=0.0, at_most=1.0, such_as=0.75)
        check_number(
            f"momentum of {self.name}", self.momentum, above=0.0, at_most=1.0, such_as=0.75
        )

    def num_gradients(self) -> int:
        """Returns the largest number of gradients per image; restarts skip broken ones."""
        return int(self.num_steps * self.num_restarts)

    def _prepare(self, victim: AttackedModel, job: Job) -> None:
        """Refuses a model of too few classes for the loss, after the checks of the model."""
        super()._prepare(victim, job)
        fewest = FEWEST_CLASSES.get((self.loss, job.targeted), 2)
        if (victim.num_classes or 0) < fewest:
            raise ValueError(
                f"Expected at least {fewest} classes for the loss {self.loss!r} of {self.name}"
                f"{', targeted' if job.targeted else ''}, received {victim.num_classes}. Use the "
                "loss 'margin'."
            )

    def _climbed(self) -> str:
        return self.loss

    def _search(self, victim: AttackedModel, targeted: bool) -> Search:
        key = (dataclasses.replace(self, num_restarts=1), targeted)
        return victim.program(key, self._function(victim, targeted), any_batch_size=True)

    def _function(self, victim: AttackedModel, targeted: bool) -> Callable[..., Best]:
        """Returns the function of one run, to be compiled."""
        num_steps, norm = int(self.num_steps), self.norm
        rho, alpha = float(self.rho), float(self.momentum)
        looks = checkpoints(num_steps)
        spans = np.zeros(num_steps, np.float32)
        for earlier, later in zip([0, *looks], looks, strict=False):
            spans[later] = later - earlier

        def search(images: Any, labels: Any, starts: Any, epsilons: Any) -> Best:
            def one_step(index: Any, state: _State) -> _State:
                slope = slope_at(victim, self.loss, state.points, labels, targeted)
                result = Best(state.result_images, state.result_losses, state.result_broken)
                result = keep_better(result, state.points, slope.losses, slope.broken)
                rises = state.rises + ops.cast(slope.losses > state.losses, "float32")
                better = slope.losses > state.top_losses
                top_losses = ops.where(better, slope.losses, state.top_losses)
                top_points = select(better, state.points, state.top_points)
                top_slopes = select(better, slope.gradient, state.top_slopes)

                span = ops.take(ops.convert_to_tensor(spans), index)
                looks_back = span > 0.0
                stuck = ~state.was_halved & (top_losses == state.former_top_losses)
                halves = looks_back & ((rises < rho * span) | stuck)
                looks_or_begins = looks_back | (index == 0)
                points = select(halves, top_points, state.points)
                gradient = select(halves, top_slopes, slope.gradient)
                lengths = ops.where(halves, state.lengths / 2.0, state.lengths)

                ahead = points + lengths[:, None, None, None] * direction(gradient, norm)
                ahead = projected(ahead, images, epsilons, norm)
                weight = ops.where(index == 0, 1.0, alpha)
                moved = (
                    points + weight * (ahead - points) + (1.0 - weight) * (points - state.former)
                )
                return state._replace(
                    points=projected(moved, images, epsilons, norm),
                    former=points,
                    lengths=lengths,
                    losses=ops.where(halves, top_losses, slope.losses),
                    rises=ops.where(looks_or_begins, 0.0, rises),
                    was_halved=ops.where(looks_back, halves, state.was_halved),
                    top_points=top_points,
                    top_slopes=top_slopes,
                    top_losses=top_losses,
                    former_top_losses=ops.where(
                        looks_or_begins, top_losses, state.former_top_losses
                    ),
                    result_images=result.images,
                    result_losses=result.losses,
                    result_broken=result.broken,
                )

            none = Best.none_yet(starts)
            start = _State(
                points=starts,
                former=starts,
                lengths=2.0 * epsilons,
                losses=none.losses,
                rises=ops.zeros_like(epsilons),
                was_halved=none.broken,
                top_points=starts,
                top_slopes=ops.zeros_like(starts),
                top_losses=none.losses,
                former_top_losses=none.losses,
                result_images=none.images,
                result_losses=none.losses,
                result_broken=none.broken,
            )
            end = engine.loop(one_step, start, num_steps)
            result = Best(end.result_images, end.result_losses, end.result_broken)
            value = value_at(victim, self.loss, end.points, labels, targeted)
            return keep_better(result, end.points, *value)

        return search


class _State(NamedTuple):
    """The runs of one batch; every field has the batch as its first axis.

    ``points`` and ``former`` are x(k) and x(k - 1), ``lengths`` the steps, ``losses`` those of
    ``former``, ``rises`` the steps since the last look that raised the loss, ``was_halved`` whether
    that look halved the step, ``top_...`` the point of the highest loss so far with its gradient,
    ``former_top_losses`` its loss at the last look, ``result_...`` the best point.
    """

    points: Any
    former: Any
    lengths: Any
    losses: Any
    rises: Any
    was_halved: Any
    top_points: Any
    top_slopes: Any
    top_losses: Any
    former_top_losses: Any
    result_images: Any
    result_losses: Any
    result_broken: Any


def checkpoints(num_steps: int) -> list[int]:
    """Returns the steps, above 0 and below ``num_steps``, at which the search looks back.

    **Reference**: Croce and Hein 2020, sec. 3.1: w_j = ceil(p_j N), p_1 = 0.22,
    p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06).
    """
    shares = [0.0, _FIRST_PERIOD]
    while shares[-1] < 1.0:
        period = max(shares[-1] - shares[-2] - _PERIOD_SHRINKS_BY, _SHORTEST_PERIOD)
        shares.append(shares[-1] + period)
    # Without the rounding of sums: 0.22 * 50 has to be 11.
    steps = (math.ceil(round(share * num_steps, 6)) for share in shares[1:])
    return sorted({step for step in steps if 0 < step < num_steps})
