"""Encoding of pictures: each format's settings, profile and metadata."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fststyle.images import exif as ex
from fststyle.images.colour import srgb_profile
from fststyle.images.metadata import Metadata, for_jpeg
from fststyle.images.sixteen_bit import deep_png, tiff

QUALITIES: Final = {"JPEG": 92, "WEBP": 90, "AVIF": 85}
"""The quality where none is asked for; the scales are not the same."""


def encode(
    samples: NDArray[np.uint8] | NDArray[np.uint16],
    file_format: str,
    *,
    quality: int | None = None,
    metadata: Metadata | None = None,
) -> bytes:
    """Encode a picture, tagged as sRGB.

    Args:
        samples: ``(H, W, 3)``, RGB, or with alpha ``(H, W, 4)``; 16 bits for PNG and TIFF only.
        file_format: As pillow names it.
        quality: From 1 to 100, by default that of `QUALITIES`. JPEG and AVIF keep the colours at
            full size (4:4:4): styles have sharp edges between colours.
        metadata: Its orientation is left out, for the picture is upright.

    Returns:
        The file.
    """
    metadata = upright(metadata or Metadata(), file_format)
    if file_format == "TIFF":
        return tiff(samples, _tiff_tags(metadata), srgb_profile())
    options: dict[str, Any] = {"icc_profile": srgb_profile()}
    if file_format in QUALITIES:
        options["quality"] = QUALITIES[file_format] if quality is None else quality
    if file_format in ("JPEG", "AVIF"):
        options["subsampling"] = "4:4:4"
    if file_format == "JPEG":
        options["optimize"] = True
        metadata = for_jpeg(metadata)
    deep = samples.dtype == np.uint16
    image = Image.fromarray(np.zeros((1, 1, samples.shape[2]), np.uint8) if deep else samples)
    options |= metadata_options(metadata, file_format)
    encoded = BytesIO()
    image.save(encoded, file_format, **options)
    if deep:
        return deep_png(encoded.getvalue(), samples.astype(np.uint16, copy=False))
    return encoded.getvalue()


def metadata_options(metadata: Metadata, file_format: str) -> dict[str, Any]:
    """Return what makes pillow write metadata, of those kinds that a format has."""
    options: dict[str, Any] = {}
    if metadata.dpi is not None and file_format in ("JPEG", "PNG", "BMP"):
        options["dpi"] = metadata.dpi
    if file_format == "GIF" and metadata.description:
        options["comment"] = metadata.description.encode("utf-8", "replace")
    if file_format not in ("JPEG", "PNG", "WEBP", "AVIF"):
        return options
    if metadata.exif:
        options["exif"] = b"Exif\0\0" + metadata.exif
    if file_format == "PNG":
        options["pnginfo"] = _png_texts(metadata)
    elif metadata.xmp:
        options["xmp"] = metadata.xmp
    return options


def upright(metadata: Metadata, file_format: str) -> Metadata:
    """Return metadata as it is true of an upright picture in sRGB, in a format of pillow's."""
    if not metadata.exif:
        return metadata
    exif = ex.told(ex.read_exif(metadata.exif), keep_gps=True)
    if file_format != "AVIF":  # has no need of it, and pillow would write the block anew
        exif.image[ex.ORIENTATION] = exif.entry(ex.SHORT, 1)
    return replace(metadata, exif=ex.write_exif(exif))


def _png_texts(metadata: Metadata) -> PngInfo:
    texts = PngInfo()
    if metadata.software:
        texts.add_text("Software", metadata.software)
    if metadata.description:
        texts.add_text("Description", metadata.description)
    if metadata.xmp:
        texts.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
    return texts


def _tiff_tags(metadata: Metadata) -> ex.Exif:
    exif = ex.read_exif(metadata.exif)
    if metadata.dpi is not None:
        exif.image.update(ex.resolution(exif, metadata.dpi))
    if metadata.xmp:
        exif.image[700] = ex.Entry(1, len(metadata.xmp), metadata.xmp)
    return exif
