"""Running a network on the CPU with OpenVINO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fststyle.openvino_core import openvino_core
from fststyle.runtime.tiling import Forward, Sample
from fststyle.styles.content import StyleFile
from fststyle.styles.dial import NormParameters
from fststyle.styles.onnx_dial import MappedNorm
from fststyle.styles.onnx_graph import build_model
from fststyle.styles.onnx_norms import FoldedNorm, MeasuredNorm, Norm, fold_norms


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
    """Return a function that runs a compiled network on one photo, given all inputs."""
    request = compiled.create_infer_request()

    def forward(*inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        # The result is a view of the request's memory, which the next photo overwrites.
        results = request.infer(list(inputs), share_inputs=True, share_outputs=True)
        result: NDArray[np.float32] = results[0]
        return result

    return forward


def compiled_network(
    style: StyleFile,
    compiler: Callable[[bytes], Any],
    norm: Norm,
    parameters: NormParameters | None = None,
) -> Any:
    """Compile the network of a style with fixed norms.

    Args:
        style: A style with fixed norms.
        compiler: Function from `openvino_compiler`.
        norm: Kind of norms.
        parameters: Parameters of a network that follows a map, from `StyleFile.separated`.
    """
    if parameters is not None:
        norm = MappedNorm(norm, style.network, parameters)
    model = build_model(style.network, style.weights, norm, merged=True)
    return compiler(model.SerializeToString())


def openvino_pin(
    style: StyleFile,
    compiler: Callable[[bytes], Any],
    parameters: NormParameters | None = None,
) -> Callable[[Sample], Forward]:
    """Return a function that pins a style's norms to the statistics of a sample.

    The arguments are those of `compiled_network`.
    """

    def pin(sample: Sample) -> Forward:
        # This model is not kept for the next photo, because it holds memory for the whole sample.
        inputs = [sample.batch, np.array(sample.inset, np.int64)]
        if sample.positions is not None:
            inputs.append(sample.positions)
        measured = compiled_network(style, compiler, MeasuredNorm(), parameters)
        results = measured(inputs, share_inputs=True)
        statistics = {end.get_any_name(): values for end, values in results.items()}
        with np.errstate(over="ignore", invalid="ignore"):  # the runtime checks the result
            weights = fold_norms(style.weights, statistics)
        del measured, results
        # Compiling again takes 0.1 s, but the resulting network contains no norms. It is faster
        # than a network that takes the statistics as inputs.
        pinned = replace(style, weights=weights)
        return openvino_forward(compiled_network(pinned, compiler, FoldedNorm(), parameters))

    return pin
