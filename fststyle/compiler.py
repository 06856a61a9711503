"""OpenVINO's compiler: one for the whole process."""

from __future__ import annotations

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


@cache
def _core() -> openvino.Core:
    import openvino

    return openvino.Core()
