"""The zoo: trained purifiers as single ``.keras`` files with what was measured of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from experiments import reproducibility
from experiments.artifacts import file_hash, write_atomically
from experiments.evaluation import Study


def publish(study: Study, folder: Path) -> list[Path]:
    """Writes every trained purifier of a study with its configuration and measured rows.

    A purifier of the same recipe that is there already is left as it is; its card is written
    anew only when more has been measured.

    Args:
        study: whose purifiers; those not trained yet are left out.
        folder: files go to ``<folder>/<dataset>/<purifier>.keras`` and ``.json``.

    Returns:
        The ``.keras`` files.
    """
    published = []
    for name in study.plan.purifiers:
        recipe = study.models.purifier_recipe(name)
        if not study.models.store.has("purifiers", recipe):
            continue
        path = folder / study.dataset / f"{name}.keras"
        card_path = path.with_suffix(".json")
        recipe_hash = reproducibility.stable_hash(recipe)
        measured = _measured(study, name)
        known = _measured_before(path, card_path, recipe_hash)
        if known is not None and known >= len(measured):
            continue
        if known is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            study.models.purifier(name).publish(path)
        card = {
            "purifier": name,
            "dataset": study.dataset,
            "profile": study.profile.name,
            "recipe": json.loads(reproducibility.canonical_json(recipe)),
            "recipe_hash": recipe_hash,
            "sha256": file_hash(path),
            "measured": measured,
        }
        text = json.dumps(card, indent=1, sort_keys=True) + "\n"
        write_atomically(card_path, lambda temporary, text=text: temporary.write_text(text))
        published.append(path)
    return published


def _measured_before(path: Path, card_path: Path, recipe_hash: str) -> int | None:
    """How many numbers an intact card of this recipe holds; ``None`` if there is none."""
    try:
        card = json.loads(card_path.read_text())
        intact = card["recipe_hash"] == recipe_hash and card["sha256"] == file_hash(path)
        return len(card["measured"]) if intact else None
    except (OSError, KeyError, TypeError, json.JSONDecodeError):
        return None


def _measured(study: Study, name: str) -> list[dict[str, object]]:
    """One entry per attack, threat model, epsilon, decider and metric: means over targets."""
    groups: dict[tuple, list[float]] = {}
    for row in study.rows.read():
        if (row.dataset, row.defense, row.seed) != (study.dataset, name, study.seed):
            continue
        decider = "target" if len(row.classifier) == 1 else row.classifier
        if "tables=" in row.flags or row.metric not in ("accuracy", "l1", "l2"):
            continue
        key = (row.experiment, row.attack, row.threat_model, row.epsilon, decider, row.metric)
        groups.setdefault(key, []).append(row.value)
    names = ("experiment", "attack", "threat_model", "epsilon", "decided_by", "metric")
    return [
        {**dict(zip(names, key, strict=True)), "value": round(float(np.mean(values)), 4)}
        for key, values in sorted(groups.items())
    ]
