"""A test image and a full-precision OpenVINO runner, which verify new files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fststyle.openvino_core import openvino_core

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""A function that stylises a photo, ``(1, 3, H, W)`` in [0, 1]."""


def probe_photo(height: int, width: int) -> NDArray[np.float32]:
    """Return a fixed test image, (1, 3, H, W), with structure at all scales, like a photo."""
    random = np.random.default_rng(0)
    photo = np.zeros((1, 3, height, width), np.float32)
    for step in (64, 32, 16, 8, 4, 2, 1):
        coarse = random.standard_normal((1, 3, height // step + 1, width // step + 1))
        fine = coarse.repeat(step, axis=2).repeat(step, axis=3)
        photo += step**0.5 * fine[:, :, :height, :width].astype(np.float32)
    photo -= photo.min()
    photo /= photo.max()
    return photo


def openvino_runner(model: bytes, weights: bytes = b"") -> Run:
    """Compile a model for the CPU, using float32 throughout.

    Args:
        model: Content of an ONNX file, or of the XML file of a model in OpenVINO's format.
        weights: Content of the ``.bin`` file that belongs to the XML file.
    """
    core = openvino_core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(model, weights), "CPU", settings)
    return lambda photo: np.array(compiled([photo])[0])
