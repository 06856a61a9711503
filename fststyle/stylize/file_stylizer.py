"""Stylising files: photos as a whole, and animations frame by frame."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fststyle.images.animation import (
    ANIMATION_SUFFIXES,
    Animation,
    is_animation,
    load_frames,
    save_animation,
)
from fststyle.images.load import load_photo
from fststyle.images.metadata import Metadata, result_metadata
from fststyle.images.photo import Photo
from fststyle.images.save import OUTPUT_SUFFIXES, save_photo
from fststyle.stylize.control import Control
from fststyle.stylize.output_paths import Task, make_folder
from fststyle.stylize.regions import find_regions
from fststyle.stylize.stylizer import Stylizer


@dataclass(frozen=True, eq=False)
class AnimatedInput:
    """An animation whose result will also be an animation. Frames are read one at a time."""

    task: Task
    animation: Animation


@dataclass(frozen=True, eq=False, kw_only=True)
class StylizedPhoto(Photo):
    """A stylised photo.

    Attributes:
        faces: Number of faces found in the photo, or ``None`` if they were not searched.
    """

    faces: int | None = None


@dataclass(frozen=True, eq=False)
class AlreadyWritten:
    """The result of stylising an animation, which has already been written to its file.

    Attributes:
        pixels: Last frame of the result, ``(H, W, 3)``.
        faces: Largest number of faces found in a frame, or ``None`` if they were not searched.
    """

    pixels: NDArray[Any]
    faces: int | None = None


class FileStylizer:
    """The read, work and write steps for `fststyle.stylize.pipeline.run`.

    Args:
        stylizer: Stylizer that is applied to every photo.
        control: Controls that are used for every photo.
        strip: Remove all metadata from the photo. The result's metadata still names fststyle and
            the style.
        keep_gps: Keep the location where the photo was taken.
        quality: Quality of JPEG, WebP and AVIF files, from 1 to 100. Each format has its own
            default.
    """

    def __init__(
        self,
        stylizer: Stylizer,
        control: Control,
        *,
        strip: bool = False,
        keep_gps: bool = False,
        quality: int | None = None,
    ) -> None:
        self._stylizer = stylizer
        self._control = control
        self._strip = strip
        self._keep_gps = keep_gps
        self._quality = quality
        infos = [info for info, _ in (*stylizer.styles, *stylizer.styles_outside)]
        self._style_name = " + ".join(dict.fromkeys(info.name for info in infos))
        licences = dict.fromkeys(info.licence for info in infos if info.licence)
        self._style_licence = "; ".join(licences)

    def read(self, task: Task) -> Photo | AnimatedInput:
        """Read a photo, or open an animation if the result's format supports animations.

        Raises:
            PhotoError: The file cannot be read as an image.
        """
        if task.target.suffix.lower() in ANIMATION_SUFFIXES and is_animation(task.source):
            return AnimatedInput(task, load_frames(task.source))
        return load_photo(task.source, as_bytes=True)

    def work(self, given: Photo | AnimatedInput) -> tuple[StylizedPhoto | AlreadyWritten, float]:
        """Stylise a photo, or stylise an animation and write it.

        An animation is written here because its frames may not all fit into memory.

        Returns:
            The result, and the time that stylising took, in seconds.

        Raises:
            FststyleError: The photo does not fit into memory, or an animation cannot be read or
                written.
        """
        if isinstance(given, AnimatedInput):
            return self._animate(given)
        begin = time.perf_counter()
        result = self._stylize(given)
        return result, time.perf_counter() - begin

    def write(self, task: Task, result: Photo | AlreadyWritten) -> None:
        """Write a stylised photo, and create its folder if necessary.

        The result of an animation has already been written, so nothing is done.

        Raises:
            FststyleError: The result cannot be written.
        """
        if isinstance(result, AlreadyWritten):
            return
        _make_parent(task)
        metadata = self._metadata(result.metadata)
        if task.target.suffix.lower() in OUTPUT_SUFFIXES:
            save_photo(
                result.pixels,
                task.target,
                alpha=result.alpha,
                metadata=metadata,
                quality=self._quality,
                bits=result.bits,
            )
        else:  # .gif, .apng
            save_animation(
                [result], [0.0], 1, task.target, metadata=metadata, quality=self._quality
            )

    def _animate(self, animated: AnimatedInput) -> tuple[AlreadyWritten, float]:
        animation, task = animated.animation, animated.task
        seconds = 0.0
        newest = AlreadyWritten(np.zeros((0, 0, 3), np.float32))

        def frames() -> Iterator[Photo]:
            nonlocal seconds, newest
            for photo in animation.frames():
                begin = time.perf_counter()
                result = self._stylize(photo)
                seconds += time.perf_counter() - begin
                faces = max(newest.faces or 0, result.faces or 0)
                newest = AlreadyWritten(result.pixels, None if result.faces is None else faces)
                yield result

        _make_parent(task)
        metadata = self._metadata(animation.metadata)
        save_animation(
            frames(),
            animation.durations,
            animation.loop,
            task.target,
            metadata=metadata,
            quality=self._quality,
        )
        return newest, seconds

    def _stylize(self, photo: Photo) -> StylizedPhoto:
        regions = find_regions(photo.pixels, self._control)
        result = self._stylizer.stylize(photo, self._control, regions)
        facts = {field.name: getattr(result, field.name) for field in fields(Photo)}
        return StylizedPhoto(**facts, faces=regions.faces)

    def _metadata(self, metadata: Metadata) -> Metadata:
        return result_metadata(
            metadata,
            style_name=self._style_name,
            style_licence=self._style_licence,
            strip=self._strip,
            keep_gps=self._keep_gps,
        )


def _make_parent(task: Task) -> None:
    if not task.target.parent.is_dir():
        make_folder(task.target.parent)
