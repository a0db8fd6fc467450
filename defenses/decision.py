"""The Bayesian update: one decision from the target's label and the vote.

It works on integer labels in NumPy, without running a network.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from defenses.voting import VotingStatistics, as_labels, majority_vote, voting_analysis
from validation import check_flag, check_integer, check_number

__all__ = [
    "ConditionalTables",
    "VotingStatistics",
    "majority_vote",
    "softmax_prior",
    "voting_analysis",
]

MOST_CLASSES = 200
"""Most classes, of which the tables have the third power of entries."""

BACKOFF_STRENGTH = 10.0
"""Weight of the coarser table in a sparse cell, as a number of images."""

_UNREADABLE_ARRAYS = (
    OSError,
    EOFError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a damaged ``.npz`` raises: one changed bit can make it encrypted, or no archive."""

_TIE_TOLERANCE = 1e-9
"""Posteriors this close, relatively, are equal: sums of logarithms differ by rounding."""


def softmax_prior(logits: np.ndarray, uniform_fraction: float = 1e-3) -> np.ndarray:
    """The target classifier's own probabilities for the unpurified image, as a prior.

    **Reference**: Dissertation, ch. 3, eq. 3.3.1, the factor p(c*).
    **Differs from the paper**: a little of the uniform distribution is mixed in, so that no class
    is excluded. Since the attack has fooled this classifier, the default prior is uniform.

    Args:
        logits: ``(batch, classes)``, any range.
        uniform_fraction: Share of the uniform distribution, in [0, 1].

    Returns:
        ``(batch, classes)`` in [0, 1]; rows sum to 1.

    Raises:
        ValueError: If the logits are not finite or of another shape, or the fraction is out of
            range.
    """
    values = _as_floats("logits", logits)
    if values.ndim != 2 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(
            f"Expected finite logits of shape (batch, classes), received shape {values.shape}. "
            "Pass the output of a classifier."
        )
    check_number("uniform_fraction", uniform_fraction, at_least=0, at_most=1, such_as=1e-3)
    unscaled = np.exp(values - values.max(axis=1, keepdims=True))
    softmax = unscaled / unscaled.sum(axis=1, keepdims=True)
    return (1 - uniform_fraction) * softmax + uniform_fraction / values.shape[1]


@dataclass(frozen=True, eq=False)
class ConditionalTables:
    """How two pieces of evidence depend on the true class, and the class they imply.

    The evidence is e_A, the target classifier's label for the purified image, and e_B, the vote.
    With a uniform prior the update is a fixed table over pairs (e_A, e_B): ``lookup()``.

    **Reference**: Dissertation, ch. 3, eqs. 3.3.1 and 3.3.6, ch. 3.3.4 and 3.4.1.
    **Differs from the paper**: 3.4.1 names the tables P(e_A|x~) and P(e_B|e_A, x~), which does not
    match 3.3.1; the tables are those of 3.3.1. They are smoothed, because most cells are empty and
    an unsmoothed zero would exclude a class.

    Attributes:
        vote_given_class: p(e_B | c), shape ``(classes, classes)``, axes (c, e_B); each row is
            positive and sums to 1.
        target_given_vote_and_class: p(e_A | e_B, c), shape ``(classes, classes, classes)``, axes
            (e_B, c, e_A); positive, the last axis sums to 1.

    Raises:
        ValueError: If a table has another shape, a value outside (0, 1] or a row whose sum is
            not 1.

    Example:
        import numpy as np
        from defenses import ConditionalTables

        labels = np.array([0, 0, 1, 1, 2, 2])
        target_predictions, votes = np.array([0, 1, 1, 1, 2, 0]), np.array([0, 0, 1, 1, 2, 2])
        tables = ConditionalTables.fit(labels, target_predictions, votes, num_classes=3)
        tables.decide(target_predictions, votes).tolist()  # [0, 0, 1, 1, 2, 2]
    """

    vote_given_class: np.ndarray
    target_given_vote_and_class: np.ndarray

    def __post_init__(self) -> None:
        votes = _as_floats("vote_given_class", self.vote_given_class)
        targets = _as_floats("target_given_vote_and_class", self.target_given_vote_and_class)
        classes = votes.shape[0] if votes.ndim else 0
        if classes < 2 or votes.shape != (classes,) * 2 or targets.shape != (classes,) * 3:
            raise ValueError(
                "Expected tables of shape (classes, classes) and (classes, classes, classes), "
                f"for at least 2 classes, received {votes.shape} and {targets.shape}. Make them "
                "with ConditionalTables.fit."
            )
        for name, table in (("vote", votes), ("target", targets)):
            if not (table > 0).all() or not np.allclose(table.sum(axis=-1), 1.0, atol=1e-6):
                raise ValueError(
                    f"Expected positive probabilities that sum to 1 along the last axis of the "
                    f"{name} table, received values from {table.min():g} to {table.max():g} and "
                    f"sums from {table.sum(axis=-1).min():g} to {table.sum(axis=-1).max():g}. "
                    "Make it with ConditionalTables.fit and a positive smoothing."
                )
        object.__setattr__(self, "vote_given_class", votes)
        object.__setattr__(self, "target_given_vote_and_class", targets)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.vote_given_class)

    @classmethod
    def fit(
        cls,
        labels: np.ndarray,
        target_predictions: np.ndarray,
        votes: np.ndarray,
        num_classes: int = 10,
        *,
        smoothing: float = 1.0,
        backoff: bool = False,
    ) -> Self:
        """Estimates the tables from images whose class is known.

        **Reference**: Dissertation, ch. 3.4.1 (statistics of the whole training set).
        **Differs from the paper**: smoothing, which it does not mention. The voters were trained on
        these very images: as far as they fit them, tables from them are over-confident. Images that
        no voter was trained on give unbiased ones.

        Args:
            labels: True classes, ``(num_images,)``.
            target_predictions: e_A for each image, ``(num_images,)``.
            votes: e_B for each image, ``(num_images,)``, drawn as they will be in use.
            num_classes: Number of classes.
            smoothing: Pseudo-count of every cell, positive. An empty cell becomes uniform.
            backoff: Whether sparse cells of p(e_A | e_B, c) back off to p(e_A | c) instead of to
                the uniform distribution, with the weight of ``BACKOFF_STRENGTH`` images.

        Returns:
            The tables.

        Raises:
            ValueError: If the arrays differ in length, are empty or hold labels out of range, or
                ``smoothing`` is not positive.
        """
        check_integer("num_classes", num_classes, at_least=2, at_most=MOST_CLASSES, such_as=10)
        check_number("smoothing", smoothing, above=0, at_most=1e9, such_as=1.0)
        check_flag("backoff", backoff)
        classes = as_labels("labels", labels, num_classes)
        evidence_a = as_labels("target_predictions", target_predictions, num_classes)
        evidence_b = as_labels("votes", votes, num_classes)
        if not 0 < len(classes) == len(evidence_a) == len(evidence_b):
            raise ValueError(
                "Expected labels, target_predictions and votes of one length above 0, received "
                f"lengths {len(classes)}, {len(evidence_a)}, {len(evidence_b)}. Take all three "
                "from the same images."
            )
        counts = np.zeros((num_classes,) * 3)  # axes (e_B, c, e_A)
        np.add.at(counts, (evidence_b, classes, evidence_a), 1.0)
        if backoff:
            coarse = _smoothed(counts.sum(axis=0), smoothing)
            weighted = counts + BACKOFF_STRENGTH * coarse
            given_vote_and_class = weighted / weighted.sum(axis=-1, keepdims=True)
        else:
            given_vote_and_class = _smoothed(counts, smoothing)
        return cls(_smoothed(counts.sum(axis=2).T, smoothing), given_vote_and_class)

    def posterior(
        self,
        target_predictions: np.ndarray,
        votes: np.ndarray,
        prior: np.ndarray | None = None,
    ) -> np.ndarray:
        """p(c | e_A, e_B) for each image (eq. 3.3.6).

        Args:
            target_predictions: e_A, ``(batch,)``.
            votes: e_B, ``(batch,)``.
            prior: ``(classes,)`` for all images or ``(batch, classes)``; not negative, of any
                scale. A class of prior 0 is excluded. ``None`` is uniform.

        Returns:
            ``(batch, classes)`` in [0, 1]; rows sum to 1.

        Raises:
            ValueError: If the labels or the prior do not fit.
        """
        evidence_a = as_labels("target_predictions", target_predictions, self.num_classes)
        evidence_b = as_labels("votes", votes, self.num_classes)
        if len(evidence_a) != len(evidence_b):
            raise ValueError(
                f"Expected one vote for each target prediction, received {len(evidence_b)} votes "
                f"and {len(evidence_a)} predictions. Take both from the same images."
            )
        scores = np.log(self.target_given_vote_and_class[evidence_b, :, evidence_a])
        scores += np.log(self.vote_given_class[:, evidence_b].T)
        if prior is not None:
            with np.errstate(divide="ignore"):  # a class that is ruled out
                scores = scores + np.log(self._checked_prior(prior, len(evidence_a)))
        unscaled = np.exp(scores - scores.max(axis=1, keepdims=True))
        return unscaled / unscaled.sum(axis=1, keepdims=True)

    def decide(
        self,
        target_predictions: np.ndarray,
        votes: np.ndarray,
        prior: np.ndarray | None = None,
    ) -> np.ndarray:
        """The most probable class of each image (eq. 3.3.1).

        **Differs from the paper**: ties are not mentioned. The vote wins if it is among the tied
        classes, else the lowest class.

        Args:
            target_predictions: e_A, ``(batch,)``.
            votes: e_B, ``(batch,)``.
            prior: As in ``posterior``.

        Returns:
            Labels ``(batch,)``, int64.
        """
        posterior = self.posterior(target_predictions, votes, prior)
        tied = posterior >= posterior.max(axis=1, keepdims=True) * (1 - _TIE_TOLERANCE)
        voted = as_labels("votes", votes, self.num_classes)
        vote_is_tied = np.take_along_axis(tied, voted[:, None], axis=1)[:, 0]
        return np.where(vote_is_tied, voted, tied.argmax(axis=1))

    def lookup(self) -> np.ndarray:
        """Every decision under a uniform prior, ``(classes, classes)``, axes (e_A, e_B)."""
        evidence_a, evidence_b = np.indices((self.num_classes,) * 2).reshape(2, -1)
        return self.decide(evidence_a, evidence_b).reshape((self.num_classes,) * 2)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """The tables from arrays by name, as ``save`` stores them.

        Raises:
            ValueError: If an array is missing or not valid.
        """
        names = ("vote_given_class", "target_given_vote_and_class")
        missing = [name for name in names if name not in arrays]
        if missing:
            raise ValueError(
                f"Expected the arrays {list(names)}, received {sorted(arrays)}. Read a file "
                "that ConditionalTables.save has written."
            )
        return cls(*(arrays[name] for name in names))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the tables to an ``.npz`` file."""
        with open(path, "wb") as file:
            np.savez(
                file,
                vote_given_class=self.vote_given_class,
                target_given_vote_and_class=self.target_given_vote_and_class,
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads the tables from an ``.npz`` file, without pickle.

        Raises:
            ValueError: If the file is damaged, of another kind, or its tables are not valid.
        """
        with open(path, "rb") as opened:
            try:
                arrays = dict(np.load(opened, allow_pickle=False))
            except _UNREADABLE_ARRAYS as error:
                raise ValueError(
                    f"Expected the tables that ConditionalTables.save has written, received "
                    f"{os.fspath(path)!r}, which is damaged or of another kind. Fit them again."
                ) from error
        return cls.from_arrays(arrays)

    def _checked_prior(self, prior: np.ndarray, batch: int) -> np.ndarray:
        values = _as_floats("prior", prior)
        fits = values.shape in ((self.num_classes,), (batch, self.num_classes))
        if not fits or not np.isfinite(values).all() or (values < 0).any():
            raise ValueError(
                f"Expected a finite prior of at least 0, of shape ({self.num_classes},) or "
                f"({batch}, {self.num_classes}), received shape {values.shape} and values "
                f"{values.ravel()[:4]}. Use softmax_prior for logits."
            )
        if not (values.sum(axis=-1) > 0).all():
            raise ValueError(
                "Expected a prior with a positive sum, received one that rules every class out. "
                "Use None for the uniform prior."
            )
        return values


def _as_floats(name: str, values: np.ndarray) -> np.ndarray:
    try:
        return np.asarray(values, dtype="float64")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Expected {name} as an array of numbers, received {type(values).__name__}. Pass a "
            "NumPy array whose rows have one length."
        ) from error


def _smoothed(counts: np.ndarray, smoothing: float) -> np.ndarray:
    """Counts to probabilities along the last axis, each cell with a pseudo-count."""
    raised = counts + smoothing
    return raised / raised.sum(axis=-1, keepdims=True)
