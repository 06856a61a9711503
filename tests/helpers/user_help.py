"""Running Python as a user to whom file permissions apply, even if the tests run as root."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

_NOBODY: Final = 65_534

# If the Python of these tests is in root's home folder, only root can run it. Root may ignore
# permissions only with these Linux capabilities.
_WITHOUT_RIGHTS: Final = """
import ctypes, os, sys
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24
prctl = ctypes.CDLL(None).prctl
if any(prctl(PR_CAPBSET_DROP, n, 0, 0, 0) for n in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH)):
    sys.exit(77)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


_AS_NOBODY: Final[dict[str, Any]] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": ()}


@cache
def _nobody_can_run_python() -> bool:
    command = [sys.executable, "-c", "import fststyle.cli.main, numpy, PIL"]
    try:
        return subprocess.run(command, cwd="/", **_AS_NOBODY, check=False).returncode == 0
    except OSError:
        return False


def _give_to_nobody(folder: Path) -> None:
    """Make a folder and its contents another user's, and let that user reach it."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, _NOBODY, _NOBODY, follow_symlinks=False)
    for parent in folder.resolve().parents:
        if "pytest-of-" in str(parent) and parent.stat().st_uid == 0:
            parent.chmod(parent.stat().st_mode | 0o011)


def run_unprivileged(
    *arguments: str | Path, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``python ARGUMENTS`` as a user to whom file permissions apply, and who owns the folder.

    Args:
        arguments: Arguments of Python, such as ``-m fststyle styles``.
        folder: Working folder.
        environment: Variables to add to the environment.
    """
    if os.name != "posix":
        pytest.skip("needs POSIX permissions")
    is_root = os.geteuid() == 0
    user: dict[str, Any] = {}
    if is_root and _nobody_can_run_python():
        user = _AS_NOBODY
        _give_to_nobody(folder)
    start = ["-c", _WITHOUT_RIGHTS] if is_root and not user else []
    done = subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        **user,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if start and done.returncode == 77:
        pytest.skip("cannot give up the rights of root")
    return done
