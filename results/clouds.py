"""Clouds of points by class: the file that keeps a grid of them, and its drawing.

A cloud is a set of images as points of a plane, such as t-SNE places them; only nearness means
something, so that axes carry no numbers. Files are ``.npz`` without pickle.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from results.files import load_arrays, write_atomically
from results.row import THREAT_MODELS
from results.style import add_legend, class_color, new_figure, style_context
from validation import check_choice

_PANEL = (2.9, 2.9)
_HOW = "Write the file with results.clouds.save_clouds."


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Cloud:
    """Images as points of a plane.

    Args:
        row: What stands at the left of its row.
        column: What stands above its column.
        points: ``(n, 2)``, finite.

    Raises:
        ValueError: If the points are no such array.
    """

    row: str
    column: str
    points: np.ndarray

    def __post_init__(self) -> None:
        points = np.asarray(self.points, np.float32)
        if points.ndim != 2 or points.shape[1] != 2 or not len(points):
            raise ValueError(
                f"Expected the points of {self.row}, {self.column} as (n, 2), received "
                f"{points.shape}. Place images in a plane."
            )
        if not np.isfinite(points).all():
            raise ValueError(
                f"Expected finite points of {self.row}, {self.column}, received NaN or infinity. "
                "Look at what they were placed by."
            )
        object.__setattr__(self, "points", points)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CloudGrid:
    """Clouds of the same images.

    Args:
        clouds: One for each place of the grid, row by row.
        labels: The class of each image, ``(n,)`` integers.
        names: Names of the classes.
        threat_model: What the attacker knew.

    Raises:
        ValueError: If they are not of the same images, a class has no name, or places are missing.
    """

    clouds: tuple[Cloud, ...]
    labels: np.ndarray
    names: tuple[str, ...]
    threat_model: str

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        sizes = {len(cloud.points) for cloud in self.clouds}
        if sizes != {len(labels)} or labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise ValueError(
                f"Expected clouds of as many images as labels, received {sorted(sizes)} and labels "
                f"{labels.dtype} {labels.shape}. Pass all of the same images."
            )
        if labels.min() < 0 or labels.max() >= len(self.names):
            raise ValueError(
                f"Expected labels of {len(self.names)} classes, received {labels.min()} to "
                f"{labels.max()}. Name every class."
            )
        if len({(c.row, c.column) for c in self.clouds}) != len(self.rows) * len(self.columns):
            raise ValueError(
                f"Expected a cloud for each of {self.rows} and {self.columns}, received "
                f"{len(self.clouds)}. Leave no place out."
            )
        check_choice("the threat model of clouds", self.threat_model, THREAT_MODELS)

    @property
    def rows(self) -> list[str]:
        """Labels of the rows."""
        return list(dict.fromkeys(cloud.row for cloud in self.clouds))

    @property
    def columns(self) -> list[str]:
        """Labels of the columns."""
        return list(dict.fromkeys(cloud.column for cloud in self.clouds))


def save_clouds(
    path: str | Path,
    clouds: Sequence[Cloud],
    labels: np.ndarray,
    *,
    names: Sequence[str],
    threat_model: str,
) -> None:
    """Writes clouds of the same images; the arguments are those of ``CloudGrid``.

    Raises:
        ValueError: If they make no grid.
    """
    grid = CloudGrid(
        clouds=tuple(clouds), labels=labels, names=tuple(names), threat_model=threat_model
    )
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        points=np.stack([cloud.points for cloud in grid.clouds]),
        labels=np.asarray(grid.labels, np.int32),
        places=np.asarray([(cloud.row, cloud.column) for cloud in grid.clouds], np.str_),
        names=np.asarray(grid.names, np.str_),
        threat_model=np.asarray(grid.threat_model, np.str_),
    )
    write_atomically(Path(path), buffer.getvalue())


def load_clouds(path: str | Path) -> CloudGrid:
    """Reads what ``save_clouds`` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, holds objects, or lacks an array.
    """
    kinds = {"points": "f", "labels": "i", "places": "U", "names": "U", "threat_model": "U"}
    arrays = load_arrays(path, kinds, _HOW)
    points, places = arrays["points"], arrays["places"]
    if points.ndim != 3 or places.shape != (len(points), 2):
        raise ValueError(
            f"{path}: expected points (clouds, n, 2) and places (clouds, 2), received "
            f"{points.shape} and {places.shape}. {_HOW}"
        )
    try:
        return CloudGrid(
            clouds=tuple(
                Cloud(row=str(row), column=str(column), points=own)
                for (row, column), own in zip(places, points, strict=True)
            ),
            labels=arrays["labels"],
            names=tuple(map(str, arrays["names"])),
            threat_model=str(arrays["threat_model"]),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error} {_HOW}") from error


def cloud_grid(grid: CloudGrid, title: str, threat: str, footer: str) -> Figure:
    """Draws clouds with the words of ``style.new_figure``, a colour for each class."""
    found = {(cloud.row, cloud.column): cloud.points for cloud in grid.clouds}
    with style_context():
        figure, panels = new_figure(
            title, threat, footer, shape=(len(grid.rows), len(grid.columns)), panel_size=_PANEL
        )
        for row, line in zip(grid.rows, panels, strict=True):
            for column, axes in zip(grid.columns, line, strict=True):
                points = found[row, column]
                for label, name in enumerate(grid.names):
                    x, y = points[grid.labels == label].T
                    look: dict[str, Any] = {"color": class_color(label), "linewidths": 0}
                    axes.scatter(x, y, s=5, label=name, **look)
                axes.set(xticks=[], yticks=[])
                axes.grid(False)
                if row == grid.rows[0]:
                    axes.set_title(column, fontsize=9)
            line[0].set_ylabel(row)
        add_legend(figure, panels[0][-1], panels[0][0].collections)
    return figure
