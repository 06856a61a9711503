from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from fststyle.errors import SettingError, TrainingError
from fststyle.runs import Run, Status

SETTINGS: dict[str, Any] = {
    "seed": 0,
    "style": {"name": "wave"},
    "optim": {"lr": 0.1, "betas": [1]},
}


def make_run(folder: Path, status: Status = "running", steps: int = 3, **settings: Any) -> Run:
    """A run that was ended, with its checkpoint."""
    run = Run.open(folder, {**SETTINGS, **settings}, None)
    run.mark(status)
    torch.save({"fststyle": {"steps_made": steps}}, folder / "last.ckpt")
    return run


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
    run = Run.open(tmp_path / "two", SETTINGS, "auto")
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


@pytest.mark.parametrize("damage", ["empty", "truncated", "foreign", "text"])
def test_damaged_checkpoint(tmp_path: Path, damage: str) -> None:
    make_run(tmp_path / "one")
    path = tmp_path / "one" / "last.ckpt"
    data = path.read_bytes()
    if damage == "foreign":
        torch.save({"weights": torch.zeros(3)}, path)
    else:
        path.write_bytes({"empty": b"", "truncated": data[:-100], "text": b"text"}[damage])
    with pytest.raises(TrainingError, match=r"one/last\.ckpt cannot be read .* start anew without"):
        Run.open(tmp_path / "two", SETTINGS, "auto")


def test_unfinished_run_is_not_overwritten(tmp_path: Path) -> None:
    make_run(tmp_path / "one")
    with pytest.raises(TrainingError, match=r"unfinished run in .*one; go on .* resume=auto, or"):
        Run.open(tmp_path / "one", SETTINGS, None)
    assert (tmp_path / "one" / "last.ckpt").is_file()


def test_checkpoint_of_a_run_that_is_over_does_not_stay(tmp_path: Path) -> None:
    make_run(tmp_path / "one", "finished")
    Run.open(tmp_path / "one", SETTINGS, None).mark("running")
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
