"""A file's packets, the frames that they decode to, and the packets that are copied."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Any, Final

from fststyle.video.clip import Clip
from fststyle.video.container import Damage, why

_MOST_ERRORS: Final = 3
_LATEST: Final = 10
"""Longest delay of the sound behind the frames in the file, in seconds."""


@dataclass(frozen=True)
class Lost:
    """A frame that could not be decoded.

    Attributes:
        pts: Time of the frame, in units of its stream.
    """

    pts: int


def read_packets(container: Any, streams: Sequence[Any], damage: Damage) -> Iterator[Any]:
    """Read the packets of some streams, and continue after small gaps.

    Args:
        container: PyAV's open file.
        streams: Streams to read.
        damage: Its ``truncated`` is set if the file cannot be read to its end.

    Yields:
        PyAV's packets, in the order of the file.
    """
    import av

    errors = 0
    while True:
        try:
            for packet in container.demux(streams):
                if packet.size:
                    errors = 0
                    yield packet
            return
        except (av.error.FFmpegError, OSError) as error:
            errors += 1
            if errors == _MOST_ERRORS:
                damage.truncated = f"it cannot be read further ({why(error)})"
                return


def decode_frames(packets: Iterable[Any], stream: Any, clip: Clip) -> Iterator[Any]:
    """Decode frames, and note those that are lost to damage.

    Args:
        packets: Packets of the file; those of other streams are ignored.
        stream: The stream of the frames.
        clip: Decoding stops at its end.

    Yields:
        PyAV's frames, in the order in which they are shown and also before the clip, and `Lost`
        ones.
    """
    import av

    base = Fraction(stream.time_base)
    expected: list[int] = []  # a heap of the times of frames that are not decoded yet
    is_damaged = False
    for packet in chain(packets, (None,)):  # None: the decoder returns its last frames
        if packet is not None:
            if packet.stream_index != stream.index:
                continue
            if packet.pts is not None and not packet.is_discard:
                heapq.heappush(expected, packet.pts)
        try:
            frames = stream.decode(packet)
        except (av.error.FFmpegError, ValueError):
            frames, is_damaged = [], True
        for frame in frames:
            while expected and frame.pts is not None and expected[0] <= frame.pts:
                pts = heapq.heappop(expected)
                # Some packets are never shown. After an error they count as lost.
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
        packets: Packets of the frames and of the copied streams, in the order of the file.
        stream: The stream of the frames; its packets show how far the file has been read.
        copied: The streams that are copied.
        clip: The clip.

    Yields:
        PyAV's packets, each with a time, including some before and after the clip.
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
            # Sound and subtitles may come a little later in the file than their frames.
            if is_frame and clip.end is not None and time > clip.end + _LATEST:
                return
        if not is_frame:
            packet.pts = units
            yield packet
