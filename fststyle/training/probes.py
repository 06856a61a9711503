"""Probe photographs for the checks of trained networks: they reveal the typical faults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fststyle.images.resize import resize

Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Probes:
    """Photographs on which networks are checked.

    Attributes:
        photos: Photographs ``(H, W, 3)``, RGB in [0, 1], by name.
        uses: Names of the photographs for each check.
        figures: Masks ``(H, W)`` of the figures in photographs of a figure on plain ground.
    """

    photos: Mapping[str, Pixels]
    uses: Mapping[str, Sequence[str]]
    figures: Mapping[str, Mask]


def small_probes() -> Probes:
    """Return the probes for the end of a training: synthetic ones, and ones of scikit-image.

    Sides are 191 to 385 pixels, and some are odd.
    """
    from skimage import data

    astronaut = _photo(cast(Any, data.astronaut)())
    bordered = np.zeros((289, 385, 3), np.float32)
    bordered[48:-49, 48:-49] = resize(_photo(cast(Any, data.coffee)()), width=288, height=192)
    on_ground, masks = figures(384)
    photos = {
        "flat_grey": np.full((256, 256, 3), 0.5, np.float32),
        "clear_sky": clear_sky(270, 360),
        "black_border": bordered,
        "fine_text": _photo(cast(Any, data.page)()),
        "face": np.ascontiguousarray(astronaut[:256, 96:352]),
        "night": _night(),
        **on_ground,
    }
    uses = {
        "blobs": ("flat_grey", "clear_sky", "black_border", "face", "night"),
        "lattice_2": ("flat_grey", "clear_sky", "face"),
        "lattice_4": ("flat_grey", "clear_sky", "face"),
        "frame": ("flat_grey", "clear_sky", "black_border", "face"),
        "structure": ("fine_text", "face"),
        "blur": ("face",),
        "lattice": ("clear_sky", "face", "night"),
        "halo": tuple(masks),
        "specks": ("clear_sky",),
    }
    return Probes(photos, uses, masks)


def large_probes(photos: Mapping[str, Pixels], side: int) -> Probes:
    """Return probes of a given size: photographs, a sky and figures.

    Args:
        photos: Photographs ``(H, W, 3)`` with detail, RGB in [0, 1], by name.
        side: Long side of the sky, and side of the square photos of figures, in pixels.
    """
    on_ground, masks = figures(side)
    sky = {"clear_sky": clear_sky(3 * side // 4, side)}
    uses = dict.fromkeys(("blobs", "lattice_2", "lattice_4", "frame"), ("clear_sky", *photos))
    uses |= {"structure": tuple(photos), "blur": tuple(photos), "lattice": ("clear_sky", *photos)}
    uses |= {"halo": tuple(masks), "specks": ("clear_sky",)}
    return Probes({**sky, **photos, **on_ground}, uses, masks)


def figures(side: int) -> tuple[dict[str, Pixels], dict[str, Mask]]:
    """Draw figures on plain ground: a disc of coarse grain, and a horse made of a photograph.

    Args:
        side: Side of the square photos in pixels.

    Returns:
        The photos ``(H, W, 3)``, RGB in [0, 1], and the masks ``(H, W)`` of the figures, by name.
    """
    from skimage import data

    rng = np.random.default_rng(2)
    rows, columns = np.indices((side, side)) - side // 2
    disc = np.hypot(rows / 1.3, columns) < side / 9
    grain = ndimage.gaussian_filter(rng.normal(size=(side, side, 1)), (2, 2, 0))
    texture = 0.35 + 0.9 * grain * (1, 0.8, 0.6)
    outline = ~cast(Any, data.horse)()[::2, ::2][: side // 2, : side // 2]
    horse = np.zeros((side, side), bool)
    top, left = ((side - length) // 2 for length in outline.shape)
    horse[top : top + outline.shape[0], left : left + outline.shape[1]] = outline
    coffee = _photo(cast(Any, data.coffee)())
    coffee = np.ascontiguousarray(
        np.tile(coffee, (1 + side // 400, 1 + side // 600, 1))[:side, :side]
    )
    photos = {
        "disc": _on_ground(disc, texture, (0.72, 0.78, 0.84)),
        "horse": _on_ground(horse, coffee, (0.55, 0.62, 0.50)),
    }
    return photos, {"disc": disc, "horse": horse}


def _on_ground(figure: Mask, inside: NDArray[Any], ground: tuple[float, float, float]) -> Pixels:
    """Put a figure with soft edges on ground of one colour, with camera noise of 1/255."""
    share = ndimage.gaussian_filter(figure.astype(np.float32), 0.8)[..., None]
    photo = share * inside + (1 - share) * np.array(ground)
    noise = np.random.default_rng(3).normal(0, 1 / 255, photo.shape)
    return np.asarray(np.clip(photo + noise, 0, 1), np.float32)


def _photo(image: NDArray[np.uint8]) -> Pixels:
    grey = image[..., None] if image.ndim == 2 else image
    colour = np.repeat(grey, 3, axis=2) if grey.shape[2] == 1 else grey
    return colour.astype(np.float32) / np.float32(255)


def clear_sky(height: int, width: int) -> Pixels:
    """Draw a blue sky, paler towards the horizon, with camera noise of 1/255."""
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    zenith, horizon = np.array([[0.18, 0.42, 0.78], [0.70, 0.83, 0.93]], np.float32)
    sky = zenith + (horizon - zenith) * down + 0.03 * across
    grain = np.random.default_rng(0).normal(0, 1 / 255, sky.shape).astype(np.float32)
    return np.asarray(np.clip(sky + grain, 0, 1), np.float32)


def _night(height: int = 256, width: int = 383) -> Pixels:
    """Draw a row of houses at night: almost black, with a few lit windows and lamps."""
    rng = np.random.default_rng(1)
    night = np.full((height, width, 3), (0.02, 0.025, 0.05), np.float32)
    night += np.float32(0.03) * np.linspace(1, 0, height, dtype=np.float32)[:, None, None]
    for left in range(0, width, 48):
        night[height - int(rng.integers(90, 160)) :, left : left + 44] *= 0.4
    lights = np.zeros_like(night)
    for _ in range(14):
        top, left = int(rng.integers(height // 2, height - 12)), int(rng.integers(4, width - 12))
        lights[top : top + 8, left : left + 5] = (1.0, 0.85, 0.55)
    lights = np.maximum(lights, 4 * ndimage.gaussian_filter(lights, (5, 5, 0)))
    grain = rng.normal(0, 2 / 255, night.shape)
    return np.asarray(np.clip(night + 0.9 * lights + grain, 0, 1), np.float32)
