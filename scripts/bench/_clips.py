"""Video clips with known camera motion, rendered from photographs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fststyle.images.bundled import builtin_held_out
from fststyle.images.load import load_image
from fststyle.images.resize import resize
from fststyle.video.flow import opencv

MARGIN = 12  # pixels along the borders that are not compared
RATE = 25  # frames per second

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Camera:
    """A camera over a photograph: pixel z of the frame shows scale · z + centre (complex numbers).

    Attributes:
        scale: Zoom and rotation, in photograph pixels per frame pixel.
        centre: Point of the photograph at the centre of the frame, in pixels.
    """

    scale: complex
    centre: complex

    def to_photo(self, pixels: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Return the points of the photograph that are visible at the given pixels of the frame."""
        return self.scale * pixels + self.centre

    def to_frame(self, points: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Return the pixels of the frame at which points of the photograph are visible."""
        return (points - self.centre) / self.scale


def pan(t: float) -> tuple[complex, float, float]:
    """Return the shift in frame pixels, the zoom factor and the rotation in degrees at frame t."""
    return (1.7 * t + 0.6j * t, 1.0, 0.0)


def shaky_pan(t: float) -> tuple[complex, float, float]:
    """Pan like a hand-held camera."""
    return (3 * t + 2 * math.sin(t) + 1j * (1.5 * math.cos(1.7 * t)), 1.0, 0.3 * math.sin(t / 2))


def zoom(t: float) -> tuple[complex, float, float]:
    """Zoom in by 1 % per frame."""
    return (0j, 1.01**t, 0.0)


def rotation(t: float) -> tuple[complex, float, float]:
    """Rotate by half a degree per frame."""
    return (0j, 1.0, 0.5 * t)


def still(t: float) -> tuple[complex, float, float]:
    """Stand still, so that only the noise changes."""
    return (0j, 1.0, 0.0)


def passer_by(t: float) -> tuple[complex, float, float]:
    """Stand still while a dark shape crosses the lower half. The upper half should not change."""
    return (0j, 1.0, 0.0)


MOTIONS: dict[str, Callable[[float], tuple[complex, float, float]]] = {
    "pan": pan, "shaky pan": shaky_pan, "zoom": zoom, "rotation": rotation, "still": still,
    "passer-by": passer_by,
}  # fmt: skip


def grid(height: int, width: int) -> NDArray[np.complex128]:
    """Return each pixel's position x + iy relative to the frame's centre, ``(height, width)``."""
    x, y = np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2
    return np.asarray(x[np.newaxis] + 1j * y[:, np.newaxis])


def cameras(photo: Frame, height: int, frames: int, motion: str) -> list[Camera]:
    """Return the camera for each frame. Cameras see about 60 % of the photograph's height."""
    ratio = photo.shape[0] / height / 1.6
    middle = ((photo.shape[1] - 1) + 1j * (photo.shape[0] - 1)) / 2
    result = []
    for index in range(frames):
        shift, factor, degrees = MOTIONS[motion](index - frames / 2)
        turn = complex(math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))
        result.append(Camera(ratio / factor * turn, middle + ratio * shift))
    return result


def sampled(image: NDArray[Any], points: NDArray[np.complex128], centred: bool = False) -> Any:
    """Sample an image bicubically at given points (relative to its centre if ``centred``)."""
    cv2 = opencv()
    if centred:
        points = points + ((image.shape[1] - 1) + 1j * (image.shape[0] - 1)) / 2
    x, y = points.real.astype(np.float32), points.imag.astype(np.float32)
    return cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def clip(
    photo: Frame,
    height: int,
    width: int,
    path: Sequence[Camera],
    noise: float,
    *,
    passed_by: bool = False,
    seed: int = 0,
) -> Iterator[Frame]:
    """Render what a moving camera sees. Each pixel is the mean of 2 × 2 samples, plus noise.

    Args:
        photo: The photograph, ``(H, W, 3)``.
        height: Height of the frames.
        width: Width of the frames.
        path: The camera for each frame.
        noise: Standard deviation of the noise, in 1/255.
        passed_by: Whether a dark shape crosses the lower half from left to right.
        seed: Random seed for the noise.

    Yields:
        The frames.
    """
    cv2 = opencv()
    rng = np.random.default_rng(seed)
    fine = grid(2 * height, 2 * width) / 2
    for index, camera in enumerate(path):
        frame = cv2.resize(
            sampled(photo, camera.to_photo(fine)), (width, height), interpolation=cv2.INTER_AREA
        )
        if passed_by:
            left = round((1.6 * index / len(path) - 0.55) * width)
            frame[height // 2 :, max(0, left) : max(0, left + width // 2)] = (16, 12, 20)
        noisy = frame + noise * rng.standard_normal(frame.shape)
        yield np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def inside(points: NDArray[np.complex128], height: int, width: int) -> NDArray[np.bool_]:
    """Return which points lie inside a frame and away from its borders."""
    x, y = np.abs(points.real), np.abs(points.imag)
    return np.asarray((x <= (width - 1) / 2 - MARGIN) & (y <= (height - 1) / 2 - MARGIN))


def photographs() -> list[Frame]:
    """Load the held-out photographs, at most 1440 pixels high."""
    result = []
    for path in builtin_held_out():
        pixels = load_image(path)
        ratio = min(1.0, 1440 / pixels.shape[0])
        size = {"width": round(ratio * pixels.shape[1]), "height": round(ratio * pixels.shape[0])}
        result.append(np.rint(255 * resize(pixels, **size)).astype(np.uint8))
    return result


def write_clip(
    path: Path, frames: Iterator[Frame], height: int, width: int, seconds: float
) -> None:
    """Write frames as an H.264 video with a 440 Hz tone."""
    import av

    with av.open(str(path), "w") as container:
        images: Any = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        images.width, images.height, images.pix_fmt = width, height, "yuv420p"
        sound: Any = container.add_stream("aac", rate=44100)
        sound.layout = "mono"
        for frame in frames:
            container.mux(images.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(images.encode(None))
        phase = 2 * np.pi * 440 / 44100 * np.arange(int(seconds * 44100))
        wave = (0.2 * np.sin(phase)).astype(np.float32)
        for begin in range(0, len(wave), 1024):
            samples = av.AudioFrame.from_ndarray(
                wave[np.newaxis, begin : begin + 1024], "fltp", "mono"
            )
            samples.sample_rate, samples.pts = 44100, begin
            samples.time_base = Fraction(1, 44100)
            container.mux(sound.encode(samples))
        container.mux(sound.encode(None))
