"""What grids of pictures share: files, the checks of them, and the places of the pictures."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.files import write_atomically
from results.labels import THREAT_LABELS
from results.style import DPI, GREY, PALETTE, wrap, write_words

_CELL, _GAP = 0.82, 0.06


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an `.npz` file atomically.

    Args:
        path: Where, ending in `.npz`.
        arrays: Plain arrays by name.

    Raises:
        ValueError: If the path has another ending.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"Expected a path ending in .npz, received {str(path)!r}.")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Reads an `.npz` file of plain arrays.

    Args:
        path: The file.

    Returns:
        Its arrays by name.

    Raises:
        ValueError: If the file is damaged or holds objects.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path}: expected an .npz of plain arrays, received an unreadable file ({error}). "
            "Delete it; the experiment writes it again."
        ) from error


def words_of(class_names: Sequence[str] | None, threat_model: str) -> dict[str, np.ndarray]:
    """The two texts that every file of pictures carries, as arrays.

    Args:
        class_names: Names of the classes, or None.
        threat_model: What the attacker knew.

    Returns:
        `{"class_names": ..., "threat_model": ...}`.
    """
    return {
        "class_names": np.asarray(list(class_names or []), dtype=np.str_),
        "threat_model": np.asarray(threat_model, dtype=np.str_),
    }


def require_arrays(
    arrays: Mapping[str, np.ndarray], names: Sequence[str], place: str, writer: str
) -> None:
    """Refuses arrays among which one is missing.

    Args:
        arrays: Arrays by name.
        names: Those that must be there.
        place: The file, for the message.
        writer: The function that writes such a file.

    Raises:
        ValueError: If one is missing.
    """
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(
            f"{place}: expected the arrays {list(names)}, missing {missing}. Write the file with "
            f"{writer}."
        )


def image_batch(image: np.ndarray, place: str) -> tuple[int, ...]:
    """The shape of a batch of images.

    Args:
        image: `(batch, height, width, channels)`, 1 or 3 channels.
        place: The file, for the message.

    Returns:
        Its shape.

    Raises:
        ValueError: If it is no such batch.
    """
    shape = image.shape
    if len(shape) != 4 or shape[0] < 1 or shape[-1] not in (1, 3):
        raise ValueError(
            f"{place}: expected images (batch, height, width, 1 or 3), received {shape}."
        )
    return shape


def require_shape(
    arrays: Mapping[str, np.ndarray], names: Iterable[str], shape: Sequence[int], place: str
) -> None:
    """Refuses arrays of another shape.

    Args:
        arrays: Arrays by name.
        names: Which of them.
        shape: What they must have.
        place: The file, for the message.

    Raises:
        ValueError: If one has another shape.
    """
    for name in names:
        if arrays[name].shape != tuple(shape):
            raise ValueError(
                f"{place}: expected {name} of shape {tuple(shape)}, received {arrays[name].shape}."
            )


def require_unit_range(arrays: Mapping[str, np.ndarray], names: Iterable[str], place: str) -> None:
    """Refuses images that leave [0, 1].

    Args:
        arrays: Arrays by name.
        names: Which of them.
        place: The file, for the message.

    Raises:
        ValueError: If a value is outside [0, 1] or not finite.
    """
    for name in names:
        image = arrays[name]
        if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
            raise ValueError(f"{place}: expected {name} in [0, 1]. Clip it before storing.")


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


def class_text(arrays: Mapping[str, np.ndarray], label: int) -> str:
    """The name of a class.

    Args:
        arrays: Holds `class_names`, or none of them.
        label: Number of the class.

    Returns:
        Its name, or the number where it has none.
    """
    names = arrays.get("class_names", np.asarray([]))
    return str(names[label]) if label < len(names) else str(label)


def judged_text(arrays: Mapping[str, np.ndarray], label: int, truth: int) -> tuple[str, str]:
    """The name of a class that somebody decided for, and the colour that judges it.

    Args:
        arrays: As in `class_text`.
        label: What was decided.
        truth: What is right.

    Returns:
        Text and colour: blue is right, vermillion wrong; a mark says so in print without colour.
    """
    right = label == truth
    text = f"{class_text(arrays, label)} {'✓' if right else '✗'}"
    return text, PALETTE["blue" if right else "vermillion"]


def show_image(axes: Axes, image: np.ndarray) -> None:
    """Shows one image, grey or in colour, without smoothing.

    Args:
        axes: The panel.
        image: `(height, width, channels)` in [0, 1].
    """
    axes.imshow(np.squeeze(image), cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def name_row(axes: Axes, text: str) -> None:
    """Writes the name of a row of pictures to the left of its first one.

    Args:
        axes: The first panel of the row.
        text: The name; may have several lines.
    """
    axes.set_ylabel(text, rotation=0, ha="right", va="center", labelpad=6, fontsize=8)


def name_picture(axes: Axes, text: str, color: str = GREY, *, above: bool = False) -> None:
    """Writes a word under a picture, or above it.

    Args:
        axes: The panel.
        text: The word.
        color: Its colour.
        above: Whether it stands above.
    """
    if above:
        axes.set_title(text, fontsize=7.5, color=color, pad=2.5)
    else:
        axes.set_xlabel(text, fontsize=7.5, color=color, labelpad=2.5)


def frame_picture(axes: Axes) -> None:
    """Puts a heavy frame around one picture."""
    for spine in axes.spines.values():
        spine.set(color=PALETTE["vermillion"], linewidth=2.5)


def picture_canvas(
    title: str,
    threat: str,
    caption: str,
    count: int,
    *,
    rows: int,
    left: float = 0.98,
    above: float = 0.0,
    below: float | Sequence[float] = 0.24,
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with rows of empty panels for pictures.

    Args:
        title: First line.
        threat: The threat model, or empty.
        caption: Text under the figure.
        count: Panels in a row.
        rows: Number of rows.
        left: Inches kept free at the left, for the names of the rows.
        above: Inches kept free above each picture, for a word.
        below: Inches kept free below each picture, for all rows or for each.

    Returns:
        The figure, and its panels row by row.
    """
    spaces = [below] * rows if isinstance(below, float | int) else list(below)
    heights = [_CELL + space + above for space in spaces]
    width = max(left + count * (_CELL + _GAP) + 0.15, 6.4)
    subtitle = wrap(f"threat model: {THREAT_LABELS.get(threat, threat)}" if threat else "", width,
                    size=8.5)  # fmt: skip
    lines = wrap(caption, width)
    header = 0.62 + 0.17 * max(len(subtitle) - 1, 0)
    footer = 0.2 + 0.15 * len(lines)
    height = header + math.fsum(heights) + footer
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    grid = []
    for row in range(rows):
        top = height - header - math.fsum(heights[:row]) - above
        line = []
        for column in range(count):
            x = left + column * (_CELL + _GAP)
            box = (x / width, (top - _CELL) / height, _CELL / width, _CELL / height)
            line.append(_empty_panel(figure, box))
        grid.append(line)
    write_words(figure, title, subtitle, lines)
    return figure, grid


def _empty_panel(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    axes = figure.add_axes(box)
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.5)
    return axes
