"""Writing video files: frames are encoded, while sound and subtitles are copied unchanged.

The default codec is H.264. The colour encoding, the frame times and the pixel aspect ratio of the
source are preserved. GIF and WebP have neither sound nor subtitles, and always have square pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import VideoError
from fststyle.video.container import FULL, Copied
from fststyle.video.encoders import FORMATS, Output
from fststyle.video.gif_writer import GifWriter
from fststyle.video.output_file import OutputFile, kept_metadata
from fststyle.video.reader import VideoReader

# The first of these formats that the encoder supports is used.
_PIXEL_FORMATS: Final = ("yuv420p", "bgra", "yuv422p", "yuv444p", "yuv422p10le", "yuv444p10le")
_HALF_WIDTH: Final = frozenset({"yuv420p", "yuv422p", "yuv422p10le"})
"""Pixel formats that store colours at half the horizontal resolution."""


def open_writer(file: Path, output: Output, source: VideoReader) -> OutputFile:
    """Open the writer for the format of the output.

    Args:
        file: File to write.
        output: Output format and encoder.
        source: The video whose other streams and metadata are copied.
    """
    kind = GifWriter if output.suffix == ".gif" else VideoWriter
    return kind(file, output, source)


class VideoWriter(OutputFile):
    """Writes a video in any format but GIF."""

    def _open_streams(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._colours = None if self._output.is_silent else self._source.info.colours
        self._add_frames()
        self._copies = {s.index: self._add_copy(s) for s in self._source.copied}
        self._reformatter = VideoReformatter()

    def _finish(self) -> None:
        super()._finish()
        # The end of the video, which chapters depend on, is known only now.
        chapters = self._source.chapters(self.seconds)
        if chapters and not self._output.is_silent:
            self._container.set_chapters(chapters)

    def _encode_frame(self, pixels: NDArray[np.uint8], pts: int, duration: int) -> bool:
        import av
        from av.video.reformatter import Interpolation

        width, height = self.size
        colours = self._colours
        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), "rgb24"),
            format=self._stream.pix_fmt,
            src_color_range=FULL,
            dst_colorspace=None if colours is None else colours.scaler_matrix,
            dst_color_range=FULL if colours is None else colours.scaler_range,
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
        )
        if colours is not None:
            frame.colorspace = colours.matrix
            frame.color_range = colours.scaler_range
            frame.color_primaries, frame.color_trc = colours.primaries, colours.transfer
        frame.pts, frame.time_base, frame.duration = pts, self._unit, duration
        self._encode(frame, duration)
        return True

    def add_copied(self, copied: Copied) -> None:
        """Write a copied packet, if its stream is part of the result."""
        stream = self._copies.get(copied.index)
        # The MP4 muxer inserts the gaps between subtitles itself.
        is_gap = copied.packet.size <= 2 and copied.packet.stream.type == "subtitle"
        if stream is not None and not is_gap:
            copied.packet.stream = stream
            with self._errors():
                self._container.mux(copied.packet)

    def _add_frames(self) -> None:
        import av

        output, info = self._output, self._source.info
        encoder = output.encoder
        self._stream = stream = self._add_stream()
        formats = [f.name for f in av.Codec(encoder.name, "w").video_formats or ()]
        usual = [name for name in _PIXEL_FORMATS if name in formats]
        pixels: str = [*usual, *formats, _PIXEL_FORMATS[0]][0]
        stream.pix_fmt = "bgra" if output.suffix == ".webp" else pixels
        step = 2 if pixels in _HALF_WIDTH and not encoder.takes_odd_sizes else 1
        stream.width, stream.height = info.width // step * step, info.height // step * step
        if not (stream.width and stream.height):
            raise VideoError(
                f"The encoder {encoder.name} cannot encode frames that are one pixel wide or high.",
                remedy="Choose another codec, such as ffv1.",
                code="too_small_to_encode",
            )
        if self._colours is not None:
            context, colours = stream.codec_context, self._colours
            context.sample_aspect_ratio = info.aspect
            context.colorspace, context.color_range = colours.matrix, colours.scaler_range
            context.color_primaries, context.color_trc = colours.primaries, colours.transfer
        if stream.codec_context.codec.canonical_name == "hevc" and output.is_quicktime:
            stream.codec_context.codec_tag = "hvc1"  # Apple's players refuse hev1
        self._open_encoder(self._unit)

    def _add_copy(self, source: Any) -> Any:
        output, info = self._output, self._source.info
        if output.is_silent:
            return None
        kind = "sound" if source.type == "audio" else "subtitles"
        try:
            stream = self._container.add_stream_from_template(source, opaque=True)
        except ValueError as error:
            own = info.path.suffix.lower()
            extension = own if own in FORMATS and own != output.suffix else ".mkv"
            raise VideoError(
                f"{output.suffix} files cannot contain the video's {kind} "
                f"({source.codec_context.name}).",
                path=output.path,
                remedy=f"Use the extension {extension}, or omit the {kind}.",
                code=f"format_lacks_{kind}",
                details={"extension": extension},
            ) from error
        stream.metadata.update(kept_metadata(dict(source.metadata)))
        stream.disposition = source.disposition
        return stream
