"""Publishes trained models in the zoo, each with a card of what was measured of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import keras

from experiments import reproducibility
from experiments.measure import NOT_ATTACKED, Study
from experiments.model_files import file_hash
from experiments.zoo import ZOO, read_card
from results.files import write_atomically
from results.row import Row

_METRICS = ("accuracy", "l1", "l2")
_FIELDS = ("attack", "norm", "epsilon", "threat_model", "decider", "metric")
_LEFT_OUT = {"tables", "kl_weight", "sfl_weight", "reconstruction", "split", "steps"}
"""Settings of second readings of a row, of models trained with other loss weights, and of images
that are no test images."""
_THROUGH = ("framework", "adaptive")
"""Threat models that say whether a purifier holds against an attacker who knows it."""
_WORST = "worst of several draws"
"""What an attacker gets who sends one image to a random purifier until it errs."""


class _Published(NamedTuple):
    name: str
    kind: str
    recipe: dict[str, Any]
    model: Callable[[], keras.Model]


def publish(study: Study, folder: Path = ZOO) -> list[Path]:
    """Writes every trained model of a study with its card.

    A model of the same recipe that is there already is left as it is; its card is written
    anew only when more has been measured, or as much under another configuration.

    Args:
        study: Whose models; those not trained yet are left out.
        folder: The zoo.

    Returns:
        The ``.keras`` files that were written.
    """
    written = []
    rows = study.rows.read() if study.rows.has_any() else []
    for published in _models(study):
        path = folder / study.dataset / f"{published.name}.keras"
        card_path = path.with_suffix(".json")
        recipe_hash = reproducibility.stable_hash(published.recipe)
        behind = _rows_of(study, rows, published.name)
        measured = _measured(behind)
        rows_hash = reproducibility.stable_hash(sorted({row.config_hash for row in behind}))
        known = _intact_card(path, card_path, recipe_hash)
        there = known is not None or study.models.store.has(published.kind, published.recipe)
        if published.name in study.plan.unpublished or not there:
            continue
        if known is not None and not _outdated(known, measured, rows_hash):
            continue
        if known is None:
            published.model()  # mends it if it is damaged
            copy = partial(study.models.store.copy_model, published.kind, published.recipe)
            write_atomically(path, copy)
            written.append(path)
        card = {
            "name": published.name,
            "dataset": study.dataset,
            "profile": study.profile.name,
            "recipe": reproducibility.plain(published.recipe),
            "recipe_hash": recipe_hash,
            "sha256": file_hash(path),
            "rows_hash": rows_hash,
            "measured": measured,
        }
        if published.kind == "purifiers":
            found = {row.threat_model for row in behind}
            missing = [name for name in _THROUGH if name not in found]
            card["not_measured"] = missing + [_WORST] * published.model().is_stochastic
        write_atomically(card_path, _card_text(card).encode())
    return written


def _models(study: Study) -> Iterator[_Published]:
    """Every model that the plan does not keep to itself."""
    models, plan = study.models, study.plan
    purifiers = [name for name in plan.purifiers if name not in plan.unpublished]
    for name in (*purifiers, *plan.variants):
        recipe = models.purifier_recipe(name)
        yield _Published(name, "purifiers", recipe, partial(models.purifier, name))
    for name in plan.classifiers:
        recipe = models.target_recipe(name)
        yield _Published(f"target_{name}", "targets", recipe, partial(models.target, name))
    learning = plan.classifiers if plan.substitute else ()
    for name in (name for name in learning if name not in plan.surrogates):
        recipe = models.substitute_recipe(name)
        learnt = partial(models.substitute, name)
        yield _Published(f"substitute_of_{name}", "substitutes", recipe, learnt)
    for name in purifiers:
        for index in range(len(plan.pool(name))):
            recipe = models.voter_recipe(name, index)
            voter = partial(models.voter, name, index)
            yield _Published(f"{name}_voter_{index}", "voters", recipe, voter)
        for target in plan.retrained:
            recipe = models.retrained_recipe(name, target)
            retrained = partial(models.retrained, name, target)
            yield _Published(f"{name}_retrained_{target}", "retrained", recipe, retrained)


def _intact_card(path: Path, card_path: Path, recipe_hash: str) -> dict[str, Any] | None:
    """The card of this recipe beside an intact model; ``None`` if there is none."""
    card = read_card(card_path)
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


def _card_text(card: Mapping[str, Any]) -> str:
    """A card as JSON, with one line for each number that was measured."""
    rest = {name: value for name, value in card.items() if name != "measured"}
    entries = ",\n".join(f"  {json.dumps(entry, sort_keys=True)}" for entry in card["measured"])
    measured = f"[\n{entries}\n ]" if entries else "[]"
    head = json.dumps(rest, indent=1, sort_keys=True).removesuffix("\n}")
    return f'{head},\n "measured": {measured}\n}}\n'


def _measured(rows: Iterable[Row]) -> list[dict[str, object]]:
    """One entry for each row, without what the card says elsewhere."""
    return [
        {
            **{name: row.get(name) for name in _FIELDS if row.get(name) not in ("", "none")},
            "settings": dict(row.settings),
            "value": round(row.value, 4),
            "images": row.distinct_images,
        }
        for row in rows
    ]


def _rows_of(study: Study, rows: Iterable[Row], name: str) -> list[Row]:
    """The rows of the purifier called ``name`` in the plan; none for a classifier."""
    config = study.plan.purifiers.get(name)
    if config is None:
        return []
    # Rows call purifiers that differ in their source classifier by one name. Each stands before
    # the classifiers that it was not trained with.
    defense = config.name if config.source else name
    return [
        row
        for row in rows
        if (row.dataset, row.defense, row.seed) == (study.dataset, defense, study.seed)
        and row.metric in _METRICS
        and row.threat_model != NOT_ATTACKED
        and (not config.source or row.settings.get("target") != config.source)
        and not (_LEFT_OUT & row.settings.keys())
    ]
