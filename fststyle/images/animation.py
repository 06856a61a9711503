"""Reading and writing animations: GIF, WebP, PNG (APNG) and AVIF."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from fststyle.errors import FststyleError, PhotoError, SettingError, check_number
from fststyle.files import cannot_write, replacing
from fststyle.images.colour import srgb_profile
from fststyle.images.limits import pillow_limits
from fststyle.images.load import cannot_read, check_pixels, from_pil, open_image
from fststyle.images.metadata import Metadata, read_metadata
from fststyle.images.photo import Photo, to_pil
from fststyle.images.save import QUALITIES, cannot_encode, check_output, metadata_options, upright

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
                with pillow_limits(), _reading(self.path):
                    image.seek(index)
                    photo = from_pil(image.copy())
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
    with _opened(path) as image, pillow_limits(), _reading(path):
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
    with _opened(path) as image, pillow_limits(), _reading(path):
        for index in _frame_numbers(image):
            image.seek(index)
            image.load()
            durations.append(float(image.info.get("duration", 0)))
        with path.open("rb") as file:
            metadata = read_metadata(image, file)
        is_animation = len(durations) > 1
        return Animation(
            path=path,
            size=image.size,
            durations=tuple(durations) if is_animation else (0.0,),
            loop=_times_played(image) if is_animation else 1,
            metadata=metadata,
        )


def check_animation_output(path: Path | str) -> None:
    """Check in advance that an animation can be written.

    Args:
        path: File to be written. The check leaves any existing file unchanged.

    Raises:
        PhotoError: Animations cannot be written with this extension, or
            `fststyle.images.save.check_output` rejects the path.
    """
    _output_format(Path(path))
    check_output(path, suffixes=ANIMATION_SUFFIXES)


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
    file_format = _output_format(path)
    if quality is not None:
        check_number("quality", quality, 1, 100, whole=True)
    check_number("loop", loop, 0, whole=True)
    if not durations:
        raise SettingError("An animation must have at least one frame.")
    options = _options(file_format, durations, loop, metadata or Metadata(), quality)
    try:
        with replacing(path) as temporary, temporary.open("w+b") as file:
            images = _images(frames, len(durations), file_format)
            if file_format == "PNG":  # the PNG encoder reads the frames twice
                image = next(images)
                options["append_images"] = list(images)
            else:
                image = _to_image(images, len(durations))
            image.save(file, file_format, save_all=True, **options)
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise cannot_write(path, error, PhotoError) from error
        raise cannot_encode(path, file_format, error) from error


def _options(
    file_format: str,
    durations: Sequence[float],
    loop: int,
    metadata: Metadata,
    quality: int | None,
) -> dict[str, Any]:
    """Return the options for Pillow's encoder."""
    options = metadata_options(upright(metadata, file_format), file_format)
    options["duration"] = _whole(durations, 10 if file_format == "GIF" else 1)
    if file_format in QUALITIES:
        options["quality"] = QUALITIES[file_format] if quality is None else quality
    if file_format == "AVIF":
        options["subsampling"] = "4:4:4"
    if file_format != "GIF":
        return {**options, "icc_profile": srgb_profile(), "loop": loop}
    options["disposal"] = 2  # the previous frame does not show through transparent pixels
    options["optimize"] = False  # keeps the transparent colour even if it is not used
    if loop != 1:
        options["loop"] = max(loop - 1, 0)  # GIF stores the number of repetitions
    return options


class _Frames(Image.Image):
    """A multi-frame image. Pillow's encoders read each frame once, in order."""

    n_frames: int
    is_animated = True
    source: Iterator[Image.Image]
    position: int

    def seek(self, frame: int) -> None:
        if frame >= self.n_frames:
            raise EOFError("no more frames")
        while self.position < frame:
            following = next(self.source)
            self.im, self.palette, self.info = following.im, following.palette, following.info
            self.position += 1

    def tell(self) -> int:
        return self.position


def _to_image(images: Iterator[Image.Image], count: int) -> Image.Image:
    """Return an image that computes its frames when an encoder requests them."""
    first = next(images)
    result = _Frames()
    result._mode, result._size = first.mode, first.size
    result.im, result.palette, result.info = first.im, first.palette, first.info
    result.n_frames, result.source, result.position = count, images, 0
    return result


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
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FststyleError:
        raise
    except Exception as error:  # Pillow can raise almost any exception for damaged files
        raise cannot_read(path, error) from error


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    with _reading(path), pillow_limits():
        file = path.open("rb")
    with file:
        with _reading(path), pillow_limits():
            image = open_image(file, path)
            check_pixels(image, path)
        with image:
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


def _output_format(path: Path) -> str:
    if path.suffix.lower() not in _FORMATS:
        raise PhotoError(
            f"Cannot write animations as {path.suffix or 'files without an extension'}.",
            path=path,
            remedy=f"Use one of {', '.join(ANIMATION_SUFFIXES)}.",
            code="unknown_extension",
            details={"extensions": list(ANIMATION_SUFFIXES)},
        )
    return _FORMATS[path.suffix.lower()]
