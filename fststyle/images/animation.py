"""Reading and writing animations: GIF, WebP, PNG (APNG) and AVIF."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from fststyle.errors import SettingError, check_number
from fststyle.files import replacing
from fststyle.images.load import from_pil
from fststyle.images.metadata import Metadata, read_metadata
from fststyle.images.opening import check_pixels, open_image, reading
from fststyle.images.photo import Photo, to_pil
from fststyle.images.save import check_extension, encoder_options, writing_error

_FORMATS: Final = {
    ".gif": "GIF", ".webp": "WEBP", ".png": "PNG", ".apng": "PNG", ".avif": "AVIF",
}  # fmt: skip
ANIMATION_SUFFIXES: Final = tuple(_FORMATS)
"""File extensions with which animations can be written, in lower case."""

# In other formats, additional images are not frames but pages, previews or depth maps.
_ANIMATED: Final = ("GIF", "WEBP", "PNG", "AVIF")


@dataclass(frozen=True)
class Animation:
    """An animation file. Frames are read only when they are needed.

    Attributes:
        path: Path of the file.
        size: Width and height in pixels.
        durations: Duration of each frame in milliseconds. A still image has one frame with a
            duration of 0.
        loop: Number of times that the animation plays; 0 means forever.
        metadata: Metadata of the file, such as EXIF.
    """

    path: Path
    size: tuple[int, int]
    durations: tuple[float, ...]
    loop: int
    metadata: Metadata

    def frames(self) -> Iterator[Photo]:
        """Read the frames one by one. Every call to this method starts at the first frame.

        Yields:
            Complete images, all of the same size. If no pixel of a frame is transparent, the
            frame's ``alpha`` is ``None``.

        Raises:
            PhotoError: The file is damaged or no longer exists.
        """
        with _opened(self.path) as image:
            for index in _frame_numbers(image):
                # The limits apply only while a frame is being read, not while it is processed.
                with reading(self.path):
                    image.seek(index)
                    photo = from_pil(image.crop((0, 0, *self.size)))
                # Most GIFs use a transparent colour for parts that do not change between frames.
                is_opaque = photo.alpha is None or photo.alpha.min() == 1
                yield Photo(photo.pixels, None if is_opaque else photo.alpha)


def is_animation(path: Path | str) -> bool:
    """Return ``True`` if an image file is an animation. The frames are not decoded.

    Args:
        path: Image file in any format that `load_frames` can read.

    Raises:
        PhotoError: The file does not exist or cannot be read as an image.
    """
    path = Path(path)
    with _opened(path) as image, reading(path):
        return len(_frame_numbers(image)) > 1


def load_frames(path: Path | str) -> Animation:
    """Read the size and timing of an animation.

    Args:
        path: Image file in any format that `fststyle.images.load.load_photo` can read.

    Returns:
        The animation. Call the ``frames`` method to read the images.

    Raises:
        PhotoError: The file does not exist or cannot be read, or a frame is damaged.

    Example:
        >>> frames = [Photo(np.full((8, 8, 3), grey)) for grey in (0.0, 0.5, 1.0)]
        >>> save_animation(frames, [40, 40, 80], 0, "fade.webp")
        >>> animation = load_frames("fade.webp")
        >>> animation.size, animation.durations, animation.loop
        ((8, 8), (40.0, 40.0, 80.0), 0)
    """
    path = Path(path)
    durations = []
    with _opened(path) as image, reading(path):
        size = image.size  # when a GIF frame lies beyond the screen, Pillow enlarges the screen
        for index in _frame_numbers(image):
            image.seek(index)
            image.load()
            durations.append(float(image.info.get("duration", 0)))
        with path.open("rb") as file:
            metadata = read_metadata(image, file)
        if len(durations) < 2:
            return Animation(path, size, (0.0,), 1, metadata)
        return Animation(path, size, tuple(durations), _times_played(image), metadata)


def save_animation(
    frames: Iterable[Photo],
    durations: Sequence[float],
    loop: int,
    path: Path | str,
    *,
    metadata: Metadata | None = None,
    quality: int | None = None,
) -> None:
    """Write an animation. If writing fails, any existing file is left unchanged.

    Frames are requested one by one, as the encoder needs them. Identical consecutive frames may be
    merged into one.

    In GIF files, each frame is dithered to 256 colours, and every pixel is either opaque or
    transparent. Durations are rounded to hundredths of a second, but rounding errors do not
    accumulate: every frame starts within 5 milliseconds of its exact time.

    Args:
        frames: Images of the same size, one for each of the ``durations``.
        durations: Duration of each frame in milliseconds.
        loop: Number of times that the animation plays; 0 means forever.
        path: File to write. The extension must be one of `ANIMATION_SUFFIXES`.
        metadata: Metadata to write; by default, none. GIF files store only a comment.
        quality: Quality from 1 to 100, for WebP and AVIF only. `fststyle.images.save.QUALITIES`
            defines the defaults.

    Raises:
        PhotoError: The file cannot be written (code ``cannot_write``), the extension is unknown
            (``unknown_extension``), or the format cannot store the frames (``cannot_encode``).
        SettingError: ``quality`` or ``loop`` is out of range, or there are no frames.
    """
    path = Path(path)
    check_extension(path, ANIMATION_SUFFIXES)
    file_format = _FORMATS[path.suffix.lower()]
    if quality is not None:
        check_number("quality", quality, 1, 100, whole=True)
    check_number("loop", loop, 0, whole=True)
    if not durations:
        raise SettingError("An animation must have at least one frame.")
    options = encoder_options(file_format, metadata or Metadata(), quality)
    options["duration"] = _whole(durations, 10 if file_format == "GIF" else 1)
    if file_format == "GIF":
        options["disposal"] = 2  # the previous frame does not show through transparent pixels
        options["optimize"] = False  # keeps the transparent colour even if it is not used
        if loop != 1:
            options["loop"] = max(loop - 1, 0)  # GIF stores the number of repetitions
    else:
        options["loop"] = loop
    pixels = 0
    try:
        with replacing(path) as temporary, temporary.open("w+b") as file:
            images = _images(frames, len(durations), file_format)
            if file_format == "PNG":  # the PNG encoder reads the frames twice
                image = next(images)
                options["append_images"] = list(images)
            else:
                image = _Frames(images, len(durations))
            pixels = image.width * image.height
            image.save(file, file_format, save_all=True, **options)
    except (OSError, RuntimeError, MemoryError, ValueError) as error:
        raise writing_error(path, file_format, error, pixels) from error


class _Frames(Image.Image):
    """A multi-frame image that computes its frames when an encoder requests them, in order."""

    is_animated = True

    def __init__(self, images: Iterator[Image.Image], count: int) -> None:
        super().__init__()
        self.n_frames, self._images, self._position = count, images, -1
        self.seek(0)
        self._mode, self._size = self.im.mode, self.im.size

    def seek(self, frame: int) -> None:
        if frame >= self.n_frames:
            raise EOFError("no more frames")
        while self._position < frame:
            following = next(self._images)
            self.im, self.palette, self.info = following.im, following.palette, following.info
            self._position += 1

    def tell(self) -> int:
        return self._position


def _images(frames: Iterable[Photo], count: int, file_format: str) -> Iterator[Image.Image]:
    given = 0
    size = None
    for photo in itertools.islice(frames, count):
        image = to_pil(photo.pixels, photo.alpha)
        size = size or image.size
        if image.size != size:
            raise ValueError("all frames of an animation must have the same size")
        # Encoders use the mode of the first frame for all frames.
        yield _to_palette(image) if file_format == "GIF" else image.convert("RGBA")
        given += 1
    if given < count:
        raise ValueError(f"{given} frames for {count} durations")


def _to_palette(image: Image.Image) -> Image.Image:
    """Reduce an image to 255 colours and one transparent colour."""
    rgb = image.convert("RGB")
    palette = rgb.quantize(255, method=Image.Quantize.MEDIANCUT)
    reduced = rgb.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    colours = (reduced.getpalette() or [])[: 3 * 255]
    indices = np.array(reduced)
    if image.mode == "RGBA":
        indices[np.asarray(image.getchannel("A")) < 128] = 255
    result = Image.fromarray(indices, "L")
    result.putpalette(colours + [0] * (3 * 256 - len(colours)))
    # Opaque frames need this too: Pillow ignores transparency if the first frame has none.
    result.info["transparency"] = 255
    return result


def _whole(durations: Sequence[float], unit: int) -> list[int]:
    """Round durations to multiples of ``unit`` without accumulating rounding errors."""
    ends = [round(end / unit) * unit for end in itertools.accumulate(durations)]
    return [end - start for start, end in itertools.pairwise([0, *ends])]


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    with ExitStack() as stack:
        with reading(path):
            file = stack.enter_context(path.open("rb"))
            image = stack.enter_context(open_image(file, path))
            check_pixels(image, path, file)
        yield image


def _frame_numbers(image: Image.Image) -> range:
    if image.format not in _ANIMATED:
        return range(1)
    # The first image in a PNG may be a fallback for programs that cannot show animations.
    return range(1 if image.info.get("default_image") else 0, getattr(image, "n_frames", 1))


def _times_played(image: Image.Image) -> int:
    loop = image.info.get("loop")
    if image.format == "GIF":  # GIF stores the number of repetitions; 0 means forever
        return 1 if loop is None else loop + 1 if loop else 0
    return loop or 0
