"""Reading image files."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fststyle.images.colour import (
    ADOBE_RGB,
    MatrixProfile,
    gamma_profile,
    is_srgb,
    read_matrix_profile,
    to_srgb,
    to_srgb_precisely,
)
from fststyle.images.metadata import read_metadata
from fststyle.images.opening import check_pixels, open_file, open_image, reading
from fststyle.images.photo import Photo, over_white, to_floats, to_uint8
from fststyle.images.sixteen_bit import read_sixteen_bit
from fststyle.images.transparency import fill_transparent

_Channels = Image.Image | NDArray[np.float32]

# EXIF orientation → transposition that makes the stored image upright. 1 means already upright.
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def load_photo(path: Path | str, *, as_bytes: bool = False) -> Photo:
    """Read an image file.

    The image is rotated upright according to its EXIF orientation, and converted to sRGB with its
    ICC profile. If the file is an animation, only the first frame is read; use
    `fststyle.images.animation.load_frames` to read all frames. docs/formats.md lists the supported
    formats.

    Args:
        path: Image file in any supported format.
        as_bytes: Return 8-bit images as uint8, which needs a quarter of the memory. Images with
            more bits per channel are always returned as floats.

    Returns:
        The image, its transparency and its metadata.

    Raises:
        PhotoError: The file does not exist, is damaged, is not an image, or has more than
            `MAX_PIXELS` pixels; or it is a HEIC photo, and pillow-heif is not installed.

    Example:
        >>> from fststyle.images.bundled import sample_photo
        >>> photo = load_photo(sample_photo())
        >>> photo.pixels.shape, photo.alpha, photo.bits
        ((300, 451, 3), None, 8)
    """
    path = Path(path)
    # Given a path, Pillow maps uncompressed TIFFs into memory and garbles rotated ones.
    with reading(path), open_file(path) as file, open_image(file, path) as image:
        check_pixels(image, path, file)
        photo = _to_photo(image, file, as_bytes)
        return replace(photo, metadata=read_metadata(image, file))


def load_image(path: Path | str) -> NDArray[np.float32]:
    """Read an image file as an array without transparency. Transparent parts become white.

    Args:
        path: Image file in any format that `load_photo` can read.

    Returns:
        ``(H, W, 3)``, RGB in [0, 1].

    Raises:
        PhotoError: The file cannot be read, for one of the reasons listed in `load_photo`.

    Example:
        >>> from fststyle.images.bundled import sample_photo
        >>> image = load_image(sample_photo())
        >>> image.shape, image.dtype
        ((300, 451, 3), dtype('float32'))
    """
    photo = load_photo(path)
    return photo.pixels if photo.alpha is None else over_white(photo.pixels, photo.alpha)


def from_pil(image: Image.Image, *, as_bytes: bool = False) -> Photo:
    """Convert a Pillow image in any mode, and apply its EXIF orientation and ICC profile.

    Args:
        image: Image to convert. This object is not modified. In modes I;16 and I, values are
            assumed to have 16 bits (in mode I, 31 or 32 bits if any value needs them). In mode F,
            values are expected to be in [0, 1]; docs/formats.md says how other ranges are scaled.
        as_bytes: Return 8-bit images as uint8 instead of floats.

    Returns:
        The image and its transparency, without metadata.

    Example:
        >>> photo = from_pil(Image.new("RGB", (4, 3), "red"))
        >>> photo.pixels.shape, photo.pixels[0, 0].tolist()
        ((3, 4, 3), [1.0, 0.0, 0.0])
    """
    return _to_photo(image, None, as_bytes)


def _to_photo(image: Image.Image, file: BinaryIO | None, as_bytes: bool) -> Photo:
    photo = _decode(image, file, as_bytes)
    if photo.alpha is None:
        return photo
    return replace(photo, pixels=fill_transparent(photo.pixels, photo.alpha))


def _decode(image: Image.Image, file: BinaryIO | None, as_bytes: bool) -> Photo:
    """Decode an image, rotate it upright and convert it to sRGB.

    Args:
        image: Opened image. This function loads the pixels.
        file: File that the image was opened from. The file is needed only for 16-bit colour.
        as_bytes: Return 8-bit images as uint8 instead of floats.
    """
    precise = read_sixteen_bit(image, file)
    image.load()
    icc = image.info.get("icc_profile") or b""
    orientation, is_adobe_rgb = _read_exif(image)
    matrix = ADOBE_RGB if is_adobe_rgb and image.mode == "RGB" else None
    if image.format == "PNG" and "srgb" not in image.info:
        matrix = gamma_profile(image.info.get("gamma", 0))
    colour, alpha = precise or _split(image)
    colour = _upright(colour, orientation)
    if alpha is not None:
        alpha = _upright(alpha, orientation)
    if not isinstance(colour, Image.Image):
        pixels = _precisely_in_srgb(colour, icc, matrix)
        if pixels is not None:
            return Photo(pixels, _values(alpha, False), bits=16)
        colour = Image.fromarray(to_uint8(colour[..., 0] if colour.shape[2] == 1 else colour))
    values = _values(alpha, as_bytes)
    if icc:
        colour = to_srgb(colour, icc)
    elif matrix is not None:
        return Photo(to_srgb_precisely(to_floats(colour.convert("RGB")), matrix), values)
    return Photo(_values(colour.convert("RGB"), as_bytes), values)


def _split(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return the colours of an image and, if it has any, its transparency."""
    if not image.has_transparency_data:
        return image, None
    is_grey = image.mode in ("1", "L", "LA", "La")
    # Pillow can convert mode La only to LA.
    rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    return rgba.convert("RGB").convert("L" if is_grey else "RGB"), rgba.getchannel("A")


def _precisely_in_srgb(
    colour: NDArray[np.float32], profile: bytes, matrix: MatrixProfile | None
) -> NDArray[np.float32] | None:
    """Convert floats to sRGB. Return ``None`` if only LittleCMS can apply the profile."""
    rgb = np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else np.ascontiguousarray(colour)
    if profile:
        if is_srgb(profile):
            return rgb
        matrix = read_matrix_profile(profile)
        return None if matrix is None else to_srgb_precisely(rgb, matrix)
    return rgb if matrix is None else to_srgb_precisely(rgb, matrix)


def _upright(values: _Channels, orientation: int) -> _Channels:
    if isinstance(values, Image.Image):
        transposition = _UPRIGHT.get(orientation)
        return values if transposition is None else values.transpose(transposition)
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values[:, ::-1] if orientation in (2, 3, 6, 7) else values


def _values(channels: _Channels | None, as_bytes: bool) -> Any:
    if isinstance(channels, Image.Image):
        return np.array(channels) if as_bytes else to_floats(channels)
    if channels is None:
        return None
    return to_uint8(channels) if as_bytes else np.ascontiguousarray(channels)


def _read_exif(image: Image.Image) -> tuple[int, bool]:
    """Return the orientation, and if the colours are marked as Adobe RGB (DCF 2.0)."""
    orientation, is_adobe_rgb = 1, False
    with suppress(Exception):  # a damaged EXIF block can raise almost any exception
        exif = image.getexif()
        orientation = int(exif.get(0x0112, 1))
        is_adobe_rgb = exif.get_ifd(0xA005).get(1) == "R03"
    return orientation, is_adobe_rgb
