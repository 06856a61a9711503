"""Conversions of images in memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from image_help import random_pixels

from fststyle.images import load
from fststyle.images import photo as images


def test_to_pil_and_back() -> None:
    pixels, alpha = random_pixels(3, 4, 3), random_pixels(3, 4)

    opaque = images.to_pil(pixels)
    transparent = images.to_pil(pixels, alpha)
    back = load.from_pil(transparent)

    assert (opaque.mode, opaque.size, transparent.mode) == ("RGB", (4, 3), "RGBA")
    assert back.alpha is not None
    np.testing.assert_allclose(back.pixels, pixels, atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(back.alpha, alpha, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (1, 4, 4, 3)])
def test_to_pil_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        images.to_pil(np.zeros(shape, np.float32))


def test_importing_loads_no_torch() -> None:
    program = (
        "import sys, fststyle.images.photo;"
        "print(*{'torch', 'matplotlib', 'onnx', 'scipy', 'PIL.ImageFont'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == []
