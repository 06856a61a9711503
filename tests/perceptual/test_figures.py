from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from fststyle.perceptual import figures
from fststyle.perceptual.figures import Curve, loss_figure, optimisation_sheet


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that become PNGs."""
    made: list[Figure] = []
    png = figures._png

    def note(figure: Figure) -> bytes:
        made.append(figure)
        return png(figure)

    monkeypatch.setattr(figures, "_png", note)
    return made


def decode(data: bytes) -> NDArray[np.uint8]:
    with Image.open(BytesIO(data)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def labels(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def test_curves_with_and_without_a_level(drawn: list[Figure]) -> None:
    curves = [
        Curve("one", [0, 1, 2, 10], [4.0, 2.0, 1.0, 0.5], level=0.8),
        Curve("two", [0, 1, 2], [3.0, 1.5, 1.2]),
    ]
    pixels = decode(loss_figure(curves, "A title", "iterations"))
    assert pixels.shape == (550, 880, 3)
    (axes,) = drawn[0].axes
    assert (axes.get_title(), axes.get_xlabel()) == ("A title", "iterations")
    assert (axes.get_xscale(), axes.get_yscale()) == ("symlog", "log")
    assert labels(axes) == ["one", "two"]
    first, level, second = axes.lines
    np.testing.assert_array_equal(first.get_ydata(), curves[0].losses)
    np.testing.assert_array_equal(second.get_xdata(), curves[1].iterations)
    np.testing.assert_array_equal(level.get_ydata(), [0.8, 0.8])
    assert (level.get_linestyle(), first.get_linestyle()) == ("--", "-")
    assert level.get_color() == first.get_color() != second.get_color()
    assert axes.get_xlim()[0] == 0  # the photograph itself, before any iteration
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "1", "2", "5", "10"]


def test_level_that_no_curve_reaches_is_in_sight(drawn: list[Figure]) -> None:
    loss_figure([Curve("one", [0, 1], [4.0, 2.0], level=0.01)], "", "")
    assert drawn[0].axes[0].get_ylim()[0] < 0.01


# Warnings are errors in these tests.
@pytest.mark.parametrize(
    "label", ["_hidden.jpg", "a$b$c", "$", r"\frac", "100%", "狗.jpg", "a\udcff"]
)
def test_any_file_name_can_be_a_label(drawn: list[Figure], label: str) -> None:
    decode(loss_figure([Curve(label, [0, 1], [2.0, 1.0])], label, "x"))
    (shown,) = labels(drawn[0].axes[0])
    expected = label.encode("utf-8", "backslashreplace").decode()
    assert shown.replace(r"\$", "$").strip() == expected


def test_long_names_leave_room_for_the_plot(drawn: list[Figure]) -> None:
    name = "begin" + "x" * 240 + "end"
    decode(loss_figure([Curve(name, [0, 1], [2.0, 1.0])], name, "x"))
    (axes,) = drawn[0].axes
    for shown in (*labels(axes), axes.get_title()):
        assert shown.startswith("beginx")
        assert shown.endswith("xend")
    assert axes.get_position().width > 0.8


def test_nothing_to_draw() -> None:
    assert decode(loss_figure([], "none", "x")).shape == (550, 880, 3)


def pictures() -> tuple[Any, Any, Any]:
    colours = ((20, 30, (1, 0, 0)), (40, 24, (0, 1, 0)), (20, 30, (0, 0, 1)))
    return tuple(np.full((h, w, 3), c, dtype=np.float32) for h, w, c in colours)  # type: ignore[return-value]


def test_optimisation_sheet(drawn: list[Figure]) -> None:
    terms = {"content": [0.0, 0.5, 0.6], "style": [9.0, 2.0, 1.0], "tv": [0.0, 0.0, 0.0]}
    pixels = decode(optimisation_sheet(*pictures(), terms))
    assert pixels.shape == (880, 1430, 3)
    *shown, plot = drawn[0].axes
    assert [axes.get_title() for axes in shown] == ["original", "style", "result"]
    edges: list[int] = []  # of the three pictures, from left to right
    for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255)):
        columns = np.flatnonzero((pixels[:500] == colour).all(axis=2).any(axis=0))
        edges += [int(columns.min()), int(columns.max())]
        assert edges[-1] - edges[-2] > 150
    assert edges == sorted(edges)
    assert plot.get_yscale() == "log"
    assert labels(plot) == ["content", "style"]  # a term that is always zero has no logarithm
    content, style = plot.lines
    np.testing.assert_array_equal(content.get_ydata(), terms["content"])
    np.testing.assert_array_equal(style.get_xdata(), [1, 2, 3])


def test_a_single_iteration_is_seen(drawn: list[Figure]) -> None:
    optimisation_sheet(*pictures(), {"style": [2.0]})
    (line,) = drawn[0].axes[-1].lines
    assert line.get_marker() == "."


@pytest.mark.parametrize("terms", [{}, {"style": []}, {"style": [0.0, 0.0]}])
def test_sheet_without_a_loss(drawn: list[Figure], terms: dict[str, list[float]]) -> None:
    assert decode(optimisation_sheet(*pictures(), terms)).shape == (880, 1430, 3)
    assert drawn[0].axes[-1].lines[:] == []


def test_figures_need_no_display_and_leave_pyplot_alone() -> None:
    import sys

    before = "matplotlib.pyplot" in sys.modules
    loss_figure([Curve("one", [0, 1], [2.0, 1.0])], "", "")
    assert ("matplotlib.pyplot" in sys.modules) == before


@pytest.mark.parametrize("highest", [2.0, 50.0, 1e9])
def test_logarithmic_axis_has_labels_whatever_its_range(highest: float) -> None:
    axes = Figure().add_subplot()
    axes.plot([0, 1], [1.0, highest])
    figures._logarithmic(axes)
    bottom, top = axes.get_ylim()
    assert sum(bool(bottom <= tick <= top) for tick in axes.get_yticks()) >= 2
