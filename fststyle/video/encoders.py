"""The formats and encoders that videos can be written with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fststyle.errors import SettingError, VideoError, check_number

# FFmpeg's names of the formats.
FORMATS: Final = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".ts": "mpegts",
    ".gif": "gif",
    ".webp": "webp",
}
VIDEO_SUFFIXES: Final = tuple(FORMATS)
"""File extensions of the formats that videos can be written in, in lower case."""

SILENT_SUFFIXES: Final = (".gif", ".webp")
"""Formats without sound and subtitles, whose pixels are always square."""

CRF: Final = 20
"""Default quality of H.264; a lower number is better."""

PRESET: Final = "superfast"


@dataclass(frozen=True)
class Encoder:
    """An encoder of FFmpeg, and the options that fststyle gives it.

    Attributes:
        name: FFmpeg's name of the encoder.
        default_crf: Default constant rate factor; None if the encoder has none.
        max_crf: Largest constant rate factor.
        options: FFmpeg's options.
        takes_odd_sizes: True if the encoder accepts odd sizes although its colours have half the
            resolution. With other encoders a row or column is lost.
        stores_aspect: True if the stream itself stores the aspect ratio of the pixels. PyAV cannot
            store it in Matroska.
    """

    name: str
    default_crf: int | None = None
    max_crf: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    takes_odd_sizes: bool = False
    stores_aspect: bool = False


_ENCODERS: Final = (
    Encoder("libx264", CRF, 51, {"preset": PRESET}, stores_aspect=True),
    Encoder(
        "libx265",
        24,
        51,
        {"preset": PRESET, "x265-params": "log-level=error"},
        stores_aspect=True,
    ),
    Encoder("libsvtav1", 32, 63, {"preset": "10"}),
    Encoder(
        "libvpx-vp9",
        31,
        63,
        {"b": "0", "deadline": "realtime", "cpu-used": "5", "row-mt": "1"},
        takes_odd_sizes=True,
    ),
    Encoder("ffv1", takes_odd_sizes=True),
    Encoder("libwebp_anim", options={"quality": "80"}, takes_odd_sizes=True),
    Encoder("gif", takes_odd_sizes=True),
)
_BY_NAME: Final = {encoder.name: encoder for encoder in _ENCODERS}

CODECS: Final = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9"}
"""Short names of codecs, and the encoders that they stand for."""

_DEFAULT_CODECS: Final = {".gif": "gif", ".webp": "libwebp_anim", ".webm": "vp9"}


@dataclass(frozen=True)
class Output:
    """File, format and encoder of a result.

    Attributes:
        path: File of the result; its extension selects the format.
        codec: A codec such as ``h264``, or the name of any FFmpeg encoder; by default the usual
            one of the format.
        crf: Constant rate factor of the encoder; by default the encoder's own default.
        note: Comment to store in the file.
    """

    path: Path
    codec: str | None = None
    crf: int | None = None
    note: str = ""

    @property
    def suffix(self) -> str:
        """The file extension in lower case."""
        return self.path.suffix.lower()

    @property
    def is_silent(self) -> bool:
        """True if the format has no sound and no subtitles."""
        return self.suffix in SILENT_SUFFIXES

    @property
    def encoder(self) -> Encoder:
        """The encoder for the codec or, without one, for the format."""
        codec = self.codec or _DEFAULT_CODECS.get(self.suffix, "h264")
        name = CODECS.get(codec, codec)
        return _BY_NAME.get(name, Encoder(name))

    @property
    def needs_square_pixels(self) -> bool:
        """True if the file cannot store another aspect ratio of the pixels."""
        is_matroska = self.suffix in (".mkv", ".webm")
        return self.is_silent or (is_matroska and not self.encoder.stores_aspect)


def check_video_output(output: Output) -> None:
    """Check, before any decoding, that a video can be written.

    Args:
        output: File, format and encoder.

    Raises:
        VideoError: The file extension is unknown (code ``unknown_extension``), or the encoder is
            unknown or not for videos (``unknown_codec``).
        SettingError: The encoder has no CRF (``no_crf``), or the CRF is out of range.
    """
    import av

    if output.suffix not in FORMATS:
        raise VideoError(
            "{path} does not have the file extension of a video.",
            path=output.path,
            remedy=f"Use one of {', '.join(VIDEO_SUFFIXES)}.",
            code="unknown_extension",
        )
    encoder = output.encoder
    try:
        is_video = av.Codec(encoder.name, "w").type == "video"
    except (av.error.FFmpegError, ValueError):
        is_video = False
    if not is_video:
        raise VideoError(
            f"{encoder.name} is not a video encoder of this FFmpeg.",
            remedy=f"Choose one of {', '.join(CODECS)}.",
            code="unknown_codec",
            details={"codecs": ", ".join(CODECS)},
        )
    if output.crf is not None:
        if encoder.default_crf is None:
            raise SettingError(
                f"The encoder {encoder.name} has no CRF.", remedy="Omit crf.", code="no_crf"
            )
        check_number("crf", output.crf, 0, encoder.max_crf, whole=True)
