"""The plan of a command: its photos and the files of their results, before anything runs."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from fststyle.errors import PhotoError, SettingError
from fststyle.files import cannot_write
from fststyle.images.animation import ANIMATION_SUFFIXES, check_animation_output, is_animation
from fststyle.images.load import find_photos
from fststyle.images.save import OUTPUT_SUFFIXES, check_output

Existing = Literal["refuse", "replace", "skip"]
"""What to do with results that already exist."""

_LOSSLESS: Final = (".apng", ".gif", ".pgm", ".ppm")  # PNG loses nothing of these photos

_SIGNATURES: Final = {
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
        source: File of the photo.
        target: File of the result.
        skip: True if the result already exists and is kept.
    """

    source: Path
    target: Path
    skip: bool = False


def is_one_file(inputs: Sequence[str]) -> bool:
    """Tell whether inputs name a single file, whose result is a file too.

    Args:
        inputs: Files, folders and patterns.
    """
    return len(inputs) == 1 and not os.path.isdir(inputs[0]) and not _is_pattern(inputs[0])


def plan_one(source: Path, output: Path, existing: Existing, protected: Iterable[Path]) -> Task:
    """Plan one photo.

    Args:
        source: File of the photo.
        output: File of the result. An existing file is replaced unless ``existing`` is ``skip``.
        existing: What to do if the result already exists; ``refuse`` means ``replace`` here.
        protected: Files that no result may replace, such as the mask.

    Returns:
        The task.

    Raises:
        PhotoError: The result cannot be written there, or would replace the photo or a
            protected file (code ``would_replace``).
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

    The result of a file has the file's name. A photo in a folder, or that matches a pattern,
    keeps its path within that folder, or within the part of the pattern without wildcards.

    Args:
        inputs: Files, folders and patterns. Folders are searched as
            `fststyle.images.load.find_photos` does, without the contents of ``output``. Patterns
            are those of `glob`, including ``**``; an existing file with that exact name is not a
            pattern.
        output: Folder of the results. It need not exist, and is not created here.
        suffix: File extension of all results. By default it is that of each photo or animation;
            if that format cannot be written, ``.png`` for lossless formats and ``.jpg`` for others.
        existing: What to do if a result already exists.
        protected: Files that no result may replace, such as the mask.

    Returns:
        At least one task, in the order of ``inputs``.

    Raises:
        PhotoError: No photo was found (code ``no_match`` or ``no_photos``), two results would have
            one path (``same_result``), a result already exists (``already_exists``) or would
            replace an input or a protected file (``would_replace``), or ``output`` is not a folder
            (``output_is_a_file``).
    """
    suffixes = (*OUTPUT_SUFFIXES, *ANIMATION_SUFFIXES)
    is_file = output.exists() or output.suffix.lower() in suffixes
    if is_file and not output.is_dir():
        raise PhotoError(
            "The results of several photos need a folder, but {path} is a file or the name of one.",
            path=output,
            remedy="Choose a folder.",
            code="output_is_a_file",
        )
    tasks: dict[str, Task] = {}
    for source, name in _named(inputs, output):
        target = output / name.with_suffix(suffix or _own_suffix(source))
        task = Task(source, target, skip=existing == "skip" and target.exists())
        other = tasks.setdefault(os.path.realpath(target), task)
        if os.path.realpath(other.source) != os.path.realpath(source):
            raise PhotoError(
                f"{other.source} and {source} would have the same result, {{path}}.",
                path=target,
                remedy="Rename one of them, or stylise them separately.",
                code="same_result",
            )
    found = list(tasks.values())
    _check_protected(found, protected)
    results = [task.target for task in found if task.target.exists()]
    if results and existing == "refuse":
        more = f" (and {len(results) - 1} more)" if len(results) > 1 else ""
        raise PhotoError(
            f"{{path}} already exists{more}.",
            path=results[0],
            remedy="Choose to replace or to skip existing results, or choose another folder.",
            code="already_exists",
        )
    return found


def check_folder(folder: Path) -> None:
    """Create the folder of the results, and check that it can be written to.

    Args:
        folder: The folder. Missing folders above it are created too.

    Raises:
        PhotoError: The folder cannot be created or written to.
    """
    make_folder(folder)
    check_output(folder / "photo.png")


def make_folder(folder: Path) -> None:
    """Create a folder, and those above it, if they do not exist.

    Raises:
        PhotoError: The folder cannot be created (code ``cannot_write``).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error, PhotoError) from error


def suffix_of(name: str, output: Path | None = None) -> str:
    """Turn the name of a format, such as ``jpg``, into a file extension, such as ``.jpg``.

    Args:
        name: Name of the format; empty for each photo's own format.
        output: File of the result, if there is only one. Its extension must be the same.

    Raises:
        SettingError: The format and the file extension differ (code ``format_conflict``).

    Example:
        >>> suffix_of("jpg")
        '.jpg'
    """
    suffix = f".{name}" if name else ""
    if suffix and output is not None and output.suffix and output.suffix.lower() != suffix:
        raise SettingError(
            f"The format {name} and the file extension of {{path}} contradict each other.",
            path=output,
            remedy="Omit one of them.",
            code="format_conflict",
        )
    return suffix


def suffix_by_content(path: Path) -> str:
    """Return the file extension that fits a file's first bytes.

    Args:
        path: File of a photo.

    Returns:
        An extension such as ``.jpg``, or ``.gif`` for an animation. It is ``.png`` if the format
        cannot be written or is unknown.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return ".png"  # reading the photo will raise an error
    if head.startswith(b"GIF8") and _is_animated(path):
        return ".gif"
    found = (suffix for suffix, pattern in _SIGNATURES.items() if re.match(pattern, head, re.S))
    return next((suffix for suffix in found if suffix in OUTPUT_SUFFIXES), ".png")


def _named(inputs: Sequence[str], output: Path) -> list[tuple[Path, Path]]:
    """Find each photo and the path of its result in the output, apart from the extension."""
    named: list[tuple[Path, Path]] = []
    for text in inputs:
        if not _is_pattern(text):
            named += _within(Path(text), Path(os.path.dirname(text)), output)
            continue
        matches = sorted(_matches(text))
        if not matches:
            raise PhotoError(
                "No file matches {path}.", path=text, remedy="Check the pattern.", code="no_match"
            )
        base = Path(_plain_part(text))
        files = [Path(match) for match in matches if not os.path.isdir(match)]
        folders = [Path(match) for match in matches if os.path.isdir(match)]
        # With **, the files in a folder match themselves.
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
        raise PhotoError(
            f"There are no photos in {{path}} except the results in {output}.",
            path=path,
            remedy="Choose another folder.",
            code="no_photos",
        )
    start = base if keeps_folder else path
    return [(photo, photo.relative_to(start)) for photo in photos]


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not os.path.lexists(text)


def _matches(pattern: str) -> set[str]:
    """Match as `glob.glob` does, but ``**`` does not follow links to folders: they may loop."""
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
    if suffix in OUTPUT_SUFFIXES or (suffix in ANIMATION_SUFFIXES and _is_animated(source)):
        return source.suffix
    return ".png" if suffix in _LOSSLESS else ".jpg"


def _is_animated(path: Path) -> bool:
    try:
        return is_animation(path)
    except PhotoError:  # reading it will raise an error
        return False


def _check_protected(tasks: Sequence[Task], protected: Iterable[Path]) -> None:
    """Refuse a result that would replace a photo or protected file, also through a link."""
    inputs = {key: task.source for task in tasks for key in _identities(task.source)}
    others = {key: path for path in protected for key in _identities(path)}
    for task in tasks:
        for key in _identities(task.target):
            replaced = inputs.get(key) or others.get(key)
            if replaced is not None:
                raise PhotoError(
                    "The result would replace {path}, which is needed.",
                    path=replaced,
                    remedy="Choose another name for the result.",
                    code="would_replace",
                )


def _identities(path: Path) -> list[object]:
    """Identify a file by its real path and, whatever its path, by its place on disk."""
    try:
        status = os.stat(path)
    except OSError:
        return [os.path.realpath(path)]
    return [os.path.realpath(path), (status.st_dev, status.st_ino)]
