from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from video_help import facts_of, frames_of, moving, write_video

from fststyle.errors import VideoError
from fststyle.video.reader import VideoReader
from fststyle.video.writer import Output, VideoWriter, check_video_output


def test_frames_come_back_at_their_times(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", moving(4), audio=None)
    target = tmp_path / "result.mkv"
    with VideoReader(film) as reader:
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


def test_a_film_of_one_pixel_needs_another_codec(tmp_path: Path) -> None:
    frames = [frame[:1, :1].copy() for frame in moving(2, 48, 64)]
    film = write_video(tmp_path / "film.mkv", frames, codec="ffv1", pixels="yuv444p", audio=None)
    with VideoReader(film) as reader, pytest.raises(VideoError, match="one pixel"):
        VideoWriter(tmp_path / "a.mp4", Output(tmp_path / "a.mp4"), reader)


@pytest.mark.parametrize("suffix", [".MP4", ".mkv", ".mov", ".webm", ".ts", ".gif", ".webp"])
def test_all_formats_have_an_encoder(suffix: str) -> None:
    check_video_output(Output(Path(f"film{suffix}")))
    with pytest.raises(VideoError, match="no encoder nothing"):
        check_video_output(Output(Path(f"film{suffix}"), codec="nothing"))
