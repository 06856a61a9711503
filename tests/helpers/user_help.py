"""Running Python as a user to whom file permissions apply, even if the tests run as root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

# Root may ignore permissions only with these Linux capabilities. A user other than root could not
# run the Python of these tests if it is installed in root's home folder.
_WITHOUT_RIGHTS: Final = """
import ctypes, os, sys
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24
prctl = ctypes.CDLL(None).prctl
if any(prctl(PR_CAPBSET_DROP, n, 0, 0, 0) for n in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH)):
    sys.exit(77)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def run_unprivileged(
    *arguments: str | Path, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``python ARGUMENTS`` as a user to whom file permissions apply.

    Args:
        arguments: Arguments of Python, such as ``-m fststyle styles``.
        folder: Working folder.
        environment: Variables to add to the environment.
    """
    if os.name != "posix":
        pytest.skip("needs POSIX permissions")
    start = ["-c", _WITHOUT_RIGHTS] if os.geteuid() == 0 else []
    done = subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if start and done.returncode == 77:
        pytest.skip("cannot give up the rights of root")
    return done
