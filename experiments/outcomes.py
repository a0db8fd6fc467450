"""Right or wrong, image by image: what stands behind an accuracy.

Paired differences, and the worst of several attacks on each image, need more than a count. One bit
for each draw and image is kept beside the rows, ``raw/<profile>/outcomes/<config_hash>.npz``.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from results.files import UNREADABLE_ARRAYS, locked, write_atomically
from results.row import Place, Row

_REMEDY = "Delete the file and the rows of this configuration; both are then measured again."


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Which images a decider dealt with rightly.

    Args:
        correct: Booleans ``(repeats, images)``; repeats are draws of a random defense, of each
            voter where voters are pooled.

    Raises:
        ValueError: If it is of another shape or type, or empty.
    """

    correct: np.ndarray

    def __post_init__(self) -> None:
        if self.correct.ndim != 2 or self.correct.dtype != bool or not self.correct.size:
            raise ValueError(
                "Expected booleans of shape (repeats, images), received "
                f"{self.correct.dtype} {self.correct.shape}. Compare labels with the true ones."
            )

    @classmethod
    def of_draws(cls, draws: Sequence[np.ndarray]) -> Outcome:
        """Several draws of the same images, each ``(repeats, images)``."""
        return cls(np.concatenate(draws))

    def worst_draw(self) -> Outcome:
        """Which images are right in every draw, as one draw."""
        return Outcome(np.logical_and.reduce(self.correct, axis=0, keepdims=True))

    @property
    def counts(self) -> tuple[int, int]:
        """Right decisions and all decisions."""
        return int(self.correct.sum()), self.correct.size

    @property
    def accuracy(self) -> float:
        """The share of right decisions."""
        correct, total = self.counts
        return correct / total


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """Image by image the worst of several: right where every one is.

    Args:
        outcomes: Of the same images, with equal repeats.

    Raises:
        ValueError: If there are none, or their shapes differ.
    """
    shapes = {outcome.correct.shape for outcome in outcomes}
    if len(shapes) != 1:
        raise ValueError(
            f"Expected outcomes of one shape, received {sorted(shapes)}. Score the same images "
            "with equal numbers of draws."
        )
    return Outcome(np.logical_and.reduce([outcome.correct for outcome in outcomes]))


def paired(first: Outcome, second: Outcome) -> tuple[float, float]:
    """The difference of two accuracies on the same images, with the standard error of its mean.

    Args:
        first: One outcome.
        second: The other; repeats may differ, images may not.

    Returns:
        ``first - second`` and its standard error over images.

    Raises:
        ValueError: If they are of different numbers of images, or of one image.
    """
    sizes = first.correct.shape[1], second.correct.shape[1]
    if sizes[0] != sizes[1] or sizes[0] < 2:
        raise ValueError(
            f"Expected outcomes of the same images, at least two, received {sizes[0]} and "
            f"{sizes[1]}."
        )
    difference = first.correct.mean(axis=0) - second.correct.mean(axis=0)
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(sizes[0]))


class OutcomeStore:
    """The outcomes of one profile.

    Args:
        folder: Where the rows of the profile lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder) / "outcomes"

    def path(self, config_hash: str) -> Path:
        """The file of one configuration."""
        return self.folder / f"{config_hash}.npz"

    def get(self, row: Row) -> Outcome | None:
        """The outcome behind an accuracy row; ``None`` where it was not kept.

        Raises:
            ValueError: If its file is damaged, or it is not the outcome of this row.
        """
        path = self.path(row.config_hash)
        stored = self._read(path).get(_name(row.place))
        if stored is None:
            return None
        images = row.distinct_images or 0
        packed = stored.dtype == np.uint8 and stored.ndim == 2
        if packed and stored.shape[1] == (images + 7) // 8 and stored.size:
            outcome = Outcome(np.unpackbits(stored, axis=1, count=images).astype(bool))
            if outcome.counts == (row.correct, row.total):
                return outcome
        raise ValueError(
            f"{path}: expected the outcome of {row.correct} right decisions of {row.total} for "
            f"{tuple(row.place)}, received another. {_REMEDY}"
        )

    def add(self, outcomes: Iterable[tuple[Row, Outcome]]) -> None:
        """Keeps outcomes beside those that are there.

        Args:
            outcomes: Each with its row.
        """
        by_file: dict[Path, dict[str, np.ndarray]] = {}
        for row, outcome in outcomes:
            packed = np.packbits(outcome.correct, axis=1)
            by_file.setdefault(self.path(row.config_hash), {})[_name(row.place)] = packed
        with locked(self.folder.with_name(".outcomes.lock")):
            for path, new in by_file.items():
                buffer = io.BytesIO()
                np.savez_compressed(buffer, allow_pickle=False, **{**self._read(path), **new})
                write_atomically(path, buffer.getvalue())

    def _read(self, path: Path) -> Mapping[str, np.ndarray]:
        if not path.is_file():
            return {}
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except UNREADABLE_ARRAYS as error:
            raise ValueError(
                f"{path}: expected an .npz of packed outcomes, received an unreadable file "
                f"({error}). {_REMEDY}"
            ) from error


def _name(place: Place) -> str:
    """The name of an outcome among those of its configuration."""
    parts = (place.decider, place.attack, repr(place.epsilon), place.threat_model, place.settings)
    return "|".join((*parts, str(place.seed))).replace("/", "_")
