"""Grids of pictures: the file that keeps one, and its drawing.

A grid has rows of images, each with a label at its left. Under an image may stand a word, marked
right or wrong; one that was chosen among its neighbours has a frame. What the rows mean is up to
whoever writes them.

Files are ``.npz`` without pickle. Images are kept in 8 bits, as they are shown.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.exhibit import PALETTE
from results.files import load_arrays, write_atomically
from results.row import THREAT_MODELS
from results.style import GREY, new_figure, set_layout, style_context, widen
from validation import check_choice

#: Inches of a picture with its gap, of a line of words under it, and of the labels of the rows.
_PICTURE, _WORD, _LABELS = 0.86, 0.14, 0.95
#: What stands with an image, and what where nothing does.
_BESIDE: dict[str, object] = {"words": "", "right": None, "framed": False}
#: The arrays of a file: NumPy's kind, and how many of the axes (row, column) each begins with.
_ARRAYS = {
    "images": ("u", 2),
    "shown": ("b", 2),
    "row_labels": ("U", 1),
    "words": ("U", 2),
    "right": ("i", 2),
    "framed": ("b", 2),
    "threat_model": ("U", 0),
}


_HOW = "Write the file with results.pictures.save_pictures."


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PictureRow:
    """One row of a grid.

    Args:
        label: What stands at its left; may have several lines.
        images: ``(columns, height, width, channels)`` in [0, 1], 1 or 3 channels. Rows with fewer
            images than others leave their last places empty.
        words: What stands under each image; may have several lines; none leaves the row without.
        right: Whether the word of each image is right; None where nothing is judged. A mark behind
            its first line and the colour say so.
        framed: Which images have a frame; none frames nothing.

    Raises:
        ValueError: If the images are no such batch or leave [0, 1], or there is not one word, one
            judgement or one frame for each.
    """

    label: str
    images: np.ndarray
    words: Sequence[str] = ()
    right: Sequence[bool | None] = ()
    framed: Sequence[bool] = ()

    def __post_init__(self) -> None:
        images = np.asarray(self.images, np.float32)
        if images.ndim != 4 or 0 in images.shape or images.shape[-1] not in (1, 3):
            raise ValueError(
                f"Expected the images of {self.label!r} as (columns, height, width, 1 or 3), "
                f"received {images.shape}. Add or move the axis."
            )
        if not (np.isfinite(images).all() and images.min() >= 0 and images.max() <= 1):
            raise ValueError(
                f"Expected the images of {self.label!r} in [0, 1], received values from "
                f"{images.min()} to {images.max()}. Clip them before storing."
            )
        object.__setattr__(self, "images", images)
        for name, empty in _BESIDE.items():
            given = tuple(getattr(self, name)) or (empty,) * len(images)
            if len(given) != len(images):
                raise ValueError(
                    f"Expected {name} of {self.label!r} for each of {len(images)} images, received "
                    f"{len(given)}. Pass one for each, or none."
                )
            object.__setattr__(self, name, given)


@dataclasses.dataclass(frozen=True, eq=False)
class PictureGrid:
    """Rows of pictures, and what the attacker knew (a threat model, or ``"none"``).

    Raises:
        ValueError: If there are no rows, their images differ in shape, or the threat model is
            unknown.
    """

    rows: tuple[PictureRow, ...]
    threat_model: str

    def __post_init__(self) -> None:
        shapes = {row.images.shape[1:] for row in self.rows}
        if len(shapes) != 1:
            raise ValueError(
                f"Expected rows of images of one shape, received the shapes {sorted(shapes)}. Pass "
                "at least one row, all of one data set."
            )
        check_choice("the threat model of pictures", self.threat_model, THREAT_MODELS)

    @property
    def num_columns(self) -> int:
        """The length of the longest row."""
        return max(len(row.images) for row in self.rows)


def pictures_path(folder: str | Path, exhibit_id: str, dataset: str, seed: int = 0) -> Path:
    """``<folder>/<id>_<dataset>.npz``, with ``_seed<n>`` behind any seed but 0."""
    repetition = f"_seed{seed}" if seed else ""
    return Path(folder) / f"{exhibit_id}_{dataset}{repetition}.npz"


def save_pictures(path: str | Path, rows: Sequence[PictureRow], *, threat_model: str) -> None:
    """Writes a grid of pictures, its rows from the top, to a path that ends in ``.npz``.

    Raises:
        ValueError: If the path has another ending, or the rows make no grid.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(
            f"Expected a path ending in .npz, received {str(path)!r}. Give it that ending."
        )
    grid = PictureGrid(tuple(rows), threat_model)

    def padded(parts: list[Any], empty: object, dtype: type) -> np.ndarray:
        return np.asarray([[*p, *[empty] * (grid.num_columns - len(p))] for p in parts], dtype)

    judged = [[-1 if one is None else one for one in row.right] for row in grid.rows]
    arrays: dict[str, np.ndarray] = {
        "images": padded(
            [np.round(255 * row.images) for row in grid.rows],
            np.zeros(grid.rows[0].images.shape[1:]),
            np.uint8,
        ),
        "shown": padded([[True] * len(row.images) for row in grid.rows], False, np.bool_),
        "row_labels": np.asarray([row.label for row in grid.rows], np.str_),
        "words": padded([row.words for row in grid.rows], "", np.str_),
        "right": padded(judged, -1, np.int8),
        "framed": padded([row.framed for row in grid.rows], False, np.bool_),
        "threat_model": np.asarray(threat_model, np.str_),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def load_pictures(path: str | Path) -> PictureGrid:
    """Reads what ``save_pictures`` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, holds objects, or lacks an array.
    """
    arrays = load_arrays(path, {name: kind for name, (kind, _) in _ARRAYS.items()}, _HOW)
    for name, (_, axes) in _ARRAYS.items():
        array, size = arrays[name], arrays["images"].shape[:axes]
        if name != "images" and array.shape != size:
            raise ValueError(
                f"{path}: expected {name} of shape {size}, received {array.shape}. {_HOW}"
            )
    rows = []
    for index, shown in enumerate(arrays["shown"]):
        own = {name: arrays[name][index][shown].tolist() for name in _BESIDE}
        right = [None if one < 0 else bool(one) for one in own.pop("right")]
        images = arrays["images"][index][shown] / np.float32(255)
        label = str(arrays["row_labels"][index])
        rows.append(PictureRow(label=label, images=images, right=right, **own))
    return PictureGrid(tuple(rows), str(arrays["threat_model"]))


def amplify(perturbation: np.ndarray) -> tuple[np.ndarray, float]:
    """Makes a perturbation of any shape visible: grey is no change, brighter more, darker less.

    Returns:
        Images in [0, 1] and the factor, the same for all of them so that they can be compared;
        1 if there is no perturbation.

    Raises:
        ValueError: If it is empty or not finite.
    """
    if not np.size(perturbation) or not np.isfinite(perturbation).all():
        raise ValueError(
            f"Expected a finite perturbation, received one of shape {np.shape(perturbation)} with "
            "other values or none. Subtract the clean images from the attacked ones."
        )
    peak = float(np.abs(perturbation).max())
    factor = 0.5 / peak if peak > 0 else 1.0
    return np.clip(0.5 + factor * perturbation, 0, 1), factor


def picture_grid(grid: str | Path | PictureGrid, title: str, threat: str, footer: str) -> Figure:
    """Draws a grid, or that of a file, with the words of ``style.new_figure``.

    There is one panel per place, empty ones invisible. Blue words are right, vermillion ones wrong;
    a mark says so in print without colour.
    """
    grid = grid if isinstance(grid, PictureGrid) else load_pictures(grid)
    lines = [max(word.count("\n") + bool(word) for word in row.words) for row in grid.rows]
    height = _PICTURE + _WORD * sum(lines) / len(lines)
    with style_context():
        figure, panels = new_figure(
            title,
            threat,
            footer,
            shape=(len(grid.rows), grid.num_columns),
            panel_size=(_PICTURE, height),
            layout="compressed",
        )
        widen(figure, _LABELS)
        set_layout(figure, w_pad=0.04, h_pad=0.03, wspace=0, hspace=0)
        for row, line in zip(grid.rows, panels, strict=True):
            for axes in line:
                axes.set(xticks=[], yticks=[])
                axes.grid(False)
            for index, axes in enumerate(line[: len(row.images)]):
                _picture(axes, row, index)
            for axes in line[len(row.images) :]:
                axes.set_visible(False)
            line[0].set_ylabel(row.label, rotation=0, ha="right", va="center", fontsize=8)
    return figure


def _picture(axes: Axes, row: PictureRow, index: int) -> None:
    """One image with its word and its frame."""
    axes.imshow(np.squeeze(row.images[index]), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    right, (word, *further) = row.right[index], row.words[index].split("\n")
    mark = "" if right is None else " ✓" if right else " ✗"
    color = GREY if right is None else PALETTE["blue" if right else "vermillion"]
    text = "\n".join([word + mark, *further])
    axes.set_xlabel(text, fontsize=7.5, color=color, labelpad=2.5)
    framed = {"color": PALETTE["vermillion"], "linewidth": 2.5}
    for spine in axes.spines.values():
        spine.set(visible=True, **(framed if row.framed[index] else {"linewidth": 0.5}))
