"""Stylising from file to file: photos, and animations frame by frame."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
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
from fststyle.stylize.plan import Task, make_folder
from fststyle.stylize.stylizer import Stylizer


@dataclass(frozen=True, eq=False)
class AnimatedInput:
    """An animation whose result is an animation too; its frames are read one at a time."""

    task: Task
    animation: Animation


@dataclass(frozen=True, eq=False)
class AlreadyWritten:
    """The result of an animation, which is already in its file.

    Attributes:
        pixels: Last frame ``(H, W, 3)``.
    """

    pixels: NDArray[Any]


class FileStylizer:
    """The steps from file to file, for `fststyle.stylize.pipeline.run`.

    Args:
        stylizer: The style.
        control: Controls for every photo.
        strip: Remove all metadata of the photo. The result still names fststyle and the style.
        keep_gps: Keep the place where the photo was taken.
        quality: Quality of JPEG, WebP and AVIF, from 1 to 100; by default that of each format.
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
        """Read a photo, or open an animation if the format of the result supports animations.

        Raises:
            PhotoError: The file cannot be read as an image.
        """
        if task.target.suffix.lower() in ANIMATION_SUFFIXES and is_animation(task.source):
            return AnimatedInput(task, load_frames(task.source))
        return load_photo(task.source, as_bytes=True)

    def work(self, given: Photo | AnimatedInput) -> tuple[Photo | AlreadyWritten, float]:
        """Stylise a photo; an animation is also written, since its frames do not all fit in memory.

        Returns:
            The result, and the seconds that stylising took.

        Raises:
            FststyleError: The photo does not fit into memory, or an animation cannot be read or
                written.
        """
        if isinstance(given, AnimatedInput):
            return self._animate(given)
        begin = time.perf_counter()
        result = self._stylizer.stylize(given, self._control)
        return result, time.perf_counter() - begin

    def write(self, task: Task, result: Photo | AlreadyWritten) -> None:
        """Write the result of a photo, and create its folder if it does not exist.

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
        newest: NDArray[Any] = np.zeros((0, 0, 3), np.float32)

        def frames() -> Iterator[Photo]:
            nonlocal seconds, newest
            for photo in animation.frames():
                begin = time.perf_counter()
                result = self._stylizer.stylize(photo, self._control)
                seconds += time.perf_counter() - begin
                newest = result.pixels
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
        return AlreadyWritten(newest), seconds

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
