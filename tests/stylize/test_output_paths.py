from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from errors_help import raises

from fststyle.errors import PhotoError, SettingError
from fststyle.images.animation import save_animation
from fststyle.images.photo import Photo
from fststyle.stylize import output_paths
from fststyle.stylize.output_paths import (
    check_folder,
    is_one_file,
    plan_many,
    plan_one,
    suffix_by_content,
    suffix_of,
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory with photos, which nothing reads."""
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.png", "in/b.JPG", "in/sub/a.png", "in/sub/deep/c.heic", "more/d.gif"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("in/notes.txt").touch()
    return tmp_path


def plan(*inputs: str, output: str = "out", **options: Any) -> dict[str, str]:
    tasks, _ = plan_many(inputs, Path(output), **options)
    return {task.source.as_posix(): task.target.as_posix() for task in tasks}


def test_folders_are_mirrored() -> None:
    assert plan("in") == {
        "in/a.png": "out/a.png",
        "in/b.JPG": "out/b.JPG",
        "in/sub/a.png": "out/sub/a.png",
        "in/sub/deep/c.heic": "out/sub/deep/c.jpg",
    }
    assert not Path("out").exists()


def test_files_and_folders_together() -> None:
    expected = {"in/sub/a.png": "out/a.png", "more/d.gif": "out/d.png"}
    assert plan("in/sub/a.png", "more") == expected
    assert plan("in/a.png", "./in/a.png") == {"in/a.png": "out/a.png"}


def test_animations_stay_animations() -> None:
    frames = [Photo(np.full((4, 4, 3), grey, np.float32)) for grey in (0, 1)]
    for name in ("d.gif", "e.apng", "f.webp"):
        save_animation(frames, [40, 40], 0, Path("more", name))
    save_animation(frames[:1], [40], 0, "more/still.gif")
    assert plan("more") == {
        "more/d.gif": "out/d.gif",
        "more/e.apng": "out/e.apng",
        "more/f.webp": "out/f.webp",
        "more/still.gif": "out/still.png",
    }
    assert suffix_by_content(Path("more/d.gif")) == ".gif"
    assert suffix_by_content(Path("more/still.gif")) == ".png"
    assert plan_one(Path("more/d.gif"), Path("new.gif"), "refuse", []).target == Path("new.gif")
    with raises(PhotoError, "no_folder"):
        plan_one(Path("more/d.gif"), Path("no/new.gif"), "refuse", [])
    with raises(PhotoError, "output_is_a_file", "new.gif"):
        plan("more", output="new.gif")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("in/*.png", {"in/a.png": "out/a.png"}),
        ("in/**/*.png", {"in/a.png": "out/a.png", "in/sub/a.png": "out/sub/a.png"}),
        ("*/a.*", {"in/a.png": "out/in/a.png"}),
        ("in/[b]*", {"in/b.JPG": "out/b.JPG"}),
        ("mor?", {"more/d.gif": "out/more/d.png"}),
    ],
)
def test_patterns(pattern: str, expected: dict[str, str]) -> None:
    assert plan(pattern) == expected


def test_a_file_named_as_a_pattern_is_a_file() -> None:
    Path("in/a[1].png").touch()
    assert is_one_file(["in/a[1].png"])
    assert plan("in/a[1].png", "more") == {
        "in/a[1].png": "out/a[1].png",
        "more/d.gif": "out/d.png",
    }


def test_one_file_or_several() -> None:
    assert is_one_file(["in/a.png"])
    assert is_one_file(["missing.png"])
    assert not is_one_file(["in"])
    assert not is_one_file(["in/*.png"])
    assert not is_one_file(["in/a.png", "in/b.JPG"])


def test_format_of_the_results() -> None:
    assert plan("in/a.png", "more", suffix=".webp") == {
        "in/a.png": "out/a.webp",
        "more/d.gif": "out/d.webp",
    }
    assert suffix_of("png", Path("out.PNG")) == ".png"
    assert suffix_of("") == ""
    with raises(SettingError, "format_conflict", "png", "out.jpg"):
        suffix_of("png", Path("out.jpg"))


def test_results_that_would_collide() -> None:
    assert plan("in/a.png", "in/sub/a.png", "in/./a.png") == {
        "in/a.png": "out/a.png",
        "in/sub/a.png": "out/a_2.png",
    }
    for name in ("a.heic", "a.jpg", "a_heic.jpg", "a.jp2"):
        Path("in", name).touch()
    assert plan("in/a.heic", "in/a.jp2", "in/a.jpg", "in/a_heic.jpg") == {
        "in/a.heic": "out/a_heic_2.jpg",
        "in/a.jp2": "out/a_jp2.jpg",
        "in/a.jpg": "out/a.jpg",
        "in/a_heic.jpg": "out/a_heic.jpg",
    }
    assert plan("in/a.heic", "in/a.png", suffix=".webp") == {
        "in/a.heic": "out/a.webp",
        "in/a.png": "out/a_png.webp",
    }


def test_results_that_differ_only_in_case(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("A.jpg", "a.JPG", "other/a.jpg"):
        Path("case", name).parent.mkdir(parents=True, exist_ok=True)
        Path("case", name).touch()
    if len(list(Path("case").glob("*.*"))) < 2:
        pytest.skip("this file system does not distinguish the names")
    assert len(plan("case")) == 3
    assert not list(Path().rglob("*.tmp"))
    monkeypatch.setattr(output_paths, "_folds_case", lambda folder: True)
    assert plan("case")["case/a.JPG"] == "out/a_2.JPG"


def test_results_among_the_inputs() -> None:
    Path("in/styled").mkdir()
    Path("in/styled/a.png").touch()
    Path("in/@eaDir").mkdir()
    Path("in/@eaDir/a.png").touch()
    inputs = ["in/a.png", "in/styled", "in/@eaDir"]  # as from a shell's in/*
    tasks, found = plan_many(inputs, Path("in/styled"), existing="replace")
    assert [task.source.as_posix() for task in tasks] == ["in/a.png"]
    assert found.passed_over == {"styled": 1, "@eaDir": 1}
    assert set(plan("in/*/*.png", output="in/styled", existing="replace")) == {
        *("in/sub/a.png", "in/@eaDir/a.png")
    }
    with raises(PhotoError, "no_photos", "1 @eaDir"):
        plan("in/styled", "in/@eaDir", output="in/styled")


def test_results_that_already_exist() -> None:
    Path("out/sub").mkdir(parents=True)
    Path("out/sub/a.png").touch()
    with raises(PhotoError, "already_exists", "out/sub/a.png"):
        plan("in")
    tasks, _ = plan_many(["in"], Path("out"), existing="skip")
    assert [task.source.as_posix() for task in tasks if task.skip] == ["in/sub/a.png"]
    tasks, _ = plan_many(["in"], Path("out"), existing="replace")
    assert not any(task.skip for task in tasks)


def test_result_of_another_photo_is_not_skipped() -> None:
    for name in ("in/c.webp", "out/c.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    tasks, _ = plan_many(["in"], Path("out"), suffix=".png", existing="skip")
    assert [task.source.as_posix() for task in tasks if task.skip] == ["in/c.webp"]
    Path("in/c.jpg").touch()  # its result would have the same name
    tasks, _ = plan_many(["in"], Path("out"), suffix=".png", existing="skip")
    found = {task.source.as_posix(): (task.target.as_posix(), task.skip) for task in tasks}
    assert found["in/c.jpg"] == ("out/c.png", False)
    assert found["in/c.webp"] == ("out/c_webp.png", False)


def test_results_inside_the_folder_are_not_photos() -> None:
    expected = plan("in", output="elsewhere")
    Path("in/styled").mkdir()
    for name in ("a.png", "b.JPG"):
        Path("in/styled", name).touch()
    actual = plan("in", output="in/styled", existing="replace")
    assert list(actual) == list(expected)
    for path in (Path("in/a.png"), Path("in/b.JPG"), Path("in/sub")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with raises(PhotoError, "no_photos", "in/styled"):
        plan("in", output="in/styled")


@pytest.mark.parametrize("inputs", [["in"], ["in/a.png", "in/b.JPG"], ["in/**/*.*g"]])
def test_photos_are_not_replaced(inputs: list[str]) -> None:
    with raises(PhotoError, "would_replace", "in/a.png"):
        plan(*inputs, output="in", existing="replace")


@pytest.mark.skipif(os.name != "posix", reason="links need rights there")
@pytest.mark.parametrize("kind", ["folder", "target", "source", "hard"])
def test_photos_are_not_replaced_through_links(kind: str) -> None:
    if kind == "folder":
        Path("out").symlink_to("in")
    else:
        Path("out").mkdir()
    if kind == "target":
        Path("out/a.png").symlink_to("../in/a.png")
    if kind == "source":
        Path("in/a.png").rename("out/a.png")
        Path("in/a.png").symlink_to("../out/a.png")
    if kind == "hard":
        os.link("in/a.png", "out/a.png")
    with raises(PhotoError, "would_replace"):
        plan("in", existing="replace")


def test_the_mask_is_not_replaced() -> None:
    Path("mask.png").touch()
    masks = [Path("mask.png")]
    with raises(PhotoError, "would_replace", "mask.png"):
        plan_one(Path("in/a.png"), Path("./mask.png"), "replace", masks)
    Path("more/mask.png").touch()
    with raises(PhotoError, "would_replace", "mask.png"):
        plan("more", output=".", existing="replace", protected=masks)


def test_one_photo() -> None:
    photo = Path("in/a.png")
    assert not plan_one(photo, Path("out.png"), "refuse", []).skip
    Path("out.png").touch()
    assert not plan_one(photo, Path("out.png"), "refuse", []).skip
    assert plan_one(photo, Path("out.png"), "skip", []).skip
    with raises(PhotoError, "would_replace"):
        plan_one(photo, Path("in/../in/a.png"), "refuse", [])


@pytest.mark.parametrize(
    ("inputs", "output", "code", "fact"),
    [
        (["no*.png"], "out", "no_match", "no*.png"),
        (["in"], "out.png", "output_is_a_file", "out.png"),
        (["in"], "in/notes.txt", "output_is_a_file", "in/notes.txt"),
    ],
)
def test_plans_that_cannot_work(inputs: list[str], output: str, code: str, fact: str) -> None:
    with raises(PhotoError, code, fact):
        plan(*inputs, output=output)


def test_an_empty_folder() -> None:
    Path("empty").mkdir()
    with pytest.raises(PhotoError, match="empty"):
        plan("empty")


def test_folder_that_cannot_be_made() -> None:
    check_folder(Path("new/folder"))
    assert Path("new/folder").is_dir()
    assert not list(Path("new/folder").iterdir())
    with raises(PhotoError, "cannot_write", "in/a.png/folder"):
        check_folder(Path("in/a.png/folder"))


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\xff\xd8\xff\xe0", ".jpg"),
        (b"\x89PNG\r\n\x1a\n", ".png"),
        (b"RIFF1234WEBPVP8 ", ".webp"),
        (b"II*\0", ".tif"),
        (b"GIF89a", ".png"),
        (b"", ".png"),
    ],
)
def test_suffix_by_content(head: bytes, expected: str) -> None:
    Path("photo").write_bytes(head)
    assert suffix_by_content(Path("photo")) == expected
    assert suffix_by_content(Path("missing")) == ".png"
