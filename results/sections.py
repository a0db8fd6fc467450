"""Which figure and which table the rows of an experiment make.

The rows decide: accuracy over several epsilons is an accuracy figure, L1 or L2 over epsilons a
distance figure, and so on, so a new experiment needs no entry here. Only the PuVAE paper's, which
have one epsilon each, are known by their identifiers.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable

from results import comparison_tables, puvae_tables, tables
from results.labels import ATTACK_LABELS, DATASET_LABELS, FEATURE_METRICS, VOTING_METRICS
from results.row import Row, qualifiers
from results.selection import companions, main_defense

_SUBJECTS = {
    "accuracy": "{attack} on {dataset}",
    "distance": "Distance to the clean image under {attack}, {dataset}",
    "voting": "Collective voting under {attack}, {dataset}",
    "sweep": "Weight of the KL term, {dataset}",
    "reconstruction": "Distance of clean reconstructions, {dataset}",
    "filtered": "Clean accuracy after filtering, {dataset}",
    "features": "Features under {attack}, {dataset}",
    "defenses": "Defenses compared, {dataset}",
    "knowledge": "PuVAE, known to the attacker or not, {dataset}",
    "seconds": "Seconds for a batch, {dataset}",
    "time": "Accuracy against time, {dataset}",
    "coefficients": "Weights of PuVAE's losses, {dataset}",
}
#: The PuVAE paper's kinds by experiment, and the metrics that they show.
_KNOWN = {
    **{f"004.T{number}": "defenses" for number in range(3, 7)},
    "004.T7": "seconds",
    "004.F7": "coefficients",
    "004.F8": "knowledge",
    "004.F9": "time",
}
_METRICS = {"seconds": ("seconds", "seconds_floor"), "time": ("seconds", "accuracy")}
#: Kinds whose rows are of clean images only.
_CLEAN = ("sweep", "reconstruction", "filtered")
_TABLES: dict[str, Callable[[list[Row]], str]] = {
    "distance": tables.distance_table,
    "voting": tables.voting_table,
    "sweep": tables.sweep_table,
    "reconstruction": comparison_tables.reconstruction_table,
    "filtered": comparison_tables.filtered_table,
    "features": comparison_tables.feature_table,
    "defenses": puvae_tables.defense_table,
    "knowledge": puvae_tables.knowledge_table,
    "seconds": puvae_tables.seconds_table,
    "time": puvae_tables.time_table,
    "coefficients": puvae_tables.coefficient_table,
}


@dataclasses.dataclass(frozen=True)
class Section:
    """One figure's worth of rows.

    Args:
        stem: `<experiment>_<dataset>`, the figure's file name without ending; with the kind or
            attack added where one name would serve several.
        kind: `"accuracy"`, `"distance"`, `"voting"`, `"sweep"`, `"reconstruction"`, `"filtered"`,
            `"features"`, `"defenses"`, `"knowledge"`, `"seconds"`, `"time"` or `"coefficients"`.
        title: What it is about.
        rows: What it shows.
        main: The defense that it is about, if it compares several.
    """

    stem: str
    kind: str
    title: str
    rows: tuple[Row, ...]
    main: str | None = None

    def table(self) -> str:
        """Its numbers as Markdown."""
        if self.kind == "accuracy":
            return tables.accuracy_table(self.rows, self.main)
        return _TABLES[self.kind](list(self.rows))


def kind_of(row: Row) -> str | None:
    """The kind of figure a row belongs into.

    Args:
        row: The row.

    Returns:
        The kind, or None for a row that no figure shows.
    """
    if row.experiment in _KNOWN:
        known = _KNOWN[row.experiment]
        return known if row.metric in _METRICS.get(known, ("accuracy",)) else None
    metric = row.metric.removesuffix("_standard_error")
    unattacked = row.attack == "none" and row.threat_model == "none"
    if metric == "accuracy":
        return "filtered" if unattacked else "accuracy"
    if metric in VOTING_METRICS:
        return "voting"
    if metric in FEATURE_METRICS:
        return "features"
    if metric in ("l1", "l2"):
        if "kl_weight" in qualifiers(row):
            return "sweep"
        return "reconstruction" if unattacked and metric == "l1" else "distance"
    return None


def sections(rows: Iterable[Row]) -> list[Section]:
    """The figures that rows make.

    Args:
        rows: Rows of a profile.

    Returns:
        Sections in the order of experiments (F3.9 before F3.10) and data sets. Clean accuracies
        alone make no curve and so no section. An accuracy figure shows the rows of its
        `selection.companions` too.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        kind = kind_of(row)
        if kind:
            groups.setdefault((row.experiment, row.dataset, kind), []).append(row)
    kinds: dict[tuple[str, str], set[str]] = {}
    for experiment, dataset, kind in groups:
        kinds.setdefault((experiment, dataset), set()).add(kind)
    found = []
    for experiment, dataset, kind in sorted(groups, key=lambda name: _order(*name)):
        stem = f"{experiment}_{dataset}"
        if len(kinds[experiment, dataset]) > 1:
            stem += f"_{kind}"
        found += _by_attack(stem, kind, experiment, groups[experiment, dataset, kind])
    return [_joined(section, groups) for section in found]


def _joined(section: Section, groups: dict[tuple[str, str, str], list[Row]]) -> Section:
    """With the rows that other experiments measured for the same figure."""
    first = section.rows[0]
    if section.kind != "accuracy":
        return section
    attacked = {(r.attack, r.threat_model) for r in section.rows if r.attack != "none"}
    further = [
        row
        for name in companions(first.experiment)[1:]
        for row in groups.get((name, first.dataset, "accuracy"), [])
        if (row.attack, row.threat_model) in attacked
    ]
    main = main_defense(first.experiment)
    return dataclasses.replace(section, rows=(*section.rows, *further), main=main)


def _by_attack(stem: str, kind: str, experiment: str, rows: list[Row]) -> list[Section]:
    clean = [row for row in rows if row.attack == "none"]
    parts: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.attack != "none":
            parts.setdefault((row.attack, row.threat_model), []).append(row)
    if kind in _CLEAN:
        clean, parts = [], {("none", "none"): clean}
    elif kind in _KNOWN.values():
        clean, parts = [], {("", ""): rows}
    found = []
    for (attack, threat_model), part in sorted(parts.items()):
        title = _SUBJECTS[kind].format(
            attack=ATTACK_LABELS.get(attack, attack),
            dataset=DATASET_LABELS.get(part[0].dataset, part[0].dataset),
        )
        suffix = f"_{attack}_{threat_model}" if len(parts) > 1 else ""
        shown = tuple(clean + part)
        found.append(Section(f"{stem}{suffix}", kind, f"{title} ({experiment})", shown))
    return found


def _order(experiment: str, dataset: str, kind: str) -> tuple:
    parts = re.split(r"(\d+)", experiment)
    return [int(part) if part.isdigit() else part for part in parts], dataset, kind
