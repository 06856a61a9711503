from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from errors_help import raises
from PIL import Image

from fststyle.errors import SettingError
from fststyle.stylize.arrays import (
    array_of_tensor,
    check_array,
    fitted_mask,
    floats_of,
    is_tensor,
    read_mask,
    split_array,
    tensor_like,
)

LEVELS = np.random.default_rng(0).integers(0, 256, (6, 8, 4), dtype=np.uint8)


def test_checked_arrays_are_the_same_objects() -> None:
    for image in (LEVELS, LEVELS[np.newaxis], LEVELS.astype(np.float16)):
        assert check_array(image) is image
    with raises(SettingError, "bad_array", "mask", "(rows, columns)"):
        check_array(np.zeros((2, 2)), "(rows, columns)", "mask")


def test_colour_and_transparency_are_split() -> None:
    pixels, alpha = split_array(LEVELS)
    np.testing.assert_array_equal(pixels, LEVELS[..., :3])
    assert alpha is not None
    np.testing.assert_array_equal(alpha, LEVELS[..., 3])
    pixels, alpha = split_array((LEVELS[..., :1] / 255).astype(np.float64))
    assert pixels.dtype == np.float32
    assert (pixels.shape, alpha) == ((6, 8, 3), None)
    with raises(SettingError, "bad_array", "[0, 1]"):
        split_array(LEVELS.astype(np.float32))


def test_only_bytes_are_converted_to_floats() -> None:
    floats = floats_of(LEVELS)
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats, LEVELS / 255, rtol=1e-6)
    assert floats_of(floats) is floats


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_tensors_and_back(dtype: torch.dtype) -> None:
    tensor = torch.from_numpy(LEVELS).permute(2, 0, 1).to(dtype)
    assert is_tensor(tensor)
    assert not is_tensor(LEVELS)
    array = array_of_tensor(tensor)
    assert array.dtype == (np.uint8 if dtype == torch.uint8 else np.float32)
    np.testing.assert_array_equal(array, np.moveaxis(tensor.float().numpy(), 0, -1))
    assert torch.equal(tensor_like(tensor, array), tensor)


def test_masks_are_luma_times_opacity(tmp_path: Path) -> None:
    grey = LEVELS[..., 0]
    Image.fromarray(grey).save(tmp_path / "mask.png")
    for mask in (tmp_path / "mask.png", Image.fromarray(grey), grey, torch.from_numpy(grey)):
        np.testing.assert_allclose(read_mask(mask), grey / 255, atol=1e-6)
    white = np.full((6, 8, 4), 255, np.uint8)
    white[..., 3] = grey
    np.testing.assert_allclose(read_mask(white), grey / 255, atol=1e-6)
    np.testing.assert_array_equal(read_mask(grey > 99), grey > 99)
    with raises(SettingError, "bad_array", "one image"):
        read_mask(np.zeros((2, 4, 4, 3)))


def test_masks_are_stretched() -> None:
    mask = np.array([[0, 1]], np.float32)
    assert fitted_mask(mask, 1, 2).tolist() == [[0, 1]]
    stretched = fitted_mask(mask, 4, 8)
    assert stretched.shape == (4, 8)
    assert (stretched[:, 0].max(), stretched[:, -1].min()) == (0, 1)
