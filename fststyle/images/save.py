"""Images to files: PNG, JPEG, TIFF, WebP, AVIF and BMP."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fststyle.errors import PhotoError, check_number
from fststyle.files import cannot_write, reason, replacing, temporary_beside
from fststyle.images import exif as ex
from fststyle.images.colour import srgb_profile
from fststyle.images.limits import pillow_limits
from fststyle.images.metadata import Metadata, for_jpeg
from fststyle.images.photo import over_white, to_bytes, to_words
from fststyle.images.sixteen_bit import deep_png, tiff

_AVIF: Final = {".avif": "AVIF"} if importlib.util.find_spec("PIL._avif") is not None else {}


_FORMATS: Final = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF",
    ".tiff": "TIFF", ".bmp": "BMP", **_AVIF,
}  # fmt: skip


OUTPUT_SUFFIXES: Final = tuple(_FORMATS)
"""Endings of the formats that can be written, in lower case."""


_WITHOUT_ALPHA: Final = ("JPEG", "BMP")


_DEEP: Final = ("PNG", "TIFF")


_LONGEST_SIDE: Final = {"JPEG": 65_500, "WEBP": 16_383}


def check_output(path: Path | str, *, suffixes: Sequence[str] = OUTPUT_SUFFIXES) -> None:
    """Check that a file can be written, before anything is computed.

    Args:
        path: File to be written. An existing file would be replaced.
        suffixes: Extensions that the file may have.

    Raises:
        PhotoError: The extension is missing or unknown (code ``unknown_extension``), the folder
            does not exist (``no_folder``), is a file (``not_a_folder``) or cannot be written to
            (``cannot_write``), or the path is itself a folder (``is_folder``).

    Example:
        >>> check_output("result.png")
        >>> check_output("result.doc")
        Traceback (most recent call last):
        ...
        fststyle.errors.PhotoError: Cannot write .doc files. Use one of .jpg, .jpeg, .png, ...
    """
    path = Path(path)
    folder = path.parent
    try:
        if path.is_dir():
            raise PhotoError(
                "{path} is a folder.",
                path=path,
                remedy=f"Add a file name, such as {path / 'out.png'}.",
                code="is_folder",
            )
        _check_extension(path, suffixes)
        if not folder.exists():
            raise PhotoError(
                f"Cannot write {{path}}: the folder {folder} does not exist.",
                path=path,
                remedy="Create it, or choose another folder.",
                code="no_folder",
            )
        if not folder.is_dir():
            raise PhotoError(
                f"Cannot write {{path}}: {folder} is not a folder.",
                path=path,
                remedy="Choose another folder.",
                code="not_a_folder",
            )
        # os.access says yes to root and on read-only network drives, so really try.
        probe = temporary_beside(Path(os.path.realpath(path)))
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise cannot_write(path, error, PhotoError) from error


def save_photo(
    pixels: NDArray[Any],
    path: Path | str,
    *,
    alpha: NDArray[Any] | None = None,
    metadata: Metadata | None = None,
    quality: int | None = None,
    bits: int = 8,
) -> None:
    """Write a picture, tagged as sRGB; at any failure the path is left as it was.

    Args:
        pixels: ``(H, W, 3)``, RGB; uint8, or floats, which are clamped to [0, 1] and rounded.
        path: Its ending, one of `OUTPUT_SUFFIXES`, says the format. A file there is replaced.
        alpha: ``(H, W)``, transparency, likewise, 1 or 255 is opaque. JPEG and BMP get the
            picture over white.
        metadata: Of `fststyle.images.metadata.result_metadata`; None for none. BMP has none.
        quality: Of JPEG, WebP and AVIF, from 1 to 100; by default as in `encode`.
        bits: 16 for 16 bits a channel where the format has them: PNG and TIFF.

    Raises:
        PhotoError: The picture cannot be written there, or not in that format.
        SettingError: ``quality`` is out of range.
    """
    path = Path(path)
    file_format = _output_format(path)
    if quality is not None:
        check_number("quality", quality, 1, 100, whole=True)
    height, width = pixels.shape[:2]
    longest = _LONGEST_SIDE.get(file_format)
    if longest is not None and max(height, width) > longest:
        raise PhotoError(
            f"Cannot write {{path}}: {file_format} allows at most {longest} pixels per side, and "
            f"the image has {width}×{height}.",
            path=path,
            remedy="Use another extension, such as .png.",
            code="too_large_for_format",
        )
    if alpha is not None and file_format in _WITHOUT_ALPHA:
        pixels, alpha = over_white(pixels, alpha), None
    convert = to_words if bits == 16 and file_format in _DEEP else to_bytes
    samples: NDArray[Any] = convert(pixels)
    if alpha is not None:
        samples = np.dstack((samples, convert(alpha)))
    try:
        # To optimise, libjpeg needs room for the whole file; pillow's guess of a byte for each
        # pixel is too little for a richly textured picture at 4:4:4.
        with pillow_limits(max_block=6 * width * height + 65_536):
            encoded = encode(samples, file_format, quality=quality, metadata=metadata)
    except (OSError, RuntimeError) as error:
        raise PhotoError(
            f"Cannot encode {{path}} with {width}×{height} pixels as {file_format}: "
            f"{reason(error)}.",
            path=path,
            remedy="Use another extension, such as .png.",
            code="cannot_encode",
        ) from error
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(encoded)
    except OSError as error:
        raise cannot_write(path, error, PhotoError) from error


def _output_format(path: Path) -> str:
    _check_extension(path, OUTPUT_SUFFIXES)
    return _FORMATS[path.suffix.lower()]


def _check_extension(path: Path, suffixes: Sequence[str]) -> None:
    if path.suffix.lower() in suffixes:
        return
    problem = f"Cannot write {path.suffix} files." if path.suffix else "{path} has no extension."
    raise PhotoError(
        problem,
        path=path,
        remedy=f"Use one of {', '.join(suffixes)}.",
        code="unknown_extension",
        details={"extensions": list(suffixes)},
    )


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
