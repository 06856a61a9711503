from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from errors_help import raises
from PIL import Image

from fststyle.errors import PhotoError, SettingError
from fststyle.images.animation import (
    ANIMATION_SUFFIXES,
    is_animation,
    load_frames,
    save_animation,
)
from fststyle.images.metadata import Metadata, result_metadata
from fststyle.images.photo import Photo

DURATIONS = [40.0, 100.0, 250.0, 70.0]
GREYS = [0.0, 0.3, 0.6, 1.0]


def grey_frames(height: int = 12, width: int = 16) -> list[Photo]:
    return [Photo(np.full((height, width, 3), grey, np.float32)) for grey in GREYS]


@pytest.mark.parametrize("suffix", ANIMATION_SUFFIXES)
def test_all_frames_and_their_timing_come_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"

    save_animation(iter(grey_frames()), DURATIONS, 0, path)
    animation = load_frames(path)

    assert animation.durations == tuple(DURATIONS)
    assert animation.size == (16, 12)
    assert animation.loop == 0
    frames = list(animation.frames())
    assert len(frames) == 4
    for frame, grey in zip(frames, GREYS, strict=True):
        np.testing.assert_allclose(frame.pixels, grey, atol=2.5 / 255)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
@pytest.mark.parametrize("loop", [0, 1, 3])
def test_loop_count(tmp_path: Path, suffix: str, loop: int) -> None:
    save_animation(grey_frames(), DURATIONS, loop, tmp_path / f"out{suffix}")

    assert load_frames(tmp_path / f"out{suffix}").loop == loop


@pytest.mark.parametrize("suffix", ANIMATION_SUFFIXES)
def test_transparency_of_every_frame(tmp_path: Path, suffix: str) -> None:
    frames = []
    for index, frame in enumerate(grey_frames()):
        alpha = np.ones((12, 16), np.float32)
        alpha[:, 4 * index : 4 * index + 4] = 0
        frames.append(Photo(frame.pixels, None if index == 0 else alpha))
    path = tmp_path / f"out{suffix}"

    save_animation(frames, DURATIONS, 0, path)

    for before, after in zip(frames, load_frames(path).frames(), strict=True):
        expected = np.ones((12, 16)) if before.alpha is None else before.alpha
        actual = np.ones((12, 16)) if after.alpha is None else after.alpha
        np.testing.assert_allclose(actual, expected, atol=0.02)
        opaque = expected == 1
        np.testing.assert_allclose(after.pixels[opaque], before.pixels[opaque], atol=0.03)


def test_equal_frames_keep_the_time(tmp_path: Path) -> None:
    frames = grey_frames()
    frames[2] = frames[1]

    for suffix in ANIMATION_SUFFIXES:
        save_animation(frames, DURATIONS, 0, tmp_path / f"out{suffix}")
        assert sum(load_frames(tmp_path / f"out{suffix}").durations) == sum(DURATIONS)


def test_gif_durations_do_not_drift(tmp_path: Path) -> None:
    frames = grey_frames() * 3  # equal ones never follow each other

    save_animation(frames, [33.3] * 12, 0, tmp_path / "out.gif")

    durations = load_frames(tmp_path / "out.gif").durations
    assert set(durations) == {30.0, 40.0}
    assert sum(durations) == 400


def test_gif_of_many_colours_is_near(tmp_path: Path) -> None:
    across, down = np.meshgrid(np.linspace(0, 1, 48), np.linspace(0, 1, 32))
    pixels = np.stack([across, down, 1 - across], axis=2).astype(np.float32)

    save_animation([Photo(pixels), Photo(pixels[::-1])], [50, 50], 0, tmp_path / "out.gif")

    for frame, expected in zip(
        load_frames(tmp_path / "out.gif").frames(), (pixels, pixels[::-1]), strict=True
    ):
        assert np.abs(frame.pixels - expected).mean() < 0.04


@pytest.mark.parametrize("disposal", [0, 1, 2, 3])
def test_gif_frames_are_complete(tmp_path: Path, disposal: int) -> None:
    # A frame may be a part only, put over what is left of the one before.
    first = Image.new("RGB", (8, 8), "red")
    second = first.copy()
    second.paste((0, 0, 255), (2, 2, 5, 5))
    path = tmp_path / "photo.gif"
    first.save(path, save_all=True, append_images=[second], duration=50, disposal=disposal)

    _, frame = load_frames(path).frames()

    np.testing.assert_allclose(frame.pixels * 255, np.asarray(second), atol=1)


def test_fallback_image_of_a_png_is_not_a_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "white", "black")]
    path = tmp_path / "photo.png"
    frames[0].save(
        path, save_all=True, append_images=frames[1:], default_image=True, duration=[20, 30]
    )

    animation = load_frames(path)

    assert animation.durations == (20, 30)
    assert [frame.pixels.mean() for frame in animation.frames()] == [1, 0]


def test_frames_are_read_lazily_and_repeatedly(tmp_path: Path) -> None:
    save_animation(grey_frames(), DURATIONS, 0, tmp_path / "out.webp")
    animation = load_frames(tmp_path / "out.webp")

    first = next(animation.frames())
    again = next(animation.frames())
    between = list(zip(animation.frames(), animation.frames(), strict=True))

    np.testing.assert_array_equal(first.pixels, again.pixels)
    for one, other in between:
        np.testing.assert_array_equal(one.pixels, other.pixels)
    (tmp_path / "out.webp").unlink()
    with raises(PhotoError, "not_found"):
        next(animation.frames())


def test_frames_are_written_as_they_come(tmp_path: Path) -> None:
    alive = 0

    def frames() -> Iterator[Photo]:
        nonlocal alive
        for frame in grey_frames():
            alive += 1
            yield frame

    save_animation(frames(), DURATIONS, 0, tmp_path / "out.webp")

    assert alive == 4


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".tif"])
def test_still_image_is_an_animation_of_one_frame(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo{suffix}"
    picture = Image.new("RGB", (5, 4), "white")
    if suffix == ".tif":  # pages are no frames
        picture.save(path, save_all=True, append_images=[picture])
    else:
        picture.save(path)

    animation = load_frames(path)

    assert (animation.durations, animation.loop) == ((0.0,), 1)
    assert [frame.pixels.shape for frame in animation.frames()] == [(4, 5, 3)]


@pytest.mark.parametrize("suffix", [".webp", ".png", ".avif", ".gif"])
def test_result_says_what_it_is(tmp_path: Path, suffix: str) -> None:
    metadata = result_metadata(Metadata(), style_name="waves", style_licence="CC0-1.0")

    save_animation(grey_frames(), DURATIONS, 0, tmp_path / f"out{suffix}", metadata=metadata)

    content = (tmp_path / f"out{suffix}").read_bytes()
    assert b"in the style waves (licence of the style: CC0-1.0)" in content
    if suffix != ".gif":
        kept = load_frames(tmp_path / f"out{suffix}").metadata
        assert b"algorithmicallyEnhanced" in kept.xmp


def test_truncated_animation_is_a_photo_error(tmp_path: Path) -> None:
    whole = tmp_path / "whole.webp"
    save_animation(grey_frames(), DURATIONS, 0, whole)
    content = whole.read_bytes()
    for length in range(0, len(content) - 8, 41):
        (tmp_path / "cut.webp").write_bytes(content[:length])
        with pytest.raises(PhotoError, match=r"cut\.webp"):
            list(load_frames(tmp_path / "cut.webp").frames())


def test_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.webp"
    path.write_bytes(b"before")

    def broken() -> Iterator[Photo]:
        yield grey_frames()[0]
        raise PhotoError("the photo is damaged")

    with pytest.raises(PhotoError, match="the photo is damaged"):
        save_animation(broken(), DURATIONS, 0, path)
    with raises(PhotoError, "cannot_encode", "4 frames for 5 durations"):
        save_animation(grey_frames(), [*DURATIONS, 10], 0, path)
    with raises(PhotoError, "cannot_encode", "size"):
        save_animation([*grey_frames()[:1], *grey_frames(5, 5)[:1]], [1, 2], 0, path)

    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_refuses(tmp_path: Path) -> None:
    path = tmp_path / "out.webp"
    with raises(SettingError, "setting", "quality", "from 1 to 100, not 0"):
        save_animation(grey_frames(), DURATIONS, 0, path, quality=0)
    with raises(SettingError, "setting", "loop", -1):
        save_animation(grey_frames(), DURATIONS, -1, path)
    with raises(SettingError, "setting", "frame"):
        save_animation([], [], 0, path)
    with raises(PhotoError, "unknown_extension", ".gif, .webp"):
        save_animation(grey_frames(), DURATIONS, 0, tmp_path / "out.jpg")
    with raises(PhotoError, "cannot_write", "No such file"):
        save_animation(grey_frames(), DURATIONS, 0, tmp_path / "missing" / "out.gif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ANIMATION_SUFFIXES)
def test_is_animation(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    save_animation(grey_frames(), DURATIONS, 0, path)
    assert is_animation(path)
    save_animation(grey_frames()[:1], [40], 0, path)
    assert not is_animation(path)
    path.write_bytes(b"no picture")
    with raises(PhotoError, "not_an_image"):
        is_animation(path)
    pages = [Image.new("L", (4, 4), level) for level in (9, 200)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    assert not is_animation(tmp_path / "pages.tif")


@pytest.mark.parametrize("suffix", ANIMATION_SUFFIXES)
def test_one_frame_or_none(tmp_path: Path, suffix: str) -> None:
    save_animation(grey_frames()[1:2], [40], 0, tmp_path / f"out{suffix}")

    (frame,) = load_frames(tmp_path / f"out{suffix}").frames()
    np.testing.assert_allclose(frame.pixels, 0.3, atol=2.5 / 255)
    with raises(PhotoError, "cannot_encode", "0 frames for 1 durations"):
        save_animation([], [40], 0, tmp_path / f"none{suffix}")


def test_gif_frame_beyond_the_screen_is_cropped(tmp_path: Path) -> None:
    path = tmp_path / "over.gif"
    frames = [Image.new("L", (12, 8), grey) for grey in (10, 100, 200)]
    frames[1].paste(250, (0, 0, 3, 3))
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=50, optimize=False)
    content = bytearray(path.read_bytes())
    descriptor = b",\0\0\0\0\x0c\0\x08\0"
    second = content.index(descriptor, content.index(descriptor) + 1)
    content[second + 1 : second + 5] = bytes([4, 0, 5, 0])
    path.write_bytes(content)

    animation = load_frames(path)
    shown = list(animation.frames())

    assert (animation.size, animation.durations) == ((12, 8), (50, 50, 50))
    assert [frame.pixels.shape for frame in shown] == [(8, 12, 3)] * 3
    np.testing.assert_allclose(shown[1].pixels[6, [0, 5, 11], 0] * 255, [10, 250, 100], atol=1)
