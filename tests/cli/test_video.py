from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from video_help import facts_of, frames_of, moving, packets_of, times_of, write_video

from fststyle.cli import main as cli
from fststyle.images.save import save_photo
from fststyle.styles import find
from fststyle.video.encoders import CRF, VIDEO_SUFFIXES
from fststyle.video.video_stylizer import SMOOTHING, STEADY, VideoStylizer


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a film and no styles but the tests'."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(find, "zoo_folder", lambda: tmp_path / "zoo")
    monkeypatch.chdir(tmp_path)
    write_video(Path("film.mp4"), moving(12, 64, 96), subtitles="mov_text")
    return tmp_path


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(["video", *map(str, arguments)])
    assert isinstance(stop.value.code, int)
    return stop.value.code


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run, and return the one sentence that says why not."""
    assert run(*arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_film(folder: Path, style_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--style", style_path, "--device", "cpu", "--steady", "0", "--smoothing", "0")
    assert run("film.mp4", *options, "-o", "out.mp4", "--crf", "0", "--threads", "1") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("out.mp4  96×64  12 frames, 0.5 s  ")
    assert times_of(Path("out.mp4")) == times_of(Path("film.mp4"))
    for kind in ("audio", "subtitle"):
        assert packets_of(Path("out.mp4"), kind) == packets_of(Path("film.mp4"), kind)
    assert "in the style small" in facts_of(Path("out.mp4"))["metadata"]["comment"]
    stylizer = VideoStylizer(style_path, steady=0, smoothing=0, device="cpu")
    for frame, result in zip(frames_of(Path("film.mp4")), frames_of(Path("out.mp4")), strict=True):
        expected = stylizer.frame(frame, 0)
        # Not equal: film keeps colours at half the resolution.
        difference = expected.mean(axis=(0, 1)) - result.mean(axis=(0, 1))
        assert np.abs(difference).max() < 3
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def test_map_of_strengths(
    folder: Path, style_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.zeros((8, 8, 3), np.float32)
    values[:, 4:] = 1
    save_photo(values, "map.png")
    options = ("--style", style_path, "--device", "cpu", "--steady", "0", "--crf", "0")
    assert run("film.mp4", *options, "-o", "out.mp4", "--strength-map", "map.png") == 0
    capsys.readouterr()
    for frame, result in zip(frames_of(Path("film.mp4")), frames_of(Path("out.mp4")), strict=True):
        change = np.abs(frame.astype(int) - result).mean(axis=(0, 2))
        assert change[:40].mean() < 3  # only the rounding of colours in films
        assert change[-40:].mean() > 10
    refused(capsys, "film.mp4", *options, "-o", "out.mp4", "--strength-map", "no.png")
    Path("map.mp4").write_bytes(Path("map.png").read_bytes())
    text = refused(capsys, "film.mp4", *options, "-o", "map.mp4", "--strength-map", "map.mp4")
    assert "would replace" in text


def test_facts_as_json(folder: Path, style_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = run(
        *("film.mp4", "--style", f"{style_path}:1", "-o", "out.webm", "--json"),
        *("--no-audio", "--no-subtitles", "--size", "48", "--start", "0:00:0.2"),
        *("--duration", "0.2", "--strength", "0.5", "--keep-colors", "--scale", "0.5"),
    )
    assert status == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts.pop("frames_per_second") > 0
    assert facts == {
        **{"input": "film.mp4", "output": "out.webm", "style": f"{style_path}:1"},
        **{"width": 48, "height": 32, "frames": 5, "seconds": 0.2, "broken": 0, "cuts": 0},
        **{"truncated": False, "interrupted": False, "streams_left_out": 0, "frames_fitted": 0},
    }
    assert facts_of(Path("out.webm"))["streams"] == ["video"]
    assert facts_of(Path("out.webm"))["codec"] == "vp9"


def test_codecs(folder: Path, style_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(Path("short.mkv"), moving(3, 64, 64), audio=None)
    for codec, name in (("hevc", "hevc"), ("av1", "av1"), ("vp9", "vp9"), ("ffv1", "ffv1")):
        assert run("short.mkv", "--style", style_path, "-o", "o.mkv", "--codec", codec) == 0
        seen = facts_of(Path("o.mkv"))
        # Which library decodes AV1 differs.
        assert name in seen["codec"] or codec == "av1"
        assert len(frames_of(Path("o.mkv"))) == 3
    # An encoder that names no pixel formats.
    assert run("short.mkv", "--style", style_path, "-o", "o.mkv", "--codec", "rawvideo") == 0
    assert "Traceback" not in capsys.readouterr().err
    arguments = ("short.mkv", "--style", style_path, "-o")
    for codec in ("nothing", "aac"):
        words = refused(capsys, *arguments, "o.mkv", "--codec", codec)
        assert f"{codec} is not a video encoder" in words
    assert "not support a CRF" in refused(
        capsys, *arguments, "o.mkv", "--codec", "ffv1", "--crf", "3"
    )
    assert "crf must be a whole number from 0 to 51" in refused(
        capsys, *arguments, "o.mkv", "--crf", "52"
    )
    vp9 = ("--codec", "vp9", "--crf", "64")
    assert "from 0 to 63" in refused(capsys, *arguments, "o.mkv", *vp9)
    # Motion JPEG wants levels up to 255.
    unusable = refused(capsys, *arguments, "o.mkv", "--codec", "mjpeg")
    assert "encoder mjpeg cannot be used" in unusable
    assert (
        ".mkv files cannot contain png streams. Choose another --codec, such as h264.\n"
        in refused(capsys, *arguments, "o.mkv", "--codec", "png")
    )
    assert ".webm files cannot contain" in refused(capsys, *arguments, "o.webm", "--codec", "h264")


def test_what_is_refused(
    folder: Path, style_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--style", style_path, "-o")
    os.link("film.mp4", "link.mp4")
    before = sorted(folder.iterdir())
    for words, arguments in {
        "would replace film.mp4": ("film.mp4", *options, "film.mp4"),
        "replace film.mp4": ("film.mp4", *options, "link.mp4"),
        "sound (aac). Use the extension .mp4 for the file": ("film.mp4", *options, "o.webm"),
        "--no-subtitles": ("film.mp4", *options, "o.mkv"),
        "Use one of .mp4": ("film.mp4", *options, "o.avi"),
        "none.mp4 does not exist": ("none.mp4", *options, "o.mp4"),
        "the folder none does not exist": ("film.mp4", *options, "none/o.mp4"),
        "duration must be": ("film.mp4", *options, "o.mp4", "--duration", "0"),
        "fststyle train style=ink_wash": ("film.mp4", "--style", "ink_wash", "-o", "o.mp4"),
    }.items():
        assert words in refused(capsys, *arguments)
    assert sorted(folder.iterdir()) == before
    for option, value in {
        "--steady": "2", "--start": "x", "--smoothing": "-1", "--size": "0", "--scale": "99",
    }.items():  # fmt: skip
        assert run("film.mp4", *options, "o.mp4", option, value) == 2


def test_damage_is_told(folder: Path, style_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = write_video(Path("whole.mkv"), moving(60), options={"g": "5"})
    content = whole.read_bytes()
    Path("half.mkv").write_bytes(content[: len(content) // 2])
    assert run("half.mkv", "--style", style_path, "-o", "out.mkv") == 0
    out, err = capsys.readouterr()
    assert "half.mkv is truncated: it ends after" in err
    assert "out.mkv" in out
    assert run("film.mp4", "--style", style_path, "-o", "out.gif", "--steady", "0") == 0
    assert capsys.readouterr().err == "gif files contain neither sound nor subtitles.\n"


@pytest.mark.skipif(os.name != "posix", reason="signals are of Unix")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_ctrl_c_leaves_a_film(folder: Path, style_path: Path, number: str) -> None:
    write_video(Path("long.mp4"), moving(200, 128, 192))
    program = (
        "import time\nfrom fststyle.__main__ import main\n"
        "from fststyle.video.video_stylizer import VideoStylizer\n"
        "frame = VideoStylizer.frame\n"
        "def slow(self, *arguments, **control):\n"
        "    print('frame', flush=True)\n    time.sleep(0.05)\n"
        "    return frame(self, *arguments, **control)\n"
        "VideoStylizer.frame = slow\n"
        "main()\n"
    )
    command = [sys.executable, "-c", program, "video", "long.mp4", "--style", str(style_path)]
    with subprocess.Popen(
        [*command, "-o", "out.mp4"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(12):
            process.stdout.readline()
        process.send_signal(getattr(signal, number))
        process.stdout.read()
        err = process.stderr.read()
    assert process.returncode == 130
    assert "Interrupted: out.mp4 contains the first" in err
    assert "of 8.0 s" in err
    frames = len(frames_of(Path("out.mp4")))
    assert 10 <= frames < 100
    assert packets_of(Path("out.mp4"), "audio") != []
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def test_no_torch_is_loaded(folder: Path, style_path: Path) -> None:
    program = (
        "import sys\nfrom fststyle.cli import main as cli\n"
        "try:\n    cli.main(sys.argv[1:])\nexcept SystemExit as stop:\n    print(stop.code)\n"
        "print(sorted({'torch', 'onnxruntime', 'matplotlib'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", program, "video", "film.mp4", "--style", str(style_path)]
    done = subprocess.run(
        [*command, "-o", "out.mp4"], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines()[-2:] == ["0", "[]"]


def test_the_help_tells_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"mixed in; default: {STEADY:g}" in text
    assert f"smoothed; default: {SMOOTHING:g}" in text
    assert f"h264: {CRF}" in text
    assert all(suffix in text for suffix in VIDEO_SUFFIXES if suffix != ".m4v")
