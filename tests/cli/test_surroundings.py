"""Commands on full disks, without a temporary folder, and with odd variables."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from user_help import run_unprivileged

from fststyle.images.save import save_photo

pytestmark = pytest.mark.skipif(os.name != "posix", reason="ulimit is POSIX's")


def limited(
    blocks: int | str, folder: Path, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command that cannot write files larger than a number of blocks of 1 kB."""
    command = [sys.executable, "-m", "fststyle", *arguments]
    return subprocess.run(
        ["bash", "-c", f"ulimit -f {blocks}; {shlex.join(command)}"],
        cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    assert done.stderr.startswith("Error: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "export great_wave -o a.xml",
        pytest.param("serve --port 0 --no-browser", marks=pytest.mark.needs("fastapi")),
        pytest.param("train style=ink_wash", marks=pytest.mark.needs("torch")),
    ],
)
def test_no_temporary_folder(tmp_path: Path, command: str) -> None:
    save_photo(np.full((32, 32, 3), 0.5), tmp_path / "a.png")
    done = limited(0, tmp_path, *command.split())
    assert "Cannot write temporary files" in one_sentence(done)
    assert "TMPDIR" in done.stderr


def test_full_temporary_folder(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    command = ["export", "great_wave", "-o", "a.xml"]
    done = limited(8, tmp_path, *command, TMPDIR=str(tmp_path / "small"))
    assert f"Cannot write temporary files to {tmp_path / 'small'}" in one_sentence(done)
    assert "TMPDIR" in done.stderr
    assert not list((tmp_path / "small").iterdir())
    assert not (tmp_path / "a.xml").exists()


@pytest.mark.parametrize("name", ["out.png", "out.gif"])
def test_disk_that_is_full(tmp_path: Path, name: str) -> None:
    photo = np.random.default_rng(0).random((96, 96, 3))
    save_photo(photo, tmp_path / "a.png")
    (tmp_path / name).write_bytes(b"before")
    done = limited(2, tmp_path, "stylize", "a.png", "--style", "great_wave", "-o", name)
    assert f"Cannot write {name}: File too large." in one_sentence(done)
    assert (tmp_path / name).read_bytes() == b"before"
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", name}


def test_device_that_is_full(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    save_photo(np.full((32, 32, 3), 0.5), tmp_path / "a.png")
    line = f"{shlex.quote(sys.executable)} -m fststyle"
    for command in ("stylize a.png --style great_wave -o -", "styles"):
        done = subprocess.run(
            ["bash", "-c", f"{line} {command} > /dev/full"],
            cwd=tmp_path, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert "standard output: No space left on device" in one_sentence(done)


@pytest.mark.parametrize(
    "variables",
    [
        {"HOME": "", "XDG_DATA_HOME": "", "XDG_CACHE_HOME": "", "TMPDIR": ""},
        {"XDG_DATA_HOME": "data", "XDG_CACHE_HOME": "cache", "TMPDIR": "tmp"},
    ],
)
def test_empty_and_relative_variables(tmp_path: Path, variables: dict[str, str]) -> None:
    save_photo(np.full((32, 32, 3), 0.5), tmp_path / "a.png")
    for line in ("styles", "stylize a.png --style great_wave -o b.png"):
        done = limited("unlimited", tmp_path, *line.split(), **variables)
        assert (done.returncode, done.stderr) == (0, "")
    # The XDG specification says that relative paths are to be ignored.
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.png"}


def test_read_only_output_folder(tmp_path: Path) -> None:
    save_photo(np.full((32, 32, 3), 0.5), tmp_path / "a.png")
    (tmp_path / "out").mkdir()
    command = ["-m", "fststyle", "stylize", "a.png", "a.png", "--style", "great_wave", "-o", "out"]
    (tmp_path / "out").chmod(0o555)
    done = run_unprivileged(*command, folder=tmp_path)
    (tmp_path / "out").chmod(0o755)
    assert one_sentence(done).startswith("Error: Cannot write out: Permission denied.")


def test_two_processes_with_one_output_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(4):
        save_photo(np.full((64, 64, 3), number / 4), tmp_path / "in" / f"{number}.png")
    line = "stylize in -o out --style great_wave --overwrite --device cpu"
    command = [sys.executable, "-m", "fststyle", *line.split()]
    both = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in "ab"]
    assert [process.wait(120) for process in both] == [0, 0]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"{number}.png" for number in range(4)}
