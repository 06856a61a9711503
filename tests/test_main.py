"""The program from its first moment on: signals while it is still loading."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are of Unix")


def run_until(number: signal.Signals, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program that prints ``ready``, and send it a signal then."""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess([], process.returncode, out, err)


SLOW_IMPORT = (
    "import sys, types\n"
    "class Slow:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name == 'fststyle.cli.main':\n"
    "            import time\n"
    "            print('ready', flush=True)\n"
    "            {what}\n"
    "sys.meta_path.insert(0, Slow())\n"
    "from fststyle.__main__ import main\n"
    "main()\n"
)


def test_ctrl_c_while_modules_load_has_no_traceback() -> None:
    done = run_until(signal.SIGINT, SLOW_IMPORT.format(what="time.sleep(60)"))
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")


def test_ctrl_c_within_a_compiled_module_has_none_either() -> None:
    what = (
        "try: time.sleep(60)\n"
        "            except KeyboardInterrupt as error:\n"
        "                raise ImportError('initialization failed') from error"
    )
    done = run_until(signal.SIGINT, SLOW_IMPORT.format(what=what))
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")


def test_other_import_errors_keep_their_traceback() -> None:
    program = SLOW_IMPORT.format(what="raise ImportError('no such thing')")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "no such thing" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_no_temporary_file(tmp_path: Path, number: signal.Signals) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\n"
        "from fststyle import files\nfrom fststyle.cli import main as cli\n"
        "from fststyle.__main__ import main\n"
        "def slow():\n"
        f"    with files.replacing(Path({str(tmp_path / 'result')!r})) as temporary:\n"
        "        temporary.write_bytes(b'half')\n"
        "        print('ready', flush=True)\n        time.sleep(60)\n"
        "cli.main = slow\nmain()\n"
    )
    done = run_until(number, program)
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_nohup_is_respected() -> None:
    program = (
        "import os, signal\nfrom fststyle.cli import main as cli\n"
        "from fststyle.__main__ import main\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "cli.main = lambda: os.kill(os.getpid(), signal.SIGHUP)\nmain()\nprint('went on')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "went on\n")


def test_it_is_the_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fststyle", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("fststyle ")
