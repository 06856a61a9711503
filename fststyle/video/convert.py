"""Converting a video in three overlapping stages: decoding, stylising and encoding.

Only a few frames are in memory at any time, so a video may have any length. No temporary frames
are written to disk.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import VideoError
from fststyle.files import cannot_write, replacing
from fststyle.stylize.overlap import behind, prefetch
from fststyle.video.container import Copied, Frame
from fststyle.video.encoders import Output
from fststyle.video.reader import VideoReader
from fststyle.video.writer import open_writer

_HELD_BYTES: Final = 2**28
"""Approximate memory limit for frames read ahead, and for frames waiting to be written."""
_MOST_HELD: Final = 8
_MOST_COPIED: Final = 256
"""Maximum number of copied packets in a group."""

Work = Callable[[NDArray[np.uint8], float], NDArray[np.uint8]]
"""Function that takes a frame ``(H, W, 3)`` and its time in seconds, and stylises the frame."""

Items = list[Frame | Copied]


@dataclass(frozen=True)
class ConversionResult:
    """The outcome of a conversion.

    Attributes:
        frames: Number of frames that were written.
        seconds: Duration of the result.
        is_whole: True if the conversion ran to the end, False if it was stopped early.
        width: Width of the frames in pixels.
        height: Height of the frames in pixels.
    """

    frames: int
    seconds: float
    is_whole: bool
    width: int
    height: int


def convert(
    source: VideoReader,
    output: Output,
    work: Work,
    *,
    on_frame: Callable[[int], None] = lambda count: None,
    stop: Callable[[], bool] = lambda: False,
) -> ConversionResult:
    """Convert a video frame by frame.

    Args:
        source: The video, which is read to its end.
        output: File and format of the result. An existing file is replaced when the result is
            complete.
        work: Function that stylises a frame. The function is called in the caller's thread, in the
            order of the frames. If a frame cannot be decoded, the previous result is repeated
            instead.
        on_frame: Function that is called after each frame with the number of finished frames, in
            the caller's thread.
        stop: Function that is called before each frame. Once ``stop`` returns True, the conversion
            stops, and the result consists of the frames that are already finished.

    Returns:
        The number of frames in the result, their total duration and their size.

    Raises:
        VideoError: The video cannot be read or written. In this case, no result is written, and an
            existing file is kept.
        KeyboardInterrupt: The conversion was stopped before its first frame was finished.
    """
    stylised = _Stylised(source, work, on_frame, stop)
    info = source.info
    room = max(2, min(_MOST_HELD, _HELD_BYTES // (3 * info.width * info.height)))
    try:
        with replacing(output.path) as temporary:
            with open_writer(temporary, output, source) as writer:

                def write(items: Items) -> None:
                    for item in items:
                        if isinstance(item, Copied):
                            writer.add_copied(item)
                        else:
                            assert item.pixels is not None
                            writer.add_frame(item.pixels, item.pts, item.duration)

                with (
                    closing(_groups_ahead(source, room)) as groups,
                    closing(behind(write, stylised.groups(groups), lambda: room)) as written,
                ):
                    for _ in written:
                        pass
                if writer.frames == 0:
                    if not stylised.is_whole:
                        raise KeyboardInterrupt
                    raise VideoError(
                        "{path} was not written: the video has no frames.",
                        path=output.path,
                        code="no_frames",
                    )
            return ConversionResult(writer.frames, writer.seconds, stylised.is_whole, *writer.size)
    except OSError as error:
        raise cannot_write(output.path, error, VideoError) from error


def _groups_ahead(source: VideoReader, room: int) -> Generator[Items, None, None]:
    """Read groups of items ahead, in a background thread."""
    groups = _groups(source)
    with closing(prefetch(lambda _: next(groups, None), repeat(None), lambda: room)) as ahead:
        for group in ahead:
            if group is None:
                return
            yield group


def _groups(source: VideoReader) -> Iterator[Items]:
    """Group a video's items so that each group contains at most one frame."""
    group: Items = []
    for item in source.items():
        group.append(item)
        if isinstance(item, Frame) or len(group) == _MOST_COPIED:
            yield group
            group = []
    yield group


class _Stylised:
    """The stylised frames of a video, with the copied packets between them.

    Attributes:
        is_whole: True as long as the conversion has not been stopped.
    """

    def __init__(
        self,
        source: VideoReader,
        work: Work,
        on_frame: Callable[[int], None],
        stop: Callable[[], bool],
    ) -> None:
        self.is_whole = True
        self._source = source
        self._work = work
        self._on_frame = on_frame
        self._stop = stop
        self._count = 0
        self._until = 0.0
        """Time at which the last finished frame ends, in seconds."""
        self._newest: NDArray[np.uint8] | None = None

    def groups(self, groups: Iterator[Items]) -> Iterator[Items]:
        """Stylise the frames in groups of items.

        If the conversion is stopped before the first frame is finished, nothing is yielded.
        """
        for group in groups:
            if self.is_whole and self._stop():
                self.is_whole = False
                if self._count == 0:
                    return
                self._source.end_at(self._until)
            yield [done for item in group if (done := self._done(item)) is not None]

    def _done(self, item: Frame | Copied) -> Frame | Copied | None:
        if isinstance(item, Copied):
            return item if self.is_whole or item.seconds < self._until else None
        if not self.is_whole:
            return None
        seconds_per_unit = self._source.info.time_base
        if item.pixels is not None:
            self._newest = self._work(item.pixels, float(item.pts * seconds_per_unit))
        self._count += 1
        self._until = float((item.pts + item.duration) * seconds_per_unit)
        self._on_frame(self._count)
        return Frame(self._newest, item.pts, item.duration)
