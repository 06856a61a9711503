"""Animated WebP files, which FFmpeg cannot decode: their frames are read with Pillow."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from fststyle.files import cannot_write
from fststyle.images.animation import Animation, is_animation, load_frames
from fststyle.images.photo import over_white, to_uint8


def is_animated_webp(path: Path) -> bool:
    """Return whether a file is a WebP file with more than one frame.

    Raises:
        PhotoError: The file is a damaged WebP file.
    """
    if not path.is_file():  # a pipe can be read only once
        return False
    with path.open("rb") as file:
        head = file.read(12)
    return head[:4] == b"RIFF" and head[8:] == b"WEBP" and is_animation(path)


def as_matroska(path: Path, target: Path) -> None:
    """Convert an animated WebP file to a video without loss. Transparent parts become white.

    Args:
        path: Animated WebP file.
        target: File for the video, in the Matroska format.

    Raises:
        PhotoError: The file is damaged.
        FststyleError: The video cannot be written (code ``cannot_write``).
    """
    import av

    animation = load_frames(path)
    try:
        with av.open(os.fspath(target), "w", "matroska") as container:
            _write(container, animation)
    except OSError as error:
        raise cannot_write(target, error) from error


def _write(container: Any, animation: Animation) -> None:
    import av

    seconds = Fraction(round(sum(animation.durations)) or 1, 1000)
    rate = (len(animation.durations) / seconds).limit_denominator(1000)
    stream = container.add_stream("ffv1", rate=rate)
    stream.width, stream.height = animation.size
    stream.pix_fmt = "bgr0"
    stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
    time = 0
    for photo, duration in zip(animation.frames(), animation.durations, strict=True):
        pixels = photo.pixels if photo.alpha is None else over_white(photo.pixels, photo.alpha)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(to_uint8(pixels)), "rgb24")
        frame.pts, frame.time_base = time, stream.time_base
        time += round(duration)
        for packet in stream.encode(frame):  # FFV1 does not delay frames
            packet.duration = round(duration)
            container.mux(packet)
