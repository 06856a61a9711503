"""Writing image files: PNG, JPEG, TIFF, WebP, AVIF and BMP."""

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
from fststyle.images.photo import over_white, to_uint8, to_uint16
from fststyle.images.sixteen_bit import sixteen_bit_png
from fststyle.images.tiff import write_tiff

_AVIF: Final = {".avif": "AVIF"} if importlib.util.find_spec("PIL._avif") is not None else {}
_FORMATS: Final = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF",
    ".tiff": "TIFF", ".bmp": "BMP", **_AVIF,
}  # fmt: skip
OUTPUT_SUFFIXES: Final = tuple(_FORMATS)
"""File extensions with which images can be written, in lower case."""
QUALITIES: Final = {"JPEG": 92, "WEBP": 90, "AVIF": 85}
"""Default quality for each format. Each format has its own scale."""

_WITHOUT_ALPHA: Final = ("JPEG", "BMP")
_SIXTEEN_BIT: Final = ("PNG", "TIFF")
_MAX_SIDE: Final = {"JPEG": 65_500, "WEBP": 16_383}


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
        if not folder.is_dir():
            problem, code = f"the folder {folder} does not exist", "no_folder"
            if folder.exists():
                problem, code = f"{folder} is not a folder", "not_a_folder"
            raise PhotoError(
                f"Cannot write {{path}}: {problem}.",
                path=path,
                remedy="Choose an existing folder.",
                code=code,
            )
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
            (``too_large_for_format``, ``cannot_encode``).
        SettingError: ``quality`` is out of range.

    Example:
        >>> save_photo(np.full((20, 30, 3), 0.5), "grey.png")
        >>> Path("grey.png").stat().st_size > 0
        True
    """
    path = Path(path)
    file_format = _output_format(path)
    if quality is not None:
        check_number("quality", quality, 1, 100, whole=True)
    height, width = pixels.shape[:2]
    _check_size(path, file_format, width, height)
    if alpha is not None and file_format in _WITHOUT_ALPHA:
        pixels, alpha = over_white(pixels, alpha), None
    convert = to_uint16 if bits == 16 and file_format in _SIXTEEN_BIT else to_uint8
    samples: NDArray[Any] = convert(pixels)
    if alpha is not None:
        samples = np.dstack((samples, convert(alpha)))
    try:
        # When optimising, libjpeg needs a buffer for the whole file. Pillow reserves one byte per
        # pixel, which is too little for a detailed image without chroma subsampling.
        with pillow_limits(max_block=6 * width * height + 65_536):
            encoded = encode(samples, file_format, quality=quality, metadata=metadata)
    except (OSError, RuntimeError) as error:
        raise cannot_encode(path, file_format, error) from error
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(encoded)
    except OSError as error:
        raise cannot_write(path, error, PhotoError) from error


def cannot_encode(path: Path, file_format: str, error: Exception) -> PhotoError:
    """Return the error for an image that an encoder rejects (code ``cannot_encode``)."""
    return PhotoError(
        f"Cannot encode {{path}} as {file_format}: {reason(error)}.",
        path=path,
        remedy="Use another extension, such as .png.",
        code="cannot_encode",
    )


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


def _check_size(path: Path, file_format: str, width: int, height: int) -> None:
    limit = _MAX_SIDE.get(file_format)
    if limit is not None and max(height, width) > limit:
        raise PhotoError(
            f"Cannot write {{path}}: {file_format} allows at most {limit} pixels per side, but "
            f"the image has {width}×{height} pixels.",
            path=path,
            remedy="Use another extension, such as .png.",
            code="too_large_for_format",
        )


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
    metadata = upright(metadata or Metadata(), file_format)
    if file_format == "TIFF":
        return write_tiff(samples, _tiff_tags(metadata), srgb_profile())
    options: dict[str, Any] = {"icc_profile": srgb_profile()}
    if file_format in QUALITIES:
        options["quality"] = QUALITIES[file_format] if quality is None else quality
    if file_format in ("JPEG", "AVIF"):
        options["subsampling"] = "4:4:4"
    if file_format == "JPEG":
        options["optimize"] = True
        metadata = for_jpeg(metadata)
    options |= metadata_options(metadata, file_format)
    is_sixteen_bit = samples.dtype == np.uint16
    shown = np.zeros((1, 1, samples.shape[2]), np.uint8) if is_sixteen_bit else samples
    encoded = BytesIO()
    Image.fromarray(shown).save(encoded, file_format, **options)
    if is_sixteen_bit:
        return sixteen_bit_png(encoded.getvalue(), samples.astype(np.uint16, copy=False))
    return encoded.getvalue()


def metadata_options(metadata: Metadata, file_format: str) -> dict[str, Any]:
    """Return the Pillow options for writing the metadata that a format supports."""
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
    """Return the metadata with the values adjusted for an upright sRGB image."""
    if not metadata.exif:
        return metadata
    exif = ex.kept_for_result(ex.read_exif(metadata.exif), keep_gps=True)
    if file_format != "AVIF":  # AVIF does not need it, and Pillow would rewrite the block
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
