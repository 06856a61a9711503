"""Large photos: peak memory, and the time per megapixel compared with a 2-megapixel photo.

    python scripts/bench/large.py thanos_poster [--megapixels 100] [--scale 1] [--tile N]

The script generates a photo as uint8 (12,000 × 8,333 pixels at 100 megapixels), and stylises each
size in a separate process. The memory shown is the process's peak resident memory minus the decoded
photo (3 bytes per pixel), so it includes Python, the runner and the result. The time shown is that
of one `Stylizer` call after a warm-up with a small photo. It includes resizing and splitting into
tiles. On a busy machine, compare the processor times, which are summed over all cores.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from typing import Any, Final

import numpy as np
from _command import benchmark_parser
from _engines import peak_megabytes
from _records import Table, processor, write_record
from numpy.typing import NDArray

from fststyle import Stylizer

REFERENCE: Final = 2.0  # megapixels


def make_photo(megapixels: float) -> NDArray[np.uint8]:
    """Generate a photo with an aspect ratio of 12,000:8,333 and structure at all scales."""
    width = round(math.sqrt(megapixels * 1e6 * 12_000 / 8_333))
    height = round(megapixels * 1e6 / width)
    random = np.random.default_rng(0)
    photo = np.empty((height, width, 3), np.uint8)
    x = np.arange(width, dtype=np.float32)[None, :, None]
    phases = np.array([0, 2, 4], np.float32)
    for top in range(0, height, 64):
        y = np.arange(top, min(top + 64, height), dtype=np.float32)[:, None, None]
        waves = sum(
            np.sin(x / s + phases) * np.cos(y / (1.3 * s) - phases) for s in (3, 17, 90, 500)
        )
        noise = random.standard_normal((len(y), width, 3), np.float32)
        photo[top : top + 64] = np.clip(128 + 28 * waves + 5 * noise, 0, 255)
    return photo


def measure(style: str, megapixels: float, scale: float | None, tile: int | None) -> dict[str, Any]:
    """Stylise one photo in this process, and return its size, times and memory use."""
    photo = make_photo(megapixels)
    stylizer = Stylizer(style, device="cpu")
    stylizer(photo[:256, :256])
    times, processor_times = [], []
    for _ in range(5 if megapixels <= REFERENCE else 1):
        begin, used = time.perf_counter(), time.process_time()
        stylizer(photo, scale=scale, tile=tile)
        times.append(time.perf_counter() - begin)
        processor_times.append(time.process_time() - used)
    return {
        "width": photo.shape[1],
        "height": photo.shape[0],
        "seconds": min(times),
        "processor_seconds": min(processor_times),
        "bytes_above_photo": round(peak_megabytes() * 2**20) - photo.nbytes,
    }


def table(results: list[dict[str, Any]]) -> Table:
    """Return a table that compares the results with the first one."""
    header = ("photo", "scale", "seconds", "per megapixel", "CPU time", "GB above the photo")
    rows = []
    for result in results:
        cells = [f"{result['width']}×{result['height']}"]
        cells += ["automatic" if result["scale"] is None else f"{result['scale']:g}"]
        cells += [f"{result['seconds']:.1f}"]
        for key in ("seconds", "processor_seconds"):
            each, reference = (
                item[key] / (item["width"] * item["height"] / 1e6) for item in (result, results[0])
            )
            cells.append(f"{each:.2f} ({each / reference:.2f} ×)")
        rows.append([*cells, f"{result['bytes_above_photo'] / 1e9:.2f}"])
    return Table(header, rows)


def main() -> None:
    """Measure, print the table and write the record."""
    parser = benchmark_parser(__doc__)
    add = parser.add_argument
    add("style", help="name or file of a trained style")
    add("--megapixels", type=float, default=100.0, help="size of the large photo (100)")
    add("--scale", type=float, help="scale of the brush strokes (default: first 1, then automatic)")
    add("--tile", type=int, help="side length of the tiles (default: automatic)")
    add("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.style, options.megapixels, options.scale, options.tile)))
        return
    scales = [options.scale] if options.scale is not None else [1.0, None]
    runs = [(REFERENCE, 1.0, None), *((options.megapixels, s, options.tile) for s in scales)]
    results = []
    for megapixels, scale, tile in runs:
        command = [sys.executable, __file__, options.style, "--measure"]
        command += ["--megapixels", str(megapixels)]
        command += [] if scale is None else ["--scale", str(scale)]
        command += [] if tile is None else ["--tile", str(tile)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        results.append({"scale": scale, **json.loads(done.stdout.splitlines()[-1])})
    found = table(results)
    print(f"{processor()}\n\n{found}")
    write_record("large", results, {"large": found}, options.records)


if __name__ == "__main__":
    main()
