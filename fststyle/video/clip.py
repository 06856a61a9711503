"""`Clip`: the part of a video that is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

from fststyle.video.container import MICROSECONDS


@dataclass
class Clip:
    """The part of a video that is read. All times are in seconds of the file's own clock.

    Attributes:
        begin: Time at which the clip begins. This time becomes 0 in the result.
        end: Time at which the clip ends, or ``None`` for the end of the file.
        skips: True if frames before ``begin`` are skipped.
        zero: Time at which the whole video begins.

    Example:
        >>> clip = Clip.of(Fraction(10), start=0.5, duration=2)
        >>> clip.contains(Fraction(11)), clip.contains(Fraction(13))
        (True, False)
    """

    begin: Fraction
    end: Fraction | None = None
    skips: bool = False
    zero: Fraction = Fraction(0)

    @classmethod
    def of(cls, zero: Fraction, *, start: float = 0.0, duration: float | None = None) -> Self:
        """Create a clip from a start and a duration.

        Args:
            zero: Time in the file at which the video starts.
            start: Number of seconds to skip at the beginning of the video.
            duration: Length of the clip in seconds. By default the clip extends to the end of the
                video.
        """
        clip = cls(zero + _fraction(start), skips=start > 0, zero=zero)
        if duration is not None:
            clip.end_at(duration)
        return clip

    def end_at(self, seconds: float) -> None:
        """End the clip the given number of seconds after its beginning."""
        self.end = self.begin + _fraction(seconds)

    def is_after(self, time: Fraction | None) -> bool:
        """Return whether a time in the file is at or after the end of the clip."""
        return time is not None and self.end is not None and time >= self.end

    def contains(self, time: Fraction | None) -> bool:
        """Return whether a time in the file is in the clip. The result for ``None`` is True."""
        if time is None:
            return True
        return not self.is_after(time) and not (self.skips and time < self.begin)

    def length(self, seconds: float | None) -> float | None:
        """Return the clip's length in seconds, given the length of the whole video.

        ``None`` means that a length is unknown.
        """
        if not self.skips and self.end is None:
            return seconds
        lengths = []
        if seconds is not None:
            lengths.append(max(0.0, seconds - float(self.begin - self.zero)))
        if self.end is not None:
            lengths.append(float(self.end - self.begin))
        return min(lengths, default=None)

    def place(self, packet: Any) -> bool:
        """Shift a copied packet to its time in the clip, and trim subtitles to the clip.

        Args:
            packet: A PyAV packet that has a ``pts``. The times of the packet are changed in place.

        Returns:
            True if the packet is part of the clip.
        """
        base = Fraction(packet.time_base)
        begin = packet.pts * base
        end = begin + (packet.duration or 0) * base
        is_text = packet.stream.type == "subtitle"  # a subtitle stays on screen
        if self.is_after(begin):
            return False
        if is_text and self.end is not None and end > self.end:
            packet.duration = round((self.end - begin) / base)
        offset = round(self.begin / base)
        if self.skips and begin < self.begin:
            if not (is_text and end > self.begin):
                return False
            packet.duration -= offset - packet.pts
            packet.pts = packet.dts = offset
        packet.pts -= offset
        packet.dts = packet.pts if packet.dts is None else packet.dts - offset
        return True

    def chapters(self, chapters: Iterable[Any], seconds: float) -> list[Any]:
        """Select the chapters in the clip, and trim them to it.

        Args:
            chapters: The file's chapters, as PyAV returns them.
            seconds: Length of the part that was read, in seconds.

        Returns:
            The chapters in the clip, with times relative to the clip.
        """
        cut, last = [], self.begin + _fraction(seconds)
        for chapter in chapters:
            unit = Fraction(chapter["time_base"])
            begin = max(chapter["start"] * unit, self.begin)
            end = min(chapter["end"] * unit, last)
            if begin < end:
                first = round((begin - self.begin) / unit)
                after = max(first + 1, round((end - self.begin) / unit))
                cut.append({**chapter, "start": first, "end": after})
        return cut


def _fraction(seconds: float) -> Fraction:
    return Fraction(seconds).limit_denominator(MICROSECONDS)
