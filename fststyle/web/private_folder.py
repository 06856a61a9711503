"""The folder for a server's uploads and jobs."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from fststyle.files import new_temporary_folder

_NEW: Final = "fststyle-new-"
_PREFIX: Final = "fststyle-serve-"


@contextmanager
def private_folder() -> Iterator[Path]:
    """Create a folder that only this user can read, and remove it at the end.

    Folders of servers that were killed are removed too. A running server holds a lock on its
    folder, which ends with its process. (On Windows, where folders cannot be locked, the folders
    of killed servers stay.)

    Yields:
        The folder.

    Raises:
        FststyleError: The folder cannot be created (code ``no_temporary_folder``).
    """
    folder = new_temporary_folder(_NEW)
    descriptor = None
    try:
        if sys.platform != "win32":
            descriptor = _lock(folder)
            # Only now can other servers find it.
            folder = folder.rename(folder.with_name(folder.name.replace(_NEW, _PREFIX)))
            _remove_abandoned(folder.parent)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


if sys.platform != "win32":
    import fcntl

    def _lock(folder: Path) -> int:
        """Lock a folder of this user until the returned descriptor is closed."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(descriptor).st_uid != os.getuid():
                raise PermissionError(folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _remove_abandoned(parent: Path) -> None:
        for folder in parent.glob(f"{_PREFIX}*"):
            with suppress(OSError):  # its server is running, or it belongs to another user
                descriptor = _lock(folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(descriptor)
