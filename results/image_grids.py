"""Image grids: what the attack does to an image, and what the purifier makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.picture_grids import (
    amplify,
    class_text,
    image_batch,
    judged_text,
    name_picture,
    name_row,
    picture_canvas,
    read_arrays,
    require_arrays,
    require_shape,
    require_unit_range,
    show_image,
    words_of,
    write_arrays,
)
from results.style import style_context

__all__ = ["amplify", "image_grid", "load_examples", "save_examples"]

_IMAGES = ("clean", "attacked", "purified")
_LABELS = ("labels", "target_predictions", "votes")
_ROWS = ("clean", "attacked", "perturbation", "purified")


def save_examples(
    path: str | Path,
    *,
    clean: np.ndarray,
    attacked: np.ndarray,
    purified: np.ndarray,
    labels: np.ndarray,
    target_predictions: np.ndarray,
    votes: np.ndarray,
    class_names: list[str] | None = None,
    threat_model: str = "",
) -> None:
    """Stores what an image grid is drawn from, beside the rows and without pickle.

    Args:
        path: Where, ending in `.npz`.
        clean: `(batch, height, width, channels)` in [0, 1].
        attacked: The same images after the attack.
        purified: The attacked images after the purifier.
        labels: True labels, `(batch,)`.
        target_predictions: What the target says of the attacked images, `(batch,)`.
        votes: What the voters decide on the purified images, `(batch,)`.
        class_names: Names of the classes; without them the labels are shown as numbers.
        threat_model: What the attacker knew.

    Raises:
        ValueError: If shapes do not agree or values leave [0, 1].
    """
    arrays: dict[str, np.ndarray] = {
        "clean": np.asarray(clean, np.float32),
        "attacked": np.asarray(attacked, np.float32),
        "purified": np.asarray(purified, np.float32),
        "labels": np.asarray(labels, np.int64),
        "target_predictions": np.asarray(target_predictions, np.int64),
        "votes": np.asarray(votes, np.int64),
        **words_of(class_names, threat_model),
    }
    _check(arrays, str(path))
    write_arrays(path, arrays)


def load_examples(path: str | Path) -> dict[str, np.ndarray]:
    """Reads what `save_examples` stored.

    Args:
        path: The `.npz` file.

    Returns:
        Its arrays by name.

    Raises:
        ValueError: If the file is damaged, holds objects, or lacks an array.
    """
    arrays = read_arrays(path)
    _check(arrays, str(path))
    return arrays


def _check(arrays: Mapping[str, np.ndarray], place: str) -> None:
    names = (*_IMAGES, *_LABELS)
    require_arrays(arrays, names, place, "results.image_grids.save_examples")
    shape = image_batch(arrays["clean"], place)
    require_shape(arrays, _IMAGES, shape, place)
    require_unit_range(arrays, _IMAGES, place)
    require_shape(arrays, _LABELS, shape[:1], place)


def image_grid(
    examples: str | Path | Mapping[str, np.ndarray], title: str, caption: str, columns: int = 10
) -> Figure:
    """Clean, attacked, perturbation and purified image of each example, with who says what.

    Args:
        examples: Path of an `.npz` by `save_examples`, or its arrays.
        title: First line.
        caption: What the profile cuts.
        columns: How many examples at most.

    Returns:
        The figure: one row per kind of image, one column per example. Blue words are right,
        vermillion ones wrong.

    Raises:
        ValueError: If the arrays are not what `save_examples` writes.
    """
    if isinstance(examples, Mapping):
        arrays = dict(examples)
        _check(arrays, "examples")
    else:
        arrays = load_examples(examples)
    count = min(columns, len(arrays["labels"]))
    perturbation, factor = amplify(arrays["attacked"][:count] - arrays["clean"][:count])
    images = {
        "clean": arrays["clean"][:count],
        "attacked": arrays["attacked"][:count],
        "perturbation": perturbation,
        "purified": arrays["purified"][:count],
    }
    side = ["clean\nlabel", "attacked\ntarget says", f"perturbation\n× {factor:.3g}",
            "purified\nvote says"]  # fmt: skip
    threat = str(arrays.get("threat_model", ""))
    with style_context():
        figure, grid = picture_canvas(title, threat, caption, count, rows=len(_ROWS))
        for row, kind in enumerate(_ROWS):
            for column in range(count):
                show_image(grid[row][column], images[kind][column])
                _name(grid[row][column], kind, arrays, column)
            name_row(grid[row][0], side[row])
    return figure


def _name(axes: Axes, kind: str, arrays: Mapping[str, np.ndarray], index: int) -> None:
    truth = int(arrays["labels"][index])
    if kind == "clean":
        name_picture(axes, class_text(arrays, truth))
    elif kind != "perturbation":
        source = "target_predictions" if kind == "attacked" else "votes"
        name_picture(axes, *judged_text(arrays, int(arrays[source][index]), truth))
