from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fststyle.openvino_core import openvino_core


def test_there_is_one_core() -> None:
    with ThreadPoolExecutor(4) as threads:
        cores = {id(core) for core in threads.map(lambda _: openvino_core(), range(16))}
    assert cores == {id(openvino_core())}


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_signals_after_networks_that_come_and_go(style_path: Path) -> None:
    # On processors with AMX a second core's end left the process without its signal stack.
    program = f"""
import gc, os, signal
import numpy as np
from fststyle.stylize.stylizer import Stylizer
photo = np.zeros((16, 16, 3), np.float32)
first = Stylizer({str(style_path)!r}, device="cpu")
second = Stylizer({str(style_path)!r}, device="cpu")
for stylizer in (first, second):
    stylizer(photo)
del stylizer, first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "handled\n", "")


def test_import_without_converter() -> None:
    program = """
import sys
from fststyle.openvino_core import import_without_converter, openvino_core
import_without_converter()
assert not any(name.startswith("openvino.tools.ovc") for name in sys.modules)
assert "CPU" in openvino_core().available_devices
import openvino.tools.ovc
import_without_converter()
assert openvino.tools.ovc.convert_model
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
