"""The zoo: trained models as single ``.keras`` files, each with a card that says what it is.

``results/zoo/<dataset>/`` holds the purifiers, the targets they were measured with and the
classifiers behind them. A card (``.json``) has the recipe, the file's SHA-256 and, for a purifier,
every number measured of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from experiments import reproducibility
from experiments.artifacts import (
    check_hash,
    file_hash,
    load_keras_model,
    write_atomically,
    write_json,
)
from results.rows import Row, qualifier, qualifiers

if TYPE_CHECKING:
    from experiments.evaluation import Study

ZOO = Path(__file__).resolve().parents[1] / "results" / "zoo"
_METRICS = ("accuracy", "l1", "l2")
_COLUMNS = (
    "experiment", "attack", "threat_model", "epsilon", "decided_by", "setting", "metric",
)  # fmt: skip
_SAID = {"target", "source", "retrained"}
"""Qualifiers of rows that a card averages over or says elsewhere."""
_LEFT_OUT = {"tables", "kl_weight", "reconstruction"}
"""Qualifiers of second readings of a row, and of models trained with other loss weights."""


class _Exhibit(NamedTuple):
    name: str
    kind: str
    recipe: dict[str, Any]
    model: Callable[[], keras.Model]


def names(dataset: str, folder: Path = ZOO) -> list[str]:
    """The models of one data set, sorted."""
    return sorted(path.stem for path in (folder / dataset).glob("*.keras"))


def load(dataset: str, name: str, folder: Path = ZOO) -> keras.Model:
    """Loads a model of the zoo in safe mode, after comparing it with its card.

    Args:
        dataset: what it was trained on, for example ``"cifar10"``.
        name: for example ``"sfl_vae"``, ``"target_A"`` or ``"sfl_vae_voter_0"``.
        folder: the zoo.

    Returns:
        A purifier (images to images) or a classifier (images to logits).

    Raises:
        ValueError: if there is no such model (the message lists those there are), or its file
            is damaged.
    """
    path = folder / dataset / f"{name}.keras"
    if not path.is_file():
        known = {d.name: names(d.name, folder) for d in sorted(folder.glob("*")) if d.is_dir()}
        raise ValueError(f"No model {name!r} for {dataset!r} in the zoo. There are: {known}.")
    card = _card(path.with_suffix(".json"))
    if "sha256" not in card:
        raise ValueError(
            f"The card {path.with_suffix('.json')} is missing or damaged. Restore it from version "
            "control, or publish the model again with run_all.py."
        )
    return load_keras_model(path, card["sha256"])


def find(dataset: str, recipe: Mapping[str, Any], folder: Path = ZOO) -> Path | None:
    """The file of the published model that was made from exactly this recipe, or ``None``.

    Args:
        dataset: what it was trained on.
        recipe: as the artifact store has it.
        folder: the zoo.

    Raises:
        ValueError: if its file is damaged.
    """
    wanted = reproducibility.stable_hash(recipe)
    for name in names(dataset, folder):
        path = folder / dataset / f"{name}.keras"
        card = _card(path.with_suffix(".json"))
        if card.get("recipe_hash") == wanted and "sha256" in card:
            check_hash(path, card["sha256"])
            return path
    return None


def publish(study: Study, folder: Path = ZOO) -> list[Path]:
    """Writes every trained model of a study with its card.

    A model of the same recipe that is there already is left as it is; its card is written
    anew only when more has been measured, or as much under another configuration.

    Args:
        study: whose models; those not trained yet are left out.
        folder: the zoo.

    Returns:
        The ``.keras`` files that were written.
    """
    published = []
    rows = study.rows.read()
    for exhibit in _exhibits(study):
        hidden = exhibit.name in study.plan.unpublished
        if hidden or not study.models.store.has(exhibit.kind, exhibit.recipe):
            continue
        path = folder / study.dataset / f"{exhibit.name}.keras"
        card_path = path.with_suffix(".json")
        recipe_hash = reproducibility.stable_hash(exhibit.recipe)
        behind = _rows_of(study, rows, exhibit.name)
        measured = _measured(behind)
        rows_hash = reproducibility.stable_hash(sorted({row.config_hash for row in behind}))
        known = _intact_card(path, card_path, recipe_hash)
        if known is not None and not _outdated(known, measured, rows_hash):
            continue
        if known is None:
            exhibit.model()  # mends it if it is damaged
            copy = partial(study.models.store.copy_model, exhibit.kind, exhibit.recipe)
            write_atomically(path, copy)
            published.append(path)
        card = {
            "name": exhibit.name,
            "dataset": study.dataset,
            "profile": study.profile.name,
            "recipe": reproducibility.plain(exhibit.recipe),
            "recipe_hash": recipe_hash,
            "sha256": file_hash(path),
            "rows_hash": rows_hash,
            "measured": measured,
        }
        write_json(card_path, card)
    return published


def _exhibits(study: Study) -> Iterator[_Exhibit]:
    """Every model that the plan does not keep to itself."""
    models, plan = study.models, study.plan
    purifiers = [name for name in plan.purifiers if name not in plan.unpublished]
    for name in purifiers:
        recipe = models.purifier_recipe(name)
        yield _Exhibit(name, "purifiers", recipe, partial(models.purifier, name))
    for name in plan.classifiers:
        recipe = models.target_recipe(name)
        yield _Exhibit(f"target_{name}", "targets", recipe, partial(models.target, name))
    for name in purifiers:
        for index in range(len(plan.pool(name))):
            recipe = models.voter_recipe(name, index)
            voter = partial(models.voter, name, index)
            yield _Exhibit(f"{name}_voter_{index}", "voters", recipe, voter)
        for target in plan.retrained:
            recipe = models.retrained_recipe(name, target)
            retrained = partial(models.retrained, name, target)
            yield _Exhibit(f"{name}_retrained_{target}", "retrained", recipe, retrained)


def _intact_card(path: Path, card_path: Path, recipe_hash: str) -> dict[str, Any] | None:
    """The card of this recipe beside an intact model; ``None`` if there is none."""
    card = _card(card_path)
    try:
        intact = card["recipe_hash"] == recipe_hash and card["sha256"] == file_hash(path)
    except (OSError, KeyError):
        return None
    return card if intact and isinstance(card.get("measured"), list) else None


def _outdated(card: Mapping[str, Any], measured: list[dict[str, object]], rows_hash: str) -> bool:
    """Whether a card lacks what has been measured, or was written from other measurements.

    Not if less has been measured: a run of one figure takes nothing from a card. Not if the same
    measurements gave slightly different numbers: they do on another machine.
    """
    more = len(measured) - len(card["measured"])
    return more > 0 or (more == 0 and card.get("rows_hash") != rows_hash)


def _card(path: Path) -> dict[str, Any]:
    """A card, or an empty one if it is missing or damaged."""
    try:
        card = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return card if isinstance(card, dict) else {}


def _measured(rows: Iterable[Row]) -> list[dict[str, object]]:
    """One entry per experiment, epsilon, decider, setting and metric: means over the targets."""
    groups: dict[tuple, list[float]] = {}
    for row in rows:
        decider = "target" if len(row.classifier) == 1 else row.classifier
        if qualifier(row, "retrained"):
            decider = f"retrained {decider}"
        given = qualifiers(row).items()
        setting = ";".join(f"{name}={value}" for name, value in given if name not in _SAID)
        where = (row.experiment, row.attack, row.threat_model, row.epsilon, decider, setting)
        groups.setdefault((*where, row.metric), []).append(row.value)
    return [
        {
            **{name: what for name, what in zip(_COLUMNS, key, strict=True) if what != ""},
            "value": round(float(np.mean(values)), 4),
        }
        for key, values in sorted(groups.items())
    ]


def _rows_of(study: Study, rows: Iterable[Row], name: str) -> list[Row]:
    """The rows of the purifier called `name` in the plan; none for a classifier."""
    config = study.plan.purifiers.get(name)
    if config is None:
        return []
    # Rows call purifiers that differ in their source classifier by one name. Each guards the
    # classifiers that it was not trained with.
    defense = config.name if config.source else name
    return [
        row
        for row in rows
        if (row.dataset, row.defense, row.seed) == (study.dataset, defense, study.seed)
        and row.metric in _METRICS
        and (not config.source or row.classifier != config.source)
        and not (_LEFT_OUT & qualifiers(row).keys())
    ]
