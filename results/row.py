"""One measured number and what it was measured on: the row.

A row is the only thing that passes from measuring to showing. Its identity is what was measured
(``Row.place`` and the hash of the configuration), never the figure that shows it; the time that it
took and the flags raised against it are not part of it.

Conventions that readers of rows rely on:

* Clean images have the attack ``none``, epsilon 0, no norm and no threat model. They are measured
  once and serve every figure.
* ``settings`` tell further measurements apart: ``target`` (the classifier under attack),
  ``retrained`` (the classifier behind the purifier was trained on purified images), ``source``
  (the classifier a purifier was trained with), ``voters`` (size of the pool), ``drawn`` (how many
  of them vote), ``tables`` (what conditional probabilities were counted on), ``detectors``,
  ``aimed`` (which decider an attack through the whole defense was made for), ``surrogate``,
  ``worst_of`` and ``eot`` (how an adaptive attacker gets past a choice inside the purifier, of
  which attacks the worst is taken image by image, and over how many draws), ``draws`` (repetitions
  of a random defense whose counts are pooled), ``fresh`` (draws of which mean and worst are both
  measured), ``images`` (how many, where they are other than
  usual), ``depth`` and ``stage`` of features, ``restarts`` and ``steps`` of a search and its
  ``timed_steps``, ``passes`` and ``width`` of what is timed, weights of losses.
* ``flags`` are warnings (``unreliable``; ``undefined``; ``unmoved``: the attack had no gradient on
  some of the images) and do not belong to the identity.
* Data sets, deciders, norms, threat models and metrics are those of ``VOCABULARY``, so that a
  misspelt one is found; defenses, attacks and settings belong to whoever adds them.
* ``metric == "accuracy"`` holds a fraction in [0, 1] that equals ``correct / total``. The decider
  ``mean_voter`` pools the voters: its total is voters times images.
* ``attack_success`` is the share of images on which an attack without a budget reached its goal on
  the classifier that it attacked; ``refused`` that of images that detectors refuse;
  ``chosen_class`` that of images of which a purifier keeps the candidate of the true class;
  ``worst_draw`` that of images that are read rightly in every one of several ``fresh`` draws of a
  random defense; ``neighbours_of_class`` that of the ten nearest images that are of the same
  class, by the setting ``space``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from validation import check_choice, check_integer, check_number

Setting = bool | int | float | str

DATASETS = ("mnist", "fashion_mnist", "cifar10", "svhn_cropped", "digits")
DECIDERS = ("none", "target", "mean_voter", "vote", "vote_bayes", "class_means")
NORMS = ("linf", "l2")
THREAT_MODELS = (
    "none",
    "oblivious",
    "transfer",
    "mixed",
    "framework",
    "framework_transfer",
    "adaptive",
    "score",
    "bpda",
)
SHARES = (
    "accuracy",
    "index_change",
    "overlap_correct",
    "overlap_wrong",
    "overruled",
    "recovery_rate",
    "attack_success",
    "refused",
    "chosen_class",
    "neighbours_of_class",
    "worst_draw",
)
"""Metrics that are fractions."""
DISTANCES = ("l1", "l2")
ERRORS = ("standard_error", "gain_standard_error")
"""What is measured beside a distance, image by image: ``l2_standard_error``."""
METRICS = (
    *SHARES,
    *DISTANCES,
    *(f"{distance}_{error}" for distance in DISTANCES for error in ERRORS),
    "accuracy_gain_standard_error",
    "feature_change",
    "feature_change_relative",
    "feature_change_spread",
    "seconds",
    "seconds_floor",
)
VOCABULARY: Mapping[str, tuple[str, ...]] = {
    "dataset": DATASETS,
    "decider": DECIDERS,
    "norm": ("", *NORMS),
    "threat_model": THREAT_MODELS,
    "metric": METRICS,
}
"""The values of the fields that take only known ones."""
LARGEST_SEED = 2**32 - 1
"""What Keras, NumPy and TensorFlow all take."""

_TOKEN = re.compile(r"[A-Za-z0-9_.+:/-]+")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class Place(NamedTuple):
    """What was measured, whatever the configuration: one place holds one row."""

    dataset: str
    defense: str
    decider: str
    attack: str
    norm: str
    epsilon: float
    threat_model: str
    metric: str
    seed: int
    settings: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One number, what it was measured on, and how long that took.

    Args:
        dataset: Name of the data set.
        defense: Registry key of the defense, or ``"none"``.
        decider: Who decided: ``"target"`` (one classifier), ``"mean_voter"``, ``"vote"``,
            ``"vote_bayes"``, ``"class_means"`` (the nearest mean training image), or ``"none"``
            where nothing is decided.
        attack: Registry key of the attack, or ``"none"``.
        norm: ``"linf"`` or ``"l2"``; empty on clean images.
        epsilon: Attack budget on images in [0, 1]; 0 on clean images, 1 for an attack without one.
        threat_model: What the attacker knows; ``"none"`` on clean images.
        metric: ``"accuracy"`` (a fraction), ``"l1"``, ``"l2"``, ``"seconds"``, ...
        value: The number.
        correct: Number of right decisions, or None where nothing is counted.
        total: Number of decisions, or None.
        seed: Seed of the evaluation.
        settings: What else tells the measurement apart; numbers may be given as text.
        flags: Warnings, stored sorted.
        config_hash: Hash of the configuration behind the number.
        seconds: Wall-clock time spent on it.

    Raises:
        ValueError: If a field is missing, out of range, or contradicts another.
    """

    dataset: str
    defense: str
    decider: str
    attack: str
    norm: str
    epsilon: float
    threat_model: str
    metric: str
    value: float
    correct: int | None = None
    total: int | None = None
    seed: int = 0
    settings: Mapping[str, Setting] = dataclasses.field(default_factory=dict)
    flags: tuple[str, ...] = ()
    config_hash: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in ("defense", "attack", "config_hash"):
            text = getattr(self, name)
            if text == "" and name == "config_hash":
                continue
            if not isinstance(text, str) or not _TOKEN.fullmatch(text):
                raise ValueError(
                    f"Expected {name} to be a word of letters, digits and _ . + : / -, received "
                    f"{text!r}. Pass the name that rows are to carry."
                )
        for name, known in VOCABULARY.items():
            check_choice(f"{name} of a row", getattr(self, name), known)
        if not isinstance(self.settings, Mapping):
            raise ValueError(
                f"Expected settings as a mapping of names to values, received {self.settings!r}. "
                "Pass a dictionary such as {'target': 'A'}."
            )
        names = _words("the names of settings", self.settings)
        canonical: dict[str, object] = {
            "settings": {name: typed(self.settings[name]) for name in names},
            "flags": tuple(_words("flags", self.flags)),
            # -0.0 becomes 0.0, as equal places need equal bytes.
            "epsilon": 0.0 + check_number("epsilon of a row", self.epsilon, at_least=0),
            "value": 0.0 + check_number("value of a row", self.value, at_least=0),
            "seconds": 0.0 + check_number("seconds of a row", self.seconds, at_least=0),
            "seed": check_integer("seed of a row", self.seed, at_most=LARGEST_SEED, such_as=0),
        }
        if (self.correct is None) != (self.total is None):
            raise ValueError(
                "Expected correct and total together or neither, received "
                f"correct={self.correct}, total={self.total}. Pass both counts."
            )
        if self.total is not None:
            total = check_integer("total of a row", self.total, at_least=1)
            canonical["correct"] = check_integer("correct of a row", self.correct, at_most=total)
            canonical["total"] = total
        for name, value in canonical.items():
            object.__setattr__(self, name, value)
        for name in ("draws", "voters", "images"):
            check_integer(f"the setting {name}", self.settings.get(name, 1), at_least=1)
        self._check_numbers()
        self._check_attack()

    def __hash__(self) -> int:
        return hash((self.place, self.config_hash))

    def _check_numbers(self) -> None:
        if self.norm == "linf" and self.epsilon > 1:
            raise ValueError(
                f"Expected an epsilon in [0, 1] in the norm linf, received {self.epsilon}. Images "
                "are in [0, 1]; divide a budget in grey levels by 255."
            )
        if self.metric in SHARES and self.value > 1:
            raise ValueError(
                f"Expected {self.metric} as a fraction in [0, 1], received {self.value}. Divide "
                "percentages by 100."
            )
        if self.correct is None or self.total is None or self.metric != "accuracy":
            return
        if abs(self.value - self.correct / self.total) > 1e-6:
            raise ValueError(
                f"Expected an accuracy of correct / total, received value={self.value}, "
                f"correct={self.correct}, total={self.total}. A mean over voters pools their "
                "counts: total is voters times images."
            )
        object.__setattr__(self, "value", self.correct / self.total)

    def _check_attack(self) -> None:
        clean = (self.attack == "none", self.epsilon == 0, not self.norm)
        if any(clean) != all(clean) or (self.attack == "none") != (self.threat_model == "none"):
            raise ValueError(
                "Expected clean images to have the attack 'none', epsilon 0, no norm and the "
                "threat model 'none', and attacked ones to have all four, received attack="
                f"{self.attack!r}, epsilon={self.epsilon}, norm={self.norm!r}, threat_model="
                f"{self.threat_model!r}."
            )

    @property
    def place(self) -> Place:
        """What was measured: all but the numbers, the flags, the time and the configuration."""
        fields = {name: getattr(self, name) for name in Place._fields}
        return Place(**{**fields, "settings": settings_text(self.settings)})

    @property
    def distinct_images(self) -> int | None:
        """How many different images stand behind the counts, or None without counts.

        Voters and repeated draws of a random defense judge the same images.
        """
        if self.total is None:
            return None
        if "images" in self.settings:
            return int(self.settings["images"])
        repeats = int(self.settings.get("draws", 1))
        if self.decider == "mean_voter":
            repeats *= int(self.settings.get("voters", 1))
        return self.total // repeats if self.total % repeats == 0 else self.total

    def get(self, name: str) -> Any:
        """A field or a setting by its name; None if the row does not carry it."""
        return getattr(self, name) if name in FIELDS else self.settings.get(name)


#: The columns of a file of rows, in order.
COLUMNS: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(Row))
FIELDS = frozenset(COLUMNS) - {"settings", "flags"}


def typed(value: object) -> Setting:
    """A setting as what it is: ``"True"`` is a bool, ``"0.10"`` and ``0.1`` the same number.

    Returns:
        A bool, an int (also for whole floats), a float or a word.

    Raises:
        ValueError: If it is of another type, not finite, or no single word.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        number = check_number("a setting", value)
        return int(value) if value == int(value) else number
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise ValueError(
            "Expected a setting to be a bool, a number or a word of letters, digits and "
            f"_ . + : / -, received {value!r}. Pass one of these."
        )
    if value in ("True", "False"):
        return value == "True"
    if value.lower() in ("true", "false"):
        raise ValueError(
            f"Expected a setting to be True or False, received {value!r}. Pass one of the two."
        )
    return typed(float(value)) if _NUMBER.fullmatch(value) else value


def settings_text(settings: Mapping[str, Setting]) -> str:
    """Settings in their one spelling, ``name=value`` joined by ``;`` in the order of the names."""
    return ";".join(f"{name}={settings[name]!r}".replace("'", "") for name in sorted(settings))


def settings_from_text(text: str) -> dict[str, Setting]:
    """Reads what ``settings_text`` wrote.

    Raises:
        ValueError: If the text is not in its one spelling.
    """
    pairs = [token.partition("=") for token in text.split(";")] if text else []
    settings = {name: typed(value) for name, _, value in pairs}
    if settings_text(settings) != text:
        raise ValueError(
            "Expected settings as sorted name=value joined by ';', numbers in their shortest "
            f"form, received {text!r}. Write {settings_text(settings)!r}."
        )
    return settings


def _words(what: str, words: Iterable[str]) -> list[str]:
    """Words sorted, each once."""
    if isinstance(words, str) or not isinstance(words, Iterable):
        raise ValueError(
            f"Expected several {what}, received the {type(words).__name__} {words!r}. Pass a tuple "
            "of words."
        )
    found = list(words)
    for word in found:
        if not isinstance(word, str) or not _NAME.fullmatch(word) or word in COLUMNS:
            raise ValueError(
                f"Expected {what} to be words and no columns, received {word!r}. Choose another "
                "name of letters, digits and _."
            )
    return sorted(set(found))
