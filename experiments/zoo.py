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
from results.rows import Row, qualifier

if TYPE_CHECKING:
    from experiments.evaluation import Study

ZOO = Path(__file__).resolve().parents[1] / "results" / "zoo"


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
    anew only when more has been measured.

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
        measured = _measured(study, rows, exhibit.name)
        known = _measured_before(path, card_path, recipe_hash)
        if known is not None and known >= len(measured):
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


def _measured_before(path: Path, card_path: Path, recipe_hash: str) -> int | None:
    """How many numbers an intact card of this recipe holds; ``None`` if there is none."""
    card = _card(card_path)
    try:
        intact = card["recipe_hash"] == recipe_hash and card["sha256"] == file_hash(path)
        return len(card["measured"]) if intact else None
    except (OSError, KeyError, TypeError):
        return None


def _card(path: Path) -> dict[str, Any]:
    """A card, or an empty one if it is missing or damaged."""
    try:
        card = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return card if isinstance(card, dict) else {}


def _measured(study: Study, rows: Iterable[Row], name: str) -> list[dict[str, object]]:
    """One entry per experiment, epsilon, decider and metric: means over the targets."""
    groups: dict[tuple, list[float]] = {}
    for row in rows:
        if (row.dataset, row.defense, row.seed) != (study.dataset, name, study.seed):
            continue
        decider = "target" if len(row.classifier) == 1 else row.classifier
        if qualifier(row, "retrained"):
            decider = f"retrained {decider}"
        if "tables=" in row.flags or row.metric not in ("accuracy", "l1", "l2"):
            continue
        key = (row.experiment, row.attack, row.threat_model, row.epsilon, decider, row.metric)
        groups.setdefault(key, []).append(row.value)
    columns = ("experiment", "attack", "threat_model", "epsilon", "decided_by", "metric")
    return [
        {**dict(zip(columns, key, strict=True)), "value": round(float(np.mean(values)), 4)}
        for key, values in sorted(groups.items())
    ]
