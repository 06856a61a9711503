"""Contact sheets: pictures side by side in one, to compare them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fststyle.images.load import from_pil
from fststyle.images.resize import resize


def sheet(
    rows: Sequence[Sequence[NDArray[np.float32]]],
    *,
    titles: Sequence[str] = (),
    gap: int = 8,
    cell_height: int | None = None,
) -> NDArray[np.float32]:
    """Lay out pictures in rows on white, as a contact sheet.

    Args:
        rows: Pictures ``(H, W, 3)``, RGB in [0, 1]; at least one in each row. A row's pictures
            are scaled to the same height, shorter rows are filled up with white.
        titles: Drawn above the columns, at most one for each picture of the first row. With
            titles the pictures stand in columns, also where their widths differ.
        gap: White pixels around and between the pictures.
        cell_height: Height of every row; the default is that of the row's first picture.

    Returns:
        The sheet, ``(H, W, 3)``, RGB in [0, 1].
    """
    if not rows or not all(rows) or len(titles) > len(rows[0]):
        raise ValueError("a sheet needs a picture in each row and above no title without one")
    bands: list[list[NDArray[np.float32]]] = []
    columns: list[int] = []
    for row in rows:
        height = len(row[0]) if cell_height is None else cell_height
        widths = [max(1, round(c.shape[1] * height / c.shape[0])) for c in row]
        cells = [resize(c, width=w, height=height) for c, w in zip(row, widths, strict=True)]
        bands.append(cells)
        pairs = itertools.zip_longest(columns, widths, fillvalue=0)
        columns = [max(pair) for pair in pairs]
    if titles:
        bands = [[_in_column(c, w) for c, w in zip(b, columns, strict=False)] for b in bands]
        bands.insert(0, [_title(t, w) for t, w in zip(titles, columns, strict=False)])
    total_width = gap + max(sum(gap + cell.shape[1] for cell in band) for band in bands)
    total_height = gap + sum(gap + len(band[0]) for band in bands)
    canvas = np.ones((total_height, total_width, 3), dtype=np.float32)
    top = gap
    for band in bands:
        left = gap
        for cell in band:
            canvas[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
            left += cell.shape[1] + gap
        top += len(band[0]) + gap
    return canvas


def _in_column(cell: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    left = (width - cell.shape[1]) // 2
    sides = (left, width - cell.shape[1] - left)
    return np.pad(cell, ((0, 0), sides, (0, 0)), constant_values=1)


def contact_sheet(
    pictures: Sequence[NDArray[np.float32]], names: Sequence[str], *, gap: int = 8
) -> NDArray[np.float32]:
    """Lay out pictures of one size in a grid on white, each with its name under it.

    Args:
        pictures: At least one, all of the shape ``(H, W, 3)``, RGB in [0, 1].
        names: One for each picture.
        gap: White pixels around and between the pictures.

    Returns:
        The sheet, ``(H', W', 3)``, RGB in [0, 1], about 4:3 with few places left empty.
    """
    if not pictures or len({picture.shape for picture in pictures}) > 1:
        raise ValueError("a contact sheet needs pictures of one size")
    height, width = pictures[0].shape[:2]
    tiles = [
        np.concatenate([picture, _title(name, width)])
        for picture, name in zip(pictures, names, strict=True)
    ]

    def distance(columns: int) -> float:
        rows = math.ceil(len(tiles) / columns)
        shape = columns * (width + gap) / (rows * (len(tiles[0]) + gap))
        return abs(math.log(shape / (4 / 3))) + math.log(columns * rows / len(tiles))

    columns = min(range(1, len(tiles) + 1), key=distance)
    return sheet(
        [tiles[first : first + columns] for first in range(0, len(tiles), columns)], gap=gap
    )


def _title(text: str, width: int, height: int = 20) -> NDArray[np.float32]:
    """Draw a title, black on white, smaller if it would be wider than its column."""
    strip = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(strip)
    size = 16.0
    while size > 6 and draw.textlength(text, ImageFont.load_default(size)) > width - 4:
        size -= 1
    centre = (width / 2, height / 2)
    draw.text(centre, text, fill="black", font=ImageFont.load_default(size), anchor="mm")
    return from_pil(strip).pixels
