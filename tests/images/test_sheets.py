from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fststyle.images.sheets import contact_sheet, sheet


def test_sheet_geometry() -> None:
    black, grey = np.zeros((10, 20, 3), np.float32), np.full((20, 20, 3), 0.5, np.float32)

    actual = sheet([[black, grey], [black]], gap=4)

    # First row: 20 + 10 wide (the second picture is halved), both rows 10 high.
    assert actual.shape == (4 + 10 + 4 + 10 + 4, 4 + 20 + 4 + 10 + 4, 3)
    assert actual.dtype == np.float32
    expected = np.ones_like(actual)
    expected[4:14, 4:24] = 0
    expected[4:14, 28:38] = 0.5
    expected[18:28, 4:24] = 0
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_sheet_cell_height() -> None:
    picture = np.zeros((10, 20, 3), np.float32)

    actual = sheet([[picture], [picture, picture]], gap=0, cell_height=5)

    assert actual.shape == (10, 20, 3)
    np.testing.assert_array_equal(actual[:5, 10:], 1)
    np.testing.assert_array_equal(actual[:, :10], 0)
    np.testing.assert_array_equal(actual[5:], 0)


def test_sheet_titles() -> None:
    cells = [np.full((30, 60, 3), 0.5, np.float32)] * 3
    plain = sheet([cells, cells])

    titled = sheet([cells, cells], titles=["photo", "thanos______"])

    added = titled.shape[0] - plain.shape[0]
    assert added > 0
    np.testing.assert_array_equal(titled[added:], plain)
    strip = titled[:added]
    for left, has_ink in ((8, True), (76, True), (144, False)):
        assert (strip[:, left : left + 60].min() < 0.5) == has_ink
    for gap in (0, 68, 136):  # each title fits its column, also one too long at full size
        np.testing.assert_array_equal(strip[:, gap : gap + 9], 1)
    np.testing.assert_array_equal(sheet([cells, cells], titles=["photo"])[added:], plain)


def test_sheet_columns_stand_under_their_titles() -> None:
    def picture(width: int, level: float) -> NDArray[np.float32]:
        return np.full((10, width, 3), level, dtype=np.float32)

    rows = [[picture(100, 0.1), picture(100, 0.2)], [picture(40, 0.1), picture(40, 0.2)]]
    actual = sheet(rows, titles=("a", "b"))[-18:-8]  # the last row
    assert actual.shape[1] == 8 + 2 * (100 + 8)
    for left, level in ((8, 0.1), (116, 0.2)):
        assert (actual[:, left + 30 : left + 70] == np.float32(level)).all()
        assert (actual[:, left : left + 30] == 1).all()
        assert (actual[:, left + 70 : left + 100] == 1).all()


def test_sheet_refuses_empty_rows_and_spare_titles() -> None:
    picture = np.zeros((4, 4, 3), np.float32)

    for rows, titles in (([], []), ([[picture], []], []), ([[picture]], ["a", "b"])):
        with pytest.raises(ValueError, match="a sheet needs"):
            sheet(rows, titles=titles)


def test_arguments_are_not_changed() -> None:
    pixels = np.random.default_rng(0).random((6, 6, 3), dtype=np.float32) * 3 - 1
    before = pixels.copy()

    sheet([[pixels, pixels]], titles=["one", "two"])

    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize(
    ("count", "shape", "grid"),
    [
        (1, (30, 40), (1, 1)),
        (2, (30, 40), (2, 1)),
        (6, (30, 40), (3, 2)),
        (12, (30, 40), (4, 3)),
        (6, (30, 400), (1, 6)),
        (6, (400, 30), (6, 1)),
    ],
)
def test_contact_sheet_grid(count: int, shape: tuple[int, int], grid: tuple[int, int]) -> None:
    pictures = [np.full((*shape, 3), n / 20, np.float32) for n in range(count)]

    actual = contact_sheet(pictures, [str(n) for n in range(count)], gap=4)

    columns, rows = grid
    tile = shape[0] + 20
    assert actual.shape == (4 + rows * (tile + 4), 4 + columns * (shape[1] + 4), 3)
    for n in range(count):
        top, left = 4 + n // columns * (tile + 4), 4 + n % columns * (shape[1] + 4)
        place = actual[top : top + shape[0], left : left + shape[1]]
        np.testing.assert_allclose(place, n / 20, atol=1e-6)
        assert actual[top + shape[0] : top + tile, left : left + shape[1]].min() < 0.5


def test_contact_sheet_needs_images_of_one_size() -> None:
    picture = np.zeros((8, 8, 3), np.float32)
    with pytest.raises(ValueError, match="the same size"):
        contact_sheet([], [])
    with pytest.raises(ValueError, match="the same size"):
        contact_sheet([picture, picture[:4]], ["a", "b"])
    with pytest.raises(ValueError, match="zip"):
        contact_sheet([picture], ["a", "b"])
