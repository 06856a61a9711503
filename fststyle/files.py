"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path


def temporary_beside(target: Path) -> Path:
    """Name a hidden file in a file's folder that nothing else uses."""
    return target.with_name(f".fststyle-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def replace_whole(path: Path, data: bytes) -> None:
    """Write a file by a temporary one beside it, which takes its place when it is complete.

    Args:
        path: A link stays, and the file that it names is replaced; its permissions stay.
        data: The content.

    Raises:
        OSError: It cannot be written, or the file there is read-only; what was there is left.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    temporary = temporary_beside(target)
    try:
        temporary.write_bytes(data)
        with suppress(FileNotFoundError):  # there is no file yet
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        os.replace(temporary, target)
    except BaseException:  # Ctrl-C too
        with suppress(OSError):
            temporary.unlink()
        raise
