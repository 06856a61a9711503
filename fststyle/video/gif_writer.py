"""Writing videos as animated GIFs, with a separate palette for each frame."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fststyle.video.output_file import OutputFile

_CENTISECOND: Final = Fraction(1, 100)
_LEAST_DELAY: Final = 2
"""Minimum duration of a GIF frame, in 1/100 s. Viewers play frames with shorter ones too slowly."""


class GifWriter(OutputFile):
    """Writes an animated GIF with a palette for each frame.

    Frames that follow the previous frame too closely are left out, and so are other streams.
    """

    def _open_streams(self) -> None:
        self._last: int | None = None
        self._waiting: dict[int, int] = {}
        info = self._source.info
        self._stream = self._add_stream()
        self._stream.pix_fmt = "pal8"
        self._stream.width, self._stream.height = info.width, info.height
        self._open_encoder(_CENTISECOND)
        self._graph = _palettes(*self.size)

    def _finish(self) -> None:
        self._graph.push(None)
        self._encode_ready()
        super()._finish()

    def _encode_frame(self, pixels: NDArray[np.uint8], pts: int, duration: int) -> bool:
        import av

        begin = round(pts * self._unit * 100)
        if self._last is not None and begin < self._last + _LEAST_DELAY:
            return False
        self._last = begin
        length = max(_LEAST_DELAY, round(duration * self._unit * 100))
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
        frame.pts, frame.time_base, frame.duration = begin, _CENTISECOND, length
        self._waiting[begin] = length
        self._graph.push(frame)
        self._encode_ready()
        return True

    def _encode_ready(self) -> None:
        """Encode the frames that have received their palette."""
        import av

        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            self._encode(frame, self._waiting.pop(frame.pts, 0))


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
