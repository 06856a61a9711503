"""Films from files: their frames as RGB, and the packets of their other streams as they are.

All that PyAV can decode. Frames come upright, as their file's rotation says, and keep their times;
a frame that cannot be decoded is told of instead of being left out.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import SettingError, VideoError
from fststyle.images.limits import pixel_limit
from fststyle.images.resize import fitted_size
from fststyle.video.container import (
    FULL,
    MICROSECONDS,
    Copied,
    Damage,
    Frame,
    Turn,
    VideoInfo,
    beginning_of,
    colours_of,
    is_stored_as_rgb,
    open_video,
    seconds_of,
    video_stream,
    why,
)

MAX_PIXELS: Final = 100_000_000
"""Larger frames are refused unless the environment allows them (`fststyle.images.limits`)."""

_LEAST_MISSING: Final = 0.5
"""Seconds by which a film may end before its file says so."""
_LATEST: Final = 10
"""Seconds that the sound may lie behind the pictures in the file."""
_MOST_ERRORS: Final = 3
_SEEK_BACK: Final = 10.0


class VideoReader:
    """Reads one film; to be used in a ``with`` statement.

    Args:
        path: A file.
        size: Long side to which frames are shrunk, in pixels; by default their own.
        start: Seconds that are left out at the beginning.
        duration: Seconds that are read; by default all.
        square: Make pixels square, for formats that have no others.
        copies: The kinds of other streams that are read.

    Attributes:
        film: What is known of it.
        damage: What was wrong with it so far.

    Raises:
        VideoError: There is no such film, or no frame of it can be decoded.
        SettingError: ``start`` or ``duration`` is out of range, ``size`` is below 1, or PyAV is
            missing.
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
        if not 0 <= start < math.inf:
            raise SettingError(f"start must be a number of seconds from 0, not {start!r}.")
        if duration is not None and not 0 < duration < math.inf:
            raise SettingError(f"duration must be a number of seconds above 0, not {duration!r}.")
        self.damage = Damage()
        self._path, self._copies = path, copies
        self._starts_later = start > 0
        # A seek may end too late; then further back, and at last without one.
        for back in (0.0, _SEEK_BACK, None) if self._starts_later else (None,):
            self._open(start, duration, back)
            try:
                self._held = self._up_to_first_frame()
                is_late = self._earliest is None or self._earliest * self._time_base > self._begin
                if back is not None and (is_late or not self._held):
                    self._container.close()
                    continue
                if not self._held:
                    raise VideoError(self._nothing(start))
                self._look(self._held[-1], size, square)
                break
            except BaseException:
                self._container.close()
                raise

    def _open(self, start: float, duration: float | None, back: float | None) -> None:
        """Open the file, and seek so many seconds before the start."""
        self._container = _container = open_video(self._path)
        try:
            self._stream = video_stream(_container, self._path)
            self._stream.thread_type = "AUTO"
            self.copied = [s for s in _container.streams if s.type in self._copies]
            self._time_base = Fraction(self._stream.time_base)
            self._begin = beginning_of(_container) + Fraction(start).limit_denominator(MICROSECONDS)
            self._end: Fraction | None = None
            if duration is not None:
                self._end = self._begin + Fraction(duration).limit_denominator(MICROSECONDS)
            self._reached = -math.inf
            self._earliest: int | None = None  # time of a frame
            self._last: Frame | None = None
            if back is not None:
                _container.seek(max(0, int((self._begin - Fraction(back)) * MICROSECONDS)))
            self._coming = self._decoded()
        except BaseException:
            _container.close()
            raise

    def _up_to_first_frame(self) -> list[Any]:
        """What comes before the first frame, and that; nothing where there is none."""
        held = []
        for item in self._coming:
            held.append(item)
            if not isinstance(item, Copied | _Lost):
                return held
        return []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._container.close()

    @property
    def metadata(self) -> dict[str, str]:
        """What the file says of itself, such as its title."""
        return dict(self._container.metadata)

    @property
    def stream_metadata(self) -> dict[str, str]:
        """What it says of the pictures, such as their language."""
        return dict(self._stream.metadata)

    def chapters(self, seconds: float) -> list[Any]:
        """PyAV's, those that lie in what is read, and cut to it.

        Args:
            seconds: How long that is.
        """
        cut, last = [], self._begin + Fraction(seconds).limit_denominator(MICROSECONDS)
        for chapter in self._container.chapters():
            unit = Fraction(chapter["time_base"])
            begin = max(chapter["start"] * unit, self._begin)
            end = min(chapter["end"] * unit, last)
            if begin < end:
                times = {"start": round((begin - self._begin) / unit)}
                times["end"] = max(times["start"] + 1, round((end - self._begin) / unit))
                cut.append({**chapter, **times})
        return cut

    def end_at(self, seconds: float) -> None:
        """Have what is read end earlier, while it is read.

        Args:
            seconds: From its beginning on.
        """
        self._end = self._begin + Fraction(seconds).limit_denominator(MICROSECONDS)

    def items(self) -> Iterator[Frame | Copied]:
        """Read the film, once, in the order of its file.

        Yields:
            Its frames in the order in which they are shown, and among them the packets of its
            other streams.

        Raises:
            VideoError: A frame cannot be converted.
        """
        waiting: Frame | None = None  # its duration is known when the next one comes
        for item in itertools.chain(self._held, self._coming):
            if isinstance(item, Copied):
                yield item
                continue
            if isinstance(item, _Lost):
                if waiting is None:  # there is nothing to show in its place
                    continue
                frame = self._timed(None, item.pts, 0)
            else:
                is_broken = item.is_corrupt and waiting is not None
                pixels = None if is_broken else self._rgb(item)
                frame = self._timed(pixels, item.pts, item.duration)
            if waiting is not None:
                yield replace(waiting, duration=frame.pts - waiting.pts)
            waiting = frame
        if waiting is not None:
            yield replace(waiting, duration=self._last_duration(waiting))
        self._check_end()

    def _timed(self, pixels: NDArray[np.uint8] | None, pts: int | None, duration: int) -> Frame:
        last = self._last
        if pts is None:
            begin = 0 if last is None else last.pts + last.duration
        else:
            begin = pts - round(self._begin / self._time_base)
        if last is not None:  # a file may give two frames one time
            begin = max(begin, last.pts + 1)
        usual = max(1, round(1 / (self.info.rate * self._time_base)))
        frame = Frame(pixels, begin, max(1, duration or usual))
        self.damage.broken += pixels is None
        self._last = frame
        end = (frame.pts + frame.duration) * self._time_base + self._begin
        self._reached = max(self._reached, float(end))
        return frame

    def _last_duration(self, frame: Frame) -> int:
        """Of the last frame; where frames are stored in another order, its own may be wrong."""
        seconds = seconds_of(self._stream)
        if seconds is None or self._starts_later or self._end is not None:
            return frame.duration
        end = (self._stream.start_time or 0) + round(seconds / self._time_base)
        rest = end - round(self._begin / self._time_base) - frame.pts
        return rest if 0 < rest * self._time_base <= _LEAST_MISSING else frame.duration

    def _rgb(self, frame: Any) -> NDArray[np.uint8]:
        """Convert a frame to RGB, shrink it, and turn it upright."""
        from av.video.reformatter import Interpolation

        width, height = self.info.width, self.info.height
        if self._turn.swaps:
            width, height = height, width
        colours = self.info.colours
        converted = self._reformatter.reformat(
            frame,
            width,
            height,
            "rgb24",
            src_colorspace=colours.scaler_matrix,
            src_color_range=FULL if is_stored_as_rgb(frame) else colours.scaler_range,
            dst_color_range=FULL,
            interpolation=Interpolation.BICUBIC
            | Interpolation.FULL_CHR_H_INT
            | Interpolation.ACCURATE_RND,
        )
        pixels: Any = converted.to_ndarray()
        return self._turn(pixels)

    def _look(self, first: Any, size: int | None, square: bool) -> None:
        """Find out what there is to know from the first frame."""
        from av.video.reformatter import VideoReformatter

        stream = self._stream
        if first.width * first.height > pixel_limit(MAX_PIXELS):
            raise VideoError(
                f"{self._path} has frames of {first.width}×{first.height} pixels, which is more "
                "than fststyle reads; set FSTSTYLE_MAX_MEGAPIXELS if they are sound."
            )
        self._reformatter = VideoReformatter()
        self._turn = Turn.of(first)
        width, height = first.width, first.height
        aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        if square:
            width, aspect = max(1, round(width * aspect)), Fraction(1)
        if self._turn.swaps:
            width, height, aspect = height, width, 1 / aspect
        if size is not None:
            height, width = fitted_size(height, width, size)
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        self._promised = seconds = seconds_of(stream)
        if seconds is None and self._container.duration is not None:
            seconds = self._container.duration / MICROSECONDS
            # It is that of the longest stream, which may be one that is not read.
            self._promised = seconds if {"audio", "subtitle"} <= {*self._copies} else None
        frames = stream.frames or (None if seconds is None else round(seconds * rate))
        if self._starts_later or self._end is not None:
            left = math.inf if seconds is None else max(0.0, seconds - float(self._begin))
            if self._end is not None:
                left = min(left, float(self._end - self._begin))
            seconds = left if math.isfinite(left) else None
            frames = None if seconds is None else round(seconds * rate)
        self.info = VideoInfo(
            path=self._path,
            width=width,
            height=height,
            aspect=aspect,
            rate=rate,
            time_base=self._time_base,
            frames=frames,
            seconds=seconds,
            colours=colours_of(first, width, height),
        )

    def _decoded(self) -> Iterator[Any]:
        """Go through the file: frames as PyAV has them, `_Lost` ones, and packets to be copied."""
        import av

        waiting: list[int] = []  # the times of frames that are to come, a heap
        is_damaged = False
        ended = False
        passed = dict.fromkeys((s.index for s in self.copied if s.type == "audio"), False)
        for packet in self._packets():
            if packet.stream_index != self._stream.index:
                copied = self._cut(packet, passed)
                if copied is not None:
                    yield copied
                if ended and all(passed.values()):
                    return
                continue
            if ended:
                time = packet.dts if packet.dts is not None else packet.pts
                assert self._end is not None
                is_late = time is not None and time * self._time_base > self._end + _LATEST
                if all(passed.values()) or is_late:
                    return
                continue
            if packet.pts is not None and packet.size and not packet.is_discard:
                heapq.heappush(waiting, packet.pts)
            try:
                frames = self._stream.decode(packet if packet.size else None)
            except (av.error.FFmpegError, ValueError):
                frames, is_damaged = [], True
            for frame in frames:
                while waiting and frame.pts is not None and waiting[0] <= frame.pts:
                    pts = heapq.heappop(waiting)
                    # Some packets are never shown; after an error, they are taken for lost.
                    if pts < frame.pts and is_damaged and self._counts(pts):
                        yield _Lost(pts)
                if self._earliest is None:
                    self._earliest = frame.pts
                if not self._counts(frame.pts):
                    ended = ended or self._is_after(frame.pts)
                    continue
                yield frame
        while is_damaged and waiting:
            pts = heapq.heappop(waiting)
            if self._counts(pts):
                yield _Lost(pts)

    def _packets(self) -> Iterator[Any]:
        """Read all packets, over small gaps too; at the end an empty one for the pictures."""
        import av

        streams = (self._stream, *self.copied)
        errors = 0
        while errors < _MOST_ERRORS:
            try:
                for packet in self._container.demux(streams):
                    if packet.size:
                        errors = 0
                        yield packet
                break
            except (av.error.FFmpegError, OSError) as error:
                errors += 1
                self.damage.truncated = f"it cannot be read further ({why(error)})"
        if errors < _MOST_ERRORS:
            self.damage.truncated = ""
        last = av.Packet()
        last.stream = self._stream
        yield last

    def _cut(self, packet: Any, passed: dict[int, bool]) -> Copied | None:
        """Give a packet its place in the result; None where it has none."""
        if packet.dts is None and packet.pts is None:
            return None
        base = Fraction(packet.time_base)
        if packet.pts is None:
            packet.pts = packet.dts
        begin = packet.pts * base
        end = begin + (packet.duration or 0) * base
        is_text = packet.stream.type == "subtitle"  # which stays for long
        self._reached = max(self._reached, float(begin if is_text else end))
        if self._end is not None and begin >= self._end:
            if packet.stream_index in passed:
                passed[packet.stream_index] = True
            return None
        if self._end is not None and is_text and end > self._end:
            packet.duration = round((self._end - begin) / base)
        offset = round(self._begin / base)
        if self._starts_later and begin < self._begin:
            if not (is_text and end > self._begin):
                return None
            packet.duration -= offset - packet.pts
            packet.pts = packet.dts = offset
        packet.pts -= offset
        packet.dts = packet.pts if packet.dts is None else packet.dts - offset
        return Copied(packet.stream_index, packet)

    def _counts(self, pts: int | None) -> bool:
        if pts is None:
            return True
        return not self._is_after(pts) and not (
            self._starts_later and pts * self._time_base < self._begin
        )

    def _is_after(self, pts: int | None) -> bool:
        return pts is not None and self._end is not None and pts * self._time_base >= self._end

    def _check_end(self) -> None:
        if self.damage.truncated or self._promised is None:
            return
        expected = float((self._stream.start_time or 0) * self._time_base) + self._promised
        if self._end is not None:
            expected = min(expected, float(self._end))
        if self._reached < expected - _LEAST_MISSING:
            self.damage.truncated = f"its file promises {self._promised:.1f} s"

    def _nothing(self, start: float) -> str:
        if self._starts_later:
            return f"{self._path} has no frame after {start:g} s; choose an earlier --start."
        return f"{self._path} has no frame that can be decoded; it may be damaged."


@dataclass(frozen=True)
class _Lost:
    """A frame that could not be decoded."""

    pts: int
