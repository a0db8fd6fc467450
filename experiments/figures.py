"""Draws an entry of the catalog from its rows alone, in seconds and without any model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from experiments.catalog import Entry
from experiments.config import Profile
from results.image_grids import image_grid
from results.labels import DATASET_LABELS
from results.paper import printed_accuracy
from results.plots import accuracy_figure, distance_figure, sweep_figure, voting_figure
from results.rows import Row, RowStore
from results.style import save_figure


def _accuracy(rows: list[Row], title: str, caption: str) -> Figure:
    first = rows[0]
    printed = printed_accuracy(first.dataset, first.threat_model)
    return accuracy_figure(rows, title, caption, printed)


_DRAWINGS: dict[str, Callable[[list[Row], str, str], Figure]] = {
    "accuracy": _accuracy,
    "distance": distance_figure,
    "voting": voting_figure,
    "sweep": sweep_figure,
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
    if entry.drawing == "images":
        if not examples.is_file():
            return ()
        return save_figure(image_grid(examples, title, profile.cuts), stem)
    selected = [r for r in rows.read(entry.id) if r.dataset == dataset and r.seed == seed]
    if not entry.drawing or not selected:
        return ()
    return save_figure(_DRAWINGS[entry.drawing](selected, title, profile.cuts), stem)


def state(entry: Entry, dataset: str, rows: RowStore) -> tuple[int, bool]:
    """What an entry would be drawn from; equal states give equal figures."""
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
