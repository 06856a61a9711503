from __future__ import annotations

import json

import pytest
from script_help import load_script

from fststyle.styles.find import art_folder

make = load_script("art/make")


def test_artworks_are_those_of_the_package() -> None:
    files = {path.stem: json.loads(path.read_text()) for path in art_folder().glob("*.json")}
    assert files == {name: make.description(name) for name in make.ARTWORKS}
    assert {path.stem for path in art_folder().glob("*.jpg")} == set(files)


def test_artworks_are_small() -> None:
    for path in art_folder().glob("*.jpg"):
        assert path.stat().st_size <= make.MAX_BYTES


def test_unknown_artwork(capsys: pytest.CaptureFixture[str]) -> None:
    assert make.main(["mona_lisa"]) == 2
    assert "thanos_poster" in capsys.readouterr().err
