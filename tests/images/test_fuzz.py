"""Files that are made to do harm, and files that got damaged: refused in a sentence, or read.

``FSTSTYLE_FUZZ_SECONDS=120 pytest tests/test_fuzz.py`` looks further, with a seed of its own;
``FSTSTYLE_FUZZ_SEED`` repeats one.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from dialled import make_dialled_network, save_dialled_style
from errors_help import raises
from PIL import Image

from fststyle.errors import FststyleError, PhotoError, SettingError
from fststyle.files import write_atomically
from fststyle.images import load, save
from fststyle.stylize.stylizer import Stylizer

SECONDS = os.environ.get("FSTSTYLE_FUZZ_SECONDS")
SEED = os.environ.get("FSTSTYLE_FUZZ_SEED", "0" if SECONDS is None else str(time.time_ns() % 10**6))
CASES = Path(__file__).parents[1] / "helpers" / "fuzz_cases.py"


def run_cases(what: str, folder: Path) -> dict[str, float]:
    seconds = SECONDS or "2"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(CASES), what, SEED, seconds, str(folder)],
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
        timeout=300 + 3 * float(seconds),
    )
    assert done.returncode == 0, f"seed {SEED}, {folder / 'case'}:\n{done.stderr[-3000:]}"
    kinds = json.loads(done.stdout)["kinds"].values()
    return {key: sum(counts.get(key, 0) for counts in kinds) for key in ("read", "refused")}


def test_photos(tmp_path: Path) -> None:
    outcome = run_cases("photos", tmp_path)
    assert outcome["read"] > 10  # else all that was damaged was damaged too much
    assert outcome["refused"] > 10


def test_style_files(each_style_path: Path, style_path: Path, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(each_style_path.read_bytes())
    (tmp_path / "b.onnx").write_bytes(style_path.read_bytes())
    save_dialled_style(make_dialled_network(styles=2), tmp_path / "c.onnx")
    outcome = run_cases("styles", tmp_path)
    assert outcome["read"] >= 1
    assert outcome["refused"] > 10


# Large pictures


def bomb(width: int, height: int) -> bytes:
    """A small PNG of many white pixels."""
    file = BytesIO()
    Image.new("1", (width, height), 1).save(file, "PNG")
    return file.getvalue()


def icon_with(picture: bytes) -> bytes:
    """An icon that says that its picture is 16×16."""
    entry = struct.pack("<4B2H2I", 16, 16, 0, 0, 1, 32, len(picture), 22)
    return struct.pack("<3H", 0, 1, 1) + entry + picture


def test_limit_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(2000, 1001))
    monkeypatch.setenv("FSTSTYLE_MAX_MEGAPIXELS", "2")
    with raises(PhotoError, "too_large", "2000×1001", "2 megapixels"):
        load.load_photo(path)
    monkeypatch.setenv("FSTSTYLE_MAX_MEGAPIXELS", "3")
    assert load.load_photo(path).pixels.shape == (1001, 2000, 3)
    for wrong in ("0", "-1", "many", "1e3", "9" * 99):
        monkeypatch.setenv("FSTSTYLE_MAX_MEGAPIXELS", wrong)
        with raises(SettingError, "setting", "FSTSTYLE_MAX_MEGAPIXELS"):
            load.load_photo(path)


def test_bomb_within_an_icon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.ico"
    path.write_bytes(icon_with(bomb(2000, 2001)))
    assert load.load_photo(path).pixels.shape == (2001, 2000, 3)
    monkeypatch.setenv("FSTSTYLE_MAX_MEGAPIXELS", "2")
    with pytest.raises(PhotoError, match=r"bomb\.ico"):
        load.load_photo(path)


def test_postscript_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*args: object, **options: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", run)
    monkeypatch.setattr(subprocess, "check_call", run)
    (tmp_path / "photo.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    )
    with raises(PhotoError, "not_an_image"):
        load.load_photo(tmp_path / "photo.jpg")


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (1, 5000), (5000, 1), (65_500, 20), (20, 65_500)]
)
def test_odd_shapes(width: int, height: int, style_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    ramp = np.linspace(0, 255, width * height, dtype=np.uint8).reshape(height, width)
    Image.fromarray(ramp).convert("RGB").save(path)
    photo = load.load_photo(path)
    picture = Stylizer(style_path, device="cpu").stylize(photo).pixels
    assert picture.shape == (height, width, 3)
    assert np.isfinite(picture).all()
    save.save_photo(picture, tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as written:
        assert written.size == (width, height)


# Outputs


@pytest.mark.skipif(sys.platform == "win32", reason="links need special rights on Windows")
def test_permissions_and_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "out.png", tmp_path / "link.png"
    path.write_bytes(b"before")
    path.chmod(0o640)
    link.symlink_to(path)
    save.save_photo(np.zeros((2, 2, 3), np.float32), link)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.read_bytes().startswith(b"\x89PNG")


def test_read_only_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(b"before")
    path.chmod(0o440)
    monkeypatch.setattr(os, "access", lambda *args: False)  # root may write to anything
    with raises(PhotoError, "cannot_write", "Permission denied"):
        save.save_photo(np.zeros((2, 2, 3), np.float32), path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of a file's size")
def test_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "out.bin"
    write_atomically(path, b"before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with raises(FststyleError, "cannot_write"):
            write_atomically(path, bytes(10_000))
        with raises(PhotoError, "cannot_write"):
            save.save_photo(np.random.default_rng(0).random((64, 64, 3)), tmp_path / "out.png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
