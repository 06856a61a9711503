"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from fststyle.errors import FststyleError

_FULL: Final = "free some space or choose another place"
_REMEDIES: Final = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.ENAMETOOLONG: "choose a shorter name",
}


def write_atomically(path: Path | str, data: bytes) -> None:
    """Write a file whole or not at all: a temporary file beside it takes its place when complete.

    Args:
        path: As in `replacing`.
        data: The content.

    Raises:
        FststyleError: The file cannot be written; what was there is left as it was.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise FststyleError(cannot_write(path, error) + ".") from error


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Name a temporary file, which takes the place of ``path`` at the end of the block.

    Args:
        path: A link stays, and the file that it names is replaced; its permissions stay.

    Yields:
        The path to write to, in the same folder; after any failure there is nothing there.

    Raises:
        OSError: The file cannot be put in its place, or the one there is read-only.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    temporary = temporary_beside(target)
    try:
        yield temporary
        with suppress(FileNotFoundError):  # there is no file yet
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        os.replace(temporary, target)
    except BaseException:  # Ctrl-C too
        with suppress(OSError):
            temporary.unlink()
        raise


def temporary_beside(target: Path) -> Path:
    """Return a hidden name in the same folder that nothing has yet."""
    return target.with_name(f".fststyle-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def cannot_write(path: Path | str, error: OSError) -> str:
    """Say that a file cannot be written, and why; the sentence lacks only its full stop."""
    remedy = _REMEDIES.get(error.errno or 0, "choose another place")
    return f"{path} cannot be written: {reason(error)}; {remedy}"


def reason(error: Exception) -> str:
    """Return what an error says, on one line, without a full stop."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__
