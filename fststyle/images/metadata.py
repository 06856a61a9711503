"""What a picture file says beside its pixels, and what the file of a stylised photo says."""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from PIL import Image

from fststyle import __version__
from fststyle.images import exif as ex
from fststyle.images.xmp import followed_by, result_xmp

# tifffile, OME and ImageJ write how the stored picture is laid out where a description belongs.
_NO_SENTENCES: Final = ("{", "<", "ImageJ=")
_LONGEST_IN_JPEG: Final = 65_000  # a JPEG segment ends at 65,533 bytes, its name included


@dataclass(frozen=True)
class Metadata:
    """What a picture file says beside its pixels.

    Attributes:
        exif: An EXIF block, without ``Exif`` and zeros before it; empty where there is none.
        xmp: An XMP packet; empty where there is none.
        dpi: Dots per inch, horizontally and vertically.
        software: What made the picture, and in
        description: what it shows: for formats that have neither EXIF nor XMP everywhere (PNG).
    """

    exif: bytes = b""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None
    software: str = ""
    description: str = ""


def read_metadata(image: Image.Image, file: BinaryIO) -> Metadata:
    """Read what the file of a pillow image says.

    Args:
        image: As it was opened, and loaded: some formats have their metadata at the end.
        file: What it was opened from, a file of the disk.

    Returns:
        The metadata as it is in the file; what is damaged beyond reading is left out.
    """
    exif = image.info.get("exif")
    if image.format == "TIFF":
        exif = _exif_of_tiff(file)
    elif not isinstance(exif, bytes):
        exif = _exif_of_text(image) if image.format == "PNG" else b""
    xmp = image.info.get("xmp", b"")
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8", "replace")
    return Metadata(
        exif=exif.removeprefix(b"Exif\0\0"),
        xmp=xmp if isinstance(xmp, bytes) else b"",
        dpi=_dpi(image.info.get("dpi")),
    )


def result_metadata(
    metadata: Metadata,
    *,
    style_name: str,
    style_licence: str,
    strip: bool = False,
    keep_gps: bool = False,
) -> Metadata:
    """Say what a stylised photo is, and keep what its photo said.

    Args:
        metadata: The photo's, of `read_metadata`.
        style_name: Of the style.
        style_licence: Of the style; may be empty.
        strip: Keep nothing of the photo's; the result says what it is all the same.
        keep_gps: Keep where the photo was taken, in EXIF and XMP; otherwise it is dropped.

    Returns:
        EXIF without orientation, thumbnail and maker's note, and XMP with IPTC's
        DigitalSourceType; both with software, style and the style's licence.
    """
    if strip:
        metadata = Metadata()
    software = f"fststyle {__version__}"
    licence = f" (licence of the style: {style_licence})" if style_licence else ""
    note = f"Stylised by {software} in the style {style_name}{licence}."
    exif = ex.told(ex.read_exif(metadata.exif), keep_gps=keep_gps)
    own = ex.entry_text(exif.image.get(ex.IMAGE_DESCRIPTION))
    if own.startswith(_NO_SENTENCES):
        own = ""
    exif.image[ex.IMAGE_DESCRIPTION] = ex.text_entry(followed_by(own, note))
    exif.image[ex.ORIENTATION] = exif.entry(ex.SHORT, 1)
    exif.image[ex.SOFTWARE] = ex.text_entry(software)
    if metadata.dpi is not None:
        exif.image.update(ex.resolution(exif, metadata.dpi))
    return Metadata(
        exif=ex.write_exif(exif),
        xmp=result_xmp(metadata.xmp, note=note, software=software, keep_gps=keep_gps),
        dpi=metadata.dpi,
        software=software,
        description=note,
    )


def for_jpeg(metadata: Metadata) -> Metadata:
    """Keep what fits into a JPEG: each of EXIF and XMP has one segment of 64 KB."""
    exif, xmp = metadata.exif, metadata.xmp
    if len(exif) > _LONGEST_IN_JPEG:
        whole = ex.read_exif(exif)
        brief = {tag: entry for tag, entry in whole.image.items() if len(entry.data) < 2000}
        exif = ex.write_exif(ex.Exif(whole.order, brief))
    if len(xmp) > _LONGEST_IN_JPEG:
        xmp = b""
        if metadata.description:
            note, software = metadata.description, metadata.software
            xmp = result_xmp(b"", note=note, software=software, keep_gps=False)
    return replace(metadata, exif=exif, xmp=xmp)


def _exif_of_tiff(file: BinaryIO) -> bytes:
    """Read the EXIF block that a TIFF file is itself, without what says how it is stored."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as block:
        exif = ex.read_exif(block)
    image = {tag: entry for tag, entry in exif.image.items() if tag in ex.TOLD}
    return ex.write_exif(replace(exif, image=image)) if image or exif.exif or exif.gps else b""


def _exif_of_text(image: Image.Image) -> bytes:
    """Return the EXIF block that older programs write into PNG as text."""
    try:
        exif = image.getexif()
        return exif.tobytes() if len(exif) else b""
    except Exception:  # a damaged block raises nearly anything, and is no loss
        return b""


def _dpi(value: object) -> tuple[float, float] | None:
    try:
        across, down = (float(part) for part in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    # 1 stands where a file has an aspect ratio only.
    is_sound = all(math.isfinite(part) and 1 < part < 1e6 for part in (across, down))
    return (across, down) if is_sound else None
