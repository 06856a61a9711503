"""Videos into files: frames are encoded, sound and subtitles are copied bit for bit.

The default codec is H.264. Colours, frame times and the aspect ratio of the pixels are kept. GIF
and WebP have neither sound nor subtitles, and their pixels are square.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import VideoError
from fststyle.files import cannot_write
from fststyle.video.container import FULL, Copied, why
from fststyle.video.encoders import FORMATS, Output
from fststyle.video.reader import VideoReader

# The first that the encoder supports is used.
_PIXEL_FORMATS: Final = ("yuv420p", "bgra", "yuv422p", "yuv444p", "yuv422p10le", "yuv444p10le")
_HALF_WIDTH: Final = frozenset({"yuv420p", "yuv422p", "yuv422p10le"})
"""Pixel formats whose colours have half the horizontal resolution."""

_CENTISECOND: Final = Fraction(1, 100)
_LEAST_DELAY: Final = 2
"""Shortest time of a GIF frame in hundredths of a second; viewers slow down shorter ones."""

# As with photos, the place where a video was recorded is not kept.
_PLACES: Final = ("location", "gps", "geo")
_FILE_FACTS: Final = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration")


def open_writer(file: Path, output: Output, source: VideoReader) -> VideoWriter | GifWriter:
    """Open the writer for the format of the output.

    Args:
        file: File to write.
        output: Format and encoder.
        source: The video whose other streams and metadata are copied.
    """
    kind = GifWriter if output.suffix == ".gif" else VideoWriter
    return kind(file, output, source)


class _File:
    """An open output file: it takes packets, and turns FFmpeg's errors into `VideoError`.

    Attributes:
        container: PyAV's container.
        frames: Number of frames so far.
        seconds: Time at which the last frame ends.
    """

    def __init__(self, file: Path, output: Output, source: VideoReader) -> None:
        import av

        self.output = output
        self.frames = 0
        self.seconds = 0.0
        self._durations: dict[int, int] = {}
        options = {"movflags": "+faststart"} if output.suffix in (".mp4", ".m4v", ".mov") else {}
        if output.is_silent:
            options["loop"] = "0"
        with self.errors():
            self.container: Any = av.open(f"file:{file}", "w", FORMATS[output.suffix], options)
        self.container.metadata.update(_kept(source.metadata, output.note))

    def add_stream(self, source: VideoReader) -> Any:
        """Add the stream of the frames, for the encoder of the output."""
        encoder = self.output.encoder
        options = dict(encoder.options)
        if encoder.default_crf is not None:
            crf = encoder.default_crf if self.output.crf is None else self.output.crf
            options["crf"] = str(crf)
        try:
            stream: Any = self.container.add_stream(
                encoder.name, rate=source.info.rate, options=options
            )
        except ValueError as error:
            raise self._refused(f"{encoder.name} streams") from error
        stream.metadata.update(_kept(source.stream_metadata))
        return stream

    def open_encoder(self, stream: Any, unit: Fraction) -> None:
        """Open the encoder with the time unit of its frames."""
        import av

        stream.codec_context.time_base = stream.time_base = unit
        try:
            stream.codec_context.open()
        except (av.error.FFmpegError, ValueError) as error:
            raise self._unusable(error) from error

    def encode(self, stream: Any, frame: Any, duration: int = 0) -> None:
        """Encode a frame and write its packets; None writes the last ones."""
        import av

        if frame is not None:
            self._durations[frame.pts] = duration
        try:
            packets: Sequence[Any] = stream.encode(frame)
        except av.error.FFmpegError as error:  # not an error of the file: nothing is written here
            raise self._unusable(error) from error
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            self.container.mux(packet)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the errors of a block into a `VideoError`."""
        import av

        try:
            yield
        except (av.error.FFmpegError, OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise cannot_write(self.output.path, error, VideoError) from error
            raise self._error(
                f"{self.output.encoder.name} cannot encode {{path}} ({why(error)}).",
                "cannot_encode",
            ) from error

    def abandon(self) -> None:
        """Close the file without finishing it."""
        import av

        with suppress(av.error.FFmpegError, OSError, ValueError):
            self.container.close()

    def _refused(self, kind: str) -> VideoError:
        return self._error(f"{self.output.suffix} cannot hold {kind}.", "format_lacks_codec")

    def _unusable(self, error: Exception) -> VideoError:
        return self._error(
            f"The encoder {self.output.encoder.name} cannot be used for this video ({why(error)}). "
            "It may need other frames, or hardware that this machine lacks.",
            "encoder_unusable",
        )

    def _error(self, problem: str, code: str) -> VideoError:
        extension = "" if self.output.suffix == ".mkv" else ", or the extension .mkv"
        return VideoError(
            problem,
            path=self.output.path,
            remedy=f"Choose another codec, such as h264{extension}.",
            code=code,
            details={"or_extension": extension},
        )


class VideoWriter:
    """Writes one video; use it in a ``with`` statement, whose end finishes the file.

    Args:
        file: File to write.
        output: Format and encoder.
        source: The video whose other streams and metadata are copied.

    Attributes:
        frames: Number of frames written so far.
        seconds: Time at which the last frame ends.

    Raises:
        VideoError: The format cannot hold the streams, or the file cannot be written.
    """

    def __init__(self, file: Path, output: Output, source: VideoReader) -> None:
        from av.video.reformatter import VideoReformatter

        self._source = source
        self._unit = source.info.time_base
        self._colours = None if output.is_silent else source.info.colours
        self._file = _File(file, output, source)
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
            # Only now is it known where the video ends.
            chapters = self._source.chapters(self.seconds)
            if chapters and not self._file.output.is_silent:
                self._file.container.set_chapters(chapters)
            self._file.container.close()

    def add_frame(self, pixels: NDArray[np.uint8], pts: int, duration: int) -> None:
        """Encode a frame.

        Args:
            pixels: Frame ``(H, W, 3)``, RGB.
            pts: Time of the frame in units of the video's time base, after the frame before it.
            duration: Duration of the frame in the same units.

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
        """Write a copied packet, if the result has its stream.

        Raises:
            VideoError: The packet cannot be written.
        """
        stream = self._copies.get(copied.index)
        # MP4's muxer makes the gaps between subtitles itself.
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
                f"The encoder {encoder.name} cannot encode frames of one pixel.",
                remedy="Choose another codec, such as ffv1.",
                code="too_small_to_encode",
            )
        if self._colours is not None:
            context, colours = stream.codec_context, self._colours
            context.sample_aspect_ratio = info.aspect
            context.colorspace, context.color_range = colours.matrix, colours.scaler_range
            context.color_primaries, context.color_trc = colours.primaries, colours.transfer
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
                f"{output.suffix} cannot hold the video's {kind} ({name}).",
                path=output.path,
                remedy=f"Use the extension {extension}, or omit the {kind}.",
                code=f"format_lacks_{kind}",
                details={"extension": extension},
            ) from error
        stream.metadata.update(_kept(dict(source.metadata)))
        stream.disposition = source.disposition
        return stream


class GifWriter:
    """Writes an animated GIF, with a palette for each frame; use it in a ``with`` statement.

    Args:
        file: File to write.
        output: Format and encoder.
        source: The video whose metadata is copied.

    Attributes:
        frames: Number of frames written so far.
        seconds: Time at which the last frame ends.

    Raises:
        VideoError: The codec does not fit GIF, or the file cannot be written.
    """

    def __init__(self, file: Path, output: Output, source: VideoReader) -> None:
        self._time_base = source.info.time_base
        self._last: int | None = None
        self._waiting: dict[int, int] = {}
        self._file = _File(file, output, source)
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
        """Encode a frame, unless it follows the frame before it too closely.

        Args:
            pixels: Frame ``(H, W, 3)``, RGB.
            pts: Time of the frame in units of the video's time base, after the frame before it.
            duration: Duration of the frame in the same units.

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
        """Encode the frames that have their palette."""
        import av

        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            self._file.encode(self._stream, frame, self._waiting.pop(frame.pts, 0))


def _kept(metadata: dict[str, str], note: str = "") -> dict[str, str]:
    """Select the metadata that holds for the result, without the place."""
    kept = {
        key: value
        for key, value in metadata.items()
        if key.lower() not in _FILE_FACTS and not any(p in key.lower() for p in _PLACES)
    }
    if note:
        kept["comment"] = f"{kept['comment']} {note}" if kept.get("comment") else note
    return kept


def _palettes(width: int, height: int) -> Any:
    """Make a filter that gives each frame its own palette.

    It dithers with a fixed pattern, since error diffusion would flicker.
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
