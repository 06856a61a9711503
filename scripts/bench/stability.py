"""Stability of networks under known camera motion.

    python scripts/bench/stability.py A.onnx B.onnx [--photos FOLDER] [--size 256] [-o sheet.png]

A virtual camera looks at a held-out photograph that has twice the resolution of the frames. The two
frames in a pair differ by an exactly known motion (whole-pixel and fractional pans, zooms,
rotations), or only by noise (sigma 2/255 in both frames) or brightness (3 %). Each frame is
stylised on its own. The first result is then warped by the motion (bicubic) and compared with the
second result, except at the borders. The difference is the warping error, in 1/255. The first row
shows the warping error for the photographs themselves, which is caused by warping alone. In the
column "all", every kind of change has the same weight.

Sharpness is the mean gradient magnitude of the results' grey values, in 1/255 per pixel. It is
included because a network with dull results would also be stable. Content, style and total are the
losses of the calibrated measure.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from _command import benchmark_parser
from _records import Table, write_record
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fststyle.errors import FststyleError
from fststyle.images.bundled import builtin_held_out
from fststyle.images.folder import find_photos
from fststyle.images.load import load_image
from fststyle.images.resize import resize
from fststyle.images.save import save_photo
from fststyle.images.sheets import sheet
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.measure import measure_for
from fststyle.perceptual.tensors import to_pixels, to_tensor
from fststyle.perceptual.vgg_weights import load_weights
from fststyle.styles.find import find_picture
from fststyle.stylize.stylizer import Stylizer
from fststyle.training.photo_crops import is_held_out

ROOM = 16  # extra photograph pixels around the frame, to allow for the motion
MARGIN = 8  # pixels along the borders of both frames that are excluded from the comparison
AMPLIFIED = 4  # amplification of the differences in the sheet

Pixels = NDArray[np.float32]


class Motion(NamedTuple):
    """Change from the first frame to the second.

    Attributes:
        dy: Downward shift in pixels.
        dx: Rightward shift in pixels.
        zoom: Zoom factor.
        degrees: Rotation in degrees.
        gain: Brightness factor.
        noise: Standard deviation of the noise, in [0, 1].
    """

    dy: float = 0.0
    dx: float = 0.0
    zoom: float = 1.0
    degrees: float = 0.0
    gain: float = 1.0
    noise: float = 0.0


KINDS = {
    "pan": (Motion(1, 0), Motion(0, 1), Motion(2, 3), Motion(-3, 5)),
    "sub-pixel pan": (Motion(0.5, 0), Motion(0.25, 0.5), Motion(1.3, -0.6)),
    "zoom": (Motion(zoom=1.01), Motion(zoom=1.03), Motion(zoom=0.98)),
    "rotation": (Motion(degrees=1), Motion(degrees=-2)),
    "noise": (Motion(noise=2 / 255),),
    "brightness": (Motion(gain=0.97), Motion(gain=1.03)),
}


def positions(size: int, motion: Motion) -> Tensor:
    """Return the points of the first frame that are visible at the second frame's pixels.

    Args:
        size: Side length of the frames in pixels.
        motion: Motion between the frames.

    Returns:
        y and x in pixels from the centre, ``(size, size, 2)``.
    """
    line = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    y, x = torch.meshgrid(line, line, indexing="ij")
    angle = math.radians(motion.degrees)
    cosine, sine = math.cos(angle) / motion.zoom, math.sin(angle) / motion.zoom
    rows = cosine * y - sine * x + motion.dy
    columns = sine * y + cosine * x + motion.dx
    return torch.stack((rows, columns), dim=-1)


def sample(image: Tensor, where: Tensor) -> Tensor:
    """Sample an image bicubically at points relative to its centre, in pixels: ``(1, 3, h, w)``."""
    height, width = image.shape[-2:]
    grid = torch.stack((where[..., 1] / (width - 1), where[..., 0] / (height - 1)), dim=-1)
    return F.grid_sample(
        image, (2 * grid).float()[None], "bicubic", "border", align_corners=True
    ).clamp(0, 1)


def scene(path: Path, size: int) -> Tensor:
    """Load a photograph ``(1, 3, H, W)`` at twice the frames' resolution, with extra margins."""
    pixels = load_image(path)
    height, width = (
        round(2 * (size + 2 * ROOM) * length / min(pixels.shape[:2])) for length in pixels.shape[:2]
    )
    return to_tensor(resize(pixels, width=width, height=height))


def render(photo: Tensor, size: int, motion: Motion, rng: np.random.Generator) -> Pixels:
    """Render a frame ``(size, size, 3)``. Each pixel is the mean of 2 × 2 photograph pixels."""
    moved = positions(2 * size, motion._replace(dy=2 * motion.dy, dx=2 * motion.dx))
    frame = motion.gain * to_pixels(F.avg_pool2d(sample(photo, moved), 2))
    noise = motion.noise * rng.standard_normal(frame.shape) if motion.noise else 0
    clipped: Pixels = np.clip(frame + noise, 0, 1).astype(np.float32)
    return clipped


def difference(first: Pixels, second: Pixels, motion: Motion) -> Pixels:
    """Subtract the warped first result from the second, ``(h, w, 3)``; NaN at the borders."""
    size = len(first)
    where = positions(size, motion)
    inside = (where.abs() <= (size - 1) / 2 - MARGIN).all(dim=-1).numpy()
    inside[:MARGIN], inside[-MARGIN:], inside[:, :MARGIN], inside[:, -MARGIN:] = (False,) * 4
    error = second - to_pixels(sample(to_tensor(first), where))
    error[~inside] = np.nan
    return error


def sharpness(result: Pixels) -> float:
    """Return the mean gradient magnitude of the grey values, in 1/255 per pixel."""
    grey = result.mean(axis=2)
    rows, columns = np.diff(grey, axis=0)[:, 1:], np.diff(grey, axis=1)[1:]
    return 255 * float(np.hypot(rows, columns).mean())


@dataclass
class Figures:
    """Measurements of one network, or of the photographs themselves.

    Attributes:
        name: Name of the row.
        squares: Mean squared error for each kind of change.
        magnitudes: Mean absolute error for each kind of change.
        sharpness: Mean sharpness.
        losses: Content, style and total losses. Empty if unknown.
        shown: Images for the sheet.
    """

    name: str
    squares: dict[str, float]
    magnitudes: dict[str, float]
    sharpness: float
    losses: list[float]
    shown: list[Pixels]

    def rms(self, kind: str) -> float:
        """Return the root mean square error for one kind of change or for all, in 1/255."""
        kinds = KINDS if kind == "all" else (kind,)
        return 255 * math.sqrt(statistics.mean(self.squares[k] for k in kinds))

    def mean_absolute(self) -> float:
        """Return the mean absolute error for all kinds of change, in 1/255."""
        return 255 * statistics.mean(self.magnitudes.values())


def measure(
    name: str,
    stylizer: Stylizer | None,
    loss: PerceptualLoss | None,
    photos: Sequence[Tensor],
    size: int,
) -> Figures:
    """Stylise all pairs of frames and compare them."""
    errors: dict[str, list[Pixels]] = {kind: [] for kind in KINDS}
    gradients: list[float] = []
    losses: list[list[float]] = []
    shown: list[Pixels] = []
    for photo in photos:
        rng = np.random.default_rng(0)  # all networks get the same noise
        frame = render(photo, size, Motion(), rng)
        still = frame if stylizer is None else stylizer(frame)
        gradients.append(sharpness(still))
        if loss is not None:
            with torch.no_grad():
                terms = loss(to_tensor(still), loss.content_targets(to_tensor(frame)))
            losses.append([float(v) for v in (terms.content, terms.style, terms.total)])
        shown += [] if shown else [still]
        for kind, motions in KINDS.items():
            for motion in motions:
                first = (
                    render(photo, size, Motion(noise=motion.noise), rng) if motion.noise else None
                )
                second = render(photo, size, motion, rng)
                if stylizer is not None:
                    first, second = None if first is None else stylizer(first), stylizer(second)
                errors[kind].append(difference(still if first is None else first, second, motion))
        if len(shown) == 1:
            first_ones = (values[0] for values in errors.values())
            shown += [np.clip(AMPLIFIED * np.abs(np.nan_to_num(e)), 0, 1) for e in first_ones]
    return Figures(
        name,
        {k: float(np.mean([np.nanmean(e**2) for e in v])) for k, v in errors.items()},
        {k: float(np.mean([np.nanmean(np.abs(e)) for e in v])) for k, v in errors.items()},
        statistics.mean(gradients),
        [statistics.mean(column) for column in zip(*losses, strict=True)],
        shown,
    )


def table(photographs: Figures, networks: Sequence[Figures]) -> Table:
    """Return all measurements as a table, with ratios relative to the first network."""
    kinds = ("all", *KINDS)
    titles = ["", *(f"{kind} RMS" for kind in kinds), "all, mean absolute"]
    titles += ["sharpness", "to the photos'", "content", "style", "total"]
    lines = []
    for row in (photographs, *networks):
        cells = [row.name]
        for kind in kinds:
            ratio = (
                f" (×{row.rms(kind) / networks[0].rms(kind):.2f})" if row in networks[1:] else ""
            )
            cells.append(f"{row.rms(kind):.1f}{ratio}")
        cells += [f"{row.mean_absolute():.1f}", f"{row.sharpness:.1f}"]
        cells.append(f"{row.sharpness / photographs.sharpness:.2f}")
        cells += [f"{value:.3f}" for value in row.losses] or ["–"] * 3
        lines.append(cells)
    return Table(titles, lines)


def find_loss(stylizer: Stylizer, style: str | None) -> PerceptualLoss | None:
    """Return the calibrated measure for a network's style, if its image and VGG can be found."""
    try:
        return measure_for(load_image(find_picture(style or stylizer.info.name)), load_weights())
    except FststyleError as error:
        print(f"Cannot measure the losses of {stylizer.info.name}: {error}\n")
        return None


def main() -> None:
    """Measure, print the table, draw the sheet and write the record."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("networks", type=Path, nargs="+", metavar="STYLE_FILE")
    parser.add_argument("--photos", type=Path, help="folder from which held-out photos are used")
    parser.add_argument("--count", type=int, default=8, help="maximum number of photos (8)")
    parser.add_argument("--size", type=int, default=256, help="side of the frames (256)")
    parser.add_argument("--style", help="style image, if the name of the style does not find it")
    parser.add_argument("-o", "--output", type=Path, help="sheet of the differences to write")
    arguments = parser.parse_args()

    if arguments.photos is None:
        paths = builtin_held_out()
    else:
        held_out = (path for path in find_photos(arguments.photos) if is_held_out(path))
        paths = list(itertools.islice(held_out, arguments.count))
    if not paths or arguments.size < 64:
        parser.error("no held-out photos were found, or --size is less than 64")
    photos = [scene(path, arguments.size) for path in paths]
    photographs = measure("the photos themselves", None, None, photos, arguments.size)
    networks = []
    for file in arguments.networks:
        stylizer = Stylizer(file, device="cpu")
        loss = find_loss(stylizer, arguments.style)
        networks.append(measure("/".join(file.parts[-2:]), stylizer, loss, photos, arguments.size))
    print(f"{len(paths)} held-out photos, {arguments.size} pixels, errors in 1/255\n")
    found = table(photographs, networks)
    print(found)
    values = [
        {"name": f.name, "squares": f.squares, "magnitudes": f.magnitudes, "losses": f.losses}
        for f in (photographs, *networks)
    ]
    write_record("stability", values, {"stability": found}, arguments.records)
    if arguments.output is not None:
        titles = ["first frame", *(f"{kind} x {AMPLIFIED}" for kind in KINDS)]
        rows = [row.shown for row in (photographs, *networks)]
        save_photo(
            sheet(rows, titles=titles, cell_height=min(arguments.size, 256)), arguments.output
        )
        print(f"\nSheet: {arguments.output}")


if __name__ == "__main__":
    main()
