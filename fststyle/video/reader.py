"""Reading video files: frames as RGB, and packets of the other streams unchanged.

Every format that PyAV can decode is supported. Frames are rotated as the file specifies, and keep
their times. A frame that cannot be decoded is marked instead of being skipped.
"""

from __future__ import annotations

import heapq
import math
import stat
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain, tee
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import SettingError, VideoError, check_number
from fststyle.images.resize import fitted_size
from fststyle.video.clip import Clip
from fststyle.video.container import (
    BT709,
    MICROSECONDS,
    Copied,
    Damage,
    Frame,
    Turn,
    VideoInfo,
    beginning_of,
    clock_can_jump,
    colours_of,
    open_video,
    seconds_of,
    video_stream,
)
from fststyle.video.decode import (
    Lost,
    clock_jumps_before,
    decode_frames,
    read_packets,
    select_copies,
)
from fststyle.video.hdr import TRANSFERS
from fststyle.video.to_rgb import ToRgb, check_pixels

_LEAST_MISSING: Final = 0.5
"""Number of seconds that may be missing at the end before a video counts as truncated."""
_SEEK_BACK: Final = 10.0


class VideoReader:
    """Reads one video. Use in a ``with`` statement.

    Args:
        path: Path of the video file.
        size: Maximum long side of the frames in pixels. Larger frames are shrunk.
        start: Number of seconds to skip at the beginning.
        duration: Number of seconds to read. By default the video is read to its end.
        square: True to make pixels square, for output formats that only support square pixels.
        copies: Types of other streams to read.

    Attributes:
        info: Properties of the video.
        damage: Damage found so far.
        copied: The streams whose packets are copied, as PyAV objects.
        left_out: Types of the streams that are not copied because FFmpeg does not know their codec.

    Raises:
        VideoError: The file cannot be read as a video, or does not contain a frame in the
            selected part.
        SettingError: ``start``, ``duration`` or ``size`` is out of range, or PyAV is missing.
    """

    def __init__(
        self,
        path: Path,
        *,
        size: int | None = None,
        start: float = 0.0,
        duration: float | None = None,
        square: bool = False,
        copies: tuple[str, ...] = ("audio", "subtitle"),
    ) -> None:
        _check_seconds("start", start)
        if duration is not None:
            _check_seconds("duration", duration, above=True)
        self.damage = Damage()
        self.copied: list[Any] = []
        self.left_out: list[str] = []
        self._path = path
        self._containers: list[Any] = []
        self._last: Frame | None = None
        self._reached = -math.inf
        # A seek may end too late in the file. In that case, seek to an earlier time. If that fails
        # too, read the file from its beginning.
        # A pipe can be opened only once.
        seeks = start > 0 and not (path.is_file() and clock_jumps_before(path, start))
        tries = (0.0, _SEEK_BACK, None) if seeks else (None,)
        try:
            for back in tries:
                if self._open(start, duration, back, copies):
                    break
                self.close()
            else:
                raise self._no_frames(start)
            self._look(size, square, copies)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        while self._containers:
            self._containers.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def metadata(self) -> dict[str, str]:
        """Metadata of the file, such as its title."""
        return dict(self._containers[0].metadata)

    @property
    def stream_metadata(self) -> dict[str, str]:
        """Metadata of the video stream, such as its language."""
        return dict(self._stream.metadata)

    @property
    def resized(self) -> int:
        """Number of frames so far that were fitted because the size changes in the video."""
        return self._to_rgb.resized

    def chapters(self, seconds: float) -> list[Any]:
        """Return PyAV's chapters, trimmed to the part that is read.

        Args:
            seconds: Length of the part, in seconds.
        """
        return self._clip.chapters(self._containers[0].chapters(), seconds)

    def end_at(self, seconds: float) -> None:
        """Shorten the part of the video to read, even while it is being read.

        Args:
            seconds: New length of the part, in seconds.
        """
        self._clip.end_at(seconds)

    def items(self) -> Iterator[Frame | Copied]:
        """Read the video once.

        Yields:
            Frames, and packets of the other streams, sorted by time.

        Raises:
            VideoError: A frame cannot be converted.
        """
        unit = float(self._time_base)
        frames = ((frame.pts * unit, frame) for frame in self._frames())
        copies = ((copied.seconds, copied) for copied in self._copies())
        merged: Iterable[tuple[float, Frame | Copied]]
        merged = heapq.merge(frames, copies, key=lambda item: item[0])
        for _, item in merged:
            yield item
        self._check_end()

    def _open(
        self, start: float, duration: float | None, back: float | None, copies: tuple[str, ...]
    ) -> bool:
        """Open the file, and seek to ``back`` seconds before the start of the clip.

        Returns:
            True if the first frame of the clip was found.
        """
        container = self._opened()
        self._stream = video_stream(container, self._path)
        self._stream.thread_type = "AUTO"
        self._time_base = Fraction(self._stream.time_base)
        streams = (self._stream, *self._known_streams(container, copies))
        zero = beginning_of(container, streams)
        self._clip = Clip.of(zero, start=start, duration=duration)
        self._seek(container, back)
        self._packets = self._open_copies(container, back, copies)
        stores_times = container.format.name != "avi"
        self._coming = decode_frames(
            self._packets, self._stream, self._clip, stores_times=stores_times
        )
        is_late = back is not None
        for frame in self._coming:
            if isinstance(frame, Lost):  # an earlier frame that could replace it does not exist yet
                continue
            time = None if frame.pts is None else frame.pts * self._time_base
            if time is not None and time <= self._clip.begin:
                is_late = False
            if is_late:
                return False
            if self._clip.contains(time):
                self._first = frame
                return True
        return False

    def _open_copies(
        self, container: Any, back: float | None, copies: tuple[str, ...]
    ) -> Iterator[Any]:
        """Prepare to read the other streams, and return the packets of the video stream.

        The file is opened a second time, because its streams may not be interleaved. A pipe can
        be opened only once, so packets are kept in memory until they are needed.
        """
        known = self.copied = self._known_streams(container, copies)
        self._other: Iterator[Any] = iter(())
        if known and not stat.S_ISREG(self._path.stat().st_mode):
            packets = read_packets(container, (self._stream, *known), self.damage)
            frames, self._other = tee(packets)
            return frames
        if known:
            other = self._opened()
            self.copied = self._known_streams(other, copies)
            self._seek(other, back)
            streams = (other.streams[self._stream.index], *self.copied)
            self._other = read_packets(other, streams, self.damage)
        # Jumps of the clock are corrected equally only if both read the same streams.
        needed = known if clock_can_jump(container) else ()
        return read_packets(container, (self._stream, *needed), self.damage)

    def _known_streams(self, container: Any, copies: tuple[str, ...]) -> list[Any]:
        """List the streams to copy. Formats cannot contain streams of a codec unknown to FFmpeg."""
        streams = [stream for stream in container.streams if stream.type in copies]
        self.left_out = [stream.type for stream in streams if stream.codec_context is None]
        return [stream for stream in streams if stream.codec_context is not None]

    def _opened(self) -> Any:
        self._containers.append(open_video(self._path))
        return self._containers[-1]

    def _seek(self, container: Any, back: float | None) -> None:
        if back is not None:
            time = (self._clip.begin - Fraction(back)) * MICROSECONDS
            container.seek(max(0, int(time)))

    def _frames(self) -> Iterator[Frame]:
        """Read the frames in the clip. Each frame is shown until the next one begins."""
        waiting: Frame | None = None  # its duration is known only when the next frame is read
        for item in chain((self._first,), self._coming):
            time = None if item.pts is None else item.pts * self._time_base
            if not self._clip.contains(time):
                continue
            if isinstance(item, Lost):
                if waiting is None:
                    continue
                frame = self._timed(None, item.pts, 0)
            else:
                is_broken = item.is_corrupt and waiting is not None
                pixels = None if is_broken else self._to_rgb(item)
                frame = self._timed(pixels, item.pts, item.duration)
            if waiting is not None:
                yield replace(waiting, duration=frame.pts - waiting.pts)
            waiting = frame
        if waiting is not None:
            yield replace(waiting, duration=self._last_duration(waiting))

    def _copies(self) -> Iterator[Copied]:
        """Read the packets of the other streams that are in the clip."""
        for packet in select_copies(self._other, self._stream, self.copied, self._clip):
            is_text = packet.stream.type == "subtitle"
            end = packet.pts + (0 if is_text else packet.duration or 0)
            self._reached = max(self._reached, float(end * Fraction(packet.time_base)))
            if self._clip.place(packet):
                yield Copied(packet.stream_index, packet)

    def _timed(self, pixels: NDArray[np.uint8] | None, pts: int | None, duration: int) -> Frame:
        last = self._last
        if pts is None:
            begin = 0 if last is None else last.pts + last.duration
        else:
            begin = pts - round(self._clip.begin / self._time_base)
        if last is not None:  # two frames in a file may have the same time
            begin = max(begin, last.pts + 1)
        usual = max(1, round(1 / (self.info.rate * self._time_base)))
        frame = Frame(pixels, begin, max(1, duration or usual))
        self.damage.broken += pixels is None
        self._last = frame
        end = (frame.pts + frame.duration) * self._time_base + self._clip.begin
        self._reached = max(self._reached, float(end))
        return frame

    def _last_duration(self, frame: Frame) -> int:
        """Return the duration of the last frame. The value in the file may be wrong."""
        seconds = seconds_of(self._stream)
        if seconds is None or self._clip.skips or self._clip.end is not None:
            return frame.duration
        end = (self._stream.start_time or 0) + round(seconds / self._time_base)
        rest = end - round(self._clip.begin / self._time_base) - frame.pts
        return rest if 0 < rest * self._time_base <= _LEAST_MISSING else frame.duration

    def _look(self, size: int | None, square: bool, copies: tuple[str, ...]) -> None:
        """Determine the properties of the video from its first frame."""
        first, stream = self._first, self._stream
        check_pixels(self._path, first.width, first.height)
        turn = Turn.of(first)
        width, height = first.width, first.height
        aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        if square:
            width, aspect = max(1, round(width * aspect)), Fraction(1)
        stretch = width / first.width
        if turn.swaps:
            width, height, aspect = height, width, 1 / aspect
        if size is not None:
            height, width = fitted_size(height, width, size)
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        self._promised = seconds = seconds_of(stream)
        whole = self._containers[0].duration
        if seconds is None and whole is not None:
            seconds = whole / MICROSECONDS
            # This is the duration of the longest stream, which may not be among the streams read.
            self._promised = seconds if {"audio", "subtitle"} <= {*copies} else None
        colours = colours_of(first, width, height)
        self._to_rgb = ToRgb(self._path, first, (width, height), stretch, colours)
        part = self._clip.length(seconds)
        is_whole = not self._clip.skips and self._clip.end is None
        frames = stream.frames if is_whole else 0
        self.info = VideoInfo(
            path=self._path,
            width=width,
            height=height,
            aspect=aspect,
            rate=rate,
            time_base=self._time_base,
            frames=frames or (None if part is None else round(part * rate)),
            seconds=part,
            colours=BT709 if colours.transfer in TRANSFERS else colours,
        )

    def _check_end(self) -> None:
        if self.damage.truncated or self.damage.jumps or self._promised is None:
            return
        start = float((self._stream.start_time or 0) * self._time_base)
        # Matroska stores the time of the end as the duration.
        is_matroska = self._containers[0].format.name.startswith("matroska")
        expected = self._promised + (0 if is_matroska else start)
        if self._clip.end is not None:
            expected = min(expected, float(self._clip.end))
        if self._reached < expected - _LEAST_MISSING:
            self.damage.truncated = (
                f"according to its metadata, it should last {self._promised:.1f} s"
            )

    def _no_frames(self, start: float) -> VideoError:
        if start > 0:
            return VideoError(
                f"{{path}} does not contain any frames after {start:g} s.",
                path=self._path,
                remedy="Choose an earlier start.",
                code="start_too_late",
            )
        return VideoError(
            "{path} does not contain any frames that can be decoded.",
            path=self._path,
            remedy="The file may be damaged.",
            code="no_frames",
        )


def _check_seconds(name: str, value: float, *, above: bool = False) -> None:
    check_number(name, value, above=above)
    if math.isinf(value):
        raise SettingError(f"{name} must be a number of seconds, not {value!r}.")
