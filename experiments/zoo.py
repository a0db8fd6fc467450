"""The zoo: trained models as single ``.keras`` files, each with a card that says what it is.

``results/zoo/<dataset>/`` holds the purifiers, the targets they were measured with and the
classifiers behind them. A card (``.json``) has the recipe, the file's SHA-256 and, for a purifier,
every number measured of it (``experiments.publishing`` writes both).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from experiments import reproducibility
from experiments.model_files import check_hash, load_keras_model
from validation import check_file_name

ZOO = Path(__file__).resolve().parents[1] / "results" / "zoo"
_SHA256 = re.compile("[0-9a-f]{64}")


def names(dataset: str, folder: str | os.PathLike[str] = ZOO) -> list[str]:
    """The models of one data set, sorted.

    Raises:
        ValueError: If the zoo has none of this data set; the message lists those it has.
    """
    place = _place(folder, dataset)
    if not place.is_dir():
        raise ValueError(
            f"Expected a data set that the zoo in {Path(folder)} has models of, received "
            f"{dataset!r}. It has: {', '.join(_contents(Path(folder))) or 'none'}."
        )
    return _names(place)


def load(dataset: str, name: str, folder: str | os.PathLike[str] = ZOO) -> keras.Model:
    """Loads a model of the zoo, after comparing it with its card; no code of the file is run.

    Args:
        dataset: What it was trained on, for example ``"cifar10"``.
        name: For example ``"sfl_vae"``, ``"target_A"`` or ``"sfl_vae_voter_0"``.
        folder: The zoo.

    Returns:
        A purifier (images to images) or a classifier (images to logits).

    Raises:
        ValueError: If there is no such model (the message lists those there are), its card is
            missing or has no hash, or its file is missing, damaged or hostile.
    """
    place = _place(folder, dataset)
    path = place / f"{check_file_name('the name of a model', name)}.keras"
    card_path = path.with_suffix(".json")
    if not path.is_file() and card_path.is_file():
        raise ValueError(
            f"Expected {path} beside its card {card_path.name}, received the card alone. Restore "
            "the file from version control, or publish the model again with run_all.py --train."
        )
    if not path.is_file():
        raise ValueError(
            f"Expected a model of the zoo, received no model {name!r} for {dataset!r}. There are: "
            f"{_contents(Path(folder))}."
        )
    card = read_card(card_path)
    sha256 = card.get("sha256")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ValueError(
            f"Expected the card {card_path} with the SHA-256 of its model, received one that is "
            f"missing, damaged or without it ({sha256!r}). Restore it from version control, or "
            "publish the model again with run_all.py --train."
        )
    named = (card.get("dataset", dataset), card.get("name", name))
    if named != (dataset, name):
        raise ValueError(
            f"Expected the card {card_path} of {name!r} for {dataset!r}, received that of "
            f"{named[1]!r} for {named[0]!r}. Restore card and model from version control."
        )
    return load_keras_model(path, sha256)


def find(
    dataset: str, recipe: Mapping[str, Any], folder: str | os.PathLike[str] = ZOO
) -> Path | None:
    """The file of the published model that was made from exactly this recipe, or ``None``.

    Args:
        dataset: What it was trained on.
        recipe: As the artifact store has it.
        folder: The zoo.

    Raises:
        ValueError: If its file is damaged.
    """
    place, wanted = _place(folder, dataset), reproducibility.stable_hash(recipe)
    for name in _names(place):
        path = place / f"{name}.keras"
        card = read_card(path.with_suffix(".json"))
        if card.get("recipe_hash") == wanted and isinstance(card.get("sha256"), str):
            check_hash(path, card["sha256"])
            return path
    return None


def read_card(path: Path) -> dict[str, Any]:
    """A card, or an empty one if it is missing or damaged."""
    try:
        card = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return card if isinstance(card, dict) else {}


def _place(folder: str | os.PathLike[str], dataset: str) -> Path:
    return Path(folder) / check_file_name("the data set of a model", dataset)


def _names(place: Path) -> list[str]:
    return sorted(path.stem for path in place.glob("*.keras"))


def _contents(folder: Path) -> dict[str, list[str]]:
    return {place.name: _names(place) for place in sorted(folder.glob("*")) if place.is_dir()}
