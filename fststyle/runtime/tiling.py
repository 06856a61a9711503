"""Photos of any size: geometry, memory, and running a network tile by tile without seams.

Instance norm looks at the whole photo, so tiles that are stylised one by one do not fit together.
Here the norms' statistics are taken once, from a sample of the photo at its own resolution, and
pinned for every tile (Chen, Wang, Xie, Lu, Luo, "Towards Ultra-Resolution Neural Style Transfer
via Thumbnail Instance Normalization", AAAI 2022, who take them from a thumbnail). Every tile is
computed with a margin as wide as the network sees, from an origin that is a multiple of its total
stride: it then gets the very values that it would have in the whole picture.

The sample is many small crops instead of a thumbnail: a thumbnail's edges are sharper than
the photo's, and trained networks answer to that. docs/large_photos.md has the measurements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fststyle.images.photo import Pixels
from fststyle.styles.shape import STRIDE

WHOLE_PIXELS: Final = 16_000_000
"""Photos up to this size are run whole where the memory allows it."""

SMALL_PIXELS: Final = 2_000_000
"""Photos up to this size are run whole without a look at the memory."""

SAMPLE_PIXELS: Final = 4_000_000
"""Photos up to this size are their own sample: their tiles get the whole photo's statistics."""

LARGEST_TILE: Final = 2048
SMALLEST_TILE: Final = 256
_CROP: Final = 96
_INSET: Final = 16
_PLASTIC: Final = 1.324717957244746  # the real root of x³ = x + 1
_BYTES_A_PIXEL: Final = 160

Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""``(1, 3, H, W)`` → the same shape, RGB in [0, 1]."""


class Tile(NamedTuple):
    """A part of a photo: rows and columns that are computed, and those that are kept of them."""

    computed: tuple[slice, slice]
    kept: tuple[slice, slice]

    @property
    def inner(self) -> tuple[slice, slice]:
        """What is kept, counted from the corner of what is computed."""
        rows, columns = (
            slice(k.start - c.start, k.stop - c.start)
            for k, c in zip(self.kept, self.computed, strict=True)
        )
        return rows, columns


def tiles(height: int, width: int, side: int, margin: int) -> Iterator[Tile]:
    """Divide a photo into tiles of about equal size.

    Args:
        height: Of the photo.
        width: Of the photo.
        side: Largest height and width of what is kept of a tile; rounded up to a multiple of
            `STRIDE`.
        margin: What is computed around it, a multiple of `STRIDE`; less at the photo's borders.

    Yields:
        The tiles row by row. What is kept of them covers the photo, each pixel once.
    """
    for rows in _spans(height, side, margin):
        for columns in _spans(width, side, margin):
            yield Tile((rows[0], columns[0]), (rows[1], columns[1]))


class Sample(NamedTuple):
    """What a photo's statistics are measured on.

    Attributes:
        batch: ``(N, 3, h, w)`` in [0, 1].
        inset: Pixels along the upper and lower, and the left and right borders of each that do
            not count, since they lie at borders that the photo does not have.
    """

    batch: NDArray[np.float32]
    inset: tuple[int, int]


def take_sample(pixels: Pixels) -> Sample:
    """Take the sample of a photo from which its statistics are measured.

    Args:
        pixels: The photo.

    Returns:
        The photo itself up to `SAMPLE_PIXELS`, else one crop from each cell of a regular grid;
        always the same ones for the same size.
    """
    height, width = pixels.shape[:2]
    if height * width <= SAMPLE_PIXELS:
        return Sample(to_batch(pixels), (0, 0))
    high, wide = min(_CROP, height), min(_CROP, width)
    share = math.sqrt(SAMPLE_PIXELS / (height * width))
    count = SAMPLE_PIXELS // (high * wide)
    down = max(1, min(round(height * share / high), count))
    across = max(1, min(count // down, width // wide))
    crops = []
    for row in range(down):
        for column in range(across):
            # Somewhere in its cell, by Roberts' sequence, so that what repeats itself in the
            # photo is not met in step.
            number = row * across + column + 1
            y, x = (number / _PLASTIC % 1, number / _PLASTIC**2 % 1)
            top = int((row + y) * (height - high) / down)
            left = int((column + x) * (width - wide) / across)
            crops.append(to_batch(pixels[top : top + high, left : left + wide]))
    inset = (_INSET if high < height else 0, _INSET if wide < width else 0)
    return Sample(np.concatenate(crops), inset)


def run_in_tiles(pixels: Pixels, forward: Forward, *, side: int, margin: int) -> Pixels:
    """Run a network whose statistics are pinned over a photo, tile by tile.

    Args:
        pixels: The photo. It is converted to float32 one tile at a time.
        forward: The network.
        side: As in `tiles`.
        margin: At least the network's receptive radius.

    Returns:
        The picture, of the photo's shape and type; uint8 is rounded.
    """
    height, width = pixels.shape[:2]
    picture = np.empty_like(pixels, order="C")
    for tile in tiles(height, width, side, margin):
        rows, columns = tile.inner
        computed = forward(to_batch(pixels[tile.computed]))[:, :, rows, columns]
        picture[tile.kept] = from_batch(computed, pixels)
    return picture


def to_batch(pixels: Pixels) -> NDArray[np.float32]:
    """Convert ``(H, W, 3)`` to a new or contiguous ``(1, 3, H, W)``, float32 in [0, 1]."""
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)[np.newaxis], np.float32)
    if pixels.dtype == np.uint8:
        planes /= np.float32(255)  # as floats are made of bytes elsewhere, to the last bit
    return planes


def from_batch(picture: NDArray[np.float32], like: Pixels) -> Pixels:
    """Convert ``(1, 3, H, W)`` in [0, 1] to a new ``(H, W, 3)`` of ``like``'s type."""
    planes = picture[0].transpose(1, 2, 0)
    if like.dtype == np.uint8:
        scaled = planes * np.float32(255)
        np.rint(scaled, out=scaled)
        planes = scaled
    converted: Pixels = planes.astype(like.dtype, order="C")  # always a copy
    return converted


def choose_tile(height: int, width: int, memory: int) -> int | None:
    """Choose between the whole photo and tiles.

    Args:
        height: Of the photo.
        width: Of the photo.
        memory: Bytes that are free, of which a half is used.

    Returns:
        A tile's side; None for the whole photo at once.
    """
    affordable = memory // 2 // _BYTES_A_PIXEL
    if height * width <= min(WHOLE_PIXELS, affordable):
        return None
    side = math.isqrt(affordable) // STRIDE * STRIDE
    return max(SMALLEST_TILE, min(LARGEST_TILE, side))


def available_memory() -> int:
    """Return how many bytes of memory this process can still take.

    That is what the system says is available, or the rest of a container's limit where that is
    less.
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


# Of control groups as a container sees its own, version 2 and 1. psutil does not read them.
_CGROUP_FILES: Final = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def _spans(length: int, side: int, margin: int) -> Iterator[tuple[slice, slice]]:
    count = math.ceil(length / (math.ceil(side / STRIDE) * STRIDE))
    step = math.ceil(length / count / STRIDE) * STRIDE
    for start in range(0, length, step):
        stop = min(start + step, length)
        yield slice(max(0, start - margin), min(length, stop + margin)), slice(start, stop)
