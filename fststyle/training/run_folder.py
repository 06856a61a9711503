"""The folders of training runs: which ones are unfinished, and going on with one."""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import logging
import os
import re
import sys
import threading
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from fststyle.errors import SettingError, TrainingError
from fststyle.files import replacing, write_atomically

Status = Literal["running", "interrupted", "finished", "failed"]

CHECKPOINT = "last.ckpt"
PREVIOUS = "previous.ckpt"
"""The checkpoint before the last one."""

log = logging.getLogger(__name__)


@dataclass
class Run:
    """A run's folder and where the run stands.

    The folder is this process's from `open` to `close`, or to its death.

    Attributes:
        folder: Where the run keeps its files.
        settings: What must be equal for the run to be resumed.
        started: When it was started, as ISO 8601 writes it.
        checkpoint: What to go on from, if the run is resumed.
        steps_made: Steps behind it.
    """

    folder: Path
    settings: dict[str, Any]
    started: str
    checkpoint: Path | None = None
    steps_made: int = 0
    _lock: int | None = field(default=None, repr=False, compare=False)

    @classmethod
    def open(cls, folder: Path, settings: dict[str, Any], resume: str | None) -> Run:
        """A new run in a folder, or an unfinished one there or beside it.

        Args:
            folder: The folder of a new run.
            settings: The run's settings, as JSON holds them.
            resume: None, or ``"auto"`` to go on with the newest unfinished run of the style,
                if there is one: the one in `folder`, else in the folders beside it unless
                there is a run in `folder`. ``"same"``: likewise, but only with a run that has
                the same settings, for sweeps.

        Returns:
            The run.

        Raises:
            TrainingError: The folder cannot be made, or holds an unfinished run that is not to
                be resumed; the unfinished run has other settings, its checkpoints cannot be
                read, or another process is at it.
            SettingError: `resume` is neither.
        """
        if resume not in (None, "auto", "same"):
            raise SettingError(f"resume must be auto, not {resume!r}.")
        here = _unfinished(folder / "run.json")
        if resume is None:
            if here is not None:
                raise TrainingError(
                    f"There is an unfinished run in {folder}; go on with it by resume=auto, or "
                    "give another output_dir."
                )
            return cls._new(folder, settings)
        beside = [_unfinished(path) for path in folder.parent.glob("*/run.json")]
        others = [run for run in beside if run is not None and _style(run) == _style(settings)]
        if resume == "same":
            others = [run for run in others if not _differing_keys(run["settings"], settings)]
        if (folder / "run.json").exists():  # no other run is meant
            others = []
        found = here or max(others, key=lambda run: (run["started"], run["folder"]), default=None)
        if found is None:
            log.info("There is no unfinished run in %s; starting a new one.", folder.parent)
            return cls._new(folder, settings)
        run = cls(Path(found["folder"]), settings, found["started"])
        differing = _differing_keys(found["settings"], settings)
        if differing:
            raise TrainingError(
                f"The unfinished run {run.folder} has other settings ({', '.join(differing)}); "
                "give the same ones, or start anew without resume=auto."
            )
        run._lock = _lock(run.folder)
        try:
            run.checkpoint, run.steps_made = _whole_checkpoint(run.folder)
        except BaseException:
            run.close()
            raise
        with contextlib.suppress(OSError):
            folder.rmdir()  # made by Hydra for the run that this is not; only if it is empty
        log.info("Resuming %s at step %d", run.folder, run.steps_made)
        return run

    @classmethod
    def _new(cls, folder: Path, settings: dict[str, Any]) -> Run:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(
                f"The folder {folder} cannot be made ({error.strerror}); give another output_dir."
            ) from error
        if not os.access(folder, os.W_OK):
            raise TrainingError(f"The folder {folder} is read-only; give another output_dir.")
        lock = _lock(folder)
        for name in (CHECKPOINT, PREVIOUS):  # of a run that is over
            with contextlib.suppress(OSError):
                (folder / name).unlink()
        return cls(folder, settings, datetime.datetime.now().isoformat(), _lock=lock)

    def mark(self, status: Status) -> None:
        """Note how the run stands; one that is finished or failed is not resumed."""
        state = {"status": status, "started": self.started, "settings": self.settings}
        try:
            with replacing(self.folder / "run.json") as temporary:
                temporary.write_text(json.dumps(state, indent=2))
        except OSError as error:
            raise TrainingError(cannot_go_on(self.folder, error)) from error

    def close(self) -> None:
        """Let other processes have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def quiet_threads() -> None:
    """Have a thread that cannot write end without a traceback.

    A logger's thread hands its error to the next one that writes, who tells it in a sentence.
    """
    usual = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not isinstance(arguments.exc_value, OSError):
            usual(arguments)

    threading.excepthook = hook


def remove_empty(folder: Path) -> None:
    """Remove what Hydra made for a run that did not come about, or went elsewhere."""
    with contextlib.suppress(OSError):  # they are not empty
        folder.rmdir()
        folder.parent.rmdir()


def counted(number: int, name: str) -> str:
    """The number and the name, in the plural where it is due: "1 file", "2 files"."""
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def run_notes(skipped: Mapping[str, str], rollbacks: int, pace: float) -> list[str]:
    """What the log and the report say of files that were skipped and steps that failed.

    Args:
        skipped: Files → why they could not be read.
        rollbacks: Failed steps, after which training went back.
        pace: What is left of the learning rate.

    Returns:
        Sentences, the files sorted; none where nothing happened.
    """
    notes = [
        f"Skipped: {reason}" if reason.startswith(path) else f"Skipped {path}: {reason}"
        for path, reason in sorted(skipped.items())
    ]
    if notes:
        were, they = ("was", "it") if len(notes) == 1 else ("were", "they")
        notes.append(f"{counted(len(notes), 'file')} {were} skipped; {they} could not be read.")
    if rollbacks:
        failed = "1 step failed" if rollbacks == 1 else f"{rollbacks} steps failed"
        notes.append(
            f"{failed}; training went back to the last good weights, and ended at {pace:.3g} "
            "times the learning rate."
        )
    return notes


def add_notes(report: Path, notes: Sequence[str]) -> None:
    """Add what happened in a run to its report.

    Args:
        report: A written ``report.md``.
        notes: Sentences.

    Raises:
        FststyleError: The report cannot be written.
    """
    lines = ["", "## What happened in training", ""]
    # The paths in them are the user's: no sign of theirs is to be taken for Markdown.
    plain = (re.sub(r"([\\`*_<>\[\]|#])", r"\\\1", " ".join(note.split())) for note in notes)
    lines += [f"- {note}" for note in plain]
    text = report.read_text(encoding="utf-8") + "\n".join(lines) + "\n"
    write_atomically(report, text.encode("utf-8", "backslashreplace"))


def cannot_go_on(folder: Path, error: OSError) -> str:
    """Say why a run cannot go on writing in its folder, and what to do."""
    reason = error.strerror or str(error)
    # A quota and a limit on the size of files are full disks to those who meet them.
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return (
            f"The disk is full: {reason}, in {folder}; free some space, and run the same command "
            "with resume=auto."
        )
    return (
        f"The run cannot go on writing in {folder} ({reason}); mend that, and run the same command "
        "with resume=auto."
    )


def _lock(folder: Path) -> int | None:
    """Lock a folder until the descriptor is closed or the process dies, however it dies.

    Returns:
        The descriptor; None where the system has no such locks.

    Raises:
        TrainingError: Another process holds the lock.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise TrainingError(
                f"Another process is training in {folder}; wait for its end, or give another "
                "output_dir and leave out resume=auto."
            ) from error
        return None  # some network drives have no locks
    return descriptor


def _unfinished(path: Path) -> dict[str, Any] | None:
    """The state in a ``run.json`` with its folder, if that run can be gone on with."""
    try:
        state = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(state, dict) or state.get("status") not in ("running", "interrupted"):
        return None
    checkpoints = (path.parent / CHECKPOINT, path.parent / PREVIOUS)
    if not isinstance(state.get("settings"), dict) or not any(c.is_file() for c in checkpoints):
        return None
    return {**state, "started": str(state.get("started")), "folder": str(path.parent)}


def _style(state: dict[str, Any]) -> object:
    style = state.get("settings", state).get("style")
    return style.get("name") if isinstance(style, dict) else None


def _whole_checkpoint(folder: Path) -> tuple[Path, int]:
    """The last checkpoint that can be read, as ``last.ckpt``, and the steps behind it."""
    last, previous = folder / CHECKPOINT, folder / PREVIOUS
    try:
        return last, _checkpoint_steps(last)
    except Exception as error:  # torch.load raises whatever the file makes it raise
        reason = type(error).__name__
        try:
            steps = _checkpoint_steps(previous)
        except Exception:
            raise TrainingError(
                f"The checkpoint {last} cannot be read ({reason}), and there is none before it "
                "that can; start anew without resume=auto."
            ) from error
    if last.exists():
        log.warning("The checkpoint %s cannot be read (%s); taking the one before.", last, reason)
    previous.replace(last)
    return last, steps


def _checkpoint_steps(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:  # torch.load does not look at the checksums
        if archive.testzip() is not None:
            raise zipfile.BadZipFile(path)
    return int(torch.load(path, map_location="cpu", weights_only=True)["fststyle"]["steps_made"])


def _differing_keys(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            keys += _differing_keys(a, b, f"{prefix}{key}.")
        elif a != b:
            keys.append(f"{prefix}{key}")
    return keys
