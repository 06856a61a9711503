"""Opening image files: limits, incomplete files, and errors."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from PIL import Image, ImageChops, ImageFile, JpegImagePlugin, UnidentifiedImageError

from fststyle.errors import FststyleError, PhotoError
from fststyle.files import reason, temporary_folder
from fststyle.images import exif as ex
from fststyle.images.limits import MAX_TEXT, VARIABLE, memory_is_short, pillow_limits, pixel_limit

_COPY_AGAIN: Final = "Copy or download it again."
_KNOWN: Final = ("PNG", "JPEG", "GIF", "WEBP", "AVIF", "JPEG2000", "ICO", "BMP", "PSD", "QOI")

# The smallest number of bits to which a format can compress a pixel: Deflate, LZW, and a JPEG with
# one bit for each block of 8×8 pixels.
_MIN_BITS: Final = {"PNG": 1 / 1032, "GIF": 1 / 512, "JPEG": 1 / 64, "MPO": 1 / 64}
# TIFF compression (none, LZW, Deflate, PackBits) → smallest share of the size that remains.
_TIFF_COMPRESSION: Final = {1: 1.0, 5: 1 / 2048, 8: 1 / 1032, 32946: 1 / 1032, 32773: 1 / 128}

_HEIF_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Apply the limits for images, and turn any error that Pillow raises into a `PhotoError`."""
    try:
        with pillow_limits():
            yield
    except FststyleError:
        raise
    except Exception as error:  # Pillow can raise almost any exception for damaged files
        raise cannot_read(path, error) from error


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading. A pipe is copied to a temporary file, because it cannot be rewound.

    Raises:
        FststyleError: There is no temporary folder (code ``no_temporary_folder``).
    """
    with path.open("rb") as file:
        if not stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            yield file
            return
        with temporary_folder() as folder, (folder / "photo").open("w+b") as copy:
            shutil.copyfileobj(file, copy)
            copy.seek(0)
            yield copy


def check_pixels(image: Image.Image, path: Path, file: BinaryIO) -> None:
    """Reject an image before it is decoded, if it is too large or its file is too small.

    Args:
        image: Opened image.
        path: Path of the image file, for the error message.
        file: The opened file.

    Raises:
        PhotoError: The image has too many pixels (code ``too_large``), or its file cannot contain
            that many (``damaged``).
    """
    pixels = image.width * image.height
    if pixels > (limit := pixel_limit()):
        size, megapixels = f"{image.width}×{image.height}", limit // 10**6
        problem = f"{{path}} has {size} pixels; the limit is {megapixels} megapixels."
        remedy = f"Make the image smaller first, or increase {VARIABLE}."
        details = {"width": image.width, "height": image.height, "limit": limit}
        raise PhotoError(problem, path=path, remedy=remedy, code="too_large", details=details)
    available, bits = os.fstat(file.fileno()).st_size, _MIN_BITS.get(image.format or "", 0.0)
    if image.format == "TIFF":
        tags: Any = image.tag_v2  # type: ignore[attr-defined]
        is_subsampled = tags.get(262) == 6
        counts = [n for tag in (279, 325) for n in np.atleast_1d(tags.get(tag, ()))]
        available = min(available, int(sum(counts))) or available
        smallest = 0.0 if is_subsampled else _TIFF_COMPRESSION.get(tags.get(259, 1), 0.0)
        bits = sum(tags.get(258, (1,))) * smallest
    if pixels * bits > 8 * available + 8000 * (image.format != "TIFF"):
        raise _incomplete(path)


def _incomplete(path: Path) -> PhotoError:
    problem = "{path} is damaged or incomplete (rows are missing)."
    return PhotoError(problem, path=path, remedy=_COPY_AGAIN, code="damaged")


def _require_all_rows(image: ImageFile.ImageFile, path: Path) -> None:
    """Make loading fail if the decoder does not write the last rows of the image.

    Pillow accepts PNG, GIF and TIFF files whose data ends early, and leaves the rest black. The
    last two rows (of interlaced images, one of them is written last) are filled with noise.
    """
    prepare, finish = image.load_prepare, image.load_end
    marked: list[tuple[tuple[int, int, int, int], Image.Image]] = []

    def load_prepare() -> None:
        prepare()
        left, top, right, bottom = image.tile[-1].extents or (0, 0, *image.im.size)
        for row in range(max(top, bottom - 2), bottom):
            noise = Image.new(image.im.mode, (right - left, 1))
            size = len(noise.tobytes())
            if size >= 8:  # in a shorter row, pixels can be equal by chance
                noise.frombytes(os.urandom(size))
                marked.append(((left, row, right, row + 1), noise))
                image.im.paste(noise.im, marked[-1][0])

    def load_end() -> None:
        rows = [(image.im.crop(box), noise) for box, noise in marked]
        marked.clear()
        if any(Image.Image()._new(row).tobytes() == noise.tobytes() for row, noise in rows):
            raise _incomplete(path)
        finish()

    image.load_prepare, image.load_end = load_prepare, load_end  # type: ignore[method-assign]


# Data with which an incomplete scan would continue, and restart markers. After a complete scan,
# libjpeg skips both.
_MORE_DATA: Final = bytes(range(1, 255)) + b"".join(b"5\xff%c" % (0xD0 + n) for n in range(8))
_MARKER: Final = re.compile(rb"\xff+([^\0\xd0-\xd7\xff])")


def _require_all_blocks(image: ImageFile.ImageFile, file: BinaryIO, path: Path) -> None:
    """Make loading fail if the data of a JPEG end early, although its end is marked.

    libjpeg leaves the rest of such a photo grey, without an error. If the last pixel is grey, the
    photo is decoded again, with more data: this changes only an incomplete photo. In progressive
    photos, whole scans with the details may be missing.
    """
    finish = image.load_end

    def load_end() -> None:
        finish()
        last: Any = image.im.getpixel((image.width - 1, image.height - 1))
        is_grey = all(abs(value - 127.5) < 2 for value in np.atleast_1d(last))
        is_progressive = "progressive" in image.info
        if image.tell() or not (is_grey or is_progressive):
            return
        file.seek(0)
        content = file.read()
        segments = list(_segments(content))
        if is_progressive and not _has_all_scans(segments):
            raise _incomplete(path)
        if is_grey:
            end = segments[-1][1] if segments else len(content)
            data = content[:end] + _MORE_DATA + b"\xff\xd9"
            longer = JpegImagePlugin.JpegImageFile(BytesIO(data))
            longer.load()
            if ImageChops.difference(longer, Image.Image()._new(image.im)).getbbox():
                raise _incomplete(path)

    image.load_end = load_end  # type: ignore[method-assign]


def _segments(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield the marker, the position and the data of each segment, up to the end of the image."""
    position = 2
    while marker := _MARKER.search(content, position):
        start = marker.end()
        length = int.from_bytes(content[start : start + 2], "big")
        yield marker[1][0], marker.start(), content[start + 2 : start + length]
        if marker[1] == b"\xd9":
            return
        position = start + length


def _has_all_scans(segments: Iterable[tuple[int, int, bytes]]) -> bool:
    """Return whether a progressive JPEG has a scan for the last bit of every coefficient."""
    missing: set[tuple[int, int]] = set()
    for marker, _, data in segments:
        if marker == 0xC2:  # the start of the frame: 3 bytes for each component
            missing = {(component, k) for component in data[6::3] for k in range(64)}
        elif marker == 0xDA and data[-1] & 15 == 0:  # a scan with the last bit
            first, last = data[-3], data[-2]
            components = data[1 : 1 + 2 * data[0] : 2]
            missing -= {(component, k) for component in components for k in range(first, last + 1)}
    return not missing


def open_image(file: BinaryIO, path: Path) -> Image.Image:
    """Open an image file in any format. The HEIC plugin is imported only for HEIC files.

    Args:
        file: Opened file.
        path: Path of the file, for the error message.

    Raises:
        PhotoError: The file is a HEIC photo, and pillow-heif is not installed (code
            ``missing_package``).
        UnidentifiedImageError: The format is unknown, or is PostScript.
    """
    head = file.read(64)
    file.seek(0)
    brands = head[8 : int.from_bytes(head[:4], "big")]
    if head[4:8] != b"ftyp" or brands[:4] not in _HEIF_BRANDS or b"avif" in brands:
        opened = Image.open(file)
        if opened.format == "EPS":  # a program, which Pillow would run with Ghostscript
            raise UnidentifiedImageError
        if opened.format in ("PNG", "GIF", "TIFF"):
            _require_all_rows(opened, path)
        elif opened.format in ("JPEG", "MPO"):
            _require_all_blocks(opened, file, path)
        return opened
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        problem = "{path} is a HEIC photo. Reading it requires the package pillow-heif."
        remedy = "Install fststyle with the extra heif."
        details = {"packages": ["pillow-heif"], "extra": "heif"}
        code = "missing_package"
        raise PhotoError(problem, path=path, remedy=remedy, code=code, details=details) from error
    image: Image.Image = HeifImageFile(file)  # type: ignore[no-untyped-call, unused-ignore]
    return image


def cannot_read(path: Path, error: Exception) -> PhotoError:
    """Return the error for an image file that cannot be read.

    Args:
        path: File that was read.
        error: Error that was raised while reading it.

    Returns:
        An error with the code ``not_found``, ``is_folder``, ``cannot_read``, ``empty``,
        ``out_of_memory``, ``too_large``, ``not_an_image`` or ``damaged``.
    """
    problem, remedy = f"{{path}} is damaged or incomplete ({reason(error)}).", _COPY_AGAIN
    code = "damaged"
    number = error.errno if isinstance(error, OSError) else None
    # Pillow causes EINVAL when it seeks to an offset that the file specifies.
    is_from_system = number not in (
        None,
        errno.ENOMEM,
        errno.EINVAL if os.path.isfile(path) else None,
    )
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        code, problem, remedy = "not_found", "{path} does not exist.", "Check the path."
    elif is_from_system and os.path.isdir(path):
        code, problem, remedy = "is_folder", "{path} is a folder.", "Choose a photo inside it."
    elif is_from_system:
        code, problem = "cannot_read", f"Cannot read {{path}}: {reason(error)}."
        remedy = "Check its permissions, or copy it to another folder."
    elif path.is_file() and path.stat().st_size == 0:
        code, problem = "empty", "{path} is empty."
    elif isinstance(error, Image.DecompressionBombError):
        code, megapixels = "too_large", pixel_limit() // 10**6
        problem = f"{{path}} has more pixels than the limit of {megapixels} megapixels."
        remedy = f"Make the image smaller first, or increase {VARIABLE}."
    elif isinstance(error, ValueError) and "MAX_TEXT" in str(error):
        code = "too_much_text"
        problem = f"{{path}} contains a text or colour profile of over {MAX_TEXT // 2**20} MB."
        remedy = "Remove it, or save the image in another format."
    elif isinstance(error, UnidentifiedImageError) and not _has_known_start(path):
        code, problem = "not_an_image", "Cannot read {path} as an image."
        remedy = "Convert it to JPEG or PNG."
    elif isinstance(error, UnidentifiedImageError):
        problem = "{path} is damaged or incomplete (its header is not valid)."
    elif isinstance(error, MemoryError) or number == errno.ENOMEM or _is_memory_short(path):
        code, problem = "out_of_memory", "Not enough memory to read {path}."
        remedy = "Make the image smaller first, or close other programs."
    return PhotoError(problem, path=path, remedy=remedy, code=code)


def _has_known_start(path: Path) -> bool:
    """Return ``True`` if a file begins like an image, and is not a kind that Pillow cannot read."""
    content = path.read_bytes()
    if content[:4] in (b"II*\0", b"MM\0*"):
        return 256 not in ex.read_exif(content).image  # has no width
    accepts = [Image.OPEN[name][1] for name in _KNOWN if name in Image.OPEN]
    return any(accept is not None and accept(content[:16]) is True for accept in accepts)


def _is_memory_short(path: Path) -> bool:
    with suppress(Exception), Image.open(path) as image:
        return memory_is_short(8 * image.width * image.height + 2**26)
    return False
