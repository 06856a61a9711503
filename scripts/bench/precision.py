"""What does a lower precision cost, and what does it gain? One table for a trained style.

    python scripts/bench/precision.py thanos_poster.onnx --picture PICTURE [PHOTO ...]

OpenVINO runs the style file in float32 and in bfloat16, and its int8 export (NNCF's post-training
quantisation, calibrated on the same photographs: ``pip install "fststyle[int8]"``). Milliseconds
of the network alone are medians of calls that take turns; the loss is the total under the fixed
measure, the median over the photographs (by default the held-out ones, squares from their
middle), and so is the mean difference of the pixels from float32's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import FststyleError
from fststyle.images.bundled import builtin_held_out
from fststyle.images.load import load_image
from fststyle.images.resize import middle_square
from fststyle.openvino_core import openvino_core
from fststyle.perceptual.measure import losses_of, measure_for
from fststyle.perceptual.tensors import to_tensor
from fststyle.perceptual.vgg_weights import load_weights
from fststyle.runtime.tiling import to_batch
from fststyle.styles.export import export_style
from fststyle.styles.find import find_style
from fststyle.styles.style_file import read_style

Batch = NDArray[np.float32]
Network = Callable[[Batch], Batch]


def networks(style: str, samples: list[NDArray[np.float32]]) -> dict[str, Network]:
    """Make a style ready in each precision.

    Args:
        style: A style's name or file.
        samples: Photos, ``(H, W, 3)`` in [0, 1], for the calibration of int8.

    Returns:
        Functions from ``(1, 3, H, W)`` to the same shape.
    """
    core = openvino_core()
    path = find_style(style).path
    model = core.read_model(read_style(path).model, b"")
    with tempfile.TemporaryDirectory() as folder:
        export_style(path, Path(folder, "int8.xml"), precision="int8", samples=samples)
        quantised = core.read_model(str(Path(folder, "int8.xml")))
        made = {
            "float32": (model, "f32"),
            "bfloat16": (model, "bf16"),
            "int8": (quantised, "bf16"),  # what is not int8 in it
        }
        return {name: _compiled(*parts) for name, parts in made.items()}


def _compiled(model: object, hint: str) -> Network:
    settings = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino_core().compile_model(model, "CPU", settings).create_infer_request()

    def run(photo: Batch) -> Batch:
        return np.array(request.infer([photo], share_inputs=True)[0])

    return run


def milliseconds(found: dict[str, Network], side: int, calls: int) -> dict[str, float]:
    """Time the networks on noise of a side, turn by turn."""
    photo = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    for network in found.values():
        network(photo)
    times: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(calls):
        for name, network in found.items():
            begin = time.perf_counter()
            network(photo)
            times[name].append(1000 * (time.perf_counter() - begin))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("style", help="a trained style's name or file")
    parser.add_argument("photos", type=Path, nargs="*", metavar="PHOTO")
    parser.add_argument("--picture", type=Path, required=True, help="the style picture")
    parser.add_argument("--size", type=int, default=512, help="side where the loss is taken")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024], help="timed")
    parser.add_argument("--calls", type=int, default=21)
    options = parser.parse_args()
    try:
        photos = [
            middle_square(load_image(path), options.size)
            for path in options.photos or builtin_held_out()
        ]
        measure = measure_for(load_image(options.picture), load_weights("vgg16"))
        found = networks(options.style, photos)
    except FststyleError as error:
        sys.exit(f"Error: {error}")

    totals: dict[str, list[float]] = {name: [] for name in found}
    changes: dict[str, list[float]] = {name: [] for name in found}
    for photo in photos:
        targets = measure.content_targets(to_tensor(photo))
        exact = found["float32"](to_batch(photo))
        for name, network in found.items():
            picture = network(to_batch(photo))
            pixels = np.ascontiguousarray(picture[0].transpose(1, 2, 0))
            totals[name].append(losses_of(measure, to_tensor(pixels), targets).total)
            changes[name].append(255 * float(np.abs(picture - exact).mean()))
    times = {side: milliseconds(found, side, options.calls) for side in options.sizes}

    print(f"| precision | {' | '.join(f'{side}², ms' for side in times)} | total loss | of 255 |")
    print("| --- |" + " --- |" * (len(times) + 2))
    base = statistics.median(totals["float32"])
    for name in found:
        shown = [
            f"{values[name]:.1f} ({values['bfloat16'] / values[name]:.2f} × as fast as bfloat16)"
            if name != "bfloat16"
            else f"{values[name]:.1f}"
            for values in times.values()
        ]
        total = statistics.median(totals[name])
        print(
            f"| {name} | {' | '.join(shown)} | {total:.3f} ({total / base - 1:+.1%}) | "
            f"{statistics.median(changes[name]):.2f} |"
        )


if __name__ == "__main__":
    main()
