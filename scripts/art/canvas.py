"""A drawing sheet, and the brushes, textures and curves shared by the artworks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw
from scipy.interpolate import splev, splprep
from scipy.ndimage import gaussian_filter, map_coordinates

Array = NDArray[np.floating[Any]]
Window = tuple[slice, slice]
Points = NDArray[np.float64]

SUPERSAMPLE = 2
EVERYWHERE: Window = (slice(None), slice(None))


def rgb(*codes: str) -> Array:
    """Convert hex codes such as ``"ffcc00"`` to rows of red, green and blue in 0..1."""
    return np.array([list(bytes.fromhex(code)) for code in codes], np.float32) / 255


def smoothstep(low: ArrayLike, high: ArrayLike, value: ArrayLike) -> Array:
    """Rise smoothly from 0 at ``low`` to 1 at ``high``, which may be smaller than ``low``."""
    low, high, value = (np.asarray(item, np.float32) for item in (low, high, value))
    step = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(step * step * (3 - 2 * step), np.float32)


def ramp(colours: Array, tone: ArrayLike) -> Array:
    """Look up tones in 0..1 on a scale of evenly spaced colours."""
    stops = np.linspace(0, 1, len(colours))
    channels = [np.interp(np.asarray(tone), stops, colours[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def hatch(phase: Array, period: float, thickness: ArrayLike) -> Array:
    """Draw parallel lines across ``phase``; ``thickness`` is the inked fraction in 0..1."""
    offset = np.abs((phase / period) % 1 - 0.5) * 2
    soft = 1.2 / period
    inked = np.asarray(thickness, np.float32)
    return smoothstep(inked + soft, inked - soft, offset)


def halftone(x: Array, y: Array, pitch: float, angle: float, tone: ArrayLike) -> Array:
    """Print round dots on a rotated grid. The dots are larger where ``tone`` is higher."""
    u = (x * math.cos(angle) + y * math.sin(angle)) / pitch
    v = (y * math.cos(angle) - x * math.sin(angle)) / pitch
    distance = np.hypot(u % 1 - 0.5, v % 1 - 0.5) * pitch
    radius = pitch * 0.6 * np.sqrt(np.clip(tone, 0, 1)) - 0.4
    return smoothstep(radius + 0.7, radius - 0.7, distance)


def curve(points: ArrayLike, count: int = 200) -> Points:
    """Return a smooth curve through a few points."""
    xs, ys = np.asarray(points, np.float64).T
    knots, _ = splprep([xs, ys], s=0, k=min(3, len(xs) - 1))
    return np.stack(splev(np.linspace(0, 1, count), knots), axis=1)


def densify(points: ArrayLike, step: float = 3.0, closed: bool = True) -> Points:
    """Add points along a path so that neighbouring points are about ``step`` apart."""
    path = np.asarray(points, np.float64)
    if closed:
        path = np.vstack([path, path[:1]])
    lengths = np.hypot(*np.diff(path, axis=0).T)
    travelled = np.concatenate([[0.0], np.cumsum(lengths)])
    stops = np.linspace(0, travelled[-1], max(2, int(travelled[-1] / step)))
    return np.stack([np.interp(stops, travelled, path[:, axis]) for axis in (0, 1)], axis=1)


class Sheet:
    """A supersampled drawing sheet. All lengths are in pixels of the finished image."""

    def __init__(self, width: int, height: int, seed: int, sway: float = 2.0) -> None:
        """Create a blank sheet. Edges look hand-drawn and deviate by about ``sway`` pixels."""
        self.size = (width, height)
        self.shape = (height * SUPERSAMPLE, width * SUPERSAMPLE)
        self.rng = np.random.default_rng(seed)
        rows, columns = (np.arange(n, dtype=np.float32) / SUPERSAMPLE for n in self.shape)
        self.y, self.x = (
            np.ascontiguousarray(a) for a in np.meshgrid(rows, columns, indexing="ij")
        )
        self.pixels: Array = np.zeros((*self.shape, 3), np.float32)
        self.sway = [(self.noise(36, octaves=3) - 0.5) * 4 * sway for _ in range(2)]

    def noise(self, across: float, down: float | None = None, octaves: int = 3) -> Array:
        """Make cloudy noise in 0..1 with blobs of about ``across`` by ``down`` pixels."""
        height, width = self.shape
        total: Array = np.zeros(self.shape, np.float32)
        for octave in range(octaves):
            share = 0.5**octave
            cells = (
                int(self.size[0] / (across * share)) + 4,
                int(self.size[1] / ((down or across) * share)) + 4,
            )
            grid = Image.fromarray(self.rng.standard_normal(cells[::-1]).astype(np.float32))
            box = (1, 1, cells[0] - 1, cells[1] - 1)
            cloud = grid.resize((width, height), Image.Resampling.BICUBIC, box)
            total += np.asarray(cloud) * share
        total *= 0.22 / total.std()
        return np.clip(total + 0.5, 0, 1, out=total)

    def streaks(self, along: Array, across: Array, length: float, width: float) -> Array:
        """Make noise that is stretched along one coordinate, like brush or chisel marks."""
        table = self.rng.random((257, 257)).astype(np.float32)
        coarse = map_coordinates(table, [across / width, along / length], order=1, mode="wrap")
        fine = map_coordinates(
            table, [across / width * 2.7 + 91, along / length * 1.9], order=1, mode="wrap"
        )
        return np.asarray(0.6 * coarse + 0.4 * fine, np.float32)

    def paint(self, colour: Array, mask: ArrayLike, window: Window = EVERYWHERE) -> None:
        """Lay ``colour`` (one colour, or one per pixel) over the sheet where ``mask`` is high."""
        cover = np.asarray(mask, np.float32)[..., None]
        area = self.pixels[window]
        area += (colour - area) * cover

    def glow(self, colour: Array, light: Array, window: Window = EVERYWHERE) -> None:
        """Add light without overexposure (a screen blend)."""
        area = self.pixels[window]
        area += (1 - area) * colour * light[..., None]

    def roughen(self, points: ArrayLike, closed: bool = True) -> Points:
        """Displace a path by the sheet's sway. Paths that share an edge stay aligned."""
        path = densify(points, closed=closed)
        place = path.T[::-1] * SUPERSAMPLE
        moved = [map_coordinates(s, place, order=1, mode="nearest") for s in self.sway]
        return np.asarray(path + np.stack(moved, axis=1), np.float64)

    def window(self, points: Points, margin: float = 2.0) -> Window:
        """Find the part of the sheet that contains all ``points``."""
        low = np.maximum((points.min(axis=0) - margin) * SUPERSAMPLE, 0).astype(int)
        high = np.maximum((points.max(axis=0) + margin) * SUPERSAMPLE, low + 1).astype(int)
        limit = self.shape[1] - 1, self.shape[0] - 1
        left, top = (int(min(low[i], limit[i])) for i in (0, 1))
        return slice(top, max(int(high[1]), top + 1)), slice(left, max(int(high[0]), left + 1))

    def region(self, points: ArrayLike) -> tuple[Window, Array]:
        """Return the window and the mask of a polygon with rough edges."""
        path = self.roughen(points)
        window = self.window(path)
        image, origin = self.blank(window)
        flat = ((path - origin) * SUPERSAMPLE).ravel().tolist()
        ImageDraw.Draw(image).polygon(flat, fill=255)
        return window, np.asarray(image, np.float32) / 255

    def stroke(
        self, paths: Sequence[ArrayLike], colour: Array, width: float, taper: bool = False
    ) -> None:
        """Draw brush lines of varying width. Tapered lines are thin at both ends."""
        rough = [densify(self.roughen(path, closed=False), 0.8, closed=False) for path in paths]
        window = self.window(np.vstack(rough), margin=width)
        image, origin = self.blank(window)
        pen = ImageDraw.Draw(image)
        for path in rough:
            swell = np.repeat(self.rng.uniform(0.75, 1.25, len(path) // 12 + 2), 12)
            radii = gaussian_filter(swell, 6)[: len(path)] * width / 2
            if taper:
                radii = radii * np.sin(np.linspace(0.12, math.pi - 0.12, len(path))) ** 0.7
            for (x, y), r in zip((path - origin) * SUPERSAMPLE, radii * SUPERSAMPLE, strict=True):
                pen.ellipse((x - r, y - r, x + r, y + r), fill=255)
        self.paint(colour, np.asarray(image, np.float32) / 255, window)

    def blank(self, window: Window) -> tuple[Image.Image, Points]:
        """Return an empty mask for a window, and the position of the window's upper left corner."""
        area = self.x[window]
        corner = np.array([self.x[window][0, 0], self.y[window][0, 0]], np.float64)
        return Image.new("L", area.shape[::-1]), corner

    def finish(self, grain: float) -> Image.Image:
        """Shrink the sheet to its final size and sprinkle it with grain."""
        levels = np.round(np.clip(self.pixels, 0, 1) * 255).astype(np.uint8)
        small = Image.fromarray(levels).resize(self.size, Image.Resampling.LANCZOS)
        final = np.asarray(small, np.float32)
        speck = gaussian_filter(self.rng.standard_normal(final.shape[:2]), 0.6)[..., None]
        final = final + speck.astype(np.float32) * grain * 255
        return Image.fromarray(np.clip(np.round(final), 0, 255).astype(np.uint8))


def dry_brush(sheet: Sheet, along: Array, across: Array, cover: float) -> Array:
    """Return a mask of a dry brush's broken marks that cover a fraction of the surface."""
    bristles = sheet.streaks(along, across, 90, 3.2)
    patches = sheet.noise(70, octaves=3)
    return smoothstep(0.62, 0.78, bristles * 0.6 + patches * 0.5 + cover - 0.25)
