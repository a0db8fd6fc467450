"""Clouds of points: what is kept comes back, and every class is drawn in its place."""

from __future__ import annotations

import numpy as np
import pytest

from results.clouds import Cloud, CloudGrid, cloud_grid, load_clouds, save_clouds
from results.style import class_color

POINTS = np.arange(12, dtype=np.float32).reshape(6, 2)
LABELS = np.array([0, 1, 2, 0, 1, 2])
NAMES = ("zero", "one", "two")


def clouds():
    return [
        Cloud(row=row, column=column, points=POINTS + number)
        for number, (row, column) in enumerate(
            (row, column) for row in ("pixels", "logits") for column in ("clean", "attacked")
        )
    ]


def saved(tmp_path):
    path = tmp_path / "clouds.npz"
    save_clouds(path, clouds(), LABELS, names=NAMES, threat_model="oblivious")
    return path


def test_what_is_stored_is_what_comes_back(tmp_path):
    grid = load_clouds(saved(tmp_path))
    assert grid.rows == ["pixels", "logits"] and grid.columns == ["clean", "attacked"]
    assert grid.names == NAMES and grid.threat_model == "oblivious"
    np.testing.assert_array_equal(grid.labels, LABELS)
    for one, other in zip(grid.clouds, clouds(), strict=True):
        assert (one.row, one.column) == (other.row, other.column)
        np.testing.assert_array_equal(one.points, other.points)


def test_each_class_is_drawn_where_its_images_lie(tmp_path):
    figure = cloud_grid(load_clouds(saved(tmp_path)), "title", "threat", "footer")
    panels = [axes for part in figure.subfigs for axes in part.axes]
    assert [axes.get_title() for axes in panels] == ["clean", "attacked", "", ""]
    assert [axes.get_ylabel() for axes in panels] == ["pixels", "", "logits", ""]
    for number, axes in enumerate(panels):
        for label, drawn in enumerate(axes.collections):
            np.testing.assert_array_equal(drawn.get_offsets(), (POINTS + number)[label == LABELS])
    legend = panels[1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == list(NAMES)


def test_ten_classes_have_ten_colours():
    assert len({class_color(label) for label in range(10)}) == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": LABELS[:5]}, "as many images as labels"),
        ({"labels": LABELS.astype("float32")}, "as many images as labels"),
        ({"names": NAMES[:2]}, "labels of 2 classes, received 0 to 2"),
        ({"clouds": tuple(clouds()[:3])}, "Leave no place out"),
        ({"threat_model": "white-box"}, "the threat model of clouds"),
    ],
)
def test_grids_that_do_not_fit_are_refused(changes, message):
    given = {"clouds": tuple(clouds()), "labels": LABELS, "names": NAMES}
    with pytest.raises(ValueError, match=message):
        CloudGrid(**{**given, "threat_model": "none", **changes})


@pytest.mark.parametrize("points", [np.zeros((3, 3)), np.zeros((0, 2)), np.full((3, 2), np.nan)])
def test_points_are_finite_pairs(points):
    with pytest.raises(ValueError, match="points of pixels, clean"):
        Cloud(row="pixels", column="clean", points=points)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"points": np.zeros((4, 6, 2), np.int32)}, "points of NumPy's kind 'f'"),
        ({"places": np.asarray([("a", "b")])}, "places"),
        ({"labels": np.zeros(3, np.int32)}, "as many images as labels"),
        ({"names": None}, "the array 'names'"),
    ],
)
def test_damaged_files_are_refused(tmp_path, arrays, message):
    path = saved(tmp_path)
    with np.load(path) as file:
        kept = {**dict(file), **arrays}
    np.savez(path, **{name: array for name, array in kept.items() if array is not None})
    with pytest.raises(ValueError, match=message):
        load_clouds(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="unreadable file"):
        load_clouds(path)
