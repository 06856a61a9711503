from __future__ import annotations

import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from errors_help import raises
from PIL import Image
from video_help import moving, write_video

from fststyle.errors import SettingError, VideoError
from fststyle.video.container import Turn, open_video, video_stream

JUNK = b"\x00\x00\x00\x18ftypmp42" + bytes(400)
PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nhttp://localhost:1/x.ts\n#EXT-X-ENDLIST\n"


def matrix(a: int, b: int, c: int, d: int) -> SimpleNamespace:
    values = [a, b, 0, c, d, 0, 0, 0, 1 << 14]
    content = struct.pack("=9i", *(v << 16 for v in values))
    return SimpleNamespace(side_data={"DISPLAYMATRIX": content})


def test_frames_turn_as_their_matrix_says() -> None:
    # x' = a·x + c·y, y' = b·x + d·y, then moved to where nothing is negative.
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    for a, b, c, d in [(1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1)] + [
        (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, -1, 0), (0, -1, -1, 0),
    ]:  # fmt: skip
        places = {(b * x + d * y, a * x + c * y): pixels[y, x] for y in range(2) for x in range(3)}
        top, left = min(y for y, _ in places), min(x for _, x in places)
        turned = Turn.of(matrix(a, b, c, d))(pixels)
        for (y, x), value in places.items():
            np.testing.assert_array_equal(turned[y - top, x - left], value)
    assert Turn.of(SimpleNamespace(side_data={})) == Turn()


class FrameOfLater:
    """A frame with side data of a kind that PyAV does not know."""

    def __init__(self, rotation: int) -> None:
        self.rotation = rotation

    @property
    def side_data(self) -> None:
        raise ValueError("31 is not a valid Type")


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_frames_with_unknown_side_data_turn_too(degrees: int, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving(2), degrees=degrees)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert Turn.of(FrameOfLater(frame.rotation)) == Turn.of(frame)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("video.mp4", b""),
        ("video.mp4", JUNK),
        ("video.m3u8", PLAYLIST),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with raises(VideoError, "cannot_read", path):
        open_video(path)


def test_other_files_are_not_videos(tmp_path: Path) -> None:
    with raises(VideoError, "not_found", tmp_path / "none.mp4"):
        open_video(tmp_path / "none.mp4")
    with raises(VideoError, "is_a_folder", tmp_path):
        open_video(tmp_path)
    Image.new("RGB", (20, 20)).save(tmp_path / "photo.jpg")
    (tmp_path / "text.txt").write_bytes(b"hello " * 100)
    for name in ("photo.jpg", "text.txt"):
        with raises(VideoError, "is_a_photo", tmp_path / name):
            open_video(tmp_path / name)


def test_sound_alone_is_not_a_video(tmp_path: Path) -> None:
    import av

    video = write_video(tmp_path / "video.mp4", moving(5))
    sound = tmp_path / "sound.mp4"
    with av.open(str(video)) as source, av.open(str(sound), "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    with open_video(sound) as container, raises(VideoError, "no_frames", sound):
        video_stream(container, sound)


def test_pyav_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with raises(SettingError, "missing_package") as caught:
        open_video(tmp_path / "video.mp4")
    assert caught.value.details == {"packages": ["av"], "extra": "video"}
