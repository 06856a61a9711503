"""Waves at Dusk: a woodblock print of curling waves."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from canvas import (
    SUPERSAMPLE,
    Array,
    Points,
    Sheet,
    Window,
    curve,
    densify,
    hatch,
    ramp,
    rgb,
    smoothstep,
)
from PIL import Image, ImageDraw
from scipy.spatial import cKDTree

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
    """Draw a graded sky with wood grain, and a striped sun."""
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
    """One curling wave: the position of its foot, its height, and its direction (1 or -1)."""

    x: float
    y: float
    size: float
    face: int


def crest(wave: Wave, sheet: Sheet) -> Points:
    """Return evenly spaced points on a wave's outline, from its back over the tip to its hollow."""
    path = np.vstack([curve(WAVE_BACK), curve(WAVE_HOLLOW)[1:]])
    path = path * (wave.face * wave.size, -wave.size) + (wave.x, wave.y)
    return densify(sheet.roughen(path, closed=False), 0.5, closed=False)


def foam_share(travel: Array) -> Array:
    """Return the amount of foam along the crest. It is largest near the middle, around the tip."""
    return smoothstep(0.28, 0.47, travel) * smoothstep(0.72, 0.58, travel)


def draw_spray(sheet: Sheet, path: Points, size: float) -> None:
    """Draw lobes of foam along the crest, and drops of water around them."""
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
    """Draw bands that follow the edge of a wave, and return their brush marks."""
    bristle = sheet.streaks(along, depth, 70, 2.6)
    warped = depth + 6 * (sheet.noise(60)[window] - 0.5) + 2 * bristle
    band = np.floor(warped / period).astype(int)
    tones = np.array([0.62, 0.18, 0.42, 0.10, 0.30, 0.14, 0.5, 0.06])
    sheet.paint(ramp(SEA, tones[band % 8] + 0.34 * (bristle - 0.5)), mask, window)
    sheet.paint(FOAM, mask * 0.9 * hatch(warped, period, 0.16 + 0.10 * (band % 3)), window)
    sheet.paint(KEYLINE, mask * hatch(warped + period / 2, period, 0.16), window)
    return bristle


def draw_wave(sheet: Sheet, wave: Wave) -> None:
    """Draw one wave with banded water, long fingers of foam and an outline."""
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
    """Draw a woodblock print of rows of curling waves in Prussian blue and cream."""
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
