"""Titan Before the Sun: a crystalline titan before a rayed sun."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from canvas import Array, Points, Sheet, densify, dry_brush, halftone, hatch, ramp, rgb, smoothstep
from numpy.typing import ArrayLike
from PIL import Image
from scipy.spatial import Delaunay

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

# The right half of the titan's face. x is measured from the axis of symmetry, y on the sheet.
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
    """Draw the closed outlines of some polygons."""
    sheet.stroke([np.vstack([shape, shape[:1]]) for shape in shapes], colour, width)


def mirrored(points: ArrayLike, side: int) -> Points:
    """Place points, given relative to the axis, on its left (-1) or right (1) side."""
    return np.asarray(points, np.float64) * (side, 1) + (FOCUS[0], 0)


def draw_rays(sheet: Sheet) -> None:
    """Draw rays from the focal point, each with its own brush marks and dots."""
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
    """Draw a zigzag ring and a dotted, toothed sun behind the titan."""
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
    """Divide the shoulders and the chest into jagged planes, lit by the sun."""
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
    """Draw an angular stone giant with a crown of crystal shards."""
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
    """Draw one crystal of the crown: a long kite shape with a lit half and a shaded half."""
    lean = np.array([tip - x, top - y]) / math.hypot(tip - x, top - y)
    waist = np.array([x, y]) + 0.62 * np.array([tip - x, top - y])
    for turn, tone in ((1, 0.74), (-1, 0.40)):
        corner = waist + turn * width * np.array([lean[1], -lean[0]])
        half = mirrored([(x, y), (corner[0], corner[1]), (tip, top)], side)
        paint_facet(sheet, Facet(half, TEAL_RAMP, tone, 0.9 * turn * side), 8)
        outline(sheet, [half], INK, 3.6)


def draw_collar(sheet: Sheet) -> None:
    """Draw gold chevrons over the chest."""
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
    """Draw one glowing gem with eight outer facets around a bright centre."""
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
    """Draw a cosmic poster: a stone titan in front of a sun, below six gems."""
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
