"""The types of the video package, and what a video's file says about its frames.

PyAV (FFmpeg's libraries in Python) comes with the extra ``fststyle[video]``. It is imported only
when it is needed.
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
# FFmpeg's codes of the matrices that its scaler knows, and the codes that the scaler uses.
_MATRICES: Final = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_UNSPECIFIED: Final = 2
_HD_WIDTH: Final = 1280
_HD_HEIGHT: Final = 576
_LIMITED: Final = 1
FULL: Final = 2
"""FFmpeg's code for levels from 0 to 255."""


@dataclass(frozen=True)
class Colours:
    """The storage of RGB as YCbCr, in the code numbers of ITU-T H.273.

    Attributes:
        matrix: 1 is BT.709, 5 and 6 are BT.601, 9 is BT.2020.
        is_full: True for levels from 0 to 255, False for 16 to 235.
        primaries: Code of the primaries; 2 means unspecified.
        transfer: Code of the transfer curve; 2 means unspecified.
    """

    matrix: int
    is_full: bool
    primaries: int = _UNSPECIFIED
    transfer: int = _UNSPECIFIED

    @property
    def scaler_matrix(self) -> int:
        """The code of the matrix in FFmpeg's scaler."""
        return _MATRICES[self.matrix]

    @property
    def scaler_range(self) -> int:
        """FFmpeg's code of the range."""
        return FULL if self.is_full else _LIMITED


@dataclass(frozen=True)
class VideoInfo:
    """Facts about a video that are known before its frames are decoded.

    Attributes:
        path: File of the video.
        width: Width of the frames in pixels, upright and after resizing.
        height: Height of the frames in pixels, upright and after resizing.
        aspect: Width of a pixel divided by its height; 1 if the file does not say.
        rate: Average number of frames per second.
        time_base: Length of one unit of the frames' times, in seconds.
        frames: Approximate number of frames; None if unknown.
        seconds: Approximate duration; None if unknown.
        colours: Storage of the colours.
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
    """One frame of a video.

    Attributes:
        pixels: ``(H, W, 3)`` uint8, RGB; None if the frame could not be decoded.
        pts: Time at which the frame is shown, in units of the video's time base, counted from the
            start of the part that is read.
        duration: Time for which the frame is shown, in the same units; at least 1.
    """

    pixels: NDArray[np.uint8] | None
    pts: int
    duration: int


@dataclass(frozen=True, eq=False)
class Copied:
    """A packet of sound or subtitles, which is copied without decoding.

    Attributes:
        index: Index of the packet's stream in the file.
        packet: PyAV's packet.
    """

    index: int
    packet: Any

    @property
    def seconds(self) -> float:
        """Time at which the packet begins, in seconds."""
        return float(self.packet.pts * self.packet.time_base)


@dataclass
class Damage:
    """Damage found in a video.

    Attributes:
        broken: Number of frames that could not be decoded.
        truncated: Reason why the video ends early, as a clause; empty if it does not.
    """

    broken: int = 0
    truncated: str = ""


@dataclass(frozen=True)
class Turn:
    """The turn that makes stored frames upright.

    Attributes:
        swaps: True if rows become columns.
        mirrors: True if left and right are then swapped.
        flips: True if top and bottom are then swapped.
    """

    swaps: bool = False
    mirrors: bool = False
    flips: bool = False

    @classmethod
    def of(cls, frame: Any) -> Turn:
        """Read the turn from a frame's display matrix, rounded to quarter turns."""
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
    """Check that PyAV is installed.

    Raises:
        SettingError: PyAV is missing (code ``missing_package``).
    """
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise SettingError(
            "Videos need the package av (PyAV).",
            remedy="Install fststyle with the extra video.",
            code="missing_package",
            details={"packages": ["av"], "extra": "video"},
        ) from error


def open_video(path: Path) -> Any:
    """Open a video for reading.

    Args:
        path: File of the video.

    Returns:
        PyAV's container.

    Raises:
        VideoError: The file does not exist (code ``not_found``), or cannot be read as a video
            (``cannot_read``, ``is_a_folder`` or ``is_a_photo``).
        SettingError: PyAV is missing.
    """
    check_av()
    import av

    if not path.exists():
        raise VideoError(
            "{path} does not exist.", path=path, remedy="Check the path.", code="not_found"
        )
    if path.is_dir():
        raise VideoError(
            "{path} is a folder.", path=path, remedy="Choose one video.", code="is_a_folder"
        )
    try:
        # A playlist must not lead to other places.
        options = {"protocol_whitelist": "file"}
        container = av.open(f"file:{os.path.abspath(path)}", options=options)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoError(
            f"Cannot read {{path}} as a video ({why(error)}).",
            path=path,
            remedy="The file may be damaged or incomplete.",
            code="cannot_read",
        ) from error
    name = container.format.name
    if name.endswith("_pipe") or name in ("image2", "tty"):
        container.close()
        raise VideoError(
            "{path} is not a video.",
            path=path,
            remedy="Stylise photos with fststyle.Stylizer.",
            code="is_a_photo",
        )
    return container


def why(error: Exception) -> str:
    """Return the message of an FFmpeg error, without its number and path."""
    return str(getattr(error, "strerror", None) or reason(error))


def video_stream(container: Any, path: Path) -> Any:
    """Return the stream of the frames, which is not cover art.

    Raises:
        VideoError: The file has only other streams (code ``no_frames``).
    """
    from av.stream import Disposition

    for stream in container.streams.video:
        is_cover = stream.disposition & (Disposition.attached_pic | Disposition.still_image)
        if not is_cover and stream.codec_context is not None:
            return stream
    raise VideoError(
        "{path} has no frames that can be decoded, only other streams.",
        path=path,
        remedy="Choose another file.",
        code="no_frames",
    )


def beginning_of(container: Any) -> Fraction:
    """Return the time that becomes 0: the first one of a broadcast, whose clock starts anywhere."""
    from av.format import Flags

    if container.format.flags & Flags.ts_discont.value and container.start_time:
        return Fraction(container.start_time, MICROSECONDS)
    return Fraction(0)


def seconds_of(stream: Any) -> float | None:
    """Return the duration of a stream in seconds, or None if its file does not say."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    match = re.match(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if match is None:
        return None
    hours, minutes, seconds = (float(group) for group in match.groups())
    return 3600 * hours + 60 * minutes + seconds or None


def colours_of(frame: Any, width: int, height: int) -> Colours:
    """Return the storage of a frame's colours; if the file does not say, as players assume."""
    is_rgb = is_stored_as_rgb(frame)
    matrix = int(frame.colorspace)
    if matrix not in _MATRICES or is_rgb:
        matrix = 1 if width >= _HD_WIDTH or height > _HD_HEIGHT else 6
    is_full = int(frame.color_range) == FULL or frame.format.name.startswith("yuvj")
    known = (int(frame.color_primaries), int(frame.color_trc))
    return Colours(matrix, is_full and not is_rgb, *known)


def is_stored_as_rgb(frame: Any) -> bool:
    """Tell whether a frame is stored as RGB, with levels from 0 to 255."""
    return bool(frame.format.is_rgb or frame.format.has_palette)
