"""One measured number and what it was measured on: the row.

A row is the only thing that passes from measuring to showing. Its identity (`Row.key`) is
everything that could change the number; `seconds` and warning flags are not part of it.

Conventions that the readers of rows rely on:

* `flags` is a `;`-joined set of tokens. `name=value` is a qualifier and belongs to the identity
  (`target=A`: the classifier under attack; `voters=12`: the size of the pool; `drawn=7`: how many
  of them vote; `tables=training`: what the conditional probabilities were counted on;
  `kl_weight=0.03`). A bare word is a warning (`unreliable`) and does not.
* A random defense may be drawn several times; `draws=3` says that the counts pool three.
* `metric == "accuracy"` holds a fraction in [0, 1], and `value == correct / total` where both are
  given. `classifier == "mean_voter"` pools the voters: `total` is voters times images.
* The clean images are `epsilon == 0`.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

from results.flags import canonical_flags, qualifiers_only

_REQUIRED_TEXT = (
    "experiment", "dataset", "defense", "classifier", "attack", "threat_model", "metric",
)  # fmt: skip


class RowKey(NamedTuple):
    """The identity of a row: two rows with equal keys are the same measurement."""

    experiment: str
    dataset: str
    defense: str
    classifier: str
    attack: str
    norm: str
    epsilon: float
    threat_model: str
    metric: str
    seed: int
    qualifiers: str
    config_hash: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One number, what it was measured on, and how long that took.

    Args:
        experiment: Identifier of the figure or table, for example `"003.F3.6"`.
        dataset: Name of the data set.
        defense: Registry key of the purifier, or `"none"`.
        classifier: Who decided: `"A"`, `"B"`, `"C"`, `"mean_voter"`, `"vote"`, `"vote_bayes"`.
        attack: Registry key of the attack, or `"none"`.
        norm: `"linf"`, `"l2"`, or empty where there is none.
        epsilon: Attack budget on images in [0, 1]; 0 means clean images.
        threat_model: What the attacker knows, for example `"oblivious"`.
        metric: `"accuracy"` (a fraction), `"l1"`, `"l2"`, `"l2_standard_error"`, ...
        value: The number.
        correct: Number of right decisions, or None where nothing is counted.
        total: Number of decisions, or None.
        seed: Seed of the evaluation.
        flags: Qualifiers and warnings, see the module's text; stored sorted.
        config_hash: Hash of the configuration behind the number.
        seconds: Wall-clock time spent on it.

    Raises:
        ValueError: If a field is missing, out of range, or contradicts another.
    """

    experiment: str
    dataset: str
    defense: str
    classifier: str
    attack: str
    norm: str
    epsilon: float
    threat_model: str
    metric: str
    value: float
    correct: int | None = None
    total: int | None = None
    seed: int = 0
    flags: str = ""
    config_hash: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in (*_REQUIRED_TEXT, "norm", "flags", "config_hash"):
            text = getattr(self, name)
            if not isinstance(text, str) or (name in _REQUIRED_TEXT and not text):
                raise ValueError(f"Expected {name} to be a text, received {text!r}.")
            if any(character in text for character in ',"\r\n'):
                raise ValueError(
                    f"Expected {name} without commas, quotes and line breaks, received {text!r}."
                )
        for name in ("epsilon", "value", "seconds"):
            object.__setattr__(self, name, _finite(name, getattr(self, name)))
        for name in ("correct", "total", "seed"):
            object.__setattr__(self, name, _integer(name, getattr(self, name)))
        object.__setattr__(self, "flags", canonical_flags(self.flags))
        self._check_numbers()

    def _check_numbers(self) -> None:
        if self.seed is None:
            raise ValueError("Expected seed to be an integer, received None.")
        if self.epsilon < 0 or self.seconds < 0:
            raise ValueError(
                f"Expected epsilon and seconds >= 0, received epsilon={self.epsilon}, "
                f"seconds={self.seconds}."
            )
        if (self.correct is None) != (self.total is None):
            raise ValueError(
                f"Expected correct and total together or neither, received correct={self.correct}, "
                f"total={self.total}."
            )
        if self.total is not None and self.correct is not None:
            if self.total < 1 or not 0 <= self.correct <= self.total:
                raise ValueError(
                    f"Expected 0 <= correct <= total and total >= 1, received "
                    f"correct={self.correct}, total={self.total}."
                )
            ratio = self.correct / self.total
            if self.metric == "accuracy" and abs(self.value - ratio) > 1e-6:
                raise ValueError(
                    f"Expected an accuracy of correct / total = {ratio}, received value="
                    f"{self.value}. A mean over voters pools their counts: total is voters times "
                    "images."
                )
        if self.metric == "accuracy" and not 0 <= self.value <= 1:
            raise ValueError(
                f"Expected an accuracy in [0, 1], received {self.value}. Divide percentages by 100."
            )

    @property
    def key(self) -> RowKey:
        """What identifies the measurement: all but the numbers, the warnings and the time."""
        return RowKey(
            self.experiment, self.dataset, self.defense, self.classifier, self.attack, self.norm,
            self.epsilon, self.threat_model, self.metric, self.seed,
            qualifiers_only(self.flags), self.config_hash,
        )  # fmt: skip


#: The columns of a file of rows, in order.
COLUMNS: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(Row))


def row_key(
    *,
    experiment: str,
    dataset: str,
    defense: str,
    classifier: str,
    attack: str,
    norm: str,
    epsilon: float,
    threat_model: str,
    metric: str,
    seed: int = 0,
    flags: str = "",
    config_hash: str = "",
) -> RowKey:
    """The key a row with these fields will have, before its number is measured.

    Args:
        experiment, dataset, defense, classifier, attack, norm, epsilon, threat_model, metric,
            seed, flags, config_hash: As in `Row`.

    Returns:
        The key, to be asked for with `RowStore.has`.
    """
    return Row(
        experiment=experiment, dataset=dataset, defense=defense, classifier=classifier,
        attack=attack, norm=norm, epsilon=epsilon, threat_model=threat_model, metric=metric,
        seed=seed, flags=flags, config_hash=config_hash, value=0.0,
    ).key  # fmt: skip


def qualifiers(row: Row) -> dict[str, str]:
    """All `name=value` flags of a row.

    Args:
        row: The row.

    Returns:
        `{name: value}`, values as text, sorted by name.
    """
    pairs = (token.partition("=")[::2] for token in row.flags.split(";") if "=" in token)
    return dict(pairs)


def qualifier(row: Row, name: str, default: str | None = None) -> str | None:
    """One qualifier of a row.

    Args:
        row: The row.
        name: For example `"target"`.
        default: What to return if the row does not carry it.

    Returns:
        Its value as text, or `default`.
    """
    return qualifiers(row).get(name, default)


def warnings(row: Row) -> tuple[str, ...]:
    """The warnings of a row, flags without a value such as `unreliable`.

    Args:
        row: The row.

    Returns:
        The words, sorted; empty for a row that nothing is held against.
    """
    return tuple(token for token in row.flags.split(";") if token and "=" not in token)


def distinct_images(row: Row) -> int | None:
    """How many different images stand behind a row's counts.

    A `mean_voter` row pools its voters, and a row with the flag `draws=D` pools D repetitions of a
    random defense; all of them judged the same images.

    Args:
        row: The row; `images=N` among its flags overrides the counting.

    Returns:
        The number of images, or None if the row holds no counts.
    """
    stated = qualifier(row, "images")
    if stated is not None:
        return int(stated)
    if row.total is None:
        return None
    repeats = int(qualifier(row, "draws", "1") or 1)
    if row.classifier == "mean_voter":
        repeats *= int(qualifier(row, "voters", "1") or 1)
    return row.total // repeats if row.total % repeats == 0 else row.total


def _finite(name: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"Expected {name} to be a number, received {value!r}.") from None
    if not math.isfinite(number):
        raise ValueError(
            f"Expected {name} to be finite, received {number}. A measurement that failed is no row."
        )
    return number + 0.0  # -0.0 and 0.0 would be equal keys with different bytes


def _integer(name: str, value: object) -> int | None:
    if value is None:
        return None
    try:
        number = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise ValueError(f"Expected {name} to be an integer, received {value!r}.") from None
    if not isinstance(value, str) and number != value:
        raise ValueError(f"Expected {name} to be a whole number, received {value!r}.")
    return number
