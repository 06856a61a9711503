from __future__ import annotations

import errno
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from errors_help import raises

from fststyle.errors import SettingError, TrainingError
from fststyle.training.main import remove_empty
from fststyle.training.run_folder import Run, Status, cannot_continue, find_resumable, read_state

SETTINGS: dict[str, Any] = {
    "seed": 0,
    "style": {"name": "wave"},
    "optim": {"lr": 0.1, "betas": [1]},
}


def open_run(folder: Path, settings: dict[str, Any], mode: str | None) -> Run:
    """Open a run as `train` does."""
    found = find_resumable(folder, settings, mode)
    return Run.new(folder, settings) if found is None else Run.resume(found, settings)


def make_run(folder: Path, status: Status = "running", steps: int = 3, **settings: Any) -> Run:
    """A run that was ended, with its checkpoint."""
    run = open_run(folder, {**SETTINGS, **settings}, None)
    run.mark(status)
    save_checkpoint(folder / "last.ckpt", steps)
    run.close()  # as its end does
    return run


def save_checkpoint(path: Path, steps: int) -> None:
    torch.save({"fststyle": {"steps_made": steps}, "weights": torch.arange(999.0)}, path)


def test_new_run(tmp_path: Path) -> None:
    run = open_run(tmp_path / "wave" / "one", SETTINGS, None)
    assert (run.folder, run.checkpoint, run.steps_made) == (tmp_path / "wave" / "one", None, 0)
    run.mark("running")
    expected = {"status": "running", "started": run.started, "settings": SETTINGS}
    assert json.loads((run.folder / "run.json").read_text()) == read_state(run.folder) == expected
    run.mark("finished", {"style_file": "wave.onnx"})
    assert read_state(run.folder) == {**expected, "status": "finished", "style_file": "wave.onnx"}


@pytest.mark.parametrize("status", ["running", "interrupted"])
def test_unfinished_run_is_resumed(tmp_path: Path, status: Status) -> None:
    first = make_run(tmp_path / "one", status)
    with open_run(tmp_path / "two", SETTINGS, "auto") as run:
        pass
    assert run == Run(first.folder, SETTINGS, first.started, first.folder / "last.ckpt", 3)


def test_newest_unfinished_run_is_resumed(tmp_path: Path) -> None:
    for name, started in (("b", "2026-01-02"), ("a", "2026-01-03"), ("c", "2026-01-01")):
        run = make_run(tmp_path / name)
        run.started = started
        run.mark("running")
    assert open_run(tmp_path / "new", SETTINGS, "auto").folder == tmp_path / "a"


def test_run_in_the_folder_itself_comes_first(tmp_path: Path) -> None:
    make_run(tmp_path / "one", steps=1)
    make_run(tmp_path / "two", steps=2)
    assert open_run(tmp_path / "one", SETTINGS, "auto").folder == tmp_path / "one"


def test_run_of_another_style_is_let_be(tmp_path: Path) -> None:
    make_run(tmp_path / "one", style={"name": "scream"})
    assert open_run(tmp_path / "two", SETTINGS, "auto").folder == tmp_path / "two"


@pytest.mark.parametrize("status", ["finished", "failed"])
def test_run_that_is_over_is_not_resumed(
    tmp_path: Path, status: Status, caplog: pytest.LogCaptureFixture
) -> None:
    make_run(tmp_path / "one", status)
    with caplog.at_level(logging.INFO):
        run = open_run(tmp_path / "two", SETTINGS, "auto")
    assert (run.folder, run.checkpoint) == (tmp_path / "two", None)
    assert run.folder.is_dir()
    assert "No unfinished run to resume in" in caplog.text


@pytest.mark.parametrize("text", ["", "[]", "{", '{"status": "running"}', '{"status": []}'])
def test_foreign_file_is_no_run(tmp_path: Path, text: str) -> None:
    make_run(tmp_path / "one")
    (tmp_path / "one" / "run.json").write_text(text)
    assert open_run(tmp_path / "two", SETTINGS, "auto").checkpoint is None


def test_a_run_in_the_folder_is_not_left_for_another(tmp_path: Path) -> None:
    make_run(tmp_path / "one")
    make_run(tmp_path / "two")
    (tmp_path / "two" / "last.ckpt").unlink()  # it ended before its first checkpoint
    run = open_run(tmp_path / "two", SETTINGS, "auto")
    assert (run.folder, run.checkpoint) == (tmp_path / "two", None)


def test_only_runs_of_the_same_settings(tmp_path: Path) -> None:
    make_run(tmp_path / "one")
    newer = make_run(tmp_path / "two", seed=7)
    newer.started = "2999"
    newer.mark("interrupted")
    assert open_run(tmp_path / "new", SETTINGS, "same").folder == tmp_path / "one"
    assert open_run(tmp_path / "new", {**SETTINGS, "seed": 8}, "same").folder == tmp_path / "new"


def test_run_without_checkpoint_is_not_resumed(tmp_path: Path) -> None:
    make_run(tmp_path / "one")
    (tmp_path / "one" / "last.ckpt").unlink()
    assert open_run(tmp_path / "two", SETTINGS, "auto").checkpoint is None


def test_other_settings_are_named(tmp_path: Path) -> None:
    make_run(tmp_path / "one")
    changed = {"seed": 1, "style": SETTINGS["style"], "optim": {"lr": 0.1, "betas": [2]}, "new": 0}
    with raises(TrainingError, "other_settings", tmp_path / "one", ": new, optim.betas, seed."):
        open_run(tmp_path / "two", changed, "auto")


def damage(path: Path, kind: str) -> None:
    data = path.read_bytes()
    if kind == "foreign":
        torch.save({"weights": torch.zeros(3)}, path)
    elif kind == "flipped":
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    elif kind == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "truncated": data[:-100], "text": b"text"}[kind])


DAMAGES = ["empty", "truncated", "foreign", "text", "flipped"]


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_checkpoint(tmp_path: Path, kind: str) -> None:
    make_run(tmp_path / "one")
    damage(tmp_path / "one" / "last.ckpt", kind)
    with raises(TrainingError, "damaged", tmp_path / "one" / "last.ckpt"):
        open_run(tmp_path / "two", SETTINGS, "auto")


@pytest.mark.parametrize("kind", [*DAMAGES, "missing"])
def test_previous_checkpoint_stands_in(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """For a damaged one, and for one that a kill between two renames took away."""
    folder = make_run(tmp_path / "one", steps=5).folder
    damage(folder / "last.ckpt", kind)
    save_checkpoint(folder / "previous.ckpt", 4)
    expected = (folder / "previous.ckpt").read_bytes()
    run = open_run(tmp_path / "two", SETTINGS, "auto")
    run.close()
    assert (run.checkpoint, run.steps_made) == (folder / "last.ckpt", 4)
    # A damaged file is out of the way: the next checkpoint would make it the previous one.
    assert (folder / "last.ckpt").read_bytes() == expected
    assert not (folder / "previous.ckpt").exists()
    assert (str(folder / "last.ckpt") in caplog.text) == (kind != "missing")


def test_both_checkpoints_are_damaged(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "one").folder
    for name in ("last.ckpt", "previous.ckpt"):
        (folder / name).write_bytes(b"text")
    with raises(TrainingError, "damaged", "last.ckpt"):
        open_run(tmp_path / "two", SETTINGS, "auto")
    assert (folder / "previous.ckpt").read_bytes() == b"text"


# One process at a time

HOLD = """
import sys
import threading
from pathlib import Path
from fststyle.training.main import remove_empty
from fststyle.training.run_folder import Run
run = Run.new(Path(sys.argv[1]), {"style": {"name": "wave"}})
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.force
def test_run_of_another_process_is_let_be(tmp_path: Path) -> None:
    settings = {"style": {"name": "wave"}}
    command = [sys.executable, "-c", HOLD, str(tmp_path / "one")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            Run(tmp_path / "one", settings, "2026-01-01").mark("running")
            with raises(TrainingError, "locked", tmp_path / "one"):
                open_run(tmp_path / "one", settings, "auto")  # no checkpoint yet
            save_checkpoint(tmp_path / "one" / "last.ckpt", 3)
            with raises(TrainingError, "locked", tmp_path / "one"):
                open_run(tmp_path / "two", settings, "auto")
            assert (tmp_path / "one" / "last.ckpt").is_file()
        finally:
            process.kill()
    # The lock dies with the process.
    with open_run(tmp_path / "two", settings, "auto") as run:
        assert run.steps_made == 3


def test_lock_leaves_nothing(tmp_path: Path) -> None:
    run = open_run(tmp_path / "one", SETTINGS, None)
    with raises(TrainingError, "locked", tmp_path / "one"):
        open_run(tmp_path / "one", SETTINGS, None)
    run.close()
    run.close()
    assert list((tmp_path / "one").iterdir()) == []
    open_run(tmp_path / "one", SETTINGS, None).close()


# Errors


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "disk_full"),
        (errno.EDQUOT, "disk_full"),
        (errno.EFBIG, "disk_full"),
        (errno.EIO, "cannot_write"),
    ],
)
def test_full_disk_is_not_any_error(number: int, code: str) -> None:
    with raises(TrainingError, code, "run", "Reason", "resume=auto"):
        raise cannot_continue(Path("run"), OSError(number, "Reason"))


# New runs


def test_unfinished_run_is_not_overwritten(tmp_path: Path) -> None:
    make_run(tmp_path / "one")
    with raises(TrainingError, "unfinished_run", tmp_path / "one", "resume=auto"):
        open_run(tmp_path / "one", SETTINGS, None)
    assert (tmp_path / "one" / "last.ckpt").is_file()


def test_checkpoint_of_a_run_that_is_over_does_not_stay(tmp_path: Path) -> None:
    make_run(tmp_path / "one", "finished")
    save_checkpoint(tmp_path / "one" / "previous.ckpt", 2)
    with open_run(tmp_path / "one", SETTINGS, None) as new:
        new.mark("running")
    # Killed now, the new run has nothing to go on from.
    assert open_run(tmp_path / "one", SETTINGS, "auto").checkpoint is None


def test_resume_is_auto_or_nothing(tmp_path: Path) -> None:
    with raises(SettingError, "setting", "resume", "'yes'"):
        open_run(tmp_path / "one", SETTINGS, "yes")
    assert not (tmp_path / "one").exists()


@pytest.mark.parametrize("resume", [None, "auto"])
def test_folder_that_cannot_be_made(tmp_path: Path, resume: str | None) -> None:
    (tmp_path / "file").touch()
    with raises(TrainingError, "cannot_write", tmp_path / "file" / "run", "output_dir"):
        open_run(tmp_path / "file" / "run", SETTINGS, resume)


def test_folder_that_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with raises(TrainingError, "cannot_write", tmp_path / "one", "output_dir"):
        open_run(tmp_path / "one", SETTINGS, None)


def test_folder_of_a_locked_run_is_not_empty(tmp_path: Path) -> None:
    """Another run that was given the same folder, and fails, cannot remove it."""
    with Run.new(tmp_path / "one", SETTINGS):
        remove_empty(tmp_path / "one")
        assert (tmp_path / "one").is_dir()
    remove_empty(tmp_path / "one")
    assert not (tmp_path / "one").exists()
