"""How figures look, and how they are saved."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
import pytest
from matplotlib.lines import Line2D
from PIL import Image

from results.exhibit import PALETTE
from results.style import (
    add_legend,
    cycle_look,
    figure_bytes,
    new_figure,
    save_figure,
    style_context,
)
from tests.drawn import assert_apart, legend_words, words

LONG = "a title that is so long that it needs another line, which must not run into the panels "


def figure(*, title="a title", label="a line", footer="a footer", columns=1):
    with style_context():
        made, (panels,) = new_figure(title, "threat model", footer, shape=(1, columns))
        for axes in panels:
            (line,) = axes.plot([0, 1], [1, 0], label=label)
            axes.set_xlabel("x")
            axes.set_ylabel("y")
        add_legend(made, panels[-1], [line])
    return made


@pytest.mark.parametrize("columns", [1, 3])
def test_title_panels_legend_and_footer_keep_apart(columns):
    made = figure(title=LONG, label="a name of some length", footer=LONG * 2, columns=columns)
    assert_apart(made)
    assert words(made, "title") == LONG
    assert words(made, "subtitle") == "threat model"


def test_a_longer_legend_makes_a_wider_figure_and_not_smaller_panels():
    short, long = figure(label="short"), figure(label="a name that is much longer than that")
    assert_apart(short)
    assert_apart(long)
    widths = [made.axes[0].get_position().width * made.get_figwidth() for made in (short, long)]
    assert long.get_figwidth() > short.get_figwidth() + 1
    assert widths[0] == pytest.approx(widths[1], abs=0.05)


def test_words_begin_at_one_margin_in_figures_of_any_width():
    for made in (figure(), figure(label="a name that is much longer than that", columns=2)):
        assert_apart(made)
        parts = made.findobj(lambda one: one.get_gid() in ("title", "subtitle", "caption"))
        lefts = [part.get_window_extent().x0 / made.dpi for part in parts]
        assert lefts == pytest.approx([0.12] * 3, abs=0.03)


def test_labels_stand_once_in_the_legend_in_the_order_of_the_lines():
    with style_context():
        made, ((axes,),) = new_figure("t", "s", "f")
        add_legend(made, axes, [Line2D([], [], label=name) for name in ("b", "a", "b", "c")])
    assert legend_words(made) == ["b", "a", "c"]


def test_looks_of_a_cycle_differ_and_none_is_pale():
    looks = [cycle_look(index) for index in range(315)]
    assert len(set(looks)) == 315
    assert PALETTE["grey"] not in {look.color for look in looks}
    assert len({look.color for look in looks[:7]}) == 7


@pytest.mark.parametrize("file_format", ["png", "pdf"])
def test_equal_figures_give_equal_bytes(file_format):
    assert figure_bytes(figure(), file_format) == figure_bytes(figure(), file_format)
    assert figure_bytes(figure(), file_format) != figure_bytes(figure(title="b"), file_format)


def test_other_formats_are_refused():
    with pytest.raises(ValueError, match="one of png, pdf, received 'svg'"):
        figure_bytes(figure(), "svg")


def test_lines_are_saved_in_few_colours_that_look_the_same_and_photographs_in_all():
    made = figure()
    content = figure_bytes(made, "png")
    with style_context():
        made.savefig(whole := io.BytesIO(), format="png")
    picture, reference = (
        np.asarray(Image.open(file).convert("RGB"), np.int64)
        for file in (io.BytesIO(content), io.BytesIO(whole.getvalue()))
    )
    assert Image.open(io.BytesIO(content)).mode == "P"
    assert len(content) < len(whole.getvalue())
    assert np.abs(picture - reference).mean() < 0.5
    made.axes[0].imshow(np.zeros((2, 2, 3)))
    assert Image.open(io.BytesIO(figure_bytes(made, "png"))).mode == "RGBA"


def test_a_pdf_is_written_only_where_it_is_asked_for(tmp_path):
    assert save_figure(figure(), tmp_path / "003.F3.6_cifar10") == [
        tmp_path / "003.F3.6_cifar10.png"
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["003.F3.6_cifar10.png"]
    paths = save_figure(figure(), tmp_path / "003.F3.6_cifar10", pdf=True)
    assert [path.suffix for path in paths] == [".png", ".pdf"]
    assert paths[1].read_bytes().startswith(b"%PDF")


def test_drawing_leaves_no_global_state():
    before = dict(matplotlib.rcParams)
    figure_bytes(figure(), "png")
    assert dict(matplotlib.rcParams) == before
