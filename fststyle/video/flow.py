"""Pictures of a film that follow its motion: the picture before, moved, is mixed into the next.

The motion is measured in the film itself, by dense inverse search (Kroeger, Timofte, Dai, Van Gool,
"Fast Optical Flow using Dense Inverse Search", ECCV 2016), as OpenCV has it. The picture before is
trusted only where two things hold, so that nothing drags a ghost behind it: forward and backward
motion undo one another (Sundaram, Brox, Keutzer, "Dense Point Trajectories by GPU-accelerated Large
Displacement Optical Flow", ECCV 2010, equation 5, as in Ruder, Dosovitskiy, Brox, "Artistic Style
Transfer for Videos", GCPR 2016), and the frame before, moved, looks as the frame does.

OpenCV comes with the extra ``fststyle[video]``; it is imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import SettingError
from fststyle.images.photo import Pixels

FLOW_SIDE: Final = 224
"""Long side at which motion is measured at most, in pixels."""

_TRUST_SIDE: Final = 200
"""Likewise, at which it is checked."""

_LEAST_SIDE: Final = 40
"""Side to which smaller frames are enlarged: OpenCV 5 fails or crashes on long and narrow ones."""
_MOST_KEPT: Final = 0.9
_ALIKE: Final = 9.0
"""Frames that differ by less, locally and in 1/255, show the same thing; noise is less."""
_UNLIKE: Final = 28.0
"""Those that differ by more do not."""
_WINDOW: Final = 5
_SHARPENED: Final = 0.45

_Frame = NDArray[np.uint8]
_Map = NDArray[np.float32]


@dataclass(frozen=True)
class _Motion:
    """How the picture before is fetched, and how much of it counts.

    Attributes:
        places: Where each pixel was, as ``cv2.convertMaps`` has it.
        share: Of the picture before, ``(H, W)``.
        rest: Of the new one, likewise.
    """

    places: tuple[NDArray[Any], NDArray[Any]]
    share: _Map
    rest: _Map

    def mixed(self, old: _Frame, new: _Frame) -> _Frame:
        """Mix an old picture, moved, into a new one, both ``(H, W, 3)``."""
        cv2 = opencv()
        border = cv2.BORDER_REPLICATE
        moved = cv2.remap(old, *self.places, cv2.INTER_CUBIC, borderMode=border)
        result: _Frame = cv2.blendLinear(moved, new, self.share, self.rest)
        return result


@dataclass(frozen=True)
class _Before:
    """What is kept of the frame before.

    Attributes:
        small: The frame, for its motion.
        frame: The frame as the network saw it.
        picture: What was made of it, not sharpened, or that would add up.
    """

    small: _Frame
    frame: _Frame
    picture: _Frame


class FlowBlend:
    """Mixes into each picture of a film the one before, moved as the film moves.

    The frame before is mixed into the frame likewise, before the network sees it: its noise, which
    would be painted as other strokes each time, is less then.

    Args:
        steady: From 0, nothing of it, to 1, as much as can be.

    Raises:
        SettingError: ``steady`` is out of range, or OpenCV is missing.
    """

    def __init__(self, steady: float) -> None:
        is_number = isinstance(steady, int | float) and not isinstance(steady, bool)
        if not is_number or not 0 <= steady <= 1:
            raise SettingError(f"steady must be a number from 0 to 1, not {steady!r}.")
        self._share = _MOST_KEPT * steady
        self._before: _Before | None = None
        if self._share > 0:
            cv2 = opencv()
            self._coarse = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
            self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
            # At half the size instead of a quarter, which halves the error.
            self._flow.setFinestScale(1)
            self._flow.setGradientDescentIterations(8)
            self._flow.setVariationalRefinementIterations(3)

    def reset(self) -> None:
        """Begin anew: the next picture has none before it."""
        self._before = None

    def __call__(self, seen: Pixels, paint: Callable[[Pixels], Pixels]) -> Pixels:
        """Paint the next frame.

        Args:
            seen: The frame, ``(H, W, 3)``.
            paint: Stylises a frame; its picture is of the same shape and type.

        Returns:
            The picture; where no frame was before, what ``paint`` makes of this one.
        """
        if self._share == 0:
            return paint(seen)
        frame = _levels(seen)
        small, before = _shrunk(frame, FLOW_SIDE), self._before
        if before is None or before.frame.shape != frame.shape:
            picture = paint(seen)
            # The caller may use the frame's memory again.
            self._before = _Before(small.copy(), frame.copy(), _levels(picture))
            return picture
        motion = self._motion(before.small, small, *frame.shape[:2])
        calm = motion.mixed(before.frame, frame)
        picture = paint(_typed_as(seen, calm))
        mixed = motion.mixed(before.picture, _levels(picture))
        self._before = _Before(small.copy(), calm, mixed)
        return _typed_as(picture, _sharpened(mixed, _SHARPENED * self._share))

    def _motion(self, old: _Frame, new: _Frame, height: int, width: int) -> _Motion:
        """Measure the motion of small frames, for pictures of a height and width."""
        cv2 = opencv()
        grey, old_grey = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (new, old))
        to_old: _Map = self._flow.calc(grey, old_grey, None)
        to_new: _Map = self._coarse.calc(old_grey, grey, None)
        share = np.float32(self._share) * _trust(old, new, to_old, to_new)
        share = cv2.resize(share, (width, height), interpolation=cv2.INTER_LINEAR)
        places = cv2.convertMaps(*_places(_scaled(to_old, height, width)), cv2.CV_16SC2)
        return _Motion(places, share, 1 - share)


def _sharpened(picture: _Frame, amount: float) -> _Frame:
    """Give back what moving by fractions of a pixel takes: an unsharp mask of (1 2 1)."""
    cv2 = opencv()
    blurred = cv2.GaussianBlur(picture, (3, 3), 0)
    sharpened: _Frame = cv2.addWeighted(picture, 1 + amount, blurred, -amount, 0)
    return sharpened


def _trust(old: _Frame, new: _Frame, to_old: _Map, to_new: _Map) -> _Map:
    """Say from 0 to 1 where the moved old frame shows what the new one shows: ``(h, w)``."""
    cv2 = opencv()
    old, new = _shrunk(old, _TRUST_SIDE), _shrunk(new, _TRUST_SIDE)
    height, width = new.shape[:2]
    to_old, to_new = (_scaled(flow, height, width) for flow in (to_old, to_new))
    returned = _moved(to_new, to_old)
    there_and_back = np.square(to_old + returned).sum(axis=2)
    length = np.square(to_old).sum(axis=2) + np.square(returned).sum(axis=2)
    trust = np.clip(1.5 - there_and_back / (0.01 * length + 0.5), 0, 1)
    difference = cv2.absdiff(_moved(old, to_old), new).max(axis=2)
    local = cv2.blur(difference, (_WINDOW, _WINDOW)).astype(np.float32)
    trust *= np.clip((_UNLIKE - local) / (_UNLIKE - _ALIKE), 0, 1)
    x, y = _places(to_old)
    # What comes in from outside is new.
    trust[(x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)] = 0
    # What is uncovered begins a little before it differs.
    eroded: _Map = cv2.erode(trust.astype(np.float32), np.ones((3, 3), np.uint8))
    smooth: _Map = cv2.blur(eroded, (3, 3))
    return smooth


def _moved(picture: NDArray[Any], to_old: _Map) -> Any:
    """Fetch each pixel from where it was."""
    cv2 = opencv()
    border = cv2.BORDER_REPLICATE
    return cv2.remap(picture, *_places(to_old), cv2.INTER_LINEAR, borderMode=border)


def _places(to_old: _Map) -> tuple[_Map, _Map]:
    """Where each pixel was: x and y, each ``(h, w)``."""
    x, y = _grid(*to_old.shape[:2])
    return to_old[..., 0] + x, to_old[..., 1] + y


def _grid(height: int, width: int) -> tuple[_Map, _Map]:
    x = np.arange(width, dtype=np.float32)[np.newaxis]
    y = np.arange(height, dtype=np.float32)[:, np.newaxis]
    return x, y


def _shrunk(frame: _Frame, side: int) -> _Frame:
    """Shrink a frame to a long side at most, but for sides below `_LEAST_SIDE`."""
    height, width = frame.shape[:2]
    ratio = min(1.0, side / max(height, width))
    size = (max(_LEAST_SIDE, round(ratio * width)), max(_LEAST_SIDE, round(ratio * height)))
    if size == (width, height):
        return frame
    cv2 = opencv()
    shrunk: _Frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return shrunk


def _scaled(flow: _Map, height: int, width: int) -> _Map:
    """Give a flow another size, and its vectors with it."""
    if flow.shape[:2] == (height, width):
        return flow
    cv2 = opencv()
    ratio = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
    scaled: _Map = cv2.resize(flow * ratio, (width, height), interpolation=cv2.INTER_LINEAR)
    return scaled


def _levels(pixels: NDArray[Any]) -> _Frame:
    if pixels.dtype == np.uint8:
        return pixels
    levels: _Frame = np.rint(255 * pixels).astype(np.uint8)
    return levels


def _typed_as(like: Pixels, levels: _Frame) -> Pixels:
    result: Any = levels if like.dtype == np.uint8 else levels / np.float32(255)
    typed: Pixels = result
    return typed


def opencv() -> Any:
    """Import OpenCV.

    Raises:
        SettingError: It is missing.
    """
    try:
        import cv2
    except ImportError as error:
        raise SettingError(
            'Steadying by the motion of a film needs OpenCV: pip install "fststyle[video]"; or '
            "leave it out: --steady 0."
        ) from error
    return cv2
