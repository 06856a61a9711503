from __future__ import annotations

from pathlib import Path

import pytest
from errors_help import raises

from fststyle.errors import NoNetworkError, PhotoError, StyleError
from fststyle.styles import find as styles
from fststyle.styles.find import (
    FoundStyle,
    art_info,
    find_network,
    find_picture,
    find_style,
    install,
    list_styles,
    unlisted_styles,
    user_styles_folder,
)
from fststyle.styles.info import StyleInfo
from fststyle.styles.style_file import read_info


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Make empty folders for the user's styles, the zoo and the artworks, and enter another one."""
    folders = {name: tmp_path / name for name in ("zoo", "art", "here")}
    folders["user"] = tmp_path / "data" / "fststyle" / "styles"
    for folder in folders.values():
        folder.mkdir(parents=True)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(styles, "zoo_folder", lambda: folders["zoo"])
    monkeypatch.setattr(styles, "art_folder", lambda: folders["art"])
    monkeypatch.chdir(folders["here"])
    return folders


def test_user_styles_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert user_styles_folder() == tmp_path / "fststyle" / "styles"


def test_name_is_looked_up_among_users_then_zoo_then_art(folders: dict[str, Path]) -> None:
    places = [("art", "wave.jpg"), ("zoo", "wave.onnx"), ("user", "wave.onnx")]
    for folder, file in places:
        path = folders[folder] / file
        path.touch()
        kind = "picture" if folder == "art" else "network"
        assert find_style("wave") == FoundStyle(kind, path, "wave")  # type: ignore[arg-type]
        assert list_styles() == [find_style("wave")]


def test_path_goes_by_its_extension(folders: dict[str, Path]) -> None:
    for name in ("wave.onnx", "wave.JPG", "wave.png", "wave"):
        (folders["here"] / name).touch()
    (folders["zoo"] / "wave.onnx").touch()
    assert find_style("wave.onnx") == FoundStyle("network", Path("wave.onnx"), "wave")
    assert find_style("wave.JPG") == FoundStyle("picture", Path("wave.JPG"), "wave")
    assert find_style("./wave.png") == FoundStyle("picture", Path("wave.png"), "wave")
    assert find_style("wave").path == folders["zoo"] / "wave.onnx"


@pytest.mark.parametrize("text", ["wave.onnx", "photos/wave.jpg", "x" * 5000 + ".onnx", "\0.jpg"])
def test_path_without_file(text: str, folders: dict[str, Path]) -> None:
    with raises(StyleError, "not_found"):
        find_style(text)


@pytest.mark.parametrize("text", ["wave.pth", "models/wave", "/", "../zoo/wave"])
def test_path_of_another_kind(text: str, folders: dict[str, Path]) -> None:
    (folders["zoo"] / "wave.onnx").touch()
    with raises(StyleError, "unknown_extension"):
        find_style(text)


def test_unknown_style_names_near_ones(folders: dict[str, Path]) -> None:
    for name in ("thanos_poster", "great_wave", "scream"):
        (folders["zoo"] / f"{name}.onnx").touch()
    for text, near in (
        ("thanos", "thanos_poster"),
        ("Great_Wave", "great_wave"),
        ("screem", "scream"),
    ):
        with raises(StyleError, "unknown_style", f"did you mean {near}?"):
            find_style(text)
    for text in ("xyz", ""):
        with raises(StyleError, "unknown_style", f"Unknown style '{text}'. "):
            find_style(text)


def test_list_styles(folders: dict[str, Path]) -> None:
    for folder, file in (
        ("zoo", "b.onnx"),
        ("zoo", "d.onnx"),
        ("user", "b.onnx"),
        ("art", "a.jpg"),
        ("art", "d.jpg"),
        ("zoo", "Not a name.onnx"),
        ("art", "a.json"),
    ):
        (folders[folder] / file).touch()
    (folders["user"] / "c.onnx").mkdir()
    assert list_styles() == [
        FoundStyle("picture", folders["art"] / "a.jpg", "a"),
        FoundStyle("network", folders["user"] / "b.onnx", "b"),
        FoundStyle("network", folders["zoo"] / "d.onnx", "d"),
    ]


def test_no_folders_no_styles(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        folder.rmdir()
    assert list_styles() == []


def test_find_picture(folders: dict[str, Path]) -> None:
    (folders["art"] / "wave.jpg").touch()
    (folders["zoo"] / "wave.onnx").touch()
    (folders["zoo"] / "scream.onnx").touch()
    (folders["here"] / "mine.png").touch()
    (folders["here"] / "net.onnx").touch()
    assert find_picture("wave") == folders["art"] / "wave.jpg"
    assert find_picture("mine.png") == Path("mine.png")
    with raises(PhotoError, "not_found", "yours.png"):
        find_picture("yours.png")
    with raises(PhotoError, "not_an_image", "net.onnx"):
        find_picture("net.onnx")
    with raises(StyleError, "no_style_image", "scream"):
        find_picture("scream")
    with raises(StyleError, "unknown_style", "did you mean wave?"):
        find_picture("waves")


def test_art_info(folders: dict[str, Path]) -> None:
    info = StyleInfo("great_wave", title="神奈川沖浪裏", artist="Katsushika Hokusai", year=1831)
    (folders["art"] / "great_wave.json").write_text(info.to_json(), encoding="utf-8")
    (folders["art"] / "broken.json").write_text("{", encoding="utf-8")
    assert art_info("great_wave") == info
    with raises(StyleError, "damaged"):
        art_info("broken")
    with raises(StyleError, "unknown_style", "did you mean great_wave?"):
        art_info("wave")


def test_find_network(folders: dict[str, Path]) -> None:
    (folders["zoo"] / "scream.onnx").touch()
    (folders["art"] / "wave.jpg").touch()
    assert find_network("scream") == find_style("scream")
    with raises(NoNetworkError, "no_network", "wave") as caught:
        find_network("wave")
    assert caught.value.details == {"name": "wave", "training": "style=wave"}
    Path("my wave.png").touch()
    with raises(NoNetworkError, "no_network", "my wave") as caught:
        find_network("my wave.png")
    training = "\"style.image='my wave.png'\" style.name=my_wave"
    assert caught.value.details == {"name": "my wave", "training": training}


def test_files_with_other_names(folders: dict[str, Path]) -> None:
    for name in ("wave.ONNX", "wave (1).onnx", "My Wave.onnx", "._wave.onnx", "wave.onnx.part"):
        (folders["user"] / name).touch()
    (folders["user"] / "folder.onnx").mkdir()
    assert [style.name for style in list_styles()] == ["wave"]
    assert [style.name for style in unlisted_styles()] == ["My Wave", "wave (1)"]
    assert find_style("wave (1)").path == folders["user"] / "wave (1).onnx"
    with raises(StyleError, "unknown_style", "did you mean wave"):
        find_style("WAVE")


def test_longest_names(folders: dict[str, Path]) -> None:
    for length in (64, 65):
        (folders["user"] / f"{'a' * length}.onnx").touch()
    assert [len(style.name) for style in list_styles()] == [64]
    assert [len(style.name) for style in unlisted_styles()] == [65]


def test_a_renamed_or_read_only_style_file_stays_the_same_style(
    folders: dict[str, Path], style_path: Path
) -> None:
    renamed = folders["user"] / "other.onnx"
    renamed.write_bytes(style_path.read_bytes())
    renamed.chmod(0o444)
    assert read_info(find_network("other").path) == read_info(style_path)


def test_a_folder_with_the_name_of_a_style_file(folders: dict[str, Path]) -> None:
    (folders["here"] / "wave.onnx").mkdir()
    with raises(StyleError, "cannot_read", "wave.onnx"):
        read_info(find_network("wave.onnx").path)


def test_interrupted_run_keeps_the_installed_network(
    folders: dict[str, Path], style_path: Path
) -> None:
    mine = folders["here"] / "mine.onnx"
    mine.write_bytes(style_path.read_bytes())
    installed = install(mine, interrupted=True)
    assert installed == folders["user"] / "mine.onnx"
    before = installed.read_bytes()
    mine.write_bytes(before + b"newer")
    assert install(mine, interrupted=True) is None
    assert installed.read_bytes() == before
    assert install(mine, interrupted=False) == installed
    assert installed.read_bytes() == mine.read_bytes()
    assert installed.with_stem("mine-previous").read_bytes() == before
