"""Draw the project's own style pictures, the same bytes on every run."""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw
from scipy.interpolate import splev, splprep
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import Delaunay, cKDTree

Array = NDArray[np.floating[Any]]
Window = tuple[slice, slice]
Points = NDArray[np.float64]

SUPERSAMPLE = 2
MAX_BYTES = 480_000
DEFAULT_OUTPUT = Path(__file__).resolve().parents[2] / "fststyle" / "art"
EVERYWHERE: Window = (slice(None), slice(None))


def rgb(*codes: str) -> Array:
    """Turn hex codes such as ``"ffcc00"`` into rows of red, green and blue in 0..1."""
    return np.array([list(bytes.fromhex(code)) for code in codes], np.float32) / 255


def smoothstep(low: ArrayLike, high: ArrayLike, value: ArrayLike) -> Array:
    """Rise smoothly from 0 at ``low`` to 1 at ``high`` (which may be the smaller one)."""
    low, high, value = (np.asarray(item, np.float32) for item in (low, high, value))
    step = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(step * step * (3 - 2 * step), np.float32)


def ramp(colours: Array, tone: ArrayLike) -> Array:
    """Look up tones in 0..1 on a scale of evenly spaced colours."""
    stops = np.linspace(0, 1, len(colours))
    channels = [np.interp(np.asarray(tone), stops, colours[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def hatch(phase: Array, period: float, thickness: ArrayLike) -> Array:
    """Rule parallel lines across ``phase``; ``thickness`` is the inked share in 0..1."""
    offset = np.abs((phase / period) % 1 - 0.5) * 2
    soft = 1.2 / period
    inked = np.asarray(thickness, np.float32)
    return smoothstep(inked + soft, inked - soft, offset)


def halftone(x: Array, y: Array, pitch: float, angle: float, tone: ArrayLike) -> Array:
    """Print round dots on a turned grid, larger where ``tone`` is higher."""
    u = (x * math.cos(angle) + y * math.sin(angle)) / pitch
    v = (y * math.cos(angle) - x * math.sin(angle)) / pitch
    distance = np.hypot(u % 1 - 0.5, v % 1 - 0.5) * pitch
    radius = pitch * 0.6 * np.sqrt(np.clip(tone, 0, 1)) - 0.4
    return smoothstep(radius + 0.7, radius - 0.7, distance)


def curve(points: ArrayLike, count: int = 200) -> Points:
    """Run a smooth curve through a few points."""
    xs, ys = np.asarray(points, np.float64).T
    knots, _ = splprep([xs, ys], s=0, k=min(3, len(xs) - 1))
    return np.stack(splev(np.linspace(0, 1, count), knots), axis=1)


def densify(points: ArrayLike, step: float = 3.0, closed: bool = True) -> Points:
    """Add points along a path so that neighbours lie about ``step`` apart."""
    path = np.asarray(points, np.float64)
    if closed:
        path = np.vstack([path, path[:1]])
    lengths = np.hypot(*np.diff(path, axis=0).T)
    travelled = np.concatenate([[0.0], np.cumsum(lengths)])
    stops = np.linspace(0, travelled[-1], max(2, int(travelled[-1] / step)))
    return np.stack([np.interp(stops, travelled, path[:, axis]) for axis in (0, 1)], axis=1)


class Sheet:
    """A supersampled sheet to draw on; every length is in pixels of the finished picture."""

    def __init__(self, width: int, height: int, seed: int, sway: float = 2.0) -> None:
        """Lay out a blank sheet whose hand-drawn edges stray by about ``sway`` pixels."""
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
        """Make noise drawn out along one coordinate, as by a brush or a chisel."""
        table = self.rng.random((257, 257)).astype(np.float32)
        coarse = map_coordinates(table, [across / width, along / length], order=1, mode="wrap")
        fine = map_coordinates(
            table, [across / width * 2.7 + 91, along / length * 1.9], order=1, mode="wrap"
        )
        return np.asarray(0.6 * coarse + 0.4 * fine, np.float32)

    def paint(self, colour: Array, mask: ArrayLike, window: Window = EVERYWHERE) -> None:
        """Lay ``colour`` (one, or one per pixel) over the sheet where ``mask`` is high."""
        cover = np.asarray(mask, np.float32)[..., None]
        area = self.pixels[window]
        area += (colour - area) * cover

    def glow(self, colour: Array, light: Array, window: Window = EVERYWHERE) -> None:
        """Add light without burning out (a screen blend)."""
        area = self.pixels[window]
        area += (1 - area) * colour * light[..., None]

    def roughen(self, points: ArrayLike, closed: bool = True) -> Points:
        """Displace a path by the sheet's sway, equally for paths that share an edge."""
        path = densify(points, closed=closed)
        place = path.T[::-1] * SUPERSAMPLE
        moved = [map_coordinates(s, place, order=1, mode="nearest") for s in self.sway]
        return np.asarray(path + np.stack(moved, axis=1), np.float64)

    def window(self, points: Points, margin: float = 2.0) -> Window:
        """Find the part of the sheet that holds all ``points``."""
        low = np.maximum((points.min(axis=0) - margin) * SUPERSAMPLE, 0).astype(int)
        high = np.maximum((points.max(axis=0) + margin) * SUPERSAMPLE, low + 1).astype(int)
        limit = self.shape[1] - 1, self.shape[0] - 1
        left, top = (int(min(low[i], limit[i])) for i in (0, 1))
        return slice(top, max(int(high[1]), top + 1)), slice(left, max(int(high[0]), left + 1))

    def region(self, points: ArrayLike) -> tuple[Window, Array]:
        """Cut out a rough-edged polygon: its window and its mask."""
        path = self.roughen(points)
        window = self.window(path)
        image, origin = self.blank(window)
        flat = ((path - origin) * SUPERSAMPLE).ravel().tolist()
        ImageDraw.Draw(image).polygon(flat, fill=255)
        return window, np.asarray(image, np.float32) / 255

    def stroke(
        self, paths: Sequence[ArrayLike], colour: Array, width: float, taper: bool = False
    ) -> None:
        """Draw brush lines whose width swells and shrinks, thin at both ends if tapered."""
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
        """Make an empty mask for a window, with the place of its upper left corner."""
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
    """Mask the broken bristle marks of an almost empty brush, ``cover`` of the surface."""
    bristles = sheet.streaks(along, across, 90, 3.2)
    patches = sheet.noise(70, octaves=3)
    return smoothstep(0.62, 0.78, bristles * 0.6 + patches * 0.5 + cover - 0.25)


# --- thanos_poster -----------------------------------------------------------------------

INK = rgb("0b0524")[0]
PALE = rgb("fff0bd")[0]
VIOLET_RAMP = rgb("0b0524", "22095e", "4a1a9e", "8444d6", "c79bff", "fff0bd")
GOLD_RAMP = rgb("1d0838", "7a2b1f", "cf7a12", "f5b82e", "ffe27a", "fff6d2")
TEAL_RAMP = rgb("08082e", "043f5c", "07808c", "19b8ad", "7fe8d0", "f2ffe6")
GEM_RAMPS = (
    rgb("2b0a00", "a33a00", "ff8a1f", "ffd9a0", "fffdf0"),
    rgb("2b0016", "9c0d3c", "f2385a", "ffb0b0", "fffdf0"),
    rgb("1a0038", "6a0fb8", "b64dff", "e6bdff", "fffdf0"),
    rgb("00103a", "0a4ac2", "2f95ff", "b0dcff", "fffdf0"),
    rgb("002018", "00835a", "22d98c", "b8ffd0", "fffdf0"),
    rgb("2b1a00", "b07a00", "ffd21f", "fff2a0", "fffdf0"),
)
FOCUS = (384.0, 398.0)

# The right half of the titan's face: x from the axis of symmetry, y on the sheet.
FACE: dict[str, tuple[float, float]] = {
    "a": (0, 300), "b": (46, 288), "c": (86, 316), "d": (103, 374), "e": (108, 438),
    "f": (98, 500), "g": (74, 566), "h": (40, 604), "i": (0, 612), "j": (0, 392),
    "k": (36, 366), "l": (9, 420), "m": (94, 400), "n": (23, 484), "o": (0, 502),
    "p": (34, 434), "q": (82, 424), "r": (60, 502), "s": (30, 530), "t": (0, 526),
}  # fmt: skip
FACE_FACETS = (
    ("abkj", 0.52), ("bcdk", 0.66), ("jkdml", 0.20), ("jlno", 0.62), ("lprn", 0.34),
    ("pqer", 0.74), ("mdeq", 0.40), ("regf", 0.46), ("onrst", 0.28), ("tsrgh", 0.56),
    ("tshi", 0.72), ("rfg", 0.38),
)  # fmt: skip
DIADEM = ("abkj", "bcdk")
SHARDS = (
    (0, 350, 0, 116, 27),
    (34, 350, 74, 150, 24),
    (64, 356, 138, 204, 22),
    (88, 372, 184, 276, 18),
)
TORSO = (
    (0, 560), (66, 560), (104, 628), (176, 604), (216, 560), (262, 470), (284, 566),
    (330, 520), (346, 612), (390, 600), (400, 1040), (0, 1040),
)  # fmt: skip


class Facet(NamedTuple):
    """One flat plane of a crystal or a stone."""

    points: Points
    colours: Array
    tone: float
    angle: float


def paint_facet(sheet: Sheet, facet: Facet, period: float = 9.0) -> None:
    """Fill a facet with a graded tone and hatch it with engraved lines."""
    window, mask = sheet.region(facet.points)
    x, y = sheet.x[window], sheet.y[window]
    across = x * math.cos(facet.angle) + y * math.sin(facet.angle)
    along = y * math.cos(facet.angle) - x * math.sin(facet.angle)
    low, high = along.min(), along.max()
    tone = facet.tone + 0.34 * ((along - low) / (high - low + 1) - 0.5)
    tone += 0.10 * (sheet.streaks(along, across, 60, 2.5) - 0.5)
    wavy = across + sheet.sway[0][window] * 0.6
    sheet.paint(ramp(facet.colours, tone), mask, window)
    dark = hatch(wavy, period, np.clip(0.62 - 0.62 * tone, 0.08, 0.6))
    sheet.paint(ramp(facet.colours, tone - 0.34), mask * dark, window)
    light = hatch(wavy + period / 2, period, np.clip(tone * 0.5 - 0.06, 0.0, 0.4))
    sheet.paint(ramp(facet.colours, tone + 0.24), mask * light, window)


def outline(sheet: Sheet, shapes: Sequence[Points], colour: Array, width: float) -> None:
    """Draw the closed contours of some polygons."""
    sheet.stroke([np.vstack([shape, shape[:1]]) for shape in shapes], colour, width)


def mirrored(points: ArrayLike, side: int) -> Points:
    """Put points given relative to the axis on the left (-1) or right (1) side."""
    return np.asarray(points, np.float64) * (side, 1) + (FOCUS[0], 0)


def draw_rays(sheet: Sheet) -> None:
    """Burst rays out of the focus, each with brushed bristles and dots of its own."""
    x, y = sheet.x - FOCUS[0] + sheet.sway[0], sheet.y - FOCUS[1] + sheet.sway[1]
    radius, angle = np.hypot(x, y), np.arctan2(y, x) + np.float32(math.pi)
    widths = np.tile([1.3, 0.7, 1.0, 0.6], 13) * sheet.rng.uniform(0.7, 1.3, 52)
    edges = np.cumsum(widths) / widths.sum() * 2 * math.pi
    ray = np.minimum(np.searchsorted(edges, angle), len(edges) - 1)
    scales = np.stack([VIOLET_RAMP, TEAL_RAMP, VIOLET_RAMP, GOLD_RAMP])
    tones = np.array([0.22, 0.42, 0.46, 0.66])
    bristles = sheet.streaks(radius, angle * 320, 120, 3.0)
    tone = tones[ray % 4] + 0.5 * (bristles - 0.5) + 0.12 * (1 - radius / 420)
    dots = halftone(x, y, 15, 0.5, smoothstep(180, 640, radius) * 0.75 + 0.08)
    for kind, colours in enumerate(scales):
        here = (ray % 4 == kind).astype(np.float32)
        sheet.paint(ramp(colours, tone), here)
        sheet.paint(ramp(colours, tone + (0.36 if kind in (0, 2) else -0.34)), here * dots)
    borders = np.concatenate([[0.0], edges])
    gap = np.minimum(np.abs(angle - borders[ray]), np.abs(borders[ray + 1] - angle)) * radius
    sheet.paint(INK, smoothstep(2.8, 1.6, gap + 1.2 * sheet.noise(20)))


def draw_halo(sheet: Sheet) -> None:
    """Set a zigzag ring and a dotted, toothed sun behind the titan."""
    x, y = sheet.x - FOCUS[0] + sheet.sway[0], sheet.y - FOCUS[1] + sheet.sway[1]
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    bristles = sheet.streaks(angle * 260, radius, 80, 3.0)
    teeth = np.abs((angle * 36 / math.pi) % 1 - 0.5) * 2
    ring = smoothstep(328, 326, radius)
    sheet.paint(ramp(VIOLET_RAMP, 0.12 + 0.35 * bristles), ring)
    sheet.paint(
        ramp(TEAL_RAMP, 0.3 + 0.5 * bristles),
        ring * smoothstep(-1.5, 1.5, 322 - 48 * teeth - radius),
    )
    sheet.paint(
        ramp(GOLD_RAMP, 0.4 + 0.5 * bristles),
        ring * smoothstep(-1.5, 1.5, 296 - 40 * teeth - radius),
    )
    for edge in (328.0, 250.0):
        sheet.paint(INK, smoothstep(6.5, 5, np.abs(radius - edge)))
        sheet.paint(
            ramp(GOLD_RAMP, 0.6 + 0.4 * bristles), smoothstep(2.6, 1.6, np.abs(radius - edge))
        )
    disc = smoothstep(246, 244, radius)
    spikes = np.abs((angle * 22 / math.pi) % 1 - 0.5) * 2
    tone = 0.98 - radius / 520 + 0.28 * (bristles - 0.5)
    sheet.paint(ramp(GOLD_RAMP, tone), disc)
    sheet.paint(ramp(GOLD_RAMP, tone - 0.2), disc * smoothstep(-2, 2, radius - 150 - 80 * spikes))
    wells = halftone(radius, angle * 130, 11, 0.0, smoothstep(120, 250, radius + 0.35 * y))
    sheet.paint(ramp(GOLD_RAMP, tone - 0.55), disc * wells)
    rim = np.abs(radius - 150 - 80 * spikes)
    sheet.paint(INK, disc * smoothstep(3.2, 2.0, rim / 3.2))


def torso_facets(sheet: Sheet) -> list[Facet]:
    """Break the shoulders and chest into jagged planes lit from the sun."""
    facets: list[Facet] = []
    border = densify(TORSO, 58)
    grid = np.stack(np.meshgrid(np.arange(20, 400, 62), np.arange(640, 1040, 66)), -1)
    inner = grid.reshape(-1, 2) + sheet.rng.uniform(-22, 22, (grid.size // 2, 2))
    points = np.vstack([np.asarray(TORSO, np.float64), border, inner])
    limit = np.interp(points[:, 0], *np.asarray(TORSO[1:11], np.float64).T)
    points = points[points[:, 1] >= limit - 1]
    for corners in points[Delaunay(points).simplices]:
        cx, cy = corners.mean(axis=0)
        roof = np.interp(cx, *np.asarray(TORSO[1:11], np.float64).T)
        if cy < roof:
            continue
        for side in (-1, 1):
            tone = 0.64 - (cy - roof) / 1300 + sheet.rng.uniform(-0.26, 0.26) + 0.04 * side
            colours = (VIOLET_RAMP, VIOLET_RAMP, TEAL_RAMP)[sheet.rng.integers(3)]
            facets.append(Facet(mirrored(corners, side), colours, tone, sheet.rng.uniform(0, 3)))
    return facets


def draw_titan(sheet: Sheet) -> None:
    """Raise an angular stone giant with a crown of crystal shards."""
    torso = torso_facets(sheet)
    for facet in torso:
        paint_facet(sheet, facet, 10)
    outline(sheet, [facet.points for facet in torso], INK, 3.4)
    outline(sheet, [mirrored(TORSO, side) for side in (-1, 1)], INK, 7)
    draw_collar(sheet)
    for shard in reversed(SHARDS):
        for side in (-1, 1):
            draw_shard(sheet, *shard, side)
    for names, tone in FACE_FACETS:
        for side in (-1, 1):
            plane = mirrored([FACE[name] for name in names], side)
            lean = side * (0.4 + 2.2 * tone)
            colours = GOLD_RAMP if names in DIADEM else VIOLET_RAMP
            paint_facet(sheet, Facet(plane, colours, tone + 0.07 * side, lean), 8)
            outline(sheet, [plane], INK, 3.6)
    for side in (-1, 1):
        outline(sheet, [mirrored([FACE[name] for name in "abcdefghi"], side)], INK, 5)
        eye = mirrored([(14, 424), (88, 405), (78, 421), (36, 431)], side)
        window, mask = sheet.region(eye)
        sheet.paint(PALE, mask, window)
        outline(sheet, [eye], INK, 4)
    sheet.stroke([mirrored([(-30, 531), (0, 526), (30, 531)], 1)], INK, 7)


def draw_shard(
    sheet: Sheet, x: float, y: float, tip: float, top: float, width: float, side: int
) -> None:
    """Grow one crystal of the crown: a long kite with a lit and a shaded half."""
    lean = np.array([tip - x, top - y]) / math.hypot(tip - x, top - y)
    waist = np.array([x, y]) + 0.62 * np.array([tip - x, top - y])
    for turn, tone in ((1, 0.74), (-1, 0.40)):
        corner = waist + turn * width * np.array([lean[1], -lean[0]])
        half = mirrored([(x, y), (corner[0], corner[1]), (tip, top)], side)
        paint_facet(sheet, Facet(half, TEAL_RAMP, tone, 0.9 * turn * side), 8)
        outline(sheet, [half], INK, 3.6)


def draw_collar(sheet: Sheet) -> None:
    """Hang gold chevrons over the chest."""
    for row, tone in enumerate((0.78, 0.56, 0.40)):
        drop = row * 74
        for side in (-1, 1):
            for inner, outer in ((0, 62), (62, 128 + 10 * row)):
                y0, y1 = 742 - inner * 1.0 + drop, 742 - outer * 1.0 + drop
                band = mirrored(
                    [(inner, y0), (outer, y1), (outer + 4, y1 + 44), (inner, y0 + 48)], side
                )
                paint_facet(sheet, Facet(band, GOLD_RAMP, tone + 0.1 * side, side * 0.75), 9)
                outline(sheet, [band], INK, 5)


def draw_gem(sheet: Sheet, x: float, y: float, size: float, colours: Array) -> None:
    """Cut one glowing gem: eight outer facets round a bright table."""
    around = np.linspace(0, 2 * math.pi, 9)[:-1] + math.pi / 8
    unit = np.stack([np.cos(around) * 0.86, np.sin(around)], axis=1)
    rim, table = unit * size + (x, y), unit * size * 0.52 + (x, y)
    window = sheet.window(rim, margin=size * 1.6)
    distance = np.hypot(sheet.x[window] - x, sheet.y[window] - y) / size
    sheet.glow(colours[2], np.exp(-((distance / 1.25) ** 2)), window)
    bearing = np.arctan2(sheet.y[window] - y, sheet.x[window] - x)
    beams = 0.7 * hatch(bearing, math.pi / 12, 0.3)
    sheet.paint(colours[3], beams * smoothstep(2.1, 1.0, distance), window)
    for i in range(8):
        j = (i + 1) % 8
        tone = 0.5 - 0.38 * math.sin(around[i] + 0.9)
        plane = np.array([rim[i], rim[j], table[j], table[i]])
        paint_facet(sheet, Facet(plane, colours, tone, around[i]), 6)
        outline(sheet, [plane], INK, 2.4)
    paint_facet(sheet, Facet(table, colours, 0.66, 0.7), 8)
    outline(sheet, [table], INK, 2.4)
    outline(sheet, [rim], INK, 5.5)
    sheet.stroke([[(x - size * 0.3, y - size * 0.1), (x - size * 0.05, y - size * 0.36)]], PALE, 4)


def thanos_poster() -> Image.Image:
    """Draw a stone titan before a sun, under six gems, as a cosmic poster."""
    sheet = Sheet(768, 1024, seed=61, sway=1.5)
    draw_rays(sheet)
    draw_halo(sheet)
    draw_titan(sheet)
    for degrees, colours in zip((-82, -52, -21, 21, 52, 82), GEM_RAMPS, strict=True):
        turn = math.radians(degrees)
        gem = FOCUS[0] + 289 * math.sin(turn), FOCUS[1] - 289 * math.cos(turn)
        draw_gem(sheet, *gem, 36, colours)
    slant = sheet.x * 0.94 + sheet.y * 0.34, sheet.y * 0.94 - sheet.x * 0.34
    sheet.paint(PALE, 0.26 * dry_brush(sheet, *slant, 0.12))
    sheet.paint(INK, 0.5 * dry_brush(sheet, slant[1], slant[0], 0.08))
    return sheet.finish(grain=0.035)


# --- stained_glass -----------------------------------------------------------------------

GLASS = rgb(
    "a80f26", "c8102e", "7c0a2a", "0d3aa9", "1554d1", "0a2472", "0b7a4b", "13a05f",
    "f09a12", "f7bf2e", "0f8fb0", "6a1b8a",
)  # fmt: skip
ZONE_GLASS = (
    (8, 9),
    (0, 1, 8),
    (3, 4, 10),
    (8, 0, 1, 9),
    (3, 4, 5, 10, 7, 11, 9),
    (6, 0, 3, 0, 8, 11, 2),
)
ROSE = (512.0, 512.0)
LEAD = 4.2


def rose_zones(radius: Array, angle: Array) -> tuple[NDArray[np.int64], Array]:
    """Divide the window into scalloped rings: the ring of each pixel, the gap to its edge."""
    petals = [
        np.full_like(radius, 62.0),
        148 + 34 * np.abs(np.sin(angle * 6)),
        np.full_like(radius, 216.0),
        268 + 44 * np.abs(np.sin(angle * 8)),
        np.full_like(radius, 452.0),
    ]
    zone = np.zeros(radius.shape, np.int64)
    gap = np.full_like(radius, 1e3)
    for edge in petals:
        slope = np.hypot(1, np.gradient(edge, axis=1) * SUPERSAMPLE) if edge.std() else 1.0
        zone += radius > edge
        gap = np.minimum(gap, 0.75 * np.abs(radius - edge) / slope)
    return zone, gap


def glass_seeds(rng: np.random.Generator) -> Points:
    """Scatter the centres of the pieces: rings round the rose, then looser ones."""
    seeds = [(0.0, 0.0)]
    rings = (
        (40, 8, 0.1),
        (128, 12, 0.0),
        (196, 24, 0.1),
        (246, 16, 0.0),
        (340, 26, 0.3),
        (408, 34, 0.3),
    )
    for radius, count, jitter in rings:
        for i in range(count):
            turn = (i + 0.5 + rng.uniform(-jitter, jitter)) / count * 2 * math.pi
            out = radius * (1 + rng.uniform(-jitter, jitter) * 0.3)
            seeds.append((out * math.cos(turn), out * math.sin(turn)))
    loose = rng.uniform(-540, 540, (700, 2))
    for point in loose[np.hypot(*loose.T) > 470]:
        if min(math.dist(point, seed) for seed in seeds) > 52:
            seeds.append((float(point[0]), float(point[1])))
    return np.array(seeds)


def lead_lines(sheet: Sheet, gap: Array) -> None:
    """Raise the lead: dark rounded bars, lit from the upper left."""
    sheet.paint(rgb("050308")[0], 0.6 * smoothstep(LEAD + 4.5, LEAD, gap))
    height = np.sqrt(np.clip(1 - (gap / (LEAD + 0.8)) ** 2, 0, 1))
    height += 0.35 * (sheet.noise(7, octaves=2) - 0.5)
    down, right = np.gradient(gaussian_filter(height, 1.2))
    shine = np.clip(-(down + right) * 6.0 - 0.2, 0, 1) * (0.4 + sheet.noise(24))
    metal = ramp(rgb("08070c", "17161f", "5d6172", "d9dfe6"), 0.16 + shine)
    sheet.paint(metal, smoothstep(LEAD + 0.8, LEAD - 0.4, gap))


def stained_glass() -> Image.Image:
    """Draw a rose window of leaded glass in jewel colours."""
    sheet = Sheet(1024, 1024, seed=23, sway=2.2)
    x, y = sheet.x - ROSE[0] + sheet.sway[0], sheet.y - ROSE[1] + sheet.sway[1]
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    zone, gap = rose_zones(radius, angle)
    seeds = glass_seeds(sheet.rng)
    place = np.stack([x, y], axis=-1)
    reach, near = cKDTree(seeds).query(place, k=2)
    apart = np.hypot(*(seeds[near[..., 0]] - seeds[near[..., 1]]).transpose(2, 0, 1))
    gap = np.minimum(
        gap, ((reach[..., 1] ** 2 - reach[..., 0] ** 2) / (2 * apart)).astype(np.float32)
    )
    piece = near[..., 0] * len(ZONE_GLASS) + zone
    inside = (place - seeds[near[..., 0]]).astype(np.float32)
    paint_glass(sheet, inside, piece, gap)
    lead_lines(sheet, gap)
    return sheet.finish(grain=0.02)


def paint_glass(sheet: Sheet, inside: Array, piece: NDArray[np.int64], gap: Array) -> None:
    """Colour each piece and give it streaks, ripples, bubbles and a gradient of its own."""
    count = int(piece.max()) + 1
    rng, x, y = sheet.rng, inside[..., 0], inside[..., 1]
    zones = [ZONE_GLASS[i % len(ZONE_GLASS)] for i in range(count)]
    hue = GLASS[[zone[rng.integers(len(zone))] for zone in zones]]
    turn = rng.uniform(0, math.pi, count).astype(np.float32)[piece]
    shift = rng.uniform(0, 900, count).astype(np.float32)[piece]
    lean = rng.uniform(0, 2 * math.pi, count).astype(np.float32)[piece]
    along = x * np.cos(turn) + y * np.sin(turn)
    across = y * np.cos(turn) - x * np.sin(turn) + 14 * (sheet.noise(60) - 0.5)
    streak = sheet.streaks(along + shift, across + shift, 60, 8)
    ripple = hatch(across + 9 * sheet.noise(30) + shift, 12, 0.35) * sheet.noise(40)
    light = 0.44 + rng.uniform(-0.08, 0.10, count).astype(np.float32)[piece]
    light += 0.72 * (streak - 0.5) + 0.20 * ripple
    light += (x * np.cos(lean) + y * np.sin(lean)) / 210
    light += 0.16 * smoothstep(3, 26, gap) - 0.10
    light += 0.34 * smoothstep(0.84, 0.9, sheet.noise(5, octaves=1))
    light = np.clip(light, 0.1, 1)[..., None]
    colour = hue[piece]
    dark = colour * light * 2
    pale = colour + (1 - colour) * (light * 2 - 1) * 0.8
    sheet.pixels[:] = np.where(light < 0.5, dark, pale)


# --- ink_wash ----------------------------------------------------------------------------

PAPER = rgb("f1e6cc")[0]
SUMI = rgb("121216", "34373b", "6c7072", "a8a8a0", "f1e6cc")
VERMILION = rgb("c3261b")[0]


class Range(NamedTuple):
    """One range of mountains, from its highest ridge to the mist at its foot."""

    base: float
    height: float
    spread: float
    ink: float
    period: float


RANGES = (
    Range(330, 200, 120, 0.30, 7),
    Range(440, 250, 150, 0.55, 8),
    Range(570, 250, 170, 0.80, 9),
    Range(676, 150, 190, 1.00, 9),
)


def lay_paper(sheet: Sheet) -> None:
    """Prepare warm paper with fibres and pale, wet-edged clouds of wash."""
    fibre = sheet.streaks(sheet.x, sheet.y + 6 * sheet.noise(50), 40, 1.6)
    fibre += sheet.streaks(sheet.y, sheet.x, 46, 1.8)
    sheet.pixels[:] = PAPER * (0.90 + 0.09 * fibre + 0.06 * (sheet.noise(160) - 0.5))[..., None]
    cloud = sheet.noise(260, 90, octaves=5)
    for level in (0.52, 0.62, 0.72):
        sheet.paint(SUMI[2], 0.16 * smoothstep(level, level + 0.02, cloud))
        sheet.paint(SUMI[1], 0.34 * smoothstep(0.012, 0.0, np.abs(cloud - level)))
    drift = sheet.y + 60 * cloud + 12 * sheet.noise(120, 40)
    lines = hatch(drift, 10, 0.5 * sheet.noise(110, 30))
    sheet.paint(SUMI[0], 0.62 * lines * smoothstep(0.24, 0.56, cloud))


def ridge_line(sheet: Sheet, peaks: Range) -> Array:
    """Trace a skyline of steep, irregular peaks: its height on the sheet per column."""
    x = sheet.x[0]
    rise = np.zeros_like(x)
    for _ in range(int(2600 / peaks.spread)):
        centre, width = sheet.rng.uniform(-60, 1084), peaks.spread * sheet.rng.uniform(0.35, 0.8)
        top = sheet.rng.uniform(0.3, 1.0)
        rise = np.maximum(rise, top * np.exp(-(np.abs((x - centre) / width) ** 1.5)))
    crags = sheet.noise(46, octaves=5)[0] - 0.5 + 0.5 * (sheet.noise(10)[0] - 0.5)
    return np.asarray(peaks.base - peaks.height * rise - 26 * crags, np.float32)


def draw_range(sheet: Sheet, peaks: Range) -> Array:
    """Wash a range from ink to mist and hatch it along the lie of its rock."""
    ridge = ridge_line(sheet, peaks)
    depth = sheet.y - ridge
    rock = smoothstep(-0.5, 1.0, depth + 1.2 * sheet.sway[0])
    fold = sheet.noise(peaks.spread * 0.8, peaks.spread * 0.9, octaves=4)
    slope = gaussian_filter(ridge, 10)
    lie = sheet.y - 0.8 * slope + 125 * fold
    down, right = np.gradient(gaussian_filter(fold, 5))
    shade = np.clip(0.5 + (right - 0.6 * down) * 55, 0, 1)
    mist = smoothstep(peaks.height * 0.95, peaks.height * 0.2, depth)
    mist = np.clip(mist * (0.6 + 1.1 * (sheet.noise(240, 60) - 0.25)), 0, 1)
    sheet.paint(PAPER, rock * (0.8 + 0.2 * mist))
    wash = peaks.ink * mist * (0.14 + 0.72 * shade**2)
    sheet.paint(SUMI[1], rock * wash)
    bristle = sheet.streaks(lie * 0.2 + sheet.x, lie, 60, 2.2)
    weight = np.clip(peaks.ink * (0.12 + 0.62 * shade) * (0.3 + mist) * (0.5 + bristle), 0.03, 0.8)
    lines = hatch(lie + 3 * bristle, peaks.period, weight)
    sheet.paint(SUMI[0], rock * lines * (0.2 + 0.8 * mist) * (0.35 + 0.65 * peaks.ink))
    crest = smoothstep(1.2 + 5.5 * sheet.noise(60)[:1] * peaks.ink, 0.4, np.abs(depth - 2))
    sheet.paint(SUMI[0], crest * (0.3 + 0.7 * peaks.ink))
    dot_moss(sheet, ridge, peaks)
    return ridge


def dot_moss(sheet: Sheet, ridge: Array, peaks: Range) -> None:
    """Dab short horizontal brush dots in clumps along the ridge, as trees seen from afar."""
    dabs = []
    for _ in range(int(26 * peaks.ink)):
        x = sheet.rng.uniform(10, 1014)
        for _ in range(int(sheet.rng.integers(5, 16))):
            at = float(np.clip(x + sheet.rng.normal(0, 17), 2, 1020))
            y = float(ridge[int(at * SUPERSAMPLE)]) + sheet.rng.uniform(-5, 22)
            half = sheet.rng.uniform(2.5, 6)
            dabs.append(np.array([(at - half, y), (at + half, y - 1)]))
    sheet.stroke(dabs, ramp(SUMI, 0.75 * (1 - peaks.ink)), 5.5 * (0.5 + peaks.ink / 2), taper=True)


def draw_water(sheet: Sheet) -> None:
    """Rule the lake at the foot with broken ripples."""
    water = smoothstep(690, 716, sheet.y + 30 * (sheet.noise(300, 40) - 0.5))
    ripple = sheet.y + 16 * sheet.noise(150, 26) + 4 * sheet.noise(30, 9)
    weight = 0.5 * smoothstep(0.35, 0.75, sheet.noise(170, 18))
    sheet.paint(PAPER, 0.7 * water)
    sheet.paint(SUMI[1], water * 0.28 * sheet.noise(220, 40))
    sheet.paint(SUMI[0], 0.8 * water * hatch(ripple, 9, weight))


def draw_pine(sheet: Sheet, x: float, y: float, height: float) -> None:
    """Brush a leaning pine: a crooked trunk, limbs and fans of needles."""
    rng = sheet.rng
    lean = rng.uniform(-0.25, 0.25) * height
    bend = rng.normal(0, height * 0.05, 5)
    trunk = curve(
        [
            (x + lean * t + b, y - height * t)
            for t, b in zip(np.linspace(0, 1, 5), bend, strict=True)
        ]
    )
    sheet.stroke([trunk], SUMI[0], height * 0.055, taper=True)
    needles, limbs = [], []
    for rise in np.linspace(0.35, 1.0, 9):
        root = trunk[int(rise * 199)]
        side = 1 if rng.random() < 0.5 else -1
        reach = side * height * (1.15 - rise) * rng.uniform(0.35, 0.7)
        limb = curve([root, root + (reach * 0.5, 3), root + (reach, -height * 0.04)], 30)
        limbs.append(limb)
        for tip in limb[8::5]:
            for turn in np.linspace(-2.9, -0.25, 11) + rng.normal(0, 0.06, 11):
                end = tip + rng.uniform(11, 19) * np.array([math.cos(turn), math.sin(turn) * 0.8])
                needles.append(np.array([tip, end]))
    sheet.stroke(limbs, SUMI[0], 4, taper=True)
    sheet.stroke(needles, SUMI[0], 1.7, taper=True)


def stamp_seal(sheet: Sheet, x: float, y: float, cells: int, cell: float) -> None:
    """Press a red seal cut with a mirrored pattern of blocks that spells nothing."""
    side = cells * cell
    window, mask = sheet.region([(x, y), (x + side, y), (x + side, y + side), (x, y + side)])
    inner = cells // 2
    carved = np.zeros((cells, cells), bool)
    carved[1 : inner + 1, 1 : inner + 1] = sheet.rng.random((inner, inner)) < 0.36
    carved |= carved.T
    carved |= carved[:, ::-1]
    carved |= carved[::-1]
    column = np.clip((sheet.x[window] + sheet.sway[0][window] - x) / cell, 0, cells - 1).astype(int)
    row = np.clip((sheet.y[window] + sheet.sway[1][window] - y) / cell, 0, cells - 1).astype(int)
    worn = smoothstep(0.2, 0.34, sheet.noise(5)[window]) * 0.92
    sheet.paint(VERMILION, mask * worn * ~carved[row, column], window)


def draw_sun(sheet: Sheet, x: float, y: float, size: float) -> None:
    """Wash a vermilion sun with a wet edge and rings of dry brush."""
    radius = np.hypot(sheet.x - x, sheet.y - y) + sheet.sway[0]
    disc = smoothstep(size, size - 1.5, radius)
    bristle = sheet.streaks(sheet.x + sheet.y * 0.2, sheet.y + 9 * sheet.noise(60), 80, 3)
    edge = smoothstep(size - 12, size - 1, radius)
    sheet.paint(VERMILION, disc * np.clip(0.35 + 0.75 * bristle + 0.4 * edge, 0, 0.95))


def ink_wash() -> Image.Image:
    """Draw misty mountains over a lake in brushed ink, with red seals."""
    sheet = Sheet(1024, 768, seed=8, sway=1.2)
    lay_paper(sheet)
    draw_sun(sheet, 700, 150, 66)
    for peaks in RANGES[:3]:
        draw_range(sheet, peaks)
    shore = draw_range(sheet, RANGES[3])
    for x, height in ((118, 210), (196, 150), (884, 190), (948, 120)):
        draw_pine(sheet, x, float(shore[x * SUPERSAMPLE]) + 14, height)
    draw_water(sheet)
    stamp_seal(sheet, 60, 56, 9, 8)
    stamp_seal(sheet, 60, 140, 7, 8)
    return sheet.finish(grain=0.03)


# --- woodblock_waves ---------------------------------------------------------------------

SEA = rgb("0c1f3d", "123a6b", "2a68a0", "6fa3c0", "b9d3d0", "f6ecd2")
KEYLINE = rgb("0a1730")[0]
FOAM = rgb("f8f0da")[0]
WAVE_BACK = (
    (-2.1, -0.6), (-1.5, -0.16), (-0.8, 0.06), (-0.28, 0.4), (0.08, 0.8), (0.42, 1.0), (0.78, 0.92),
    (1.0, 0.56),
)  # fmt: skip
WAVE_HOLLOW = (
    (1.0, 0.56), (0.80, 0.68), (0.60, 0.62), (0.48, 0.40), (0.56, 0.16), (0.95, 0.0), (1.5, -0.16),
    (2.1, -0.6),
)  # fmt: skip


def print_sky(sheet: Sheet) -> None:
    """Print a graded sky through the grain of the plank, with a striped sun."""
    bow = sheet.y + 34 * (sheet.noise(420, 200) - 0.5)
    grain = sheet.y + 46 * sheet.noise(300, 70, octaves=2) + 4 * sheet.noise(60, 12)
    sky = rgb("17406f", "5f9ab8", "d8dcc4", "f5e3bd", "f2b98c", "e88d6b")
    sheet.pixels[:] = ramp(sky, bow / 430)
    sun = np.hypot(sheet.x - 770, sheet.y - 190) + sheet.sway[0]
    sheet.paint(rgb("d9482f")[0], smoothstep(88, 86, sun))
    sheet.paint(FOAM, 0.55 * hatch(grain, 12, 0.22 + 0.2 * sheet.noise(90, 30)))
    sheet.paint(sky[0], 0.5 * hatch(grain + 6, 12, np.clip(0.34 - bow / 1500, 0.08, 0.4)))
    pores = sheet.streaks(sheet.x, grain, 50, 1.5)
    sheet.paint(FOAM, 0.4 * smoothstep(0.68, 0.8, pores))


def print_scales(sheet: Sheet, top: float, pitch: float) -> None:
    """Cover the far sea with overlapping fans of concentric arcs."""
    x, y = sheet.x + 2 * sheet.sway[0], sheet.y + 2 * sheet.sway[1]
    size, step = pitch * 0.5, pitch * 0.25
    row = np.floor(y / step)
    distance = np.full(sheet.shape, size, np.float32)
    for ahead in (0, 1, 2):
        centre = (row + ahead) * step
        shift = ((row + ahead) % 2) * size
        reach = np.hypot((x - shift + size) % pitch - size, y - centre)
        distance = np.where(reach < size, reach, distance).astype(np.float32)
    sea = smoothstep(top - 1, top + 1, sheet.y + 3 * sheet.sway[0])
    tone = 0.30 + 0.5 * (distance / size) ** 2 * sheet.noise(50) + 0.2 * (sheet.noise(120) - 0.5)
    sheet.paint(ramp(SEA, tone), sea)
    sheet.paint(FOAM, sea * hatch(distance, size / 3, 0.3))
    sheet.paint(KEYLINE, sea * smoothstep(size - 3.4, size - 2.2, distance))


class Wave(NamedTuple):
    """One curling wave: its foot, its height, and the way it faces (1 or -1)."""

    x: float
    y: float
    size: float
    face: int


def crest(wave: Wave, sheet: Sheet) -> Points:
    """Trace a wave from its back over the tip and down its hollow, evenly spaced."""
    path = np.vstack([curve(WAVE_BACK), curve(WAVE_HOLLOW)[1:]])
    path = path * (wave.face * wave.size, -wave.size) + (wave.x, wave.y)
    return densify(sheet.roughen(path, closed=False), 0.5, closed=False)


def foam_share(travel: Array) -> Array:
    """Say how foamy the crest is along its length: most so round the tip, near the middle."""
    return smoothstep(0.28, 0.47, travel) * smoothstep(0.72, 0.58, travel)


def draw_spray(sheet: Sheet, path: Points, size: float) -> None:
    """Fringe the crest with lobes of foam and throw drops off it."""
    rng = sheet.rng
    share = foam_share(np.linspace(0, 1, len(path)))
    drops = []
    for i in range(0, len(path), int(8 + size / 14)):
        if share[i] > 0.2:
            drops.append((path[i], (0.015 + 0.03 * rng.random()) * size * share[i] + 2.2))
    for i in rng.choice(len(path), int(20 + size / 2)):
        throw = min(rng.exponential(0.08), 0.2) * size + 6
        heading = rng.uniform(-2.6, -0.2)
        if share[i] > 0.4 and i < len(path) * 0.56:
            place = path[i] + throw * np.array([math.cos(heading), math.sin(heading)])
            drops.append((place, rng.uniform(1.4, 3.6) + size / 300))
    for grow, colour in ((2.2, KEYLINE), (0.0, FOAM)):
        for place, radius in drops:
            r = radius + grow
            window = sheet.window(np.array([place - r, place + r]))
            away = np.hypot(sheet.x[window] - place[0], sheet.y[window] - place[1])
            sheet.paint(colour, smoothstep(r + 0.4, r - 0.4, away), window)


def print_bands(
    sheet: Sheet, window: Window, mask: Array, depth: Array, along: Array, period: float
) -> Array:
    """Print contour bands that follow the edge of a wave; give back their brush marks."""
    bristle = sheet.streaks(along, depth, 70, 2.6)
    warped = depth + 6 * (sheet.noise(60)[window] - 0.5) + 2 * bristle
    band = np.floor(warped / period).astype(int)
    tones = np.array([0.62, 0.18, 0.42, 0.10, 0.30, 0.14, 0.5, 0.06])
    sheet.paint(ramp(SEA, tones[band % 8] + 0.34 * (bristle - 0.5)), mask, window)
    sheet.paint(FOAM, mask * 0.9 * hatch(warped, period, 0.16 + 0.10 * (band % 3)), window)
    sheet.paint(KEYLINE, mask * hatch(warped + period / 2, period, 0.16), window)
    return bristle


def draw_wave(sheet: Sheet, wave: Wave) -> None:
    """Print one wave: banded water, foam with long fingers and a key line."""
    path = crest(wave, sheet)
    draw_spray(sheet, path, wave.size)
    window = sheet.window(path)
    image, origin = sheet.blank(window)
    ImageDraw.Draw(image).polygon(((path - origin) * SUPERSAMPLE).ravel().tolist(), fill=255)
    mask = np.asarray(image, np.float32) / 255
    inside = mask > 0
    place = np.stack([sheet.x[window][inside], sheet.y[window][inside]], axis=-1)
    depth, travel = np.zeros((2, *mask.shape), np.float32)
    depth[inside], nearest = cKDTree(path).query(place)
    travel[inside] = nearest / len(path)
    along = travel * len(path) * 0.5
    bristle = print_bands(sheet, window, mask, depth, along, 13 + wave.size / 60)
    share = foam_share(travel)
    claw = along / (7 + wave.size / 30)
    lengths = (0.3 + 0.7 * sheet.rng.random(4000)).astype(np.float32)
    finger = np.sqrt(np.clip(1 - (2 * (claw % 1) - 1) ** 2, 0, 1)) * lengths[claw.astype(int)]
    reach = np.where(share > 0.02, share * (0.06 + 0.115 * finger) * wave.size, -9)
    sheet.paint(KEYLINE, mask * smoothstep(3.4, 2.2, depth - reach), window)
    shaded = 0.8 * hatch(depth + 3 * bristle, 9, 0.22)
    foam = ramp(rgb("f8f0da", "86b0c0"), shaded)
    sheet.paint(foam, mask * smoothstep(0.6, -0.6, depth - reach), window)
    edge = smoothstep(3.6, 2.6, depth) * (1 - 0.8 * (share > 0.2))
    sheet.paint(KEYLINE, mask * edge, window)


def woodblock_waves() -> Image.Image:
    """Draw rows of curling waves as a woodblock print in Prussian blue and cream."""
    sheet = Sheet(1024, 768, seed=31, sway=1.6)
    print_sky(sheet)
    print_scales(sheet, 372, 56)
    waves = [Wave(60 + 235 * i, 470, 74 + 22 * (i % 2), 1) for i in range(-1, 5)]
    waves += [Wave(-40 + 330 * i, 575, 118 + 30 * (i % 2), 1) for i in range(5)]
    waves += [Wave(330, 690, 400, 1), Wave(930, 690, 170, -1)]
    waves += [Wave(-60 + 270 * i, 790, 130 + 34 * (i % 2), 1) for i in range(6)]
    for wave in waves:
        draw_wave(sheet, wave)
    return sheet.finish(grain=0.03)


# --- command line ------------------------------------------------------------------------

ARTWORKS: dict[str, tuple[str, Callable[[], Image.Image]]] = {
    "thanos_poster": ("Titan Before the Sun", thanos_poster),
    "stained_glass": ("Rose Window", stained_glass),
    "ink_wash": ("Misty Ranges", ink_wash),
    "woodblock_waves": ("Waves at Dusk", woodblock_waves),
}


def encode(picture: Image.Image) -> bytes:
    """Encode as JPEG at the best quality that stays below the size limit."""
    data = b""
    for quality in range(94, 40, -2):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, subsampling="4:4:4", optimize=True)
        data = buffer.getvalue()
        if len(data) <= MAX_BYTES:
            break
    return data


def replace_file(path: Path, data: bytes) -> None:
    """Write a file under a temporary name and move it into place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_artwork(name: str, folder: Path) -> None:
    """Draw one artwork and write its JPEG and its description."""
    title, draw = ARTWORKS[name]
    picture = encode(draw())
    about = {
        "name": name,
        "title": title,
        "artist": "fststyle project",
        "year": 2026,
        "source": "drawn by scripts/art/make.py",
        "licence": "MIT",
    }
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / f"{name}.jpg", picture)
    replace_file(folder / f"{name}.json", (json.dumps(about, indent=2) + "\n").encode())
    sys.stdout.write(f"{folder / name}.jpg: {len(picture)} bytes\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the artworks named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(ARTWORKS)}")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="folder to write to")
    options = parser.parse_args(argv)
    for name in options.names:
        if name not in ARTWORKS:
            known = ", ".join(ARTWORKS)
            sys.stderr.write(f"There is no artwork named {name!r}; the known names are {known}.\n")
            return 2
    for name in options.names or ARTWORKS:
        write_artwork(name, options.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
