"""Sweeps, in which one command trains several networks and compares them on one sheet.

The runs of a sweep do not share memory, so each can use its own process. Each run records its exit
status and folder in a file; everything else is in the run's ``run.json``.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from fststyle.files import temporary_folder, write_atomically
from fststyle.images.bundled import builtin_held_out
from fststyle.images.load import load_image
from fststyle.images.resize import fit_long_side
from fststyle.images.save import save_photo
from fststyle.images.sheets import sheet
from fststyle.stylize.stylizer import Stylizer
from fststyle.training.run_folder import read_state

_NOTES: Final = "FSTSTYLE_RUN_NOTES"
"""Environment variable with the folder of the records, for this process and its children."""


@dataclass(frozen=True)
class RunNote:
    """Record of how one training run ended.

    Attributes:
        status: Exit status of the run.
        folder: Folder of the run, or ``None`` if it failed before writing a style file.
        sweep: Folder of the sweep, or ``None`` if the run is not part of one.
    """

    status: int
    folder: str | None = None
    sweep: str | None = None


@contextlib.contextmanager
def noted_runs() -> Iterator[Path]:
    """Yield the folder where `note_run` records the runs started inside the ``with`` block."""
    with temporary_folder() as folder:
        os.environ[_NOTES] = str(folder)
        try:
            yield folder
        finally:
            del os.environ[_NOTES]


def note_run(number: int, note: RunNote) -> None:
    """Record how a run ended, replacing any earlier record of the same run."""
    path = Path(os.environ[_NOTES]) / f"{number:06d}.json"
    write_atomically(path, json.dumps(asdict(note)).encode())


def read_notes(folder: Path) -> list[RunNote]:
    """Read the records of all runs so far, in the order of the runs."""
    return [RunNote(**json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]


@dataclass(frozen=True)
class SweepRun:
    """A run of a sweep that has written a style file.

    Attributes:
        overrides: Settings from the command line, in the form ``key=value``.
        style_file: Style file of the trained network.
        interrupted: ``True`` if the run was stopped early.
        installable: ``True`` if the user wants the style installed and no gate failed.
    """

    overrides: tuple[str, ...]
    style_file: Path
    interrupted: bool = False
    installable: bool = True

    @classmethod
    def read(cls, folder: Path) -> SweepRun | None:
        """Read a run from its folder; return ``None`` if it has not written a style file."""
        state = read_state(folder) or {}
        if "style_file" not in state:
            return None
        return cls(
            tuple(state["overrides"]),
            folder / state["style_file"],
            state["status"] == "interrupted",
            state["install"] and state["gates_passed"],
        )


def labels(runs: Sequence[SweepRun]) -> list[str]:
    """Label each run with the overrides that not all runs share, or with its style's name."""
    shared = set.intersection(*(set(run.overrides) for run in runs))
    return [
        (" ".join(item for item in run.overrides if item not in shared) or run.style_file.stem)
        + (" (interrupted)" if run.interrupted else "")
        for run in runs
    ]


def to_install(runs: Sequence[SweepRun]) -> tuple[list[SweepRun], list[str]]:
    """Choose which networks of a sweep to install.

    Args:
        runs: All runs of the sweep that have written a style file.

    Returns:
        The runs to install, whose styles no other run has trained, and the names of styles that
        several runs have trained. The latter are not installed; the user compares them on the
        sheet and chooses one.
    """
    counts = Counter(run.style_file.stem for run in runs)
    sole = [run for run in runs if run.installable and counts[run.style_file.stem] == 1]
    return sole, [name for name, count in counts.items() if count > 1]


def write_sweep_sheet(runs: Sequence[SweepRun], path: Path, photos: Sequence[Path] = ()) -> None:
    """Draw a row for each photo: the photo itself, then the result of each run's network.

    Args:
        runs: Runs to compare, at least one.
        path: File to write.
        photos: Photos to stylise; by default, the built-in held-out photos.

    Raises:
        FststyleError: A photo or style file cannot be read, or the sheet cannot be written.
    """
    stylizers = [Stylizer(run.style_file, device="cpu") for run in runs]
    rows = []
    for file in photos or builtin_held_out():
        photo = fit_long_side(load_image(file), 512)
        rows.append([photo, *(stylizer(photo) for stylizer in stylizers)])
    save_photo(sheet(rows, titles=("photo", *labels(runs)), cell_height=320), path)
