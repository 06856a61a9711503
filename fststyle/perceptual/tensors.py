"""Convert images between NumPy arrays and torch tensors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_tensor(pixels: NDArray[np.float32]) -> Tensor:
    """Convert ``(H, W, 3)`` to contiguous ``(1, 3, H, W)``; may share memory with the input."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]


def to_pixels(image: Tensor) -> NDArray[np.float32]:
    """Convert ``(1, 3, H, W)`` on any device to contiguous ``(H, W, 3)`` float32."""
    pixels = image[0].detach().float().cpu().numpy()
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))
