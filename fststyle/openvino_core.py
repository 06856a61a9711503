"""One `openvino.Core` for the whole process."""

from __future__ import annotations

import sys
import threading
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openvino

_lock = threading.Lock()


def openvino_core() -> openvino.Core:
    """Return the only ``openvino.Core`` of this process. It exists until the process ends.

    On CPUs with AMX, each ``Core`` installs an alternate signal stack and restores the previous one
    when it is destroyed. With two of them, one can restore a stack that the other has already
    freed, and the next signal ends the process (seen with OpenVINO 2026.4).
    """
    with _lock:
        return _core()


def import_without_converter() -> None:
    """Import OpenVINO without its model converter, which would take two thirds of the time.

    This is only for our own processes, because ``openvino.convert_model`` is then missing.
    """
    if "openvino" in sys.modules:
        return
    converter = "openvino.tools.ovc"
    sys.modules[converter] = None  # type: ignore[assignment]  # importing it is an ImportError
    try:
        import openvino  # noqa: F401
    finally:
        del sys.modules[converter]


@cache
def _core() -> openvino.Core:
    import openvino

    return openvino.Core()
