from __future__ import annotations

import errno
import json
import logging
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from fststyle.errors import SettingError, TrainingError
from fststyle.training.run_folder import (
    Run,
    Status,
    add_notes,
    cannot_go_on,
    quiet_threads,
    run_notes,
)

SETTINGS: dict[str, Any] = {
    "seed": 0,
    "style": {"name": "wave"},
    "optim": {"lr": 0.1, "betas": [1]},
}


def make_run(folder: Path, status: Status = "running", steps: int = 3, **settings: Any) -> Run:
    """A run that was ended, with its checkpoint."""
    run = Run.open(folder, {**SETTINGS, **settings}, None)
    run.mark(status)
    save_checkpoint(folder / "last.ckpt", steps)
    run.close()  # as its end does
    return run


def save_checkpoint(path: Path, steps: int) -> None:
    torch.save({"fststyle": {"steps_made": steps}, "weights": torch.arange(999.0)}, path)


def test_new_run(tmp_path: Path) -> None:
    run = Run.open(tmp_path / "wave" / "one", SETTINGS, None)
    assert (run.folder, run.checkpoint, run.steps_made) == (tmp_path / "wave" / "one", None, 0)
    run.mark("running")
    state = json.loads((run.folder / "run.json").read_text())
    assert state == {"status": "running", "started": run.started, "settings": SETTINGS}


@pytest.mark.parametrize("status", ["running", "interrupted"])
def test_unfinished_run_is_resumed(tmp_path: Path, status: Status) -> None:
    first = make_run(tmp_path / "one", status)
    (tmp_path / "two").mkdir()  # as Hydra does
    with closing(Run.open(tmp_path / "two", SETTINGS, "auto")) as run:
        pass
    assert run == Run(first.folder, SETTINGS, first.started, first.folder / "last.ckpt", 3)
    assert not (tmp_path / "two").exists()


def test_folder_that_is_not_empty_stays(tmp_path: Path) -> None:
    make_run(tmp_path / "one")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "mine.txt").touch()
    assert Run.open(tmp_path / "two", SETTINGS, "auto").folder == tmp_path / "one"
    assert (tmp_path / "two" / "mine.txt").is_file()


def test_newest_unfinished_run_is_resumed(tmp_path: Path) -> None:
    for name, started in (("b", "2026-01-02"), ("a", "2026-01-03"), ("c", "2026-01-01")):
        run = make_run(tmp_path / name)
        run.started = started
        run.mark("running")
    assert Run.open(tmp_path / "new", SETTINGS, "auto").folder == tmp_path / "a"


def test_run_in_the_folder_itself_comes_first(tmp_path: Path) -> None:
    make_run(tmp_path / "one", steps=1)
    make_run(tmp_path / "two", steps=2)
    assert Run.open(tmp_path / "one", SETTINGS, "auto").folder == tmp_path / "one"


def test_run_of_another_style_is_let_be(tmp_path: Path) -> None:
    make_run(tmp_path / "one", style={"name": "scream"})
    assert Run.open(tmp_path / "two", SETTINGS, "auto").folder == tmp_path / "two"


@pytest.mark.parametrize("status", ["finished", "failed"])
def test_run_that_is_over_is_not_resumed(
    tmp_path: Path, status: Status, caplog: pytest.LogCaptureFixture
) -> None:
    make_run(tmp_path / "one", status)
    with caplog.at_level(logging.INFO):
        run = Run.open(tmp_path / "two", SETTINGS, "auto")
    assert (run.folder, run.checkpoint) == (tmp_path / "two", None)
    assert run.folder.is_dir()
    assert "There is no unfinished run in" in caplog.text


@pytest.mark.parametrize("text", ["", "[]", "{", '{"status": "running"}', '{"status": []}'])
def test_foreign_file_is_no_run(tmp_path: Path, text: str) -> None:
    make_run(tmp_path / "one")
    (tmp_path / "one" / "run.json").write_text(text)
    assert Run.open(tmp_path / "two", SETTINGS, "auto").checkpoint is None


def test_a_run_in_the_folder_is_not_left_for_another(tmp_path: Path) -> None:
    make_run(tmp_path / "one")
    make_run(tmp_path / "two")
    (tmp_path / "two" / "last.ckpt").unlink()  # it ended before its first checkpoint
    run = Run.open(tmp_path / "two", SETTINGS, "auto")
    assert (run.folder, run.checkpoint) == (tmp_path / "two", None)


def test_only_runs_of_the_same_settings(tmp_path: Path) -> None:
    make_run(tmp_path / "one")
    newer = make_run(tmp_path / "two", seed=7)
    newer.started = "2999"
    newer.mark("interrupted")
    assert Run.open(tmp_path / "new", SETTINGS, "same").folder == tmp_path / "one"
    assert Run.open(tmp_path / "new", {**SETTINGS, "seed": 8}, "same").folder == tmp_path / "new"


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


def test_run_without_checkpoint_is_not_resumed(tmp_path: Path) -> None:
    make_run(tmp_path / "one")
    (tmp_path / "one" / "last.ckpt").unlink()
    assert Run.open(tmp_path / "two", SETTINGS, "auto").checkpoint is None


def test_other_settings_are_named(tmp_path: Path) -> None:
    make_run(tmp_path / "one")
    changed = {"seed": 1, "style": SETTINGS["style"], "optim": {"lr": 0.1, "betas": [2]}, "new": 0}
    with pytest.raises(TrainingError) as caught:
        Run.open(tmp_path / "two", changed, "auto")
    assert str(caught.value) == (
        f"The unfinished run {tmp_path / 'one'} has other settings (new, optim.betas, seed); "
        "give the same ones, or start anew without resume=auto."
    )


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
    with pytest.raises(TrainingError, match=r"one/last\.ckpt cannot be read .* start anew without"):
        Run.open(tmp_path / "two", SETTINGS, "auto")


@pytest.mark.parametrize("kind", [*DAMAGES, "missing"])
def test_previous_checkpoint_stands_in(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """For a damaged one, and for one that a kill between two renames took away."""
    folder = make_run(tmp_path / "one", steps=5).folder
    damage(folder / "last.ckpt", kind)
    save_checkpoint(folder / "previous.ckpt", 4)
    expected = (folder / "previous.ckpt").read_bytes()
    run = Run.open(tmp_path / "two", SETTINGS, "auto")
    run.close()
    assert (run.checkpoint, run.steps_made) == (folder / "last.ckpt", 4)
    # A damaged file is out of the way: the next checkpoint would make it the previous one.
    assert (folder / "last.ckpt").read_bytes() == expected
    assert not (folder / "previous.ckpt").exists()
    told = f"{folder / 'last.ckpt'} cannot be read" in caplog.text
    assert told == (kind != "missing")


def test_both_checkpoints_are_damaged(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "one").folder
    for name in ("last.ckpt", "previous.ckpt"):
        (folder / name).write_bytes(b"text")
    with pytest.raises(TrainingError, match="there is none before it that can; start anew"):
        Run.open(tmp_path / "two", SETTINGS, "auto")
    assert (folder / "previous.ckpt").read_bytes() == b"text"


# One process at a time

HOLD = """
import sys
import threading
from pathlib import Path
from fststyle.training.run_folder import Run
run = Run.open(Path(sys.argv[1]), {"style": {"name": "wave"}}, None)
print("held", flush=True)
sys.stdin.read()
"""


def test_run_of_another_process_is_let_be(tmp_path: Path) -> None:
    settings = {"style": {"name": "wave"}}
    command = [sys.executable, "-c", HOLD, str(tmp_path / "one")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            Run(tmp_path / "one", settings, "2026-01-01").mark("running")
            with pytest.raises(TrainingError, match=r"Another process is training in .*one; wait"):
                Run.open(tmp_path / "one", settings, "auto")  # no checkpoint yet
            save_checkpoint(tmp_path / "one" / "last.ckpt", 3)
            with pytest.raises(TrainingError, match=r"Another process is training in .*one; wait"):
                Run.open(tmp_path / "two", settings, "auto")
            assert (tmp_path / "one" / "last.ckpt").is_file()
        finally:
            process.kill()
    # The lock dies with the process.
    with closing(Run.open(tmp_path / "two", settings, "auto")) as run:
        assert run.steps_made == 3


def test_lock_leaves_nothing(tmp_path: Path) -> None:
    run = Run.open(tmp_path / "one", SETTINGS, None)
    with pytest.raises(TrainingError, match="Another process"):
        Run.open(tmp_path / "one", SETTINGS, None)
    run.close()
    run.close()
    assert list((tmp_path / "one").iterdir()) == []
    Run.open(tmp_path / "one", SETTINGS, None).close()


# What is told


def test_notes() -> None:
    assert run_notes({}, 0, 1.0) == []
    assert run_notes({"b": "b is empty."}, 1, 0.5) == [
        "Skipped: b is empty.",
        "1 file was skipped; it could not be read.",
        "1 step failed; training went back to the last good weights, and ended at 0.5 times the "
        "learning rate.",
    ]
    several = run_notes({"b": "x.", "a": "y."}, 3, 0.125)
    assert several[:3] == [
        "Skipped a: y.",
        "Skipped b: x.",
        "2 files were skipped; they could not be read.",
    ]
    assert several[3].startswith("3 steps failed; ")


def test_notes_in_the_report(tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    report.write_text("# wave\n\n![pictures](x.png)\n", encoding="utf-8")
    add_notes(report, ["Skipped my_photo[1].jpg:\nempty"])
    assert report.read_text(encoding="utf-8") == (
        "# wave\n\n![pictures](x.png)\n\n## What happened in training\n\n"
        "- Skipped my\\_photo\\[1\\].jpg: empty\n"
    )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_is_told(number: int) -> None:
    sentence = cannot_go_on(Path("run"), OSError(number, "Reason"))
    assert sentence == (
        "The disk is full: Reason, in run; free some space, and run the same command with "
        "resume=auto."
    )


def test_other_errors_of_the_disk_are_told() -> None:
    sentence = cannot_go_on(Path("run"), OSError(errno.EIO, "Input/output error"))
    assert sentence.startswith("The run cannot go on writing in run (Input/output error); mend")


# Starting anew


def test_unfinished_run_is_not_overwritten(tmp_path: Path) -> None:
    make_run(tmp_path / "one")
    with pytest.raises(TrainingError, match=r"unfinished run in .*one; go on .* resume=auto, or"):
        Run.open(tmp_path / "one", SETTINGS, None)
    assert (tmp_path / "one" / "last.ckpt").is_file()


def test_checkpoint_of_a_run_that_is_over_does_not_stay(tmp_path: Path) -> None:
    make_run(tmp_path / "one", "finished")
    save_checkpoint(tmp_path / "one" / "previous.ckpt", 2)
    with closing(Run.open(tmp_path / "one", SETTINGS, None)) as new:
        new.mark("running")
    # Killed now, the new run has nothing to go on from.
    assert Run.open(tmp_path / "one", SETTINGS, "auto").checkpoint is None


def test_resume_is_auto_or_nothing(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="resume must be auto, not 'yes'"):
        Run.open(tmp_path / "one", SETTINGS, "yes")
    assert not (tmp_path / "one").exists()


@pytest.mark.parametrize("resume", [None, "auto"])
def test_folder_that_cannot_be_made(tmp_path: Path, resume: str | None) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"file/run cannot be made \(.*\); give another output"):
        Run.open(tmp_path / "file" / "run", SETTINGS, resume)


def test_folder_that_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(TrainingError, match="is read-only; give another output_dir"):
        Run.open(tmp_path / "one", SETTINGS, None)
