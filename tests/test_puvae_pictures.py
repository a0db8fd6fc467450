"""The PuVAE paper's pictures: images, decisions and the class that was chosen."""

from __future__ import annotations

import numpy as np
import pytest

from results import puvae_images
from results.style import PALETTE
from tests.drawn import projections, words


def test_projections_show_images_decisions_and_the_class_chosen(tmp_path):
    path = tmp_path / "004.F4_mnist.npz"
    puvae_images.save_projections(
        path, **projections(), class_names=["cat", "dog", "ship"], threat_model="oblivious"
    )
    figure = puvae_images.projection_grid(path, "t", "c")
    assert len(figure.axes) == 4 * 3
    images = [np.asarray(axes.get_images()[0].get_array()) for axes in figure.axes]
    np.testing.assert_array_equal(images[3], projections()["attacked"][0, ..., 0])
    assert images[6][0, 0] == pytest.approx(0.75) and images[7][0, 0] == pytest.approx(0.5)
    np.testing.assert_array_equal(images[11], projections()["purified"][2, ..., 0])
    above = [axes.get_title() for axes in figure.axes]
    assert above == ["cat", "dog", "dog", "dog ✗", "dog ✓", "cat ✗", "", "", "",
                     "cat ✓", "ship ✗", "dog ✓"]  # fmt: skip
    assert [axes.get_xlabel() for axes in figure.axes[9:]] == ["cat ✓", "dog ✓", "ship ✗"]
    assert {axes.get_xlabel() for axes in figure.axes[:9]} == {""}
    assert figure.axes[11].xaxis.label.get_color() == PALETTE["vermillion"]
    assert words(figure, "subtitle").startswith("threat model: oblivious")
    assert len(puvae_images.projection_grid(path, "t", "c", columns=2).axes) == 4 * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chosen": np.array([0, 1, 1])}, "class of the nearest candidate"),
        ({"chosen": np.array([0, 1, 7])}, "chosen in 0 to 2"),
        ({"purified": projections()["clean"]}, "one and the same draw"),
        ({"attacked": projections()["clean"] + 1}, r"attacked in \[0, 1\]"),
        ({"candidates": projections()["candidates"][:, :2]}, "candidates of shape"),
        ({"distances": np.array([0.1, 0.2, 0.3])}, "distances of shape"),
        ({"decisions": np.array([0, 1])}, r"decisions of shape \(3,\)"),
        ({"clean": np.zeros((3, 8, 8))}, "height, width"),
    ],
)
def test_projections_that_contradict_themselves_are_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        puvae_images.save_projections(tmp_path / "x.npz", **{**projections(), **change})
    assert not list(tmp_path.iterdir())


def coefficients() -> dict[str, np.ndarray]:
    """One grey image as three classes, by two triples of weights."""
    candidates = np.stack([np.full((3, 8, 8, 1), value, "float32") for value in (0.2, 0.7)])
    return {
        "clean": np.full((8, 8, 1), 0.4, "float32"),
        "attacked": np.full((8, 8, 1), 0.5, "float32"),
        "label": np.asarray(1),
        "candidates": candidates,
        "chosen": np.array([2, 1]),
        "weights": np.array([[0.1, 0.1, 10.0], [0.01, 0.1, 10.0]]),
        "accuracy": np.array([0.5, 0.75]),
    }


def test_coefficients_show_a_row_of_candidates_per_triple(tmp_path):
    path = tmp_path / "x.npz"
    puvae_images.save_coefficients(path, **coefficients(), threat_model="oblivious")
    figure = puvae_images.coefficient_grid(path, "t", "c")
    assert len(figure.axes) == 3 * 3
    assert [axes.get_title() for axes in figure.axes[:2]] == ["clean", "attacked"]
    assert [axes.get_title() for axes in figure.axes[3:6]] == ["0", "1", "2"]
    side = figure.axes[6].get_ylabel()
    assert "= 0.01\n" in side and "= 0.1\n" in side and "= 10\n" in side
    assert side.endswith("75.0 % correct")
    framed = [axes.spines["left"].get_linewidth() > 2 for axes in figure.axes[3:]]
    assert framed == [False, False, True, False, True, False]
    assert np.asarray(figure.axes[3].get_images()[0].get_array())[0, 0] == pytest.approx(0.2)
    for name, value, message in [
        ("weights", np.zeros((3, 3)), r"weights of shape \(2, 3\)"),
        ("accuracy", np.array([50.0, 60.0]), r"accuracy in \[0, 1\]"),
        ("weights", -coefficients()["weights"], "weights >= 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            puvae_images.coefficient_grid({**coefficients(), name: value}, "t", "c")


def test_files_of_pictures_are_checked_when_read_and_written(tmp_path):
    with pytest.raises(ValueError, match=r"ending in \.npz"):
        puvae_images.save_coefficients(tmp_path / "x.npy", **coefficients())
    broken = tmp_path / "x.npz"
    broken.write_bytes(b"nothing")
    for draw in (puvae_images.projection_grid, puvae_images.coefficient_grid):
        with pytest.raises(ValueError, match="unreadable file"):
            draw(broken, "t", "c")
    lacking = {name: value for name, value in projections().items() if name != "chosen"}
    with pytest.raises(ValueError, match=r"missing \['chosen'\].*save_projections"):
        puvae_images.projection_grid(lacking, "t", "c")
