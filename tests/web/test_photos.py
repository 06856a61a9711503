from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from web_help import encoded

from fststyle.runtime.runner import Runtime, load_runtime
from fststyle.web import photos as served
from fststyle.web.errors import Refusal
from fststyle.web.photos import Networks, Wish, check_picture, kind_of, parse_blend, stylise_file


@pytest.fixture
def styles(tmp_path: Path, style_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's styles, with one in it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = tmp_path / "data" / "fststyle" / "styles"
    folder.mkdir(parents=True)
    shutil.copy(style_path, folder / "small.onnx")
    return folder


def test_blends() -> None:
    assert parse_blend("one") == {"one": 1}
    assert parse_blend("one:0.6,other:1.8") == {"one": 0.25, "other": pytest.approx(0.75)}
    assert parse_blend("one,one") == {"one": 1}


@pytest.mark.parametrize(
    "text", ["", "a/b", "..", "a.onnx", "one:-1", "one:nan", "a:1,", "A", "a b"]
)
def test_no_blends(text: str) -> None:
    with pytest.raises(Refusal):
        parse_blend(text)


def test_a_style_in_the_working_folder_is_not_found(
    style_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(style_path, tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refusal, match="There is no style 'one'"):
        Networks(1).stylizer("one")


def test_networks_are_shared_and_renewed(styles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Path] = []

    def load(path: Path, **options: Any) -> Runtime:
        loaded.append(path)
        return load_runtime(path, **options)

    monkeypatch.setattr(served, "load_runtime", load)
    networks = Networks(1)
    first = networks.stylizer("small").styles
    assert networks.stylizer("small:2").styles == first
    assert len(loaded) == 1
    path = styles / "small.onnx"
    path.touch()  # trained anew
    networks.stylizer("small")
    assert len(loaded) == 2


def test_few_networks_that_hold_much_memory_are_kept(
    styles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load(path: Path, **options: Any) -> Runtime:
        loaded.append(path.stem)
        return load_runtime(path, **options)

    monkeypatch.setattr(served, "load_runtime", load)
    networks = Networks(1)
    names = [f"small{n}" for n in range(6)]
    for name in names:
        shutil.copy(styles / "small.onnx", styles / f"{name}.onnx")
        networks.stylizer(name, 10**6)
    loaded.clear()
    for name in reversed(names):
        networks.stylizer(name)
    assert loaded == ["small1", "small0"]


def test_a_damaged_style_says_no_path(styles: Path) -> None:
    (styles / "small.onnx").write_bytes(b"nothing")
    with pytest.raises(Refusal) as refused:
        Networks(1).stylizer("small")
    assert refused.value.status == 422
    assert str(styles) not in str(refused.value)
    assert "small" not in {style["name"] for style in served.list_networks()}


@pytest.mark.parametrize(
    ("ending", "kind"),
    [(".png", "png"), (".jpg", "jpeg"), (".webp", "webp"), (".tif", "tiff"), (".bmp", "bmp")],
)
def test_kinds(tmp_path: Path, ending: str, kind: str) -> None:
    path = tmp_path / "photo"
    path.write_bytes(encoded(1, ending))
    assert kind_of(path) == kind


@pytest.mark.parametrize("content", [b"", b"<svg/>", b"%!PS-Adobe", b"\x00\x00\x01\x00", b"8BPS"])
def test_no_kinds(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "photo"
    path.write_bytes(content)
    assert kind_of(path) is None


def test_size_is_checked_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(encoded(1, height=10, width=20))
    assert check_picture(path, "photo", 200) == 200
    with pytest.raises(Refusal, match=r"The photo has 20×10 pixels; up to 0\.000199 megapixels"):
        check_picture(path, "photo", 199)


def test_sentences_name_no_path(styles: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo"
    photo.write_bytes(encoded(1, ".jpg", 300, 300)[:-9000])
    with pytest.raises(Refusal) as refused:
        stylise_file({"photo": photo}, Wish("small"), Networks(1), 10**6)
    assert str(tmp_path) not in str(refused.value)
    assert str(refused.value).startswith("The photo is damaged")


def test_the_format_comes_from_the_photo(styles: Path, tmp_path: Path) -> None:
    networks = Networks(1)
    for ending, expected in ((".jpg", "jpeg"), (".bmp", "png"), (".tif", "jpeg")):
        photo = tmp_path / "photo"
        photo.write_bytes(encoded(1, ending))
        _, found = stylise_file({"photo": photo}, Wish("small"), networks, 10**6)
        assert found == expected
