"""The folders of training runs: which ones are unfinished, and going on with one."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from fststyle.errors import SettingError, TrainingError
from fststyle.images import write_atomically

Status = Literal["running", "interrupted", "finished", "failed"]

CHECKPOINT = "last.ckpt"

log = logging.getLogger(__name__)


@dataclass
class Run:
    """A run's folder and where the run stands.

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

    @classmethod
    def open(cls, folder: Path, settings: dict[str, Any], resume: str | None) -> Run:
        """A new run in a folder, or an unfinished one there or beside it.

        Args:
            folder: The folder of a new run.
            settings: The run's settings, as JSON holds them.
            resume: None, or ``"auto"`` to go on with the newest unfinished run of the style,
                if there is one: the one in `folder`, else in the folders beside it.

        Returns:
            The run.

        Raises:
            TrainingError: The folder cannot be made, or holds an unfinished run that is not to
                be resumed; the unfinished run has other settings, or its checkpoint cannot be
                read.
            SettingError: `resume` is neither.
        """
        if resume not in (None, "auto"):
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
        run.checkpoint = run.folder / CHECKPOINT
        run.steps_made = _checkpoint_steps(run.checkpoint)
        with contextlib.suppress(OSError):
            folder.rmdir()  # made by Hydra for the run that this is not; only if it is empty
        log.info("Resuming %s at step %d", run.folder, run.steps_made)
        return run

    @classmethod
    def _new(cls, folder: Path, settings: dict[str, Any]) -> Run:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / CHECKPOINT).unlink(missing_ok=True)  # of a run that is over
        except OSError as error:
            raise TrainingError(
                f"The folder {folder} cannot be made ({error.strerror}); give another output_dir."
            ) from error
        if not os.access(folder, os.W_OK):
            raise TrainingError(f"The folder {folder} is read-only; give another output_dir.")
        return cls(folder, settings, datetime.datetime.now().isoformat())

    def mark(self, status: Status) -> None:
        """Note how the run stands; one that is finished or failed is not resumed."""
        state = {"status": status, "started": self.started, "settings": self.settings}
        write_atomically(self.folder / "run.json", json.dumps(state, indent=2).encode())


def _unfinished(path: Path) -> dict[str, Any] | None:
    """The state in a ``run.json`` with its folder, if that run can be gone on with."""
    try:
        state = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(state, dict) or state.get("status") not in ("running", "interrupted"):
        return None
    if not isinstance(state.get("settings"), dict) or not (path.parent / CHECKPOINT).is_file():
        return None
    return {**state, "started": str(state.get("started")), "folder": str(path.parent)}


def _style(state: dict[str, Any]) -> object:
    style = state.get("settings", state).get("style")
    return style.get("name") if isinstance(style, dict) else None


def _checkpoint_steps(path: Path) -> int:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        return int(checkpoint["fststyle"]["steps_made"])
    except Exception as error:  # torch.load raises whatever the file makes it raise
        raise TrainingError(
            f"The checkpoint {path} cannot be read ({type(error).__name__}); start anew without "
            "resume=auto."
        ) from error


def _differing_keys(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            keys += _differing_keys(a, b, f"{prefix}{key}.")
        elif a != b:
            keys.append(f"{prefix}{key}")
    return keys
