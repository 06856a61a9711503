"""Lattices: patterns that stay on the pixel grid, artefacts of strides and upsampling.

`checkerboard` finds periods of 2 and 4 in one result. `lattice` finds every period from 2 to 16, by
moving the photo: what does not move with it is the fault.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fststyle.training.faults.pixels import Pixels

PERIODS: Final = range(2, 17)
"""Periods of lattices, in pixels."""

SHIFTS: Final = (
    (0, 0), (1, 6), (4, 6), (1, 9), (14, 4), (13, 7), (10, 4), (8, 7), (15, 11), (6, 1)
)  # fmt: skip
"""Movements of the photo, in rows and columns.

For each frequency f of each period, the phases e^(2πi f·s) of these shifts s differ: the absolute
value of their mean is at most 0.69. Therefore one set of shifts is enough for all periods.
"""

_FARTHEST: Final = 15  # pixels
_BORDER: Final = 16  # pixels of the results that are ignored, because padding affects them
_WINDOW: Final = 48  # side in pixels; three cells of the longest period
_CHECKERBOARD_WINDOW: Final = 64
_FLOOR: Final = 2.5 / 255  # amplitude that an eye notices on plain ground
_MASKING: Final = 0.5  # share of the local contrast that hides a lattice (Legge and Foley 1980)


class Lattice(NamedTuple):
    """The most visible lattice.

    Attributes:
        value: Amplitude relative to what local contrast hides.
        period: Period in pixels.
    """

    value: float
    period: int


def lattice(stylise: Callable[[Pixels], Pixels], photo: Pixels) -> Lattice:
    """Measure the lattice of the period from 2 to 16 pixels at which it is most visible.

    The photo is moved by each shift in `SHIFTS`, and the results are moved back. In windows of 48
    pixels, each result is averaged over all cells of a period p. The Fourier coefficient of such
    a cell at the frequency f is a + g·e^(-2πi f·s) for the shift s: a moves with the photo, and g
    stays on the grid. Least squares over the shifts separate the two. The energy of a lattice is
    the mean of the products g·g* of different windows among 2×2 neighbours, in which everything
    that does not repeat cancels.

    Texture of the same scale hides a lattice. Therefore the amplitude is divided by 2.5/255 plus
    half the standard deviation of the result within cells, without the lattice.

    Args:
        stylise: The network, as a function from photo to result, ``(H, W, 3)`` in [0, 1].
        photo: Photo ``(H, W, 3)`` with sides of at least 158 pixels, RGB in [0, 1].

    Returns:
        The 95 % quantile of the ratio over all windows, for the shortest period with the highest
        one.
    """
    height, width = (side - _FARTHEST for side in photo.shape[:2])
    near = _FARTHEST + _BORDER
    moved = []
    for down, right in SHIFTS:
        crop = np.ascontiguousarray(photo[down : down + height, right : right + width])
        rows = slice(near - down, height - _BORDER - down)
        moved.append(stylise(crop)[rows, near - right : width - _BORDER - right])
    aligned = np.stack(moved)
    values = {period: _visibility(aligned, period) for period in PERIODS}
    # Multiples of a lattice's period find it, too.
    period = next(p for p, value in values.items() if value >= 0.9 * max(values.values()))
    return Lattice(values[period], period)


def _visibility(aligned: NDArray[np.float32], period: int) -> float:
    """Return the visibility of lattices of one period in aligned results ``(N, H, W, 3)``."""
    cells = _WINDOW // period
    side = cells * period
    rows, columns = (length // _WINDOW for length in aligned.shape[1:3])
    split = (
        aligned[:, : rows * _WINDOW, : columns * _WINDOW]
        .reshape(-1, rows, _WINDOW, columns, _WINDOW, 3)[:, :, :side, :, :side]
        .reshape(-1, rows, cells, period, columns, cells, period, 3)
    )
    # (shift, row and column of the window, channel, p, p)
    folded = split.mean(axis=(2, 5), dtype=np.float64).transpose(0, 1, 3, 5, 2, 4)
    # Phases count from the corner of the image, not of the window.
    corners = _waves(np.indices((rows, columns)).transpose(1, 2, 0) * _WINDOW, period)
    spectrum = np.fft.fft2(folded) / period**2 * corners[:, :, None]
    phases = _waves(np.array(SHIFTS), period)[:, None, None, None]
    means = phases.mean(axis=0)
    phases = phases - means
    norms = np.square(np.abs(phases)).sum(axis=0)
    norms[..., 0, 0] = np.inf  # the mean colour does not count
    grid = (phases.conj() * (spectrum - spectrum.mean(axis=0))).sum(axis=0) / norms

    energy = np.square(np.abs(grid))
    repeated = np.square(np.abs(_of_neighbours(grid))) - _of_neighbours(energy)
    variance = repeated.sum(axis=(-2, -1)) / 12  # ordered pairs of four windows
    mean = split.mean(axis=0, dtype=np.float64)
    texture = np.square(mean - mean.mean(axis=(1, 4), keepdims=True)).mean(axis=(1, 2, 4, 5))
    # The mean over the shifts still contains a part of the lattice.
    texture = texture - (energy * np.square(np.abs(means[0]))).sum(axis=(-2, -1))
    hidden = _MASKING * np.sqrt(np.maximum(_of_neighbours(texture) / 4, 0))
    ratios = np.sqrt(np.maximum(variance, 0)) / (_FLOOR + hidden)
    return float(np.quantile(ratios.max(axis=-1), 0.95))


def _waves(positions: NDArray[np.int_], period: int) -> NDArray[np.complex128]:
    """Return e^(-2πi f·x) of positions ``(…, 2)`` for all frequencies, ``(…, p, p)``."""
    waves = np.exp(-2j * np.pi / period * np.arange(period) * positions[..., None])
    product: NDArray[np.complex128] = waves[..., 0, :, None] * waves[..., 1, None, :]
    return product


def _of_neighbours(values: NDArray[Any]) -> NDArray[Any]:
    """Return the sums over 2×2 neighbouring windows, which are the first two axes."""
    sums: NDArray[Any] = values[1:, 1:] + values[1:, :-1] + values[:-1, 1:] + values[:-1, :-1]
    return sums


def checkerboard(result: Pixels, period: Literal[2, 4]) -> float:
    """Measure the visibility of a checkerboard in one result.

    A lattice is a sharp line in the spectrum, whereas texture is broad. Each frequency of the
    lattice is compared with neighbouring frequencies in its row and column. The root of the sum of
    the excess powers is the amplitude of the lattice. A rich texture of similar scale hides it, so
    it is divided by 1/255 plus 0.8 times the standard deviation of the result between half and
    twice the frequency (contrast masking, Legge and Foley 1980). The windows are Hann windows of
    64 pixels that overlap by half.

    Args:
        result: Stylised photo ``(H, W, 3)``, RGB in [0, 1], with H and W at least 16.
        period: Period in pixels.

    Returns:
        The 90 % quantile of the ratio over all windows; about 0.3 without a lattice.
    """
    power = _spectra(result)
    side = power.shape[1]
    unit = side * side / 8  # spectrum of a wave of amplitude 1 in the Hann window
    quarter = side // 4
    steps = np.array([-5, -4, -3, 3, 4, 5])
    excess = np.zeros((len(power), 3))
    for row, column in np.ndindex(4, 4):
        is_coarse = row % 2 == column % 2 == 0
        if (row, column) == (0, 0) or is_coarse != (period == 2):
            continue
        top, left = row * quarter, column * quarter
        neighbours = np.maximum(
            np.median(power[:, (top + steps) % side, left], axis=1),
            np.median(power[:, top, (left + steps) % side], axis=1),
        )
        # A wave of period 2 is its own mirror image; all others appear twice.
        share = 0.25 if period == 2 else 0.5
        excess += share * np.maximum(power[:, top, left] - 4 * neighbours, 0)
    down, across = np.meshgrid(*2 * (np.fft.fftfreq(side, 1 / side),), indexing="ij")
    frequency = np.hypot(down, across) / side * period
    to_line = np.maximum(
        *(np.abs((k + quarter / 2) % quarter - quarter / 2) for k in (down, across))
    )
    texture = (frequency > 0.57) & (frequency < 1.7) & (to_line > 1)
    deviation = np.sqrt(power[:, texture].sum(axis=1) / (9 / 64)) / side**2
    ratios = (np.sqrt(excess) / unit / (1 / 255 + 0.8 * deviation)).max(axis=1)
    return float(np.quantile(ratios, 0.9))


def _spectra(result: Pixels) -> NDArray[np.float64]:
    """Return the power spectrum of each window, ``(windows, S, S, 3)``; S is a multiple of 4."""
    height, width = result.shape[:2]
    side = min(_CHECKERBOARD_WINDOW, min(height, width) // 4 * 4)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(side) / side)
    window = (hann[:, None] * hann)[..., None]
    powers = []
    for top in range(0, height - side + 1, side // 2):
        for left in range(0, width - side + 1, side // 2):
            patch = result[top : top + side, left : left + side].astype(np.float64)
            patch = (patch - patch.mean(axis=(0, 1))) * window
            powers.append(np.abs(np.fft.fft2(patch, axes=(0, 1))) ** 2)
    return np.stack(powers)
