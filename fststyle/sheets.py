"""Contact sheets: pictures side by side in one, to compare them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fststyle.images import from_pil, resize


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
        titles: Drawn above the pictures of the first row, at most one for each.
        gap: White pixels around and between the pictures.
        cell_height: Height of every row; the default is that of the row's first picture.

    Returns:
        The sheet, ``(H, W, 3)``, RGB in [0, 1].
    """
    if not rows or not all(rows) or len(titles) > len(rows[0]):
        raise ValueError("a sheet needs a picture in each row and above no title without one")
    bands: list[list[NDArray[np.float32]]] = []
    for row in rows:
        height = len(row[0]) if cell_height is None else cell_height
        widths = [max(1, round(c.shape[1] * height / c.shape[0])) for c in row]
        cells = [resize(c, width=w, height=height) for c, w in zip(row, widths, strict=True)]
        if titles and not bands:
            bands.append([_title(t, w) for t, w in zip(titles, widths, strict=False)])
        bands.append(cells)
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
