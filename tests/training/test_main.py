from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fststyle.training.main import end_sweep, quiet_threads, remove_empty
from fststyle.training.sweep import RunNote


def test_threads_that_cannot_write_are_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: told.append(arguments.exc_value))
    quiet_threads()
    errors = OSError(28, "No space left on device"), ValueError("a bug")
    for error in errors:

        def fail(error: Exception = error) -> None:
            raise error

        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    assert told == [errors[1]]
    assert capsys.readouterr().err == ""


def test_only_empty_folders_are_removed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "style" / name).mkdir(parents=True)
    (tmp_path / "style" / "b" / "mine.txt").touch()
    for name in ("a", "b", "c"):
        remove_empty(tmp_path / "style" / name)
    assert [path.name for path in (tmp_path / "style").iterdir()] == ["b"]
    (tmp_path / "other" / "a").mkdir(parents=True)
    remove_empty(tmp_path / "other" / "a")
    assert not (tmp_path / "other").exists()


def test_end_of_a_sweep_without_style_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end_sweep([]) == 0
    assert end_sweep([RunNote(1), RunNote(0, str(tmp_path))]) == 0
    assert end_sweep([RunNote(1, str(tmp_path), str(tmp_path))] * 2) == 0
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.iterdir())
