"""Draws an entry of the catalog from its rows alone, in seconds and without any model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from experiments.config import Profile
from experiments.entries import Entry
from results.comparison_plots import filtered_figure, reconstruction_figure
from results.feature_plots import feature_figure
from results.image_grids import image_grid
from results.labels import DATASET_LABELS
from results.paper import printed_accuracy
from results.plots import accuracy_figure, distance_figure, sweep_figure, voting_figure
from results.puvae_images import coefficient_grid, projection_grid
from results.puvae_plots import defense_table_figure, knowledge_figure
from results.puvae_time_plots import time_figure
from results.rows import Row, RowStore
from results.selection import companions, main_defense
from results.style import save_figure

_DRAWINGS: dict[str, Callable[[list[Row], str, str], Figure]] = {
    "distance": distance_figure,
    "voting": voting_figure,
    "sweep": sweep_figure,
    "reconstruction": reconstruction_figure,
    "filtered": filtered_figure,
    "features": feature_figure,
    "defenses": defense_table_figure,
    "knowledge": knowledge_figure,
    "time": time_figure,
}
_PICTURES: dict[str, Callable[[Path, str, str], Figure]] = {
    "images": image_grid,
    "projections": projection_grid,
    "coefficients": coefficient_grid,
}


def draw(
    entry: Entry, dataset: str, profile: Profile, rows: RowStore, seed: int
) -> tuple[Path, ...]:
    """Draws one entry for one data set as PNG and PDF.

    Args:
        entry: what to draw.
        dataset: whose rows.
        profile: its cuts become the caption.
        rows: where the rows are.
        seed: only rows of this seed are drawn.

    Returns:
        The files written; none if the entry has no rows yet.
    """
    title = f"{entry.id}  {DATASET_LABELS.get(dataset, dataset)}: {entry.title}"
    examples = _examples(entry, dataset, rows)
    stem = _stem(entry, dataset, profile, rows, seed)
    if entry.drawing in _PICTURES:
        if not examples.is_file():
            return ()
        return save_figure(_PICTURES[entry.drawing](examples, title, profile.cuts), stem)
    if not entry.drawing or not _rows(entry.id, dataset, rows, seed):
        return ()
    shown = [row for id in companions(entry.id) for row in _rows(id, dataset, rows, seed)]
    return save_figure(_figure(entry, shown, title, profile.cuts), stem)


def _figure(entry: Entry, shown: list[Row], title: str, caption: str) -> Figure:
    if entry.drawing != "accuracy":
        return _DRAWINGS[entry.drawing](shown, title, caption)
    first = next(row for row in shown if row.attack != "none")
    chapter = int(entry.id.split(".")[1].lstrip("FT"))
    printed = printed_accuracy(
        first.dataset, first.threat_model, chapter=chapter, attack=first.attack
    )
    return accuracy_figure(shown, title, caption, printed, main_defense(entry.id))


def _rows(id: str, dataset: str, rows: RowStore, seed: int) -> list[Row]:
    return [row for row in rows.read(id) if row.dataset == dataset and row.seed == seed]


def state(entry: Entry, dataset: str, rows: RowStore) -> tuple[int, bool]:
    """What an entry has measured; equal states have equal rows."""
    keys = [row.key for row in rows.read(entry.id) if row.dataset == dataset]
    return hash(tuple(keys)), _examples(entry, dataset, rows).is_file()


def drawn(entry: Entry, dataset: str, profile: Profile, rows: RowStore, seed: int) -> bool:
    """Whether the figure of an entry is there."""
    stem = _stem(entry, dataset, profile, rows, seed)
    return all(stem.with_name(f"{stem.name}.{ending}").is_file() for ending in ("png", "pdf"))


def _stem(entry: Entry, dataset: str, profile: Profile, rows: RowStore, seed: int) -> Path:
    """Seed 0 has the plain name; a repetition must not take its place."""
    repetition = f"_seed{seed}" if seed else ""
    return rows.root / "figures" / profile.name / f"{entry.id}_{dataset}{repetition}"


def _examples(entry: Entry, dataset: str, rows: RowStore) -> Path:
    return rows.folder / f"{entry.id}_{dataset}.npz"
