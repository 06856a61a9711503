"""Reducing flicker in videos: each result is moved along with the video and mixed into the next.

The motion is measured in the original video, with OpenCV's dense inverse search (Kroeger, Timofte,
Dai, Van Gool, "Fast Optical Flow using Dense Inverse Search", ECCV 2016). To avoid ghosting, the
previous result is used only where two conditions are met. First, forward and backward motion must
cancel out (Sundaram, Brox, Keutzer, "Dense Point Trajectories by GPU-accelerated Large
Displacement Optical Flow", ECCV 2010, equation 5; also used in Ruder, Dosovitskiy, Brox, "Artistic
Style Transfer for Videos", GCPR 2016). Second, the previous frame, moved along with the video, must
look like the current frame.

OpenCV is installed with the extra ``fststyle[video]``, and is imported only when needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import SettingError, check_number
from fststyle.images.photo import Pixels

FLOW_SIDE: Final = 224
"""Maximum long side, in pixels, at which motion is measured."""

_TRUST_SIDE: Final = 200
"""Maximum long side, in pixels, at which measured motion is checked."""

_LEAST_SIDE: Final = 40
"""Minimum length of each side when motion is measured. OpenCV 5 crashes on very narrow frames."""
_MOST_KEPT: Final = 0.9
_ALIKE: Final = 9.0
"""Local difference, in units of 1/255, below which frames show the same thing except for noise."""
_UNLIKE: Final = 28.0
"""Local difference, in units of 1/255, above which frames show different things."""
_WINDOW: Final = 5
_SHARPENED: Final = 0.45

_Frame = NDArray[np.uint8]
_Map = NDArray[np.float32]


@dataclass(frozen=True)
class _Motion:
    """The motion since the previous frame, and the weights for mixing two images.

    Attributes:
        places: Position of each pixel in the previous frame, as ``cv2.convertMaps`` returns it.
        share: Weight of the previous image, ``(H, W)``.
        rest: Weight of the new image, ``(H, W)``.
    """

    places: tuple[NDArray[Any], NDArray[Any]]
    share: _Map
    rest: _Map

    def mix(self, old: _Frame, new: _Frame) -> _Frame:
        """Move an old image ``(H, W, 3)`` along with the motion, and mix it into a new one."""
        cv2 = opencv()
        border = cv2.BORDER_REPLICATE
        moved = cv2.remap(old, *self.places, cv2.INTER_CUBIC, borderMode=border)
        result: _Frame = cv2.blendLinear(moved, new, self.share, self.rest)
        return result


@dataclass(frozen=True)
class _Before:
    """The previous frame and its result.

    Attributes:
        small: Small copy of the frame, which is used to measure motion.
        frame: The frame that was passed to the network.
        result: The result before sharpening. Mixing sharpened results would sharpen them
            repeatedly.
    """

    small: _Frame
    frame: _Frame
    result: _Frame


class FlowBlend:
    """Reduces flicker: mixes the previous result, moved along with the video, into the next one.

    The previous frame is also mixed into each new frame before it is passed to the network. This
    reduces noise, which the network would otherwise turn into different strokes in every frame.

    Args:
        steady: Amount of the previous result that is mixed in, from 0 (none) to 1 (the most that
            is useful).

    Raises:
        SettingError: ``steady`` is out of range, or OpenCV is missing.

    Example:
        >>> import numpy as np
        >>> blend = FlowBlend(0)
        >>> frame = np.zeros((48, 64, 3), np.uint8)
        >>> blend(frame, lambda pixels: 255 - pixels).max()
        np.uint8(255)
    """

    def __init__(self, steady: float) -> None:
        check_number("steady", steady, 0, 1)
        self._share = _MOST_KEPT * steady
        self._before: _Before | None = None
        if self._share > 0:
            cv2 = opencv()
            self._coarse = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
            self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
            # Half the size, rather than the default quarter, halves the error.
            self._flow.setFinestScale(1)
            self._flow.setGradientDescentIterations(8)
            self._flow.setVariationalRefinementIterations(3)

    def reset(self) -> None:
        """Forget the previous frame, so that the next frame is treated as the first one."""
        self._before = None

    def __call__(self, pixels: Pixels, paint: Callable[[Pixels], Pixels]) -> Pixels:
        """Stylise the next frame.

        Args:
            pixels: Frame ``(H, W, 3)``.
            paint: Function that stylises a frame. The result has the same shape and dtype.

        Returns:
            The stylised frame, with less flicker. For the first frame, this is the result of
            ``paint``.
        """
        if self._share == 0:
            return paint(pixels)
        frame = _levels(pixels)
        small, before = _shrunk(frame, FLOW_SIDE), self._before
        if before is None or before.frame.shape != frame.shape:
            result = paint(pixels)
            # The caller may reuse the memory of the frame.
            self._before = _Before(small.copy(), frame.copy(), _levels(result))
            return result
        motion = self._motion(before.small, small, *frame.shape[:2])
        calm = motion.mix(before.frame, frame)
        result = paint(_typed_as(pixels, calm))
        mixed = motion.mix(before.result, _levels(result))
        self._before = _Before(small.copy(), calm, mixed)
        return _typed_as(result, _sharpened(mixed, _SHARPENED * self._share))

    def _motion(self, old: _Frame, new: _Frame, height: int, width: int) -> _Motion:
        """Measure the motion between small frames, and scale it to the given height and width."""
        cv2 = opencv()
        grey, old_grey = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (new, old))
        to_old: _Map = self._flow.calc(grey, old_grey, None)
        to_new: _Map = self._coarse.calc(old_grey, grey, None)
        share = np.float32(self._share) * _trust(old, new, to_old, to_new)
        share = cv2.resize(share, (width, height), interpolation=cv2.INTER_LINEAR)
        places = cv2.convertMaps(*_places(_scaled(to_old, height, width)), cv2.CV_16SC2)
        return _Motion(places, share, 1 - share)


def _sharpened(image: _Frame, amount: float) -> _Frame:
    """Restore the sharpness lost in sub-pixel moves, with a 3×3 unsharp mask (1 2 1)."""
    cv2 = opencv()
    blurred = cv2.GaussianBlur(image, (3, 3), 0)
    sharpened: _Frame = cv2.addWeighted(image, 1 + amount, blurred, -amount, 0)
    return sharpened


def _trust(old: _Frame, new: _Frame, to_old: _Map, to_new: _Map) -> _Map:
    """Return how well the moved old frame matches the new frame, as a map ``(h, w)`` in [0, 1]."""
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
    # Pixels that come from outside the frame are new.
    trust[(x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)] = 0
    # Newly uncovered areas extend slightly beyond the pixels where the frames differ.
    eroded: _Map = cv2.erode(trust.astype(np.float32), np.ones((3, 3), np.uint8))
    smooth: _Map = cv2.blur(eroded, (3, 3))
    return smooth


def _moved(image: NDArray[Any], to_old: _Map) -> Any:
    """Fetch each pixel from its previous position."""
    cv2 = opencv()
    border = cv2.BORDER_REPLICATE
    return cv2.remap(image, *_places(to_old), cv2.INTER_LINEAR, borderMode=border)


def _places(to_old: _Map) -> tuple[_Map, _Map]:
    """Return the previous position of each pixel: x and y, each ``(h, w)``."""
    x, y = _grid(*to_old.shape[:2])
    return to_old[..., 0] + x, to_old[..., 1] + y


def _grid(height: int, width: int) -> tuple[_Map, _Map]:
    x = np.arange(width, dtype=np.float32)[np.newaxis]
    y = np.arange(height, dtype=np.float32)[:, np.newaxis]
    return x, y


def _shrunk(frame: _Frame, side: int) -> _Frame:
    """Shrink a frame to a maximum long side, but keep each side at `_LEAST_SIDE` or more."""
    height, width = frame.shape[:2]
    ratio = min(1.0, side / max(height, width))
    size = (max(_LEAST_SIDE, round(ratio * width)), max(_LEAST_SIDE, round(ratio * height)))
    if size == (width, height):
        return frame
    cv2 = opencv()
    shrunk: _Frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return shrunk


def _scaled(flow: _Map, height: int, width: int) -> _Map:
    """Resize an optical flow, and scale its vectors to match."""
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
    """Import OpenCV, and return its module.

    Raises:
        SettingError: OpenCV is missing (code ``missing_package``).
    """
    try:
        import cv2
    except ImportError as error:
        raise SettingError(
            "Reducing flicker with motion tracking (steady greater than 0) requires OpenCV.",
            remedy="Install fststyle with the extra video, or set steady to 0.",
            code="missing_package",
            details={"packages": ["cv2"], "extra": "video"},
        ) from error
    return cv2
