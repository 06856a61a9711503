"""Contact sheets: several images side by side in one image, for comparison."""

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
    """Arrange images in rows on a white sheet.

    Args:
        rows: Rows of images ``(H, W, 3)``, RGB in [0, 1], with at least one image in each row.
            Images in the same row are scaled to the same height.
        titles: Column titles, at most one for each image in the first row. If there are titles,
            images of different widths are aligned in columns.
        gap: Width of the white space around and between the images, in pixels.
        cell_height: Height of every row in pixels. By default, each row is as high as its first
            image.

    Returns:
        ``(H, W, 3)``, RGB in [0, 1].

    Example:
        >>> image = np.zeros((20, 30, 3), np.float32)
        >>> sheet([[image, image]], gap=5).shape
        (30, 75, 3)
    """
    if not rows or not all(rows) or len(titles) > len(rows[0]):
        raise ValueError("a sheet needs an image in each row and below each title")
    bands: list[list[NDArray[np.float32]]] = []
    columns: list[int] = []
    for row in rows:
        height = len(row[0]) if cell_height is None else cell_height
        widths = [max(1, round(c.shape[1] * height / c.shape[0])) for c in row]
        cells = [resize(c, width=w, height=height) for c, w in zip(row, widths, strict=True)]
        bands.append(cells)
        columns = list(map(max, itertools.zip_longest(columns, widths, fillvalue=0)))
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
    images: Sequence[NDArray[np.float32]], names: Sequence[str], *, gap: int = 8
) -> NDArray[np.float32]:
    """Arrange images of the same size in a grid on a white sheet, with names below them.

    Args:
        images: Images of the same shape ``(H, W, 3)``, RGB in [0, 1]; at least one.
        names: Names of the images.
        gap: Width of the white space around and between the images, in pixels.

    Returns:
        The sheet, ``(H', W', 3)``, RGB in [0, 1]. The grid is chosen so that the sheet's aspect
        ratio is close to 4:3 and few cells are empty.
    """
    if not images or len({image.shape for image in images}) > 1:
        raise ValueError("a contact sheet needs at least one image, all of the same size")
    height, width = images[0].shape[:2]
    tiles = [
        np.concatenate([image, _title(name, width)])
        for image, name in zip(images, names, strict=True)
    ]

    def distance(columns: int) -> float:
        count = math.ceil(len(tiles) / columns)
        shape = columns * (width + gap) / (count * (len(tiles[0]) + gap))
        return abs(math.log(shape / (4 / 3))) + math.log(columns * count / len(tiles))

    columns = min(range(1, len(tiles) + 1), key=distance)
    rows = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
    return sheet(rows, gap=gap)


def _title(text: str, width: int, height: int = 20) -> NDArray[np.float32]:
    """Draw a title in black on white, in a smaller font if it is too wide for its column."""
    strip = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(strip)
    size = 16.0
    while size > 6 and draw.textlength(text, ImageFont.load_default(size)) > width - 4:
        size -= 1
    centre = (width / 2, height / 2)
    draw.text(centre, text, fill="black", font=ImageFont.load_default(size), anchor="mm")
    return from_pil(strip).pixels
