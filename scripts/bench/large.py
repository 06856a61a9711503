"""Large photos: peak memory, and time per megapixel against that of a photo of 2 megapixels.

    python scripts/bench/large.py STYLE [--megapixels 100] [--scale 1] [--tile N]

The photo is made in code, 12,000 × 8,333 pixels at 100 megapixels, and handed over as uint8. Each
photo is stylised in a process of its own. "above" is that process's highest resident memory minus
the decoded photo (3 bytes a pixel): all of Python, the runner and the result is in it. The time is
that of one `Stylizer` call after a warm-up on a small photo, and covers resizing and tiles; that of
the processor, summed over its cores, is the one to compare on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time

import numpy as np
from numpy.typing import NDArray

from fststyle import Stylizer

REFERENCE = 2.0  # megapixels


def make_photo(megapixels: float) -> NDArray[np.uint8]:
    """A photo of 12,000 to 8,333 with structure at all scales, made a few rows at a time."""
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


def measure(style: str, megapixels: float, scale: float | None, tile: int | None) -> None:
    """Stylise one photo in this process and print what it took, as JSON."""
    photo = make_photo(megapixels)
    stylizer = Stylizer(style, device="cpu")
    stylizer(photo[:256, :256])
    times, processor = [], []
    for _ in range(5 if megapixels <= REFERENCE else 1):
        begin, used = time.perf_counter(), time.process_time()
        stylizer(photo, scale=scale, tile=tile)
        times.append(time.perf_counter() - begin)
        processor.append(time.process_time() - used)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
    size = f"{photo.shape[1]}×{photo.shape[0]}"
    seconds = {"seconds": min(times), "processor": min(processor)}
    print(json.dumps({"size": size, **seconds, "above": peak - photo.nbytes}))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("style", help="a trained style's name or file")
    parser.add_argument("--megapixels", type=float, default=100.0)
    parser.add_argument("--scale", type=float, help="as in Stylizer; default: as there, and 1")
    parser.add_argument("--tile", type=int)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.style, options.megapixels, options.scale, options.tile)
        return
    print("| photo | scale | seconds | a megapixel | of the processor | GB above the photo |")
    print("| --- | --- | --- | --- | --- | --- |")
    units: tuple[float, float] | None = None
    runs: list[tuple[float, float | None]] = [(REFERENCE, 1.0)]
    scales = [options.scale] if options.scale is not None else [1.0, None]
    runs += [(options.megapixels, scale) for scale in scales]
    for megapixels, scale in runs:
        command = [sys.executable, __file__, options.style, "--measure"]
        command += ["--megapixels", str(megapixels)]
        command += [] if scale is None else ["--scale", str(scale)]
        if options.tile is not None and megapixels != REFERENCE:
            command += ["--tile", str(options.tile)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        result = json.loads(done.stdout.splitlines()[-1])
        each = (result["seconds"] / megapixels, result["processor"] / megapixels)
        units = units or each
        wall, processor = (
            f"{t:.2f} ({t / unit:.2f} ×)" for t, unit in zip(each, units, strict=True)
        )
        shown = "by itself" if scale is None else f"{scale:g}"
        print(
            f"| {result['size']} | {shown} | {result['seconds']:.1f} | {wall} | {processor} | "
            f"{result['above'] / 1e9:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
