"""Misty Ranges: mountains over a lake in brushed ink."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from canvas import SUPERSAMPLE, Array, Sheet, curve, hatch, ramp, rgb, smoothstep
from PIL import Image
from scipy.ndimage import gaussian_filter

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
    """Return the skyline of steep, irregular peaks: its height on the sheet for each column."""
    x = sheet.x[0]
    rise = np.zeros_like(x)
    for _ in range(int(2600 / peaks.spread)):
        centre, width = sheet.rng.uniform(-60, 1084), peaks.spread * sheet.rng.uniform(0.35, 0.8)
        top = sheet.rng.uniform(0.3, 1.0)
        rise = np.maximum(rise, top * np.exp(-(np.abs((x - centre) / width) ** 1.5)))
    crags = sheet.noise(46, octaves=5)[0] - 0.5 + 0.5 * (sheet.noise(10)[0] - 0.5)
    return np.asarray(peaks.base - peaks.height * rise - 26 * crags, np.float32)


def draw_range(sheet: Sheet, peaks: Range) -> Array:
    """Paint a range from ink to mist, and hatch it along its slopes."""
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
    """Draw clumps of short brush marks along the ridge, like distant trees."""
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
    """Draw broken ripples on the lake in the foreground."""
    water = smoothstep(690, 716, sheet.y + 30 * (sheet.noise(300, 40) - 0.5))
    ripple = sheet.y + 16 * sheet.noise(150, 26) + 4 * sheet.noise(30, 9)
    weight = 0.5 * smoothstep(0.35, 0.75, sheet.noise(170, 18))
    sheet.paint(PAPER, 0.7 * water)
    sheet.paint(SUMI[1], water * 0.28 * sheet.noise(220, 40))
    sheet.paint(SUMI[0], 0.8 * water * hatch(ripple, 9, weight))


def draw_pine(sheet: Sheet, x: float, y: float, height: float) -> None:
    """Draw a leaning pine with a crooked trunk, branches and fans of needles."""
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
    """Stamp a red seal with a symmetric pattern of blocks instead of text."""
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
    """Paint a vermilion sun with a wet edge and dry-brush marks."""
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
