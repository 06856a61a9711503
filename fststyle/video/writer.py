"""Films into files: pictures are encoded, sound and subtitles are copied bit for bit.

H.264 unless something else is asked for, in the film's own colours, times and pixel aspect. GIF and
WebP have neither sound nor subtitles, and square pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import SettingError, VideoError
from fststyle.files import cannot_write
from fststyle.video.container import Copied, VideoInfo, why
from fststyle.video.reader import VideoReader

# FFmpeg's names, and those of its muxers.
_FORMATS: Final = {
    **{".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"},
    **{".ts": "mpegts", ".gif": "gif", ".webp": "webp"},
}
VIDEO_SUFFIXES: Final = tuple(_FORMATS)
"""Endings of the formats in which films can be written, in lower case."""

SILENT_SUFFIXES: Final = (".gif", ".webp")
"""Those without sound, subtitles and pixels that are not square."""

CRF: Final = 20
"""H.264's quality, unless the user says otherwise: the lower, the better."""

PRESET: Final = "superfast"

_CODECS: Final = {
    "h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9",
}  # fmt: skip
# CRF of each encoder by default, and the most that it takes.
_QUALITIES: Final = {
    "libx264": (CRF, 51), "libx265": (24, 51), "libsvtav1": (32, 63), "libvpx-vp9": (31, 63),
}  # fmt: skip
_OPTIONS: Final[dict[str, dict[str, str]]] = {
    "libx264": {"preset": PRESET},
    "libx265": {"preset": PRESET, "x265-params": "log-level=error"},
    "libsvtav1": {"preset": "10"},
    "libvpx-vp9": {"b": "0", "deadline": "realtime", "cpu-used": "5", "row-mt": "1"},
    "libwebp_anim": {"quality": "80"},
}
# Encoders that take odd sizes where the colours have half the resolution; others lose a row.
_ODD: Final = ("libvpx-vp9", "ffv1", "libwebp_anim", "gif")
_PIXELS: Final = ("yuv420p", "bgra", "yuv422p", "yuv444p", "yuv422p10le", "yuv444p10le")
# Matroska says nothing of the pixels' aspect here (PyAV cannot tell it to); these streams do.
_TELL_ASPECT: Final = ("libx264", "libx265")
# Of the place where a film was made nothing is kept, as of photos.
_PLACES: Final = ("location", "gps", "geo")
_OF_THE_FILE: Final = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration")
_LEAST_DELAY: Final = 2
"""Hundredths of a second that a GIF's frame is shown at least; viewers slow down what is faster."""


@dataclass(frozen=True)
class Output:
    """How a film is written.

    Attributes:
        path: Its ending says the format.
        codec: Such as ``h264``, or the name of any encoder of FFmpeg's; by default what the format
            is known for.
        crf: The encoder's constant rate factor; by default ours.
        note: What made it, as a comment.
    """

    path: Path
    codec: str | None = None
    crf: int | None = None
    note: str = ""


def needs_square_pixels(output: Output) -> bool:
    """Tell whether a film so written cannot have pixels of another aspect."""
    suffix = output.path.suffix.lower()
    is_matroska = suffix in (".mkv", ".webm") and _encoder(output) not in _TELL_ASPECT
    return suffix in SILENT_SUFFIXES or is_matroska


def check_video_output(output: Output) -> None:
    """Find out before any decoding whether a film can be written so.

    Raises:
        VideoError: The ending is none of `VIDEO_SUFFIXES`, or there is no such encoder.
        SettingError: The encoder has no CRF, or it is out of range.
    """
    import av

    suffix = output.path.suffix.lower()
    if suffix not in _FORMATS:
        raise VideoError(
            f"{output.path} is of a format that films are not written in; end it in one of "
            f"{', '.join(VIDEO_SUFFIXES)}."
        )
    encoder = _encoder(output)
    try:
        codec = av.Codec(encoder, "w")
    except (av.error.FFmpegError, ValueError) as error:
        raise VideoError(
            f"There is no encoder {encoder} here; choose one of {', '.join(_CODECS)} with --codec."
        ) from error
    if codec.type != "video":
        raise VideoError(f"{encoder} does not encode pictures; choose h264 with --codec.")
    if output.crf is not None:
        if encoder not in _QUALITIES:
            raise SettingError(f"{encoder} has no CRF; leave --crf out.")
        most = _QUALITIES[encoder][1]
        if not 0 <= output.crf <= most:
            raise SettingError(
                f"crf must be from 0, the best, to {most} for {encoder}, not {output.crf}."
            )


class VideoWriter:
    """Writes one film; to be used in a ``with`` statement, whose end finishes the file.

    Args:
        file: Where to.
        output: How.
        source: The film that it is made of, with its other streams.

    Raises:
        VideoError: The format cannot hold them, or the file cannot be written.
    """

    def __init__(self, file: Path, output: Output, source: VideoReader) -> None:
        import av

        self._output, self._source, film = output, source, source.info
        self._suffix = output.path.suffix.lower()
        own = film.path.suffix.lower()
        self._own_suffix = own if own in _FORMATS and own != self._suffix else ".mkv"
        self._times: dict[int, int] = {}
        self._graph: Any = None
        self._last: int | None = None
        self.frames = 0
        self.seconds = 0.0
        options = {"movflags": "+faststart"} if self._suffix in (".mp4", ".m4v", ".mov") else {}
        if self._suffix in SILENT_SUFFIXES:
            options["loop"] = "0"
        try:
            self._container: Any = av.open(f"file:{file}", "w", _FORMATS[self._suffix], options)
        except (av.error.FFmpegError, OSError) as error:
            raise self._failed(error) from error
        try:
            self._container.metadata.update(_kept(source.metadata, output.note))
            self._stream = self._add_pictures(film, source)
            self._copies = {s.index: self._add_copy(s) for s in source.copied}
            self._container.start_encoding()
        except VideoError:
            self._abandon()
            raise
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._abandon()
            raise self._failed(error) from error

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what is written, in pixels."""
        return self._stream.width, self._stream.height

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._abandon()
            return
        self._call(self._finish)

    def add_frame(self, pixels: NDArray[np.uint8], pts: int, duration: int) -> None:
        """Encode a frame.

        Args:
            pixels: ``(H, W, 3)``, RGB.
            pts: In the film's time base, later than the one before.
            duration: Likewise.

        Raises:
            VideoError: It cannot be encoded or written.
        """
        self._call(self._encode, pixels, pts, duration)

    def add_copied(self, copied: Copied) -> None:
        """Write a packet as it is; of a stream that the result does not have, nothing.

        Raises:
            VideoError: It cannot be written.
        """
        stream = self._copies.get(copied.index)
        # The gaps between subtitles, which MP4's muxer makes by itself.
        is_gap = copied.packet.size <= 2 and copied.packet.stream.type == "subtitle"
        if stream is not None and not is_gap:
            copied.packet.stream = stream
            self._call(self._container.mux, copied.packet)

    def _encode(self, pixels: NDArray[np.uint8], pts: int, duration: int) -> None:
        import av
        from av.video.reformatter import Interpolation

        end = float((pts + duration) * self._time_base)
        if self._suffix == ".gif":
            pts = round(pts * self._time_base * 100)
            if self._last is not None and pts < self._last + _LEAST_DELAY:
                return
            self._last = pts
            duration = max(_LEAST_DELAY, round(duration * self._time_base * 100))
        height, width = self._stream.height, self._stream.width
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), "rgb24")
        if self._graph is None:
            colours = self._colours
            frame = self._reformatter.reformat(
                frame,
                format=self._stream.pix_fmt,
                src_color_range=2,
                dst_colorspace=None if colours is None else colours.scaler_matrix,
                dst_color_range=2 if colours is None else colours.scaler_range,
                interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
            )
            if colours is not None:
                frame.colorspace = colours.matrix
                frame.color_range = colours.scaler_range
                frame.color_primaries, frame.color_trc = colours.primaries, colours.transfer
        frame.pts, frame.time_base, frame.duration = pts, self._unit, duration
        self._times[pts] = duration
        if self._graph is None:
            self._mux(self._encoded(frame))
        else:
            self._graph.push(frame)
            self._drain()
        self.frames += 1
        self.seconds = end

    def _drain(self) -> None:
        """Encode what has got its palette."""
        import av

        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            self._mux(self._encoded(frame))

    def _encoded(self, frame: Any) -> Sequence[Any]:
        """Packets of a frame, or with None the last ones."""
        import av

        try:
            packets: Sequence[Any] = self._stream.encode(frame)
        except av.error.FFmpegError as error:  # none of the file's: nothing is written here
            raise self._unusable(error) from error
        return packets

    def _mux(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            packet.duration = self._times.pop(packet.pts, packet.duration)
            self._container.mux(packet)

    def _finish(self) -> None:
        if self._graph is not None:
            self._graph.push(None)
            self._drain()
        self._mux(self._encoded(None))
        # Now, since the film may have been ended early.
        chapters = self._source.chapters(self.seconds)
        if chapters and self._suffix not in SILENT_SUFFIXES:
            self._container.set_chapters(chapters)
        self._container.close()

    def _abandon(self) -> None:
        import av

        with suppress(av.error.FFmpegError, OSError, ValueError):
            self._container.close()

    def _add_pictures(self, film: VideoInfo, source: VideoReader) -> Any:
        import av
        from av.video.reformatter import VideoReformatter

        encoder = _encoder(self._output)
        codec = av.Codec(encoder, "w")
        options = dict(_OPTIONS.get(encoder, {}))
        if encoder in _QUALITIES:
            usual = _QUALITIES[encoder][0]
            options["crf"] = str(usual if self._output.crf is None else self._output.crf)
        try:
            stream: Any = self._container.add_stream(encoder, rate=film.rate, options=options)
        except ValueError as error:
            raise VideoError(
                f"{self._suffix} cannot hold what {encoder} encodes; {self._another()}."
            ) from error
        is_gif = encoder == "gif"
        formats = [f.name for f in codec.video_formats or ()]
        pixels = next((name for name in _PIXELS if name in formats), (*formats, _PIXELS[0])[0])
        stream.pix_fmt = "pal8" if is_gif else "bgra" if self._suffix == ".webp" else pixels
        step = 1 if encoder in _ODD or pixels not in _PIXELS[::2] else 2
        stream.width, stream.height = film.width // step * step, film.height // step * step
        if not (stream.width and stream.height):
            raise VideoError(
                f"{encoder} cannot encode frames of one pixel; choose another --codec."
            )
        self._time_base = film.time_base
        self._unit = Fraction(1, 100) if is_gif else film.time_base
        context = stream.codec_context
        context.time_base = stream.time_base = self._unit
        self._colours = None
        if self._suffix not in SILENT_SUFFIXES:
            self._colours = colours = film.colours
            context.sample_aspect_ratio = film.aspect
            context.colorspace, context.color_range = colours.matrix, colours.scaler_range
            context.color_primaries, context.color_trc = colours.primaries, colours.transfer
        try:
            context.open()
        except (av.error.FFmpegError, ValueError) as error:
            raise self._unusable(error) from error
        self._reformatter = VideoReformatter()
        if is_gif:
            self._graph = _palettes(stream.width, stream.height, self._unit)
        stream.metadata.update(_kept(source.stream_metadata))
        return stream

    def _add_copy(self, source: Any) -> Any:
        if self._suffix in SILENT_SUFFIXES:
            return None
        kind = "sound" if source.type == "audio" else "subtitles"
        name = source.codec_context.name if source.codec_context is not None else "unknown"
        try:
            stream = self._container.add_stream_from_template(source, opaque=True)
        except ValueError as error:
            raise VideoError(
                f"{self._suffix} cannot hold the film's {kind} ({name}); end the result's name in "
                f"{self._own_suffix}, or leave them out: "
                f"--no-{'audio' if kind == 'sound' else kind}."
            ) from error
        stream.metadata.update(_kept(dict(source.metadata)))
        stream.disposition = source.disposition
        return stream

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        import av

        try:
            function(*arguments)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._failed(error) from error

    def _another(self) -> str:
        ending = "" if self._suffix == ".mkv" else ", or end the film's name in .mkv"
        return f"choose another --codec, such as h264{ending}"

    def _unusable(self, error: Exception) -> VideoError:
        encoder = _encoder(self._output)
        return VideoError(
            f"The encoder {encoder} cannot be used here for this film ({why(error)}); it may need "
            f"other frames, or hardware that this machine lacks. {self._another().capitalize()}."
        )

    def _failed(self, error: Exception) -> VideoError:
        path = self._output.path
        if isinstance(error, OSError) and error.errno is not None:
            return cannot_write(path, error, VideoError)
        return VideoError(
            f"{path} cannot be encoded by {_encoder(self._output)} ({why(error)}); "
            f"{self._another()}."
        )


def _encoder(output: Output) -> str:
    suffix = output.path.suffix.lower()
    usual = {".gif": "gif", ".webp": "libwebp_anim", ".webm": "libvpx-vp9"}.get(suffix, "h264")
    codec = usual if output.codec is None else output.codec
    return _CODECS.get(codec, codec)


def _kept(metadata: dict[str, str], note: str = "") -> dict[str, str]:
    """Leave out what is not true of the result, and the place."""
    kept = {
        key: value
        for key, value in metadata.items()
        if key.lower() not in _OF_THE_FILE and not any(p in key.lower() for p in _PLACES)
    }
    if note:
        kept["comment"] = f"{kept['comment']} {note}" if kept.get("comment") else note
    return kept


def _palettes(width: int, height: int, unit: Fraction) -> Any:
    """Make a filter that gives each frame a palette of its own.

    It dithers by a fixed pattern: what is diffused would flicker.
    """
    from av.filter import Graph

    graph: Any = Graph()
    source = graph.add_buffer(width=width, height=height, format="rgb24", time_base=unit)
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
