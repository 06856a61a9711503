"""Writing videos as animated GIFs, with a separate palette for each frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import VideoError
from fststyle.video.container import Copied
from fststyle.video.encoders import Output
from fststyle.video.output_file import OutputFile
from fststyle.video.reader import VideoReader

_CENTISECOND: Final = Fraction(1, 100)
_LEAST_DELAY: Final = 2
"""Minimum duration of a GIF frame, in 1/100 s. Viewers play frames with shorter ones too slowly."""


class GifWriter:
    """Writes an animated GIF with a palette for each frame. Use in a ``with`` statement.

    Args:
        file: File to write.
        output: Output format and encoder.
        source: The video whose metadata is copied.

    Attributes:
        frames: Number of frames written so far.
        seconds: Time at which the last frame ends.

    Raises:
        VideoError: The codec cannot be used for GIF, or the file cannot be written.
    """

    def __init__(self, file: Path, output: Output, source: VideoReader) -> None:
        self._time_base = source.info.time_base
        self._last: int | None = None
        self._waiting: dict[int, int] = {}
        self._file = OutputFile(file, output, source)
        try:
            with self._file.errors():
                self._stream = self._file.add_stream(source)
                self._stream.pix_fmt = "pal8"
                self._stream.width, self._stream.height = source.info.width, source.info.height
                self._file.open_encoder(self._stream, _CENTISECOND)
                self._graph = _palettes(*self.size)
                self._file.container.start_encoding()
        except VideoError:
            self._file.abandon()
            raise

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames in the file, in pixels."""
        return self._stream.width, self._stream.height

    @property
    def frames(self) -> int:
        """Number of frames written so far."""
        return self._file.frames

    @property
    def seconds(self) -> float:
        """Time at which the last frame ends, in seconds."""
        return self._file.seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._file.abandon()
            return
        with self._file.errors():
            self._graph.push(None)
            self._encode_ready()
            self._file.encode(self._stream, None)
            self._file.container.close()

    def add_frame(self, pixels: NDArray[np.uint8], pts: int, duration: int) -> None:
        """Encode a frame, unless it follows the previous frame too closely.

        Args:
            pixels: Frame ``(H, W, 3)``, RGB.
            pts: Time of the frame, in units of the video's time base. The time must be later
                than that of the previous frame.
            duration: Duration of the frame, in the same units.

        Raises:
            VideoError: The frame cannot be encoded or written.
        """
        import av

        begin = round(pts * self._time_base * 100)
        if self._last is not None and begin < self._last + _LEAST_DELAY:
            return
        self._last = begin
        length = max(_LEAST_DELAY, round(duration * self._time_base * 100))
        with self._file.errors():
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
            frame.pts, frame.time_base, frame.duration = begin, _CENTISECOND, length
            self._waiting[begin] = length
            self._graph.push(frame)
            self._encode_ready()
        self._file.frames += 1
        self._file.seconds = float((pts + duration) * self._time_base)

    def add_copied(self, copied: Copied) -> None:
        """Ignore a packet: GIF has neither sound nor subtitles."""

    def _encode_ready(self) -> None:
        """Encode the frames that have received their palette."""
        import av

        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            self._file.encode(self._stream, frame, self._waiting.pop(frame.pts, 0))


def _palettes(width: int, height: int) -> Any:
    """Create a filter graph that gives each frame its own palette.

    The filter uses ordered dithering, because error diffusion would flicker.
    """
    from av.filter import Graph

    graph: Any = Graph()
    source = graph.add_buffer(width=width, height=height, format="rgb24", time_base=_CENTISECOND)
    split = graph.add("split")
    palette = graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
    use = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=3")
    sink = graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    return graph
