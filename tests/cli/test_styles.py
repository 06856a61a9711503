from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_help import Done, Run, run_command

from fststyle.cli import styles as styles_command
from fststyle.images.load import load_image
from fststyle.images.save import save_photo
from fststyle.styles import find
from fststyle.styles.info import StyleInfo
from fststyle.styles.quality import Quality, with_quality
from fststyle.styles.style_file import save_info
from fststyle.stylize.stylizer import Stylizer

QUALITY = [
    Quality(256, 3, 50, 9.84, 4.5, 1.9, 2.5, 0.2, 0.8, 1.2),
    Quality(512, 3, 50, None, 12.0, 1.8, 2.4, 0.1, 0.7, 1.1),
]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``fststyle styles`` in this process."""

    def run_(*arguments: str | Path) -> Done:
        return run_command(capsys, "styles", *arguments)

    return run_


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with an empty zoo, no artworks and no styles of the user's."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name in ("zoo", "art", "here"):
        (tmp_path / name).mkdir()
    for module in (find, styles_command):
        monkeypatch.setattr(module, "zoo_folder", lambda: tmp_path / "zoo")
    monkeypatch.setattr(find, "art_folder", lambda: tmp_path / "art")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.fixture
def photo(folder: Path) -> Path:
    path = folder / "here" / "photo.png"
    y, x = np.mgrid[0:1:30j, 0:1:48j]
    save_photo(np.stack([x, y, (x + y) / 2], axis=2).astype(np.float32), path)
    return path


def wave(style_path: Path, target: Path) -> StyleInfo:
    """Write a style file whose quality is known."""
    target.parent.mkdir(parents=True, exist_ok=True)
    licence = "Public domain (the painter died long ago)"
    info = StyleInfo(target.stem, "The Wave", "Hokusai", "c. 1831", "a museum", licence, "ab" * 32)
    info = with_quality(info, QUALITY)
    save_info(style_path, info, target)
    return info


def add_artwork(folder: Path) -> None:
    (folder / "art" / "ink.jpg").touch()
    (folder / "art" / "ink.json").write_text(StyleInfo("ink", title="Ink").to_json())


def test_table(run: Run, style_path: Path, folder: Path) -> None:
    wave(style_path, folder / "zoo" / "wave.onnx")
    own = find.user_styles_folder()
    wave(style_path, own / "mine.onnx")
    save_info(style_path, StyleInfo("plain"), own / "plain.onnx")
    (own / "bad.onnx").write_bytes(b"no style")
    add_artwork(folder)
    done = run()
    assert (done.status, done.err) == (0, "")
    header, *rows = done.out.splitlines()
    size = f"{(folder / 'zoo' / 'wave.onnx').stat().st_size / 1000:.0f} kB"
    cells = {row.split()[0]: row.split(maxsplit=1)[1] for row in rows}
    assert list(cells) == ["bad", "ink", "mine", "plain", "wave"]
    assert header.split()[:2] == ["name", "network"]
    about = "Public domain  The Wave, Hokusai, c. 1831"
    assert " ".join(cells["wave"].split()) == f"shipped 9.8 25% {size} {' '.join(about.split())}"
    assert cells["mine"].startswith("own ")
    assert cells["plain"].split()[1:3] == ["-", "-"]
    assert cells["ink"].split() == ["picture", "only", "-", "-", "-", "-", "Ink"]
    assert cells["bad"].startswith("damaged")
    assert "bad.onnx is not an ONNX file" in cells["bad"]
    # Columns stand under one another.
    for heading in ("network", "licence", "artwork"):
        assert {row.ljust(200)[header.index(heading) - 1] for row in rows} == {" "}


def test_own_network_takes_the_place_of_the_shipped_one(
    run: Run, style_path: Path, folder: Path
) -> None:
    for place in (folder / "zoo", find.user_styles_folder()):
        wave(style_path, place / "wave.onnx")
    (row,) = run().out.splitlines()[1:]
    assert row.split()[:2] == ["wave", "own"]


def test_json(run: Run, style_path: Path, folder: Path) -> None:
    info = wave(style_path, folder / "zoo" / "wave.onnx")
    (folder / "zoo" / "bad.onnx").write_bytes(b"no style")
    add_artwork(folder)
    done = run("--json")
    assert (done.status, done.err) == (0, "")
    bad, ink, found = json.loads(done.out)["styles"]
    path = folder / "zoo" / "wave.onnx"
    assert found == {
        **{"name": "wave", "origin": "shipped", "path": str(path), "bytes": path.stat().st_size},
        **{"title": "The Wave", "artist": "Hokusai", "year": "c. 1831", "source": "a museum"},
        **{"licence": info.licence, "style_image_sha256": "ab" * 32},
        **{"dial": False, "recommended_strength": 1.0, "quality": info.training["quality"]},
    }
    assert (ink["origin"], ink["bytes"], ink["quality"]) == ("picture only", None, [])
    assert (ink["dial"], ink["recommended_strength"]) == (False, None)
    assert (bad["name"], bad["origin"]) == ("bad", "damaged")
    assert "not an ONNX file" in bad["error"]


def test_json_of_no_styles(run: Run) -> None:
    assert json.loads(run("--json").out) == {"styles": []}


def test_sheet(run: Run, style_path: Path, folder: Path, photo: Path) -> None:
    for name in ("a", "b"):
        wave(style_path, folder / "zoo" / f"{name}.onnx")
    add_artwork(folder)  # has no network, so no tile
    done = run("--sheet", photo, "-o", "all.png")
    pixels = load_image("all.png")
    height, width = pixels.shape[:2]
    assert done == Done(0, f"all.png  {width}×{height}  2 styles\n", "")
    expected = load_image(photo)
    np.testing.assert_allclose(pixels[8:38, 8:56], expected, atol=0.51 / 255)
    styled = Stylizer(str(style_path), device="cpu")(expected)
    places = [  # the tiles are 48 by 30 with 20 for the name, in two columns
        pixels[8:38, 64:112],
        pixels[66:96, 8:56],
    ]
    for place in places:
        np.testing.assert_allclose(place, styled, atol=1.01 / 255)
    for caption in (pixels[38:58, 8:56], pixels[38:58, 64:112], pixels[96:116, 8:56]):
        assert caption.min() < 0.5  # there is writing


def test_sheet_is_small_unless_told_otherwise(run: Run, style_path: Path, folder: Path) -> None:
    wave(style_path, folder / "zoo" / "a.onnx")
    save_photo(np.full((40, 500, 3), 0.5, np.float32), "wide.png")
    assert run("--sheet", "wide.png").out.startswith("sheet.png  400×")
    assert run("--sheet", "wide.png", "--size", "60").out.startswith("sheet.png  76×")


def test_damaged_file_is_left_out(run: Run, style_path: Path, folder: Path, photo: Path) -> None:
    wave(style_path, folder / "zoo" / "a.onnx")
    (folder / "zoo" / "b.onnx").write_bytes(b"no style")
    done = run("--sheet", photo)
    assert (done.status, done.out.split()[-2:]) == (0, ["1", "style"])
    assert done.err.startswith("Skipped: ")
    assert "b.onnx" in done.err


def refused(done: Done) -> str:
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert done.err.startswith("Error: ")
    return done.err


def test_no_trained_style(run: Run, folder: Path, photo: Path) -> None:
    assert "fststyle train style=" in refused(run("--sheet", photo))
    (folder / "zoo" / "b.onnx").write_bytes(b"no style")
    assert "b.onnx" in refused(run("--sheet", photo))
    assert not (folder / "here" / "sheet.png").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--sheet", "missing.jpg"], "missing.jpg does not exist"),
        (["--sheet", "photo.png", "-o", "./photo.png"], "would replace photo.png"),
        (["--sheet", "photo.png", "-o", "no/sheet.png"], "the folder no does not exist"),
        (["--sheet", "photo.png", "-o", "sheet.txt"], "Cannot write .txt files"),
        (["-o", "sheet.png"], "--sheet PHOTO"),
    ],
)
def test_bad_input(
    run: Run,
    style_path: Path,
    folder: Path,
    photo: Path,
    arguments: list[str],
    expected: str,
) -> None:
    wave(style_path, folder / "zoo" / "a.onnx")
    before = photo.read_bytes()
    assert expected in refused(run(*arguments))
    assert [path.name for path in Path().iterdir()] == ["photo.png"]
    assert photo.read_bytes() == before


def test_sheet_or_json(run: Run, photo: Path) -> None:
    assert run("--sheet", photo, "--json").status == 2


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--sheet", "photo.png"]])
def test_no_torch_is_loaded(style_path: Path, photo: Path, arguments: list[str]) -> None:
    wave(style_path, find.user_styles_folder() / "mine.onnx")
    heavy = {"hydra", "matplotlib", "pytorch_lightning", "skimage", "torch", "torchvision"}
    program = (
        "import sys; from fststyle.cli.main import main\n"
        "try:\n    main(['styles', *sys.argv[1:]])\n"
        f"except SystemExit as stop:\n    print(stop.code, sorted({heavy} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_files_with_other_names_are_named(run: Run, style_path: Path) -> None:
    own = find.user_styles_folder()
    wave(style_path, own / "wave.onnx")
    (own / "wave (1).onnx").write_bytes(style_path.read_bytes())
    done = run()
    assert done.status == 0
    assert "wave (1)" not in done.out
    assert "wave (1).onnx" in done.err
