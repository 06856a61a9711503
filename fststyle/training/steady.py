"""A steadiness term: the result moves with the photo, and ignores noise.

Training needs neither videos nor optical flow. A photo and a copy of it, moved by a known
amount, are two frames with exact correspondences. The term compares f(T(x)) with T(f(x)).

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

from fststyle.errors import check_number

_SHIFTS: Final = (-4, 4)
"""Range of whole-pixel shifts without its upper end: each phase of a grid of 4 occurs equally."""
_ROOM: Final = 0.07
"""Fraction of a photo's side around a frame, for the largest zoom and shift."""
_MARGIN: Final = 16
"""Number of pixels at a frame's edges that are ignored, because of the padding there."""
_FLOOR: Final = 0.01
"""Smallest variance that the term divides by, as of a very pale image."""


@dataclass(frozen=True)
class SteadyConfig:
    """Settings of the steadiness term.

    Attributes:
        weight: Weight of the term in the total; 0 turns it off. A network that is trained
            without the term has a value of about 0.6.
        every: Interval in steps at which the term is used. It is multiplied by this number, so
            that the weight keeps its meaning; 2 halves the cost.
        start: Fraction of the run after which the term is used. Earlier steps are cheaper, and
            learn the style.
        seed: Random seed of the motions.
        whole: Fraction of motions that are shifts by whole pixels, which need no resampling.
        zoom: Largest change of size, up to 0.05: a factor from 1 - zoom to 1 + zoom.
        gain: Largest change of brightness, up to 0.5: a factor from 1 - gain to 1 + gain.
        noise: Largest standard deviation of the noise, up to 0.2 on [0, 1].

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
        check_number("steady.weight", self.weight, below=True)
        limits = {"start": 1, "whole": 1, "zoom": 0.05, "gain": 0.5, "noise": 0.2}
        for name, most in limits.items():
            check_number(f"steady.{name}", getattr(self, name), 0, most)
        check_number("steady.every", self.every, 1, whole=True)
        check_number("steady.seed", self.seed, 0, whole=True)

    def is_due(self, step: int, progress: float) -> bool:
        """Return True if the term is used at a step, given the finished fraction of the run."""
        return self.weight > 0 and step % self.every == 0 and progress >= self.start


@dataclass(frozen=True)
class Motion:
    """The change from one frame to the next.

    Attributes:
        dy: Downward movement of the camera in pixels.
        dx: Movement of the camera to the right in pixels.
        zoom: Magnification about the centre of the frame.
        gain: Factor on the brightness of the photo.
        noise: Standard deviation of the noise on the photo.
        seed: Random seed of the noise.
    """

    dy: float = 0.0
    dx: float = 0.0
    zoom: float = 1.0
    gain: float = 1.0
    noise: float = 0.0
    seed: int = 0

    @property
    def is_whole(self) -> bool:
        """True if the motion is a shift by whole pixels, without resampling."""
        return self.zoom == 1 and self.dy == round(self.dy) and self.dx == round(self.dx)


def draw(config: SteadyConfig, step: int) -> Motion:
    """Draw the motion of a step, as a pure function of the settings and the step.

    Args:
        config: Ranges and seed.
        step: Number of the step, from 0.

    Returns:
        A shift by whole pixels, or a shift of less than a pixel, half of the latter with a zoom.
        All have a change of brightness and noise.
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
    """Apply the shift and zoom of a motion (the geometry T), without brightness and noise.

    The frame is smaller than the image by 8 pixels or 7 %, so that motions from `draw` show
    nothing outside the image.

    Args:
        image: Images ``(N, C, H, W)``, H and W at least 32.
        motion: Motion to apply.

    Returns:
        The frames ``(N, C, h, w)``, h and w multiples of 4. A shift by whole pixels returns a
        view. Other motions use bicubic interpolation, which may leave [0, 1] slightly.
    """
    height, width = image.shape[-2:]
    h, w = _frame(height), _frame(width)
    # Without a shift, the frame has the same position on a grid of 4 as the image.
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
    """Make the next frame: a photo after a motion, with its change of brightness and its noise.

    Args:
        photo: Photos ``(N, C, H, W)`` in [0, 1].
        motion: Motion from the first frame to the next.

    Returns:
        The frames ``(N, C, h, w)``, clipped to [0, 1] and cropped as by `move`.
    """
    frame = motion.gain * move(photo, motion)
    if motion.noise:
        # Noise of the CPU, so that it is the same on all devices.
        generator = torch.Generator().manual_seed(motion.seed)
        frame = frame + motion.noise * torch.randn(frame.shape, generator=generator).to(frame)
    return frame.clamp(0, 1)


def consistency(
    network: Callable[[Tensor], Tensor], photo: Tensor, output: Tensor, motion: Motion
) -> Tensor:
    """Compare the result for the next frame with the moved result for the first one.

    The term is Σ (f(T(x)) - T(f(x)))² / (σ σ'). The division by the standard deviations σ and σ'
    of both results ensures that paler results are not steadier. The result should follow only the
    geometry, not noise or brightness (instance norm removes most changes of brightness anyway).

    Args:
        network: Network f, on frames ``(N, 3, h, w)``.
        photo: Photos x, ``(N, 3, H, W)`` in [0, 1].
        output: Results f(x), ``(N, 3, H, W)``. No gradient flows into them. For shifts, a second
            gradient would on average be the same, at twice the cost. With noise, the result of the
            noisy frame should follow that of the clean one, and not the reverse.
        motion: Motion T, and the change of brightness and noise.

    Returns:
        The mean over the batch, a float32 scalar: 0 for a steady network, 2 for one whose frames
        have nothing in common.
    """
    target = move(output.detach().float(), motion)
    moved = network(move_photo(photo, motion)).float()
    with torch.autocast(photo.device.type, enabled=False):
        margin = min(_MARGIN, target.shape[-2] // 4, target.shape[-1] // 4)
        inner = (..., slice(margin, -margin), slice(margin, -margin))
        target, moved = target[inner], moved[inner]
        difference = moved - target
        if not motion.is_whole:
            # Interpolation weakens the finest detail of the target only. Without the binomial
            # filter (1 2 1), which ignores that detail, the term would teach blur.
            difference = F.avg_pool2d(F.avg_pool2d(difference, 2, 1), 2, 1)
        # The terms of the sources are not relative, so that low contrast would lower them.
        contrast = (_variance(moved) * _variance(target)).sqrt()
        return (difference.square().mean(dim=(1, 2, 3)) / contrast).mean()


def _frame(side: int) -> int:
    """Return the side of the frame in an image."""
    return (side - max(8, math.ceil(_ROOM * side))) // 4 * 4


def _positions(count: int, side: int, offset: float, zoom: float) -> Tensor:
    """Return the positions of a frame's pixels along a side of the image, from -1 to 1."""
    middle = (count - 1) / 2
    pixels = (torch.arange(count, dtype=torch.float64) - middle) / zoom + middle + offset
    return 2 * pixels / (side - 1) - 1


def _variance(image: Tensor) -> Tensor:
    """Return the mean variance of the channels, ``(N,)``, at least the floor."""
    return image.var(dim=(2, 3), correction=0).mean(dim=1).clamp_min(_FLOOR)
