"""The figures: a sheet, or a file of pictures, with its words and its legend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.figure import Figure

from results.clouds import cloud_grid, load_clouds
from results.exhibit import (
    DATASET_LABELS,
    KEPT,
    THREAT_LABELS,
    Clouds,
    Exhibit,
    Pictures,
    threat_words,
)
from results.panels import KINDS, hollow_entry, panel_size
from results.pictures import load_pictures, picture_grid, pictures_path
from results.row import Row
from results.sheet import Point, Sheet, fill
from results.store import RowStore
from results.style import add_legend, new_figure, save_figure, style_context
from validation import check_choice, check_integer

#: What reads the file of a figure that is not drawn from rows, and what draws it.
_KEPT: dict[type, tuple[Callable[..., Any], Callable[..., Figure]]] = {
    Pictures: (load_pictures, picture_grid),
    Clouds: (load_clouds, cloud_grid),
}


def draw_exhibit(
    exhibit: Exhibit,
    dataset: str,
    store: RowStore,
    *,
    profile: str,
    seed: int = 0,
    pdf: bool = False,
) -> list[Path]:
    """Draws an exhibit from the rows, or the pictures beside them, of one seed and writes it.

    Returns:
        The figure's file, see ``figure_path``, and its PDF if asked for; none if nothing is drawn
        or nothing was measured.

    Raises:
        ValueError: If the rows are those of another profile.
    """
    check_choice("the profile of a figure", profile, [store.profile])
    if exhibit.draw is None:
        return []
    if isinstance(exhibit.draw, KEPT):
        path = pictures_path(store.folder, exhibit.id, dataset, seed)
        if not path.is_file():
            return []
        load, show = _KEPT[type(exhibit.draw)]
        grid = load(path)
        words = _words(exhibit, dataset, profile, seed, [], [grid.threat_model])
        figure = show(grid, *words)
    else:
        rows = store.read(dataset, seed) if store.has_any(dataset) else []
        sheet = fill(exhibit, dataset, rows)
        if not sheet.panels:
            return []
        figure = draw(sheet, profile=profile, seed=seed)
    path = figure_path(store.root, profile, exhibit.id, dataset, seed)
    return save_figure(figure, path.with_suffix(""), pdf)


def figure_path(
    root: str | Path, profile: str, exhibit_id: str, dataset: str, seed: int = 0
) -> Path:
    """``<root>/figures/<profile>/<id>_<dataset>.png``, with ``_seed<n>`` behind any seed but 0."""
    repetition = f"_seed{seed}" if check_integer("seed", seed) else ""
    return Path(root, "figures", profile, f"{exhibit_id}_{dataset}{repetition}.png")


def draw(sheet: Sheet, *, profile: str, seed: int = 0) -> Figure:
    """Draws a sheet as its exhibit says: its panels side by side, one legend to their right.

    Profile and seed are for the footer.

    Raises:
        ValueError: If the sheet is empty, or its exhibit declares no drawing of numbers.
    """
    kind = type(sheet.exhibit.draw)
    if kind not in KINDS:
        raise ValueError(
            f"Expected an exhibit drawn as one of {[one.__name__ for one in KINDS]}, received "
            f"{sheet.exhibit.id} with {kind.__name__}. What a probe kept is drawn by "
            "draw_exhibit."
        )
    if not sheet.panels:
        raise ValueError(
            f"Expected rows of {sheet.dataset} for {sheet.exhibit.id}, received none. Measure it "
            "first."
        )
    lines = [line for panel in sheet.panels for line in panel.lines]
    threats = [row.threat_model for line in lines for row in line.rows]
    words = _words(sheet.exhibit, sheet.dataset, profile, seed, sheet.points, threats, sheet.rows)
    with style_context():
        figure, (panels,) = new_figure(
            *words, shape=(1, len(sheet.panels)), panel_size=panel_size(sheet)
        )
        handles: list[Artist] = []
        for axes, panel in zip(panels, sheet.panels, strict=True):
            handles += KINDS[kind](axes, sheet, panel, sheet.exhibit.draw)
        add_legend(figure, panels[-1], [*handles, *hollow_entry(sheet)])
    return figure


def _words(
    exhibit: Exhibit,
    dataset: str,
    profile: str,
    seed: int,
    points: Iterable[Point],
    threats: Iterable[str],
    rows: Sequence[Row] = (),
) -> tuple[str, str, str]:
    """Title, attacker, and the footer: where it is from, then what a reader must know."""
    title = f"{exhibit.id}  {DATASET_LABELS.get(dataset, dataset)}: {exhibit.title}"
    known = set(threats) - {"none"}
    attacker = (
        f"threat model: {threat_words(known, rows)}" if known else "no attack: clean test images"
    )
    counts = sorted({point.images for point in points if point.images})
    images = " to ".join(f"{n:,}" for n in dict.fromkeys([*counts[:1], *counts[-1:]]))
    names = ", ".join(name for name in THREAT_LABELS if name in known)
    parts = [f"profile {profile}", f"{images} images" if counts else "", f"seed {seed}"]
    parts.append(f"threat model {names}" if names else "no attack")
    footer = " · ".join(filter(None, parts))
    caveat = exhibit.caveat_of(rows)
    return title, attacker, f"{footer}. {caveat}" if caveat else footer
