"""Writing image files: PNG, JPEG, TIFF, WebP, AVIF and BMP."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
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
from fststyle.images.limits import memory_is_short, pillow_limits
from fststyle.images.metadata import Metadata, for_jpeg
from fststyle.images.photo import over_white, to_uint8, to_uint16
from fststyle.images.sixteen_bit import sixteen_bit_png
from fststyle.images.tiff import write_tiff

_FORMATS: Final = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF",
    ".tiff": "TIFF", ".bmp": "BMP", **({".avif": "AVIF"} if find_spec("PIL._avif") else {}),
}  # fmt: skip
OUTPUT_SUFFIXES: Final = tuple(_FORMATS)
"""File extensions with which images can be written, in lower case."""
QUALITIES: Final = {"JPEG": 92, "WEBP": 90, "AVIF": 85}
"""Default quality for each format. Each format has its own scale."""

_WITHOUT_ALPHA: Final = ("JPEG", "BMP")
_SIXTEEN_BIT: Final = ("PNG", "TIFF")
_MAX_SIDE: Final = {"JPEG": 65_500, "WEBP": 16_383}
_REMEDY: Final = "Use another extension, such as .png."


def check_output(path: Path | str, *, suffixes: Sequence[str] = OUTPUT_SUFFIXES) -> None:
    """Check in advance that a file can be written.

    Args:
        path: File to be written. The check leaves any existing file unchanged.
        suffixes: Allowed file extensions.

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
    path, folder = Path(path), Path(path).parent
    try:
        if path.is_dir():
            remedy = f"Add a file name, such as {path / 'out.png'}."
            raise PhotoError("{path} is a folder.", path=path, remedy=remedy, code="is_folder")
        check_extension(path, suffixes)
        if not folder.is_dir():
            problem, code = f"the folder {folder} does not exist", "no_folder"
            if folder.exists():
                problem, code = f"{folder} is not a folder", "not_a_folder"
            problem, remedy = f"Cannot write {{path}}: {problem}.", "Choose an existing folder."
            raise PhotoError(problem, path=path, remedy=remedy, code=code)
        # Create a file, because os.access is unreliable for root and for read-only network drives.
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
    """Write an sRGB image file. If writing fails, any existing file is left unchanged.

    Args:
        pixels: RGB image, ``(H, W, 3)``: uint8, or floats, which are clamped to [0, 1] and rounded.
        path: File to write. The extension must be one of `OUTPUT_SUFFIXES`. An existing file is
            replaced.
        alpha: Transparency, ``(H, W)``: uint8, or floats, where 1 is opaque. In JPEG and BMP files,
            transparent parts become white.
        metadata: Metadata to write; by default, none. BMP files cannot store metadata.
        quality: Quality from 1 to 100, for JPEG, WebP and AVIF only. `QUALITIES` defines the
            defaults.
        bits: Bits per channel, 8 or 16. Formats other than PNG and TIFF always use 8.

    Raises:
        PhotoError: The file cannot be written (code ``cannot_write``), the extension is unknown
            (``unknown_extension``), or the format cannot store the image
            (``too_large_for_format``, ``cannot_encode``), or there is not enough memory
            (``out_of_memory``).
        SettingError: ``quality`` is out of range.

    Example:
        >>> save_photo(np.full((20, 30, 3), 0.5), "grey.png")
        >>> Path("grey.png").stat().st_size > 0
        True
    """
    path = Path(path)
    check_extension(path, OUTPUT_SUFFIXES)
    file_format = _FORMATS[path.suffix.lower()]
    if quality is not None:
        check_number("quality", quality, 1, 100, whole=True)
    height, width = pixels.shape[:2]
    if max(height, width) > (limit := _MAX_SIDE.get(file_format, 2**31)):
        problem = (
            f"Cannot write {{path}}: {file_format} allows at most {limit} pixels per side, but the "
            f"image has {width}×{height} pixels."
        )
        raise PhotoError(problem, path=path, remedy=_REMEDY, code="too_large_for_format")
    try:
        if alpha is not None and file_format in _WITHOUT_ALPHA:
            pixels, alpha = over_white(pixels, alpha), None
        convert = to_uint16 if bits == 16 and file_format in _SIXTEEN_BIT else to_uint8
        samples: NDArray[Any] = convert(pixels)
        if alpha is not None:
            samples = np.dstack((samples, convert(alpha)))
        # When optimising, libjpeg needs a buffer for the whole file. Pillow reserves one byte per
        # pixel, which is too little for a detailed image without chroma subsampling.
        with pillow_limits(max_block=6 * width * height + 65_536):
            encoded = encode(samples, file_format, quality=quality, metadata=metadata)
        with replacing(path) as temporary:
            temporary.write_bytes(encoded)
    except (OSError, RuntimeError, MemoryError, ValueError, zlib.error) as error:
        raise writing_error(path, file_format, error, width * height) from error


def writing_error(path: Path, file_format: str, error: Exception, pixels: int) -> PhotoError:
    """Return the error for an image that cannot be encoded or written.

    Args:
        path: File that was being written.
        file_format: Pillow's name for the format.
        error: Error raised by the encoder or by the operating system.
        pixels: Number of pixels in the image.

    Returns:
        An error with the code ``cannot_write`` if the operating system raised ``error``,
        ``out_of_memory`` if there is not enough memory, otherwise ``cannot_encode``.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return cannot_write(path, error, PhotoError)
    if isinstance(error, MemoryError) or memory_is_short(24 * pixels + 2**28):
        problem = f"Not enough memory to encode {{path}} as {file_format}."
        remedy = "Make the image smaller first, or close other programs."
        return PhotoError(problem, path=path, remedy=remedy, code="out_of_memory")
    problem = f"Cannot encode {{path}} as {file_format}: {reason(error)}."
    return PhotoError(problem, path=path, remedy=_REMEDY, code="cannot_encode")


def check_extension(path: Path, suffixes: Sequence[str]) -> None:
    """Raise a `PhotoError` if a file cannot be written because of its extension."""
    if path.suffix.lower() in suffixes:
        return
    problem = f"Cannot write {path.suffix} files." if path.suffix else "{path} has no extension."
    remedy, details = f"Use one of {', '.join(suffixes)}.", {"extensions": list(suffixes)}
    raise PhotoError(problem, path=path, remedy=remedy, code="unknown_extension", details=details)


def encode(
    samples: NDArray[np.uint8] | NDArray[np.uint16],
    file_format: str,
    *,
    quality: int | None = None,
    metadata: Metadata | None = None,
) -> bytes:
    """Encode an sRGB image.

    JPEG and AVIF store colours at full resolution (4:4:4), because stylised images have sharp edges
    between colours.

    Args:
        samples: RGB image, ``(H, W, 3)``, or ``(H, W, 4)`` with alpha. Only PNG and TIFF support 16
            bits.
        file_format: Pillow's name for the format.
        quality: Quality from 1 to 100. `QUALITIES` defines the defaults.
        metadata: Metadata to write; by default, none. Any orientation in the metadata is ignored.

    Returns:
        The contents of the file.
    """
    metadata = metadata or Metadata()
    if file_format == "TIFF":
        return write_tiff(samples, _tiff_tags(_upright(metadata, "TIFF")), srgb_profile())
    options = encoder_options(file_format, metadata, quality)
    is_sixteen_bit = samples.dtype == np.uint16
    shown = np.zeros((1, 1, samples.shape[2]), np.uint8) if is_sixteen_bit else samples
    encoded = BytesIO()
    Image.fromarray(shown).save(encoded, file_format, **options)
    if is_sixteen_bit:
        return sixteen_bit_png(encoded.getvalue(), samples.astype(np.uint16, copy=False))
    return encoded.getvalue()


def encoder_options(file_format: str, metadata: Metadata, quality: int | None) -> dict[str, Any]:
    """Return the options for Pillow's encoder, with the metadata that the format supports."""
    metadata = _upright(metadata, file_format)
    if file_format == "GIF":
        description = metadata.description.encode("utf-8", "replace")
        return {"comment": description} if description else {}
    options: dict[str, Any] = {"icc_profile": srgb_profile()}
    if file_format in QUALITIES:
        options["quality"] = quality or QUALITIES[file_format]
    if file_format in ("JPEG", "AVIF"):
        options["subsampling"] = "4:4:4"
    if file_format == "JPEG":
        options["optimize"] = True
        metadata = for_jpeg(metadata)
    if metadata.dpi is not None:
        options["dpi"] = metadata.dpi
    if metadata.exif:
        options["exif"] = b"Exif\0\0" + metadata.exif
    if file_format == "PNG":
        options["pnginfo"] = _png_texts(metadata)
    elif metadata.xmp:
        options["xmp"] = metadata.xmp
    return options


def _upright(metadata: Metadata, file_format: str) -> Metadata:
    """Return the metadata with the values adjusted for an upright sRGB image."""
    if not metadata.exif:
        return metadata
    exif = ex.kept_for_result(ex.read_exif(metadata.exif), keep_gps=True)
    if file_format != "AVIF":  # AVIF does not need it, and Pillow would rewrite the block
        exif.image[ex.ORIENTATION] = exif.entry(ex.SHORT, 1)
    return replace(metadata, exif=ex.write_exif(exif))


def _png_texts(metadata: Metadata) -> PngInfo:
    texts = PngInfo()
    for keyword, text in (("Software", metadata.software), ("Description", metadata.description)):
        if text:
            texts.add_text(keyword, text)
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
