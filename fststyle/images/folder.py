"""Finding photos in a folder and its subfolders, and counting what is left out."""

from __future__ import annotations

import mimetypes
import os
import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fststyle.errors import PhotoError
from fststyle.files import reason
from fststyle.images.extensions import OTHER_IMAGE_SUFFIXES, PHOTO_SUFFIXES

# Folders of thumbnails, deleted files and resource forks, which file servers, phones, operating
# systems and archives create. Hidden folders are passed over as well.
_PASSED_OVER: Final = {
    "@eadir", "@recycle", "@recently-snapshot", "@__thumb", "#recycle", "#snapshot", "#trash",
    "$recycle.bin", "recycler", "recycled", "system volume information", "found.000",
    "__macosx", "lost+found", "lost.dir",
}  # fmt: skip

_IMAGE_HEAD: Final = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP|II[*+]\0|MM\0[*+]|....ftyp(avi|hei|hev|mif)"
    rb"|....jP  |\xff\x4f\xff\x51|....JXL |\xff\x0a",
    re.DOTALL,
)


@dataclass
class FolderPhotos:
    """The photos in a folder, and what was left out.

    Attributes:
        paths: The photos, sorted by path.
        left_out: Number of images that are not treated as photos, by extension.
        passed_over: Number of subfolders that were not searched, by name, such as ``@eaDir``.
        unreadable: Errors for the subfolders that could not be searched (code ``cannot_read``).
    """

    paths: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[str] = field(default_factory=Counter)
    unreadable: list[PhotoError] = field(default_factory=list)

    def add(self, other: FolderPhotos) -> None:
        """Add the photos of another folder, and what was left out of it."""
        self.paths += other.paths
        self.left_out += other.left_out
        self.passed_over += other.passed_over
        self.unreadable += other.unreadable

    def summary(self) -> str:
        """Describe what was left out, in one line. The text is empty if nothing was.

        Example:
            >>> FolderPhotos(left_out=Counter({".svg": 3}), passed_over=Counter("@")).summary()
            'Left out: 3 .svg; folders passed over: 1 @.'
        """
        parts = [
            f"{title}: {', '.join(f'{number} {name}' for name, number in sorted(counts.items()))}"
            for title, counts in (
                ("left out", self.left_out),
                ("folders passed over", self.passed_over),
            )
            if counts
        ]
        text = "; ".join(parts)
        return f"{text[0].upper()}{text[1:]}." if text else ""


def search_folder(folder: Path | str, *, exclude: Path | str | None = None) -> FolderPhotos:
    """Search a folder and its subfolders for photos.

    Links to folders are followed, but each folder is searched only once. Hidden files, hidden
    folders, and folders of thumbnails or deleted files, such as ``@eaDir``, are passed over.

    Args:
        folder: Folder to search.
        exclude: Subfolder that is not searched, such as the one for the results.

    Returns:
        Files with one of the extensions in `PHOTO_SUFFIXES` (in upper or lower case), and what was
        left out. Broken links are included, so that they can be reported.

    Raises:
        PhotoError: The folder does not exist (code ``no_folder``), contains no photos
            (``no_photos``) or cannot be read (``cannot_read``).

    Example:
        >>> from fststyle.images.bundled import sample_photo
        >>> found = search_folder(sample_photo().parent)
        >>> sample_photo() in found.paths
        True
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        problem, remedy = "Cannot find the folder {path}.", "Choose a folder that contains photos."
        raise PhotoError(problem, path=folder, remedy=remedy, code="no_folder")
    found = FolderPhotos()
    for _, files in walk(folder, found, exclude=exclude):
        for path in files:
            _add_file(path, found)
    if not found.paths:
        if found.unreadable:
            raise found.unreadable[0]
        apart = "" if exclude is None else f" apart from {exclude}"
        problem = f"{{path}} contains no photos{apart}. {found.summary()}".strip()
        remedy = f"Add files with one of the extensions {', '.join(PHOTO_SUFFIXES)}."
        raise PhotoError(problem, path=folder, remedy=remedy, code="no_photos")
    found.paths.sort(key=lambda photo: photo.relative_to(folder).as_posix())
    return found


def walk(
    folder: Path, found: FolderPhotos, *, exclude: Path | str | None = None
) -> Iterator[tuple[Path, list[Path]]]:
    """Visit a folder and its subfolders, as `search_folder` does.

    Args:
        folder: Folder to visit.
        found: Object in which folders that are passed over or unreadable are recorded.
        exclude: Subfolder that is not visited.

    Yields:
        Each folder, ``folder`` itself first, and the paths of everything in it except folders.
    """
    root = Path(os.path.realpath(folder))
    seen = set(root.parents)  # a link to one of these would form a loop
    excluded = Path(os.path.realpath(root if exclude is None else exclude))

    def is_excluded(path: str) -> bool:
        return (
            excluded.is_relative_to(root)
            and root != excluded
            and (Path(os.path.realpath(path)).is_relative_to(excluded))
        )

    waiting, links = [str(folder)], deque[str]()
    while waiting or links:  # links last, so that photos keep their real paths
        current = waiting.pop() if waiting else links.popleft()
        real = Path(os.path.realpath(current))
        if real in seen or is_excluded(current):
            continue
        seen.add(real)
        try:
            os.stat(os.path.join(current, "."))  # fails if the folder's files cannot be opened
            entries = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError as error:
            found.unreadable.append(_cannot_search(current, error))
            continue
        files = []
        for entry in entries:
            if not _is_folder(entry):
                if not (entry.is_symlink() and is_excluded(entry.path)):
                    files.append(Path(entry.path))
            elif is_passed_over(entry.name):
                found.passed_over[entry.name] += 1
            else:
                (links if entry.is_symlink() else waiting).append(entry.path)
        yield Path(current), files


def is_passed_over(name: str) -> bool:
    """Return whether a subfolder with this name is not searched."""
    return name.startswith(".") or name.lower() in _PASSED_OVER


def find_photos(folder: Path | str) -> list[Path]:
    """Return the photos that `search_folder` finds.

    Raises:
        PhotoError: The folder cannot be searched, or contains no photos.
    """
    return search_folder(folder).paths


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except PermissionError:  # a link to a place that cannot be read
        return Path(entry.name).suffix.lower() not in PHOTO_SUFFIXES
    except OSError:  # such as a link to itself
        return False


def _add_file(path: Path, found: FolderPhotos) -> None:
    suffix = path.suffix.lower()
    is_regular = os.path.isfile(path)
    if path.name.startswith("."):
        if suffix in PHOTO_SUFFIXES:
            found.left_out["hidden"] += 1
    elif suffix in PHOTO_SUFFIXES and (is_regular or not os.path.exists(path)):
        found.paths.append(path)
    elif suffix in (*PHOTO_SUFFIXES, *OTHER_IMAGE_SUFFIXES) or (is_regular and _is_image(path)):
        found.left_out[suffix or "without extension"] += 1


def _is_image(path: Path) -> bool:
    kind = mimetypes.guess_type(path.name)[0]
    return looks_like_image(path) if kind is None else kind.startswith("image/")


def looks_like_image(path: Path) -> bool:
    """Return whether a file is an image, judging only by its first bytes."""
    try:
        with path.open("rb") as file:
            return _IMAGE_HEAD.match(file.read(12)) is not None
    except OSError:
        return False


def _cannot_search(folder: str, error: OSError) -> PhotoError:
    return PhotoError(
        f"Cannot search the folder {{path}}: {reason(error)}.",
        path=folder,
        remedy="Change its permissions, or choose another folder.",
        code="cannot_read",
    )
