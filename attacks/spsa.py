"""SPSA: Adam on a gradient that is estimated from the model's outputs alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from keras import ops

from attacks import engine
from attacks.attacked_model import AttackedModel, rows_of
from attacks.best_point import projected
from attacks.job import MOST_GRADIENTS
from attacks.losses import attack_loss
from attacks.queries import QueryAttack, mean_margins
from attacks.restarts import Batch, Run, random_starts
from validation import check_integer, check_number

__all__ = ["SPSA", "estimated_gradient"]

MOST_SAMPLES = 1_000_000
_IMAGES_PER_CALL = 2_048
_BETA_1, _BETA_2, _ADAM_EPSILON = 0.9, 0.999, 1e-7


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingAttack(QueryAttack):
    """What the two implementations of SPSA share: their settings.

    Args:
        norm: ``"linf"`` only.
        num_restarts: Number of runs.
        num_samples: Queries of each estimate, an even number: pairs of opposite steps.
        delta: Length of the steps, as the change of each pixel.
        learning_rate: Rate of Adam.
        num_steps: Number of estimates.
    """

    num_samples: int = 2_048
    delta: float = 0.01
    learning_rate: float = 0.01
    num_steps: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        for field, most, usual in (
            ("num_samples", MOST_SAMPLES, 2_048),
            ("num_steps", MOST_GRADIENTS, 100),
        ):
            check_integer(
                f"{field} of {self.name}",
                getattr(self, field),
                at_least=1,
                at_most=most,
                such_as=usual,
            )
        if self.num_samples % 2:
            raise ValueError(
                f"Expected num_samples of {self.name} to be even, as each step is taken forth and "
                f"back, received {self.num_samples}. Add one."
            )
        for field in ("delta", "learning_rate"):
            check_number(
                f"{field} of {self.name}",
                getattr(self, field),
                at_least=1e-6,
                at_most=1.0,
                such_as=0.01,
            )

    def most_queries(self) -> int:
        """Returns the largest number of queries for one image."""
        return int(1 + self.num_restarts * self.num_steps * (self.num_samples + 1))

    def _starts(self, batch: Batch) -> np.ndarray:
        """Returns random points of the ball."""
        return random_starts(batch.images, batch.epsilon, self.norm, batch.generators)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SPSA(SamplingAttack):
    """Estimates the gradient of the margin by random steps of all pixels at once, and follows it.

    It asks for outputs and never for a gradient, like Square, but needs a model that changes a
    little with every pixel. After each step one more query tells whether the image is broken, which
    then costs no further queries. A random defense answers each query with one draw.

    **Reference**: Uesato, O'Donoghue, van den Oord and Kohli 2018, "Adversarial risk and the
    dangers of evaluating against weak attacks", sec. 3.3 and algorithm 1; Spall 1992.

    **Differs from the paper**: nothing; signs and start are drawn for each image apart. Each
    image's best point is kept, not the last.

    Args:
        norm: ``"linf"`` only.
        num_restarts: Number of runs, each from another random point of the ball.
        num_samples: Queries of each estimate, an even number: pairs of opposite steps.
        delta: Length of the steps, as the change of each pixel.
        learning_rate: Rate of Adam.
        num_steps: Number of estimates.

    Example:
        import numpy as np
        from attacks.spsa import SPSA
        from models.classifiers import classifier_a

        classifier = classifier_a((28, 28, 1), width=0.125)
        images = np.random.default_rng(0).random((4, 28, 28, 1), dtype="float32")
        labels = np.argmax(classifier(images), axis=1)
        attack = SPSA(num_samples=32, num_steps=3)
        result = attack.run(classifier, images, labels, [0.1])[0.1]
        bool(result.num_queries.max() <= 1 + 3 * 33)  # True
    """

    name: ClassVar[str] = "spsa"

    def _run(self, victim: AttackedModel, batch: Batch) -> Run:
        shape = batch.images.shape[1:]
        pairs, num_bytes = int(self.num_samples) // 2, -(-int(np.prod(shape)) // 8)
        at_once = pairs_at_once(pairs, batch.size)
        program = victim.program(
            ("spsa", at_once, float(self.delta), float(self.learning_rate), batch.targeted),
            self._step(victim, batch.targeted, at_once),
            any_batch_size=True,
        )
        points = self._starts(batch)
        momentum, velocity = np.zeros_like(points), np.zeros_like(points)
        run = Run.begun(points)
        rows = np.arange(len(points))
        for number in range(1, int(self.num_steps) + 1):
            signs = np.stack(
                [
                    np.frombuffer(batch.generators[row].bytes(pairs * num_bytes), np.uint8)
                    for row in rows
                ]
            ).reshape(len(rows), pairs, num_bytes)
            size = rows_of(len(rows), batch.size)
            found = program(
                *(
                    np.resize(field, (size, *field.shape[1:]))
                    for field in (
                        batch.images[rows],
                        batch.labels[rows],
                        batch.epsilons[rows],
                        signs,
                        np.full(len(rows), number, np.float32),
                        points[rows],
                        momentum[rows],
                        velocity[rows],
                    )
                )
            )
            moved, *moments, margins = (ops.convert_to_numpy(part)[: len(rows)] for part in found)
            points[rows], momentum[rows], velocity[rows] = moved, *moments
            queries = np.full(len(rows), self.num_samples + 1, np.int64)
            run.take(rows, Run(moved, margins, margins > 0.0, queries), np.ones(len(rows), bool))
            rows = rows[~run.broken[rows]]
            if not len(rows):
                break
        return run

    def _step(self, victim: AttackedModel, targeted: bool, at_once: int) -> Callable[..., Any]:
        """Returns the function of one estimate and one step of Adam, to be compiled."""

        def step(
            images: Any,
            labels: Any,
            epsilons: Any,
            signs: Any,
            number: Any,
            points: Any,
            momentum: Any,
            velocity: Any,
        ) -> tuple[Any, ...]:
            gradient = estimated_gradient(
                victim,
                points,
                labels,
                signs,
                delta=float(self.delta),
                at_once=at_once,
                targeted=targeted,
            )
            momentum = _BETA_1 * momentum + (1.0 - _BETA_1) * gradient
            velocity = _BETA_2 * velocity + (1.0 - _BETA_2) * ops.square(gradient)
            number = number[:, None, None, None]
            mean = momentum / (1.0 - _BETA_1**number)
            spread = ops.sqrt(velocity / (1.0 - _BETA_2**number))
            moved = points + float(self.learning_rate) * mean / (spread + _ADAM_EPSILON)
            moved = projected(moved, images, epsilons, "linf")
            margins = mean_margins(victim, moved, labels, targeted=targeted, num_draws=1)
            return moved, momentum, velocity, margins

        return step


def pairs_at_once(pairs: int, num_images: int) -> int:
    """Returns how many pairs of steps of each image are asked for in one call of the model.

    The largest divisor of their number by which a call has at most 2,048 images.
    """
    most = max(1, _IMAGES_PER_CALL // (2 * num_images))
    return max(share for share in range(1, min(most, pairs) + 1) if pairs % share == 0)


def estimated_gradient(
    victim: AttackedModel,
    points: Any,
    labels: Any,
    signs: Any,
    *,
    delta: float,
    at_once: int,
    targeted: bool,
) -> Any:
    """Returns the estimate of the gradient of the margin, shaped like the points.

    **Reference**: Uesato et al. 2018, algorithm 1: the mean over random signs v of
    ``(f(x + delta v) - f(x - delta v)) v / (2 delta)``.

    **Differs from the paper**: nothing. CleverHans's estimate is delta times as long, which Adam
    does not see.

    Args:
        victim: The attacked model.
        points: ``(batch, height, width, channels)``.
        labels: ``(batch,)``.
        signs: ``(batch, pairs, bytes)`` uint8: for each pair the signs of all pixels, the lowest
            bit of the first byte first, 1 for plus.
        delta: Length of a step, as the change of each pixel.
        at_once: Pairs of each image in one call of the model, a divisor of their number.
        targeted: Whether labels are to be predicted.
    """
    shape, pairs = points.shape[1:], signs.shape[1]
    bits = ops.convert_to_tensor(2 ** np.arange(8), "int32")
    grouped = ops.reshape(signs, (-1, pairs // at_once, at_once, signs.shape[2]))
    goals = ops.repeat(labels, 2 * at_once, axis=0)

    def add(index: Any, state: tuple[Any]) -> tuple[Any]:
        packed = ops.cast(ops.take(grouped, index, axis=1), "int32")
        unpacked = ops.mod(ops.floor_divide(packed[..., None], bits), 2)
        flat = ops.reshape(unpacked, (-1, at_once, 8 * signs.shape[2]))[..., : int(np.prod(shape))]
        steps = ops.reshape(2.0 * ops.cast(flat, "float32") - 1.0, (-1, at_once, *shape))
        asked = points[:, None] + delta * ops.concatenate([steps, -steps], axis=1)
        logits = victim(ops.reshape(asked, (-1, *shape)))
        margins = attack_loss("margin", logits, goals, targeted=targeted)
        forth, back = ops.split(ops.reshape(margins, (-1, 2 * at_once)), 2, axis=1)
        slopes = ((forth - back) / (2.0 * delta))[:, :, None, None, None]
        return (state[0] + ops.sum(slopes * steps, axis=1),)

    (total,) = engine.loop(add, (ops.zeros_like(points),), pairs // at_once)
    return total / pairs
