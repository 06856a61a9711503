"""HDR is converted to BT.709: grey stays in order, white stays visible."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")

import av

from fststyle.video.container import BT709, Frame
from fststyle.video.hdr import TRANSFERS, to_bt709
from fststyle.video.reader import VideoReader

REFERENCE = {18: 0.75, 16: 0.58}  # signal of reference white (ITU-R BT.2408)


def grey_ramp(path: Path, colours: tuple[int, int, int, int], levels: int = 64) -> Path:
    """Write a video of 10 bits whose only frame is a ramp of grey from black to white."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(
            "libx265", rate=10, options={"x265-params": "lossless=1"}
        )
        stream.width, stream.height, stream.pix_fmt = 4 * levels, 64, "yuv420p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = (
            colours
        )
        frame: Any = av.VideoFrame(stream.width, 64, "yuv420p10le")
        ramp = np.repeat(np.linspace(64, 940, levels).round().astype(np.uint16), 4)
        rows: list[Any] = [ramp, 512, 512]
        for plane, row in zip(frame.planes, rows, strict=True):
            view = np.frombuffer(plane, np.uint16).reshape(plane.height, plane.line_size // 2)
            view[:, : plane.width] = row
        frame.pts, frame.time_base = 0, Fraction(1, 10)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def only_frame(path: Path) -> tuple[Any, np.ndarray]:
    with VideoReader(path) as reader:
        (frame,) = [item for item in reader.items() if isinstance(item, Frame)]
        assert frame.pixels is not None
        return reader.info, frame.pixels[32, 2::4].astype(int)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_grey_ramp_of_a_video(tmp_path: Path, transfer: int) -> None:
    info, row = only_frame(grey_ramp(tmp_path / "hdr.mkv", (9, transfer, 9, 1)))
    assert info.colours == BT709
    assert (np.diff(row[:, 1]) > 0).all()  # to the very end
    assert np.abs(row - row[:, [1]]).max() <= 1  # still grey
    assert row[0].max() <= 1
    assert row[-1].min() >= 254
    white = np.interp(REFERENCE[transfer], np.linspace(0, 1, len(row)), row[:, 1])
    assert 160 < white < 235


def test_ordinary_video_stays(tmp_path: Path) -> None:
    info, row = only_frame(grey_ramp(tmp_path / "sdr.mkv", (1, 1, 1, 1)))
    assert info.colours == BT709
    assert np.abs(row[:, 1] - np.linspace(0, 255, len(row))).max() <= 1


def test_dark_values_against_the_formulas() -> None:
    """Below the knee, light is only scaled: 100 cd/m² of a grey level keep their share of 406."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    light = 50.0
    power = (light / 10_000) ** m1
    signal = ((c1 + c2 * power) / (1 + c3 * power)) ** m2
    pixels = np.full((1, 1, 3), round(signal * 65535), np.uint16)
    expected = 255 * (light / 406) ** (1 / 2.4)
    assert to_bt709(pixels, 16)[0, 0] == pytest.approx([expected] * 3, abs=1.5)
    # HLG: scene light s gives 1000 · s^1.2 on a display; the signal of s ≤ 1/12 is √(3 s).
    scene = 0.05
    pixels = np.full((1, 1, 3), round((3 * scene) ** 0.5 * 65535), np.uint16)
    expected = 255 * (1000 * scene**1.2 / 406) ** (1 / 2.4)
    assert to_bt709(pixels, 18)[0, 0] == pytest.approx([expected] * 3, abs=1.5)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_hues_stay(transfer: int) -> None:
    """A colour that BT.709 can show keeps the order and the ratio of its channels."""
    soft = np.array([[[30000, 26000, 24000]]], np.uint16)
    red, green, blue = to_bt709(soft, transfer)[0, 0].astype(int)
    assert red > green > blue
