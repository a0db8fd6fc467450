"""Grids of pictures: what is stored is what is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from results.exhibit import PALETTE
from results.pictures import (
    PictureGrid,
    PictureRow,
    amplify,
    load_pictures,
    picture_grid,
    pictures_path,
    save_pictures,
)
from results.style import GREY
from tests.drawn import assert_apart, words


def images(*values, channels=1):
    return np.stack([np.full((8, 8, channels), value, np.float32) for value in values])


def rows():
    return [
        PictureRow(label="clean\nlabel", images=images(0.0, 0.2, 1.0), words=["0", "1", "2"]),
        PictureRow(
            label="attacked",
            images=images(0.4, 0.6, 0.8),
            words=["1\n(7)", "1", "0"],
            right=[False, True, None],
            framed=[False, True, False],
        ),
        PictureRow(label="two of three", images=images(0.1, 0.3)),
    ]


def test_what_is_stored_is_what_comes_back(tmp_path):
    path = tmp_path / "F.npz"
    save_pictures(path, rows(), threat_model="oblivious")
    grid = load_pictures(path)
    assert grid.threat_model == "oblivious"
    assert grid.num_columns == 3
    for row, stored in zip(rows(), grid.rows, strict=True):
        assert stored.label == row.label
        assert stored.images.shape == row.images.shape
        np.testing.assert_allclose(stored.images, row.images, atol=0.5 / 255)
        assert (stored.words, stored.right, stored.framed) == (row.words, row.right, row.framed)


def test_equal_pictures_give_equal_bytes(tmp_path):
    for name in "ab":
        save_pictures(tmp_path / f"{name}.npz", rows(), threat_model="oblivious")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_the_grid_shows_images_words_marks_and_frames(tmp_path):
    save_pictures(tmp_path / "F.npz", rows(), threat_model="oblivious")
    figure = picture_grid(tmp_path / "F.npz", "title", "threat", "footer")
    assert_apart(figure)
    panels = np.reshape(figure.axes, (3, 3))
    shown = [[float(one.images[0].get_array().mean()) for one in line] for line in panels[:2]]
    np.testing.assert_allclose(shown, [[0, 0.2, 1], [0.4, 0.6, 0.8]], atol=0.002)
    assert [one.get_xlabel() for one in panels[1]] == ["1 ✗\n(7)", "1 ✓", "0"]
    assert [one.xaxis.label.get_color() for one in panels[1]] == [
        PALETTE["vermillion"],
        PALETTE["blue"],
        GREY,
    ]
    heavy = [one.spines["left"].get_linewidth() > 1 for one in panels.ravel()[:6]]
    assert heavy == [False, False, False, False, True, False]
    assert [one.get_visible() for one in panels[2]] == [True, True, False]
    assert [line[0].get_ylabel() for line in panels] == ["clean\nlabel", "attacked", "two of three"]
    assert words(figure, "title") == "title"
    assert words(figure, "subtitle") == "threat"
    assert words(figure, "caption") == "footer"


def test_colour_images_are_drawn_in_colour():
    row = PictureRow(label="", images=images(0.5, channels=3))
    (axes,) = picture_grid(PictureGrid((row,), "none"), "t", "s", "f").axes
    assert axes.images[0].get_array().shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": images(1.5)}, r"'a' in \[0, 1\], received values from 1.5"),
        ({"images": images(float("nan"))}, r"in \[0, 1\]"),
        ({"images": np.zeros((8, 8, 1))}, r"received \(8, 8, 1\)"),
        ({"images": images(0.5, channels=2)}, "1 or 3"),
        ({"words": ["1", "2"]}, "words of 'a' for each of 1 images, received 2"),
        ({"right": [True, False]}, "right of 'a'"),
        ({"framed": [True, False]}, "framed of 'a'"),
    ],
)
def test_rows_that_cannot_be_shown_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        PictureRow(**{"label": "a", "images": images(0.5), **changes})


def test_rows_of_different_shapes_are_refused(tmp_path):
    others = [*rows(), PictureRow(label="", images=np.zeros((1, 9, 8, 1)))]
    with pytest.raises(ValueError, match="images of one shape"):
        save_pictures(tmp_path / "F.npz", others, threat_model="none")
    with pytest.raises(ValueError, match=r"ending in \.npz"):
        save_pictures(tmp_path / "F.png", rows(), threat_model="none")
    assert not list(tmp_path.iterdir())


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "F.npz"
    save_pictures(path, rows(), threat_model="oblivious")
    with np.load(path) as file:
        arrays = dict(file)
    content = path.read_bytes()
    encrypted = bytearray(content)
    encrypted[content.index(b"PK\x01\x02") + 8] ^= 1
    for damaged in (content[:200], encrypted):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="unreadable file"):
            load_pictures(path)
    with pytest.raises(FileNotFoundError):
        load_pictures(tmp_path / "G.npz")
    np.savez(path, **{name: arrays[name] for name in arrays if name != "right"})
    with pytest.raises(ValueError, match="expected the array 'right', received"):
        load_pictures(path)
    np.savez(path, **{**arrays, "framed": arrays["framed"][:, :2]})
    with pytest.raises(ValueError, match=r"framed of shape \(3, 3\), received \(3, 2\)"):
        load_pictures(path)
    np.savez(path, **{**arrays, "images": arrays["images"] / 255})
    with pytest.raises(ValueError, match="images of NumPy's kind 'u', received float64"):
        load_pictures(path)
    np.savez(path, **{**arrays, "words": arrays["words"].astype(object)})
    with pytest.raises(ValueError, match="plain arrays"):
        load_pictures(path)


def test_amplify_keeps_zero_grey():
    shown, factor = amplify(np.array([0.1, 0.0, -0.2]))
    np.testing.assert_allclose(shown, [0.75, 0.5, 0.0])
    assert factor == pytest.approx(2.5)
    shown, factor = amplify(np.zeros(3))
    np.testing.assert_array_equal(shown, [0.5] * 3)
    assert factor == 1.0


def test_other_seeds_have_files_of_their_own(tmp_path):
    assert pictures_path(tmp_path, "004.F4", "mnist") == tmp_path / "004.F4_mnist.npz"
    assert pictures_path(tmp_path, "004.F4", "mnist", 2).name == "004.F4_mnist_seed2.npz"
