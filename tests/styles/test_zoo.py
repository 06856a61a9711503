"""The networks that come with fststyle, and the page that shows them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from script_help import ROOT, load_script

from fststyle.images.load import load_image
from fststyle.styles.find import zoo_folder
from fststyle.styles.info import StyleInfo
from fststyle.styles.quality import Quality, recorded, with_quality
from fststyle.styles.style_file import read_info, save_info
from fststyle.stylize.stylizer import Stylizer

make_gallery = load_script("docs/gallery")

PAGE = ROOT / "docs" / "gallery.md"
LISTED: dict[str, str] = (
    make_gallery.listed(PAGE.read_text(encoding="utf-8")) if PAGE.is_file() else {}
)
# Those that are listed and missing fail, too.
NAMES = sorted({path.stem for path in zoo_folder().glob("*")} | set(LISTED))


@pytest.mark.parametrize("name", NAMES)
def test_shipped_network(name: str) -> None:
    path = zoo_folder() / f"{name}.onnx"
    assert path.stat().st_size <= 10**6
    info = read_info(path)
    assert info.name == name
    assert info.title
    assert info.source
    assert info.licence
    assert len(bytes.fromhex(info.style_image_sha256)) == 32
    assert recorded(info) != []
    photo = np.random.default_rng(0).random((48, 65, 3), dtype=np.float32)
    picture = Stylizer(str(path), device="cpu")(photo)
    assert picture.shape == photo.shape
    assert 0 <= picture.min() < picture.max() <= 1


def test_zoo_is_small() -> None:
    assert sum(path.stat().st_size for path in zoo_folder().glob("*")) <= 12 * 10**6


def test_gallery_is_that_of_the_zoo() -> None:
    assert make_gallery.staleness(zoo_folder(), ROOT / "docs") == ""
    assert {path.name for path in zoo_folder().glob("*")} == {f"{name}.onnx" for name in LISTED}


# The gallery's script


@pytest.fixture
def zoo(style_path: Path, tmp_path: Path) -> Path:
    """A zoo of two."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    quality = Quality(256, 3, 50, 9.84, 4.5, 1.9, 2.5, 0.2, 0.8, 1.2)
    for name, source in (("a", "github.com/some/one : a.jpg"), ("b", "a | museum")):
        info = StyleInfo(name, name.upper(), "Painter", 1900, source, "Public domain (old)")
        save_info(style_path, with_quality(info, [quality]), folder / f"{name}.onnx")
    return folder


@pytest.mark.needs("skimage")
def test_gallery(zoo: Path, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    make_gallery.write(zoo, docs)
    text = (docs / "gallery.md").read_text()
    assert list(make_gallery.listed(text)) == ["a", "b"]
    assert "# Gallery: 2 trained styles" in text
    link = "[github.com/some/one](https://github.com/some/one) : a.jpg"
    assert (
        f"| [`a`](#a) | A | Painter | 1900 | {link} | Public domain | 9.8 at 256² | 25% |" in text
    )
    assert "| a \\| museum |" in text
    pictures = sorted((docs / "gallery").iterdir())
    assert [path.name for path in pictures] == ["_all.jpg", "_photos.jpg", "a.jpg", "b.jpg"]
    assert pictures[0].stat().st_size <= 400_000
    for path in pictures[1:]:
        assert path.stat().st_size <= 60_000
        height, width, _ = load_image(path).shape
        assert height in (300, 240, 200)
        assert width > 3 * height
    assert make_gallery.staleness(zoo, docs) == ""
    before = {path: path.read_bytes() for path in docs.rglob("*.*")}
    shutil.copy(pictures[0], docs / "gallery" / "gone.jpg")
    make_gallery.write(zoo, docs)
    assert {path: path.read_bytes() for path in docs.rglob("*.*")} == before


def test_stale_gallery(zoo: Path, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    (docs / "gallery").mkdir(parents=True)

    def staleness() -> str:
        return str(make_gallery.staleness(zoo, docs))

    assert staleness() == "gallery.md does not list a, b."
    (docs / "gallery.md").write_text(make_gallery.page(zoo), encoding="utf-8")
    assert (
        staleness()
        == "docs/gallery has missing or unexpected files: _all.jpg, _photos.jpg, a.jpg, b.jpg."
    )
    for name in ("_all", "_photos", "a", "b"):
        (docs / "gallery" / f"{name}.jpg").touch()
    assert staleness() == ""
    info = read_info(zoo / "a.onnx")
    save_info(zoo / "a.onnx", with_quality(info, []), zoo / "a.onnx")
    assert staleness() == "gallery.md does not match the files in the zoo."
    (zoo / "a.onnx").unlink()
    assert staleness() == "gallery.md lists styles that the zoo lacks: a."
    (zoo / "b.onnx").unlink()
    assert staleness() == "gallery.md lists styles that the zoo lacks: a, b."
    (docs / "gallery.md").unlink()
    assert staleness() == ""


def test_gallery_command(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_gallery, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(make_gallery, "zoo_folder", lambda: tmp_path / "none")
    assert make_gallery.main(["--check"]) == 0
    assert make_gallery.main([]) == 1
    assert "train the zoo first" in capsys.readouterr().err
    monkeypatch.setattr(make_gallery, "zoo_folder", lambda: zoo)
    assert make_gallery.main(["--check"]) == 1
    err = capsys.readouterr().err
    assert err == "gallery.md does not list a, b. Run: python scripts/docs/gallery.py\n"
    (zoo / "a.onnx").write_bytes(b"no style")
    assert make_gallery.main([]) == 1
    assert capsys.readouterr().err.startswith("Error: ")
