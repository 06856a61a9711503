"""Image files to arrays, and folders searched for photos."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fststyle.errors import FststyleError, PhotoError
from fststyle.files import reason
from fststyle.images.colour import deep_grey, is_srgb, to_srgb
from fststyle.images.limits import VARIABLE, pillow_limits, pixel_limit
from fststyle.images.metadata import read_metadata
from fststyle.images.photo import Photo, over_white, to_bytes, to_floats
from fststyle.images.profiles import ADOBE_RGB, read_matrix_profile, to_srgb_precisely
from fststyle.images.sixteen_bit import deep_colour, turned

PHOTO_SUFFIXES: Final = (
    ".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".apng", ".avif", ".heic",
    ".heif", ".jxl", ".ppm", ".pgm",
)  # fmt: skip
"""Endings that make a file a photo when a folder is searched, in lower case."""


_HEIF_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


# EXIF orientation → what makes the stored picture upright; 1 is upright already.
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip


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
    with pillow_limits():
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
    return photo.pixels if photo.alpha is None else over_white(photo.pixels, photo.alpha)


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
    samples = np.array if as_bytes else to_floats
    if image.mode.startswith("I") or image.mode == "F":
        grey = deep_grey(image)
        if "transparency" in image.info and image.mode != "F":
            alpha = (np.asarray(image) != image.info["transparency"]).astype(np.float32)
        precise = _convert_deep(np.repeat(grey[:, :, None], 3, axis=2), profile)
        if precise is not None:
            return Photo(precise, alpha, bits=16)
        image = Image.fromarray(to_bytes(grey))  # pillow's ICC transforms are 8-bit
    elif image.has_transparency_data:
        grey_mode = image.mode in ("1", "L", "LA", "La")
        # From La, pillow converts to nothing but LA.
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        alpha = samples(image.getchannel("A"))
        image = image.convert("RGB").convert("L" if grey_mode else "RGB")
    if profile:
        image = to_srgb(image, profile)
    elif image.mode == "RGB" and _says_adobe_rgb(image):
        return Photo(to_srgb_precisely(to_floats(image), ADOBE_RGB), alpha)
    return Photo(samples(image.convert("RGB")), alpha)


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
        raise PhotoError(
            "The folder {path} does not exist.",
            path=folder,
            remedy="Choose a folder with photos.",
            code="no_folder",
        )
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
            "There are no photos in {path}.",
            path=folder,
            remedy=f"Add files with one of the extensions {', '.join(PHOTO_SUFFIXES)}.",
            code="no_photos",
        )
    return sorted(photos, key=lambda photo: photo.relative_to(folder).as_posix())


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
        raise cannot_read(path, error) from error


def check_pixels(image: Image.Image, path: Path) -> None:
    """Refuse a picture of more pixels than the limit, before it is decoded."""
    if image.width * image.height > (limit := pixel_limit()):
        raise PhotoError(
            f"{{path}} has {image.width}×{image.height} pixels; the limit is {limit // 10**6} "
            "megapixels.",
            path=path,
            remedy=f"Make it smaller first, or raise {VARIABLE}.",
            code="too_large",
            details={"width": image.width, "height": image.height, "limit": limit},
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
            "Reading {path} needs the package pillow-heif, because it is a HEIC photo.",
            path=path,
            remedy="Install the extra heif of fststyle.",
            code="missing_package",
            details={"packages": ["pillow-heif"], "extra": "heif"},
        ) from error
    image: Image.Image = HeifImageFile(file)  # type: ignore[no-untyped-call, unused-ignore]
    return image


def cannot_read(path: Path, error: Exception) -> PhotoError:
    """Return the error for an image file that cannot be read.

    Args:
        path: File that was read.
        error: Error that was raised while reading it.

    Returns:
        An error with one of the codes ``not_found``, ``is_folder``, ``cannot_read``, ``empty``,
        ``out_of_memory``, ``not_an_image`` and ``damaged``.
    """
    code, problem, remedy = _reading_problem(path, error)
    return PhotoError(problem, path=path, remedy=remedy, code=code)


def _reading_problem(path: Path, error: Exception) -> tuple[str, str, str]:
    again = "Copy or download it again."
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "not_found", "{path} does not exist.", "Check the path."
    if isinstance(error, OSError) and error.errno is not None:
        if path.is_dir():
            return "is_folder", "{path} is a folder.", "Choose a photo in it."
        remedy = "Check its permissions, or copy it to another place."
        return "cannot_read", f"Cannot read {{path}}: {reason(error)}.", remedy
    if path.is_file() and path.stat().st_size == 0:
        return "empty", "{path} is empty.", again
    if isinstance(error, MemoryError | Image.DecompressionBombError):
        return "out_of_memory", "{path} does not fit into memory.", "Make it smaller first."
    if isinstance(error, UnidentifiedImageError):
        return "not_an_image", "Cannot read {path} as an image.", "Convert it to JPEG or PNG."
    return "damaged", f"{{path}} is damaged or incomplete ({reason(error)}).", again
