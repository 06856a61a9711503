"""Rose Window: a leaded window of coloured glass."""

from __future__ import annotations

import math

import numpy as np
from canvas import SUPERSAMPLE, Array, Points, Sheet, hatch, ramp, rgb, smoothstep
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

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
    """Return each pixel's scalloped ring, and the pixel's distance from the ring's edge."""
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
    """Return the centres of the glass pieces: in rings around the rose, and random further out."""
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
    """Draw the lead: dark rounded bars, lit from the upper left."""
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
    """Colour each piece, with its own streaks, ripples, bubbles and gradient."""
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
