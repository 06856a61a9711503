from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_help import random_bytes
from PIL import Image

from fststyle.images.load import from_pil
from fststyle.images.transparency import fill_transparent, resize_transparent
from fststyle.stylize.stylizer import Stylizer


def halo(colour: tuple[int, int, int]) -> Image.Image:
    """Return a disc with another colour hidden around it."""
    down, across = np.mgrid[0:90, 0:121]
    alpha = np.where((down - 40) ** 2 + (across - 50) ** 2 < 900, 255, 0).astype(np.uint8)
    pixels = np.where(alpha[..., None] > 0, random_bytes(90, 121, 3), np.array(colour))
    return Image.fromarray(np.dstack((pixels.astype(np.uint8), alpha)))


@pytest.mark.parametrize("size", [None, 50])
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", "pil", "array"])
def test_hidden_colours_do_not_show(
    tmp_path: Path, style_path: Path, suffix: str, size: int | None
) -> None:
    stylizer = Stylizer(style_path, device="cpu")
    results = []
    for colour in ((0, 0, 0), (255, 255, 255), (0, 255, 0)):
        image: Any = halo(colour)
        if suffix.startswith("."):
            options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
            image.save(tmp_path / f"halo{suffix}", **options)
            image = tmp_path / f"halo{suffix}"
        elif suffix == "array":
            image = np.asarray(image)
        results.append(np.asarray(stylizer(image, size=size)))

    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_colours_spread_from_the_edge_far_outwards() -> None:
    pixels = np.zeros((301, 200, 3), np.float32)
    alpha = np.zeros((301, 200), np.float32)
    pixels[:20], alpha[:20] = (1, 0, 0), 1
    pixels[-20:], alpha[-20:] = (0, 0, 1), 0.5

    filled = fill_transparent(pixels, alpha)

    np.testing.assert_array_equal(filled[alpha > 0], pixels[alpha > 0])
    np.testing.assert_allclose(filled.sum(axis=2), 1, atol=1e-3)
    assert filled[30:90, :, 0].min() > 0.7
    assert filled[-90:-30, :, 2].min() > 0.7


def test_opaque_and_invisible_images() -> None:
    pixels = random_bytes(5, 7, 3)
    assert fill_transparent(pixels, np.full((5, 7), 1, np.uint8)) is pixels
    invisible = fill_transparent(pixels, np.zeros((5, 7), np.uint8))
    assert invisible.shape == pixels.shape
    assert len(np.unique(invisible)) == 1


def test_resizing_counts_visible_colours_only() -> None:
    pixels = np.zeros((8, 8, 3), np.float32)
    pixels[:, :4] = (1, 0, 0)
    alpha = np.full((8, 8), 1e-3, np.float32)
    alpha[:, :4] = 1

    small, small_alpha = resize_transparent(pixels, alpha, width=3, height=3)

    assert small_alpha[1].tolist() == pytest.approx([1, 0.5, 0], abs=0.1)
    np.testing.assert_allclose(small[:, :2], [[[1, 0, 0]] * 2] * 3, atol=0.01)


def test_resizing_opaque_images_is_plain(tmp_path: Path) -> None:
    image = from_pil(Image.fromarray(random_bytes(40, 30, 4))).pixels
    pixels, _ = resize_transparent(image, np.ones((40, 30), np.float32), width=15, height=20)
    plain = np.asarray(Image.fromarray((image * 255).astype(np.uint8)).resize((15, 20), 1)) / 255
    np.testing.assert_allclose(pixels, plain, atol=0.05)
