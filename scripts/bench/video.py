"""How steady is a film, and how fast? Clips with known motion, stylised in several ways.

    python scripts/bench/video.py [--trained thanos_poster] [--untrained FILE] [--size 256]
    python scripts/bench/video.py --speed [--trained thanos_poster]
    python scripts/bench/video.py --strip docs/video.webp

A camera pans, zooms and turns over photographs that no network was trained on, by motions that
are known exactly, and its frames are noisy (sigma 2/255). Each clip is stylised frame by frame,
with the statistics smoothed, and with the picture before mixed in as well, by a network that was
trained to be steady and, where there is one, by the same network without that term.

- warping error: each picture less the one before, moved as the camera moved (bicubic); root mean
  square and mean in 1/255, away from the borders. The first row is that of the films themselves.
- flicker: all pictures are moved back to where the first one is, and the power of luma over time is
  divided into bands of cycles a frame; RMS in 1/255. Below 1/8 is slow change, above 1/4 flicker.
- sharpness: the mean gradient of luma, in 1/255 a pixel. A film could be steady by being dull.
- content, style: on the calibrated measure, of the last picture of each clip.

With --speed, clips with a tone are made, and stylised from file to file; the last columns are the
parts, each alone: decoding, the network, the blend, encoding.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stability import find_loss

from fststyle.images.animation import save_animation
from fststyle.images.bundled import builtin_held_out
from fststyle.images.load import load_image
from fststyle.images.photo import Photo
from fststyle.images.resize import resize
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.tensors import to_tensor
from fststyle.stylize.blend import luma
from fststyle.video.container import Frame as Decoded
from fststyle.video.convert import convert
from fststyle.video.flow import FlowBlend, opencv
from fststyle.video.reader import VideoReader
from fststyle.video.video_stylizer import STEADY, VideoStylizer
from fststyle.video.writer import Output, VideoWriter

MARGIN = 12  # pixels along the borders that do not count
RATE = 25
BANDS = (0.0, 1 / 8, 1 / 4, 1 / 2)  # cycles a frame

Frame = NDArray[np.uint8]
Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Camera:
    """Where a frame's pixels lie in the photograph: z ↦ scale · z + centre, on complex numbers.

    Attributes:
        scale: Photograph's pixels to a frame's, and the turn.
        centre: In the photograph, in its pixels.
    """

    scale: complex
    centre: complex

    def of(self, pixels: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Where the frame's pixels lie in the photograph."""
        return self.scale * pixels + self.centre

    def back(self, places: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Where places in the photograph lie in the frame."""
        return (places - self.centre) / self.scale


def pan(t: float) -> tuple[complex, float, float]:
    """Shift in pixels of the frame, zoom and degrees; t in frames."""
    return (1.7 * t + 0.6j * t, 1.0, 0.0)


def shaky_pan(t: float) -> tuple[complex, float, float]:
    """As from a hand."""
    return (3 * t + 2 * math.sin(t) + 1j * (1.5 * math.cos(1.7 * t)), 1.0, 0.3 * math.sin(t / 2))


def zoom(t: float) -> tuple[complex, float, float]:
    """By 1 % a frame."""
    return (0j, 1.01**t, 0.0)


def rotation(t: float) -> tuple[complex, float, float]:
    """By half a degree a frame."""
    return (0j, 1.0, 0.5 * t)


def still(t: float) -> tuple[complex, float, float]:
    """Nothing but noise."""
    return (0j, 1.0, 0.0)


def passer_by(t: float) -> tuple[complex, float, float]:
    """Nothing, but a dark shape crosses the lower half: does the upper one change its colours?"""
    return (0j, 1.0, 0.0)


MOTIONS: dict[str, Callable[[float], tuple[complex, float, float]]] = {
    "pan": pan, "shaky pan": shaky_pan, "zoom": zoom, "rotation": rotation, "still": still,
    "passer-by": passer_by,
}  # fmt: skip


def grid(height: int, width: int) -> NDArray[np.complex128]:
    """A frame's pixels from its centre, x + iy, ``(height, width)``."""
    x, y = np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2
    return np.asarray(x[np.newaxis] + 1j * y[:, np.newaxis])


def cameras(photo: Frame, height: int, frames: int, motion: str) -> list[Camera]:
    """The camera of each frame: at first it sees about half of the photograph's height."""
    ratio = photo.shape[0] / height / 1.6
    middle = ((photo.shape[1] - 1) + 1j * (photo.shape[0] - 1)) / 2
    result = []
    for index in range(frames):
        shift, factor, degrees = MOTIONS[motion](index - frames / 2)
        turn = complex(math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))
        result.append(Camera(ratio / factor * turn, middle + ratio * shift))
    return result


def sampled(picture: NDArray[Any], places: NDArray[np.complex128], centred: bool = False) -> Any:
    """A picture's bicubic values at places in it."""
    cv2 = opencv()
    if centred:
        places = places + ((picture.shape[1] - 1) + 1j * (picture.shape[0] - 1)) / 2
    x, y = places.real.astype(np.float32), places.imag.astype(np.float32)
    return cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


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
    """The frames that a camera sees, each pixel the mean of 2 by 2 samples, with noise.

    A passer-by crosses the lower half from left to right.
    """
    cv2 = opencv()
    rng = np.random.default_rng(seed)
    fine = grid(2 * height, 2 * width) / 2
    for index, camera in enumerate(path):
        frame = cv2.resize(
            sampled(photo, camera.of(fine)), (width, height), interpolation=cv2.INTER_AREA
        )
        if passed_by:
            left = round((1.6 * index / len(path) - 0.55) * width)
            frame[height // 2 :, max(0, left) : max(0, left + width // 2)] = (16, 12, 20)
        noisy = frame + noise * rng.standard_normal(frame.shape)
        yield np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


@dataclass
class Figures:
    """What was measured of one way to stylise."""

    name: str
    squares: list[float] = field(default_factory=list)
    magnitudes: list[float] = field(default_factory=list)
    spectra: list[NDArray[np.float64]] = field(default_factory=list)
    sharpness: list[float] = field(default_factory=list)
    losses: list[tuple[float, float]] = field(default_factory=list)
    by_motion: dict[str, list[float]] = field(default_factory=dict)

    def rms(self, motion: str | None = None) -> float:
        """Root mean square warping error in 1/255."""
        squares = self.squares if motion is None else self.by_motion[motion]
        return math.sqrt(statistics.mean(squares))


def measure(
    figures: Figures,
    motion: str,
    path: Sequence[Camera],
    frames: Sequence[Frame],
    pictures: Sequence[Frame],
    loss: PerceptualLoss | None,
) -> None:
    """Add the figures of one clip."""
    height, width = frames[0].shape[:2]
    pixels = grid(height, width)
    inner = _inside(pixels, height, width)
    if motion == "passer-by":
        inner[height // 3 :] = False
    squares, magnitudes = [], []
    for index in range(1, len(frames)):
        places = path[index - 1].back(path[index].of(pixels))
        counts = inner & _inside(places, height, width)
        moved = sampled(pictures[index - 1].astype(np.float32), places, centred=True)
        error = (pictures[index] - moved)[counts]
        squares.append(float(np.square(error).mean()))
        magnitudes.append(float(np.abs(error).mean()))
    figures.squares += squares
    figures.magnitudes += magnitudes
    figures.by_motion.setdefault(motion, []).extend(squares)
    figures.spectra.append(spectrum(path, pictures, inner))
    for picture in pictures[:: max(1, len(pictures) // 4)]:
        figures.sharpness.append(sharpness(picture))
    if loss is not None:
        shown, given = (
            to_tensor(np.asarray(images[-1] / 255, np.float32)) for images in (pictures, frames)
        )
        with torch.no_grad():
            terms = loss(shown, loss.content_targets(given))
        figures.losses.append((float(terms.content), float(terms.style)))


def spectrum(
    path: Sequence[Camera], pictures: Sequence[Frame], inner: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Power of luma over time in each of `BANDS`, in squares of 1/255."""
    height, width = pictures[0].shape[:2]
    pixels = grid(height, width)
    counts = inner.copy()
    levels = []
    for camera, picture in zip(path, pictures, strict=True):
        places = camera.back(path[0].of(pixels))
        counts &= _inside(places, height, width)
        levels.append(sampled(luma(picture.astype(np.float32)), places, centred=True))
    series = np.stack(levels)[:, counts].astype(np.float64)
    power = np.square(np.abs(np.fft.rfft(series - series.mean(axis=0), axis=0))).mean(axis=1)
    power[1 : (len(series) + 1) // 2] *= 2
    frequencies = np.fft.rfftfreq(len(series))
    power /= len(series) ** 2
    bands = [
        power[(frequencies > low) & (frequencies <= high)].sum()
        for low, high in zip(BANDS, BANDS[1:], strict=False)
    ]
    return np.array(bands)


def sharpness(picture: Frame) -> float:
    """Mean magnitude of luma's gradient, in 1/255 a pixel."""
    down, across = np.gradient(luma(picture.astype(np.float32)))
    return float(np.hypot(down, across).mean())


def _inside(places: NDArray[np.complex128], height: int, width: int) -> NDArray[np.bool_]:
    x, y = np.abs(places.real), np.abs(places.imag)
    return np.asarray((x <= (width - 1) / 2 - MARGIN) & (y <= (height - 1) / 2 - MARGIN))


def photographs() -> list[Frame]:
    """Held-out photographs, at most 1440 pixels high."""
    result = []
    for path in builtin_held_out():
        pixels = load_image(path)
        ratio = min(1.0, 1440 / pixels.shape[0])
        size = {"width": round(ratio * pixels.shape[1]), "height": round(ratio * pixels.shape[0])}
        result.append(np.rint(255 * resize(pixels, **size)).astype(np.uint8))
    return result


def table(rows: Sequence[Figures]) -> str:
    """All figures as a Markdown table."""
    motions = list(rows[0].by_motion)
    titles = ["", "RMS", "to frame by frame", "mean", *motions]
    titles += ["< 1/8", "to 1/4", "> 1/4", "sharpness", "content", "style"]
    lines = [titles, ["---"] * len(titles)]
    for row in rows:
        flicker = np.sqrt(np.mean(row.spectra, axis=0))
        cells = [row.name, f"{row.rms():.2f}", f"{row.rms() / rows[1].rms():.2f}"]
        cells.append(f"{statistics.mean(row.magnitudes):.2f}")
        cells += [f"{row.rms(motion):.1f}" for motion in motions]
        cells += [f"{value:.2f}" for value in flicker]
        cells.append(f"{statistics.mean(row.sharpness):.2f}")
        losses = zip(*row.losses, strict=True) if row.losses else ()
        cells += [f"{statistics.mean(values):.3f}" for values in losses] or ["–", "–"]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def steadiness(arguments: argparse.Namespace) -> None:
    """Print how steady each way is."""
    height = arguments.size
    width = round(height * 4 / 3)
    ways = [("frame by frame", 0.0, 0.0), ("smoothed statistics", 0.0, 0.5)]
    ways += [(f"and the blend at {s:g}", s, 0.5) for s in arguments.steady]
    networks = [("trained to be steady", arguments.trained)]
    if arguments.untrained is not None:
        networks.insert(0, ("without the term", arguments.untrained))
    rows = [Figures("the videos themselves")]
    loss = None if arguments.no_losses else find_loss(VideoStylizer(arguments.trained), None)
    for name, network in networks:
        rows += [Figures(f"{name}: {way}") for way, _, _ in ways]
        for photo in photographs()[: arguments.photos]:
            for motion in MOTIONS:
                path = cameras(photo, height, arguments.frames, motion)
                is_passed = motion == "passer-by"
                noise = arguments.noise
                frames = list(clip(photo, height, width, path, noise, passed_by=is_passed))
                if len(rows) == 1 + len(ways):
                    measure(rows[0], motion, path, frames, frames, None)
                for row, (_, steady, smoothing) in zip(rows[-len(ways) :], ways, strict=True):
                    stylizer = _stylizer(network, steady, smoothing)
                    pictures = [stylizer.frame(f, i / RATE) for i, f in enumerate(frames)]
                    measure(row, motion, path, frames, pictures, loss)
    print(table(rows))


_STYLIZERS: dict[tuple[str, float, float], VideoStylizer] = {}


def _stylizer(network: str, steady: float, smoothing: float) -> VideoStylizer:
    key = (network, steady, smoothing)
    if key not in _STYLIZERS:
        _STYLIZERS[key] = VideoStylizer(network, steady=steady, smoothing=smoothing, device="cpu")
    _STYLIZERS[key].restart()
    return _STYLIZERS[key]


def write_clip(
    path: Path, frames: Iterator[Frame], height: int, width: int, seconds: float
) -> None:
    """A film of frames, H.264 and a tone of 440 Hz."""
    import av

    with av.open(str(path), "w") as container:
        pictures: Any = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        pictures.width, pictures.height, pictures.pix_fmt = width, height, "yuv420p"
        sound: Any = container.add_stream("aac", rate=44100)
        sound.layout = "mono"
        for frame in frames:
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(pictures.encode(None))
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


def speed(arguments: argparse.Namespace) -> None:
    """Print frames a second from file to file, and what each part takes alone."""
    photo = photographs()[1]
    columns = ("frames/s", "ms", "processor ms", "decoding", "network", "blend", "encoding", "sum")
    print(f"| | {' | '.join(columns)} |\n{'| --- ' * (len(columns) + 1)}|")
    with tempfile.TemporaryDirectory() as folder:
        for height, width in ((360, 640), (720, 1280)):
            count = arguments.frames
            film, result = Path(folder, "film.mp4"), Path(folder, "result.mp4")
            path = cameras(photo, height, count, "shaky pan")
            frames = clip(photo, height, width, path, arguments.noise)
            write_clip(film, frames, height, width, count / RATE)
            with VideoReader(film) as source:
                items, decoding = _timed(partial(_all, source.items()))
            decoded = [item for item in items if isinstance(item, Decoded)]
            images: list[Any] = [frame.pixels for frame in decoded]
            for steady in (0.0, STEADY):
                stylizer = _stylizer(arguments.trained, 0.0, 0.5)
                for image in images[:3]:
                    stylizer.frame(image, 0.0)
                pictures, network = _timed(partial(_stylised, stylizer, images))
                pictures, blending = _timed(partial(_blended, FlowBlend(steady), images, pictures))
                with VideoReader(film) as source:
                    writer = VideoWriter(result, Output(result), source)
                    _, encoding = _timed(partial(_encoded, writer, decoded, pictures))
                stylizer = _stylizer(arguments.trained, steady, 0.5)
                stylizer.frame(images[0], 0.0)
                stylizer.restart()
                begin, processor = time.perf_counter(), time.process_time()
                with VideoReader(film) as source:
                    convert(source, Output(result), stylizer.frame)
                taken, processor = time.perf_counter() - begin, time.process_time() - processor
                parts = [1000 * part / count for part in (decoding, network, blending, encoding)]
                cells = [f"{count / taken:.1f}", f"{1000 * taken / count:.0f}"]
                cells += [f"{1000 * processor / count:.0f}"]
                cells += [f"{part:.0f}" for part in (*parts, sum(parts))]
                print(f"| {height}p, steady {steady:g} | {' | '.join(cells)} |", flush=True)


def _all(items: Iterable[Any]) -> list[Any]:
    return list(items)


def _stylised(stylizer: VideoStylizer, images: Sequence[Frame]) -> list[Frame]:
    return [stylizer.frame(image, i / RATE) for i, image in enumerate(images)]


def _blended(blend: FlowBlend, images: Sequence[Frame], pictures: Sequence[Frame]) -> list[Frame]:
    ready: Iterator[Any] = iter(pictures)
    return [blend(image, lambda _: next(ready)) for image in images]


def _encoded(writer: VideoWriter, frames: Sequence[Decoded], pictures: Sequence[Frame]) -> None:
    with writer:
        for frame, picture in zip(frames, pictures, strict=True):
            writer.add_frame(picture, frame.pts, frame.duration)


def _timed(function: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.perf_counter()
    result = function()
    return result, time.perf_counter() - begin


def strip(output: Path, network: str) -> None:
    """Draw an animated WebP: a film, frame by frame, and steady, side by side."""
    photo = photographs()[0]
    height, width, count = 180, 240, 36
    path = cameras(photo, height, count, "shaky pan")
    # There and back, so that it goes round.
    path = [*path[::2], *path[::-2]]
    ways = [_stylizer(network, *way) for way in ((0.0, 0.0), (STEADY, 0.5))]
    pictures = []
    for index, frame in enumerate(clip(photo, height, width, path, 2.0)):
        shown = [frame, *(way.frame(frame, index / 12.5) for way in ways)]
        pictures.append(Photo(np.asarray(np.hstack(shown) / 255, np.float32)))
    save_animation(pictures, [80.0] * len(pictures), 0, output, quality=45)
    print(f"{output}  {output.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Measure, or draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trained", default="thanos_poster", help="a style trained to be steady")
    parser.add_argument("--untrained", help="a style file trained with steady.weight=0")
    parser.add_argument("--size", type=int, default=256, help="height of the frames")
    parser.add_argument("--frames", type=int, default=24, help="of each clip")
    parser.add_argument("--photos", type=int, default=3, help="at most 3")
    parser.add_argument("--noise", type=float, default=2.0, help="sigma, in 1/255")
    parser.add_argument("--steady", type=float, nargs="+", default=[STEADY])
    parser.add_argument("--no-losses", action="store_true", help="needs no VGG")
    parser.add_argument("--speed", action="store_true", help="measure the speed instead")
    parser.add_argument("--strip", type=Path, metavar="WEBP", help="draw the README's instead")
    arguments = parser.parse_args()
    if arguments.strip is not None:
        strip(arguments.strip, arguments.trained)
    elif arguments.speed:
        speed(arguments)
    else:
        steadiness(arguments)


if __name__ == "__main__":
    main()
