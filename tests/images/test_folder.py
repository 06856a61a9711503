"""The search for photos in folders."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from errors_help import raises
from image_help import random_bytes
from PIL import Image
from user_help import run_unprivileged

from fststyle.errors import PhotoError
from fststyle.images.folder import find_photos, search_folder


def make_files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def make_link(link: Path, target: str) -> None:
    try:
        link.symlink_to(target, target_is_directory=True)
    except OSError:
        pytest.skip("this user may not create links")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_find_photos(tmp_path: Path) -> None:
    found = ["B.JPG", "a.png", "dangling.jpg", "deep/er/c.WebP", "deep/z.tiff"]
    others = [".hidden.jpg", ".cache/x.jpg", "deep/.git/y.png", "notes.txt", "jpg", "d.jpg.part"]
    make_files(tmp_path, *found[:2], *found[3:], *others)
    (tmp_path / "dangling.jpg").symlink_to(tmp_path.parent / "nowhere.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "itself").symlink_to("itself")
    os.mkfifo(tmp_path / "pipe.jpg")

    assert find_photos(str(tmp_path)) == [tmp_path / name for name in found]


def test_no_photos(tmp_path: Path) -> None:
    make_files(tmp_path, "notes.txt", "drawing.svg", "@eaDir/a.jpg")

    with raises(PhotoError, "no_photos", "1 .svg", "1 @eaDir", ".jpg"):
        find_photos(tmp_path)
    for name in ("notes.txt", "missing"):
        with raises(PhotoError, "no_folder", name):
            find_photos(tmp_path / name)


def test_all_that_is_left_out_is_counted(tmp_path: Path) -> None:
    make_files(tmp_path, "a.jpg", "x.CR2", "sub/y.cr2", "z.svg", "._a.jpg", "notes.txt", "b.json")
    Image.fromarray(random_bytes(4, 4, 3)).save(tmp_path / "untitled", "JPEG")
    Image.fromarray(random_bytes(4, 4, 3)).save(tmp_path / "c.jpg_large", "PNG")
    for name in ("@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", ".thumbnails", "sub/@EADIR"):
        make_files(tmp_path, f"{name}/a.jpg")

    found = search_folder(tmp_path)

    assert found.paths == [tmp_path / "a.jpg"]
    expected = {".cr2": 2, ".svg": 1, "hidden": 1, "without extension": 1, ".jpg_large": 1}
    assert found.left_out == expected
    names = ("@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", ".thumbnails", "@EADIR")
    assert found.passed_over == Counter(names)
    assert "2 .cr2" in found.summary()
    assert "1 .thumbnails" in found.summary()
    assert search_folder(tmp_path / "@eaDir").paths == [tmp_path / "@eaDir" / "a.jpg"]


def test_each_linked_folder_is_searched_once(tmp_path: Path) -> None:
    make_files(tmp_path, "real/a.jpg", "album/b.jpg", "album/sub/c.jpg", "above.jpg")
    album = tmp_path / "album"
    make_link(album / "holiday", "../real")
    make_link(album / "again", "../real")
    make_link(album / "first", "sub")
    make_link(album / "sub" / "up", "../../album")
    make_link(album / "parent", "..")
    make_link(album / "nowhere", "missing")

    found = search_folder(album)

    assert found.paths == [album / name for name in ("again/a.jpg", "b.jpg", "sub/c.jpg")]
    assert not found.unreadable


def test_excluded_folder(tmp_path: Path) -> None:
    make_files(tmp_path, "a.jpg", "out/a.jpg", "out/sub/b.jpg")
    make_link(tmp_path / "link", "out/sub")

    assert search_folder(tmp_path, exclude=tmp_path / "out").paths == [tmp_path / "a.jpg"]
    assert len(search_folder(tmp_path / "out", exclude=tmp_path / "out").paths) == 2


@pytest.mark.parametrize("mode", [0o000, 0o644, 0o311])
def test_unreadable_subfolder(tmp_path: Path, mode: int) -> None:
    script = (
        "from fststyle.images.folder import search_folder; found = search_folder('photos'); "
        "print(*found.paths, *[error.path for error in found.unreadable])"
    )
    make_files(tmp_path, "photos/a.jpg", "photos/closed/b.jpg")
    (tmp_path / "photos" / "closed").chmod(mode)

    done = run_unprivileged("-c", script, folder=tmp_path)
    only = run_unprivileged("-c", script.replace("photos", "photos/closed"), folder=tmp_path)

    (tmp_path / "photos" / "closed").chmod(0o755)
    assert done.stdout.split() == ["photos/a.jpg", "photos/closed"], done.stderr
    assert "PhotoError: Cannot search the folder photos/closed: Permission denied." in only.stderr
