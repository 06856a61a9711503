"""Steadiness by training: what moves in the photo moves in the picture, and noise does nothing.

No video and no optical flow is needed: a photo and a copy of it that is moved by a known
amount are two frames with exact correspondences. The term compares f(T(x)) with T(f(x)).

Sources: Eilertsen, Mantiuk, Unger, "Single-frame Regularization for Temporally Stable CNNs"
(CVPR 2019), the transform invariance term; Wang, Xu, Zhang, Wang, Liu, "Consistent Video Style
Transfer via Compound Regularization" (AAAI 2020), motion and noise in one draw; Rainy, de
Berker, "Stabilizing neural style-transfer for video" (Element AI, 2018), noise alone; the form
goes back to Zheng, Song, Leung, Goodfellow, "Improving the Robustness of Deep Neural Networks
via Stability Training" (CVPR 2016). Deviations are marked at their lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fststyle.errors import SettingError

_SHIFTS: Final = (-4, 4)
"""Whole-pixel shifts, the upper end excluded: every phase of a grid of 4 is equally likely."""
_ROOM: Final = 0.07
"""Share of a photo's side that a frame leaves free, for the largest zoom and shift."""
_MARGIN: Final = 16
"""Pixels along a frame's edges that do not count: the network sees a mirror image there."""
_FLOOR: Final = 0.01
"""Least variance that the term divides by, that of a very pale picture."""


@dataclass(frozen=True)
class SteadyConfig:
    """How much steadiness counts, and against what.

    Attributes:
        weight: Of the term in the total, 0 for none; without it, a network's term is about 0.6.
        every: Steps from one with the term to the next. The term then counts so many times,
            so that the weight's meaning stays; 2 halves the cost.
        start: Share of the run from which the term counts, from 0 to 1: before, steps are cheaper
            and learn the style.
        seed: Two runs with the same seed draw the same motions.
        whole: Share of draws that shift by whole pixels, which no resampling blurs.
        zoom: Largest zoom, up to 0.05: from 1 - zoom to 1 + zoom.
        gain: Largest change of brightness, up to 0.5: a factor from 1 - gain to 1 + gain.
        noise: Largest standard deviation of the noise on [0, 1], up to 0.2.

    Raises:
        SettingError: A value is out of range.
    """

    weight: float = 1.0
    every: int = 2
    start: float = 0.3
    seed: int = 0
    whole: float = 0.7
    zoom: float = 0.05
    gain: float = 0.08
    noise: float = 0.02

    def __post_init__(self) -> None:
        for name, most in (
            ("weight", math.inf),
            ("start", 1.0),
            ("whole", 1.0),
            ("zoom", 0.05),
            ("gain", 0.5),
            ("noise", 0.2),
        ):
            value = getattr(self, name)
            # A bool is an int to Python.
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise SettingError(f"steady.{name} must be a number, not {value!r}.")
            if not 0 <= value <= most or math.isinf(value):
                limit = "from 0 on" if math.isinf(most) else f"from 0 to {most:g}"
                raise SettingError(f"steady.{name} must be a number {limit}, not {value}.")
        for name, least in (("every", 1), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SettingError(
                    f"steady.{name} must be a whole number from {least}, not {value!r}."
                )

    def is_due(self, step: int, progress: float) -> bool:
        """Whether the term counts at a step, where this share of the run is done."""
        return self.weight > 0 and step % self.every == 0 and progress >= self.start


@dataclass(frozen=True)
class Motion:
    """From one frame to the next.

    Attributes:
        dy: Pixels that the camera moves down.
        dx: Pixels that the camera moves to the right.
        zoom: Magnification about the frame's centre.
        gain: Factor on the photo's brightness.
        noise: Standard deviation of the noise on the photo.
        seed: Of the noise.
    """

    dy: float = 0.0
    dx: float = 0.0
    zoom: float = 1.0
    gain: float = 1.0
    noise: float = 0.0
    seed: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether pixels go to pixels, so that nothing is resampled."""
        return self.zoom == 1 and self.dy == round(self.dy) and self.dx == round(self.dx)


def draw(config: SteadyConfig, step: int) -> Motion:
    """The motion of a step, a pure function of the configuration and the step.

    Args:
        config: The ranges and the seed.
        step: From 0.

    Returns:
        A shift by whole pixels or, else, in equal parts a shift of less than a pixel or a zoom
        with such a shift; always with a change of brightness and noise.
    """
    rng = np.random.default_rng((config.seed, step))
    gain = 1 + config.gain * rng.uniform(-1, 1)
    noise = config.noise * rng.uniform()
    seed = int(rng.integers(2**32))
    if rng.uniform() < config.whole:
        dy, dx = rng.integers(*_SHIFTS, size=2).tolist()
        return Motion(dy, dx, 1.0, gain, noise, seed)
    dy, dx = rng.uniform(-1, 1, size=2).tolist()
    zoom = 1 + config.zoom * rng.uniform(-1, 1) if rng.uniform() < 0.5 else 1.0
    return Motion(dy, dx, zoom, gain, noise, seed)


def move(image: Tensor, motion: Motion) -> Tensor:
    """What the camera sees after a motion: the geometry T, without brightness and noise.

    The frame is smaller than the image by 8 pixels or 7 %, so that motions as `draw` gives
    them show nothing from beyond the image.

    Args:
        image: ``(N, C, H, W)``, H and W at least 32.
        motion: Its shift and zoom.

    Returns:
        ``(N, C, h, w)``, h and w multiples of 4. A shift by whole pixels is a view; all else is
        sampled by bicubic interpolation, which may leave [0, 1] a little.
    """
    height, width = image.shape[-2:]
    h, w = _frame(height), _frame(width)
    # Without a shift the frame lies as the image does on a grid of 4.
    top, left = (height - h) // 8 * 4, (width - w) // 8 * 4
    if motion.is_whole:
        top, left = top + round(motion.dy), left + round(motion.dx)
        return image[..., top : top + h, left : left + w]
    rows = _positions(h, height, top + motion.dy, motion.zoom)
    columns = _positions(w, width, left + motion.dx, motion.zoom)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    grid = torch.stack((x, y), dim=-1).to(image).expand(len(image), -1, -1, -1)
    return F.grid_sample(image, grid, "bicubic", "border", align_corners=True)


def move_photo(photo: Tensor, motion: Motion) -> Tensor:
    """The next frame: a photo after a motion, with its brightness and noise, as 8 bits clip it.

    Args:
        photo: ``(N, C, H, W)`` in [0, 1].
        motion: From the first frame to this one.

    Returns:
        ``(N, C, h, w)`` in [0, 1], as `move` crops it.
    """
    frame = motion.gain * move(photo, motion)
    if motion.noise:
        # Of the processor, so that it is the same on all devices.
        generator = torch.Generator().manual_seed(motion.seed)
        frame = frame + motion.noise * torch.randn(frame.shape, generator=generator).to(frame)
    return frame.clamp(0, 1)


def consistency(
    network: Callable[[Tensor], Tensor], photo: Tensor, picture: Tensor, motion: Motion
) -> Tensor:
    """How far the picture of the next frame is from the moved picture.

    Σ (f(T(x)) - T(f(x)))² / (σ σ'), with the standard deviations σ and σ' of both pictures
    as what is divided by: paler pictures are not steadier ones. The output is to follow the
    geometry alone, neither noise nor brightness (instance norm takes most of a change of
    brightness away in any case).

    Args:
        network: f, on frames ``(N, 3, h, w)``.
        photo: x, ``(N, 3, H, W)`` in [0, 1].
        picture: f(x), ``(N, 3, H, W)``. No gradient flows into it: on shifts, both ways would
            give the same gradient twice over in the mean, at twice the cost; and with noise,
            the picture of the noisy frame is to follow that of the clean one, not the reverse.
        motion: T, and what else happens to the photo.

    Returns:
        The mean over the batch, a float32 scalar: 0 for a network that is steady, 2 for one
        whose frames have nothing in common.
    """
    target = move(picture.detach().float(), motion)
    moved = network(move_photo(photo, motion)).float()
    with torch.autocast(photo.device.type, enabled=False):
        margin = min(_MARGIN, target.shape[-2] // 4, target.shape[-1] // 4)
        inner = (..., slice(margin, -margin), slice(margin, -margin))
        target, moved = target[inner], moved[inner]
        difference = moved - target
        if not motion.is_whole:
            # Interpolation weakens the finest detail of the target alone. Unless it is left out
            # of account, by the binomial filter (1 2 1), the term would teach blur.
            difference = F.avg_pool2d(F.avg_pool2d(difference, 2, 1), 2, 1)
        # The sources' terms are not relative, and can be lowered by fading contrast.
        contrast = (_variance(moved) * _variance(target)).sqrt()
        return (difference.square().mean(dim=(1, 2, 3)) / contrast).mean()


def _frame(side: int) -> int:
    """Side of the frame within an image."""
    return (side - max(8, math.ceil(_ROOM * side))) // 4 * 4


def _positions(count: int, side: int, offset: float, zoom: float) -> Tensor:
    """Where a frame's pixels lie along a side of the image, from -1 to 1."""
    middle = (count - 1) / 2
    pixels = (torch.arange(count, dtype=torch.float64) - middle) / zoom + middle + offset
    return 2 * pixels / (side - 1) - 1


def _variance(picture: Tensor) -> Tensor:
    """Mean of the channels' variances, ``(N,)``, at least the floor."""
    return picture.var(dim=(2, 3), correction=0).mean(dim=1).clamp_min(_FLOOR)
