"""Animated WebP files, which FFmpeg cannot decode: their frames are read with Pillow."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np

from fststyle.images.animation import is_animation, load_frames
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


def as_matroska(path: Path) -> BytesIO:
    """Convert an animated WebP file to a video without loss. Transparent parts become white.

    Raises:
        PhotoError: The file is damaged.
    """
    import av

    animation = load_frames(path)
    content = BytesIO()
    with av.open(content, "w", "matroska") as container:
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
    content.seek(0)
    return content
