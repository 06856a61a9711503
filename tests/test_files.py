from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from errors_help import raises

from fststyle.errors import FststyleError
from fststyle.files import replacing, user_cache_folder, user_data_folder, write_atomically


def test_interrupted_writing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "out.json", b"{}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need special rights on Windows")
def test_write_atomically(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    link = tmp_path / "link.json"
    link.symlink_to(path)

    write_atomically(path, b"one")
    assert path.read_bytes() == b"one"
    write_atomically(str(link), b"two")
    assert link.is_symlink()
    assert path.read_bytes() == b"two"
    with raises(FststyleError, "cannot_write"):
        write_atomically(tmp_path / "missing" / "out.json", b"three")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link.json", "out.json"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS, errno.ENOTSUP])
def test_drive_that_cannot_rename_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    for content in (b"one", b"two"):
        write_atomically(tmp_path / "out.bin", content)
        assert (tmp_path / "out.bin").read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(shutil, "copyfile", refuse)
    with raises(FststyleError, "cannot_write"):
        write_atomically(tmp_path / "out.bin", b"three")
    assert list(tmp_path.iterdir()) == []  # nothing half-written


def test_temporary_file_is_hidden_and_beside_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    replace = os.replace

    def watch(source: Path, target: Path) -> None:
        seen.append(Path(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watch)
    write_atomically(tmp_path / "out.txt", b"text")

    assert [temporary.parent for temporary in seen] == [tmp_path]
    assert seen[0].name.startswith(".")
    assert str(os.getpid()) in seen[0].name


def test_replacing_leaves_nothing_of_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    path.write_bytes(b"before")

    with pytest.raises(TypeError), replacing(path) as temporary:
        temporary.write_bytes(temporary.write_bytes(b"half"))  # type: ignore[arg-type]
    assert path.read_bytes() == b"before"
    with replacing(path) as temporary:
        temporary.write_bytes(b"after")
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform != "linux", reason="XDG's folders are Linux's")
@pytest.mark.parametrize(
    ("variable", "folder", "default"),
    [
        ("XDG_DATA_HOME", user_data_folder, ".local/share"),
        ("XDG_CACHE_HOME", user_cache_folder, ".cache"),
    ],
)
def test_user_folders(
    variable: str,
    folder: Callable[[], Path],
    default: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.delenv(variable, raising=False)
    assert folder() == Path.home() / default / "fststyle"
    for ignored in ("", "relative/path"):
        monkeypatch.setenv(variable, ignored)
        assert folder() == Path.home() / default / "fststyle"
    monkeypatch.setenv(variable, str(tmp_path))
    assert folder() == tmp_path / "fststyle"


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    """A process is killed while it writes. The next one in the same folder removes its file."""
    write = (
        "import os, signal, sys\nfrom fststyle.files import replacing, write_atomically\n"
        "with replacing(sys.argv[1]) as temporary:\n"
        "    temporary.write_bytes(bytes(1000))\n"
        "    {act}\n"
    )
    target = tmp_path / "out.bin"

    def run(act: str) -> int:
        command = [sys.executable, "-c", write.format(act=act), str(target)]
        return subprocess.run(command, check=False).returncode

    assert run("os.kill(os.getpid(), signal.SIGKILL)") == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".fststyle-")
    other_machine = tmp_path / ".fststyle-00000000-1-0123abcd.tmp"
    of_others = [other_machine, tmp_path / ".fststyle.tmp", tmp_path / "photo.tmp"]
    for path in of_others:
        path.write_bytes(b"x")
    running = left.with_name(left.name.replace(f"-{left.name.split('-')[2]}-", f"-{os.getpid()}-"))
    running.write_bytes(b"x")
    assert run("pass") == 0
    assert sorted(tmp_path.iterdir()) == sorted([target, running, *of_others])
