"""Run a style file: with OpenVINO on the CPU, with torch on a GPU."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import FststyleError, SettingError
from fststyle.openvino_core import openvino_core
from fststyle.runtime.tiling import (
    SMALL_PIXELS,
    Forward,
    Pixels,
    Sample,
    available_memory,
    choose_tile,
    from_batch,
    reach,
    run_in_tiles,
    take_sample,
    to_batch,
)
from fststyle.styles.onnx_graph import build_model, fold_norms
from fststyle.styles.style_file import StyleFile, StyleInfo, load_style, read_style

Device = Literal["auto", "cpu", "cuda", "mps"]

_MIN_SIDE: Final = 5  # MIN_SIDE of network.py, which would load torch
_OUT_OF_MEMORY: Final = (
    "out of memory",
    "failed to allocate",
    "can't allocate",
    "bad_alloc",
    "bad allocation",
)


@dataclass(frozen=True)
class Tiled:
    """How a style runs tile by tile.

    Attributes:
        pin: Makes the network with the statistics of a sample.
        margin: How far it sees, in pixels.
        memory: Tells how many bytes are free on the device.
    """

    pin: Callable[[Sample], Forward]
    margin: int
    memory: Callable[[], int] = available_memory


class ReadyStyle(Protocol):
    """A style that is ready to run: over photos, a `Runtime`, or over a film's frames."""

    @property
    def info(self) -> StyleInfo:
        """Where the style comes from and how it was trained."""

    @property
    def device(self) -> str:
        """Where it runs: ``cpu``, ``cuda`` or ``mps``."""

    def __call__(self, pixels: Pixels, *, tile: int | None = None) -> Pixels:
        """Stylise ``(H, W, 3)``, as `Runtime` does."""


class Runtime:
    """A style that is ready to run; `load_runtime` makes it.

    Several threads may share one; it runs for one photo at a time, on all the processor's cores.

    Attributes:
        info: Where the style comes from and how it was trained.
        device: Where it runs: ``cpu``, ``cuda`` or ``mps``.
    """

    def __init__(
        self, info: StyleInfo, device: str, forward: Forward, tiled: Tiled | None = None
    ) -> None:
        self.info = info
        self.device = device
        self._forward = forward
        self._tiled = tiled
        self._lock = threading.Lock()

    def __call__(self, pixels: Pixels, *, tile: int | None = None) -> Pixels:
        """Stylise a photo.

        Args:
            pixels: ``(H, W, 3)``, RGB, of any H and W from 1; uint8, or float32 in [0, 1].
            tile: Largest side of the tiles in which the photo is computed, rounded up to a
                multiple of 4. By default it is chosen by the photo's size and the free memory:
                a photo that fits is computed at once.

        Returns:
            A new array, the stylised photo, of the same shape, type and range. As in
            `TransformerNet`, a photo with a side below 5 pixels is extended by its edge
            pixels and cropped back.

        Raises:
            SettingError: ``tile`` is below 1.
            FststyleError: The photo is too large for the memory.
        """
        if tile is not None and (type(tile) is not int or tile < 1):
            raise SettingError(f"tile must be a whole number of pixels from 1, not {tile!r}.")
        height, width = pixels.shape[:2]
        with memory_errors(self.device, width, height):
            pixels = extended(pixels)
            tiled = self._tiled
            if tiled is not None and tile is None and height * width > SMALL_PIXELS:
                tile = choose_tile(height, width, tiled.memory())
            with self._lock:
                if tiled is None or tile is None or tile >= max(pixels.shape):
                    picture = self._forward(to_batch(pixels))[:, :, :height, :width]
                    return from_batch(picture, pixels)
                forward = tiled.pin(take_sample(pixels))
                result = run_in_tiles(pixels, forward, side=tile, margin=tiled.margin)
                return result[:height, :width]


def load_runtime(path: Path, *, device: Device = "auto", threads: int | None = None) -> Runtime:
    """Make a style file ready to run.

    The CPU runs it with OpenVINO, without torch: in bfloat16 where the processor computes with
    that (fivefold speed; pixels differ by half a level of 255 on average), else in float32. A
    GPU runs it with torch in float16.

    Args:
        path: A style file.
        device: ``auto`` is a GPU if the program has already imported torch and torch has one,
            else the CPU: importing torch takes longer than stylising a photo.
        threads: Number of threads on the CPU; by default OpenVINO chooses. GPUs ignore it.

    Returns:
        The style, ready to run.

    Raises:
        StyleError: The style file cannot be used, as in `fststyle.styles.style_file.read_style`.
        SettingError: ``device`` is unknown or not there, or ``threads`` is below 1.
    """
    device = checked_device(device, threads)
    if device == "cpu":
        content = read_style(path)
        compiler = openvino_compiler(threads)
        tiled = Tiled(_openvino_pin(content, compiler), reach(content.network))
        return Runtime(content.info, device, _openvino_forward(compiler(content.model)), tiled)
    network, info = load_style(path)
    forward = torch_forward(network, device)
    memory = _cuda_memory if device == "cuda" else available_memory
    tiled = Tiled(_torch_pin(network, device), reach(asdict(network.config)), memory)
    return Runtime(info, device, forward, tiled)


@contextmanager
def memory_errors(device: str, width: int, height: int) -> Iterator[None]:
    """Say of a photo of this size that it is too large, where the memory does not suffice.

    Raises:
        FststyleError: It does not.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error).lower()
        if not isinstance(error, MemoryError) and all(sign not in text for sign in _OUT_OF_MEMORY):
            raise
        raise FststyleError(
            f"There is not enough memory on the {device} device for a photo of "
            f"{width}×{height} pixels; choose a smaller size, such as "
            f"--size {max(1, max(height, width) // 2)}."
        ) from error


def extended(pixels: Pixels) -> Pixels:
    """Extend a photo ``(H, W, 3)`` below and to the right, by its edge, to what a network takes."""
    height, width = pixels.shape[:2]
    missing = (max(0, _MIN_SIDE - height), max(0, _MIN_SIDE - width))
    if not any(missing):
        return pixels
    result: Pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    return result


def checked_device(device: Device, threads: int | None) -> Device:
    """Settle where a style runs.

    Args:
        device: As in `load_runtime`.
        threads: Likewise.

    Returns:
        ``cpu``, ``cuda`` or ``mps``.

    Raises:
        SettingError: As in `load_runtime`.
    """
    if device not in get_args(Device):
        raise SettingError(f"device must be one of {', '.join(get_args(Device))}, not {device!r}.")
    if threads is not None and (type(threads) is not int or threads < 1):
        raise SettingError(f"threads must be a whole number from 1, not {threads!r}.")
    if device == "auto":
        device = _best_device()
    if device != "cpu":
        _check_gpu(device)
    return device


def _best_device() -> Device:
    torch = sys.modules.get("torch")
    if torch is None:
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _check_gpu(device: Device) -> None:
    import torch

    backend = torch.cuda if device == "cuda" else torch.backends.mps
    if not backend.is_available():
        raise SettingError(f"This computer has no {device} device that torch can use; use cpu.")


def openvino_compiler(threads: int | None) -> Callable[[bytes], Any]:
    """Make what compiles ONNX models for the CPU, for photos of any size.

    Args:
        threads: How many run a model; by default OpenVINO chooses.
    """
    core = openvino_core()
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "bf16" if "BF16" in capabilities else "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    # All sizes stay dynamic. Compiling for one size (0.07 s) saves 3 % at 512².
    return lambda model: core.compile_model(core.read_model(model, b""), "CPU", settings)


def _openvino_forward(compiled: Any) -> Forward:
    request = compiled.create_infer_request()

    def forward(photo: NDArray[np.float32]) -> NDArray[np.float32]:
        # The picture is the request's own memory, which the next photo overwrites.
        picture: NDArray[np.float32] = request.infer(
            [photo], share_inputs=True, share_outputs=True
        )[0]
        return picture

    return forward


def _openvino_pin(
    style: StyleFile, compiler: Callable[[bytes], Any]
) -> Callable[[Sample], Forward]:
    def pin(sample: Sample) -> Forward:
        # Not kept for the next photo: it holds the memory of the whole sample.
        model = build_model(style.network, style.weights, norms="measured")
        results = compiler(model.SerializeToString())(
            [sample.batch, np.array(sample.inset, np.int64)], share_inputs=True
        )
        statistics = {end.get_any_name(): values for end, values in results.items()}
        weights = fold_norms(style.weights, statistics)
        del results
        # Compiling once more (0.1 s) gives a network without any norms, which is faster than one
        # that takes the statistics as inputs.
        folded = build_model(style.network, weights, norms="folded")
        return _openvino_forward(compiler(folded.SerializeToString()))

    return pin


def torch_forward(network: Any, device: str) -> Forward:
    """Make a network run with torch in float16; it is moved to the device.

    Args:
        network: A `TransformerNet`.
        device: ``cuda`` or ``mps``.
    """
    import torch

    network = network.to(device, torch.float16, memory_format=torch.channels_last)

    def forward(photo: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            tensor = torch.from_numpy(photo).to(device, torch.float16)
            picture: NDArray[np.float32] = (
                network(tensor.contiguous(memory_format=torch.channels_last)).float().cpu().numpy()
            )
        return picture

    return forward


def _torch_pin(network: Any, device: str) -> Callable[[Sample], Forward]:
    import torch
    from torch import nn

    weights = {n: tensor.float().cpu().numpy() for n, tensor in network.state_dict().items()}

    def pin(sample: Sample) -> Forward:
        statistics: dict[str, NDArray[np.floating]] = {}
        pinned = copy.deepcopy(network)
        norms = {n: m for n, m in pinned.named_modules() if isinstance(m, nn.InstanceNorm2d)}

        def measure(name: str, norm: Any, hidden: Any) -> Any:
            (height, width), photo = hidden.shape[2:], sample.batch.shape[2:]
            top = sample.inset[0] * height // photo[0]
            left = sample.inset[1] * width // photo[1]
            counted = hidden[:, :, top : height - top, left : width - left].float()
            variance, mean = torch.var_mean(counted, (0, 2, 3), correction=0, keepdim=True)
            statistics[f"{name}.mean"] = mean.cpu().numpy()
            statistics[f"{name}.variance"] = variance.cpu().numpy()
            scale = norm.weight.float().view_as(mean) * (variance + norm.eps).rsqrt()
            shift = norm.bias.float().view_as(mean) - mean * scale
            return (hidden.float() * scale + shift).to(hidden.dtype)

        for name, norm in norms.items():
            norm.register_forward_hook(
                lambda norm, inputs, _, name=name: measure(name, norm, inputs[0])
            )
        torch_forward(pinned, device)(sample.batch)
        folded = fold_norms(weights, statistics)
        for name in norms:
            layer, _, index = name.rpartition(".")
            convolutions = pinned.get_submodule(layer)
            convolutions[int(index)] = nn.Identity()
            convolutions[int(index) - 1].bias = nn.Parameter(torch.empty_like(norms[name].bias))
        state = {name: torch.from_numpy(array) for name, array in folded.items()}
        pinned.load_state_dict(state, assign=True)
        return torch_forward(pinned, device)

    return pin


def _cuda_memory() -> int:
    import torch

    return int(torch.cuda.mem_get_info()[0])
