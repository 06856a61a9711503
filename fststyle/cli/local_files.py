"""Paths on the command line: ``~`` for the home folder, and pipes, which are copied to be read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final

from fststyle.cli.errors import NAMES, CommandError
from fststyle.files import cannot_write, temporary_folder
from fststyle.images.folder import looks_like_image

_MAX_BYTES: Final = 2**30
_stack = ExitStack()


@contextmanager
def local_files() -> Iterator[None]:
    """Remove the copies of pipes at the end of the ``with`` block."""
    NAMES.clear()  # not at the end, because an error may contain one of these paths
    with _stack:
        yield


def local_path(text: str) -> Path:
    """Read a path: replace ``~`` with the home folder, and copy a pipe to a temporary file.

    Raises:
        FststyleError: A pipe cannot be copied.
    """
    return Path(local_text(text))


def local_text(text: str) -> str:
    """Read a path, a pattern or a name, like `local_path`."""
    path = with_home(text)
    if not is_pipe(path):
        return path
    with open(path, "rb") as stream:
        return str(copied(stream, text))


def style_text(text: str) -> str:
    """Read the name or path of a style, like `local_path`."""
    path = local_text(text)
    if path not in NAMES or os.path.splitext(path)[1]:
        return path
    # The extension says whether a style is a network or an image.
    renamed = path + (".png" if looks_like_image(Path(path)) else ".onnx")
    NAMES[renamed] = NAMES.pop(path)
    os.rename(path, renamed)
    return renamed


def output_path(text: str) -> Path:
    """Read the path of a result: replace ``~`` with the home folder."""
    return Path(with_home(text))


def with_home(text: str) -> str:
    """Replace ``~`` with the home folder, for shells that do not, as in ``--output=~/a.jpg``."""
    return text if os.path.lexists(text) else os.path.expanduser(text)


def is_pipe(path: str | Path) -> bool:
    """Return whether a path is a named pipe or a device, such as ``/dev/fd/63``."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def temporary_path(name: str, shown: str) -> Path:
    """Return a path in a new temporary folder.

    Args:
        name: Name of the file.
        shown: Name to show to the user instead of the path.
    """
    path = _stack.enter_context(temporary_folder()) / name
    NAMES[str(path)] = shown
    return path


def copied(stream: IO[bytes], name: str) -> Path:
    """Copy a stream to a temporary file.

    Args:
        stream: Stream to read to its end.
        name: Name of the stream.

    Returns:
        The path of the copy.

    Raises:
        FststyleError: The stream contains more than 1 GB, or the copy cannot be written.
    """
    target = temporary_path(os.path.basename(name), name)
    try:
        with target.open("wb") as file:
            size = 0
            while chunk := stream.read(2**20):
                size += file.write(chunk)
                if size > _MAX_BYTES:
                    raise CommandError(
                        f"{{path}} contains more than {_MAX_BYTES >> 30} GB, which is too large.",
                        path=target,
                        code="too_large",
                    )
    except OSError as error:
        raise cannot_write(target, error) from error
    return target
