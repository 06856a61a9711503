"""What a film's file says of itself, and how its frames are stored.

PyAV, FFmpeg's libraries in Python, comes with the extra ``fststyle[video]``; it is imported when it
is needed.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import SettingError, VideoError
from fststyle.files import reason

MICROSECONDS: Final = 1_000_000
# Of FFmpeg's codes for matrices, those that its scaler knows, and its own codes for them.
_MATRICES: Final = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_UNSPECIFIED: Final = 2
_HD_WIDTH: Final = 1280
_HD_HEIGHT: Final = 576
_LIMITED: Final = 1
FULL: Final = 2
"""FFmpeg's code for levels from 0 to 255."""


@dataclass(frozen=True)
class Colours:
    """How RGB is stored as YCbCr, by the code numbers of ITU-T H.273.

    Attributes:
        matrix: 1 is BT.709, 5 and 6 are BT.601, 9 is BT.2020.
        is_full: Whether levels are 0 to 255, rather than 16 to 235.
        primaries: Kept as they are; 2 is unspecified.
        transfer: Likewise.
    """

    matrix: int
    is_full: bool
    primaries: int = _UNSPECIFIED
    transfer: int = _UNSPECIFIED

    @property
    def scaler_matrix(self) -> int:
        """The matrix as FFmpeg's scaler numbers it."""
        return _MATRICES[self.matrix]

    @property
    def scaler_range(self) -> int:
        """The range as FFmpeg numbers it."""
        return FULL if self.is_full else _LIMITED


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a film before its frames are decoded.

    Attributes:
        path: The file.
        width: Of the frames as they are given: upright, and of the size asked for.
        height: Likewise.
        aspect: Width to height of a pixel; 1 where nothing else is said.
        rate: Frames a second, on average.
        time_base: Seconds of one unit of the frames' times.
        frames: How many there will be, about; None where nothing says.
        seconds: How long they last, about; likewise.
        colours: How they are stored.
    """

    path: Path
    width: int
    height: int
    aspect: Fraction
    rate: Fraction
    time_base: Fraction
    frames: int | None
    seconds: float | None
    colours: Colours


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a film.

    Attributes:
        pixels: ``(H, W, 3)`` uint8, RGB; None where it is broken.
        pts: When it is shown, in the film's time base; from 0 where the film is cut.
        duration: For how long, likewise; at least 1.
    """

    pixels: NDArray[np.uint8] | None
    pts: int
    duration: int


@dataclass(frozen=True, eq=False)
class Copied:
    """A packet of a stream that is not decoded.

    Attributes:
        index: Of the stream in the file.
        packet: PyAV's.
    """

    index: int
    packet: Any

    @property
    def seconds(self) -> float:
        """When it begins."""
        return float(self.packet.pts * self.packet.time_base)


@dataclass
class Damage:
    """What was wrong with a film.

    Attributes:
        broken: Frames that could not be decoded.
        truncated: Why the film ends early, in a clause; empty where it does not.
    """

    broken: int = 0
    truncated: str = ""


@dataclass(frozen=True)
class Turn:
    """How stored frames become upright ones.

    Attributes:
        swaps: Whether rows become columns.
        mirrors: Whether left and right are swapped after that.
        flips: Whether top and bottom are.
    """

    swaps: bool = False
    mirrors: bool = False
    flips: bool = False

    @classmethod
    def of(cls, frame: Any) -> Turn:
        """Read it from a frame's display matrix, to the next quarter of a turn."""
        matrix = frame.side_data.get("DISPLAYMATRIX")
        if matrix is None or len(bytes(matrix)) != 36:
            return cls()
        # x' = a·x + c·y and y' = b·x + d·y, in FFmpeg's libavutil/display.h.
        a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn ``(H, W, 3)``."""
        if self.swaps:
            pixels = pixels.transpose(1, 0, 2)
        if self.mirrors:
            pixels = pixels[:, ::-1]
        if self.flips:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)


def check_av() -> None:
    """Find out whether PyAV is there.

    Raises:
        SettingError: It is not.
    """
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise SettingError(
            'Films need PyAV, which is not installed: pip install "fststyle[video]".'
        ) from error


def open_video(path: Path) -> Any:
    """Open a film for reading.

    Raises:
        VideoError: There is none at the path that can be read.
        SettingError: PyAV is missing.
    """
    check_av()
    import av

    if not path.exists():
        raise VideoError(f"There is no film {path}; check the path.")
    if path.is_dir():
        raise VideoError(f"{path} is a folder; name one film.")
    try:
        # A playlist must not lead to other places.
        options = {"protocol_whitelist": "file"}
        container = av.open(f"file:{os.path.abspath(path)}", options=options)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoError(
            f"{path} is no film that can be read ({why(error)}); if it is one, its file may be "
            "damaged or incomplete."
        ) from error
    name = container.format.name
    if name.endswith("_pipe") or name in ("image2", "tty"):
        container.close()
        raise VideoError(f"{path} is no film; for photos there is 'fststyle stylize'.")
    return container


def why(error: Exception) -> str:
    """Return what an error of FFmpeg's says, without its number and path."""
    return str(getattr(error, "strerror", None) or reason(error))


def video_stream(container: Any, path: Path) -> Any:
    """Find the pictures among the streams, passing over cover art; without any, a `VideoError`."""
    from av.stream import Disposition

    for stream in container.streams.video:
        is_cover = stream.disposition & (Disposition.attached_pic | Disposition.still_image)
        if not is_cover and stream.codec_context is not None:
            return stream
    raise VideoError(f"{path} has no pictures that can be decoded, only other streams.")


def beginning_of(container: Any) -> Fraction:
    """The time that becomes 0: of a broadcast's clock, which begins anywhere, the first."""
    from av.format import Flags

    if container.format.flags & Flags.ts_discont.value and container.start_time:
        return Fraction(container.start_time, MICROSECONDS)
    return Fraction(0)


def seconds_of(stream: Any) -> float | None:
    """How long a stream lasts, where its file says so."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    match = re.match(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if match is None:
        return None
    hours, minutes, seconds = (float(group) for group in match.groups())
    return 3600 * hours + 60 * minutes + seconds or None


def colours_of(frame: Any, width: int, height: int) -> Colours:
    """Say how a frame is stored; where it does not say, as players take it."""
    is_rgb = is_stored_as_rgb(frame)
    matrix = int(frame.colorspace)
    if matrix not in _MATRICES or is_rgb:
        matrix = 1 if width >= _HD_WIDTH or height > _HD_HEIGHT else 6
    is_full = int(frame.color_range) == FULL or frame.format.name.startswith("yuvj")
    known = (int(frame.color_primaries), int(frame.color_trc))
    return Colours(matrix, is_full and not is_rgb, *known)


def is_stored_as_rgb(frame: Any) -> bool:
    """Tell whether a frame is stored as RGB, whose levels are always 0 to 255."""
    return bool(frame.format.is_rgb or frame.format.has_palette)
