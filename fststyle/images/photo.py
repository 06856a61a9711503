"""Pictures from and to files; `fststyle.images.animation` does the same for moving ones.

Inside fststyle a picture is a float32 array ``(H, W, 3)``, RGB in [0, 1], in the sRGB colour
space, upright. Everything else that files hold (EXIF orientation, ICC profiles, alpha, CMYK,
palettes, 16 bits) is settled here, on the way in or out.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fststyle.errors import FststyleError, PhotoError, SettingError
from fststyle.files import cannot_write, reason, replacing, temporary_beside
from fststyle.files import write_atomically as write_atomically
from fststyle.images.colour import deep_grey, is_srgb, to_srgb
from fststyle.images.encode import encode
from fststyle.images.limits import VARIABLE, pillow_limits, pixel_limit
from fststyle.images.metadata import Metadata, read_metadata
from fststyle.images.profiles import ADOBE_RGB, read_matrix_profile, to_srgb_precisely
from fststyle.images.resize import fit_long_side as fit_long_side
from fststyle.images.resize import fit_short_side as fit_short_side
from fststyle.images.resize import resize as resize
from fststyle.images.sixteen_bit import deep_colour, turned

MAX_PIXELS: Final = 400_000_000
"""Pictures with more pixels are refused: they are mistakes, or decompression bombs."""

PHOTO_SUFFIXES: Final = (
    ".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".apng", ".avif", ".heic",
    ".heif", ".jxl", ".ppm", ".pgm",
)  # fmt: skip
"""Endings that make a file a photo when a folder is searched, in lower case."""

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
_HEIF_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

# EXIF orientation → what makes the stored picture upright; 1 is upright already.
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture as it came from a file.

    Attributes:
        pixels: ``(H, W, 3)``, RGB, sRGB, upright: float32 in [0, 1], or uint8 where that was
            asked for.
        alpha: ``(H, W)``, likewise, 1 or 255 is opaque; None where the file has no transparency.
        metadata: What the file says beside.
        bits: 16 where the file has more than 8 bits a channel.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None = None
    metadata: Metadata = Metadata()
    bits: int = 8


def load_photo(path: Path | str, *, as_bytes: bool = False) -> Photo:
    """Read a picture.

    EXIF orientation and an embedded ICC profile are applied. Of an animation, the first frame
    is read (`fststyle.images.animation.load_frames` reads all). docs/formats.md has a table of
    formats.

    Args:
        path: A file of any format that pillow reads.
        as_bytes: Leave 8-bit samples as uint8, a quarter of the memory; deeper ones are floats.

    Returns:
        The picture and its transparency.

    Raises:
        PhotoError: The file is missing, damaged, no picture, or has over `MAX_PIXELS` pixels; or
            it is a HEIC photo, and pillow-heif is not installed.
    """
    with pillow_limits(MAX_PIXELS):
        return _decode(Path(path), as_bytes)


def load_image(path: Path | str) -> NDArray[np.float32]:
    """Read a picture without transparency, as `load_photo` does; see-through parts are white.

    Args:
        path: A file of any format that pillow reads.

    Returns:
        ``(H, W, 3)``, RGB in [0, 1].

    Raises:
        PhotoError: As in `load_photo`.
    """
    photo = load_photo(path)
    return photo.pixels if photo.alpha is None else _over_white(photo.pixels, photo.alpha)


def check_output(
    path: Path | str, *, option: str = "-o", suffixes: Sequence[str] = OUTPUT_SUFFIXES
) -> None:
    """Find out before any computing whether `save_photo` can write to a path.

    Args:
        path: Where a picture is to be written. A file there would be replaced.
        option: The command line's option that names it, for the sentence.
        suffixes: Endings that it may have.

    Raises:
        PhotoError: The ending is missing or unknown, the folder is missing or cannot be
            written to, or the path is itself a folder.
    """
    path = Path(path)
    folder = path.parent
    try:
        if path.is_dir():
            raise PhotoError(f"{path} is a folder; add a file name, such as {path / 'out.png'}.")
        _check_ending(path, suffixes)
        if not folder.exists():
            raise PhotoError(
                f"There is no folder {folder} to write {path.name} to; "
                f"create it or choose another place with {option}."
            )
        if not folder.is_dir():
            raise PhotoError(
                f"{folder} is not a folder, so {path.name} cannot be written there; "
                f"choose another place with {option}."
            )
        # os.access says yes to root and on read-only network drives, so really try.
        probe = temporary_beside(Path(os.path.realpath(path)))
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise PhotoError(cannot_write(path, error) + f" with {option}.") from error


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
    if quality is not None and not 1 <= quality <= 100:
        raise SettingError(f"quality must be from 1 to 100, not {quality}.")
    height, width = pixels.shape[:2]
    longest = _LONGEST_SIDE.get(file_format)
    if longest is not None and max(height, width) > longest:
        raise PhotoError(
            f"A picture of {width}×{height} pixels does not fit into {path.name}: {file_format} "
            f"ends at {longest} pixels a side; choose another ending, such as .png."
        )
    if alpha is not None and file_format in _WITHOUT_ALPHA:
        pixels, alpha = _over_white(pixels, alpha), None
    convert = _to_words if bits == 16 and file_format in _DEEP else _to_bytes
    samples: NDArray[Any] = convert(pixels)
    if alpha is not None:
        samples = np.dstack((samples, convert(alpha)))
    try:
        # To optimise, libjpeg needs room for the whole file; pillow's guess of a byte for each
        # pixel is too little for a richly textured picture at 4:4:4.
        with pillow_limits(MAX_PIXELS, max_block=6 * width * height + 65_536):
            encoded = encode(samples, file_format, quality=quality, metadata=metadata)
    except (OSError, RuntimeError) as error:
        raise PhotoError(
            f"A picture of {width}×{height} pixels cannot be encoded as {file_format} "
            f"({reason(error)}); choose another ending, such as .png."
        ) from error
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(encoded)
    except OSError as error:
        raise PhotoError(cannot_write(path, error) + " with -o.") from error


def from_pil(image: Image.Image, *, as_bytes: bool = False) -> Photo:
    """Convert a pillow image of any mode, as `load_photo` does.

    Args:
        image: Its EXIF orientation and ICC profile are applied. Modes I;16 and I are taken as
            16 bits (I as 31 or 32 bits where its values are larger), F as [0, 1].
        as_bytes: As in `load_photo`.

    Returns:
        The picture and its transparency.
    """
    image.load()
    upright = _UPRIGHT.get(_orientation(image))
    if upright is not None:
        image = image.transpose(upright)
    profile = image.info.get("icc_profile") or b""
    alpha: NDArray[Any] | None = None
    samples = np.array if as_bytes else _to_floats
    if image.mode.startswith("I") or image.mode == "F":
        grey = deep_grey(image)
        if "transparency" in image.info and image.mode != "F":
            alpha = (np.asarray(image) != image.info["transparency"]).astype(np.float32)
        precise = _convert_deep(np.repeat(grey[:, :, None], 3, axis=2), profile)
        if precise is not None:
            return Photo(precise, alpha, bits=16)
        image = Image.fromarray(_to_bytes(grey))  # pillow's ICC transforms are 8-bit
    elif image.has_transparency_data:
        grey_mode = image.mode in ("1", "L", "LA", "La")
        # From La, pillow converts to nothing but LA.
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        alpha = samples(image.getchannel("A"))
        image = image.convert("RGB").convert("L" if grey_mode else "RGB")
    if profile:
        image = to_srgb(image, profile)
    elif image.mode == "RGB" and _says_adobe_rgb(image):
        return Photo(to_srgb_precisely(_to_floats(image), ADOBE_RGB), alpha)
    return Photo(samples(image.convert("RGB")), alpha)


def to_pil(pixels: NDArray[Any], alpha: NDArray[Any] | None = None) -> Image.Image:
    """Convert to an 8-bit pillow image.

    Args:
        pixels: ``(H, W, 3)``, RGB; uint8, or floats, which are clamped to [0, 1] and rounded.
        alpha: ``(H, W)``, likewise, 1 or 255 is opaque.

    Returns:
        An image of mode RGB, or of mode RGBA where ``alpha`` is given.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"pixels must have the shape (H, W, 3), not {pixels.shape}")
    rgb = _to_bytes(pixels)
    return Image.fromarray(rgb if alpha is None else np.dstack((rgb, _to_bytes(alpha))))


def find_photos(folder: Path | str) -> list[Path]:
    """List the photos in a folder and all folders within it.

    Args:
        folder: Hidden files and folders in it are skipped, links to folders not followed.

    Returns:
        Files whose ending, in either case, is one of `PHOTO_SUFFIXES`, sorted by their path;
        links to files that are not there too, so that it is noticed.

    Raises:
        PhotoError: ``folder`` is not a folder, or there are no photos in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PhotoError(f"There is no folder {folder}; name a folder with photos.")
    photos: list[Path] = []
    for parent, subfolders, names in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        photos += [
            Path(parent, name)
            for name in names
            if not name.startswith(".")
            and Path(name).suffix.lower() in PHOTO_SUFFIXES
            and (Path(parent, name).is_file() or not Path(parent, name).exists())
        ]
    if not photos:
        raise PhotoError(
            f"There are no photos in {folder}; expected files ending in "
            f"{', '.join(PHOTO_SUFFIXES)}."
        )
    return sorted(photos, key=lambda photo: photo.relative_to(folder).as_posix())


def _over_white(pixels: NDArray[Any], alpha: NDArray[Any]) -> NDArray[np.float32]:
    opacity = _as_floats(alpha)[:, :, None]
    return np.asarray(_as_floats(pixels) * opacity + (1.0 - opacity), dtype=np.float32)


def _as_floats(values: NDArray[Any]) -> NDArray[np.floating]:
    is_bytes = values.dtype == np.uint8
    return np.asarray(values / np.float32(255) if is_bytes else np.clip(values, 0.0, 1.0))


def _to_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values
    return np.asarray(np.rint(np.clip(values, 0.0, 1.0) * 255.0), dtype=np.uint8)


def _to_floats(image: Image.Image) -> NDArray[np.float32]:
    return np.asarray(image).astype(np.float32) / np.float32(255.0)


def _to_words(values: NDArray[Any]) -> NDArray[np.uint16]:
    return np.asarray(np.rint(_as_floats(values) * 65_535.0), dtype=np.uint16)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # a damaged EXIF block raises nearly anything, and is no loss
        return 1


def _says_adobe_rgb(image: Image.Image) -> bool:
    """Tell by EXIF, as DCF 2.0 has it: cameras write no profile then."""
    try:
        return image.getexif().get_ifd(0xA005).get(1) == "R03"
    except Exception:  # as above
        return False


def _convert_deep(pixels: NDArray[np.float32], profile: bytes) -> NDArray[np.float32] | None:
    """Convert to sRGB with all precision; None where the profile is of a kind for pillow."""
    if not profile or is_srgb(profile):
        return pixels
    matrix = read_matrix_profile(profile)
    return None if matrix is None else to_srgb_precisely(pixels, matrix)


def _from_deep(samples: NDArray[np.uint16], image: Image.Image) -> Photo | None:
    pixels = turned(samples, _orientation(image)).astype(np.float32) / np.float32(65_535)
    alpha = pixels[..., 3].copy() if pixels.shape[2] == 4 else None
    key = image.info.get("transparency")
    if isinstance(key, tuple):  # the colour that is see-through
        opaque = (samples != np.array(key)).any(axis=2)
        alpha = turned(opaque.astype(np.uint16), _orientation(image)).astype(np.float32)
    precise = _convert_deep(pixels[..., :3], image.info.get("icc_profile") or b"")
    return None if precise is None else Photo(np.ascontiguousarray(precise), alpha, bits=16)


def _decode(path: Path, as_bytes: bool) -> Photo:
    try:
        # Given a path, pillow maps uncompressed TIFFs, and garbles those that lie on their side.
        with path.open("rb") as file, open_picture(file, path) as image:
            check_pixels(image, path)
            samples = deep_colour(image, file)
            image.load()
            _orientation(image)  # remembered by the image; some formats read it from the file
            metadata = read_metadata(image, file)
            photo = None if samples is None else _from_deep(samples, image)
            return replace(photo or from_pil(image, as_bytes=as_bytes), metadata=metadata)
    except FststyleError:
        raise
    except Exception as error:  # on damaged files pillow's decoders raise nearly anything
        raise PhotoError(cannot_read(path, error)) from error


def check_pixels(image: Image.Image, path: Path) -> None:
    """Refuse a picture of more pixels than the limit, before it is decoded."""
    if image.width * image.height > (limit := pixel_limit(MAX_PIXELS)):
        raise PhotoError(
            f"{path} has {image.width}×{image.height} pixels, more than {limit // 10**6} "
            f"megapixels; make it smaller first, or raise {VARIABLE}."
        )


def open_picture(file: BinaryIO, path: Path) -> Image.Image:
    """Open a file of any format; of HEIC the plugin is loaded only now."""
    head = file.read(64)
    file.seek(0)
    brands = head[8 : int.from_bytes(head[:4], "big")]
    if head[4:8] != b"ftyp" or brands[:4] not in _HEIF_BRANDS or b"avif" in brands:
        opened = Image.open(file)
        if opened.format == "EPS":  # pillow would have Ghostscript run it: it is a program
            raise UnidentifiedImageError
        return opened
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise PhotoError(
            f"{path} is a HEIC photo, which needs the package pillow-heif; "
            "install it with: pip install 'fststyle[heif]'."
        ) from error
    image: Image.Image = HeifImageFile(file)  # type: ignore[no-untyped-call, unused-ignore]
    return image


def cannot_read(path: Path, error: Exception) -> str:
    """Say in a sentence why a photo cannot be read."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"There is no photo {path}; check the path."
    if isinstance(error, OSError) and error.errno is not None:
        if path.is_dir():
            return f"{path} is a folder; name a photo in it."
        return f"{path} cannot be read: {reason(error)}; check it, or copy it to another place."
    if path.is_file() and path.stat().st_size == 0:
        return f"{path} is empty; copy or download it again."
    if isinstance(error, MemoryError | Image.DecompressionBombError):
        return f"{path} is too large for the memory; make it smaller first."
    if isinstance(error, UnidentifiedImageError):
        return f"{path} is not a picture that can be read here; convert it to JPEG or PNG."
    return f"{path} is damaged or incomplete ({reason(error)}); copy or download it again."


def _output_format(path: Path) -> str:
    _check_ending(path, OUTPUT_SUFFIXES)
    return _FORMATS[path.suffix.lower()]


def _check_ending(path: Path, suffixes: Sequence[str]) -> None:
    known = f"end it in one of {', '.join(suffixes)}"
    if not path.suffix:
        raise PhotoError(f"{path} has no ending that says its format; {known}.")
    if path.suffix.lower() not in suffixes:
        raise PhotoError(f"{path} is of a format that cannot be written; {known}.")
