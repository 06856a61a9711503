"""The output formats for videos, and their encoders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fststyle.errors import SettingError, VideoError, check_number

# FFmpeg's name for each format.
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
"""File extensions of all output formats for videos, in lower case."""

SILENT_SUFFIXES: Final = (".gif", ".webp")
"""Formats that have neither sound nor subtitles, and only square pixels."""

CRF: Final = 20
"""Default constant rate factor for H.264. A lower number means better quality."""

PRESET: Final = "superfast"


@dataclass(frozen=True)
class Encoder:
    """An FFmpeg encoder, and the options that fststyle passes to it.

    Attributes:
        name: FFmpeg's name for the encoder.
        default_crf: Default constant rate factor, or ``None`` if the encoder does not support one.
        max_crf: Highest constant rate factor allowed.
        options: FFmpeg options for the encoder.
        takes_odd_sizes: True if the encoder accepts odd widths and heights even when colours are
            stored at half the resolution. For other encoders, a row or column is cropped.
        stores_aspect: True if the encoded stream itself stores the aspect ratio of the pixels.
            PyAV cannot store the ratio in the Matroska container.
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
"""Short names of codecs, and the encoder for each."""

_DEFAULT_CODECS: Final = {".gif": "gif", ".webp": "libwebp_anim", ".webm": "vp9"}


@dataclass(frozen=True)
class Output:
    """The output file, its format and its encoder.

    Attributes:
        path: File of the result. The file extension selects the format.
        codec: A codec such as ``h264``, or the name of any FFmpeg encoder. By default, the usual
            codec for the format.
        crf: Constant rate factor for the encoder. By default, `Encoder.default_crf`.
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
        """True if the format has neither sound nor subtitles."""
        return self.suffix in SILENT_SUFFIXES

    @property
    def is_quicktime(self) -> bool:
        """True for MP4 and MOV files."""
        return self.suffix in (".mp4", ".m4v", ".mov")

    @property
    def encoder(self) -> Encoder:
        """The encoder for the codec or, if no codec is set, the default encoder for the format."""
        codec = self.codec or _DEFAULT_CODECS.get(self.suffix, "h264")
        name = CODECS.get(codec, codec)
        return _BY_NAME.get(name, Encoder(name))

    @property
    def needs_square_pixels(self) -> bool:
        """True if the file can only store square pixels."""
        is_matroska = self.suffix in (".mkv", ".webm")
        return self.is_silent or (is_matroska and not self.encoder.stores_aspect)


def check_video_output(output: Output) -> None:
    """Check that a video can be written, before any frame is decoded.

    Args:
        output: Output file, format and encoder.

    Raises:
        VideoError: The file extension is unknown (code ``unknown_extension``), or the encoder is
            unknown or does not encode video (``unknown_codec``).
        SettingError: The encoder does not support a constant rate factor (``no_crf``), or the
            value is out of range.
    """
    import av

    if output.suffix not in FORMATS:
        raise VideoError(
            "{path} does not have the extension of a supported video format.",
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
            f"{encoder.name} is not a video encoder in the installed FFmpeg.",
            remedy=f"Choose one of {', '.join(CODECS)}.",
            code="unknown_codec",
            details={"codecs": ", ".join(CODECS)},
        )
    if output.crf is not None:
        if encoder.default_crf is None:
            raise SettingError(
                f"The encoder {encoder.name} does not support a CRF.",
                remedy="Omit crf.",
                code="no_crf",
            )
        check_number("crf", output.crf, 0, encoder.max_crf, whole=True)
