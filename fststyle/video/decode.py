"""Reading the packets of a file, decoding frames, and selecting packets to copy."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, Final

from fststyle.video.clip import Clip
from fststyle.video.container import (
    Damage,
    beginning_of,
    clock_can_jump,
    open_video,
    video_stream,
    why,
)

_MOST_ERRORS: Final = 3
_JUMP: Final = 10
"""Minimum size of a forward jump in the clock of a broadcast, in seconds, as in FFmpeg."""
_LATEST: Final = 10
"""Maximum delay of the sound relative to the frames in the file, in seconds."""


@dataclass(frozen=True)
class Lost:
    """A frame that could not be decoded.

    Attributes:
        pts: Time of the frame, in units of the stream's time base.
    """

    pts: int


def read_packets(container: Any, streams: Sequence[Any], damage: Damage) -> Iterator[Any]:
    """Read the packets of some streams, and skip small damaged parts.

    Args:
        container: The open file, as a PyAV container.
        streams: Streams to read.
        damage: Object that records damage. ``truncated`` is set if the file is not readable to its
            end.

    Yields:
        PyAV packets, in the order in which they are stored in the file. If the clock of a broadcast
        jumps, the packets after the jump follow those before it.
    """
    import av

    clock = _Clock(damage) if clock_can_jump(container) else None
    errors = 0
    while True:
        try:
            for packet in container.demux(streams):
                if packet.size:
                    errors = 0
                    if clock is not None:
                        clock.correct(packet)
                    yield packet
            return
        except (av.error.FFmpegError, OSError) as error:
            errors += 1
            if errors == _MOST_ERRORS:
                damage.truncated = f"it cannot be read further ({why(error)})"
                return


def clock_jumps_before(path: Path, seconds: float) -> bool:
    """Return whether a jump in the clock of a broadcast makes seeking to a time impossible.

    Args:
        path: Path of the video file, which is read up to that time without decoding it.
        seconds: Time, in seconds since the beginning of the video.
    """
    damage = Damage()
    with open_video(path) as container:
        if clock_can_jump(container):
            stream = video_stream(container, path)
            end = beginning_of(container, (stream,)) + Fraction(seconds)
            for packet in read_packets(container, (stream,), damage):
                is_after = packet.dts is not None and packet.dts * Fraction(stream.time_base) > end
                if damage.jumps or is_after:
                    break
    return damage.jumps > 0


class _Clock:
    """Removes the jumps in the clock of a broadcast, such as those where parts were joined."""

    def __init__(self, damage: Damage) -> None:
        self._damage = damage
        self._offset = Fraction(0)
        self._last: dict[int, tuple[Fraction, Fraction]] = {}
        """For each stream, the time of its last packet, and the time since the one before."""

    def correct(self, packet: Any) -> None:
        """Change the times of a packet in place. A jump applies to all streams."""
        if packet.dts is None:
            return
        unit = Fraction(packet.time_base)
        time = packet.dts * unit + self._offset
        last, step = self._last.get(packet.stream_index, (time, Fraction(0)))
        if packet.stream.type != "subtitle" and not -1 < time - last < _JUMP:
            self._offset += last + step - time
            self._damage.jumps += 1
        else:
            step = time - last
        self._last[packet.stream_index] = last + step, step
        shift = round(self._offset / unit)
        packet.dts += shift
        if packet.pts is not None:
            packet.pts += shift


class _Times:
    """Puts the times of decoded frames in order, where a file does not store them.

    AVI files store packets without times. If a packet contains two frames (a "packed bitstream",
    as DivX wrote it), decoders return the frames in the right order, but exchange their times.
    """

    def __init__(self, delay: int) -> None:
        self._delay = delay
        self._frames: list[Any] = []

    def sorted(self, frames: Iterable[Any], *, is_end: bool) -> Iterator[Any]:
        """Return the frames that are due, each with the earliest time of those that wait."""
        self._frames += frames
        while len(self._frames) > (0 if is_end else self._delay):
            times = sorted(f.pts for f in self._frames if f.pts is not None)
            frame = self._frames.pop(0)
            if frame.pts is not None and times[0] != frame.pts:
                other = next(f for f in self._frames if f.pts == times[0])
                other.pts, frame.pts = frame.pts, other.pts
            yield frame


def decode_frames(
    packets: Iterable[Any], stream: Any, clip: Clip, *, stores_times: bool = True
) -> Iterator[Any]:
    """Decode frames, and report those that are lost because the file is damaged.

    Args:
        packets: Packets of the file. Only packets of the video stream are decoded.
        stream: The video stream.
        clip: Part of the video to read. Decoding stops at the end of the clip.
        stores_times: False if the file's format does not store the times of frames, as AVI.

    Yields:
        PyAV frames, and a `Lost` for each lost frame, in the order in which they are shown. Frames
        before the clip are included.
    """
    import av

    base = Fraction(stream.time_base)
    expected: list[int] = []  # a heap with the times of frames that have not been decoded yet
    is_damaged = False
    times = _Times(0 if stores_times else 2)
    delay: int | None = 0 if stores_times else None
    for packet in chain(packets, (None,)):  # None makes the decoder return its last frames
        if packet is not None:
            if packet.stream_index != stream.index:
                continue
            if packet.pts is not None and packet.dts is not None:
                # FFmpeg adds the decoder's delay to the times that it makes up.
                delay = packet.pts - packet.dts if delay is None else delay
                packet.pts -= delay
            if packet.pts is not None and not packet.is_discard:
                heapq.heappush(expected, packet.pts)
        try:
            frames = stream.decode(packet)
        except (av.error.FFmpegError, ValueError):
            frames, is_damaged = [], True
        for frame in times.sorted(frames, is_end=packet is None):
            while expected and frame.pts is not None and expected[0] <= frame.pts:
                pts = heapq.heappop(expected)
                # Some packets are never shown. After an error, such packets count as lost frames.
                if pts < frame.pts and is_damaged:
                    yield Lost(pts)
            if frame.pts is not None and clip.is_after(frame.pts * base):
                return
            yield frame
    while is_damaged and expected:
        yield Lost(heapq.heappop(expected))


def select_copies(
    packets: Iterable[Any], stream: Any, copied: Sequence[Any], clip: Clip
) -> Iterator[Any]:
    """Select the packets that are copied, up to the end of a clip.

    Args:
        packets: Packets of the video stream and of the copied streams, in the order of the file.
        stream: The video stream. The packets of this stream show how far the file has been read.
        copied: The streams to copy.
        clip: Part of the video to read.

    Yields:
        PyAV packets that have a time. Some packets may be before or after the clip.
    """
    running = {stream.index, *(s.index for s in copied if s.type == "audio")}
    has_audio = len(running) > 1
    for packet in packets:
        is_frame = packet.stream_index == stream.index
        first, second = (packet.dts, packet.pts) if is_frame else (packet.pts, packet.dts)
        units = second if first is None else first
        if units is None:
            continue
        time = units * Fraction(packet.time_base)
        if clip.is_after(time):
            running.discard(packet.stream_index)
            if has_audio and not running:
                return
            # In the file, sound and subtitles may be stored a little after their frames.
            if is_frame and clip.end is not None and time > clip.end + _LATEST:
                return
        if not is_frame:
            packet.pts = units
            yield packet
