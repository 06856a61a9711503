from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from errors_help import raises
from video_help import facts_of, frames_of, moving, times_of, write_video

from fststyle.errors import VideoError
from fststyle.video.container import Frame
from fststyle.video.convert import convert
from fststyle.video.encoders import Output
from fststyle.video.gif_writer import GifWriter
from fststyle.video.reader import VideoReader
from fststyle.video.writer import VideoWriter, open_writer


def test_frames_come_back_at_their_times(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.mp4", moving(4), audio=None)
    target = tmp_path / "result.mkv"
    with VideoReader(video) as reader:
        unit = reader.info.time_base
        with VideoWriter(target, Output(target, crf=0, note="A note."), reader) as writer:
            for index, frame in enumerate(moving(4)):
                writer.add_frame(frame, round(index / 10 / unit), round(1 / 10 / unit))
    assert writer.frames == 4
    assert writer.seconds == pytest.approx(0.4, abs=0.001)
    for expected, actual in zip(moving(4), frames_of(target), strict=True):
        assert np.abs(actual.astype(int) - expected).mean() < 4  # colours at half the resolution
    facts = facts_of(target)
    assert facts["metadata"]["COMMENT"] == "A note."
    assert facts["seconds"] == pytest.approx(0.4, abs=0.002)


def test_a_video_of_one_pixel_needs_another_codec(tmp_path: Path) -> None:
    frames = [frame[:1, :1].copy() for frame in moving(2, 48, 64)]
    video = write_video(tmp_path / "video.mkv", frames, codec="ffv1", pixels="yuv444p", audio=None)
    with VideoReader(video) as reader, raises(VideoError, "too_small_to_encode", "libx264"):
        VideoWriter(tmp_path / "a.mp4", Output(tmp_path / "a.mp4"), reader)


def test_streams_that_a_format_cannot_hold(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.mp4", moving(3), subtitles="mov_text")
    with VideoReader(video) as reader:
        with raises(VideoError, "format_lacks_sound", "aac") as caught:
            open_writer(tmp_path / "a.webm", Output(tmp_path / "a.webm"), reader)
        assert caught.value.details["extension"] == ".mp4"
    with VideoReader(video, copies=("subtitle",)) as reader:
        with raises(VideoError, "format_lacks_subtitles", "mov_text"):
            open_writer(tmp_path / "a.mkv", Output(tmp_path / "a.mkv"), reader)
        for name, codec in (("a.webm", "h264"), ("a.gif", "h264")):
            with raises(VideoError, "format_lacks_codec", "libx264"):
                open_writer(tmp_path / name, Output(tmp_path / name, codec), reader)


def test_gif_has_a_writer_of_its_own(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.mp4", moving(4), audio=None)
    target = tmp_path / "result.gif"
    with VideoReader(video) as reader:
        unit = reader.info.time_base
        with open_writer(target, Output(target), reader) as writer:
            assert isinstance(writer, GifWriter)
            for index, frame in enumerate(moving(4)):
                writer.add_frame(frame, round(index / 100 / unit), round(1 / 100 / unit))
    # Frames that follow too closely are left out.
    assert writer.frames == 2
    assert times_of(target) == [0, 0.02]
    assert writer.size == (64, 48)


def test_gif_frames_in_another_format_keep_their_times(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.mp4", moving(4), audio=None)
    target = tmp_path / "result.mov"
    with VideoReader(video) as reader:
        convert(reader, Output(target, "gif"), lambda pixels, seconds: pixels)
    assert times_of(target) == times_of(video)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v", ".mkv"])
def test_hevc_has_the_tag_of_apples_players(tmp_path: Path, suffix: str) -> None:
    source = write_video(tmp_path / "video.mp4", moving(3))
    output = Output(tmp_path / f"out{suffix}", codec="hevc")
    with VideoReader(source) as reader, open_writer(output.path, output, reader) as writer:
        for item in reader.items():
            if isinstance(item, Frame):
                assert item.pixels is not None
                writer.add_frame(item.pixels, item.pts, item.duration)
    with av.open(str(output.path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "hevc"
        if suffix != ".mkv":
            assert stream.codec_context.codec_tag == "hvc1"
