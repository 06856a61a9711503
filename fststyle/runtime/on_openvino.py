"""Running a network on the CPU with OpenVINO."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fststyle.openvino_core import openvino_core
from fststyle.runtime.tiling import Forward, Sample
from fststyle.styles.onnx_graph import build_model
from fststyle.styles.onnx_norms import FoldedNorm, MeasuredNorm, fold_norms
from fststyle.styles.style_file import StyleFile


def openvino_compiler(threads: int | None) -> Callable[[bytes], Any]:
    """Return a function that compiles ONNX models for the CPU, for photos of any size.

    Args:
        threads: Number of threads for each model. By default, OpenVINO chooses the number.
    """
    core = openvino_core()
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "bf16" if "BF16" in capabilities else "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    # All sizes stay dynamic: compiling for a single size takes 0.07 s and saves only 3 % at 512².
    return lambda model: core.compile_model(core.read_model(model, b""), "CPU", settings)


def openvino_forward(compiled: Any) -> Forward:
    """Return a function that runs a compiled network on one photo."""
    request = compiled.create_infer_request()

    def forward(photo: NDArray[np.float32]) -> NDArray[np.float32]:
        # The result is a view of the request's memory, which the next photo overwrites.
        result: NDArray[np.float32] = request.infer([photo], share_inputs=True, share_outputs=True)[
            0
        ]
        return result

    return forward


def openvino_pin(style: StyleFile, compiler: Callable[[bytes], Any]) -> Callable[[Sample], Forward]:
    """Return a function that pins a style's norms to the statistics of a sample."""

    def pin(sample: Sample) -> Forward:
        # This model is not kept for the next photo, because it holds memory for the whole sample.
        model = build_model(style.network, style.weights, MeasuredNorm(), merged=True)
        results = compiler(model.SerializeToString())(
            [sample.batch, np.array(sample.inset, np.int64)], share_inputs=True
        )
        statistics = {end.get_any_name(): values for end, values in results.items()}
        with np.errstate(over="ignore", invalid="ignore"):  # the runtime checks the result
            weights = fold_norms(style.weights, statistics)
        del results
        # Compiling again takes 0.1 s, but the resulting network contains no norms. It is faster
        # than a network that takes the statistics as inputs.
        folded = build_model(style.network, weights, FoldedNorm(), merged=True)
        return openvino_forward(compiler(folded.SerializeToString()))

    return pin
