"""The folder of a training run: its state, its lock, and resuming an unfinished run."""

from __future__ import annotations

import contextlib
import datetime
import errno
import itertools
import json
import logging
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import filelock
import torch

from fststyle.errors import SettingError, TrainingError
from fststyle.files import rename, replacing

Status = Literal["running", "interrupted", "finished", "failed"]

CHECKPOINT: Final = "last.ckpt"
PREVIOUS: Final = "previous.ckpt"
"""The checkpoint before the last one."""
_STATE: Final = "run.json"
_LOCK: Final = "run.lock"

log = logging.getLogger(__name__)


@dataclass
class Run:
    """A training run in a folder that is locked by this process.

    The lock is released by `close`, or when the process ends for any reason.

    Attributes:
        folder: Folder with all files of the run.
        settings: Settings that must match for the run to be resumed.
        started: Start time in ISO 8601 format.
        checkpoint: Checkpoint to resume from, or ``None`` for a new run.
        steps_made: Number of steps made before the checkpoint.
    """

    folder: Path
    settings: dict[str, Any]
    started: str
    checkpoint: Path | None = None
    steps_made: int = 0
    _lock: filelock.BaseFileLock | None = field(default=None, repr=False, compare=False)

    @classmethod
    def new(cls, folder: Path, settings: dict[str, Any], *, chosen: bool = True) -> Run:
        """Start a run in a folder, which is created if necessary.

        Args:
            folder: Folder of the run.
            settings: Settings that must match for the run to be resumed.
            chosen: ``True`` if the user chose this folder. Otherwise, its name contains the time of
                the start, and a number is appended if another run has taken it, because several
                runs can start in the same second.

        Raises:
            TrainingError: The folder cannot be created or is read-only (code
                ``cannot_write``), or another process is training in it (``locked``).
        """
        if chosen:
            lock = _locked(folder)
        else:
            folder, lock = _first_free(folder)
        for name in (CHECKPOINT, PREVIOUS):  # left by an earlier run
            with contextlib.suppress(OSError):
                (folder / name).unlink()
        return cls(folder, settings, datetime.datetime.now().isoformat(), _lock=lock)

    @classmethod
    def resume(cls, folder: Path, settings: dict[str, Any]) -> Run:
        """Resume the unfinished run in a folder from its newest readable checkpoint.

        Raises:
            TrainingError: Neither checkpoint can be read (code ``damaged``), or another process
                is training in the folder (``locked``).
        """
        state = read_state(folder) or {}
        run = cls(folder, settings, str(state.get("started")), _lock=_locked(folder))
        try:
            run.checkpoint, run.steps_made = _readable_checkpoint(folder)
        except BaseException:
            run.close()
            raise
        log.info("Resuming %s at step %d", folder, run.steps_made)
        return run

    def mark(self, status: Status, facts: Mapping[str, Any] | None = None) -> None:
        """Write the status to ``run.json``. Finished and failed runs are never resumed.

        Args:
            status: Current status of the run.
            facts: Additional JSON values to write.

        Raises:
            TrainingError: The file cannot be written.
        """
        state = {"status": status, "started": self.started, "settings": self.settings}
        try:
            with replacing(self.folder / _STATE) as temporary:
                temporary.write_text(json.dumps({**state, **(facts or {})}, indent=2))
        except OSError as error:
            raise cannot_continue(self.folder, error) from error

    def close(self) -> None:
        """Unlock the folder for other processes."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                Path(self._lock.lock_file).unlink()
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_state(folder: Path) -> dict[str, Any] | None:
    """Read a run's ``run.json``; return ``None`` if it is missing or unreadable."""
    try:
        state = json.loads((folder / _STATE).read_text())
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) else None


def find_resumable(folder: Path, settings: dict[str, Any], mode: str | None) -> Path | None:
    """Find the unfinished run to resume.

    Args:
        folder: Folder for a new run. An unfinished run in this folder is preferred. If the
            folder contains no run, the newest unfinished run for the same style in its
            neighbouring folders is used.
        settings: Settings of the new run, as JSON values.
        mode: ``"auto"`` resumes a run if there is one. ``"same"``, for sweeps, considers only
            runs with the same settings. ``None`` always starts a new run.

    Returns:
        The folder of the run to resume, or ``None`` to start a new run.

    Raises:
        SettingError: The mode is unknown.
        TrainingError: The run has different settings (code ``other_settings``), or ``mode`` is
            ``None`` but the folder contains an unfinished run (``unfinished_run``).
    """
    if mode not in (None, "auto", "same"):
        raise SettingError(f"resume must be auto or null, not {mode!r}.")
    here = _unfinished(folder)
    if mode is None:
        if here is not None:
            raise TrainingError(
                "The folder {path} contains an unfinished run.",
                path=folder,
                remedy="Resume it with resume=auto, or choose another output_dir.",
                code="unfinished_run",
            )
        return None
    others = {path.parent: _unfinished(path.parent) for path in folder.parent.glob(f"*/{_STATE}")}
    found = {
        path: state
        for path, state in others.items()
        if state is not None and _style(state["settings"]) == _style(settings)
    }
    if mode == "same":
        found = {p: s for p, s in found.items() if not _differing_keys(s["settings"], settings)}
    if here is not None:
        found = {folder: here}
    elif (folder / _STATE).exists():  # the user chose this folder, so ignore all others
        found = {}
    if not found:
        log.info("No unfinished run to resume in %s; starting a new one.", folder.parent)
        return None
    newest = max(found, key=lambda path: (str(found[path].get("started")), path))
    differing = _differing_keys(found[newest]["settings"], settings)
    if differing:
        raise TrainingError(
            f"The unfinished run {{path}} has different settings: {', '.join(differing)}.",
            path=newest,
            remedy="Use the same settings, or start a new run without resume=auto.",
            code="other_settings",
        )
    return newest


def cannot_continue(folder: Path, error: OSError) -> TrainingError:
    """Make the error for a run that cannot write to its folder, for example on a full disk."""
    reason = error.strerror or str(error)
    # To the user, an exceeded quota or file size limit also means a full disk.
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return TrainingError(
        f"The disk is full: {reason}, in {{path}}."
        if is_full
        else f"Cannot write to {{path}} ({reason}).",
        path=folder,
        remedy=f"{'Free some space' if is_full else 'Fix this'}, then run the same command with "
        "resume=auto.",
        code="disk_full" if is_full else "cannot_write",
    )


def _make_folder(folder: Path) -> None:
    remedy = "Choose another output_dir."
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"Cannot create the folder {{path}} ({error.strerror})."
        raise TrainingError(problem, path=folder, remedy=remedy, code="cannot_write") from error
    if not os.access(folder, os.W_OK):
        problem = "The folder {path} is read-only."
        raise TrainingError(problem, path=folder, remedy=remedy, code="cannot_write")


def _first_free(folder: Path) -> tuple[Path, filelock.BaseFileLock | None]:
    """Create and lock the first of ``folder``, ``folder_2``, ``folder_3``, … without a run."""
    for number in itertools.count(1):
        candidate = folder if number == 1 else folder.with_name(f"{folder.name}_{number}")
        try:
            lock = _locked(candidate)
        except TrainingError as error:
            if error.code != "locked":
                raise
            continue
        if not (candidate / _STATE).exists():  # otherwise, a run has already ended there
            break
        if lock is not None:
            lock.release()
    return candidate, lock


def _locked(folder: Path) -> filelock.BaseFileLock | None:
    """Create and lock a folder; return ``None`` if the file system does not support locks."""
    lock = filelock.FileLock(folder / _LOCK)
    try:
        for _ in range(100):
            _make_folder(folder)
            # Another process that did not start its run may be removing the empty folder.
            with contextlib.suppress(FileNotFoundError):
                lock.acquire(timeout=0)
                break
    except filelock.Timeout as error:
        raise TrainingError(
            "Another process is training in {path}.",
            path=folder,
            remedy="Wait until it has finished, or choose another output_dir without resume=auto.",
            code="locked",
        ) from error
    except (OSError, NotImplementedError) as error:  # some network drives do not support locks
        log.warning("Cannot lock %s (%s).", folder, error)
        return None
    return lock


def _unfinished(folder: Path) -> dict[str, Any] | None:
    """Return the state of the run in a folder, or ``None`` if it cannot be resumed."""
    state = read_state(folder)
    if state is None or state.get("status") not in ("running", "interrupted"):
        return None
    has_checkpoint = any((folder / name).is_file() for name in (CHECKPOINT, PREVIOUS))
    return state if has_checkpoint and isinstance(state.get("settings"), dict) else None


def _style(settings: dict[str, Any]) -> object:
    style = settings.get("style")
    return style.get("name") if isinstance(style, dict) else None


def _readable_checkpoint(folder: Path) -> tuple[Path, int]:
    """Return the newest readable checkpoint, moved to ``last.ckpt``, and its number of steps."""
    last, previous = folder / CHECKPOINT, folder / PREVIOUS
    try:
        return last, _checkpoint_steps(last)
    except Exception as error:  # torch.load raises many kinds of errors on damaged files
        reason = type(error).__name__
        try:
            steps = _checkpoint_steps(previous)
        except Exception:
            raise TrainingError(
                f"Cannot read the checkpoint {{path}} ({reason}) or the one before it.",
                path=last,
                remedy="Start a new run without resume=auto.",
                code="damaged",
            ) from error
    if last.exists():
        log.warning("Cannot read the checkpoint %s (%s); using the previous one.", last, reason)
    rename(previous, last)
    return last, steps


def _checkpoint_steps(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:  # torch.load does not verify the checksums
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
