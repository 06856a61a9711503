"""Writing files completely or not at all, and finding the folders for the user's data."""

from __future__ import annotations

import errno
import os
import platform
import re
import secrets
import shlex
import shutil
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar, overload

from fststyle.errors import FststyleError

_NO_SPACE: Final = "Free some space, or choose another location."
_REMEDIES: Final = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: _NO_SPACE,
    errno.ENAMETOOLONG: "Choose a shorter name.",
}

NO_SPACE: Final = frozenset(number for number in _REMEDIES if _REMEDIES[number] == _NO_SPACE)
"""Numbers of the errors of a full disk, and of limits for files."""

# Errors of drives that cannot rename files, such as storage in a cloud that is shown as a folder.
_CANNOT_RENAME: Final = (errno.EPERM, errno.EEXIST, errno.ENOSYS, errno.ENOTSUP)

NO_HOME: Final = Path(os.devnull)
"""Start of the paths of the user's folders if the home folder is unknown."""

SomeError = TypeVar("SomeError", bound=FststyleError)


def user_data_folder() -> Path:
    """Return the folder for files that the user creates: ``$XDG_DATA_HOME/fststyle`` on Linux.

    The folder may not exist yet. If the home folder is unknown, it can never exist.
    """
    from platformdirs import user_data_path

    return _user_folder(user_data_path)


def user_cache_folder() -> Path:
    """Return the folder for files that can be recreated: ``$XDG_CACHE_HOME/fststyle`` on Linux.

    The folder may not exist yet. If the home folder is unknown, it can never exist.
    """
    from platformdirs import user_cache_path

    return _user_folder(user_cache_path)


def _user_folder(find: Callable[..., Path]) -> Path:
    with suppress(RuntimeError):  # neither HOME nor the user's entry in the system exists
        folder = find("fststyle", appauthor=False)
        if folder.is_absolute():
            return folder
    return NO_HOME / "fststyle"


def write_atomically(path: Path | str, data: bytes) -> None:
    """Write a file completely or not at all.

    Args:
        path: File to write. An existing file is replaced only when the new one is complete.
        data: Contents of the file.

    Raises:
        FststyleError: The file cannot be written (code ``cannot_write``). Any existing file is left
            unchanged.

    Example:
        >>> write_atomically("notes.txt", b"First draft.")
    """
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise cannot_write(path, error) from error


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Provide a temporary file that replaces ``path`` at the end of the ``with`` block.

    Args:
        path: File to replace. The file's permissions are kept. If the path is a link, the file that
            it points to is replaced.

    Yields:
        Path of the temporary file, in the same folder. The temporary file is removed if anything
        fails.

    Raises:
        OSError: The file cannot be replaced, for example because it is read-only.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    remove_leftovers(target.parent)
    temporary = temporary_beside(target)
    try:
        yield temporary
        # Some network drives refuse to change permissions, and there may be no existing file.
        with suppress(OSError):
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        rename(temporary, target)
    except BaseException:  # including Ctrl-C
        with suppress(OSError):
            temporary.unlink()
        raise


def rename(source: Path, target: Path) -> None:
    """Rename a file, replacing any existing one.

    If the drive cannot rename files, the file is copied. An existing file is then lost if the copy
    fails.
    """
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno not in _CANNOT_RENAME:
            raise
        try:
            shutil.copyfile(source, target)
        except BaseException:
            target.unlink(missing_ok=True)  # it is incomplete
            raise
        source.unlink()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create a temporary folder, and remove it at the end of the ``with`` block.

    Raises:
        FststyleError: The folder cannot be created (code ``no_temporary_folder``). An error with
            the code ``cannot_write`` for a file in the folder becomes such an error as well.
    """
    folder = new_temporary_folder()
    try:
        yield folder
    except FststyleError as error:
        is_inside = error.path is not None and Path(error.path).is_relative_to(folder)
        if error.code != "cannot_write" or not is_inside:
            raise
        raise _no_temporary_folder(error.__cause__, folder.parent) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_temporary_folder(prefix: str = "fststyle-") -> Path:
    """Create a temporary folder that only this user can read, which the caller removes.

    Raises:
        FststyleError: The folder cannot be created (code ``no_temporary_folder``).
    """
    import tempfile

    try:
        return Path(tempfile.mkdtemp(prefix=prefix))
    except OSError as error:
        raise _no_temporary_folder(error) from error


def _no_temporary_folder(error: BaseException | None, folder: Path | None = None) -> FststyleError:
    return FststyleError(
        f"Cannot write temporary files{' to {path}' if folder else ''}: {reason(error)}.",
        path=folder,
        remedy="Free some space, or set the environment variable TMPDIR to another folder.",
        code="no_temporary_folder",
    )


def temporary_beside(target: Path) -> Path:
    """Return the path for a new hidden file in the same folder as ``target``."""
    return target.with_name(f".fststyle-{_host()}-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of processes that have been killed on this machine.

    Each process does this once per folder. Files of other machines, on a shared drive, are kept.
    """
    if folder in _CLEANED:
        return
    _CLEANED.add(folder)
    pattern = re.compile(rf"\.fststyle-{_host()}-(\d+)-[0-9a-f]{{8}}\.tmp")
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = pattern.fullmatch(entry.name)
            if match and not _is_running(int(match[1])):
                with suppress(OSError):
                    os.unlink(entry.path)


_CLEANED: Final[set[Path]] = set()


def _host() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _is_running(process: int) -> bool:
    import psutil

    return bool(psutil.pid_exists(process))


@overload
def cannot_write(path: Path | str, error: OSError) -> FststyleError: ...


@overload
def cannot_write(path: Path | str, error: OSError, kind: type[SomeError]) -> SomeError: ...


def cannot_write(
    path: Path | str, error: OSError, kind: type[FststyleError] = FststyleError
) -> FststyleError:
    """Return the error for a file that cannot be written.

    Args:
        path: File or folder that cannot be written.
        error: Error raised by the operating system.
        kind: Class of the error to return.

    Returns:
        An error with the code ``cannot_write``, to be raised ``from error``.
    """
    return kind(
        f"Cannot write {{path}}: {reason(error)}.",
        path=path,
        remedy=_REMEDIES.get(error.errno or 0, "Choose another location."),
        code="cannot_write",
    )


def shell_word(text: str | os.PathLike[str]) -> str:
    """Quote a path or another argument, so that a command with it can be pasted into a shell.

    Double quotes are used if they suffice, because they work on all systems.

    Example:
        >>> print(shell_word("a.jpg"), shell_word("my photo.jpg"), shell_word("$1.jpg"))
        a.jpg "my photo.jpg" '$1.jpg'
    """
    text = os.fspath(text)
    text = f"./{text}" if text.startswith("-") else text  # not an option
    if re.fullmatch(r"[\w./:+=-]+", text):
        return text
    if os.name != "posix" or re.fullmatch(r"[\w ./@:+,=\[\]'()-]+", text):
        return f'"{text}"'
    return shlex.quote(text)


def reason(error: BaseException | None) -> str:
    """Return an error's message on one line, without a full stop at the end."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__
