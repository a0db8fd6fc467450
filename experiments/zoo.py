"""The zoo: trained models as single ``.keras`` files, each with a card that says what it is.

``results/zoo/<dataset>/`` holds the purifiers, the targets they were measured with and the
classifiers behind them. A card (``.json``) has the recipe, the file's SHA-256 and, for a purifier,
every number measured of it (``experiments.publishing`` writes both).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from experiments import reproducibility
from experiments.artifacts import check_hash, load_keras_model

ZOO = Path(__file__).resolve().parents[1] / "results" / "zoo"


def names(dataset: str, folder: Path = ZOO) -> list[str]:
    """The models of one data set, sorted."""
    return sorted(path.stem for path in (folder / dataset).glob("*.keras"))


def load(dataset: str, name: str, folder: Path = ZOO) -> keras.Model:
    """Loads a model of the zoo in safe mode, after comparing it with its card.

    Args:
        dataset: What it was trained on, for example ``"cifar10"``.
        name: For example ``"sfl_vae"``, ``"target_A"`` or ``"sfl_vae_voter_0"``.
        folder: The zoo.

    Returns:
        A purifier (images to images) or a classifier (images to logits).

    Raises:
        ValueError: If there is no such model (the message lists those there are), or its file
            is damaged.
    """
    path = folder / dataset / f"{name}.keras"
    if not path.is_file():
        known = {d.name: names(d.name, folder) for d in sorted(folder.glob("*")) if d.is_dir()}
        raise ValueError(f"No model {name!r} for {dataset!r} in the zoo. There are: {known}.")
    card = read_card(path.with_suffix(".json"))
    if "sha256" not in card:
        raise ValueError(
            f"The card {path.with_suffix('.json')} is missing or damaged. Restore it from version "
            "control, or publish the model again with run_all.py."
        )
    return load_keras_model(path, card["sha256"])


def find(dataset: str, recipe: Mapping[str, Any], folder: Path = ZOO) -> Path | None:
    """The file of the published model that was made from exactly this recipe, or ``None``.

    Args:
        dataset: What it was trained on.
        recipe: As the artifact store has it.
        folder: The zoo.

    Raises:
        ValueError: If its file is damaged.
    """
    wanted = reproducibility.stable_hash(recipe)
    for name in names(dataset, folder):
        path = folder / dataset / f"{name}.keras"
        card = read_card(path.with_suffix(".json"))
        if card.get("recipe_hash") == wanted and "sha256" in card:
            check_hash(path, card["sha256"])
            return path
    return None


def read_card(path: Path) -> dict[str, Any]:
    """A card, or an empty one if it is missing or damaged."""
    try:
        card = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return card if isinstance(card, dict) else {}
