"""Writing video files: frames are encoded, while sound and subtitles are copied unchanged.

The default codec is H.264. The colour encoding, the frame times and the pixel aspect ratio of the
source are preserved. GIF and WebP have neither sound nor subtitles, and always have square pixels.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

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


def open_writer(file: Path, output: Output, source: VideoReader) -> VideoWriter | GifWriter:
    """Open the writer for the format of the output.

    Args:
        file: File to write.
        output: Output format and encoder.
        source: The video whose other streams and metadata are copied.
    """
    kind = GifWriter if output.suffix == ".gif" else VideoWriter
    return kind(file, output, source)


class VideoWriter:
    """Writes one video. The file is finished at the end of the ``with`` statement.

    Args:
        file: File to write.
        output: Output format and encoder.
        source: The video whose other streams and metadata are copied.

    Attributes:
        frames: Number of frames written so far.
        seconds: Time at which the last frame ends.

    Raises:
        VideoError: The format does not support a stream, or the file cannot be written.
    """

    def __init__(self, file: Path, output: Output, source: VideoReader) -> None:
        from av.video.reformatter import VideoReformatter

        self._source = source
        self._unit = source.info.time_base
        self._colours = None if output.is_silent else source.info.colours
        self._file = OutputFile(file, output, source)
        try:
            with self._file.errors():
                self._stream = self._add_frames()
                self._copies = {s.index: self._add_copy(s) for s in source.copied}
                self._file.container.start_encoding()
        except VideoError:
            self._file.abandon()
            raise
        self._reformatter = VideoReformatter()

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
            self._file.encode(self._stream, None)
            # The end of the video, which chapters depend on, is known only now.
            chapters = self._source.chapters(self.seconds)
            if chapters and not self._file.output.is_silent:
                self._file.container.set_chapters(chapters)
            self._file.container.close()

    def add_frame(self, pixels: NDArray[np.uint8], pts: int, duration: int) -> None:
        """Encode a frame.

        Args:
            pixels: Frame ``(H, W, 3)``, RGB.
            pts: Time of the frame, in units of the video's time base. The time must be later
                than that of the previous frame.
            duration: Duration of the frame, in the same units.

        Raises:
            VideoError: The frame cannot be encoded or written.
        """
        import av
        from av.video.reformatter import Interpolation

        width, height = self.size
        colours = self._colours
        with self._file.errors():
            pixels = np.ascontiguousarray(pixels[:height, :width])
            frame = self._reformatter.reformat(
                av.VideoFrame.from_ndarray(pixels, "rgb24"),
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
            self._file.encode(self._stream, frame, duration)
        self._file.frames += 1
        self._file.seconds = float((pts + duration) * self._unit)

    def add_copied(self, copied: Copied) -> None:
        """Write a copied packet, if its stream is part of the result.

        Raises:
            VideoError: The packet cannot be written.
        """
        stream = self._copies.get(copied.index)
        # The MP4 muxer inserts the gaps between subtitles itself.
        is_gap = copied.packet.size <= 2 and copied.packet.stream.type == "subtitle"
        if stream is not None and not is_gap:
            copied.packet.stream = stream
            with self._file.errors():
                self._file.container.mux(copied.packet)

    def _add_frames(self) -> Any:
        import av

        output, info = self._file.output, self._source.info
        encoder = output.encoder
        stream = self._file.add_stream(self._source)
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
        self._file.open_encoder(stream, self._unit)
        return stream

    def _add_copy(self, source: Any) -> Any:
        output, info = self._file.output, self._source.info
        if output.is_silent:
            return None
        kind = "sound" if source.type == "audio" else "subtitles"
        name = source.codec_context.name if source.codec_context is not None else "unknown"
        try:
            stream = self._file.container.add_stream_from_template(source, opaque=True)
        except ValueError as error:
            own = info.path.suffix.lower()
            extension = own if own in FORMATS and own != output.suffix else ".mkv"
            raise VideoError(
                f"{output.suffix} files cannot contain the video's {kind} ({name}).",
                path=output.path,
                remedy=f"Use the extension {extension}, or omit the {kind}.",
                code=f"format_lacks_{kind}",
                details={"extension": extension},
            ) from error
        stream.metadata.update(kept_metadata(dict(source.metadata)))
        stream.disposition = source.disposition
        return stream
