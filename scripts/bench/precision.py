"""Speed and loss of a trained style at lower precision.

    python scripts/bench/precision.py thanos_poster --picture IMAGE [PHOTO ...]

The script runs the style file on OpenVINO in float32 and in bfloat16, and its int8 export (NNCF's
post-training quantisation, calibrated with the same photographs: ``pip install "fststyle[int8]"``).
The times are for the network alone, in milliseconds, as medians of alternating calls. The loss is
the total of the fixed measure. The difference is the mean difference between the pixels and those
of the float32 result. Both are medians over the photographs. By default, these are centre squares
of the held-out photographs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from _command import comparison_parser, median_milliseconds, run_benchmark, squares
from _records import Table, processor, write_record
from numpy.typing import NDArray

from fststyle.images.load import load_image
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
    """Compile a style at each precision.

    Args:
        style: Name or file of a style.
        samples: Photos for calibrating int8, ``(H, W, 3)`` in [0, 1].

    Returns:
        Functions that take and return arrays of shape ``(1, 3, H, W)``, by precision.
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
            "int8": (quantised, "bf16"),  # for the parts that are not quantised
        }
        return {name: _compiled(*parts) for name, parts in made.items()}


def _compiled(model: object, hint: str) -> Network:
    settings = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino_core().compile_model(model, "CPU", settings).create_infer_request()

    def run(photo: Batch) -> Batch:
        return np.array(request.infer([photo], share_inputs=True)[0])

    return run


def milliseconds(found: dict[str, Network], side: int, calls: int) -> dict[str, float]:
    """Time alternating calls of the networks on noise of a given size, and return the medians."""
    photo = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    calls_by_name = {name: partial(network, photo) for name, network in found.items()}
    return median_milliseconds(calls_by_name, calls)


def benchmark(options: argparse.Namespace) -> None:
    """Measure, print the table and write the record.

    Raises:
        FststyleError: A file cannot be read, or NNCF is not installed.
    """
    photos = squares(options)
    measure = measure_for(load_image(options.picture), load_weights("vgg16"))
    found = networks(options.style, photos)
    totals: dict[str, list[float]] = {name: [] for name in found}
    changes: dict[str, list[float]] = {name: [] for name in found}
    for photo in photos:
        targets = measure.content_targets(to_tensor(photo))
        exact = found["float32"](to_batch(photo))
        for name, network in found.items():
            result = network(to_batch(photo))
            pixels = np.ascontiguousarray(result[0].transpose(1, 2, 0))
            totals[name].append(losses_of(measure, to_tensor(pixels), targets).total)
            changes[name].append(255 * float(np.abs(result - exact).mean()))
    times = {side: milliseconds(found, side, options.calls) for side in options.sizes}

    header = ("precision", *(f"{side}², ms" for side in times), "total loss", "difference of 255")
    base = statistics.median(totals["float32"])
    rows = []
    for name in found:
        cells = [name]
        for found_times in times.values():
            ratio = found_times["bfloat16"] / found_times[name]
            note = "" if name == "bfloat16" else f" ({ratio:.2f} × as fast as bfloat16)"
            cells.append(f"{found_times[name]:.1f}{note}")
        total = statistics.median(totals[name])
        cells += [
            f"{total:.3f} ({total / base - 1:+.1%})",
            f"{statistics.median(changes[name]):.2f}",
        ]
        rows.append(cells)
    table = Table(header, rows)
    print(f"{processor()}\n\n{table}")
    values = {"milliseconds": times, "total": totals, "difference": changes}
    write_record("precision", values, {"precision": table}, options.records)


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = comparison_parser(__doc__)
    add = parser.add_argument
    add("--sizes", type=int, nargs="+", default=[256, 512, 1024], help="sides to time, in pixels")
    add("--calls", type=int, default=21, help="number of calls per network and size (21)")
    run_benchmark(benchmark, parser.parse_args())


if __name__ == "__main__":
    main()
