from __future__ import annotations

from pathlib import Path

import av
import pytest
from errors_help import raises

from fststyle.errors import SettingError, VideoError
from fststyle.video.encoders import (
    CODECS,
    VIDEO_SUFFIXES,
    Output,
    check_video_output,
)


@pytest.mark.parametrize("suffix", [*VIDEO_SUFFIXES, ".MP4"])
def test_all_formats_have_an_encoder(suffix: str) -> None:
    check_video_output(Output(Path(f"video{suffix}")))
    for codec in ("nothing", "aac"):
        with raises(VideoError, "unknown_codec", codec, *CODECS):
            check_video_output(Output(Path(f"video{suffix}"), codec=codec))


def test_unknown_extensions() -> None:
    with raises(VideoError, "unknown_extension", "video.avi", *VIDEO_SUFFIXES):
        check_video_output(Output(Path("video.avi")))


@pytest.mark.parametrize("codec", CODECS)
def test_quality(codec: str) -> None:
    output = Output(Path("video.mkv"), codec)
    encoder = output.encoder
    assert av.Codec(encoder.name, "w").type == "video"
    assert encoder.default_crf is not None
    assert 0 < encoder.default_crf < encoder.max_crf
    check_video_output(Output(output.path, codec, crf=encoder.max_crf))
    with raises(SettingError, "setting", "crf", encoder.max_crf):
        check_video_output(Output(output.path, codec, crf=encoder.max_crf + 1))


def test_encoders_without_quality() -> None:
    with raises(SettingError, "no_crf", "ffv1"):
        check_video_output(Output(Path("video.mkv"), "ffv1", crf=20))


def test_pixels_are_square_if_nothing_stores_their_aspect() -> None:
    names = {("a.mp4", "vp9"): False, ("a.mkv", None): False, ("a.mkv", "hevc"): False}
    names |= {("a.mkv", "vp9"): True, ("a.webm", None): True, ("a.gif", None): True}
    for (name, codec), expected in names.items():
        assert Output(Path(name), codec).needs_square_pixels == expected
