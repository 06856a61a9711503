from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from errors_help import raises
from photo_files_help import LEVELS, encoded, level_of, noisy, plain, write
from PIL import Image

from fststyle.errors import PhotoError, SettingError
from fststyle.images.bundled import builtin_held_out, builtin_photos
from fststyle.training.data import PhotoDataModule
from fststyle.training.photo_crops import PhotoCrops, is_held_out


@pytest.fixture
def plain_photos(tmp_path: Path) -> list[Path]:
    """Five photos to train on, each of a grey level in LEVELS, and two that are held out."""
    trained = [write(tmp_path / f"{level}.png", plain(level)) for level in LEVELS]
    held_out = [
        write(tmp_path / f"{level}.png", plain(level), held_out=True) for level in (200, 240)
    ]
    return sorted(trained + held_out)


@pytest.fixture
def varied_photos(tmp_path: Path) -> list[Path]:
    return [
        write(tmp_path / f"{index}.png", noisy(30 + 11 * index, 50 - 7 * index))
        for index in range(4)
    ]


# --- which photos ----------------------------------------------------------------------------


# --- crops -----------------------------------------------------------------------------------


def test_held_out_photos_are_never_delivered_and_all_others_are(plain_photos: list[Path]) -> None:
    count = len(plain_photos)
    crops = PhotoCrops(plain_photos, 16, seed=0)
    for epoch in range(4):
        samples = [crops[index] for index in range(epoch * count, (epoch + 1) * count)]
        assert {level_of(sample["photo"]) for sample in samples} == set(LEVELS)
        assert all(sample["skipped"] == [] for sample in samples)


def test_epochs_have_different_orders(plain_photos: list[Path]) -> None:
    crops = PhotoCrops(plain_photos, 16, seed=0)
    orders = {
        tuple(level_of(crops[epoch * 7 + i]["photo"]) for i in range(7)) for epoch in range(5)
    }
    assert len(orders) >= 4


def test_a_crop_is_a_function_of_seed_and_index(varied_photos: list[Path]) -> None:
    indices = list(range(13))
    forwards = PhotoCrops(varied_photos, 32, seed=5)
    expected = [forwards[index]["photo"] for index in indices]
    backwards = PhotoCrops(list(varied_photos), 32, seed=5)
    for index in reversed(indices):
        assert torch.equal(backwards[index]["photo"], expected[index])
    for index in (11, 2):
        assert torch.equal(PhotoCrops(varied_photos, 32, seed=5)[index]["photo"], expected[index])
        assert torch.equal(forwards[index]["photo"], expected[index])
        assert not torch.equal(
            PhotoCrops(varied_photos, 32, seed=6)[index]["photo"], expected[index]
        )
    for first, second in itertools.combinations(expected, 2):
        assert not torch.equal(first, second)


def test_only_the_builtin_photos_get_other_colours(tmp_path: Path) -> None:
    write(tmp_path / "grey.png", noisy(80, 80, "L"))
    grey = [
        bool((crop[0] == crop[1]).all())
        for crop in (
            next(iter(PhotoDataModule(root, size=64).train_dataloader()))["photo"][0]
            for root in (tmp_path, None)
        )
    ]
    assert grey == [True, False]


def test_the_global_random_state_is_left_alone(varied_photos: list[Path]) -> None:
    state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    PhotoCrops(varied_photos, 32, seed=5)[3]
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_equal(np.random.get_state(), numpy_state)  # noqa: NPY002


def test_shapes_and_range(varied_photos: list[Path]) -> None:
    for size in (16, 33, 64):
        photo = PhotoCrops(varied_photos, size, seed=0)[1]["photo"]
        assert photo.shape == (3, size, size)
        assert photo.dtype == torch.float32
        assert photo.min() >= 0
        assert photo.max() <= 1
        assert photo.max() - photo.min() > 0.3


# --- broken files ----------------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path: Path) -> list[Path]:
    """No bytes at all, text, and half a JPEG."""
    (tmp_path / "empty.png").write_bytes(b"")
    write(tmp_path / "text.jpg", lambda attempt: f"not a photo {attempt}".encode())
    photo = noisy(60, 60, file_format="JPEG")
    write(tmp_path / "half.jpg", lambda attempt: photo(attempt)[: len(photo(attempt)) // 2])
    return [tmp_path / name for name in ("empty.png", "half.jpg", "text.jpg")]


def test_broken_photos_are_skipped_and_told_once(
    broken: list[Path], plain_photos: list[Path], tmp_path: Path
) -> None:
    module = PhotoDataModule(tmp_path, size=64, batch_size=2)
    assert set(broken) < set(module.paths)
    told: list[str] = []
    levels = set()
    for batch in itertools.islice(module.train_dataloader(), 20):
        told += [path for path, _ in batch["skipped"]]
        photos = module.on_before_batch_transfer(batch, 0)
        assert photos.shape == (2, 3, 64, 64)
        levels |= {level_of(photo) for photo in photos}
    assert levels == set(LEVELS)
    assert sorted(told) == sorted(map(str, broken))
    assert set(module.skipped) == set(told)
    for path, reason in module.skipped.items():
        assert path in reason
        assert "\n" not in reason


def test_a_photo_that_vanishes(varied_photos: list[Path]) -> None:
    crops = PhotoCrops(varied_photos, 16, seed=0)
    varied_photos[0].unlink()
    samples = [crops[index] for index in range(8)]
    (skipped,) = (item for sample in samples for item in sample["skipped"])
    assert skipped[0] == str(varied_photos[0])


def test_nothing_but_broken_photos(broken: list[Path]) -> None:
    crops = PhotoCrops(broken, 16, seed=0)
    with raises(PhotoError, "no_photos", "3 photos", "3 cannot be read, 0 are held out"):
        crops[0]
    error = crops.__getitems__([0])  # returned, so that it crosses processes as it is
    assert isinstance(error, PhotoError)
    assert error.code == "no_photos"


def test_nothing_but_held_out_photos(plain_photos: list[Path]) -> None:
    held_out = [path for path in plain_photos if is_held_out(path)]
    crops = PhotoCrops(held_out, 16, seed=0)
    for _ in range(2):
        with raises(PhotoError, "no_photos", "2 are held out"):
            crops[0]


# --- the module ------------------------------------------------------------------------------


def test_folders_without_photos(tmp_path: Path) -> None:
    with raises(PhotoError, "no_folder", "none"):
        PhotoDataModule(tmp_path / "none")
    (tmp_path / "notes.txt").write_text("no photo")
    with raises(PhotoError, "no_photos"):
        PhotoDataModule(tmp_path)


def test_batches(varied_photos: list[Path], tmp_path: Path) -> None:
    module = PhotoDataModule(str(tmp_path), size=64, batch_size=3, seed=8)
    assert module.paths == varied_photos
    crops = PhotoCrops(varied_photos, 64, seed=8)
    for step, batch in enumerate(itertools.islice(module.train_dataloader(), 3)):
        actual = module.on_before_batch_transfer(batch, 0)
        expected = torch.stack([crops[3 * step + i]["photo"] for i in range(3)])
        assert torch.equal(actual, expected)


def test_training_goes_on_where_it_stopped(varied_photos: list[Path], tmp_path: Path) -> None:
    module = PhotoDataModule(tmp_path, size=64, batch_size=2)
    trainer: Any = SimpleNamespace(lightning_module=SimpleNamespace(steps_made=3))
    module.trainer = trainer
    batch = next(iter(module.train_dataloader()))
    crops = PhotoCrops(varied_photos, 64, seed=0)
    assert np.array_equal(batch["photo"], [crops[6]["photo"].numpy(), crops[7]["photo"].numpy()])


def test_worker_processes_change_nothing(varied_photos: list[Path], tmp_path: Path) -> None:
    alone = PhotoDataModule(tmp_path, size=64, batch_size=2)
    helped = PhotoDataModule(tmp_path, size=64, batch_size=2, num_workers=2)
    for first, second in itertools.islice(
        zip(alone.train_dataloader(), helped.train_dataloader(), strict=True), 4
    ):
        assert np.array_equal(first["photo"], second["photo"])


def test_held_out_crops(plain_photos: list[Path], tmp_path: Path) -> None:
    module = PhotoDataModule(tmp_path, size=64, validation_photos=4)
    own = [path for path in plain_photos if is_held_out(path)]
    assert module.held_out == own + builtin_held_out()[:2]
    actual = module.held_out_crops()
    assert actual.shape == (4, 3, 64, 64)
    assert actual.dtype == torch.float32
    assert actual.min() >= 0
    assert actual.max() <= 1
    assert [level_of(photo) for photo in actual[:2]] == [200, 240]
    batches = list(module.val_dataloader())
    assert len(batches) == 4
    for batch, photo in zip(batches, actual, strict=True):
        assert torch.equal(module.on_before_batch_transfer(batch, 0), photo[None])


def test_held_out_crops_are_the_middle(tmp_path: Path) -> None:
    pixels = np.zeros((64, 192, 3), np.uint8)
    pixels[:, 64:128, 0] = 250

    def make(attempt: int) -> bytes:
        return encoded(Image.fromarray(pixels + np.array([0, 0, attempt], np.uint8)))

    write(tmp_path / "photo.png", make, held_out=True)
    module = PhotoDataModule(tmp_path, size=64, validation_photos=1)
    assert level_of(module.held_out_crops()[0]) == 250


def test_a_broken_held_out_photo(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", lambda attempt: f"text {attempt}".encode(), held_out=True)
    write(tmp_path / "b.png", plain(100))
    module = PhotoDataModule(tmp_path, size=64, validation_photos=1)
    assert module.held_out == builtin_held_out()[:1]
    assert list(module.skipped) == [str(path)]


def test_builtin_module_keeps_its_sets_apart() -> None:
    module = PhotoDataModule()
    assert module.paths == builtin_photos()
    assert module.held_out == builtin_held_out()
    assert module.skipped == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", 63),
        ("size", 1025),
        ("size", 128.0),
        ("batch_size", 0),
        ("batch_size", "4"),
        ("num_workers", -1),
        ("validation_photos", 0),
        ("validation_photos", 65),
        ("seed", -1),
        ("seed", None),
    ],
)
def test_impossible_settings(name: str, value: Any) -> None:
    with raises(SettingError, "setting", f"data.{name} must be a whole number", repr(value)):
        PhotoDataModule(**{name: value})


def test_what_is_left_out_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        Image.new("RGB", (70, 70)).save(tmp_path / f"{number}.png")
    (tmp_path / "@eaDir").mkdir()
    (tmp_path / "a.cr2").touch()
    PhotoDataModule(tmp_path, size=64)
    assert "Left out: 1 .cr2; folders passed over: 1 @eaDir." in caplog.text
