from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from photo_files_help import encoded, noisy, starts_with_zero, write
from PIL import Image

from fststyle.training.data import PhotoDataModule
from fststyle.training.photo_crops import PhotoCrops, is_held_out


def test_held_out_is_a_matter_of_the_hash(tmp_path: Path) -> None:
    answers = set()
    for content in (str(number).encode() for number in range(60)):
        path = tmp_path / "photo.jpg"
        path.write_bytes(content)
        expected = hashlib.sha256(content).hexdigest().startswith("0")
        assert is_held_out(path) == expected
        answers.add(expected)
    assert answers == {True, False}
    with pytest.raises(FileNotFoundError):
        is_held_out(tmp_path / "none.jpg")


def test_colours_are_varied_where_asked(tmp_path: Path) -> None:
    grey_file = write(tmp_path / "grey.png", lambda n: encoded(Image.new("L", (24, 20), 99 + n)))
    paths = [grey_file]
    plainly = PhotoCrops(paths, 16, seed=0)
    varied = PhotoCrops(paths, 16, seed=0, vary_colours=True)
    for index in range(8):
        grey, crop = plainly[index]["photo"], varied[index]["photo"]
        again = PhotoCrops(paths, 16, seed=0, vary_colours=True)[index]["photo"]
        assert torch.equal(crop, again)
        assert crop.min() >= 0
        assert crop.max() <= 1
        powers = crop.mean((1, 2)).log() / grey.mean((1, 2)).log()  # of a plain photo's grain
        assert float(powers.log().abs().max()) <= 0.51
        assert float(powers.std()) > 0.01  # a grey photo gets a tint


def test_channels_are_swapped_every_other_time(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    for attempt in itertools.count(1):
        path.write_bytes(encoded(Image.new("RGB", (24, 24), (255, 0, attempt))))
        if not starts_with_zero(path.read_bytes()):
            break
    crops = PhotoCrops([path], 16, seed=0, vary_colours=True)
    reddest = [int(crops[index]["photo"].mean(dim=(1, 2)).argmax()) for index in range(60)]
    assert 60 * 0.4 < reddest.count(0) < 60 * 0.9  # a third of the swaps leave red where it is
    assert set(reddest) == {0, 1, 2}


@pytest.mark.parametrize("level", [0, 128, 255])
def test_plain_photos_get_grain(tmp_path: Path, level: int) -> None:
    for index in range(3):
        Image.new("RGB", (40, 30), (level,) * 3).save(tmp_path / f"{index}.png")
    gradient = np.tile(np.arange(100, 140, dtype=np.uint8)[:, np.newaxis, np.newaxis], (1, 60, 3))
    Image.fromarray(gradient).save(tmp_path / "gradient.png")
    data = PhotoDataModule(tmp_path, size=64, batch_size=1)
    for index, batch in enumerate(data.train_dataloader()):
        photo = torch.from_numpy(batch["photo"][0])
        assert 0 <= photo.min() <= photo.max() <= 1
        if "gradient" in batch["paths"][0]:
            assert torch.allclose(photo, photo[:, :, :1])  # as it was
        else:
            assert 0.3 / 255 < float(photo.std()) < 3 / 255
            assert float(photo.mean()) == pytest.approx(level / 255, abs=1.5 / 255)
        if index == 12:
            break


def test_crops_are_flipped_moved_and_scaled(tmp_path: Path) -> None:
    """Red rises from left to right, green from top to bottom."""
    pixels = np.zeros((128, 160, 3), np.uint8)
    pixels[..., 0] = np.arange(160)
    pixels[..., 1] = np.arange(128)[:, None]
    path = write(
        tmp_path / "ramp.png",
        lambda attempt: encoded(Image.fromarray(pixels + np.array([0, 0, attempt], np.uint8))),
    )
    crops = PhotoCrops([path], 32, seed=0)
    slopes, lefts, tops = [], [], []
    for index in range(60):
        red, green, _ = 255 * crops[index]["photo"]
        slopes.append(float((red[:, 24] - red[:, 8]).mean()) / 16)
        lefts.append(float(red.min()))
        tops.append(float(green.min()))
        assert float((green[24] - green[8]).mean()) > 0  # never upside down
    flipped = sum(slope < 0 for slope in slopes)
    assert 15 <= flipped <= 45
    scales = np.abs(slopes) * 0.4  # the photo is kept at 64 of its 128 rows: 2 levels a pixel
    assert scales.max() / scales.min() > 1.5
    assert max(lefts) - min(lefts) > 40
    assert max(tops) - min(tops) > 30


@pytest.mark.parametrize(("width", "height"), [(10, 10), (1, 1), (3, 90), (90, 2)])
def test_tiny_photos(tmp_path: Path, width: int, height: int) -> None:
    path = write(tmp_path / "tiny.png", noisy(width, height))
    photo = PhotoCrops([path], 64, seed=0)[0]["photo"]
    assert photo.shape == (3, 64, 64)
    assert bool(torch.isfinite(photo).all())


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [("L", "PNG"), ("RGBA", "PNG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "WEBP")],
)
def test_other_kinds_of_photos(tmp_path: Path, mode: str, file_format: str) -> None:
    ending = {"JPEG": "jpg"}.get(file_format, file_format.lower())
    path = write(tmp_path / f"photo.{ending}", noisy(40, 30, mode, file_format))
    with Image.open(path) as image:
        assert image.mode == mode
    sample = PhotoCrops([path], 16, seed=0)[0]
    assert sample["photo"].shape == (3, 16, 16)
    assert sample["photo"].std() > 0.02
    assert sample["skipped"] == []
    assert bool((sample["photo"][0] == sample["photo"][1]).all()) == (mode == "L")
