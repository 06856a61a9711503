"""Lower precisions of a trained style: speed and loss.

    python scripts/bench/precision.py thanos_poster --picture IMAGE [PHOTO ...]

runs the style file on OpenVINO in float32 and in bfloat16, and its int8 export (NNCF's
post-training quantisation, calibrated with the same photographs: ``pip install "fststyle[int8]"``).
Milliseconds of the network alone are medians of calls in turn. The loss is the total under the
fixed measure, and the difference is the mean one of the pixels from those of float32. Both are
medians over the photographs (by default the held-out ones, squares from their middle).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _command import run_benchmark
from _records import Table, add_record_option, processor, write_record
from numpy.typing import NDArray

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
    """Compile a style in each precision.

    Args:
        style: A style's name or file.
        samples: Photos, ``(H, W, 3)`` in [0, 1], for the calibration of int8.

    Returns:
        Functions that take and return ``(1, 3, H, W)``.
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
            "int8": (quantised, "bf16"),  # for the parts that are not int8
        }
        return {name: _compiled(*parts) for name, parts in made.items()}


def _compiled(model: object, hint: str) -> Network:
    settings = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino_core().compile_model(model, "CPU", settings).create_infer_request()

    def run(photo: Batch) -> Batch:
        return np.array(request.infer([photo], share_inputs=True)[0])

    return run


def milliseconds(found: dict[str, Network], side: int, calls: int) -> dict[str, float]:
    """Time the networks on noise of a size, in turn; return the medians."""
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


def benchmark(options: argparse.Namespace) -> None:
    """Measure, print the table and write the record.

    Raises:
        FststyleError: A file cannot be read, or NNCF is not installed.
    """
    photos = [
        middle_square(load_image(path), options.size)
        for path in options.photos or builtin_held_out()
    ]
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
    """Read the command line, and run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("style", help="a trained style's name or file")
    add("photos", type=Path, nargs="*", metavar="PHOTO", help="photos to measure on (bundled ones)")
    add("--picture", type=Path, required=True, help="the style image")
    add("--size", type=int, default=512, help="side of the squares for the loss (512)")
    add("--sizes", type=int, nargs="+", default=[256, 512, 1024], help="sides for the times")
    add("--calls", type=int, default=21, help="calls of each network at each size (21)")
    add_record_option(parser)
    run_benchmark(benchmark, parser.parse_args())


if __name__ == "__main__":
    main()
