from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from errors_help import raises
from numpy.typing import NDArray

from fststyle.errors import SettingError
from fststyle.video.flow import FlowBlend, opencv

pytestmark = pytest.mark.needs("cv2")


def texture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).random((height, width, 3))
    smooth = opencv().GaussianBlur(noise, (0, 0), 2)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return np.asarray(np.rint(255 * smooth), np.uint8)


def flickering(frame: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
    """A picture that is its frame, and other noise each time."""
    noise = np.random.default_rng(100 + index).normal(0, 25, frame.shape)
    return np.clip(np.rint(frame + noise), 0, 255).astype(np.uint8)


def mixed(blend: FlowBlend, frame: Any, picture: Any) -> Any:
    """Let it paint a frame by that picture."""
    return blend(frame, lambda _: picture)


def error(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Of two pictures, the second of which has moved 3 pixels to the left."""
    return float(np.abs(second[16:-16, 16:-19].astype(int) - first[16:-16, 19:-16]).mean())


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pictures_follow_the_motion(dtype: type) -> None:
    scene = texture(96, 200)
    frames = [scene[:, 3 * i : 3 * i + 128] for i in range(8)]
    pictures = [flickering(frame, i) for i, frame in enumerate(frames)]
    blend = FlowBlend(0.8)
    results = []
    for frame, picture in zip(frames, pictures, strict=True):
        if dtype == np.uint8:
            results.append(mixed(blend, frame, picture))
        else:
            result = mixed(blend, *(np.asarray(p / 255, np.float32) for p in (frame, picture)))
            assert result.dtype == np.float32
            results.append(np.rint(255 * result).astype(np.uint8))
    assert error(*results[-2:]) < 0.5 * error(*pictures[-2:])
    np.testing.assert_array_equal(results[0], pictures[0])


def test_no_ghost_follows_what_passes_by() -> None:
    background, shape = texture(96, 128), texture(40, 32, seed=1) // 2 + 120
    frames = []
    for index in range(6):
        frame = background.copy()
        frame[30:70, 12 * index : 12 * index + 32] = shape
        frames.append(frame)
    blend = FlowBlend(1.0)
    results = [mixed(blend, frame, frame) for frame in frames]
    # What has just been uncovered shows nothing of the shape.
    uncovered = (slice(30, 70), slice(12 * 4, 12 * 5))
    left = np.abs(results[5][uncovered].astype(int) - frames[5][uncovered]).mean()
    before = np.abs(frames[4][uncovered].astype(int) - frames[5][uncovered]).mean()
    assert left < 0.1 * before


def test_still_pictures_keep_their_sharpness() -> None:
    frame = texture(64, 96)
    blend = FlowBlend(1.0)
    for _ in range(20):
        result = mixed(blend, frame, frame)
    ratio = np.abs(np.diff(result.astype(int))).mean() / np.abs(np.diff(frame.astype(int))).mean()
    assert ratio == pytest.approx(1, abs=0.06)


def test_large_frames_are_mixed_at_their_own_size() -> None:
    frame = texture(500, 900)
    blend = FlowBlend(0.5)
    mixed(blend, frame, flickering(frame, 0))
    picture = flickering(frame, 1)
    result = mixed(blend, frame, picture)
    assert result.shape == frame.shape
    assert np.abs(result.astype(int) - frame).mean() < np.abs(picture.astype(int) - frame).mean()


def test_nothing_is_mixed_where_nothing_is_to_be() -> None:
    frame = texture(40, 40)
    pictures = [flickering(frame, i) for i in range(3)]
    none = FlowBlend(0)
    assert all(mixed(none, frame, picture) is picture for picture in pictures)
    blend = FlowBlend(0.7)
    mixed(blend, frame, pictures[0])
    blend.reset()
    assert mixed(blend, frame, pictures[1]) is pictures[1]
    # Nor is there anything before a frame of another size.
    assert mixed(blend, frame[:20].copy(), pictures[2][:20].copy()).shape == (20, 40, 3)
    other = texture(40, 40, seed=5)
    np.testing.assert_allclose(mixed(blend, other, other[::-1]), other[::-1], atol=40)


def test_the_network_sees_less_noise() -> None:
    scene = texture(96, 200)
    random = np.random.default_rng(0)
    seen: list[NDArray[np.uint8]] = []

    def paint(frame: Any) -> Any:
        seen.append(frame.copy())
        return frame

    blend = FlowBlend(0.8)
    for index in range(8):
        clean = scene[:, 3 * index : 3 * index + 128].astype(int)
        noisy = np.clip(np.rint(clean + random.normal(0, 4, clean.shape)), 0, 255).astype(np.uint8)
        memory = noisy.copy()
        blend(memory, paint)
        if index == 0:
            np.testing.assert_array_equal(seen[0], noisy)
        memory[:] = 0  # the caller may use it again
    noise = [np.abs(frame - clean)[16:-16, 16:-19].mean() for frame in (seen[7], noisy)]
    assert noise[0] < 0.75 * noise[1]


@pytest.mark.parametrize(
    "size", [(1, 1), (2, 2), (8, 12), (16, 120), (15, 400), (400, 15), (80, 900)]
)
def test_small_and_narrow_frames(size: tuple[int, int]) -> None:
    frame = texture(*size)
    blend = FlowBlend(0.8)
    for index in range(3):
        picture = flickering(frame, index)
        result = mixed(blend, frame, picture)
        assert result.shape == frame.shape


@pytest.mark.parametrize("steady", [-0.1, 1.1, float("nan"), True, "1"])
def test_steady_is_a_share(steady: float) -> None:
    with raises(SettingError, "setting", "steady"):
        FlowBlend(steady)


def test_opencv_is_needed_to_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    FlowBlend(0)
    with raises(SettingError, "missing_package", "OpenCV"):
        FlowBlend(0.5)
