"""`OutputFile`: the open file to which video writers write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from fststyle.errors import VideoError
from fststyle.files import cannot_write
from fststyle.video.container import why
from fststyle.video.encoders import FORMATS, Output
from fststyle.video.reader import VideoReader

# As with photos, the location where a video was recorded is not kept.
_PLACES: Final = ("location", "gps", "geo")
_FILE_FACTS: Final = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration")


class OutputFile:
    """An open output file that encodes frames and converts FFmpeg's errors to `VideoError`.

    Attributes:
        container: The open file, as a PyAV container.
        frames: Number of frames written so far.
        seconds: Time at which the last frame ends, in seconds.
    """

    def __init__(self, file: Path, output: Output, source: VideoReader) -> None:
        import av

        self.output = output
        self.frames = 0
        self.seconds = 0.0
        self._durations: dict[int, int] = {}
        options = {"movflags": "+faststart"} if output.is_quicktime else {}
        if output.is_silent:
            options["loop"] = "0"
        with self.errors():
            self.container: Any = av.open(f"file:{file}", "w", FORMATS[output.suffix], options)
        self.container.metadata.update(kept_metadata(source.metadata, output.note))

    def add_stream(self, source: VideoReader) -> Any:
        """Add the video stream, with the encoder of the output."""
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
        stream.metadata.update(kept_metadata(source.stream_metadata))
        return stream

    def open_encoder(self, stream: Any, unit: Fraction) -> None:
        """Open the encoder, and set the time unit of its frames."""
        import av

        stream.codec_context.time_base = stream.time_base = unit
        try:
            stream.codec_context.open()
        except (av.error.FFmpegError, ValueError) as error:
            raise self._unusable(error) from error

    def encode(self, stream: Any, frame: Any, duration: int = 0) -> None:
        """Encode a frame and write finished packets. For ``None``, write all remaining packets."""
        import av

        if frame is not None:
            self._durations[frame.pts] = duration
        try:
            packets: Sequence[Any] = stream.encode(frame)
        except av.error.FFmpegError as error:  # not a file error: nothing is written here
            raise self._unusable(error) from error
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            self.container.mux(packet)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Convert errors raised inside the ``with`` block to `VideoError`."""
        import av

        try:
            yield
        except (av.error.FFmpegError, OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise cannot_write(self.output.path, error, VideoError) from error
            raise self._error(
                f"The encoder {self.output.encoder.name} cannot write {{path}} ({why(error)}).",
                "cannot_encode",
            ) from error

    def abandon(self) -> None:
        """Close the file without finishing it."""
        import av

        with suppress(av.error.FFmpegError, OSError, ValueError):
            self.container.close()

    def _refused(self, kind: str) -> VideoError:
        return self._error(
            f"{self.output.suffix} files cannot contain {kind}.", "format_lacks_codec"
        )

    def _unusable(self, error: Exception) -> VideoError:
        return self._error(
            f"The encoder {self.output.encoder.name} cannot be used for this video ({why(error)}). "
            "It may not support frames of this size, or may need hardware that this machine lacks.",
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


def kept_metadata(metadata: dict[str, str], note: str = "") -> dict[str, str]:
    """Select the metadata that still applies to the result, and drop the location."""
    kept = {
        key: value
        for key, value in metadata.items()
        if key.lower() not in _FILE_FACTS and not any(p in key.lower() for p in _PLACES)
    }
    if note:
        kept["comment"] = f"{kept['comment']} {note}" if kept.get("comment") else note
    return kept
