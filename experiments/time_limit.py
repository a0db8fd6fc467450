"""A run that ends by the clock, between two steps of work, so that nothing is lost.

A step is what is kept once it is done: an epoch of a training, a model, an attacked set, the rows
of a measurement. Long loops ask here before they begin another one. The first step of a call is
always taken, however long it is, so that every call of the same command gets further.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator

from validation import check_number

STOPPED = 3
"""The exit status of a call that its time limit ended."""
_JUDGED = 0.25
"""The share of a step within which it may still be given up for taking too long."""


class TimeIsUp(Exception):
    """The time of this call is used up, or the next step does not fit into what is left of it."""


@dataclasses.dataclass(kw_only=True)
class TimeLimit:
    """The time of one call.

    Args:
        minutes: How long it may last, above 0.
        clock: Seconds since any moment.

    Raises:
        ValueError: If there are no minutes.
    """

    minutes: float
    clock: Callable[[], float] = time.monotonic
    steps: int = dataclasses.field(default=0, init=False)

    def __post_init__(self) -> None:
        check_number("minutes", self.minutes, above=0)
        self.end = self.clock() + 60 * self.minutes

    def seconds_left(self) -> float:
        """What is left of the time; below 0 if it is over."""
        return self.end - self.clock()

    def check(self, seconds: float = 0.0) -> None:
        """Raises ``TimeIsUp`` if a step of about so many seconds does not fit any more."""
        if self.steps and self.seconds_left() <= seconds:
            raise TimeIsUp


_active: TimeLimit | None = None


@contextlib.contextmanager
def limited(limit: TimeLimit | None) -> Iterator[None]:
    """Lets everything inside the block ask for the time of ``limit``; ``None`` for no limit."""
    global _active
    before, _active = _active, limit
    try:
        yield
    finally:
        _active = before


def check(seconds: float = 0.0) -> None:
    """Asks whether another step may begin.

    Args:
        seconds: How long it will take about, where that is known.

    Raises:
        TimeIsUp: If a limit is set, a step was done, and this one does not fit any more.
    """
    if _active is not None:
        _active.check(seconds)


def step_done() -> None:
    """Tells that what was worked at is kept."""
    if _active is not None:
        _active.steps += 1


class Pace:
    """Watches the progress of one step, and gives it up early if it will not fit.

    The first report is no measure, as it has the time of compiling in it.

    Args:
        total: How much there is to do.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._first: tuple[int, float] | None = None

    def report(self, done: int) -> None:
        """Tells how much is done.

        Raises:
            TimeIsUp: If the rest will not fit, and less than a quarter would be lost.
        """
        if _active is None or not 0 < done <= _JUDGED * self.total:
            return
        now = _active.clock()
        if self._first is None:
            self._first = (done, now)
        elif done > self._first[0]:
            rate = (now - self._first[1]) / (done - self._first[0])
            _active.check(rate * (self.total - done))
