"""How steady are trained networks? Known camera motion, and how far the picture fails to follow.

    python scripts/bench/stability.py A.onnx B.onnx [--photos FOLDER] [--size 256] [-o sheet.png]

A camera looks at a held-out photograph at twice the frames' resolution. Each pair of its frames
differs by a motion that is known exactly: whole and fractional pans, zooms, rotations; or by
nothing but noise (sigma 2/255 in both frames) or brightness (3 %). Both frames are stylised on
their own, the first picture is warped by the motion (bicubic), and compared with the second one
away from the borders: the warping error, in 1/255. The first row is that of the photographs
themselves, which is the error of warping. All kinds count alike in the column "all".

Sharpness is the mean gradient magnitude of the pictures' grey values, in 1/255 per pixel: a
network could be steady by being dull. Content, style and total are on the calibrated measure.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fststyle.errors import FststyleError
from fststyle.images.bundled import builtin_held_out
from fststyle.images.load import find_photos, load_image
from fststyle.images.resize import resize
from fststyle.images.save import save_photo
from fststyle.images.sheets import sheet
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.measure import measure_for
from fststyle.perceptual.tensors import to_pixels, to_tensor
from fststyle.perceptual.vgg_weights import load_weights
from fststyle.styles.find import find_picture
from fststyle.stylize.stylizer import Stylizer
from fststyle.training.data import is_held_out

ROOM = 16  # pixels of the photograph around the frame, for the motions
MARGIN = 8  # pixels along the borders of both frames that do not count
AMPLIFIED = 4  # the sheet's differences

Pixels = NDArray[np.float32]


class Motion(NamedTuple):
    """From the first frame to the second: pixels, a factor, degrees, a factor, a sigma."""

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
    """Where the second frame's pixels lie in the first: ``(size, size, 2)``, y and x.

    In pixels from the frame's centre.
    """
    line = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    y, x = torch.meshgrid(line, line, indexing="ij")
    angle = math.radians(motion.degrees)
    cosine, sine = math.cos(angle) / motion.zoom, math.sin(angle) / motion.zoom
    rows = cosine * y - sine * x + motion.dy
    columns = sine * y + cosine * x + motion.dx
    return torch.stack((rows, columns), dim=-1)


def sample(image: Tensor, where: Tensor) -> Tensor:
    """Bicubic samples ``(1, 3, h, w)`` of an image at positions from its centre, in its pixels."""
    height, width = image.shape[-2:]
    grid = torch.stack((where[..., 1] / (width - 1), where[..., 0] / (height - 1)), dim=-1)
    return F.grid_sample(
        image, (2 * grid).float()[None], "bicubic", "border", align_corners=True
    ).clamp(0, 1)


def scene(path: Path, size: int) -> Tensor:
    """A photograph ``(1, 3, H, W)`` at twice the resolution of the frames, with room around."""
    pixels = load_image(path)
    height, width = (
        round(2 * (size + 2 * ROOM) * length / min(pixels.shape[:2])) for length in pixels.shape[:2]
    )
    return to_tensor(resize(pixels, width=width, height=height))


def film(photo: Tensor, size: int, motion: Motion, rng: np.random.Generator) -> Pixels:
    """A camera's frame ``(size, size, 3)``: each pixel is the mean of 2 by 2 of the photo's."""
    moved = positions(2 * size, motion._replace(dy=2 * motion.dy, dx=2 * motion.dx))
    frame = motion.gain * to_pixels(F.avg_pool2d(sample(photo, moved), 2))
    noise = motion.noise * rng.standard_normal(frame.shape) if motion.noise else 0
    clipped: Pixels = np.clip(frame + noise, 0, 1).astype(np.float32)
    return clipped


def difference(first: Pixels, second: Pixels, motion: Motion) -> Pixels:
    """The second picture less the warped first one, ``(h, w, 3)``; NaN where it does not count."""
    size = len(first)
    where = positions(size, motion)
    inside = (where.abs() <= (size - 1) / 2 - MARGIN).all(dim=-1).numpy()
    inside[:MARGIN], inside[-MARGIN:], inside[:, :MARGIN], inside[:, -MARGIN:] = (False,) * 4
    error = second - to_pixels(sample(to_tensor(first), where))
    error[~inside] = np.nan
    return error


def sharpness(picture: Pixels) -> float:
    """Mean gradient magnitude of the grey values, in 1/255 per pixel."""
    grey = picture.mean(axis=2)
    rows, columns = np.diff(grey, axis=0)[:, 1:], np.diff(grey, axis=1)[1:]
    return 255 * float(np.hypot(rows, columns).mean())


@dataclass
class Figures:
    """A network's (or, without one, the photographs'): squares and magnitudes by kind."""

    name: str
    squares: dict[str, float]
    magnitudes: dict[str, float]
    sharpness: float
    losses: list[float]
    shown: list[Pixels]

    def rms(self, kind: str) -> float:
        """Root mean square error in 1/255 of a kind, or of all."""
        kinds = KINDS if kind == "all" else (kind,)
        return 255 * math.sqrt(statistics.mean(self.squares[k] for k in kinds))

    def mean_absolute(self) -> float:
        """Mean absolute error in 1/255 of all kinds."""
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
        rng = np.random.default_rng(0)  # the same noise for all networks
        frame = film(photo, size, Motion(), rng)
        still = frame if stylizer is None else stylizer(frame)
        gradients.append(sharpness(still))
        if loss is not None:
            with torch.no_grad():
                terms = loss(to_tensor(still), loss.content_targets(to_tensor(frame)))
            losses.append([float(v) for v in (terms.content, terms.style, terms.total)])
        shown += [] if shown else [still]
        for kind, motions in KINDS.items():
            for motion in motions:
                first = film(photo, size, Motion(noise=motion.noise), rng) if motion.noise else None
                second = film(photo, size, motion, rng)
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


def table(photographs: Figures, networks: Sequence[Figures]) -> str:
    """All figures as a Markdown table; RMS errors, and their ratios to the first network's."""
    kinds = ("all", *KINDS)
    titles = ["", *(f"{kind} RMS" for kind in kinds), "all, mean absolute"]
    titles += ["sharpness", "to the photos'", "content", "style", "total"]
    lines = [titles, ["---"] * len(titles)]
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
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def find_loss(stylizer: Stylizer, style: str | None) -> PerceptualLoss | None:
    """The calibrated measure of a network's style, if its picture and VGG are here."""
    try:
        return measure_for(load_image(find_picture(style or stylizer.info.name)), load_weights())
    except FststyleError as error:
        print(f"No losses of {stylizer.info.name}: {error}\n")
        return None


def main() -> None:
    """Measure, print the table, draw the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", type=Path, nargs="+", metavar="STYLE_FILE")
    parser.add_argument("--photos", type=Path, help="a folder; of it, the held-out photos")
    parser.add_argument("--count", type=int, default=8, help="photos of the folder")
    parser.add_argument("--size", type=int, default=256, help="side of the frames")
    parser.add_argument("--style", help="the style's picture, where its name does not lead there")
    parser.add_argument("-o", "--output", type=Path, help="a sheet of the differences")
    arguments = parser.parse_args()

    if arguments.photos is None:
        paths = builtin_held_out()
    else:
        held_out = (path for path in find_photos(arguments.photos) if is_held_out(path))
        paths = list(itertools.islice(held_out, arguments.count))
    if not paths or arguments.size < 64:
        parser.error("there must be a held-out photo, and 64 pixels or more of --size")
    photos = [scene(path, arguments.size) for path in paths]
    photographs = measure("the photos themselves", None, None, photos, arguments.size)
    networks = []
    for file in arguments.networks:
        stylizer = Stylizer(file, device="cpu")
        loss = find_loss(stylizer, arguments.style)
        networks.append(measure("/".join(file.parts[-2:]), stylizer, loss, photos, arguments.size))
    print(f"{len(paths)} held-out photos, {arguments.size} pixels, errors in 1/255\n")
    print(table(photographs, networks))
    if arguments.output is not None:
        titles = ["first frame", *(f"{kind} x {AMPLIFIED}" for kind in KINDS)]
        rows = [row.shown for row in (photographs, *networks)]
        save_photo(
            sheet(rows, titles=titles, cell_height=min(arguments.size, 256)), arguments.output
        )
        print(f"\nSheet: {arguments.output}")


if __name__ == "__main__":
    main()
