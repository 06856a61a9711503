"""Which photos a command means, and where their results go; settled before anything runs."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from fststyle.errors import PhotoError, SettingError
from fststyle.images.animation import ANIMATION_SUFFIXES, check_animation_output, is_animation
from fststyle.images.load import find_photos
from fststyle.images.save import OUTPUT_SUFFIXES, check_output

Existing = Literal["refuse", "replace", "skip"]
"""What to do where a result is there already."""

_LOSSLESS: Final = (".apng", ".gif", ".pgm", ".ppm")  # of photos; PNG does not harm them

_BEGINNINGS: Final = {
    ".jpg": rb"\xff\xd8\xff",
    ".webp": b"RIFF....WEBP",
    ".tif": rb"II[*+]\0|MM\0[*+]",
    ".bmp": b"BM",
    ".avif": b"....ftypavi[fs]",
}


@dataclass(frozen=True)
class Task:
    """A photo and its result.

    Attributes:
        source: The photo's file.
        target: Where the result goes.
        skip: The result is there already and stays.
    """

    source: Path
    target: Path
    skip: bool = False


def is_one_file(inputs: Sequence[str]) -> bool:
    """Tell whether inputs name one file, whose result is a file too, and not several or a folder.

    Args:
        inputs: Paths, folders and patterns.
    """
    return len(inputs) == 1 and not os.path.isdir(inputs[0]) and not _is_pattern(inputs[0])


def plan_one(source: Path, output: Path, existing: Existing, protected: Iterable[Path]) -> Task:
    """Plan one photo.

    Args:
        source: The photo's file.
        output: Where its result goes. A file there is replaced, except by ``skip``.
        existing: What to do where a result is there already; here ``refuse`` is ``replace``.
        protected: Files that no result may replace, such as the mask.

    Returns:
        What is to be done.

    Raises:
        PhotoError: The result cannot be written there, or would replace the photo or a
            protected file.
    """
    if output.suffix.lower() in ANIMATION_SUFFIXES:
        check_animation_output(output)
    else:
        check_output(output)
    _check_protected([Task(source, output)], protected)
    return Task(source, output, skip=existing == "skip" and output.exists())


def plan_many(
    inputs: Sequence[str],
    output: Path,
    *,
    suffix: str = "",
    existing: Existing = "refuse",
    protected: Iterable[Path] = (),
) -> list[Task]:
    """Plan several photos, whose results go into a folder.

    A file's result has its name; what is in a folder or matches a pattern keeps its path within
    that folder, or within the part of the pattern that has no wildcard.

    Args:
        inputs: Files; folders, searched as `fststyle.images.load.find_photos` does, without what
        is
            in ``output``; and patterns of `glob`, ``**`` included. What is there by that very
            name is no pattern.
        output: The folder of the results. It need not be there yet, and is not made here.
        suffix: The ending of all results; by default each photo's or animation's own, or where
            that cannot be written ``.jpg`` or, for pictures that may not be photographs,
            ``.png``.
        existing: What to do where a result is there already.
        protected: Files that no result may replace, such as the mask.

    Returns:
        What is to be done, at least one task, in the order of ``inputs``.

    Raises:
        PhotoError: A pattern or folder has no photos, two results would have one path, a result
            is there already, or would replace an input or a protected file, or ``output`` is
            no folder.
    """
    endings = (*OUTPUT_SUFFIXES, *ANIMATION_SUFFIXES)
    if output.suffix.lower() in endings and not output.is_dir():
        raise PhotoError(
            f"The results of several photos go into a folder, but {output} is named as a picture; "
            "name a folder with -o."
        )
    if output.exists() and not output.is_dir():
        raise PhotoError(f"{output} is a file, not a folder; name a folder for the results by -o.")
    tasks: dict[str, Task] = {}
    for source, name in _named(inputs, output):
        target = output / name.with_suffix(suffix or _own_suffix(source))
        task = Task(source, target, skip=existing == "skip" and target.exists())
        other = tasks.setdefault(os.path.realpath(target), task)
        if os.path.realpath(other.source) != os.path.realpath(source):
            raise PhotoError(
                f"{other.source} and {source} would both become {target}; rename one, or do them "
                "apart."
            )
    found = list(tasks.values())
    _check_protected(found, protected)
    there = [task.target for task in found if task.target.exists()]
    if there and existing == "refuse":
        more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
        raise PhotoError(
            f"{there[0]} is there already{more}; say --overwrite or --skip-existing, or name "
            "another folder with -o."
        )
    return found


def check_folder(folder: Path) -> None:
    """Make the folder of the results, and find out whether it can be written to.

    Args:
        folder: With those above it that are missing.

    Raises:
        PhotoError: It cannot be made or written to.
    """
    make_folder(folder)
    check_output(folder / "photo.png")


def make_folder(folder: Path) -> None:
    """Make a folder where need be, with those above it; failure is a `PhotoError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PhotoError(
            f"The folder {folder} cannot be made ({error.strerror}); choose another one with -o."
        ) from error


def suffix_of(name: str, output: Path | None = None) -> str:
    """Turn ``jpg``, the value of ``--format``, into ``.jpg``.

    Args:
        name: May be empty, for each photo's own format.
        output: Where it is a file, its ending must be the same.

    Raises:
        SettingError: It is not.
    """
    suffix = f".{name}" if name else ""
    if suffix and output is not None and output.suffix and output.suffix.lower() != suffix:
        raise SettingError(f"--format {name} and -o {output} contradict each other; leave one out.")
    return suffix


def suffix_by_content(path: Path) -> str:
    """Tell by a file's first bytes what its name should end in.

    Args:
        path: A photo.

    Returns:
        Such as ``.jpg``, or ``.gif`` of an animation; ``.png`` where the format cannot be
        written or is unknown.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return ".png"  # reading the photo will say what is wrong
    if head.startswith(b"GIF8") and _moves(path):
        return ".gif"
    found = (suffix for suffix, pattern in _BEGINNINGS.items() if re.match(pattern, head, re.S))
    return next((suffix for suffix in found if suffix in OUTPUT_SUFFIXES), ".png")


def _named(inputs: Sequence[str], output: Path) -> list[tuple[Path, Path]]:
    """Find each photo with the path that its result has within the output, ending aside."""
    named: list[tuple[Path, Path]] = []
    for text in inputs:
        if not _is_pattern(text):
            named += _within(Path(text), Path(os.path.dirname(text)), output)
            continue
        matches = sorted(_matches(text))
        if not matches:
            raise PhotoError(f"No file matches {text}; check the pattern.")
        base = Path(_plain_part(text))
        files = [Path(match) for match in matches if not os.path.isdir(match)]
        folders = [Path(match) for match in matches if os.path.isdir(match)]
        # With **, what is in a folder matches by itself.
        folders = [] if files else folders
        for path in [*files, *folders]:
            named += _within(path, base, output, keeps_folder=True)
    return named


def _within(
    path: Path, base: Path, output: Path, *, keeps_folder: bool = False
) -> list[tuple[Path, Path]]:
    if not path.is_dir():
        return [(path, path.relative_to(base))]
    results = Path(os.path.realpath(output))
    is_inside = results.is_relative_to(os.path.realpath(path)) and results != Path(
        os.path.realpath(path)
    )
    photos = [
        photo
        for photo in find_photos(path)
        if not (is_inside and Path(os.path.realpath(photo)).is_relative_to(results))
    ]
    if not photos:
        raise PhotoError(f"There are no photos in {path} but the results in {output}.")
    start = base if keeps_folder else path
    return [(photo, photo.relative_to(start)) for photo in photos]


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not os.path.lexists(text)


def _matches(pattern: str) -> set[str]:
    """As `glob.glob` has it, but ``**`` follows no links to folders: they may run in circles."""
    parts = Path(pattern).parts
    if "**" not in parts:
        return set(glob.glob(pattern))
    before, after = parts[: parts.index("**")], parts[parts.index("**") + 1 :]
    found: set[str] = set()
    for start in glob.glob(os.path.join(*before)) if before else ["."]:
        for folder, subfolders, _ in os.walk(start):
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            escaped = glob.escape(os.path.normpath(folder))
            found |= _matches(os.path.normpath(os.path.join(escaped, *(after or ("*",)))))
    return found


def _plain_part(pattern: str) -> str:
    while glob.has_magic(pattern):
        pattern = os.path.dirname(pattern)
    return pattern


def _own_suffix(source: Path) -> str:
    suffix = source.suffix.lower()
    if suffix in OUTPUT_SUFFIXES or (suffix in ANIMATION_SUFFIXES and _moves(source)):
        return source.suffix
    return ".png" if suffix in _LOSSLESS else ".jpg"


def _moves(path: Path) -> bool:
    try:
        return is_animation(path)
    except PhotoError:  # reading it will say what is wrong
        return False


def _check_protected(tasks: Sequence[Task], protected: Iterable[Path]) -> None:
    """Refuse a result that would replace any photo, also by way of a link."""
    inputs = {key: task.source for task in tasks for key in _identities(task.source)}
    others = {key: path for path in protected for key in _identities(path)}
    for task in tasks:
        for key in _identities(task.target):
            if key in inputs:
                raise PhotoError(
                    f"The result would replace the photo {inputs[key]}; give it a new name."
                )
            if key in others:
                raise PhotoError(
                    f"The result would replace {others[key]}, which is needed; give it a new name."
                )


def _identities(path: Path) -> list[object]:
    """Name a file by its path, links followed, and by itself, whatever its path."""
    try:
        status = os.stat(path)
    except OSError:
        return [os.path.realpath(path)]
    return [os.path.realpath(path), (status.st_dev, status.st_ino)]
