"""The Square attack: random search with the model's outputs alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from keras import ops

from attacks import engine
from attacks.attacked_model import AttackedModel, rows_of
from attacks.queries import QueryAttack, mean_margins
from attacks.restarts import Batch, Run
from attacks.wrappers import MOST_DRAWS
from validation import check_integer, check_number

__all__ = ["Square", "square_sides"]

MOST_QUERIES = 1_000_000
_POINTS_PER_CALL = 25
"""Points of the compiled loop before images that are broken leave it."""
_HALVINGS = (10, 50, 200, 500, 1_000, 2_000, 4_000, 6_000, 8_000)
"""Of 10,000 points, those after which the share of changed pixels is halved."""
_IDLE = -1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Square(QueryAttack):
    """Recolours random squares, and keeps each change that lowers the lead of the true class.

    It asks for outputs and never for a gradient, so that nothing in a model can hide one from it.
    It starts at vertical stripes, and its squares shrink by a schedule that is scaled to the number
    of queries. An image that is broken costs no further queries; ``Attack.run`` tells in
    ``num_queries`` how many each has cost.

    A random defense is asked ``num_draws`` times at each point, and the mean of the margins
    decides; every call is a query. The best margin is that of the draws by which it was accepted.

    **Reference**: Andriushchenko, Croce, Flammarion and Hein 2020, "Square Attack: a
    query-efficient black-box adversarial attack via random search", algorithms 1 and 2 and sec. 3
    and 4; the schedule is that of the authors' code.

    **Differs from the paper**: the loss is the margin for targets, too, where the paper has the
    cross-entropy. A square that would change nothing has all its signs turned; the authors' code
    draws them again until something changes. Squares reach the last row and column, which that code
    leaves out. Whether the image itself is classified rightly is a query, too.

    Args:
        norm: ``"linf"`` only.
        num_queries: Queries of each run, at least ``num_draws``; those of the clean image come on
            top.
        num_restarts: Number of runs, each from other stripes.
        p_init: Share of the pixels that the first squares cover, above 0 and at most 1.
        num_draws: Calls of the model at each point.

    Example:
        import numpy as np
        from attacks.square import Square
        from models.classifiers import classifier_a

        classifier = classifier_a((28, 28, 1), width=0.125)
        images = np.random.default_rng(0).random((4, 28, 28, 1), dtype="float32")
        labels = np.argmax(classifier(images), axis=1)
        result = Square(num_queries=50).run(classifier, images, labels, [0.1])[0.1]
        bool(result.num_queries.max() <= 51)  # True
    """

    name: ClassVar[str] = "square"

    num_queries: int = 5_000
    p_init: float = 0.8
    num_draws: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(
            f"num_draws of {self.name}",
            self.num_draws,
            at_least=1,
            at_most=MOST_DRAWS,
            such_as=1,
        )
        check_integer(
            f"num_queries of {self.name}",
            self.num_queries,
            at_least=self.num_draws,
            at_most=MOST_QUERIES,
            such_as=5_000,
        )
        check_number(f"p_init of {self.name}", self.p_init, above=0.0, at_most=1.0, such_as=0.8)

    def most_queries(self) -> int:
        """Returns the largest number of queries for one image."""
        return int(self.num_draws * (1 + self.num_restarts * self._num_points()))

    def _num_points(self) -> int:
        """Returns at how many points a run asks the model."""
        return int(self.num_queries // self.num_draws)

    def _draws(self) -> int:
        return int(self.num_draws)

    def _starts(self, batch: Batch) -> np.ndarray:
        """Returns the images under vertical stripes of plus and minus epsilon."""
        width, channels = batch.images.shape[2:]
        drawn = [generator.random((1, width, channels)) for generator in batch.generators]
        stripes = np.where(np.stack(drawn) < 0.5, -batch.epsilon, batch.epsilon)
        return np.clip(batch.images + stripes, 0.0, 1.0).astype(np.float32)

    def _run(self, victim: AttackedModel, batch: Batch) -> Run:
        height, width, channels = batch.images.shape[1:]
        sides = square_sides(self._num_points(), height, width, float(self.p_init))
        # The first point is the start itself: a square of no size.
        sides = np.array([0, *sides[1:]], np.int32)
        sides = np.pad(sides, (0, -len(sides) % _POINTS_PER_CALL), constant_values=_IDLE)
        program = victim.program(
            ("square", batch.targeted, self._draws()),
            self._search(victim, batch.targeted),
            any_batch_size=True,
        )
        run = Run.begun(self._starts(batch))
        rows = np.arange(len(batch.images))
        for chunk in sides.reshape(-1, _POINTS_PER_CALL):
            drawn = [
                batch.generators[row].random((_POINTS_PER_CALL, 2 + channels), np.float32)
                for row in rows
            ]
            size = rows_of(len(rows), batch.size)
            state = program(
                *(
                    np.resize(field, (size, *field.shape[1:]))
                    for field in (
                        batch.images[rows],
                        batch.labels[rows],
                        batch.epsilons[rows],
                        np.stack(drawn),
                        np.tile(chunk, (len(rows), 1)),
                        run.images[rows],
                        run.losses[rows],
                    )
                )
            )
            for whole, part in zip(run, state, strict=True):
                found = ops.convert_to_numpy(part)[: len(rows)]
                whole[rows] = found if whole is not run.queries else whole[rows] + found
            rows = rows[~run.broken[rows]]
            if not len(rows):
                break
        return run

    def _search(self, victim: AttackedModel, targeted: bool) -> Callable[..., Any]:
        """Returns the function of some queries, to be compiled."""

        def search(
            images: Any,
            labels: Any,
            epsilons: Any,
            drawn: Any,
            sides: Any,
            points: Any,
            losses: Any,
        ) -> _State:
            def one_point(index: Any, state: _State) -> _State:
                side = ops.take(sides, index, axis=1)
                candidates = _with_square(
                    images, state.points, epsilons, side, ops.take(drawn, index, axis=1)
                )
                margins = mean_margins(
                    victim, candidates, labels, targeted=targeted, num_draws=self._draws()
                )
                asks = (side > _IDLE) & ~state.broken
                better = asks & (margins > state.losses)
                return _State(
                    points=ops.where(better[:, None, None, None], candidates, state.points),
                    losses=ops.where(better, margins, state.losses),
                    broken=state.broken | (better & (margins > 0.0)),
                    queries=state.queries + ops.cast(asks, "int32") * self._draws(),
                )

            none = ops.zeros_like(epsilons)
            start = _State(points, losses, none > 0.0, ops.cast(none, "int32"))
            return engine.loop(one_point, start, _POINTS_PER_CALL)

        return search


class _State(NamedTuple):
    """Best points, their margins, whether they are adversarial, and the queries so far."""

    points: Any
    losses: Any
    broken: Any
    queries: Any


def square_sides(num_points: int, height: int, width: int, p_init: float) -> np.ndarray:
    """Returns the side of the square at each point of a run, ``(num_points,)`` int32.

    **Reference**: Andriushchenko et al. 2020, sec. 3 and 4.1: the square covers a share p of the
    pixels; p is halved at fixed points of 10,000, scaled to the length of the run.
    """
    place = np.arange(num_points) * 10_000 // num_points
    shares = p_init * 0.5 ** np.searchsorted(_HALVINGS, place, side="left")
    sides = np.round(np.sqrt(shares * height * width))
    return np.clip(sides, 1, max(1, min(height, width) - 1)).astype(np.int32)


def _with_square(images: Any, points: Any, epsilons: Any, sides: Any, drawn: Any) -> Any:
    """Returns the points with a square of plus or minus epsilon in each channel.

    Args:
        images: ``(batch, height, width, channels)``, clean.
        points: Of that shape, with the squares so far.
        epsilons: ``(batch,)``.
        sides: ``(batch,)`` integers.
        drawn: ``(batch, 2 + channels)`` in [0, 1): row, column and the sign of each channel.
    """

    def inside(share: Any, length: int) -> Any:
        room = ops.cast(length - sides + 1, "float32")
        first = ops.minimum(ops.cast(ops.floor(share * room), "int32"), length - sides)
        place = ops.arange(length, dtype="int32")[None]
        return (place >= first[:, None]) & (place < (first + sides)[:, None])

    rows, columns = inside(drawn[:, 0], images.shape[1]), inside(drawn[:, 1], images.shape[2])
    mask = (rows[:, :, None] & columns[:, None, :])[..., None]
    steps = epsilons[:, None] * ops.where(drawn[:, 2:] < 0.5, -1.0, 1.0)

    def coloured(steps: Any) -> Any:
        return ops.where(mask, ops.clip(images + steps[:, None, None, :], 0.0, 1.0), points)

    candidates = coloured(steps)
    changes = ops.any(candidates != points, axis=(1, 2, 3), keepdims=True)
    return ops.where(changes, candidates, coloured(-steps))
