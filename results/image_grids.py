"""Image grids: what the attack does to an image, and what the purifier makes of it."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.files import write_atomically
from results.labels import THREAT_LABELS
from results.style import DPI, GREY, PALETTE, style_context, wrap, write_words

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
        "class_names": np.asarray(class_names or [], dtype=np.str_),
        "threat_model": np.asarray(threat_model, dtype=np.str_),
    }
    _check(arrays, str(path))
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"Expected a path ending in .npz, received {str(path)!r}.")
    write_arrays(path, arrays)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an `.npz` file atomically.

    Args:
        path: Where.
        arrays: Plain arrays by name.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def load_examples(path: str | Path) -> dict[str, np.ndarray]:
    """Reads what `save_examples` stored.

    Args:
        path: The `.npz` file.

    Returns:
        Its arrays by name.

    Raises:
        ValueError: If the file is damaged, holds objects, or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path}: expected an .npz of plain arrays, received an unreadable file ({error}). "
            "Delete it; the experiment writes it again."
        ) from error
    _check(arrays, str(path))
    return arrays


def _check(arrays: Mapping[str, np.ndarray], place: str) -> None:
    missing = [name for name in (*_IMAGES, *_LABELS) if name not in arrays]
    if missing:
        raise ValueError(
            f"{place}: expected the arrays {[*_IMAGES, *_LABELS]}, missing {missing}. Write the "
            "file with results.image_grids.save_examples."
        )
    shape = arrays["clean"].shape
    if len(shape) != 4 or shape[0] < 1 or shape[-1] not in (1, 3):
        raise ValueError(
            f"{place}: expected images (batch, height, width, 1 or 3), received {shape}."
        )
    for name in _IMAGES:
        image = arrays[name]
        if image.shape != shape:
            raise ValueError(f"{place}: expected {name} of shape {shape}, received {image.shape}.")
        if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
            raise ValueError(f"{place}: expected {name} in [0, 1]. Clip it before storing.")
    for name in _LABELS:
        if arrays[name].shape != shape[:1]:
            raise ValueError(
                f"{place}: expected {name} of shape {shape[:1]}, received {arrays[name].shape}."
            )


def amplify(perturbation: np.ndarray) -> tuple[np.ndarray, float]:
    """Makes a perturbation visible: grey is no change, brighter is more, darker is less.

    Args:
        perturbation: Attacked minus clean images, any shape.

    Returns:
        Images in [0, 1] and the factor, the same for all of them so that they can be compared;
        1 if there is no perturbation.
    """
    peak = float(np.abs(perturbation).max())
    factor = 0.5 / peak if peak > 0 else 1.0
    return np.clip(0.5 + factor * perturbation, 0, 1), factor


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
        figure, grid = _grid(title, threat, caption, count)
        for row, kind in enumerate(_ROWS):
            for column in range(count):
                axes = grid[row][column]
                axes.imshow(
                    np.squeeze(images[kind][column]), cmap="gray", vmin=0, vmax=1,
                    interpolation="nearest",
                )  # fmt: skip
                _name(axes, kind, arrays, column)
            grid[row][0].set_ylabel(
                side[row], rotation=0, ha="right", va="center", labelpad=6, fontsize=8
            )
    return figure


def _name(axes: Axes, kind: str, arrays: Mapping[str, np.ndarray], index: int) -> None:
    source = {"clean": "labels", "attacked": "target_predictions", "purified": "votes"}.get(kind)
    if source is None:
        return
    names = arrays.get("class_names", np.asarray([]))
    label = int(arrays[source][index])
    text = str(names[label]) if label < len(names) else str(label)
    color = GREY
    if kind != "clean":
        right = label == int(arrays["labels"][index])
        color = PALETTE["blue"] if right else PALETTE["vermillion"]
        # A mark beside the colour, for print without one.
        text = f"{text} {'✓' if right else '✗'}"
    axes.set_xlabel(text, fontsize=7.5, color=color, labelpad=2.5)


def _grid(title: str, threat: str, caption: str, count: int) -> tuple[Figure, list[list[Axes]]]:
    cell, label, left, header = 0.82, 0.24, 0.98, 0.62
    width = max(left + count * (cell + 0.06) + 0.15, 6.4)
    subtitle = wrap(f"threat model: {THREAT_LABELS.get(threat, threat)}" if threat else "", width,
                    size=8.5)  # fmt: skip
    lines = wrap(caption, width)
    header += 0.17 * max(len(subtitle) - 1, 0)
    footer = 0.2 + 0.15 * len(lines)
    height = header + len(_ROWS) * (cell + label) + footer
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    grid = []
    for row in range(len(_ROWS)):
        top = height - header - row * (cell + label)
        line = []
        for column in range(count):
            x = left + column * (cell + 0.06)
            axes = figure.add_axes((x / width, (top - cell) / height, cell / width, cell / height))
            axes.grid(False)
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_visible(True)
                spine.set_linewidth(0.5)
            line.append(axes)
        grid.append(line)
    write_words(figure, title, subtitle, lines)
    return figure, grid
