from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fststyle.errors import PhotoError
from fststyle.images import exif as ex
from fststyle.images.animation import load_frames, save_animation
from fststyle.images.load import load_photo
from fststyle.images.metadata import Metadata
from fststyle.images.photo import Photo
from fststyle.images.save import save_photo
from fststyle.stylize.control import Control
from fststyle.stylize.file_stylizer import AlreadyWritten, FileStylizer
from fststyle.stylize.output_paths import Task
from fststyle.stylize.stylizer import Stylizer

DURATIONS = (40.0, 100.0, 250.0)


@pytest.fixture(scope="module")
def small(style_path: Path) -> Stylizer:
    return Stylizer(style_path, device="cpu", threads=1)


def frames() -> list[Photo]:
    random = np.random.default_rng(0)
    return [
        Photo(random.integers(0, 256, (12, 16, 3)).astype(np.float32) / np.float32(255))
        for _ in DURATIONS
    ]


def of_a_camera() -> Metadata:
    exif = ex.Exif()
    exif.image[ex.IMAGE_DESCRIPTION] = ex.text_entry("A cat")
    exif.gps[2] = exif.entry(ex.RATIONAL, 48, 1, 51, 1, 29, 1)
    return Metadata(exif=ex.write_exif(exif))


def do(files: FileStylizer, source: Path, target: Path) -> Photo | AlreadyWritten:
    task = Task(source, target)
    result, seconds = files.work(files.read(task))
    assert seconds > 0
    files.write(task, result)
    return result


@pytest.mark.parametrize(
    ("source", "target"),
    [("in.png", "out.webp"), ("in.gif", "out.png"), ("in.webp", "new/out.gif")],
)
def test_every_frame_is_stylised(source: str, target: str, small: Stylizer, tmp_path: Path) -> None:
    save_animation(frames(), DURATIONS, 3, tmp_path / source, quality=100)
    before = list(load_frames(tmp_path / source).frames())
    result = do(
        FileStylizer(small, Control(size=8), quality=100), *map(tmp_path.joinpath, (source, target))
    )
    assert isinstance(result, AlreadyWritten)
    assert result.pixels.shape == (6, 8, 3)
    animation = load_frames(tmp_path / target)
    assert (animation.size, animation.durations, animation.loop) == ((8, 6), DURATIONS, 3)
    lossless = target.endswith(".png")
    for frame, photo in zip(animation.frames(), before, strict=True):
        difference = np.abs(frame.pixels - small.stylize(photo, Control(size=8)).pixels)
        assert difference.mean() < (0.51 / 255 if lossless else 0.06)


def test_of_an_animation_a_photo_is_made_of_the_first_frame(
    small: Stylizer, tmp_path: Path
) -> None:
    save_animation(frames(), DURATIONS, 0, tmp_path / "in.png")
    do(FileStylizer(small, Control()), tmp_path / "in.png", tmp_path / "out.tif")
    expected = small.stylize(frames()[0]).pixels
    actual = load_photo(tmp_path / "out.tif").pixels
    np.testing.assert_allclose(actual, expected, atol=0.51 / 255)


@pytest.mark.parametrize("suffix", [".gif", ".apng"])
def test_photo_into_a_format_of_animations(suffix: str, small: Stylizer, tmp_path: Path) -> None:
    save_photo(frames()[0].pixels, tmp_path / "in.png")
    do(FileStylizer(small, Control()), tmp_path / "in.png", tmp_path / f"out{suffix}")
    (frame,) = load_frames(tmp_path / f"out{suffix}").frames()
    assert np.abs(frame.pixels - small.stylize(frames()[0]).pixels).mean() < 0.06


def test_damaged_animation_leaves_nothing(small: Stylizer, tmp_path: Path) -> None:
    path = tmp_path / "in.gif"
    save_animation(frames(), DURATIONS, 0, path)
    path.write_bytes(path.read_bytes()[:-150])
    with pytest.raises(PhotoError, match=r"in\.gif is damaged"):
        do(FileStylizer(small, Control()), path, tmp_path / "out.gif")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize(
    ("options", "has_own", "has_place"),
    [
        ({}, True, False),
        ({"keep_gps": True}, True, True),
        ({"strip": True}, False, False),
    ],
)
def test_metadata(
    moving: bool,
    options: dict[str, Any],
    has_own: bool,
    has_place: bool,
    small: Stylizer,
    tmp_path: Path,
) -> None:
    source, target = tmp_path / "in.png", tmp_path / "out.webp"
    if moving:
        save_animation(frames(), DURATIONS, 0, source, metadata=of_a_camera())
    else:
        save_photo(frames()[0].pixels, source, metadata=of_a_camera())
    do(FileStylizer(small, Control(), **options), source, target)
    with Image.open(target) as image:
        exif = ex.read_exif(image.info["exif"].removeprefix(b"Exif\0\0"))
        assert b"algorithmicallyEnhanced" in image.info["xmp"]
    description = ex.entry_text(exif.image[ex.IMAGE_DESCRIPTION])
    assert "in the style small." in description
    assert ("A cat" in description) == has_own
    assert bool(exif.gps) == has_place


def test_all_styles_and_licences_are_named(
    small_network: Any, style_path: Path, tmp_path: Path
) -> None:
    from fststyle.styles.info import StyleInfo
    from fststyle.styles.style_file import save_style

    paths = []
    for name, licence in (("one", "CC0-1.0"), ("two", "MIT"), ("three", "CC0-1.0")):
        paths.append(str(tmp_path / f"{name}.onnx"))
        save_style(small_network, StyleInfo(name, licence=licence), Path(paths[-1]))
    save_photo(frames()[0].pixels, tmp_path / "in.png")
    mixed = Stylizer(f"{paths[0]}:1,{paths[1]}:2", outside=paths[2], device="cpu", threads=1)
    control = Control(mask=np.ones((2, 2)))
    do(FileStylizer(mixed, control), tmp_path / "in.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        says = image.info["Description"]
    assert "in the style one + two + three (licence of the style: CC0-1.0; MIT)." in says


def test_16_bits_and_quality(small: Stylizer, tmp_path: Path) -> None:
    pixels = np.linspace(0, 1, 64 * 64 * 3, dtype=np.float32).reshape(64, 64, 3)
    save_photo(pixels, tmp_path / "in.png", bits=16)
    do(FileStylizer(small, Control(strength=0)), tmp_path / "in.png", tmp_path / "out.tif")
    photo = load_photo(tmp_path / "out.tif")
    assert photo.bits == 16
    np.testing.assert_allclose(photo.pixels, pixels, atol=1 / 65_535)
    sizes = []
    for quality in (20, None, 100):
        files = FileStylizer(small, Control(), quality=quality)
        do(files, tmp_path / "in.png", tmp_path / "out.jpg")
        sizes.append((tmp_path / "out.jpg").stat().st_size)
    assert sizes == sorted(set(sizes))
