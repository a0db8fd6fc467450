"""The collective vote, and how many wrong labels it corrects."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Any

import numpy as np

from validation import check_integer, check_labels

__all__ = ["MOST_CLASSES", "VotingStatistics", "as_labels", "majority_vote", "voting_analysis"]

MOST_CLASSES = 1_000
"""Most classes of a vote, which counts the voters of each."""

MOST_SUBSETS = 100_000

_MOST_SIZES = 10_000


def as_labels(name: str, values: np.ndarray, num_classes: int | None = None) -> np.ndarray:
    """Returns labels as int64, or raises an error that explains what is wrong.

    Args:
        name: Name of the argument, for the message.
        values: Integers ``(batch,)``, or ``(batch, 1)``.
        num_classes: Labels must be below it; ``None`` is ``MOST_CLASSES``.

    Returns:
        int64 array ``(batch,)``.

    Raises:
        ValueError: If the values are not integers, have another shape or are out of range.
    """
    try:
        length = len(values)
    except TypeError:  # a single number, or nothing of the kind
        length = 0
    limit = MOST_CLASSES if num_classes is None else num_classes
    return check_labels(values, length, limit, name=name)


def majority_vote(
    predictions: np.ndarray,
    num_drawn: int | None = None,
    rng: np.random.Generator | int | None = None,
) -> np.ndarray:
    """The label that most of R randomly drawn voters give, image by image.

    An attacker cannot know which voters will be drawn, and a count of labels has no gradient.

    **Reference**: Dissertation, ch. 3.3.3 (R of M classifiers, ties broken at random).
    **Differs from the paper**: it does not say whether R voters are drawn once or for each image;
    they are drawn for each image, without replacement.

    Args:
        predictions: Integer labels ``(batch, M)``, one column for each voter.
        num_drawn: R, from 1 to M; ``None`` is all voters.
        rng: Generator, or a seed for one; ``None`` is not repeatable.

    Returns:
        Labels ``(batch,)``, int64; each was given by at least one drawn voter.

    Raises:
        ValueError: If the predictions are not such an array or ``num_drawn`` is out of range.
    """
    votes = _as_predictions(predictions)
    num_voters = votes.shape[1]
    drawn = num_voters
    if num_drawn is not None:
        drawn = check_integer("num_drawn", num_drawn, at_least=1, at_most=num_voters)
    generator = _generator(rng)
    if drawn < num_voters:
        order = generator.random(votes.shape).argsort(axis=1)
        votes = np.take_along_axis(votes, order[:, :drawn], axis=1)
    tied = _most_voted(votes, int(votes.max(initial=0)) + 1)
    random_order = generator.random(tied.shape)
    return np.where(tied, random_order, -1.0).argmax(axis=1)


@dataclass(frozen=True, kw_only=True)
class VotingStatistics:
    """What a vote of a given number of voters corrects, averaged over subsets of that size.

    Attributes:
        size: Number of voters, V.
        num_subsets: Number of subsets averaged over.
        recovery_rate: Share of a voter's wrong labels that the vote corrects, in [0, 1].
        wrong_overlap: Images that all voters give the same wrong label, relative to the mean
            number of wrong labels of a voter, in [0, 1].
        correct_overlap: Images that all voters label correctly, relative to the mean number of
            correct labels of a voter, in [0, 1].

    A ratio with a zero denominator is NaN: the first two where no voter errs, the third where no
    voter is right.
    """

    size: int
    num_subsets: int
    recovery_rate: float
    wrong_overlap: float
    correct_overlap: float


def voting_analysis(
    predictions: np.ndarray,
    labels: np.ndarray,
    sizes: Iterable[int],
    num_subsets: int = 20,
    rng: np.random.Generator | int | None = None,
) -> dict[int, VotingStatistics]:
    """How many wrong labels a vote corrects, and how often voters make the same errors.

    **Reference**: Dissertation, ch. 3.4.5, figs. 3.14 (recovery rate), 3.15 (overlap of wrong
    predictions) and 3.16 (overlap of correct ones).
    **Differs from the paper**: it defines only the recovery rate; ``VotingStatistics`` says what
    the overlaps are here. A tie counts with the probability that the random tie-break picks the
    true label, which is the same on average as drawing it, with less noise.

    Args:
        predictions: Integer labels ``(batch, M)``, one column for each voter.
        labels: True classes ``(batch,)``.
        sizes: Numbers of voters V, each from 1 to M.
        num_subsets: Random subsets for each size, drawn independently; where no more subsets exist,
            each is taken once.
        rng: Generator, or a seed for one; ``None`` is not repeatable.

    Returns:
        The statistics by size, in the order of ``sizes``.

    Raises:
        ValueError: If the arrays do not fit each other, or a size or ``num_subsets`` is out of
            range.
    """
    votes = _as_predictions(predictions)
    batch, num_voters = votes.shape
    truth = check_labels(labels, batch, MOST_CLASSES)
    if batch == 0:
        raise ValueError(
            "Expected predictions of at least one image, received none. Pass the labels that the "
            "voters give."
        )
    check_integer("num_subsets", num_subsets, at_least=1, at_most=MOST_SUBSETS, such_as=20)
    generator = _generator(rng)
    wanted = _sizes(sizes, num_voters)
    results = {}
    for size in wanted:
        subsets = _subsets(num_voters, size, num_subsets, generator)
        shares = np.array([_subset_shares(votes[:, list(chosen)], truth) for chosen in subsets])
        results[size] = VotingStatistics(
            size=size,
            num_subsets=len(subsets),
            recovery_rate=_mean_of_defined(shares[:, 0]),
            wrong_overlap=_mean_of_defined(shares[:, 1]),
            correct_overlap=_mean_of_defined(shares[:, 2]),
        )
    return results


def _generator(rng: Any) -> np.random.Generator:
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Expected rng as a numpy.random.Generator, a seed of at least 0 or None, received "
            f"{rng!r}. Pass numpy.random.default_rng(0)."
        ) from error


def _sizes(sizes: Any, num_voters: int) -> list[int]:
    if isinstance(sizes, str) or not isinstance(sizes, Iterable):
        raise ValueError(
            f"Expected sizes as a sequence of integers, received {sizes!r}. Use range(2, "
            f"{num_voters + 1})."
        )
    wanted = [
        check_integer("each of sizes", size, at_least=1, at_most=num_voters)
        for size in islice(sizes, _MOST_SIZES)
    ]
    if not wanted:
        raise ValueError(
            f"Expected at least one of sizes, received none. Use range(2, {num_voters + 1}); a "
            "generator that was read before is empty."
        )
    return wanted


def _subsets(
    num_voters: int, size: int, num_subsets: int, generator: np.random.Generator
) -> list[tuple[int, ...]]:
    if math.comb(num_voters, size) <= num_subsets:
        return list(combinations(range(num_voters), size))
    return [
        tuple(generator.choice(num_voters, size, replace=False).tolist())
        for _ in range(num_subsets)
    ]


def _subset_shares(votes: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Recovery rate and both overlaps of one subset, votes ``(batch, V)``."""
    tied = _most_voted(votes, int(max(votes.max(), truth.max())) + 1)
    recovered = np.take_along_axis(tied, truth[:, None], axis=1)[:, 0] / tied.sum(axis=1)

    correct = votes == truth[:, None]
    num_wrong = (~correct).sum(axis=0)
    erring = num_wrong > 0
    rates = (recovered[:, None] * ~correct).sum(axis=0)[erring] / num_wrong[erring]

    unanimous = (votes == votes[:, :1]).all(axis=1)
    all_wrong = (unanimous & ~correct[:, 0]).sum()
    all_correct = correct.all(axis=1).sum()
    return (
        _mean_of_defined(rates),
        _share(all_wrong, num_wrong.mean()),
        _share(all_correct, correct.sum(axis=0).mean()),
    )


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else math.nan


def _mean_of_defined(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan


def _most_voted(votes: np.ndarray, num_classes: int) -> np.ndarray:
    """Whether a label has the most votes, ``(batch, num_classes)``; several where they tie."""
    counts = (votes[:, :, None] == np.arange(num_classes)).sum(axis=1)
    return counts == counts.max(axis=1, keepdims=True)


def _as_predictions(predictions: np.ndarray) -> np.ndarray:
    try:
        array = np.asarray(predictions)
    except (TypeError, ValueError):  # rows of different lengths
        array = np.empty(0)
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "iu":
        raise ValueError(
            "Expected predictions as integers of shape (batch, voters), received dtype "
            f"{array.dtype} and shape {array.shape}. Stack the voters' labels with "
            "numpy.stack(labels, axis=1)."
        )
    flat = check_labels(array.reshape(-1), array.size, MOST_CLASSES, name="predictions")
    return flat.reshape(array.shape)
