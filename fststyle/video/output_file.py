"""`OutputFile`: the parts of a video writer that all formats share."""

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
from fststyle.video.container import Copied, why
from fststyle.video.encoders import FORMATS, Output
from fststyle.video.reader import VideoReader

# As with photos, the location where a video was recorded is not kept.
_PLACES: Final = ("location", "gps", "geo")
_FILE_FACTS: Final = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration")


class OutputFile:
    """Base class of the video writers. Use in a ``with`` statement.

    A subclass defines `_open_streams`, `_encode_frame` and `_finish`. All errors of FFmpeg are
    converted to `VideoError`.

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

    _stream: Any

    def __init__(self, file: Path, output: Output, source: VideoReader) -> None:
        import av

        self.frames = 0
        self.seconds = 0.0
        self._output = output
        self._source = source
        self._unit = source.info.time_base
        self._durations: dict[int, int] = {}
        options = {"movflags": "+faststart"} if output.is_quicktime else {}
        if output.is_silent:
            options["loop"] = "0"
        with self._errors():
            self._container: Any = av.open(f"file:{file}", "w", FORMATS[output.suffix], options)
        self._container.metadata.update(kept_metadata(source.metadata, output.note))
        try:
            with self._errors():
                self._open_streams()
                self._container.start_encoding()
        except VideoError:
            self._abandon()
            raise

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames in the file, in pixels."""
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
        with self._errors():
            self._finish()
            self._container.close()

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
        with self._errors():
            if self._encode_frame(pixels, pts, duration):
                self.frames += 1
                self.seconds = float((pts + duration) * self._unit)

    def add_copied(self, copied: Copied) -> None:
        """Write a copied packet, if the format can contain other streams.

        Raises:
            VideoError: The packet cannot be written.
        """

    def _open_streams(self) -> None:
        """Add the streams to the file, and open the encoder."""
        raise NotImplementedError

    def _encode_frame(self, pixels: NDArray[np.uint8], pts: int, duration: int) -> bool:
        """Encode a frame, and return False if the frame is left out."""
        raise NotImplementedError

    def _finish(self) -> None:
        """Write all remaining packets."""
        self._encode(None)

    def _add_stream(self) -> Any:
        """Add the video stream, with the encoder of the output."""
        encoder, source = self._output.encoder, self._source
        options = dict(encoder.options)
        if encoder.default_crf is not None:
            crf = encoder.default_crf if self._output.crf is None else self._output.crf
            options["crf"] = str(crf)
        try:
            stream: Any = self._container.add_stream(
                encoder.name, rate=source.info.rate, options=options
            )
        except ValueError as error:
            raise self._refused(f"{encoder.name} streams") from error
        stream.metadata.update(kept_metadata(source.stream_metadata))
        return stream

    def _open_encoder(self, unit: Fraction) -> None:
        """Open the encoder, and set the time unit of its frames."""
        import av

        self._stream.codec_context.time_base = self._stream.time_base = unit
        try:
            self._stream.codec_context.open()
        except (av.error.FFmpegError, ValueError) as error:
            raise self._unusable(error) from error

    def _encode(self, frame: Any, duration: int = 0) -> None:
        """Encode a frame and write finished packets. For ``None``, write all remaining packets."""
        import av

        if frame is not None:
            self._durations[frame.pts] = duration
        try:
            packets: Sequence[Any] = self._stream.encode(frame)
        except av.error.FFmpegError as error:  # not a file error: nothing is written here
            raise self._unusable(error) from error
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            self._container.mux(packet)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Convert errors raised inside the ``with`` block to `VideoError`."""
        import av

        try:
            yield
        except (av.error.FFmpegError, OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise cannot_write(self._output.path, error, VideoError) from error
            raise self._error(
                f"The encoder {self._output.encoder.name} cannot write {{path}} ({why(error)}).",
                "cannot_encode",
            ) from error

    def _abandon(self) -> None:
        """Close the file without finishing it."""
        import av

        with suppress(av.error.FFmpegError, OSError, ValueError):
            self._container.close()

    def _refused(self, kind: str) -> VideoError:
        return self._error(
            f"{self._output.suffix} files cannot contain {kind}.", "format_lacks_codec"
        )

    def _unusable(self, error: Exception) -> VideoError:
        return self._error(
            f"The encoder {self._output.encoder.name} cannot be used for this video "
            f"({why(error)}). It may not support frames of this size, or may need hardware "
            "that this machine lacks.",
            "encoder_unusable",
        )

    def _error(self, problem: str, code: str) -> VideoError:
        extension = "" if self._output.suffix == ".mkv" else ", or the extension .mkv"
        return VideoError(
            problem,
            path=self._output.path,
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
