from __future__ import annotations

import io
import math
import os
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from errors_help import raises
from image_help import random_bytes
from PIL import Image
from video_help import moving, write_video

from fststyle.errors import PhotoError, SettingError, VideoError
from fststyle.video.container import Copied, Frame
from fststyle.video.convert import convert
from fststyle.video.encoders import Output
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
@pytest.mark.parametrize("start", [0.0, 0.4])
def test_pipes_are_read_once(start: float, tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mkv", moving(30))
    pipe = tmp_path / "pipe.mkv"
    os.mkfifo(pipe)
    copying = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    copying.start()
    with VideoReader(path, start=start) as expected, VideoReader(pipe, start=start) as actual:
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
    monkeypatch.setattr("fststyle.video.to_rgb.pixel_limit", lambda default: 1000)
    with raises(VideoError, "too_large", "64×48"):
        VideoReader(path)
    with raises(VideoError, "start_too_late", path, "9 s"):
        VideoReader(path, start=9)


def frames_in(path: Path, **options: Any) -> tuple[VideoReader, list[Frame]]:
    with VideoReader(path, **options) as reader:
        return reader, [item for item in reader.items() if isinstance(item, Frame)]


# A packed bitstream, as DivX wrote it into AVI files


def packed_video(path: Path, zeroed: int | None = None) -> Path:
    """Write 100 frames of MPEG-4 at 10 frames a second, a P and a B frame in one packet."""
    memory, packets = io.BytesIO(), list[bytes]()
    with av.open(memory, "w", "avi") as container:
        stream: Any = container.add_stream(
            "mpeg4", rate=10, options={"bf": "1", "g": "20", "qmax": "3"}
        )
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.max_b_frames = 1
        for index, pixels in enumerate(moving(100, 64, 96)):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            packets += [bytes(packet) for packet in stream.encode(frame)]
        packets += [bytes(packet) for packet in stream.encode(None)]

    def kind(data: bytes) -> str:
        place = data.find(b"\0\0\1\xb6")
        return "IPBS"[data[place + 4] >> 6] if place >= 0 else "?"

    begin = packets[0].find(b"\0\0\1\xb6")
    group = packets[0].find(b"\0\0\1\xb3")
    begin = group if 0 <= group < begin else begin
    packets[0] = packets[0][:begin] + b"\0\0\1\xb2DivX503b1393p\0" + packets[0][begin:]
    packed: list[bytes] = []
    while packets:
        first = packets.pop(0)
        if packets and (kind(first), kind(packets[0])) == ("P", "B"):
            packed += [first + packets.pop(0), b"\x7f"]
        else:
            packed.append(first)
    if zeroed is not None:
        assert len(packed[zeroed]) > 20
        packed[zeroed] = bytes(len(packed[zeroed]))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.time_base = Fraction(1, 10)
        container.start_encoding()
        for time, data in enumerate(packed):
            packet = av.Packet(data)
            packet.stream, packet.dts, packet.pts = stream, time, time
            packet.time_base, packet.is_keyframe = Fraction(1, 10), kind(data) == "I"
            container.mux(packet)
    return path


def test_packed_bitstream(tmp_path: Path) -> None:
    path = packed_video(tmp_path / "packed.avi")
    reader, frames = frames_in(path)
    assert [(frame.pts, frame.duration) for frame in frames] == [(i, 1) for i in range(100)]
    assert reader.damage.broken == 0
    # Each frame is the one of its time.
    for frame, pixels in zip(frames, moving(100, 64, 96), strict=True):
        assert frame.pixels is not None
        assert np.abs(frame.pixels.astype(int) - pixels).mean() < 8
    _, later = frames_in(path, start=5.0)
    assert [frame.pts for frame in later][:3] == [0, 1, 2]
    assert len(later) in (49, 50)


def test_damaged_packet_of_a_packed_bitstream(tmp_path: Path) -> None:
    whole = packed_video(tmp_path / "whole.avi")
    with av.open(str(whole)) as container:
        sizes = [packet.size for packet in container.demux(video=0)]
    zeroed = next(i for i in range(45, 60) if sizes[i] > 20 and sizes[i + 1] <= 2)
    reader, frames = frames_in(packed_video(tmp_path / "packed.avi", zeroed))
    assert [(frame.pts, frame.duration) for frame in frames] == [(i, 1) for i in range(100)]
    assert reader.damage.broken == 2
    lost = [frame.pts for frame in frames if frame.pixels is None]
    assert lost[1] == lost[0] + 1
    assert abs(lost[0] - zeroed) <= 1


# Frames whose size changes, and streams that nobody knows


def test_frames_of_another_size_are_fitted(tmp_path: Path) -> None:
    """A circle stays a circle, in the middle of the frame."""

    def encoded(width: int, height: int) -> list[tuple[bytes, bool]]:
        rows, columns = np.mgrid[:height, :width]
        circle = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < 900
        pixels = np.where(circle[..., None], 230, 60).astype(np.uint8).repeat(3, axis=2)
        packets: list[tuple[bytes, bool]] = []
        with av.open(io.BytesIO(), "w", "webm") as container:
            stream: Any = container.add_stream("libvpx", rate=10, options={"deadline": "realtime"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for index in range(4):
                frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 10)
                packets += [(bytes(p), p.is_keyframe) for p in stream.encode(frame)]
            packets += [(bytes(p), p.is_keyframe) for p in stream.encode(None)]
        return packets

    path = tmp_path / "turns.webm"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.time_base = Fraction(1, 1000)
        container.start_encoding()
        for index, (data, is_key) in enumerate(encoded(160, 96) + encoded(96, 160)):
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts = stream, 100 * index, 100 * index
            packet.time_base, packet.is_keyframe = Fraction(1, 1000), is_key
            container.mux(packet)
    reader, frames = frames_in(path)
    assert reader.resized == 4
    extents = []
    for frame in frames:
        assert frame.pixels is not None
        assert frame.pixels.shape == (96, 160, 3)
        bright = frame.pixels[..., 1] > 150
        height, width = bright.any(axis=1).sum(), bright.any(axis=0).sum()
        assert abs(int(height) - int(width)) <= 3
        middle = np.argwhere(bright).mean(axis=0)
        assert middle == pytest.approx([47.5, 79.5], abs=1.5)
        extents.append(int(width))
    assert extents[0] == pytest.approx(59, abs=3)
    assert extents[-1] == pytest.approx(59 * 96 / 160, abs=3)
    assert frames[-1].pixels is not None
    assert frames[-1].pixels[:, :40].max() == 0  # black beside the upright frame


def test_sound_of_an_unknown_codec_is_left_out(tmp_path: Path) -> None:
    """New iPhones add a second sound track of a codec that FFmpeg does not know."""
    path = tmp_path / "two.mov"
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sounds: list[Any] = [container.add_stream("aac", rate=48000) for _ in range(2)]
        for index, pixels in enumerate(moving(5)):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for sound in sounds:
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            samples.sample_rate, samples.pts = 48000, 0
            container.mux([*sound.encode(samples), *sound.encode(None)])
    content = bytearray(path.read_bytes())
    entries = [i + 16 for i in range(len(content)) if content[i : i + 4] == b"stsd"]
    second = [i for i in entries if content[i : i + 4] == b"mp4a"][1]
    content[second : second + 4] = b"apac"
    box = content.index(b"esds", second)
    content[box : box + 4] = b"dapa"
    while (other := content.find(b"mp4a", second, second + 300)) >= 0:
        content[other : other + 4] = b"apac"
    path.write_bytes(content)
    with VideoReader(path) as reader:
        assert reader.left_out == ["audio"]
        assert [stream.codec_context.name for stream in reader.copied] == ["aac"]
        assert any(isinstance(item, Copied) for item in reader.items())


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_texts_that_are_not_utf8(tmp_path: Path, suffix: str) -> None:
    path = write_video(tmp_path / f"old{suffix}", moving(5), title="caXX", chapters=[(0, 200)])
    content = path.read_bytes().replace(b"caXX", b"caf\xe9").replace(b"part 1", b"p\xe9rt \x8c")
    path.write_bytes(content)
    with VideoReader(path) as reader:
        assert reader.metadata["title"] == "café"
        assert reader.chapters(1)[0]["metadata"]["title"] == "pért Œ"
        copy = Output(tmp_path / f"copy{suffix}")
        convert(reader, copy, lambda pixels, seconds: pixels)
    with VideoReader(copy.path) as reader:
        assert reader.metadata["title"] == "café"


@pytest.mark.parametrize("seconds", [(0, 100), (100, 0), (0, 95_442)])
def test_jumps_in_the_clock_of_a_broadcast_are_removed(
    tmp_path: Path, seconds: tuple[int, int]
) -> None:
    path = tmp_path / "joined.ts"
    path.write_bytes(b"")
    for number, begin in enumerate(seconds):
        times = [1000 * begin + 40 * index for index in range(12)]
        part = write_part(tmp_path / f"{number}.ts", moving(12), times)
        path.write_bytes(path.read_bytes() + part.read_bytes())
    reader, frames = frames_in(path)
    shown = [float(frame.pts * reader.info.time_base) for frame in frames]
    assert shown == pytest.approx([0.04 * index for index in range(24)], abs=0.001)
    assert reader.damage.truncated == ""
    with VideoReader(path, start=0.6, duration=0.2) as reader:
        selected = [item for item in reader.items() if isinstance(item, Frame)]
    assert len(selected) == 5
    for frame, expected in zip(selected, frames[15:20], strict=True):
        np.testing.assert_array_equal(np.asarray(frame.pixels), np.asarray(expected.pixels))


def write_part(path: Path, frames: list[Any], times: list[int]) -> Path:
    """Write a transport stream without sound, with the given times in milliseconds."""
    with av.open(str(path), "w", options={"mpegts_copyts": "1"}) as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for pixels, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("audio", [None, "aac"])
def test_late_video(tmp_path: Path, suffix: str, audio: str | None) -> None:
    """It begins at 0, unless there is earlier sound, with which it stays in step."""
    times = [5000 + 40 * index for index in range(10)]
    path = write_video(tmp_path / f"late{suffix}", moving(10), times=times, audio=audio)
    reader, frames = frames_in(path)
    shown = [float(1000 * frame.pts * reader.info.time_base) for frame in frames]
    assert shown == pytest.approx([time - (5000 if audio is None else 0) for time in times], abs=1)
    assert reader.damage.truncated == ""
    if audio is None:
        with VideoReader(path, start=0.2) as reader:
            rest = [item for item in reader.items() if isinstance(item, Frame)]
        assert [frame.pixels.tobytes() for frame in rest if frame.pixels is not None] == [
            frame.pixels.tobytes() for frame in frames[5:] if frame.pixels is not None
        ]


def test_animated_webp(tmp_path: Path) -> None:
    path = tmp_path / "video.webp"
    images = [Image.fromarray(random_bytes(31, 45, 3, seed=seed)) for seed in range(4)]
    images[2].putalpha(0)
    options: dict[str, Any] = {"save_all": True, "append_images": images[1:], "lossless": True}
    images[0].save(path, duration=[40, 100, 80, 60], **options)
    with VideoReader(path) as reader:
        frames = [item for item in reader.items() if isinstance(item, Frame)]
        unit = reader.info.time_base
        assert reader.info.rate == Fraction(100, 7)
    assert [frame.pts * unit * 1000 for frame in frames] == [0, 40, 140, 220]
    assert [frame.duration * unit * 1000 for frame in frames] == [40, 100, 80, 60]
    images[2] = Image.new("RGB", images[0].size, "white")
    for frame, image in zip(frames, images, strict=True):
        np.testing.assert_array_equal(np.asarray(frame.pixels), np.asarray(image))
    with VideoReader(path, start=0.1) as reader:
        assert len(list(reader.items())) == 2
    path.write_bytes(path.read_bytes()[:-300])
    with raises(PhotoError, "damaged"):
        VideoReader(path)
