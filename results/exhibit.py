"""The words in which a paper declares its figures and tables.

An ``Exhibit`` is a query: which rows it shows, in which lines and columns, how they are drawn, and
how they are measured. It holds data and small functions only, so that a module of declarations
imports neither TensorFlow nor Matplotlib.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from results.row import DATASETS, VOCABULARY, Row
from validation import check_choice, check_flag, check_number

#: Okabe and Ito's palette without yellow, which is too light for a line on white.
PALETTE = {
    "black": "#000000",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
    "grey": "#9A9A9A",
}
#: What a reader sees in place of the names of data sets, attacks and threat models.
DATASET_LABELS = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "svhn_cropped": "SVHN",
    "digits": "digits",
}
ATTACK_LABELS = {
    "none": "no attack",
    "fgsm": "FGSM",
    "rand_fgsm": "RAND+FGSM",
    "bim": "BIM",
    "pgd": "PGD",
    "mi_fgsm": "MI-FGSM",
    "carlini_wagner": "Carlini–Wagner",
    "carlini_wagner_native": "Carlini–Wagner without a budget",
    "carlini_wagner_cleverhans": "Carlini–Wagner (CleverHans)",
    "targeted_fgsm": "targeted FGSM",
    "targeted_bim": "targeted iFGSM",
    "targeted_carlini_wagner": "targeted Carlini–Wagner",
    "pgd_7": "PGD, 7 steps",
    "pgd_40": "PGD, 40 steps",
    "carlini_wagner_confident": "Carlini–Wagner with a margin, without a budget",
    "carlini_wagner_longest": "Carlini–Wagner, its longest search, without a budget",
    "apgd_ce": "APGD, cross-entropy",
    "apgd_dlr": "APGD, difference of logits",
    "square": "Square",
    "square_5": "Square, 5 starts",
    "spsa": "SPSA",
    "worst_of_all": "the worst of all, image by image",
}
THREAT_LABELS = {
    "oblivious": "oblivious: the attacker ignores the defense, so this is not robustness",
    "transfer": "transfer: the attacker knows only a substitute trained apart",
    "mixed": "mixed: half oblivious on the target, half transfer from substitutes",
    "framework": "framework: the attacker differentiates through purifier and one classifier",
    "framework_transfer": "framework transfer: the attacker differentiates through the purifier "
    "and another classifier than the one that decides",
    "adaptive": "adaptive: the attacker knows and differentiates through everything",
    "score": "score: the attacker sees the outputs of the defended classifier only",
    "bpda": "BPDA: the attacker takes the purifier's gradient for that of the identity",
}


#: Of a profile in which an attack through a purifier is made for each decider.
_AIMED = "framework: the attacker differentiates through purifier and what decides behind it"
#: What rows name in place of an attack where an image counts only if it survives several.
WORST_OF_ALL = "worst_of_all"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class _Carried:
    """Stands in a ``where`` for "the row carries this setting", whatever its value, or does not."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


ABSENT, PRESENT = _Carried("ABSENT"), _Carried("PRESENT")

Where = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""Conditions on rows: every field or setting has the value, or one of a tuple of values, or is
``ABSENT`` or ``PRESENT``. Several mappings are alternatives."""


def alternatives(where: Where) -> Sequence[Mapping[str, Any]]:
    """Conditions as a list of mappings, one of which a row has to meet."""
    return [where] if isinstance(where, Mapping) else where


def check_where(what: str, where: Where) -> None:
    """Checks conditions, so that a misspelt word is no condition that nothing meets.

    Raises:
        ValueError: If they are no mapping or sequence of mappings, several values are no tuple, or
            a value is none that its field can have.
    """
    several = isinstance(where, Sequence) and not isinstance(where, str | bytes)
    if not isinstance(where, Mapping) and not several:
        raise ValueError(
            f"Expected conditions of {what} as a mapping or several, received {where!r}. Pass, "
            "say, {'attack': 'pgd'}."
        )
    for one in alternatives(where):
        if not isinstance(one, Mapping) or not all(isinstance(name, str) for name in one):
            raise ValueError(
                f"Expected conditions of {what} by the names of fields and settings, received "
                f"{one!r}. Pass, say, {{'attack': 'pgd'}}."
            )
        for name, wanted in one.items():
            if isinstance(wanted, list | set | frozenset | Mapping) or wanted is None:
                raise ValueError(
                    f"Expected {name} in the conditions of {what} as a value or a tuple of them, "
                    f"received {wanted!r}. Pass a tuple, or ABSENT for what rows do not carry."
                )
            for value in wanted if isinstance(wanted, tuple) else (wanted,):
                if name in VOCABULARY and value is not ABSENT and value is not PRESENT:
                    check_choice(f"{name} in the conditions of {what}", value, VOCABULARY[name])


def _check_text(what: str, value: Any) -> None:
    if not isinstance(value, str):
        raise ValueError(f"Expected {what} as a text, received {value!r}. Pass a text.")


def _check_parts(what: str, values: Any, *kinds: type) -> None:
    """Several things of some kinds; a text is one thing, and so is what misses its comma."""
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise ValueError(
            f"Expected {what} as a tuple, received {values!r}. Pass a tuple, (one,) for one alone."
        )
    for value in values:
        if not isinstance(value, kinds):
            names = " or ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"Expected each of {what} as {names}, received {value!r}. Pass one.")


def matches(row: Row, where: Where) -> bool:
    """Whether a row meets conditions."""
    return any(
        all(_meets(row.get(name), wanted) for name, wanted in one.items())
        for one in alternatives(where)
    )


def _meets(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, tuple):
        return any(_meets(value, one) for one in wanted)
    if wanted is ABSENT or wanted is PRESENT:
        return (value is None) == (wanted is ABSENT)
    return value == wanted


class Look(NamedTuple):
    """How a line is drawn: colour, marker and dashes of a curve, colour and hatch of bars."""

    color: str
    marker: str = "o"
    dashes: str | tuple = "-"
    hatch: str = ""
    light: bool = False
    """Thin and without a band, where others are to stand out."""


@dataclasses.dataclass(frozen=True, eq=False)
class Line:
    """A row of a table, a column, a panel, a curve or a group of bars: a label and its rows.

    Args:
        label: What a reader sees; ``{name}`` is filled in from the rows (``"{voters} voters"``).
        where: The rows behind it.
        look: How it is drawn; None takes the next of a cycle.
        cell: How its cells are written where that differs from the exhibit's other lines.
    """

    label: str
    where: Where = dataclasses.field(default_factory=dict)
    look: Look | None = None
    cell: Callable[[Any], str] | None = None

    def __post_init__(self) -> None:
        _check_text("the label of a line", self.label)
        check_where(f"the line {self.label!r}", self.where)

    def under(self, label: str | None = None, **conditions: Any) -> Line:
        """This line under further conditions, which replace those of the same name."""
        where = [{**one, **conditions} for one in alternatives(self.where)]
        return dataclasses.replace(
            self,
            label=self.label if label is None else label,
            where=where[0] if len(where) == 1 else where,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Axis:
    """One ``Line`` for each value, or each combination of values, that the rows have.

    Args:
        fields: A field or setting, or several.
        label: Label of a line, filled in from its values, or a function of them.
        where: Only rows that match.
        without: Values of the first field that get no line.
        order: Sorts the values (each a tuple, one entry for each field); None takes their own
            order.
        looks: Looks of the lines in their order; further ones take a cycle.
    """

    fields: str | tuple[str, ...]
    label: str | Callable[..., str]
    where: Where = dataclasses.field(default_factory=dict)
    without: tuple[Any, ...] = ()
    order: Callable[[tuple], Any] | None = None
    looks: Sequence[Look] = ()

    def __post_init__(self) -> None:
        _check_parts("the fields of an axis", self.names, str)
        if not self.names or "" in self.names:
            raise ValueError(
                f"Expected at least one field of an axis, received {self.fields!r}. Name one."
            )
        check_where(f"the axis {self.fields!r}", self.where)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields as a tuple."""
        return (self.fields,) if isinstance(self.fields, str) else self.fields

    def words(self, values: tuple) -> str:
        """The label of the line of some values."""
        if not isinstance(self.label, str):
            return self.label(*values)
        return self.label.format(*values, **dict(zip(self.names, values, strict=True)))


@dataclasses.dataclass(frozen=True, eq=False)
class Derived:
    """A column, or a line, of texts made from others: rank, loss, cost of knowledge.

    Args:
        label: Its heading.
        text: Called with the ``sheet.Sheet`` and where the text stands: the ``sheet.SheetLine`` of
            a derived column, the column of a derived line.
    """

    label: str
    text: Callable[[Any, Any], str]


class Mark(NamedTuple):
    """A printed value in a figure of curves: a point, a level (no x) or a place (no y).

    Both are read off the axes: ``y`` is in percent where values are drawn in percent.
    """

    label: str
    x: float | None
    y: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curves:
    """A curve for each line over a numeric axis, a panel for each of the exhibit's panels.

    Args:
        axis: The field or setting of the columns that stands on the x-axis.
        xlabel: Name of the x-axis.
        ylabel: Name of the y-axis; it stands behind the labels of the panels where there are
            several.
        percent: Whether values are fractions, drawn from 0 to 100.
        logarithmic: Whether the x-axis is.
        unit: What the numbers of the x-axis are multiples of, such as 1/255.
        spread: Factor between the peaks of the lines of a panel beyond which its y-axis is
            logarithmic; None for never.
        transposed: Whether the columns of the table are the curves, and ``axis`` is of its lines.
        marks: Printed values by data set.
    """

    axis: str = "epsilon"
    xlabel: str = "ε, largest change of a pixel (images in [0, 1])"
    ylabel: str = "accuracy (%)"
    percent: bool = True
    logarithmic: bool = False
    unit: float = 1.0
    spread: float | None = None
    transposed: bool = False
    marks: Callable[[str], Sequence[Mark]] = lambda dataset: ()

    def __post_init__(self) -> None:
        for name in ("percent", "logarithmic", "transposed"):
            check_flag(f"{name} of curves", getattr(self, name))
        check_number("unit of curves", self.unit, above=0)
        if self.spread is not None:
            check_number("spread of curves", self.spread, above=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bars:
    """A group of bars for each line, a bar for each column, a panel for each panel.

    Args:
        ylabel: Name of the y-axis.
        percent: Whether values are fractions, drawn from 0 to 100.
        numbers: Whether each bar carries its value.
    """

    ylabel: str = "accuracy (%)"
    percent: bool = True
    numbers: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dots:
    """A line of dots with intervals for each line, for differences too small for bars.

    Args:
        xlabel: Name of the x-axis.
        level: Label of the line and of the column whose value is drawn as a level through all.
    """

    xlabel: str
    level: tuple[str, str] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scatter:
    """Each line a path of points: one column gives x, each other a path of its own.

    Lines of one look are one path, which bears the name before their first comma. The level of a
    single point goes on to the end of the axis.

    Args:
        x: Label of the column on the x-axis, which is logarithmic.
        xlabel: Name of the x-axis.
        ylabel: Name of the y-axis, in percent.
        limit: A place on the x-axis that is marked, with its label.
        point: What stands at each point of a path of several, filled in from its settings.
    """

    x: str
    xlabel: str
    ylabel: str = "accuracy (%)"
    limit: tuple[str, float] | None = None
    point: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictures:
    """A grid of the images that a probe kept beside the rows, ``<id>_<dataset>.npz``."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clouds:
    """A grid of clouds of points by class, kept in a file of the same name."""


#: Drawn from a file that a probe kept beside the rows, and not from the rows.
KEPT = (Pictures, Clouds)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Accuracies to measure: every combination that a profile has.

    Args:
        threat: What the attacker knows; ``"none"`` for clean images alone.
        attacks: Names of the profile's attacks; ``"none"`` gives the clean images.
        epsilons: Budgets in [0, 1], or the name of one of the profile's sets of budgets, or either
            by data set (``""`` for all that are not named). Attacks without a budget ignore it.
        targets: Classifiers that are attacked and decide.
        defenses: Registry keys of defenses, ``"none"`` for the bare classifier.
        deciders: Who decides behind a purifier; each defense takes those that it has.
        compared: Whether further purifiers that a profile compares are measured too.
        surrogates: How an adaptive attacker gets past a choice inside a purifier; each is measured,
            and the worst of them image by image.
        worst: Whether the worst over all attacks of one budget is measured too, image by image; its
            rows carry the attack ``WORST_OF_ALL``.
        fair: Whether only a profile measures it that asks for fair comparisons.
    """

    threat: str
    attacks: tuple[str, ...]
    targets: tuple[str, ...]
    epsilons: Any = ()
    defenses: tuple[str, ...] = ("none",)
    deciders: tuple[str, ...] = ("target",)
    compared: bool = False
    surrogates: tuple[str, ...] = ()
    worst: bool = False
    fair: bool = False

    def __post_init__(self) -> None:
        for name in ("attacks", "targets", "defenses", "deciders", "surrogates"):
            _check_parts(f"{name} of a grid", getattr(self, name), str)
            if not getattr(self, name) and name != "surrogates":
                raise ValueError(
                    f"Expected {name} of a grid, received none, so it would measure nothing. Name "
                    "at least one."
                )
        check_flag("compared of a grid", self.compared)
        check_flag("worst of a grid", self.worst)
        check_flag("fair of a grid", self.fair)


@dataclasses.dataclass(frozen=True)
class Probe:
    """Anything else to measure: a function of ``experiments.probes`` by name, and its settings.

    Args:
        name: Name of the function.
        settings: Its arguments.
        fair: As of a ``Grid``.
    """

    name: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fair: bool = False

    def __post_init__(self) -> None:
        check_flag("fair of a probe", self.fair)
        _check_text("the name of a probe", self.name)
        if not isinstance(self.settings, Mapping):
            raise ValueError(
                f"Expected settings of the probe {self.name!r} by name, received "
                f"{self.settings!r}. Pass a dictionary."
            )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Exhibit:
    """One figure or table of a paper.

    Args:
        id: The paper's number, then F for a figure or T for a table: ``"003.F3.6"``.
        title: What it shows.
        datasets: Data sets that it is measured on; ``digits`` stands in for any.
        measures: What is measured for it.
        where: The rows it shows.
        corner: Heading of the column of labels.
        panels: Parts with the same columns: panels of a figure, blocks of a table.
        joint: What stands between the labels of panel and line in a table.
        lines: Lines of the table.
        columns: Columns of the table.
        cell: How a point is written, see ``results.markdown``.
        printed: Values as printed (numbers, or their spelling; accuracies in percent), by the
            labels of line and column (as declared), of a data set.
        bracketed: Whether printed values stand in brackets behind the measured ones; else only
            figures show them.
        draw: How it is drawn, or None for a table alone.
        notes: Texts under the table, made from the sheet.
        caveat: One sentence under the figure that a reader needs to understand it, or a function
            that makes it from the rows shown.
        repeats: Ids of which this one is a copy; they are measured in its place.
        note: Why nothing is measured.

    Raises:
        ValueError: If the id is none, or a part is of another kind or speaks of what no row can
            have.
    """

    id: str
    title: str
    datasets: tuple[str, ...] = ()
    measures: tuple[Grid | Probe, ...] = ()
    where: Where = dataclasses.field(default_factory=dict)
    corner: str = ""
    panels: Sequence[Line] = (Line(""),)
    joint: str = ", "
    lines: Sequence[Line | Axis | Derived] = ()
    columns: Sequence[Line | Axis | Derived] = ()
    cell: Callable[[Any], str] | None = None
    printed: Callable[[str], Mapping[tuple[str, str], float | str]] = lambda dataset: {}
    bracketed: bool = False
    draw: Curves | Bars | Dots | Scatter | Pictures | Clouds | None = None
    notes: Sequence[Callable[[Any], str]] = ()
    caveat: str | Callable[[Sequence[Row]], str] = ""
    repeats: tuple[str, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not _ID.fullmatch(self.id):
            raise ValueError(
                "Expected the id of an exhibit as letters, digits and . _ - (it names files), "
                f"received {self.id!r}. Write, say, '003.F3.6'."
            )
        _check_text(f"the title of {self.id}", self.title)
        _check_parts(f"datasets of {self.id}", self.datasets, str)
        for name in self.datasets:
            check_choice(f"a data set of {self.id}", name, DATASETS)
        check_where(self.id, self.where)
        _check_parts(f"measures of {self.id}", self.measures, Grid, Probe)
        _check_parts(f"panels of {self.id}", self.panels, Line)
        _check_parts(f"lines of {self.id}", self.lines, Line, Axis, Derived)
        _check_parts(f"columns of {self.id}", self.columns, Line, Axis, Derived)
        _check_parts(f"repeats of {self.id}", self.repeats, str)
        if not isinstance(self.draw, Curves | Bars | Dots | Scatter | Pictures | Clouds | None):
            raise ValueError(
                f"Expected {self.id} drawn as Curves, Bars, Dots, Scatter, Pictures, Clouds or "
                f"None, received {self.draw!r}. Build one of these."
            )

    @property
    def implemented(self) -> bool:
        """Whether something is measured for it."""
        return bool(self.measures)

    def applies_to(self, dataset: str) -> bool:
        """Whether it is measured on a data set; ``digits`` stands in for any."""
        return dataset == "digits" or dataset in self.datasets

    def caveat_of(self, rows: Sequence[Row]) -> str:
        """The sentence under the figure of some rows."""
        return self.caveat if isinstance(self.caveat, str) else self.caveat(rows)

    def joined(self, *labels: str) -> str:
        """The labels of panel and line as one, empty ones left out."""
        return self.joint.join(filter(None, labels))


def known_first(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Different names in the order of the known ones; unknown ones stand last, by name."""
    places = {name: place for place, name in enumerate(known)}
    return sorted(set(names), key=lambda name: (places.get(name, len(places)), name))


def threat_words(names: Iterable[str], rows: Iterable[Row] = ()) -> str:
    """What attackers know, in the order of ``THREAT_LABELS``; unknown names as they are.

    Args:
        names: The threat models.
        rows: What was measured under them; it may say that each decider was attacked itself.
    """
    labels = dict(THREAT_LABELS)
    if any(row.get("aimed") is not None for row in rows):
        labels["framework"] = _AIMED
    return "; ".join(labels.get(name, name) for name in known_first(names, labels))
