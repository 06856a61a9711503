"""The folders of training runs: which ones are unfinished, and going on with one."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fststyle.errors import SettingError, TrainingError
from fststyle.images import write_atomically

log = logging.getLogger(__name__)


@dataclass
class Run:
    """A run's folder and where the run stands.

    Attributes:
        folder: Where the run keeps its files.
        settings: What must be equal for the run to be resumed.
        checkpoint: What to go on from, if the run is resumed.
        steps_made: Steps behind it.
    """

    folder: Path
    settings: dict[str, Any]
    checkpoint: Path | None = None
    steps_made: int = 0

    @classmethod
    def open(cls, folder: Path, settings: dict[str, Any], resume: str | None) -> Run:
        """A new run in a folder, or an unfinished one beside it.

        Args:
            folder: The folder of a new run.
            settings: The run's settings, as JSON holds them.
            resume: None, or ``"auto"`` to go on with the newest unfinished run.

        Returns:
            The run.

        Raises:
            TrainingError: The newest unfinished run has other settings, or its checkpoint
                cannot be read.
            SettingError: `resume` is neither.
        """
        if resume is None:
            folder.mkdir(parents=True, exist_ok=True)
            return cls(folder, settings)
        if resume != "auto":
            raise SettingError(f"resume must be auto, not {resume!r}.")
        for path in sorted(folder.parent.glob("*/run.json"), reverse=True):
            try:
                state = json.loads(path.read_text())
            except (OSError, ValueError):
                continue
            checkpoint = path.parent / "last.ckpt"
            if state.get("status") == "finished" or not checkpoint.is_file():
                continue
            differing = _differing_keys(state.get("settings", {}), settings)
            if differing:
                raise TrainingError(
                    f"The unfinished run {path.parent} has other settings "
                    f"({', '.join(differing)}); give the same ones, or start anew "
                    "without resume=auto."
                )
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()  # made by Hydra for the run that this is not
            steps = _checkpoint_steps(checkpoint)
            log.info("Resuming %s at step %d", path.parent, steps)
            return cls(path.parent, settings, checkpoint, steps)
        log.info("There is no unfinished run in %s; starting a new one.", folder.parent)
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder, settings)

    def mark(self, status: str) -> None:
        """Note how the run stands."""
        state = {"status": status, "settings": self.settings}
        write_atomically(self.folder / "run.json", json.dumps(state, indent=2).encode())


def _checkpoint_steps(path: Path) -> int:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
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
