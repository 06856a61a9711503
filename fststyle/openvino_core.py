"""OpenVINO's compiler: one for the whole process."""

from __future__ import annotations

import sys
import threading
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openvino

_lock = threading.Lock()


def openvino_core() -> openvino.Core:
    """Return the only ``openvino.Core`` of this process; it lives to the end.

    On processors with AMX every core lays a signal stack of its own, and on its end gives back
    the one that it found. With two, one can give back memory of the other that is gone, and the
    next signal ends the process (seen with OpenVINO 2026.4).
    """
    with _lock:
        return _core()


def import_without_converter() -> None:
    """Import OpenVINO without its model converter, which would take two thirds of the time.

    Only for processes of our own: a program that wants ``openvino.convert_model`` has it no more.
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
