"""Animations from and to files: GIF, WebP, PNG (APNG) and AVIF."""

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
from fststyle.files import cannot_write, reason, replacing
from fststyle.images.colour import srgb_profile
from fststyle.images.limits import pillow_limits
from fststyle.images.load import cannot_read, check_pixels, from_pil, open_image
from fststyle.images.metadata import Metadata, read_metadata
from fststyle.images.photo import Photo, to_pil
from fststyle.images.save import QUALITIES, check_output, metadata_options, upright

_FORMATS: Final = {
    ".gif": "GIF", ".webp": "WEBP", ".png": "PNG", ".apng": "PNG", ".avif": "AVIF",
}  # fmt: skip
ANIMATION_SUFFIXES: Final = tuple(_FORMATS)
"""Endings of the formats in which animations can be written, in lower case."""

# Other formats have several pictures too, which are no animation: pages, previews, depth.
_ANIMATED: Final = ("GIF", "WEBP", "PNG", "AVIF")


@dataclass(frozen=True)
class Animation:
    """An animation in a file, of which the frames are read when they are wanted.

    Attributes:
        path: The file.
        size: Width and height.
        durations: How long each frame is shown, in milliseconds; one number for each frame. A
            picture that is no animation has one frame, of no duration.
        loop: How often it is played; 0 is for ever.
        metadata: What the file says beside.
    """

    path: Path
    size: tuple[int, int]
    durations: tuple[float, ...]
    loop: int
    metadata: Metadata

    def frames(self) -> Iterator[Photo]:
        """Read the frames, one after another, each complete; every call starts anew.

        Yields:
            Pictures of the same size; with alpha where that frame has transparency.

        Raises:
            PhotoError: The file is gone or damaged.
        """
        with _opened(self.path) as image:
            for index in _frame_numbers(image):
                # Only while a frame is read, not while somebody works on it.
                with pillow_limits(), _damage(self.path):
                    image.seek(index)
                    photo = from_pil(image.copy())
                # Most GIFs have a transparent colour, to leave out what has not changed.
                is_opaque = photo.alpha is None or photo.alpha.min() == 1
                yield Photo(photo.pixels, None if is_opaque else photo.alpha)


def is_animation(path: Path | str) -> bool:
    """Tell, without decoding, whether a file has frames to be shown one after another.

    Args:
        path: A file as for `load_frames`.

    Raises:
        PhotoError: It is missing, or no picture that can be read here.
    """
    path = Path(path)
    with _opened(path) as image, pillow_limits(), _damage(path):
        return len(_frame_numbers(image)) > 1


def load_frames(path: Path | str) -> Animation:
    """Look at an animation.

    Args:
        path: A file of any format that `fststyle.images.load.load_photo` reads.

    Returns:
        Its size and timing; its ``frames()`` reads the pictures.

    Raises:
        PhotoError: As in `fststyle.images.load.load_photo`; of each frame.
    """
    path = Path(path)
    durations = []
    with _opened(path) as image, pillow_limits(), _damage(path):
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
    """Find out before any computing whether `save_animation` can write to a path.

    Args:
        path: Where an animation is to be written. A file there would be replaced.

    Raises:
        PhotoError: The ending is none of `ANIMATION_SUFFIXES`, or as in
            `fststyle.images.save.check_output`.
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
    """Write an animation; at any failure the path is left as it was.

    Frames are taken one after another, as the encoder wants them. GIF has 256 colours a frame,
    dithered, and transparency that is all or nothing; its durations are rounded to hundredths of a
    second, so that the time of every frame's beginning is right to half a hundredth. Equal frames
    that follow each other may become one of their common duration.

    Args:
        frames: All of one size, as many as ``durations``.
        durations: In milliseconds.
        loop: How often it is played; 0 is for ever.
        path: Its ending, one of `ANIMATION_SUFFIXES`, says the format.
        metadata: Of `fststyle.images.metadata.result_metadata`; GIF has only a comment.
        quality: Of WebP and AVIF, from 1 to 100; by default as in `fststyle.images.save.encode`.

    Raises:
        PhotoError: The animation cannot be written there, or not in that format.
        SettingError: ``quality`` or ``loop`` is out of range, or there is no frame.
    """
    path = Path(path)
    file_format = _output_format(path)
    if quality is not None:
        check_number("quality", quality, 1, 100, whole=True)
    check_number("loop", loop, 0, whole=True)
    if not durations:
        raise SettingError("An animation must have at least one frame.")
    options: dict[str, Any] = metadata_options(
        upright(metadata or Metadata(), file_format), file_format
    )
    options["duration"] = _whole(durations, 10 if file_format == "GIF" else 1)
    if file_format in QUALITIES:
        options["quality"] = QUALITIES[file_format] if quality is None else quality
    if file_format == "AVIF":
        options["subsampling"] = "4:4:4"
    if file_format == "GIF":
        options["disposal"] = 2  # a see-through pixel does not show the frame before
        options["optimize"] = False  # keeps the transparent colour where it is not used
    else:
        options["icc_profile"] = srgb_profile()
    if file_format != "GIF":
        options["loop"] = loop
    elif loop != 1:
        options["loop"] = max(loop - 1, 0)  # GIF counts repetitions
    try:
        with replacing(path) as temporary, temporary.open("w+b") as file:
            images = _images(frames, len(durations), file_format)
            if file_format == "PNG":  # whose encoder walks through the frames twice
                image = next(images)
                options["append_images"] = list(images)
            else:
                image = _to_image(images, len(durations))
            image.save(file, file_format, save_all=True, **options)
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise cannot_write(path, error, PhotoError) from error
        raise PhotoError(
            f"Cannot encode {{path}} as {file_format}: {reason(error)}.",
            path=path,
            remedy="Use another extension, such as .webp.",
            code="cannot_encode",
        ) from error


class _Frames(Image.Image):
    """An image of many frames, as pillow's encoders walk through it: forwards, once."""

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
    """Return one image that gives an encoder its frames as it asks for them."""
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
            raise ValueError("the frames of an animation must be of one size")
        # Encoders take the first frame's mode for all.
        yield _to_palette(image) if file_format == "GIF" else image.convert("RGBA")
        given += 1
    if given < count:
        raise ValueError(f"{given} frames for {count} durations")


def _to_palette(image: Image.Image) -> Image.Image:
    """Reduce to 255 colours and one that is see-through."""
    rgb = image.convert("RGB")
    palette = rgb.quantize(255, method=Image.Quantize.MEDIANCUT)
    reduced = rgb.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    colours = (reduced.getpalette() or [])[: 3 * 255]
    indices = np.array(reduced)
    if image.mode == "RGBA":
        indices[np.asarray(image.getchannel("A")) < 128] = 255
    result = Image.fromarray(indices, "L")
    result.putpalette(colours + [0] * (3 * 256 - len(colours)))
    # Of opaque frames too: pillow reads no transparency where the first frame has none.
    result.info["transparency"] = 255
    return result


def _whole(durations: Sequence[float], unit: int) -> list[int]:
    """Round durations to multiples of a unit so that the rounding does not add up."""
    ends = [round(end / unit) * unit for end in itertools.accumulate(durations)]
    return [end - start for start, end in itertools.pairwise([0, *ends])]


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except FststyleError:
        raise
    except Exception as error:  # on damaged files pillow's decoders raise nearly anything
        raise cannot_read(path, error) from error


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    with _damage(path), pillow_limits():
        file = path.open("rb")
    with file:
        with _damage(path), pillow_limits():
            image = open_image(file, path)
            check_pixels(image, path)
        with image:
            yield image


def _frame_numbers(image: Image.Image) -> range:
    if image.format not in _ANIMATED:
        return range(1)
    # The first picture of a PNG may be for programs that know no animation.
    return range(1 if image.info.get("default_image") else 0, getattr(image, "n_frames", 1))


def _times_played(image: Image.Image) -> int:
    loop = image.info.get("loop")
    if image.format == "GIF":  # it counts repetitions, and 0 is for ever
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
