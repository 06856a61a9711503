"""Check a photo on the server, and stylise it from file to file as the command line does.

PyTorch is not loaded.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from fststyle.errors import FststyleError, PhotoError
from fststyle.images.animation import ANIMATION_SUFFIXES
from fststyle.images.limits import pillow_limits
from fststyle.images.opening import cannot_read, open_image
from fststyle.stylize.arrays import read_mask
from fststyle.stylize.file_stylizer import FileStylizer
from fststyle.stylize.output_paths import Task
from fststyle.web.errors import Refusal, public_message
from fststyle.web.formats import FORMATS, kind_of
from fststyle.web.models import StylizeRequest
from fststyle.web.networks import Networks

_LOSSY: Final = ("heic", "avif", "tiff", "jp2")  # formats of photos that become JPEG
_LARGE_PIXELS: Final = 12_000_000
_one_large_photo: Final = threading.Lock()


def check_image(
    path: Path, name: str, max_pixels: int, *, animated: bool = False, min_side: int = 1
) -> int:
    """Check the size of an image before it is decoded.

    Args:
        path: An image file in one of the formats in `IMAGE_KINDS`.
        name: Name for the image in messages, such as ``photo``.
        max_pixels: Largest number of pixels allowed.
        animated: Count the pixels of all frames of an animation.
        min_side: Smallest height and width allowed, in pixels.

    Returns:
        The number of pixels.

    Raises:
        Refusal: The image is too large or too small, or its header cannot be read.
    """
    try:
        with pillow_limits(), path.open("rb") as file, open_image(file, path) as image:
            width, height = image.size
            frames = int(getattr(image, "n_frames", 1)) if animated else 1
    except Exception as error:  # for damaged files, Pillow's decoders can raise almost anything
        reason = error if isinstance(error, PhotoError) else cannot_read(path, error)
        raise _refusal(reason, {name: path}) from error
    if width * height * frames > max_pixels:
        count = f" and {frames} frames" if frames > 1 else ""
        raise Refusal(
            f"The {name} has {width}×{height} pixels{count}; the limit is "
            f"{max_pixels / 1e6:g} megapixels.",
            remedy="Make it smaller first.",
            code="too_many_pixels",
        )
    if min(width, height) < min_side:
        raise Refusal(
            f"The {name} has {width}×{height} pixels; each side must have at least {min_side}.",
            code="too_small",
        )
    return width * height * frames


def stylize_file(
    files: Mapping[str, Path], request: StylizeRequest, networks: Networks, max_pixels: int
) -> tuple[bytes, str, int | None]:
    """Stylise a photo file, as ``fststyle stylize`` does.

    Args:
        files: The file ``photo``, and optionally ``mask`` and ``strength_map``. The result is
            written next to them.
        request: The style and the settings.
        networks: The server's networks.
        max_pixels: Largest number of pixels allowed.

    Returns:
        The content of the output file, its format, and the number of faces if they were searched.

    Raises:
        FststyleError: An image or a setting cannot be used. The message contains no path.
    """
    photo = files["photo"]
    masks = {name: files[name] for name in ("mask", "strength_map") if name in files}
    file_format = request.format or _own_format(photo)
    target = photo.with_name(f"result{FORMATS[file_format]}")
    animated = target.suffix in ANIMATION_SUFFIXES
    pixels = check_image(photo, "photo", max_pixels, animated=animated)
    for name, path in masks.items():
        check_image(path, name.replace("_", " "), max_pixels)
    stylizer = networks.stylizer(request.style, pixels)
    # Large photos are processed one at a time, to limit memory use.
    with _one_large_photo if pixels > _LARGE_PIXELS else nullcontext():
        try:
            planes: dict[str, Any] = {name: read_mask(path) for name, path in masks.items()}
            control = replace(request.control(), **planes)
            steps = FileStylizer(
                stylizer,
                control,
                strip=request.strip,
                keep_gps=request.keep_gps,
                quality=request.quality,
            )
            task = Task(photo, target)
            result, _ = steps.work(steps.read(task))
            steps.write(task, result)
            return target.read_bytes(), file_format, result.faces
        except FststyleError as error:
            if error.code == "cannot_write" and error.__cause__ is not None:
                raise error.__cause__ from None
            raise _refusal(error, {**files, "result": target}) from error


def _refusal(error: FststyleError, files: Mapping[str, Path]) -> Refusal:
    names = {str(path): f"The {name.replace('_', ' ')}" for name, path in files.items()}
    return Refusal(public_message(error, names), code=error.code)


def _own_format(photo: Path) -> str:
    """Return the photo's format. If it cannot be written, choose JPEG or PNG instead."""
    kind = kind_of(photo) or ""
    return kind if kind in FORMATS else "jpeg" if kind in _LOSSY else "png"
