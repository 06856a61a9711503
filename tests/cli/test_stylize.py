from __future__ import annotations

import json
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_help import Done, Run, run_command
from numpy.typing import NDArray
from PIL import Image
from user_help import run_unprivileged

from fststyle.cli import stylize as cli_stylize
from fststyle.images.animation import load_frames, save_animation
from fststyle.images.bundled import builtin_photos
from fststyle.images.load import load_image
from fststyle.images.photo import Photo
from fststyle.images.save import save_photo
from fststyle.styles import find
from fststyle.stylize import file_stylizer, regions, strokes, subject
from fststyle.stylize.blend import keep_colors
from fststyle.stylize.stylizer import Stylizer

COMMAND = [sys.executable, "-m", "fststyle", "stylize"]


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str],
    style_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Run ``fststyle stylize --style small`` in this process, with an empty zoo."""
    monkeypatch.setattr(find, "zoo_folder", lambda: tmp_path / "zoo")

    def run_(*arguments: str | Path, style: str | Path = style_path) -> Done:
        return run_command(capsys, "stylize", *arguments, "--style", style)

    return run_


def picture(seed: int, height: int = 9, width: int = 12) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (height, width, 3)).astype(np.float32) / np.float32(255)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with four photos."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for seed, name in enumerate(("in/a.png", "in/b.png", "in/sub/a.png", "in/sub/c.jpg")):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        save_photo(picture(seed), name)
    return here


def files_in(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def assert_refused(done: Done, *expected: str) -> None:
    """One sentence that holds certain words, and nothing else."""
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1
    for words in expected:
        assert words in done.err


# Many photos


def test_a_folder(run: Run, style_path: Path) -> None:
    before = files_in(Path("in"))
    done = run("in", "-o", "new/out", "--jobs", "2")
    assert done.status == 0
    assert re.fullmatch(r"4 photos in [0-9.]+ s\n", done.err)
    lines = done.out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        [f"new/out/{name}", "12×9", "small"] for name in before
    ]
    assert set(files_in(Path("new/out"))) == set(before)
    assert files_in(Path("in")) == before
    small = Stylizer(style_path, device="cpu")
    for name in ("a.png", "b.png", "sub/a.png"):
        expected = small(load_image(Path("in", name)))
        np.testing.assert_allclose(load_image(Path("new/out", name)), expected, atol=0.51 / 255)


def test_quoted_patterns_and_formats(run: Run) -> None:
    assert run("in/**/*.png", "-o", "out", "--format", "webp").status == 0
    assert set(files_in(Path("out"))) == {"a.webp", "b.webp", "sub/a.webp"}


@pytest.mark.needs("torch")
def test_nothing_is_done_where_one_thing_is_wrong(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("in/a.jpg").touch()
    Path("there").mkdir()
    Path("there/b.png").touch()
    before = files_in(folder)

    def no_photo(*_: object, **__: object) -> None:
        raise AssertionError("a photo was read")

    monkeypatch.setattr(file_stylizer, "load_photo", no_photo)
    assert_refused(run("in", "-o", "there"), "there/b.png already exists", "--skip-existing")
    assert_refused(run("in", "-o", "in", "--overwrite"), "would replace", "in/a.")
    assert_refused(run("in", "-o", "in/a.png"), "-o")
    assert_refused(run("no/*.png", "-o", "out"), "No file matches no/*.png")
    assert_refused(run("in", "-o", "out", style="no_such"), "'no_such'")
    assert_refused(run("in", "-o", "out", "--mask", "no.png"), "no.png does not exist")
    assert_refused(run("in", "-o", "out", "--style-outside", "x"), "--style-outside needs a mask")
    assert_refused(run("in", "-", "-o", "out"), "- stands for a single photo")
    assert_refused(run("in", "-o", "-"), "- stands for a single photo")
    assert_refused(run("in", "-o", "out", style="thanos_poster"), "needs a trained network")
    assert_refused(
        run("in/a.png", "-o", "o.png", "--strength", "0.5", style="thanos_poster"), "--strength"
    )
    for option in (["--strength", "0"], ["--scale", "2"], ["--strip"], ["--no-repaint"]):
        refused = run("in/a.png", "-o", "o.png", *option, style="thanos_poster")
        assert_refused(refused, f"{option[0]} needs a trained network")
    assert_refused(run("in/a.png", "-o", "o.gif", style="thanos_poster"), "Cannot write .gif")
    assert_refused(run("in/a.png", "-o", "o.jpg", "--format", "png"), "does not match")
    assert files_in(folder) == before
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--strength", "4.5"], "from 0 to 4, not '4.5'"),
        (["--subject", "-1"], "from 0 to 4, not '-1'"),
        (["--background", "nan"], "from 0 to 4, not 'nan'"),
        (["--faces", "wild"], "invalid choice: 'wild'"),
        (["--strength", "x"], "from 0 to 4, not 'x'"),
        (["--scale", "0.1"], "from 0.25 to 64, not '0.1'"),
        (["--scale", "nan"], "from 0.25 to 64, not 'nan'"),
        (["--overwrite", "--skip-existing"], "not allowed with"),
        (["--jobs", "0"], "from 1"),
        (["--format", "heic"], "invalid choice"),
        (["--size", "half"], "or full, not 'half'"),
        (["--quality", "0"], "from 1 to 100, not '0'"),
        (["--quality", "101"], "from 1 to 100"),
        (["--strip", "--keep-gps"], "not allowed with"),
        (["--tile", "0"], "from 1"),
    ],
)
def test_wrong_usage(run: Run, arguments: list[str], expected: str) -> None:
    done = run("in", "-o", "out", *arguments)
    assert (done.status, done.out) == (2, "")
    assert expected in done.err


@pytest.mark.skipif(os.name != "posix", reason="links need no rights on POSIX")
def test_patterns_follow_no_circles(run: Run) -> None:
    Path("in/sub/up").symlink_to("..", target_is_directory=True)
    Path("in/.hidden").mkdir()
    save_photo(picture(9), "in/.hidden/d.png")
    for number, pattern in enumerate(("in/**/*.png", "**/in/**/*.png", "./in/**/[a-c].png")):
        assert run(pattern, "-o", f"out{number}").status == 0
        found = files_in(Path(f"out{number}"))
        assert {Path(name).name for name in found} == {"a.png", "b.png"}
        assert len(found) == 3
    assert run("in/**", "-o", "all").status == 0
    assert len(files_in(Path("all"))) == 4


def test_still_pictures_as_gif(run: Run) -> None:
    assert run("in", "-o", "out", "--format", "gif").status == 0
    with Image.open("out/sub/c.gif") as image:
        assert (image.format, image.size) == ("GIF", (12, 9))


def test_existing_results(run: Run) -> None:
    Path("out").mkdir()
    save_photo(picture(9), "out/a.png")
    old = Path("out/a.png").read_bytes()
    done = run("in/a.png", "in/b.png", "-o", "out", "--skip-existing")
    assert done.status == 0
    assert done.out.startswith("out/a.png  already exists\nout/b.png  12×9")
    assert Path("out/a.png").read_bytes() == old
    assert run("in/a.png", "in/b.png", "-o", "out", "--overwrite").status == 0
    assert Path("out/a.png").read_bytes() != old
    done = run("in/a.png", "-o", "out/b.png", "--skip-existing")
    assert (done.status, done.err) == (0, "")
    done = run("in", "-o", "out", "--skip-existing", style="no_such")
    assert_refused(done, "no_such")


def test_bad_photos_stop_no_others(run: Run) -> None:
    Path("in/bad.png").write_bytes(Path("in/a.png").read_bytes()[:60])
    Path("in/empty.jpg").touch()
    done = run("in", "in/missing.png", "-o", "out", "--json")
    assert done.status == 1
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["input"] for line in lines if line["error"]] == [
        *("in/bad.png", "in/empty.jpg", "in/missing.png")
    ]
    assert all(line["output"] is None for line in lines if line["error"])
    assert set(files_in(Path("out"))) == {"a.png", "b.png", "sub/a.png", "sub/c.jpg"}
    summary, *sentences = done.err.splitlines()
    assert re.fullmatch(r"4 photos in [0-9.]+ s, 3 failed:", summary)
    assert len(sentences) == 3
    assert "in/bad.png is damaged" in sentences[0]
    assert "in/missing.png does not exist" in sentences[2]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse some of these names")
def test_names_at_the_limits(run: Run) -> None:
    photo = Path("in/sub/c.jpg").read_bytes()
    names = [b"\xff\xfe.jpg", b"x" * 251 + b".jpg", b"con.jpg", b"dot..jpg", b" a .jpg", b"-a.jpg"]
    Path("odd").mkdir()
    for name in names:
        Path(os.fsdecode(b"odd/" + name)).write_bytes(photo)
    done = run("odd", "-o", "out", "--json")
    assert (done.status, len(done.out.splitlines())) == (0, len(names))
    assert {os.fsencode(path.name) for path in Path("out").iterdir()} == set(names)
    long = "z" * 300
    for arguments in (
        [f"{long}.jpg", "-o", "o.jpg"],
        ["in/a.png", "-o", f"{long}.png"],
        ["in/a.png", "-o", "o.png", "--mask", f"{long}.png"],
    ):
        assert_refused(run(*arguments), "File name too long")
    assert_refused(run("in/a.png", "-o", "o.png", style=f"{long}.onnx"), "does not exist")


def test_all_that_is_left_out_is_named(run: Run) -> None:
    for name in ("in/x.cr2", "in/sub/y.cr2", "in/z.svg", "in/@eaDir/a.jpg", "in/.thumbnails/a.jpg"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    done = run("in", "-o", "out")
    assert done.status == 0
    assert done.err.splitlines()[1] == (
        "Left out: 2 .cr2, 1 .svg; folders passed over: 1 .thumbnails, 1 @eaDir."
    )
    assert len(files_in(Path("out"))) == 4
    assert "2 .cr2" in run("in", "-o", "out", "--skip-existing").err
    done = run("in/**/*.png", "-o", "more")
    assert done.err.splitlines()[1] == "Folders passed over: 1 .thumbnails, 1 @eaDir."


@pytest.mark.parametrize("mode", [0o000, 0o644])
def test_unreadable_folder_stops_no_others(folder: Path, style_path: Path, mode: int) -> None:
    Path("in/sub").chmod(mode)
    command = ["-m", "fststyle", "stylize", "in", "-o", "out", "--json", "--style"]
    done = run_unprivileged(*command, style_path, folder=folder)
    Path("in/sub").chmod(0o755)
    assert done.returncode == 1
    assert re.match(r"2 photos in [0-9.]+ s, 1 failed:\n", done.stderr)
    assert "Cannot search the folder in/sub: Permission denied." in done.stderr
    assert [json.loads(line)["input"] for line in done.stdout.splitlines()] == [
        *("in/a.png", "in/b.png", "in/sub")
    ]
    assert set(files_in(Path("out"))) == {"a.png", "b.png"}


@pytest.mark.parametrize("mode", [0o000, 0o644])
def test_unreadable_folder_of_styles(folder: Path, style_path: Path, mode: int) -> None:
    styles = find.user_styles_folder()
    styles.mkdir(parents=True)
    (styles / "mine.onnx").write_bytes(style_path.read_bytes())
    styles.chmod(mode)
    common = ["-m", "fststyle"]
    one = [*common, "stylize", "in/a.png", "-o", "o.png", "--style"]
    listed = run_unprivileged(*common, "styles", folder=folder)
    shipped = run_unprivileged(*one, "great_wave", folder=folder)
    own = run_unprivileged(*one, "mine", folder=folder)
    styles.chmod(0o755)
    assert listed.returncode == 1
    assert "great_wave" in listed.stdout
    assert listed.stderr.startswith(f"Error: Cannot read the folder of your styles, {styles}: Perm")
    assert (shipped.returncode, shipped.stderr) == (0, "")
    assert own.returncode == 1
    assert str(styles) in own.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs the module pwd")
def test_no_home_folder(folder: Path) -> None:
    Path("sitecustomize.py").write_text(
        "import pwd\ndef unknown(*_): raise KeyError\npwd.getpwuid = pwd.getpwnam = unknown\n"
    )
    root = Path(file_stylizer.__file__).parents[2]
    environment = {k: v for k, v in os.environ.items() if k != "HOME" and "XDG" not in k}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (folder, root)))
    for arguments in (
        ["styles"],
        ["doctor"],
        ["info", "great_wave"],
        ["stylize", "in/a.png", "-o", "o.png", "--style", "great_wave"],
        ["export", "great_wave", "-o", "o.xml"],
    ):
        done = subprocess.run(
            [*COMMAND[:-1], *arguments], env=environment, capture_output=True, timeout=120
        )
        assert (done.returncode, done.stderr) == (0, b""), arguments


def test_json_lines(run: Run) -> None:
    run("in/a.png", "-o", "a.png")
    done = run("in/a.png", "-o", "a.png", "--json", "--size", "8")
    (line,) = map(json.loads, done.out.splitlines())
    assert 0 < line.pop("milliseconds") < 60_000
    assert line == {
        **{"input": "in/a.png", "output": "a.png", "style": "small", "width": 8, "height": 6},
        **{"skipped": False, "error": None},
    }
    done = run("in/a.png", "-o", "a.png", "--json", "--skip-existing")
    assert json.loads(done.out)["skipped"] is True
    done = run("in/no.png", "-o", "a.png", "--json")
    assert done.status == 1
    assert "in/no.png does not exist" in json.loads(done.out)["error"]


@pytest.mark.skipif(os.name != "posix", reason="there are other terminals there")
def test_progress_on_a_terminal(style_path: Path) -> None:
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [*COMMAND, "in", "-o", "out", "--style", str(style_path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, timeout=120, check=True)
    os.close(theirs)
    shown = os.read(ours, 2**16).decode()
    os.close(ours)
    assert "0/4" in shown
    assert shown.endswith(" s\r\n")
    assert len(done.stdout.splitlines()) == 4
    assert b"\r" not in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="signals are sent otherwise there")
def test_ctrl_c_leaves_whole_files(style_path: Path, folder: Path) -> None:
    Path("many").mkdir()
    save_photo(picture(5, 500, 700), "many/0.png")
    for number in range(1, 400):
        Path(f"many/{number}.png").write_bytes(Path("many/0.png").read_bytes())
    before = files_in(Path("many"))
    command = [*COMMAND, "many", "-o", "out", "--style", str(style_path), "--threads", "1"]
    running = subprocess.Popen(command, stdout=-1, stderr=-1, text=True)
    try:
        until = time.monotonic() + 100
        while len(list(Path("out").glob("*.png"))) < 2:
            assert running.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    finally:
        running.kill()
    assert (running.returncode, err) == (130, "Interrupted.\n")
    assert files_in(Path("many")) == before
    results = list(Path("out").iterdir())
    assert 2 <= len(results) < 400
    assert all(load_image(path).shape == (500, 700, 3) for path in results)
    assert [path.name for path in folder.rglob("*.tmp")] == []
    assert len(out.splitlines()) <= len(results)


# Streams


def stream(style_path: Path, data: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [*COMMAND, *arguments, "--style", str(style_path)]
    return subprocess.run(command, input=data, capture_output=True, timeout=120)


def test_standard_input_to_standard_output(style_path: Path, folder: Path) -> None:
    data = Path("in/sub/c.jpg").read_bytes()
    before = files_in(folder)
    done = stream(style_path, data, "-", "-o", "-", "--json")
    assert done.returncode == 0
    line = json.loads(done.stderr)
    assert (line["input"], line["output"], line["width"]) == ("-", "-", 12)
    with Image.open(BytesIO(done.stdout)) as image:
        assert (image.format, image.size) == ("JPEG", (12, 9))
    done = stream(style_path, data, "-", "-o", "-", "--format", "png")
    expected = Stylizer(style_path, device="cpu")(load_image("in/sub/c.jpg"))
    with Image.open(BytesIO(done.stdout)) as image:
        assert image.format == "PNG"
        np.testing.assert_allclose(np.asarray(image) / 255, expected, atol=0.51 / 255)
    assert files_in(folder) == before


def test_bad_streams(style_path: Path, folder: Path) -> None:
    before = files_in(folder)
    for data, expected in ((b"", "is empty"), (b"no picture" * 9, "as an image")):
        done = stream(style_path, data, "-", "-o", "-")
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr.decode().startswith("Error: ")
        assert "tandard input" in done.stderr.decode()
        assert expected in done.stderr.decode()
        assert done.stderr.count(b"\n") == 1
    assert files_in(folder) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_standard_output_that_is_full_or_closed(style_path: Path) -> None:
    def shell(line: str) -> tuple[int, str]:
        command = shlex.join([*COMMAND, "--style", str(style_path)])
        done = subprocess.run(
            f"{command} {line}", shell=True, capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stderr

    full = "Error: Cannot write standard output: No space left on device. Free some space"
    for line in ("in/a.png -o - > /dev/full", "in/a.png -o out.png > /dev/full"):
        status, error = shell(line)
        assert status == 1
        assert error.startswith(full)
        assert error.count("\n") == 1
    # Whoever closes it wants no words, but the picture.
    Path("out.png").unlink()
    assert shell("in/a.png -o out.png >&-") == (0, "")
    assert load_image("out.png").shape == (9, 12, 3)
    status, error = shell("in/a.png -o - >&-")
    assert (status, error.count("\n")) == (1, 1)
    assert "is closed" in error
    status, error = shell("- -o out.png <&-")
    assert (status, error.count("\n")) == (1, 1)
    assert error.startswith("Error: Standard input is empty")


def test_one_end_may_be_a_file(style_path: Path) -> None:
    done = stream(style_path, Path("in/a.png").read_bytes(), "-", "-o", "out.png")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"out.png  12")
    done = stream(style_path, b"", "in/a.png", "-o", "-")
    assert done.stdout == Path("out.png").read_bytes()


# Control


def test_control(run: Run, style_path: Path) -> None:
    photo = load_image("in/a.png")
    styled = Stylizer(style_path, device="cpu")(photo)
    mask = np.zeros((9, 12), np.float32)
    mask[:, 6:] = 1
    save_photo(np.repeat(mask[:, :, None], 3, axis=2), "mask.png")

    def result(*options: str | Path) -> NDArray[np.float32]:
        done = run("in/a.png", "-o", "out.png", *options)
        assert (done.status, done.err) == (0, "")
        return load_image("out.png")

    half_ulp: dict[str, Any] = {"atol": 0.51 / 255}
    np.testing.assert_array_equal(result("--strength", "0"), photo)
    np.testing.assert_allclose(result("--strength", "1"), styled, **half_ulp)
    np.testing.assert_allclose(result("--strength", ".5"), (photo + styled) / 2, **half_ulp)
    np.testing.assert_allclose(result("--keep-colors"), keep_colors(photo, styled), **half_ulp)
    masked = result("--mask", "mask.png")
    np.testing.assert_array_equal(result("--strength-map", "mask.png"), masked)
    np.testing.assert_array_equal(masked[:, :6], photo[:, :6])
    np.testing.assert_allclose(masked[:, 6:], styled[:, 6:], **half_ulp)
    everywhere = result("--mask", "mask.png", "--style-outside", style_path)
    np.testing.assert_allclose(everywhere, styled, **half_ulp)


def test_size_and_strokes(run: Run, style_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Stylizer(style_path, device="cpu")
    monkeypatch.setattr(strokes, "WORKING_SIDE", 6)
    cases: list[tuple[list[str], dict[str, Any]]] = [
        ([], {"scale": 2}),
        (["--size", "full"], {"scale": 1}),
        (["--size", "7", "--scale", "1.5"], {"size": 7, "scale": 1.5}),
        (["--scale", "1", "--tile", "8"], {"scale": 1, "tile": 8}),
    ]
    for options, expected in cases:
        assert run("in/a.png", "-o", "out.png", *options).status == 0
        picture = small("in/a.png", **expected)
        np.testing.assert_array_equal(np.asarray(Image.open("out.png")), np.asarray(picture))


@pytest.mark.needs("skimage", "sklearn")
def test_gentle_faces(run: Run, style_path: Path) -> None:
    (path,) = [path for path in builtin_photos() if path.stem == "astronaut"]
    Path("in/face.png").write_bytes(path.read_bytes())
    done = run("in/face.png", "-o", "out.png", "--faces", "gentle")
    assert (done.status, done.err) == (0, "")
    assert done.out.rstrip().endswith(" ms  1 face")
    expected = Stylizer(style_path, device="cpu")(path, faces="gentle")
    np.testing.assert_array_equal(np.asarray(Image.open("out.png")), np.asarray(expected))
    done = run("in", "-o", "out", "--faces", "gentle", "--json")
    counts = {line["input"]: line["faces"] for line in map(json.loads, done.out.splitlines())}
    assert counts.pop("in/face.png") == 1
    assert set(counts.values()) == {0}
    assert re.fullmatch(r"5 photos in [0-9.]+ s, 1 face\n", done.err)
    done = run("in/face.png", "-o", "out.gif", "--faces", "gentle")
    assert done.out.endswith("1 face\n")


def test_subject_and_background(
    run: Run, style_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_stylize, "require_packages", lambda *names: None)
    monkeypatch.setattr(subject, "missing_model", lambda: Path("models/u2net.onnx"))
    half = np.repeat(np.arange(12)[None] >= 6, 9, axis=0).astype(np.float32)
    monkeypatch.setattr(regions, "find_subject", lambda pixels: half)
    done = run("in/a.png", "-o", "out.png", "--subject", "0", "--strength", "0.5")
    assert done.status == 0
    assert done.err == (
        "The network that finds the subject is downloaded once (176 MB), to models/u2net.onnx.\n"
    )
    photo, result = (np.asarray(Image.open(name)) for name in ("in/a.png", "out.png"))
    np.testing.assert_array_equal(result[:, 6:], photo[:, 6:])
    assert (result[:, :6] != photo[:, :6]).any()
    refused = run("in/a.png", "-o", "out.png", "--background", "2")
    assert_refused(refused, "has no dial", "--strength")


def test_animations(run: Run, style_path: Path) -> None:
    frames = [Photo(picture(seed)) for seed in (7, 8)]
    save_animation(frames, [50, 70], 0, "in/moving.gif")
    done = run("in", "-o", "out", "--json")
    assert done.status == 0
    lines = {line["input"]: line for line in map(json.loads, done.out.splitlines())}
    line = lines["in/moving.gif"]
    assert (line["output"], line["width"], line["height"]) == ("out/moving.gif", 12, 9)
    assert load_frames("out/moving.gif").durations == (50, 70)
    assert run("in/moving.gif", "-o", "out.webp", "--strip", "--quality", "90").status == 0
    assert load_frames("out.webp").durations == (50, 70)
    done_stream = stream(style_path, Path("in/moving.gif").read_bytes(), "-", "-o", "-")
    assert done_stream.stdout.startswith(b"GIF8")


def test_blends(run: Run, style_path: Path) -> None:
    done = run("in/a.png", "-o", "out.png", style=f"{style_path}:0.6,{style_path}:0.4")
    assert (done.status, done.err) == (0, "")
    expected = Stylizer(style_path, device="cpu")(load_image("in/a.png"))
    np.testing.assert_allclose(load_image("out.png"), expected, atol=0.51 / 255)
    assert_refused(run("in/a.png", "-o", "out.png", style=f"{style_path}:x"), "weight")
    assert_refused(run("in/a.png", "-o", "o.png", style=f"{style_path}:0"), "more than 0")
    mixed = run("in/a.png", "-o", "o.png", style=f"{style_path},thanos_poster")
    assert_refused(mixed, "fststyle train style=thanos_poster")


def test_results_and_needed_files(run: Run, folder: Path, style_path: Path) -> None:
    save_photo(picture(1), "mask.png")
    before = files_in(folder)
    done = run("in/a.png", "-o", "mask.png", "--mask", "mask.png")
    assert_refused(done, "would replace mask.png, which is needed")
    assert files_in(folder) == before


def test_too_little_memory_for_one_photo(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Photo:
        raise MemoryError

    monkeypatch.setattr(Stylizer, "stylize", fail)
    assert_refused(run("in/a.png", "-o", "out.png"), "in/a.png", "--size")


@pytest.mark.needs("torch")
def test_strength_beyond_one_needs_a_dial(run: Run, tmp_path: Path) -> None:
    from dialled import make_dialled_network, save_dialled_style

    assert_refused(
        run("in/a.png", "-o", "o.png", "--strength", "2"), "no dial", "network.dial=true"
    )
    assert not Path("o.png").exists()
    path = save_dialled_style(make_dialled_network(), tmp_path / "dialled.onnx")
    photo = load_image("in/a.png")
    for strength in ("0", "0.2", "1", "4"):
        done = run(
            "in/a.png",
            "-o",
            "o.png",
            "--overwrite",
            "--strength",
            strength,
            style=f"{path}#style_0",
        )
        assert (done.status, done.err) == (0, "")
        expected = Stylizer(path, device="cpu")(photo, strength=float(strength))
        np.testing.assert_allclose(load_image("o.png"), expected, atol=0.51 / 255)
