"""Six ways in which rows judge a claim.

Each judge takes the ``Evidence`` of one data set and returns a verdict and a sentence with the
measured numbers. "Points" are percentage points; a mean over attacks and epsilons gives every
measured pair of the two the same weight.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from results.evidence import EACH_ATTACK, EACH_PLACE, Evidence, Pair, level_point, points
from results.exhibit import Axis, Line, Where, matches
from results.sheet import Point, expand, point

REPRODUCED, PARTLY, NOT_REPRODUCED = "reproduced", "partly", "not reproduced"
NOT_MEASURED = "not measured"

Verdict = tuple[str, str]
"""A verdict and a sentence with the measured numbers."""

_NO_ROWS: Verdict = (NOT_MEASURED, "no rows")
#: So many numbers are given one by one.
_FEW = 6


class Relation(NamedTuple):
    """How a value should stand to another: words, and a test of ``Pair.gain``."""

    words: str
    test: Callable[[float], bool]


ABOVE = Relation("above", lambda gain: gain > 0)
AT_LEAST = Relation("at least that", lambda gain: gain >= 0)
BELOW = Relation("below", lambda gain: gain < 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Everywhere:
    """It holds at every place. Partly: at half of them or more, or not every pair is measured.

    Args:
        pairs: Lines, each with another one, or a level in percent, that it is compared with; pairs
            of the same label are reported together.
        holds: How each point should stand to the other.
        by: What tells places apart.
        at: Whether a place (its values as arguments) is judged; the others are counted beside.
        key: What has to be there, from a pair's label and its place.
        expected: All such keys; what was held against fewer is reproduced in part at most.
        beside: Further such pairs, reported and not judged.
        other_images: Whether the two sides may have different images; a difference within its
            interval then decides nothing.
    """

    pairs: Sequence[tuple[Line, Line | float]]
    holds: Relation
    by: Axis = EACH_PLACE
    at: Callable[..., bool] = lambda *place: True
    key: Callable[..., object] = lambda label, *place: place[0]
    expected: Collection = ()
    beside: Sequence[tuple[Line, Line | float]] = ()
    other_images: bool = False

    def judge(self, evidence: Evidence) -> Verdict:
        """Verdict and sentence."""
        parts: dict[str, list[tuple[tuple, Pair]]] = {line.label: [] for line, _ in self.pairs}
        elsewhere: list[Pair] = []
        whole = True
        for line, other in self.pairs:
            compared = evidence.pairs(line, other, self.by)
            whole &= bool(compared)
            for place, pair in compared.items():
                if self.at(*place):
                    parts[line.label].append((place, pair))
                else:
                    elsewhere.append(pair)
        found = [(label, *one) for label, part in parts.items() for one in part]
        pairs = [pair for *_, pair in found]
        if not pairs:
            return _NO_ROWS
        texts = [
            (f"{label}: " if len(parts) > 1 else "") + self._words(part, evidence.accuracies)
            for label, part in parts.items()
        ]
        texts += [f"where the claim is not made, {self._count(elsewhere)}"] if elsewhere else []
        for line, other in self.beside:
            part = list(evidence.pairs(line, other, self.by).items())
            texts.append(f"{line.label} (not judged): {self._words(part, evidence.accuracies)}")
        words = f"{self._count(pairs)}; {'; '.join(texts)}"
        judged = self._decided(pairs)
        if not judged:
            return NOT_MEASURED, words
        keys = {self.key(label, *place) for label, place, pair in found if self._decided([pair])}
        whole &= set(self.expected) <= keys
        return _share(self._hits(judged), len(judged), whole), words

    def _decided(self, pairs: Sequence[Pair]) -> list[Pair]:
        return [p for p in pairs if not self.other_images or p.clear or not _images([p])]

    def _hits(self, pairs: Sequence[Pair]) -> int:
        return sum(self.holds.test(pair.gain) for pair in pairs)

    def _count(self, pairs: Sequence[Pair]) -> str:
        judged = self._decided(pairs)
        undecided = len(pairs) - len(judged)
        words = f"{self.holds.words} at {self._hits(judged)} of {len(judged)}"
        return words + (f", undecided at {undecided}" if undecided else "")

    def _words(self, part: Sequence[tuple[tuple, Pair]], accuracies: bool) -> str:
        if not part:
            return "not measured"
        pairs = [pair for _, pair in part]
        clear = self._hits([pair for pair in pairs if pair.clear])
        level = not any(pair.other.members for pair in pairs)
        if not accuracies:
            ratios = [p.value.value / p.other.value for p in pairs if p.other.value > 0]
            words = f"{min(ratios, default=0):.3g} to {max(ratios, default=0):.3g} times the other"
            measured = any(pair.error > 0 for pair in pairs)
            return words + (f", by more than two standard errors at {clear}" if measured else "")
        if len(part) <= _FEW:
            listed = [
                f"{self.by.words(place)}: {_percent(pair.value)}"
                + ("" if level else f" against {_percent(pair.other)}")
                for place, pair in part
            ]
            return f"{', '.join(listed)} %{_images(pairs)}"
        if level:
            ends = sorted(part, key=lambda one: one[1].value.value)[:: len(part) - 1]
            return " to ".join(f"{_percent(p.value)} % ({self.by.words(at)})" for at, p in ends)
        return f"{self._count(pairs)}{_images(pairs)}, {_gain(pairs)}, {clear} beyond the interval"


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanGain:
    """On average so many points above each of some lines.

    Reproduced: at least ``least`` above each. Partly: above each, or one of them or of the expected
    attacks not measured.

    Args:
        line: The line.
        others: The lines it is compared with at every place that both have.
        least: The mean gain in points from which on the claim is reproduced.
        expected: Attacks that have to be there.
        beside: Lines over which the gain is reported and not judged.
    """

    line: Line
    others: Sequence[Line]
    least: float
    expected: Collection[str] = ()
    beside: Sequence[Line] = ()

    def judge(self, evidence: Evidence) -> Verdict:
        """Verdict and sentence."""
        found = {one: evidence.pairs(self.line, one) for one in (*self.others, *self.beside)}
        if not any(found.values()):
            return _NO_ROWS
        words = "; ".join(self._words(one, list(pairs.values())) for one, pairs in found.items())
        gains = [_mean_gain(found[one].values()) for one in self.others if found[one]]
        if not gains:
            return NOT_MEASURED, words
        attacks = {attack for one in self.others for attack, _ in found[one]}
        whole = len(gains) == len(self.others) and set(self.expected) <= attacks
        return _graded(min(gains) >= self.least and whole, min(gains) > 0), words

    @staticmethod
    def _words(other: Line, pairs: Sequence[Pair]) -> str:
        if not pairs:
            return f"not measured against {other.label}"
        above = [pair for pair in pairs if pair.gain > 0]
        return (
            f"{_gain(pairs)} over {other.label}{_images(pairs)}, above at {len(above)} of "
            f"{len(pairs)}, {sum(pair.clear for pair in above)} beyond the 95 % interval"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Best:
    """The best of some lines in every group of places.

    Reproduced: in all groups. Partly: in half of them or more.

    Args:
        line: The line.
        others: Its rivals; a group is judged where one of them at least was measured.
        groups: What tells groups apart.
        along: What tells places within a group apart; lines are compared where all were measured.
        score: What is compared, from the points of a group; higher is better. Clean images, where
            the claim speaks of them, are the first point of every group.
        words: What the scores are.
        expected: Groups that have to be there, with every rival.
        most: Whether the best in more than half of the groups is enough, and in more than chance
            gives in part.
        near: Whether second within the 95 % interval is enough in part; for groups of one place.
        ties: Whether a lead or lag within the 95 % interval decides nothing; for groups of one
            place.
        needed: A rival, or several as one line, without which it is the best in part at most.
        within: Conditions and a limit: a line whose row of these conditions has a greater value is
            out of the comparison; if ``line`` is, it is not the best.
    """

    line: Line
    others: Sequence[Line | Axis]
    groups: Axis = EACH_ATTACK
    along: tuple[str, ...] = ("epsilon",)
    score: Callable[[Sequence[Point]], float] = lambda found: 100 * fmean(p.value for p in found)
    words: str = "accuracy (%)"
    expected: Collection[tuple] = ()
    most: bool = False
    near: bool = False
    ties: bool = False
    needed: Line | None = None
    within: tuple[Where, float] | None = None

    def judge(self, evidence: Evidence) -> Verdict:
        """Verdict and sentence."""
        rivals = [one for one in expand(self.others, evidence.rows) if isinstance(one, Line)]
        by = Axis((*self.groups.names, *self.along), "")
        series = {one: evidence.series(one, by) for one in (self.line, *rivals)}
        late = {one for one in series if self._late(one, evidence)}
        best = close = undecided = 0
        texts, whole = [], set()
        for group in dict.fromkeys(self._group(place) for place in series[self.line]):
            found = {one: self._inside(own, group) for one, own in series.items()}
            measured = {one for one, own in found.items() if own}
            if "none" in group or len(measured) < 2:
                continue
            whole |= {group} if measured == set(series) else set()
            found = {one: found[one] for one in series if one in measured - late}
            shared = set.intersection(*map(set, found.values())) if found else set()
            kept = {one: [own[p] for p in own if p in shared] for one, own in found.items()}
            scores = {one: round(self.score(own), 6) for one, own in kept.items() if own}
            mine = scores.pop(self.line, None)
            rival = max(scores, key=scores.__getitem__, default=None)
            level = False
            if mine is not None and rival is not None:
                level = not Pair.independent(kept[rival][-1], kept[self.line][-1]).clear
            if self.ties and level:
                undecided += 1
                whole -= {group}
            elif mine is not None and (rival is None or mine > scores[rival]):
                best += 1
            else:
                close += level
            texts.append(
                f"{self.groups.words(group)} {'too late' if mine is None else f'{mine:.1f}'} "
                f"({'others too late' if rival is None else f'{rival.label} {scores[rival]:.1f}'})"
            )
        if not texts:
            return _NO_ROWS
        judged = len(texts) - undecided
        counted = f"{judged}, undecided at {undecided}" if undecided else f"{judged}"
        words = f"the best at {best} of {counted}; {self.words}: {', '.join(texts)}"
        if not judged:
            return NOT_MEASURED, words
        full = set(self.expected) <= whole
        if self.needed is not None and not any(
            matches(r, self.needed.where) for r in evidence.rows
        ):
            full, words = False, f"{words}; {self.needed.label} was not measured"
        if self.most:
            chance = len(series) * best > judged
            return _graded(2 * best > judged and full, chance), words
        if self.near and best < judged == best + close:
            return PARTLY, words
        return _share(best, judged, full), words

    def _group(self, place: tuple) -> tuple:
        return place[: len(self.groups.names)]

    def _inside(self, series: Mapping[tuple, Point], group: tuple) -> dict[tuple, Point]:
        """The points of a group, behind those of clean images."""
        own = {place: one for place, one in series.items() if self._group(place) == group}
        clean = {place: one for place, one in series.items() if "none" in self._group(place)}
        return {**clean, **own} if own else {}

    def _late(self, line: Line, evidence: Evidence) -> bool:
        if self.within is None:
            return False
        where, limit = self.within
        rows = [r for r in evidence.everything if matches(r, where) and matches(r, line.where)]
        cost = point(rows)
        return cost is not None and cost.value > limit


@dataclasses.dataclass(frozen=True, kw_only=True)
class Level:
    """No more than so far below a level or another line.

    Args:
        line: A line of one point.
        reference: A level in percent, or a line of one point.
        near: Points that it may lie below to be reproduced.
        partly: Points that it may lie below to be reproduced in part.
        beside: Other lines, whose losses are reported.
        least: Whether it has to lose less than all of ``beside`` too; one of the two is partly.
    """

    line: Line
    reference: Line | float
    near: float = 1.0
    partly: float = 5.0
    beside: Sequence[Line] = ()
    least: bool = False

    def judge(self, evidence: Evidence) -> Verdict:
        """Verdict and sentence."""
        if isinstance(self.reference, Line):
            bare, label = evidence.point(self.reference), self.reference.label
        else:
            bare, label = level_point(self.reference), "printed"
        one = evidence.point(self.line)
        if one is None or bare is None:
            return _NO_ROWS
        pair = Pair.independent(bare, one)
        loss, error = pair.gain, points(pair.error)
        words = (
            f"{_percent(one)} % against {_percent(bare)} % ({label}): {loss:.1f} ± {error:.1f} "
            "points lost"
        )
        found = {line.label: evidence.point(line) for line in self.beside}
        others = {name: points(bare.value - p.value) for name, p in found.items() if p}
        if others:
            words += f"; others: {', '.join(f'{name} {o:.1f}' for name, o in others.items())}"
        if self.least:
            held = (loss <= self.near) + (bool(others) and loss < min(others.values()))
            return (NOT_REPRODUCED, PARTLY, REPRODUCED)[held], words
        return _graded(loss <= self.near, loss <= self.partly), words


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ratio:
    """One number as a multiple of another. Reproduced: within a factor of 2. Partly: of 10.

    Args:
        over: A line of one point.
        under: Another.
        printed: The ratio in print.
        unit: What both are measured in.
    """

    over: Line
    under: Line
    printed: float
    unit: str

    def judge(self, evidence: Evidence) -> Verdict:
        """Verdict and sentence."""
        over, under = evidence.point(self.over), evidence.point(self.under)
        if over is None or under is None or min(over.value, under.value) <= 0:
            return _NO_ROWS
        ratio = over.value / under.value
        factor = max(ratio / self.printed, self.printed / ratio)
        words = (
            f"{ratio:.3g} times: {over.value:.3g} ({self.over.label}) against {under.value:.3g} "
            f"{self.unit} ({self.under.label})"
        )
        return _graded(factor <= 2, factor <= 10), words


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """Lines from the least to the greatest. Reproduced: in this order.

    Args:
        lines: Lines of one point, the least first.
        partly: Pairs in order from which on it is reproduced in part.
    """

    lines: Sequence[Line]
    partly: int

    def judge(self, evidence: Evidence) -> Verdict:
        """Verdict and sentence."""
        found = {line.label: one for line in self.lines if (one := evidence.point(line))}
        if not found:
            return _NO_ROWS
        combinations = itertools.combinations(found.values(), 2)
        pairs = [Pair.independent(high, low) for low, high in combinations]
        right = [pair for pair in pairs if pair.gain > 0]
        clear = sum(pair.gain > 2 * points(pair.error) for pair in right)
        ranked = sorted(found.items(), key=lambda item: item[1].value)
        words = (
            f"{' < '.join(f'{label} {one.value:.1f}' for label, one in ranked)}; {len(right)} of "
            f"{len(pairs)} pairs in order, {clear} by more than two standard errors"
        )
        missing = [line.label for line in self.lines if line.label not in found]
        if missing:
            return NOT_MEASURED, f"{words}; {', '.join(missing)} not measured"
        return _graded(len(right) == len(pairs), len(right) >= self.partly), words


Judge = Everywhere | MeanGain | Best | Level | Ratio | Order


def _graded(reproduced: bool, partly: bool) -> str:
    return REPRODUCED if reproduced else PARTLY if partly else NOT_REPRODUCED


def _share(true: int, total: int, whole: bool) -> str:
    """The verdict on what should hold everywhere."""
    return _graded(true == total and whole, 2 * true >= total)


def _mean_gain(pairs: Iterable[Pair]) -> float:
    return round(fmean(pair.gain for pair in pairs), 6)


def _gain(pairs: Sequence[Pair]) -> str:
    gains = [pair.gain for pair in pairs]
    return f"{_mean_gain(pairs):+.1f} points ({min(gains):+.1f} to {max(gains):+.1f})"


def _percent(one: Point) -> str:
    return f"{100 * one.value:.1f}"


def _images(pairs: Sequence[Pair]) -> str:
    """Says so where the two sides were measured on different numbers of images."""
    counts = {(p.value.images, p.other.images) for p in pairs}
    counts = {(one, other) for one, other in counts if one and other and one != other}
    return "".join(f" ({one:,} images against {other:,})" for one, other in sorted(counts))
