"""A single `openvino.Core` for the whole process."""

from __future__ import annotations

import os
import sys
import threading
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openvino

_lock = threading.Lock()


def openvino_core() -> openvino.Core:
    """Return the only ``openvino.Core`` in this process. The object exists until the process ends.

    On CPUs with AMX, each ``Core`` installs an alternate signal stack and restores the previous one
    when it is destroyed. If a process has two ``Core`` objects, one can restore a stack that the
    other has already freed. The next signal then kills the process (observed with OpenVINO 2026.4).
    """
    with _lock:
        return _core()


def import_without_converter() -> None:
    """Import OpenVINO without its model converter, which takes two thirds of the import time.

    Use this function only in fststyle's own processes, because it makes ``openvino.convert_model``
    unavailable.
    """
    if "openvino" in sys.modules:
        return
    converter = "openvino.tools.ovc"
    sys.modules[converter] = None  # type: ignore[assignment]  # importing it now fails
    try:
        import openvino  # noqa: F401
    finally:
        del sys.modules[converter]


@cache
def _core() -> openvino.Core:
    if os.path.expanduser("~") == "~":  # the converter cannot be imported without a home folder
        import_without_converter()
    import openvino

    return openvino.Core()
