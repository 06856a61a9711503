"""Grain: weak noise that is added to a photo before a network sees it.

A convolution turns a plain area into a plain area, so without grain a network cannot paint plain
areas: they stay empty, with a halo around figures. With grain, it paints them too. Grain is a pure
function of the position and the seed. The same photo therefore always gives the same result, and
tiles fit together.

The noise is the product of two tiles that repeat: normally distributed values with a period of 61
pixels, and signs with a period of 67 pixels. The product repeats only after 4087 pixels, and is
uncorrelated at all smaller distances. Style files contain both tiles as constants.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fststyle.styles.onnx_protobuf import Graph

_VALUES: Final = 61  # side of the tile of values in pixels
_SIGNS: Final = 67  # side of the tile of signs in pixels
_PERIOD: Final = _VALUES * _SIGNS
_STEPS: Final = (1597, 2584)  # rows and columns; each seed moves the noise
_CACHED_PIXELS: Final = 2_000_000


class Grain(NamedTuple):
    """Noise that is added to a photo.

    Attributes:
        level: Standard deviation of the noise, for pixel values from 0 to 255. 0 means no grain.
        seed: Number of the noise, from 0. Other seeds give other strokes in plain areas.

    Example:
        >>> Grain(level=4)(2, 3).shape
        (3, 2, 3)
    """

    level: float = 0.0
    seed: int = 0

    def __call__(
        self, height: int, width: int, origin: tuple[int, int] = (0, 0)
    ) -> NDArray[np.float32]:
        """Return the noise for a part of a photo.

        Args:
            height: Height of the part in pixels.
            width: Width of the part in pixels.
            origin: Row and column of the part in the photo.

        Returns:
            A read-only array ``(3, height, width)``, for pixel values in [0, 1].
        """
        moved = ((o + self.seed * s) % _PERIOD for o, s in zip(origin, _STEPS, strict=True))
        top, left = moved
        if height * width > _CACHED_PIXELS:
            return _noise(height, width, top, left, self.level)
        return _cached_noise(height, width, top, left, self.level)


NO_GRAIN: Final = Grain()


def add_grain(graph: Graph, photo: str, level: float) -> str:
    """Add grain with seed 0 to a photo ``(N, 3, H, W)`` in an ONNX graph."""
    # Before opset 15, Shape can only return all dimensions.
    begin, end, axis = (graph.constant(f"number_{n}", [n], np.int64) for n in (2, 4, 0))
    size = graph.add("Slice", graph.add("Shape", photo), begin, end, axis)
    one = graph.constant("grain_one", [1, 1], np.int64)
    parts = []
    for name, tile in zip(("values", "signs"), _tiles(), strict=True):
        period = graph.constant(f"grain_{name}_period", [tile.shape[1]] * 2, np.int64)
        count = graph.add("Add", graph.add("Div", size, period), one)
        repeats = graph.add("Concat", one, count, axis=0)
        stored = graph.constant(f"grain_{name}", tile[np.newaxis], np.float16)
        repeated = graph.add("Tile", graph.cast(stored, "float32"), repeats)
        parts.append(graph.add("Slice", repeated, "origin", size, "height_and_width"))
    noise = graph.add("Mul", *parts)
    scale = graph.constant("grain_level", level / 255, np.float32)
    return graph.add("Add", photo, graph.add("Mul", noise, scale))


@lru_cache(maxsize=1)
def _tiles() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the values ``(3, 61, 61)`` and the signs ``(1, 67, 67)``, both exact in float16."""
    # NumPy guarantees that the numbers of RandomState never change.
    random = np.random.RandomState(0)
    values = np.rint(random.standard_normal((3, _VALUES, _VALUES)) * 64) / 64
    signs = random.randint(0, 2, (1, _SIGNS, _SIGNS)) * 2 - 1
    return values.astype(np.float32), signs.astype(np.float32)


def _noise(height: int, width: int, top: int, left: int, level: float) -> NDArray[np.float32]:
    rows, columns = np.arange(top, top + height), np.arange(left, left + width)
    values, signs = (
        tile[:, rows % tile.shape[1]][:, :, columns % tile.shape[2]] for tile in _tiles()
    )
    values *= signs
    values *= np.float32(level / 255)
    values.flags.writeable = False
    return values


_cached_noise = lru_cache(maxsize=2)(_noise)
