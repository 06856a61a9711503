"""The frames of a film stylised in order, so that the pictures are steady.

Three things make them so: the network, which was trained to be (`fststyle.training.steady`); the
statistics of its instance norms, which are smoothed over time, so that what enters the picture does
not change all the rest of it ("pumping"); and the picture before, which is moved as the film moves
and mixed in (`fststyle.video.flow`). At a cut the last two begin anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import SettingError
from fststyle.images.photo import Pixels
from fststyle.runtime.runner import Device, ReadyStyle
from fststyle.stylize.stylizer import Style, Stylizer
from fststyle.video.flow import FlowBlend
from fststyle.video.frames import FrameRuntime, load_frame_runtime

STEADY: Final = 0.6
"""How much of the picture before counts, unless the user says otherwise."""

SMOOTHING: Final = 0.5
"""Seconds over which the statistics are smoothed, likewise."""

_CUT: Final = 0.35
"""Where more of the histograms than that is new, so is the scene."""
_CELLS: Final = 3
_BINS: Final = 8
_SAMPLES: Final = 96

Histograms = NDArray[np.float32]
"""``(cells, 3, bins)``, each of which adds up to 1."""


class VideoStylizer(Stylizer):
    """A style, or several, for the frames of one film, which are given in order.

    Args:
        style: As in `Stylizer`.
        steady: How much of the picture before is mixed in, from 0 to 1, as in
            `fststyle.video.flow.FlowBlend`.
        smoothing: Seconds over which the statistics are smoothed: what happened so long ago counts
            1/e. At 0 each frame has its own, as a photo.
        device: As in `Stylizer`.
        threads: As in `Stylizer`.

    Raises:
        StyleError: As in `Stylizer`.
        SettingError: Likewise; or ``steady`` or ``smoothing`` is out of range, or needs OpenCV.
    """

    _load: Callable[..., ReadyStyle] = staticmethod(load_frame_runtime)

    def __init__(
        self,
        style: Style,
        *,
        steady: float = STEADY,
        smoothing: float = SMOOTHING,
        device: Device = "auto",
        threads: int | None = None,
    ) -> None:
        is_number = isinstance(smoothing, int | float) and not isinstance(smoothing, bool)
        if not is_number or not 0 <= smoothing < math.inf:
            raise SettingError(f"smoothing must be a number of seconds from 0, not {smoothing!r}.")
        self._blend = FlowBlend(steady)
        super().__init__(style, device=device, threads=threads)
        self._smoothing = smoothing
        self._last: tuple[float, Histograms] | None = None
        self.cuts = 0

    def frame(
        self,
        pixels: NDArray[np.uint8],
        seconds: float,
        *,
        scale: float | None = None,
        strength: float = 1.0,
        keep_colors: bool = False,
    ) -> NDArray[np.uint8]:
        """Stylise the next frame.

        Args:
            pixels: ``(H, W, 3)``.
            seconds: When it is shown.
            scale: As in `fststyle.stylize.stylizer.Control`.
            strength: See there.
            keep_colors: See there.

        Returns:
            The picture, of the same shape. ``cuts`` tells how many cuts there were so far.

        Raises:
            FststyleError: As in `Stylizer`.
        """
        histograms = histograms_of(pixels)
        keep = 0.0
        if self._last is not None:
            passed = max(0.0, seconds - self._last[0])
            if is_cut(self._last[1], histograms):
                self.cuts += 1
                self._blend.reset()
            elif self._smoothing > 0:
                keep = math.exp(-passed / self._smoothing)
        self._last = (seconds, histograms)
        for runtime, _ in self._inside:
            assert isinstance(runtime, FrameRuntime)
            runtime.keep = keep
        picture: Any = self(pixels, scale=scale, strength=strength, keep_colors=keep_colors)
        result: NDArray[np.uint8] = picture
        return result

    def restart(self) -> None:
        """Begin another film: the next frame has none before it."""
        self._last = None
        self._blend.reset()

    def _painted(self, seen: Pixels, paint: Callable[[Pixels], Pixels]) -> Pixels:
        return self._blend(seen, paint)


def histograms_of(pixels: NDArray[np.uint8]) -> Histograms:
    """Count the levels of a frame's channels in each cell of a grid, on a sample of its pixels.

    Args:
        pixels: ``(H, W, 3)``.
    """
    height, width = pixels.shape[:2]
    sample = pixels[:: max(1, height // _SAMPLES), :: max(1, width // _SAMPLES)]
    levels = sample.astype(np.int64) * _BINS // 256
    rows, columns = (np.arange(n) * _CELLS // n for n in sample.shape[:2])
    cell = rows[:, np.newaxis] * _CELLS + columns
    places = (cell[..., np.newaxis] * 3 + np.arange(3)) * _BINS + levels
    counts = np.bincount(places.ravel(), minlength=_CELLS**2 * 3 * _BINS)
    histograms = counts.reshape(_CELLS**2, 3, _BINS).astype(np.float32)
    result: Histograms = histograms / np.maximum(histograms.sum(axis=2, keepdims=True), 1)
    return result


def is_cut(before: Histograms, after: Histograms) -> bool:
    """Tell whether two frames that follow one another show different scenes."""
    return bool(np.abs(after - before).sum(axis=2).mean() / 2 > _CUT)
