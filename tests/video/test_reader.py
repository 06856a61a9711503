from __future__ import annotations

import math
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from errors_help import raises
from video_help import moving, write_video

from fststyle.errors import SettingError, VideoError
from fststyle.video.container import Copied, Frame
from fststyle.video.reader import VideoReader


def test_facts_and_items(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", moving(10), subtitles="mov_text")
    with VideoReader(path) as reader:
        seen = reader.info
        assert (seen.width, seen.height, seen.frames) == (64, 48, 10)
        assert seen.rate == 25
        assert seen.seconds == pytest.approx(0.4)
        assert seen.aspect == 1
        items = list(reader.items())
    frames = [item for item in items if isinstance(item, Frame)]
    assert [f.pts * seen.time_base * 25 for f in frames] == list(range(10))
    assert {f.duration * seen.time_base * 25 for f in frames} == {1}
    assert {type(item) for item in items} == {Frame, Copied}
    with VideoReader(path, copies=(), start=0.2, duration=0.1) as reader:
        assert reader.info.frames == 2
        assert reader.info.seconds == pytest.approx(0.1)
        assert [type(item) for item in reader.items()] == [Frame] * 3
        assert reader.copied == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_seeking_finds_the_frame(tmp_path: Path, suffix: str) -> None:
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    frames = moving(40)
    path = write_video(tmp_path / f"video{suffix}", frames, codec=codec, audio=None)
    for start, number in ((0.0, 0), (0.4, 10), (0.99, 25)):
        with VideoReader(path, start=start) as reader:
            first = next(item for item in reader.items() if isinstance(item, Frame))
        assert first.pixels is not None
        distances = [np.abs(first.pixels.astype(int) - frame).mean() for frame in frames]
        assert int(np.argmin(distances)) == number


def test_items_are_sorted_by_time(tmp_path: Path) -> None:
    # The sound comes after all frames in the file.
    path = write_video(tmp_path / "video.mkv", moving(50), interleaved=False)
    with VideoReader(path) as reader:
        unit = reader.info.time_base
        times = [
            item.seconds if isinstance(item, Copied) else float(item.pts * unit)
            for item in reader.items()
        ]
    assert times == sorted(times)
    assert len(times) > 100


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_pipes_are_read_once(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mkv", moving(30))
    pipe = tmp_path / "pipe.mkv"
    os.mkfifo(pipe)
    copying = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    copying.start()
    with VideoReader(path) as expected, VideoReader(pipe) as actual:
        for one, other in zip(expected.items(), actual.items(), strict=True):
            assert type(one) is type(other)
    copying.join()


def test_settings_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "video.mp4", moving(2), audio=None)
    for name, value in (("start", -1.0), ("duration", 0.0), ("start", math.inf), ("size", 0)):
        settings: Any = {name: value}
        with raises(SettingError, "setting", name):
            VideoReader(path, **settings)
    monkeypatch.setenv("FSTSTYLE_MAX_MEGAPIXELS", "1")
    monkeypatch.setattr("fststyle.video.reader.pixel_limit", lambda default: 1000)
    with raises(VideoError, "too_large", "64×48"):
        VideoReader(path)
    with raises(VideoError, "start_too_late", path, "9 s"):
        VideoReader(path, start=9)
