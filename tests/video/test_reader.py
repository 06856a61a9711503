from __future__ import annotations

import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from video_help import moving, write_video

from fststyle.errors import FststyleError, SettingError, VideoError
from fststyle.video.container import Copied, Frame, Turn
from fststyle.video.reader import VideoReader


def test_what_is_known_of_a_film(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", moving(10), subtitles="mov_text")
    with VideoReader(film) as reader:
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
    with VideoReader(film, copies=(), start=0.2, duration=0.1) as reader:
        assert reader.info.frames == 2
        assert reader.info.seconds == pytest.approx(0.1)
        assert [type(item) for item in reader.items()] == [Frame] * 3
        assert reader.copied == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_seeking_finds_the_frame(tmp_path: Path, suffix: str) -> None:
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    frames = moving(40)
    film = write_video(tmp_path / f"film{suffix}", frames, codec=codec, audio=None)
    for start, number in ((0.0, 0), (0.4, 10), (0.99, 25)):
        with VideoReader(film, start=start) as reader:
            first = next(item for item in reader.items() if isinstance(item, Frame))
        assert first.pixels is not None
        distances = [np.abs(first.pixels.astype(int) - frame).mean() for frame in frames]
        assert int(np.argmin(distances)) == number


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


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("film.mp4", None, "There is no film"),
        ("film.mp4", b"", "no film that can be read"),
        ("film.mp4", b"\x00\x00\x00\x18ftypmp42" + bytes(400), "no film that can be read"),
        ("film.txt", b"hello " * 100, "no film"),
        ("film.m3u8", b"#EXTM3U\n#EXTINF:1,\nhttp://localhost:1/x.ts\n#EXT-X-ENDLIST\n", "no film"),
    ],
)
def test_what_is_no_film(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VideoError, match=words) as caught:
        VideoReader(path)
    assert str(path) in str(caught.value)


def test_photos_sound_and_folders_are_no_films(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "photo.jpg")
    with pytest.raises(VideoError, match="fststyle stylize"):
        VideoReader(tmp_path / "photo.jpg")
    with pytest.raises(VideoError, match="folder"):
        VideoReader(tmp_path)
    import av

    film = write_video(tmp_path / "film.mp4", moving(5))
    with av.open(str(film)) as source, av.open(str(tmp_path / "sound.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    with pytest.raises(VideoError, match="no pictures"):
        VideoReader(tmp_path / "sound.mp4")
    with pytest.raises(VideoError, match="no frame after 9 s"):
        VideoReader(film, start=9)


def test_settings_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = write_video(tmp_path / "film.mp4", moving(2), audio=None)
    for wrong in ({"start": -1.0}, {"duration": 0.0}, {"size": 0}):
        with pytest.raises(SettingError):
            VideoReader(film, **wrong)
    monkeypatch.setenv("FSTSTYLE_MAX_MEGAPIXELS", "1")
    monkeypatch.setattr("fststyle.video.reader.pixel_limit", lambda default: 1000)
    with pytest.raises(VideoError, match="64×48"):
        VideoReader(film)


def test_without_pyav_the_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(FststyleError, match=r'pip install "fststyle\[video\]"'):
        VideoReader(tmp_path / "film.mp4")
