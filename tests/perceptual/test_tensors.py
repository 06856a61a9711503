from __future__ import annotations

import numpy as np
import torch

from fststyle.perceptual.tensors import to_pixels, to_tensor


def test_layout_and_round_trip() -> None:
    pixels = np.random.default_rng(0).random((4, 7, 3), dtype=np.float32)
    image = to_tensor(pixels)
    assert image.shape == (1, 3, 4, 7)
    assert float(image[0, 2, 1, 5]) == pixels[1, 5, 2]
    np.testing.assert_array_equal(to_pixels(image), pixels)


def test_gradients_and_half_precision_are_left_behind() -> None:
    image = torch.full((1, 3, 2, 2), 0.5, dtype=torch.bfloat16, requires_grad=True)
    pixels = to_pixels(image)
    assert pixels.dtype == np.float32
    assert pixels.flags.c_contiguous
    assert (pixels == 0.5).all()
