"""Planning: matching each photo with its output file before anything is stylised."""

from __future__ import annotations

import glob
import itertools
import os
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from fststyle.errors import PhotoError, SettingError
from fststyle.files import cannot_write
from fststyle.images.animation import ANIMATION_SUFFIXES, is_animation
from fststyle.images.folder import FolderPhotos, is_passed_over, search_folder, walk
from fststyle.images.save import OUTPUT_SUFFIXES, check_output

Existing = Literal["refuse", "replace", "skip"]
"""What to do with results that already exist."""

_LOSSLESS: Final = (".apng", ".gif", ".pgm", ".ppm")  # PNG stores these photos without loss

_SIGNATURES: Final = {
    ".jpg": rb"\xff\xd8\xff",
    ".webp": b"RIFF....WEBP",
    ".tif": rb"II[*+]\0|MM\0[*+]",
    ".bmp": b"BM",
    ".avif": b"....ftypavi[fs]",
}


@dataclass(frozen=True)
class Task:
    """A photo to stylise, and the file to write its result to.

    Attributes:
        source: File of the photo.
        target: File of the result.
        skip: True if the result already exists and should be kept.
    """

    source: Path
    target: Path
    skip: bool = False


def is_one_file(inputs: Sequence[str]) -> bool:
    """Return whether the inputs name a single file, so that the output is a file as well.

    Args:
        inputs: Names of files and folders, and patterns.
    """
    return len(inputs) == 1 and not os.path.isdir(inputs[0]) and not _is_pattern(inputs[0])


def plan_one(source: Path, output: Path, existing: Existing, protected: Iterable[Path]) -> Task:
    """Plan the task for one photo.

    Args:
        source: File of the photo.
        output: File of the result. An existing file is replaced unless ``existing`` is ``skip``.
        existing: What to do if the result already exists. ``refuse`` has the same effect as
            ``replace`` here.
        protected: Files that no result may replace, such as the mask.

    Returns:
        The task.

    Raises:
        PhotoError: The result cannot be written to ``output``, or would replace the photo or a
            protected file (code ``would_replace``).
    """
    is_animated = output.suffix.lower() in ANIMATION_SUFFIXES
    check_output(output, suffixes=ANIMATION_SUFFIXES if is_animated else OUTPUT_SUFFIXES)
    check_replaced([output], [source, *protected])
    return Task(source, output, skip=existing == "skip" and os.path.exists(output))


def plan_many(
    inputs: Sequence[str],
    output: Path,
    *,
    suffix: str = "",
    existing: Existing = "refuse",
    protected: Iterable[Path] = (),
) -> tuple[list[Task], FolderPhotos]:
    """Plan the tasks for several photos, whose results are written to a folder.

    The result for an input file has the same name as the file. For an input folder, results keep
    the photos' paths relative to the folder. For a pattern, results keep the paths relative to
    the part of the pattern before the first wildcard. If the results of two photos would have the
    same path, the extension of one photo or a number is added, as in ``photo_heic.jpg``.

    Args:
        inputs: Names of files and folders, and patterns. Folders are searched with
            `fststyle.images.folder.search_folder`; the contents of ``output`` are ignored. Patterns
            have the syntax of `glob`, including ``**``. If a file with exactly that name exists,
            the input is not treated as a pattern.
        output: Folder for the results. The folder does not need to exist, and is not created here.
        suffix: File extension for all results. By default, each result has the extension of its
            photo or animation. If that format cannot be written, the extension is ``.png``
            for lossless formats and ``.jpg`` for others.
        existing: What to do if a result already exists.
        protected: Files that no result may replace, such as the mask.

    Returns:
        At least one task, in the order of ``inputs``, and what was left out of the folders.

    Raises:
        PhotoError: No photo was found (code ``no_match`` or ``no_photos``), a result already
            exists (``already_exists``) or would replace an input or a protected file
            (``would_replace``), or ``output`` is not a folder (``output_is_a_file``).
    """
    suffixes = (*OUTPUT_SUFFIXES, *ANIMATION_SUFFIXES)
    is_file = os.path.exists(output) or output.suffix.lower() in suffixes
    if is_file and not os.path.isdir(output):
        raise PhotoError(
            "Several photos need an output folder, but {path} is a file or a file name.",
            path=output,
            remedy="Choose a folder for the results.",
            code="output_is_a_file",
        )
    found = FolderPhotos()
    named = [
        (source, output / name.with_suffix(suffix or _own_suffix(source)))
        for source, name in _named(inputs, output, found)
    ]
    wanted = Counter(target for target, _ in {(t, os.path.realpath(s)) for s, t in named})
    planned = []
    for source, target in _distinct(named, output):
        # An existing result whose name fits several photos may be that of another one.
        is_done = wanted[target] < 2 and os.path.exists(target)
        planned.append(Task(source, target, skip=existing == "skip" and is_done))
    if not planned:
        problem = f"The inputs contain no photos. {found.summary()}".strip()
        raise PhotoError(problem, remedy="Choose other inputs.", code="no_photos")
    sources = [task.source for task in planned]
    check_replaced([task.target for task in planned], [*sources, *protected])
    results = [task.target for task in planned if os.path.exists(task.target)]
    if results and existing == "refuse":
        more = f" (and {len(results) - 1} more)" if len(results) > 1 else ""
        raise PhotoError(
            f"{{path}} already exists{more}.",
            path=results[0],
            remedy="Replace or skip existing results, or choose another folder.",
            code="already_exists",
        )
    return planned, found


def check_replaced(outputs: Iterable[Path], needed: Iterable[Path]) -> None:
    """Check that results do not replace files that are needed, even through links.

    Args:
        outputs: Files of the results.
        needed: Input files.

    Raises:
        PhotoError: A result would replace one of the input files (code ``would_replace``).
    """
    inputs = {key: path for path in needed for key in _identities(path)}
    for output in outputs:
        for key in _identities(output):
            if key in inputs:
                raise PhotoError(
                    "The result would replace {path}, which is needed.",
                    path=inputs[key],
                    remedy="Choose another name for the result.",
                    code="would_replace",
                )


def check_folder(folder: Path) -> None:
    """Create the folder for the results, and check that files can be written to it.

    Args:
        folder: Folder for the results. Missing parent folders are also created.

    Raises:
        PhotoError: The folder cannot be created, or files cannot be written to it.
    """
    make_folder(folder)
    try:
        check_output(folder / "photo.png")
    except PhotoError as error:
        if isinstance(error.__cause__, OSError):
            raise cannot_write(folder, error.__cause__, PhotoError) from error
        raise


def make_folder(folder: Path) -> None:
    """Create a folder and any missing parent folders.

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
        name: Name of the format, or an empty string for each photo's own format.
        output: File of the result, if there is only one. The extension must match the format.

    Raises:
        SettingError: The format and the file extension do not match (code ``format_conflict``).

    Example:
        >>> suffix_of("jpg")
        '.jpg'
    """
    suffix = f".{name}" if name else ""
    if suffix and output is not None and output.suffix and output.suffix.lower() != suffix:
        raise SettingError(
            f"The format {name} does not match the file extension of {{path}}.",
            path=output,
            remedy="Omit the format, or change the extension.",
            code="format_conflict",
        )
    return suffix


def suffix_by_content(path: Path) -> str:
    """Return the file extension that matches the first bytes of a file.

    Args:
        path: File of a photo.

    Returns:
        An extension such as ``.jpg``. The extension ``.gif`` is returned only for animations, and
        ``.png`` if the format is unknown or cannot be written.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return ".png"  # the error will be raised when the photo is read
    if head.startswith(b"GIF8") and _is_animated(path):
        return ".gif"
    found = (suffix for suffix, pattern in _SIGNATURES.items() if re.match(pattern, head, re.S))
    return next((suffix for suffix in found if suffix in OUTPUT_SUFFIXES), ".png")


def _named(inputs: Sequence[str], output: Path, found: FolderPhotos) -> Iterator[tuple[Path, Path]]:
    """Find the photos, and the path of each result relative to the output folder.

    Only the extensions of these paths may still change. What is left out is added to ``found``.
    """
    results = os.path.realpath(output)
    for text in inputs:
        if len(inputs) > 1 and os.path.isdir(text):  # perhaps written as folder/* in a shell
            name = os.path.basename(os.path.realpath(text))
            if os.path.realpath(text) == results or is_passed_over(name):
                found.passed_over[name] += 1
                continue
        base = Path(_plain_part(text) if _is_pattern(text) else os.path.dirname(text))
        for path in _matches(text, base, output, found) if _is_pattern(text) else [Path(text)]:
            if not os.path.isdir(path):
                yield path, path.relative_to(base)
                continue
            photos = search_folder(path, exclude=output)
            found.add(photos)
            start = base if _is_pattern(text) else path
            yield from ((photo, photo.relative_to(start)) for photo in photos.paths)


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not os.path.lexists(text)


def _matches(pattern: str, base: Path, output: Path, found: FolderPhotos) -> list[Path]:
    """Match like `glob.glob`, except that ``**`` visits each folder only once."""
    results = Path(os.path.realpath(output))
    start = Path(os.path.realpath(base))
    paths = {
        path
        for path in map(Path, _glob(pattern, output, found))
        if start not in results.parents or not Path(os.path.realpath(path)).is_relative_to(results)
    }
    if not paths:
        raise PhotoError(
            "No file matches {path}.", path=pattern, remedy="Check the pattern.", code="no_match"
        )
    # A pattern with ** already matches the files inside the folders.
    files = [path for path in paths if not os.path.isdir(path)]
    return sorted(files) or sorted(paths)


def _glob(pattern: str, output: Path, found: FolderPhotos) -> Iterator[str]:
    parts = Path(pattern).parts
    if "**" not in parts:
        yield from glob.iglob(pattern)
        return
    before, after = parts[: parts.index("**")], parts[parts.index("**") + 1 :]
    for start in glob.glob(os.path.join(*before)) if before else ["."]:
        for folder, _ in walk(Path(start), found, exclude=output):
            escaped = glob.escape(os.path.normpath(folder))
            yield from _glob(os.path.join(escaped, *(after or ("*",))), output, found)


def _plain_part(pattern: str) -> str:
    while glob.has_magic(pattern):
        pattern = os.path.dirname(pattern)
    return pattern


def _distinct(named: Sequence[tuple[Path, Path]], output: Path) -> list[tuple[Path, Path]]:
    """Change the names of results that would be written to the same file, and omit repetitions.

    Args:
        named: Each photo, and the wanted path of its result.
        output: Folder for the results.
    """
    folds = len({_folded(target) for _, target in named}) < len({target for _, target in named})
    key = _folded if folds and _folds_case(output) else os.path.realpath
    owners: dict[str, str] = {}  # key of a result → photo
    chosen: dict[int, tuple[Path, Path]] = {}

    def is_converted(index: int) -> bool:
        source, target = named[index]
        return source.suffix.lower() != target.suffix.lower()

    for index in sorted(range(len(named)), key=is_converted):  # photos that keep their names first
        source, target = named[index]
        photo = os.path.realpath(source)
        names = _names(target, source.suffix[1:].lower() if is_converted(index) else "")
        free = next(name for name in names if owners.get(key(name), photo) == photo)
        if key(free) not in owners:
            owners[key(free)] = photo
            chosen[index] = source, free
    return [chosen[index] for index in sorted(chosen)]


def _names(target: Path, extension: str) -> Iterator[Path]:
    """Yield the path of a result, and paths that distinguish it from results of other photos."""
    yield target
    if extension:
        target = target.with_stem(f"{target.stem}_{extension}")
        yield target
    yield from (target.with_stem(f"{target.stem}_{number}") for number in itertools.count(2))


def _folded(path: Path) -> str:
    """Return the same text for names that some file systems do not distinguish."""
    return unicodedata.normalize("NFC", os.path.realpath(path)).casefold()


@lru_cache(maxsize=1)
def _folds_case(folder: Path) -> bool:
    """Return whether names that differ only in case are the same file in a folder."""
    while not os.path.isdir(folder) and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.NamedTemporaryFile(prefix=".fststyle-", suffix=".tmp", dir=folder) as file:
            name = os.path.basename(file.name).swapcase()
            return os.path.lexists(os.path.join(folder, name))
    except OSError:  # reported when the results are written
        return False


def _own_suffix(source: Path) -> str:
    suffix = source.suffix.lower()
    if not suffix:
        return suffix_by_content(source)
    if suffix in OUTPUT_SUFFIXES or (suffix in ANIMATION_SUFFIXES and _is_animated(source)):
        return source.suffix
    return ".png" if suffix in _LOSSLESS else ".jpg"


def _is_animated(path: Path) -> bool:
    try:
        return is_animation(path)
    except PhotoError:  # the error will be raised when the photo is read
        return False


def _identities(path: Path) -> list[object]:
    """Return keys that identify a file: its real path and, if it exists, its device and inode."""
    try:
        status = os.stat(path)
    except OSError:
        return [os.path.realpath(path)]
    return [os.path.realpath(path), (status.st_dev, status.st_ino)]
