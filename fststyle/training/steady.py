"""A steadiness term, which teaches the network to follow motion and ignore noise.

Neither videos nor optical flow are required. A photo and a copy of it moved by a known amount
act as two video frames with exact correspondences. The term compares f(T(x)) with T(f(x)), where
f is the network and T is the motion.

Sources: Eilertsen, Mantiuk, Unger, "Single-frame Regularization for Temporally Stable CNNs"
(CVPR 2019), for the transform invariance term; Wang, Xu, Zhang, Wang, Liu, "Consistent Video Style
Transfer via Compound Regularization" (AAAI 2020), for motion and noise together; Rainy, de
Berker, "Stabilizing neural style-transfer for video" (Element AI, 2018), for noise alone. The
idea goes back to Zheng, Song, Leung, Goodfellow, "Improving the Robustness of Deep Neural Networks
via Stability Training" (CVPR 2016). Comments in the code mark where
it deviates from these sources.
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
"""Range of whole-pixel shifts, excluding the upper end, so that all phases modulo 4 are equal."""
_ROOM: Final = 0.07
"""Fraction of a photo's side that is reserved for the largest zoom and shift."""
_MARGIN: Final = 16
"""Width in pixels of a frame's border, which is ignored because padding affects it."""
_FLOOR: Final = 0.01
"""Smallest variance that the term divides by; very pale images have about this variance."""


@dataclass(frozen=True)
class SteadyConfig:
    """Settings for the steadiness term.

    Attributes:
        weight: Weight of the term in the total loss; 0 turns it off. Without the term, a trained
            network reaches a value of about 0.6.
        every: Number of steps between uses of the term. The term is multiplied by this number,
            so that the effect of the weight stays the same. A value of 2 halves the cost.
        start: Fraction of the run after which the term is used. Earlier steps are cheaper and
            only learn the style.
        seed: Random seed for the motions.
        whole: Fraction of motions that are whole-pixel shifts, which need no resampling.
        zoom: Maximum zoom, up to 0.05. The factor is between 1 - zoom and 1 + zoom.
        gain: Maximum change in brightness, up to 0.5. The factor is between 1 - gain and 1 + gain.
        noise: Maximum standard deviation of the noise, up to 0.2, for pixels in [0, 1].

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
        """Return ``True`` if the term is used at this step and completed fraction of the run."""
        return self.weight > 0 and step % self.every == 0 and progress >= self.start


@dataclass(frozen=True)
class Motion:
    """The change from one frame to the next.

    Attributes:
        dy: Downward movement of the camera in pixels.
        dx: Movement of the camera to the right in pixels.
        zoom: Magnification about the centre of the frame.
        gain: Multiplier for the photo's brightness.
        noise: Standard deviation of the noise added to the photo.
        seed: Random seed for the noise.
    """

    dy: float = 0.0
    dx: float = 0.0
    zoom: float = 1.0
    gain: float = 1.0
    noise: float = 0.0
    seed: int = 0

    @property
    def is_whole(self) -> bool:
        """``True`` if the motion is a whole-pixel shift, which needs no resampling."""
        return self.zoom == 1 and self.dy == round(self.dy) and self.dx == round(self.dx)


def draw(config: SteadyConfig, step: int) -> Motion:
    """Draw the random motion for a step; the same arguments always give the same motion.

    Args:
        config: Ranges and seed of the motions.
        step: Step number, starting at 0.

    Returns:
        A whole-pixel shift, or a shift of less than a pixel, half of the time combined with a
        zoom. All motions also change the brightness and add noise.
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
    """Apply the shift and zoom of a motion, but not its brightness and noise.

    The frame is smaller than the image by at least 8 pixels and 7 %, so that motions from `draw`
    stay inside the image.

    Args:
        image: Images ``(N, C, H, W)``, with H and W at least 32.
        motion: Motion to apply.

    Returns:
        The frames ``(N, C, h, w)``, where h and w are multiples of 4. For a whole-pixel shift, the
        result is a view. Other motions use bicubic interpolation, whose values may lie slightly
        outside [0, 1].
    """
    height, width = image.shape[-2:]
    h, w = _frame(height), _frame(width)
    # Without a shift, the frame starts at a multiple of 4 pixels.
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
    """Make the next frame by applying a motion to a photo, including brightness and noise.

    Args:
        photo: Photos ``(N, C, H, W)`` in [0, 1].
        motion: Motion from the first frame to the next one.

    Returns:
        The frames ``(N, C, h, w)``, clipped to [0, 1] and cropped the same way as in `move`.
    """
    frame = motion.gain * move(photo, motion)
    if motion.noise:
        # The noise is drawn on the CPU, so that it is the same on all devices.
        generator = torch.Generator().manual_seed(motion.seed)
        frame = frame + motion.noise * torch.randn(frame.shape, generator=generator).to(frame)
    return frame.clamp(0, 1)


def consistency(
    network: Callable[[Tensor], Tensor], photo: Tensor, output: Tensor, motion: Motion
) -> Tensor:
    """Compare the result for the next frame with the moved result for the first frame.

    The term is Σ (f(T(x)) - T(f(x)))² / (σ σ'). Dividing by the standard deviations σ and σ' of
    both results ensures that paler results do not count as steadier. The result should follow
    only the geometry, not noise or brightness. (Instance normalisation removes most changes in
    brightness anyway.)

    Args:
        network: Network f, which stylises frames ``(N, 3, h, w)``.
        photo: Photos x, ``(N, 3, H, W)`` in [0, 1].
        output: Results f(x), ``(N, 3, H, W)``, which receive no gradient. For shifts, their
            gradient would be the same on average but would double the cost. With noise, the result
            for the noisy frame should follow the one for the clean frame, not vice versa.
        motion: Motion T, including the change in brightness and the noise.

    Returns:
        The mean over the batch, as a float32 scalar: 0 for a perfectly steady network, 2 if the
        two results are unrelated.
    """
    target = move(output.detach().float(), motion)
    moved = network(move_photo(photo, motion)).float()
    with torch.autocast(photo.device.type, enabled=False):
        margin = min(_MARGIN, target.shape[-2] // 4, target.shape[-1] // 4)
        inner = (..., slice(margin, -margin), slice(margin, -margin))
        target, moved = target[inner], moved[inner]
        difference = moved - target
        if not motion.is_whole:
            # Interpolation weakens the finest detail in the target, but not in the other frame.
            # The binomial filter (1 2 1) ignores that detail. Without it, the network would
            # learn to blur.
            difference = F.avg_pool2d(F.avg_pool2d(difference, 2, 1), 2, 1)
        # The terms in the sources are not relative, so lower contrast would reduce them.
        contrast = (_variance(moved) * _variance(target)).sqrt()
        return (difference.square().mean(dim=(1, 2, 3)) / contrast).mean()


def _frame(side: int) -> int:
    """Return the side of the frame for a side of the image."""
    return (side - max(8, math.ceil(_ROOM * side))) // 4 * 4


def _positions(count: int, side: int, offset: float, zoom: float) -> Tensor:
    """Return the pixel positions of a frame along one side of the image, from -1 to 1."""
    middle = (count - 1) / 2
    pixels = (torch.arange(count, dtype=torch.float64) - middle) / zoom + middle + offset
    return 2 * pixels / (side - 1) - 1


def _variance(image: Tensor) -> Tensor:
    """Return the mean variance of the channels, ``(N,)``, but at least `_FLOOR`."""
    return image.var(dim=(2, 3), correction=0).mean(dim=1).clamp_min(_FLOOR)
