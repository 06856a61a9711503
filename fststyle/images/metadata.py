"""Image metadata: EXIF, XMP and resolution of photos and their stylised results."""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from PIL import Image

from fststyle import __version__
from fststyle.images import exif as ex
from fststyle.images.xmp import followed_by, result_xmp

# tifffile, OME and ImageJ store technical data in the description field.
_NOT_DESCRIPTIONS: Final = ("{", "<", "ImageJ=")
_MAX_BYTES_IN_JPEG: Final = 65_000  # a JPEG segment holds 65,533 bytes, including its name


@dataclass(frozen=True)
class Metadata:
    """Metadata that is stored in an image file together with the pixels.

    Attributes:
        exif: EXIF block without the leading ``Exif`` and two zero bytes; empty if there is none.
        xmp: XMP packet; empty if there is none.
        dpi: Horizontal and vertical resolution in dots per inch, or ``None`` if unknown.
        software: Name of the program that created the image. In PNG files, the name is also written
            as text, because not all programs can read EXIF and XMP in PNG files.
        description: Description of the image. In PNG files, the description is also written as
            text.
    """

    exif: bytes = b""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None
    software: str = ""
    description: str = ""


def read_metadata(image: Image.Image, file: BinaryIO) -> Metadata:
    """Read the metadata of an image file.

    Args:
        image: Opened image. The pixels must already be loaded, because some formats store metadata
            at the end of the file.
        file: File on disk that the image was opened from.

    Returns:
        The metadata stored in the file, without any damaged parts.
    """
    exif = image.info.get("exif")
    if image.format == "TIFF":
        exif = _exif_of_tiff(file)
    elif not isinstance(exif, bytes):
        exif = _exif_of_text(image) if image.format == "PNG" else b""
    xmp = image.info.get("xmp", b"")
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8", "replace")
    xmp = xmp if isinstance(xmp, bytes) else b""
    return Metadata(exif.removeprefix(b"Exif\0\0"), xmp, _dpi(image.info.get("dpi")))


def result_metadata(
    metadata: Metadata,
    *,
    style_name: str,
    style_licence: str,
    strip: bool = False,
    keep_gps: bool = False,
) -> Metadata:
    """Return the metadata of a stylised photo.

    Args:
        metadata: Metadata of the photo.
        style_name: Name of the style, for the description.
        style_licence: Licence of the style, for the description; may be empty.
        strip: Remove all metadata from the photo. The result's metadata still names fststyle and
            the style.
        keep_gps: Keep the location in EXIF and XMP. By default, the location is removed.

    Returns:
        EXIF with an upright orientation and without the thumbnail and the maker note, and XMP with
        the IPTC property DigitalSourceType. EXIF and XMP both name the software, the style and the
        style's licence.

    Example:
        >>> metadata = result_metadata(Metadata(), style_name="great_wave", style_licence="")
        >>> metadata.description
        'Stylised by fststyle ... in the style great_wave.'
    """
    if strip:
        metadata = Metadata()
    software = f"fststyle {__version__}"
    licence = f" (licence of the style: {style_licence})" if style_licence else ""
    note = f"Stylised by {software} in the style {style_name}{licence}."
    exif = ex.kept_for_result(ex.read_exif(metadata.exif), keep_gps=keep_gps)
    own = ex.entry_text(exif.image.get(ex.IMAGE_DESCRIPTION))
    if own.startswith(_NOT_DESCRIPTIONS):
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
    """Shorten EXIF and XMP if necessary, because JPEG stores each of them in one 64 KB segment."""
    exif, xmp = metadata.exif, metadata.xmp
    if len(exif) > _MAX_BYTES_IN_JPEG:
        whole = ex.read_exif(exif)
        brief = {tag: entry for tag, entry in whole.image.items() if len(entry.data) < 2000}
        exif = ex.write_exif(ex.Exif(whole.order, brief))
    if len(xmp) > _MAX_BYTES_IN_JPEG:
        xmp = b""
        if metadata.description:
            note, software = metadata.description, metadata.software
            xmp = result_xmp(b"", note=note, software=software, keep_gps=False)
    return replace(metadata, exif=exif, xmp=xmp)


def _exif_of_tiff(file: BinaryIO) -> bytes:
    """Read the metadata of a TIFF file, without the tags that describe how it is stored."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as block:
        exif = ex.read_exif(block)
    image = {tag: entry for tag, entry in exif.image.items() if tag in ex.KEPT_TAGS}
    return ex.write_exif(replace(exif, image=image)) if image or exif.exif or exif.gps else b""


def _exif_of_text(image: Image.Image) -> bytes:
    """Return the EXIF block that older programs write as text into PNG files."""
    try:
        exif = image.getexif()
        return exif.tobytes() if len(exif) else b""
    except Exception:  # a damaged block can raise almost any exception
        return b""


def _dpi(value: object) -> tuple[float, float] | None:
    try:
        across, down = (float(part) for part in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    # Files that specify only an aspect ratio have a resolution of 1.
    is_sound = all(math.isfinite(part) and 1 < part < 1e6 for part in (across, down))
    return (across, down) if is_sound else None
