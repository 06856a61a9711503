"""Stability and speed of stylised videos, measured with clips that have known motion.

    python scripts/bench/video.py [--trained thanos_poster] [--untrained FILE] [--size 256]
    python scripts/bench/video.py --speed [--trained thanos_poster]
    python scripts/bench/video.py --strip docs/video.webp

A virtual camera pans, zooms and rotates over photographs that no network was trained on. Its motion
is known exactly, and its frames are noisy (sigma 2/255). Each clip is stylised in three ways: frame
by frame, with smoothed statistics, and with the previous result mixed in as well. The network was
trained to reduce flicker. With ``--untrained``, a network that was trained without this loss term
is measured as well.

- warping error: the difference between each result and the previous result moved along with the
  camera (bicubic), as root mean square and mean in 1/255, excluding the borders. The first row
  shows the values for the original clips.
- flicker: all results are moved back to the position of the first. The power of the luma over time
  is then divided into frequency bands in cycles per frame (RMS in 1/255). Below 1/8 is slow change;
  above 1/4 is flicker.
- sharpness: the mean gradient of luma, in 1/255 per pixel. It is included because a dull video
  would also be stable.
- content, style: the losses of each clip's last result, according to the calibrated measure.

With ``--speed``, clips with sound are stylised from file to file. The last columns show the times
of the individual steps when run alone: decoding, the network, mixing, encoding.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _clips import (
    MOTIONS,
    RATE,
    Camera,
    Frame,
    cameras,
    clip,
    grid,
    inside,
    photographs,
    sampled,
    write_clip,
)
from _command import benchmark_parser
from _records import Table, processor, write_record
from numpy.typing import NDArray
from stability import find_loss

from fststyle.images.animation import save_animation
from fststyle.images.photo import Photo
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.tensors import to_tensor
from fststyle.stylize.blend import luma
from fststyle.stylize.stylizer import Stylizer
from fststyle.video.container import Frame as Decoded
from fststyle.video.convert import convert
from fststyle.video.encoders import Output
from fststyle.video.flow import FlowBlend
from fststyle.video.reader import VideoReader
from fststyle.video.video_stylizer import STEADY, VideoStylizer
from fststyle.video.writer import VideoWriter

BANDS = (0.0, 1 / 8, 1 / 4, 1 / 2)  # cycles per frame


@dataclass
class Figures:
    """Measurements of one way to stylise.

    Attributes:
        name: Name of the row.
        squares: Mean squared warping error of each pair of frames.
        magnitudes: Mean absolute warping error of each pair.
        spectra: Power in each of `BANDS`, for each clip.
        sharpness: Sharpness of a selection of frames.
        losses: Content and style losses of each clip's last frame.
        by_motion: Mean squared warping errors, by kind of motion.
    """

    name: str
    squares: list[float] = field(default_factory=list)
    magnitudes: list[float] = field(default_factory=list)
    spectra: list[NDArray[np.float64]] = field(default_factory=list)
    sharpness: list[float] = field(default_factory=list)
    losses: list[tuple[float, float]] = field(default_factory=list)
    by_motion: dict[str, list[float]] = field(default_factory=dict)

    def rms(self, motion: str | None = None) -> float:
        """Return the root mean square warping error in 1/255."""
        squares = self.squares if motion is None else self.by_motion[motion]
        return math.sqrt(statistics.mean(squares))


def measure(
    figures: Figures,
    motion: str,
    path: Sequence[Camera],
    frames: Sequence[Frame],
    results: Sequence[Frame],
    loss: PerceptualLoss | None,
) -> None:
    """Add the measurements of one clip."""
    height, width = frames[0].shape[:2]
    pixels = grid(height, width)
    inner = inside(pixels, height, width)
    if motion == "passer-by":
        inner[height // 3 :] = False
    squares, magnitudes = [], []
    for index in range(1, len(frames)):
        points = path[index - 1].to_frame(path[index].to_photo(pixels))
        counts = inner & inside(points, height, width)
        moved = sampled(results[index - 1].astype(np.float32), points, centred=True)
        error = (results[index] - moved)[counts]
        squares.append(float(np.square(error).mean()))
        magnitudes.append(float(np.abs(error).mean()))
    figures.squares += squares
    figures.magnitudes += magnitudes
    figures.by_motion.setdefault(motion, []).extend(squares)
    figures.spectra.append(spectrum(path, results, inner))
    for result in results[:: max(1, len(results) // 4)]:
        figures.sharpness.append(sharpness(result))
    if loss is not None:
        shown, given = (
            to_tensor(np.asarray(images[-1] / 255, np.float32)) for images in (results, frames)
        )
        with torch.no_grad():
            terms = loss(shown, loss.content_targets(given))
        figures.losses.append((float(terms.content), float(terms.style)))


def spectrum(
    path: Sequence[Camera], results: Sequence[Frame], inner: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the power of luma over time in each of `BANDS`, in units of (1/255)²."""
    height, width = results[0].shape[:2]
    pixels = grid(height, width)
    counts = inner.copy()
    levels = []
    for camera, result in zip(path, results, strict=True):
        points = camera.to_frame(path[0].to_photo(pixels))
        counts &= inside(points, height, width)
        levels.append(sampled(luma(result.astype(np.float32)), points, centred=True))
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


def sharpness(result: Frame) -> float:
    """Return the mean magnitude of luma's gradient, in 1/255 per pixel."""
    down, across = np.gradient(luma(result.astype(np.float32)))
    return float(np.hypot(down, across).mean())


def table(rows: Sequence[Figures]) -> Table:
    """Return all measurements as a table."""
    motions = list(rows[0].by_motion)
    header = ["", "warping error", "relative to frame by frame", "mean", *motions]
    header += ["flicker < 1/8", "to 1/4", "> 1/4", "sharpness", "content", "style"]
    lines = []
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
    return Table(header, lines)


def steadiness(arguments: argparse.Namespace) -> None:
    """Measure how stable each method is, print the table and write the record."""
    height = arguments.size
    width = round(height * 4 / 3)
    ways = [("frame by frame", 0.0, 0.0), ("smoothed statistics", 0.0, 0.5)]
    ways += [(f"plus mixing at {s:g}", s, 0.5) for s in arguments.steady]
    networks = [("trained to be steady", arguments.trained)]
    if arguments.untrained is not None:
        networks.insert(0, ("without the term", arguments.untrained))
    rows = [Figures("the videos themselves")]
    loss = None if arguments.no_losses else find_loss(Stylizer(arguments.trained), None)
    for name, network in networks:
        prefix = f"{name}: " if len(networks) > 1 else ""
        found = [Figures(f"{prefix}{way}") for way, _, _ in ways]
        for photo in photographs()[: arguments.photos]:
            for motion in MOTIONS:
                path = cameras(photo, height, arguments.frames, motion)
                is_passed = motion == "passer-by"
                noise = arguments.noise
                frames = list(clip(photo, height, width, path, noise, passed_by=is_passed))
                if len(rows) == 1:
                    measure(rows[0], motion, path, frames, frames, None)
                for row, (_, steady, smoothing) in zip(found, ways, strict=True):
                    stylizer = _stylizer(network, steady, smoothing)
                    results = [stylizer.frame(f, i / RATE) for i, f in enumerate(frames)]
                    measure(row, motion, path, frames, results, loss)
        rows += found
    result = table(rows)
    print(f"{processor()}\n\n{result}")
    values = [{**asdict(row), "spectra": np.array(row.spectra).tolist()} for row in rows]
    write_record("video_steadiness", values, {"video-steadiness": result}, arguments.records)


_STYLIZERS: dict[tuple[str, float, float], VideoStylizer] = {}


def _stylizer(network: str, steady: float, smoothing: float) -> VideoStylizer:
    key = (network, steady, smoothing)
    if key not in _STYLIZERS:
        _STYLIZERS[key] = VideoStylizer(network, steady=steady, smoothing=smoothing, device="cpu")
    _STYLIZERS[key].restart()
    return _STYLIZERS[key]


def speed(arguments: argparse.Namespace) -> None:
    """Measure the speed of each step and from file to file, print the table, write the record."""
    header = ("", "frames/s", "ms", "CPU ms", *PARTS, "sum")
    rows, values = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for height, width in arguments.speed_sizes:
            source = Path(folder, "source.mp4")
            path = cameras(photographs()[1], height, arguments.frames, "shaky pan")
            frames = clip(photographs()[1], height, width, path, arguments.noise)
            write_clip(source, frames, height, width, arguments.frames / RATE)
            for steady in (0.0, STEADY):
                found = time_conversion(source, arguments.trained, steady)
                name = f"{height}p, steady {steady:g}"
                values[name] = found
                parts = [found[part] for part in PARTS]
                cells = [f"{1000 / found['ms']:.1f}"]
                cells += [f"{found[key]:.0f}" for key in ("ms", "CPU ms", *PARTS)]
                rows.append([name, *cells, f"{sum(parts):.0f}"])
    result = Table(header, rows)
    print(f"{processor()}\n\n{result}")
    write_record("video_speed", values, {"video-speed": result}, arguments.records)


PARTS = ("decoding", "network", "mixing", "encoding")


def time_conversion(video: Path, network: str, steady: float) -> dict[str, float]:
    """Return the milliseconds per frame for each step alone, and from file to file."""
    result = video.with_name("result.mp4")
    with VideoReader(video) as source:
        items, decoding = _timed(partial(list, source.items()))
    decoded = [item for item in items if isinstance(item, Decoded)]
    images: list[Any] = [frame.pixels for frame in decoded]
    stylizer = _stylizer(network, 0.0, 0.5)
    for image in images[:3]:
        stylizer.frame(image, 0.0)
    stylised, networking = _timed(partial(_stylised, stylizer, images))
    blended, blending = _timed(partial(_blended, FlowBlend(steady), images, stylised))
    with VideoReader(video) as source:
        writer = VideoWriter(result, Output(result), source)
        _, encoding = _timed(partial(_encoded, writer, decoded, blended))
    stylizer = _stylizer(network, steady, 0.5)
    stylizer.frame(images[0], 0.0)
    stylizer.restart()
    begin, used = time.perf_counter(), time.process_time()
    with VideoReader(video) as source:
        convert(source, Output(result), stylizer.frame)
    taken, used = time.perf_counter() - begin, time.process_time() - used
    times = (taken, used, decoding, networking, blending, encoding)
    names = ("ms", "CPU ms", *PARTS)
    return {name: 1000 * t / len(images) for name, t in zip(names, times, strict=True)}


def _stylised(stylizer: VideoStylizer, images: Sequence[Frame]) -> list[Frame]:
    return [stylizer.frame(image, i / RATE) for i, image in enumerate(images)]


def _blended(blend: FlowBlend, images: Sequence[Frame], stylised: Sequence[Frame]) -> list[Frame]:
    ready: Iterator[Any] = iter(stylised)
    return [blend(image, lambda _: next(ready)) for image in images]


def _encoded(writer: VideoWriter, frames: Sequence[Decoded], results: Sequence[Frame]) -> None:
    with writer:
        for frame, result in zip(frames, results, strict=True):
            writer.add_frame(result, frame.pts, frame.duration)


def _timed(function: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.perf_counter()
    result = function()
    return result, time.perf_counter() - begin


def strip(output: Path, network: str) -> None:
    """Draw an animated WebP: a clip stylised frame by frame and with less flicker, side by side."""
    photo = photographs()[0]
    height, width, count = 180, 240, 36
    path = cameras(photo, height, count, "shaky pan")
    # Play forwards, then backwards, so that the animation loops smoothly.
    path = [*path[::2], *path[::-2]]
    ways = [_stylizer(network, *way) for way in ((0.0, 0.0), (STEADY, 0.5))]
    images = []
    for index, frame in enumerate(clip(photo, height, width, path, 2.0)):
        shown = [frame, *(way.frame(frame, index / 12.5) for way in ways)]
        images.append(Photo(np.asarray(np.hstack(shown) / 255, np.float32)))
    save_animation(images, [80.0] * len(images), 0, output, quality=45)
    print(f"{output}  {output.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Measure stability or speed, or draw the animation."""
    parser = benchmark_parser(__doc__)
    add = parser.add_argument
    add("--trained", default="thanos_poster", help="steady style (thanos_poster)")
    add("--untrained", metavar="STYLE", help="style file trained with steady.weight=0")
    add("--size", type=int, default=256, help="height of the frames in pixels (256)")
    add("--frames", type=int, default=24, help="number of frames per clip (24)")
    add("--photos", type=int, default=3, help="number of photographs to use, at most 3 (3)")
    add("--noise", type=float, default=2.0, help="standard deviation of the noise, in 1/255 (2)")
    add("--steady", type=float, nargs="+", default=[STEADY], help=f"strengths of mixing ({STEADY})")
    add("--no-losses", action="store_true", help="skip the losses, which require VGG")
    add("--speed", action="store_true", help="measure the speed instead")
    add("--strip", type=Path, metavar="WEBP", help="draw the documentation's animation instead")
    parser.set_defaults(speed_sizes=((360, 640), (720, 1280)))
    arguments = parser.parse_args()
    if arguments.strip is not None:
        strip(arguments.strip, arguments.trained)
    elif arguments.speed:
        speed(arguments)
    else:
        steadiness(arguments)


if __name__ == "__main__":
    main()
