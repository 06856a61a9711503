"""Stylising photos of any size: tile geometry, memory limits, and tiles without visible seams.

Instance norm depends on the whole photo, so tiles that are stylised independently do not fit
together. Here, the norms' statistics are measured only once, on a sample of the photo at full
resolution, and then pinned for every tile. (Chen, Wang, Xie, Lu, Luo, "Towards Ultra-Resolution
Neural Style Transfer via Thumbnail Instance Normalization", AAAI 2022, use a thumbnail instead.)
Every tile is computed with a margin as wide as the network's receptive radius, and its origin is a
multiple of the network's total stride. The pixels of each tile are then exactly the same as if the
photo had been processed as a whole.

The sample consists of many small crops rather than a thumbnail, because edges are sharper in a
thumbnail than in the photo, and trained networks react to that. See docs/large_photos.md for the
measurements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fststyle.images.photo import Pixels
from fststyle.styles.grain import NO_GRAIN, Grain
from fststyle.styles.shape import STRIDE

WHOLE_PIXELS: Final = 16_000_000
"""Photos with up to this number of pixels are processed as a whole if there is enough memory."""

SMALL_PIXELS: Final = 2_000_000
"""Photos with up to this number of pixels are processed as a whole without checking the memory."""

SAMPLE_PIXELS: Final = 4_000_000
"""For photos with up to this number of pixels, the sample is the whole photo."""

LARGEST_TILE: Final = 2048
SMALLEST_TILE: Final = 256
_CROP: Final = 96
_INSET: Final = 16
_WHOLE: Final = (slice(None), slice(None))
_PLASTIC: Final = 1.324717957244746  # the real root of x³ = x + 1
_BYTES_A_PIXEL: Final = 160

Forward = Callable[..., NDArray[np.float32]]
"""Function from a photo ``(1, 3, H, W)`` to a result of the same shape, both RGB in [0, 1].

Networks that follow a map of the strength take its positions ``(1, 1, H, W)`` as a second argument,
from `to_positions`.
"""


class Tile(NamedTuple):
    """A part of a photo.

    Attributes:
        computed: Rows and columns that are computed.
        kept: Rows and columns of the result that are kept.
    """

    computed: tuple[slice, slice]
    kept: tuple[slice, slice]

    @property
    def inner(self) -> tuple[slice, slice]:
        """The kept rows and columns, relative to the upper left corner of the computed area."""
        rows, columns = (
            slice(k.start - c.start, k.stop - c.start)
            for k, c in zip(self.kept, self.computed, strict=True)
        )
        return rows, columns


def tiles(height: int, width: int, side: int, margin: int) -> Iterator[Tile]:
    """Divide a photo into tiles of roughly equal size.

    Args:
        height: Height of the photo in pixels.
        width: Width of the photo in pixels.
        side: Maximum height and width of the kept part of a tile, rounded up to a multiple of
            `STRIDE`.
        margin: Width of the extra area computed around the kept part, a multiple of `STRIDE`. The
            extra area never extends beyond the photo's borders.

    Yields:
        The tiles, row by row. The kept parts cover each pixel of the photo exactly once.

    Example:
        >>> from fststyle.runtime.tiling import tiles
        >>> len(list(tiles(100, 200, side=100, margin=16)))
        2
    """
    for rows in _spans(height, side, margin):
        for columns in _spans(width, side, margin):
            yield Tile((rows[0], columns[0]), (rows[1], columns[1]))


class Sample(NamedTuple):
    """The parts of a photo that are used to measure its statistics.

    Attributes:
        batch: The parts, ``(N, 3, h, w)`` in [0, 1].
        inset: Number of pixels to ignore at the upper and lower borders of each part, and number
            of pixels to ignore at the left and right borders. Padding distorts these pixels if the
            photo continues beyond the part.
        positions: The same parts of a map, ``(N, 1, H, W)``, from `to_positions`, if there is one.
    """

    batch: NDArray[np.float32]
    inset: tuple[int, int]
    positions: NDArray[np.float32] | None = None


def take_sample(
    pixels: Pixels, positions: NDArray[np.float32] | None = None, grain: Grain = NO_GRAIN
) -> Sample:
    """Choose the sample that is used to measure a photo's statistics.

    Args:
        pixels: The photo.
        positions: Position of the dial for each pixel, ``(H, W)``, if there is a map.
        grain: Noise that is added to the photo.

    Returns:
        The whole photo if it has at most `SAMPLE_PIXELS` pixels, otherwise one crop from each cell
        of a regular grid. In photos of the same size, the crops are always in the same places.
    """
    height, width = pixels.shape[:2]
    if height * width <= SAMPLE_PIXELS:
        return Sample(to_batch(pixels, grain), (0, 0), *_positions(positions, [np.s_[:, :]]))
    high, wide = min(_CROP, height), min(_CROP, width)
    share = math.sqrt(SAMPLE_PIXELS / (height * width))
    count = SAMPLE_PIXELS // (high * wide)
    down = max(1, min(round(height * share / high), count))
    across = max(1, min(count // down, width // wide))
    areas = []
    for row in range(down):
        for column in range(across):
            # Roberts' sequence varies the position within the cell, so that crops do not align
            # with repeating patterns in the photo.
            number = row * across + column + 1
            y, x = (number / _PLASTIC % 1, number / _PLASTIC**2 % 1)
            top = int((row + y) * (height - high) / down)
            left = int((column + x) * (width - wide) / across)
            areas.append((slice(top, top + high), slice(left, left + wide)))
    inset = (_INSET if high < height else 0, _INSET if wide < width else 0)
    batch = np.concatenate([to_batch(pixels, grain, area) for area in areas])
    return Sample(batch, inset, *_positions(positions, areas))


def run_in_tiles(
    pixels: Pixels,
    forward: Forward,
    *,
    side: int,
    margin: int,
    positions: NDArray[np.float32] | None = None,
    grain: Grain = NO_GRAIN,
) -> Pixels:
    """Run a network with pinned statistics on a photo, tile by tile.

    Args:
        pixels: Photo to process. The photo is converted to float32 one tile at a time.
        forward: Network to run.
        side: Maximum height and width of the kept part of a tile.
        margin: Width of the extra area computed around the kept part, which must be at least the
            network's receptive radius.
        positions: Position of the dial for each pixel, ``(H, W)``, if there is a map.
        grain: Noise that is added to the photo.

    Returns:
        The result, with the photo's shape and dtype. If the dtype is uint8, values are rounded.
    """
    height, width = pixels.shape[:2]
    result = np.empty_like(pixels, order="C")
    for tile in tiles(height, width, side, margin):
        rows, columns = tile.inner
        maps = _positions(positions, [tile.computed])
        computed = forward(to_batch(pixels, grain, tile.computed), *maps)[:, :, rows, columns]
        result[tile.kept] = from_batch(computed, pixels)
    return result


def to_batch(
    pixels: Pixels,
    grain: Grain = NO_GRAIN,
    area: tuple[slice, slice] = _WHOLE,
) -> NDArray[np.float32]:
    """Convert an area of a photo to a contiguous array ``(1, 3, H, W)``, float32 in [0, 1].

    Args:
        pixels: The photo, ``(H, W, 3)``.
        grain: Noise that is added. Values may then exceed the range slightly.
        area: Rows and columns to convert.
    """
    part = pixels[area]
    planes = np.array(part.transpose(2, 0, 1)[np.newaxis], np.float32, order="C")
    if pixels.dtype == np.uint8:
        planes /= np.float32(255)  # bit for bit the same conversion as elsewhere
    if grain.level:
        origin = (area[0].start or 0, area[1].start or 0)
        planes += grain(part.shape[0], part.shape[1], origin)
    return planes


def to_positions(positions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert a map of positions ``(H, W)`` to the second input of a network, ``(1, 1, H, W)``.

    The map is extended at its lower and right edges, so that its sides are multiples of `STRIDE`.
    """
    missing = [(0, -length % STRIDE) for length in positions.shape]
    return np.pad(positions, missing, mode="edge")[np.newaxis, np.newaxis]


def from_batch(batch: NDArray[np.float32], like: Pixels) -> Pixels:
    """Convert ``(1, 3, H, W)`` in [0, 1] to a new ``(H, W, 3)`` array with ``like``'s dtype."""
    planes = batch[0].transpose(1, 2, 0)
    if like.dtype == np.uint8:
        scaled = planes * np.float32(255)
        np.rint(scaled, out=scaled)
        planes = scaled
    converted: Pixels = planes.astype(like.dtype, order="C")  # always a copy
    return converted


def choose_tile(height: int, width: int, memory: int) -> int | None:
    """Decide whether to process a photo as a whole or in tiles.

    Args:
        height: Height of the photo in pixels.
        width: Width of the photo in pixels.
        memory: Number of free bytes. At most half of the free memory is used.

    Returns:
        The side of the tiles, or ``None`` to process the photo as a whole.
    """
    affordable = memory // 2 // _BYTES_A_PIXEL
    if height * width <= min(WHOLE_PIXELS, affordable):
        return None
    side = math.isqrt(affordable) // STRIDE * STRIDE
    return max(SMALLEST_TILE, min(LARGEST_TILE, side))


def available_memory() -> int:
    """Return the number of bytes of memory that this process can still use.

    This is either the memory that the system reports as available or the memory that remains within
    the container's limit, whichever is less.
    """
    import psutil

    free = int(psutil.virtual_memory().available)
    for limit, used in _CGROUP_FILES:
        try:
            room = int(Path(limit).read_text()) - int(Path(used).read_text())
        except (OSError, ValueError):  # no such file, or "max"
            continue
        free = min(free, max(0, room))
    return free


# Limits of Linux control groups (versions 2 and 1), as seen inside a container. psutil does not
# read them.
_CGROUP_FILES: Final = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def _positions(
    positions: NDArray[np.float32] | None, areas: Iterable[tuple[slice, slice]]
) -> list[NDArray[np.float32]]:
    """Return the parts of a map as one batch, in a list that is empty if there is no map."""
    if positions is None:
        return []
    return [np.concatenate([to_positions(positions[area]) for area in areas])]


def _spans(length: int, side: int, margin: int) -> Iterator[tuple[slice, slice]]:
    count = math.ceil(length / (math.ceil(side / STRIDE) * STRIDE))
    step = math.ceil(length / count / STRIDE) * STRIDE
    for start in range(0, length, step):
        stop = min(start + step, length)
        yield slice(max(0, start - margin), min(length, stop + margin)), slice(start, stop)
