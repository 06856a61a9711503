"""Opening video files, reading their properties, and the types of the video package.

PyAV (the Python bindings for FFmpeg's libraries) is installed with the extra ``fststyle[video]``.
PyAV is imported only when needed.
"""

from __future__ import annotations

import codecs
import os
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import SettingError, VideoError
from fststyle.files import reason, temporary_folder
from fststyle.video.webp import as_matroska, is_animated_webp

MICROSECONDS: Final = 1_000_000
# FFmpeg's code for each matrix that its scaler supports, and the scaler's own code for it.
_MATRICES: Final = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_UNSPECIFIED: Final = 2
_HD_WIDTH: Final = 1280
_HD_HEIGHT: Final = 576
_LIMITED: Final = 1
FULL: Final = 2
"""FFmpeg code for levels from 0 to 255."""


@dataclass(frozen=True)
class Colours:
    """The YCbCr encoding of RGB, as code points from ITU-T H.273.

    Attributes:
        matrix: Code point of the matrix: 1 is BT.709, 5 and 6 are BT.601, and 9 is BT.2020.
        is_full: True for levels from 0 to 255, False for 16 to 235.
        primaries: Code point of the colour primaries, or 2 if unspecified.
        transfer: Code point of the transfer curve, or 2 if unspecified.
    """

    matrix: int
    is_full: bool
    primaries: int = _UNSPECIFIED
    transfer: int = _UNSPECIFIED

    @property
    def scaler_matrix(self) -> int:
        """The matrix, as a code of FFmpeg's scaler."""
        return _MATRICES[self.matrix]

    @property
    def scaler_range(self) -> int:
        """The range of the levels, as an FFmpeg code."""
        return FULL if self.is_full else _LIMITED


BT709: Final = Colours(1, is_full=False, primaries=1, transfer=1)
"""The usual encoding of HD videos."""


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video that are known before it is decoded completely.

    Attributes:
        path: Path of the video file.
        width: Width of the frames in pixels, after rotating and resizing.
        height: Height of the frames in pixels, after rotating and resizing.
        aspect: Width of a pixel divided by its height, or 1 if the file does not specify the ratio.
        rate: Average number of frames per second.
        time_base: Unit of the frames' times, in seconds.
        frames: Approximate number of frames, or ``None`` if unknown.
        seconds: Approximate duration, or ``None`` if unknown.
        colours: Encoding of the frames' colours. HDR videos are converted to BT.709.
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
        pixels: RGB pixels ``(H, W, 3)``, uint8, or ``None`` if the frame could not be decoded.
        pts: Time at which the frame is shown, in units of the video's time base, relative to the
            start of the part that is read.
        duration: Time for which the frame is shown, in the same units as ``pts``, at least 1.
    """

    pixels: NDArray[np.uint8] | None
    pts: int
    duration: int


@dataclass(frozen=True, eq=False)
class Copied:
    """An audio or subtitle packet that is copied without decoding.

    Attributes:
        index: Index of the packet's stream in the source file.
        packet: The packet, as a PyAV object.
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
        truncated: Reason why the video ends early, as a clause for a message, or an empty string
            if the video is complete.
        jumps: Number of jumps in the clock of a broadcast, which are removed.
    """

    broken: int = 0
    jumps: int = 0
    truncated: str = ""


@dataclass(frozen=True)
class Turn:
    """The rotation or reflection that makes stored frames upright.

    Attributes:
        swaps: True if rows and columns are swapped.
        mirrors: True if left and right are swapped, after ``swaps`` is applied.
        flips: True if top and bottom are swapped, after ``swaps`` is applied.
    """

    swaps: bool = False
    mirrors: bool = False
    flips: bool = False

    @classmethod
    def of(cls, frame: Any) -> Turn:
        """Read the rotation from a frame's display matrix, rounded to a multiple of 90 degrees."""
        try:
            matrix = frame.side_data.get("DISPLAYMATRIX")
        except ValueError:  # the frame has other data, such as EXIF, that PyAV does not know
            quarters = round(frame.rotation / 90) % 4
            return (cls(), cls(True, False, True), cls(False, True, True), cls(True, True))[
                quarters
            ]
        if matrix is None or len(bytes(matrix)) != 36:
            return cls()
        # FFmpeg's libavutil/display.h defines x' = a·x + c·y and y' = b·x + d·y.
        a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the pixels ``(H, W, 3)`` of a stored frame upright."""
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
            "The package av (PyAV) is required to read and write videos.",
            remedy="Install fststyle with the extra video.",
            code="missing_package",
            details={"packages": ["av"], "extra": "video"},
        ) from error


def _decoded_as_latin(error: UnicodeError) -> tuple[str, int]:
    """Handle text that is not UTF-8: old programs wrote their own encoding, mostly this one."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return wrong.decode("cp1252", "replace"), error.end


codecs.register_error(_decoded_as_latin.__name__, _decoded_as_latin)


def open_video(path: Path) -> Any:
    """Open a video for reading.

    Args:
        path: Path of the video file.

    Returns:
        The open file, as a PyAV container.

    Raises:
        VideoError: The file does not exist (code ``not_found``), or cannot be read as a video
            (``cannot_read``, ``is_a_folder`` or ``is_a_photo``).
        PhotoError: The file is a damaged WebP file.
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
            "{path} is a folder.", path=path, remedy="Choose a video file.", code="is_a_folder"
        )
    try:
        # A playlist must not make FFmpeg open URLs.
        options = {"protocol_whitelist": "file"}
        open_file = partial(av.open, options=options, metadata_errors=_decoded_as_latin.__name__)
        if is_animated_webp(path):
            with temporary_folder() as folder:  # the container keeps the file open
                as_matroska(path, folder / "video.mkv")
                container = open_file(f"file:{folder / 'video.mkv'}")
        else:
            container = open_file(f"file:{os.path.abspath(path)}")
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
    """Return the message of an FFmpeg error, without its error number and path."""
    return str(getattr(error, "strerror", None) or reason(error))


def video_stream(container: Any, path: Path) -> Any:
    """Return the video stream, ignoring cover art.

    Raises:
        VideoError: The file does not contain a usable video stream (code ``no_frames``).
    """
    from av.stream import Disposition

    for stream in container.streams.video:
        is_cover = stream.disposition & (Disposition.attached_pic | Disposition.still_image)
        if not is_cover and stream.codec_context is not None:
            return stream
    raise VideoError(
        "{path} does not contain any frames that can be decoded.",
        path=path,
        remedy="Choose another file.",
        code="no_frames",
    )


def clock_can_jump(container: Any) -> bool:
    """Return whether a file has the clock of a broadcast, which starts at any time and may jump."""
    from av.format import Flags

    return bool(container.format.flags & Flags.ts_discont.value)


def beginning_of(container: Any, streams: Iterable[Any]) -> Fraction:
    """Return the time in the file that becomes time 0.

    The clock of a broadcast may start at any time. Other files may begin late, for example if they
    were cut; players would show nothing at first.

    Args:
        container: The open file, as a PyAV container.
        streams: Streams that are read. They stay in step, so the earliest one begins at time 0.
    """
    if clock_can_jump(container) and container.start_time:
        return Fraction(container.start_time, MICROSECONDS)
    starts = [s.start_time * Fraction(s.time_base) for s in streams if s.start_time is not None]
    return max(Fraction(0), min(starts, default=Fraction(0)))


def seconds_of(stream: Any) -> float | None:
    """Return the duration of a stream in seconds, or ``None`` if the file does not specify it."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    match = re.match(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if match is None:
        return None
    hours, minutes, seconds = (float(group) for group in match.groups())
    return 3600 * hours + 60 * minutes + seconds or None


def colours_of(frame: Any, width: int, height: int) -> Colours:
    """Return how a frame's colours are stored.

    If the file does not specify this, the usual assumptions of video players apply.
    """
    is_rgb = is_stored_as_rgb(frame)
    matrix = int(frame.colorspace)
    if matrix not in _MATRICES or is_rgb:
        matrix = 1 if width >= _HD_WIDTH or height > _HD_HEIGHT else 6
    is_full = int(frame.color_range) == FULL or frame.format.name.startswith("yuvj")
    known = (int(frame.color_primaries), int(frame.color_trc))
    return Colours(matrix, is_full and not is_rgb, *known)


def is_stored_as_rgb(frame: Any) -> bool:
    """Return whether a frame is stored as RGB, with levels from 0 to 255."""
    return bool(frame.format.is_rgb or frame.format.has_palette)
