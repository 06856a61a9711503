"""A sheet of photos × jobs for a multirun, so that one look finds the best setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fststyle.images.bundled import builtin_held_out
from fststyle.images.load import load_image
from fststyle.images.resize import fit_long_side
from fststyle.images.save import save_photo
from fststyle.images.sheets import sheet
from fststyle.stylize.stylizer import Stylizer


@dataclass(frozen=True)
class Job:
    """A finished job of a sweep.

    Attributes:
        overrides: What the command line set for it, as ``key=value``.
        style_file: What it trained.
        interrupted: Whether it was ended early.
        installable: Whether the network may become the style's installed one.
    """

    overrides: tuple[str, ...]
    style_file: Path
    interrupted: bool = False
    installable: bool = True


def labels(jobs: Sequence[Job]) -> list[str]:
    """What sets each job apart: its overrides that not all jobs have; else its style's name."""
    shared = set.intersection(*(set(job.overrides) for job in jobs))
    return [
        (" ".join(item for item in job.overrides if item not in shared) or job.style_file.stem)
        + (" (interrupted)" if job.interrupted else "")
        for job in jobs
    ]


def to_install(jobs: Sequence[Job]) -> tuple[list[Job], list[str]]:
    """Which networks of a sweep become their styles' installed ones.

    Returns:
        The jobs whose style no other one has trained; and the styles that several have, of
        which none is chosen: that is up to whoever looks at the sheet.
    """
    counts = Counter(job.style_file.stem for job in jobs)
    sole = [job for job in jobs if job.installable and counts[job.style_file.stem] == 1]
    return sole, [name for name, count in counts.items() if count > 1]


def write_sweep_sheet(jobs: Sequence[Job], path: Path, photos: Sequence[Path] = ()) -> None:
    """Draw each photo and, beside it, what every job's network makes of it.

    Args:
        jobs: At least one.
        path: Where the sheet goes.
        photos: The rows; by default the built-in held-out ones.

    Raises:
        FststyleError: A photo or style file cannot be read, or the sheet not be written.
    """
    stylizers = [Stylizer(job.style_file, device="cpu") for job in jobs]
    rows = []
    for file in photos or builtin_held_out():
        photo = fit_long_side(load_image(file), 512)
        rows.append([photo, *(stylizer(photo) for stylizer in stylizers)])
    save_photo(sheet(rows, titles=("photo", *labels(jobs)), cell_height=320), path)
