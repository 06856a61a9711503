"""Run a style file: with OpenVINO on the CPU, with torch on a GPU."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import FststyleError, SettingError
from fststyle.stylefile import StyleInfo, load_style, read_style

Device = Literal["auto", "cpu", "cuda", "mps"]

_MIN_SIDE: Final = 5  # MIN_SIDE of network.py, which would load torch
_OUT_OF_MEMORY: Final = (
    "out of memory",
    "failed to allocate",
    "can't allocate",
    "bad_alloc",
    "bad allocation",
)

# (1, 3, H, W) → the same shape, RGB in [0, 1]
_Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Runtime:
    """A style that is ready to run; `load_runtime` makes it. Not for several threads at once.

    Attributes:
        info: Where the style comes from and how it was trained.
        device: Where it runs: ``cpu``, ``cuda`` or ``mps``.
    """

    def __init__(self, info: StyleInfo, device: str, forward: _Forward) -> None:
        self.info = info
        self.device = device
        self._forward = forward

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Stylise a photo.

        Args:
            pixels: ``(H, W, 3)``, RGB in [0, 1], of any H and W from 1.

        Returns:
            A new array, the stylised photo, of the same shape and range. As in
            `TransformerNet`, a photo with a side below 5 pixels is extended by its edge
            pixels and cropped back.

        Raises:
            FststyleError: The photo is too large for the memory.
        """
        height, width = pixels.shape[:2]
        try:
            missing = (max(0, _MIN_SIDE - height), max(0, _MIN_SIDE - width))
            if any(missing):
                pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
            photo = np.ascontiguousarray(pixels.transpose(2, 0, 1)[np.newaxis], np.float32)
            picture = self._forward(photo)[0, :, :height, :width]
            return np.array(picture.transpose(1, 2, 0), order="C")
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            raise FststyleError(
                f"There is not enough memory on the {self.device} device for a photo of "
                f"{width}×{height} pixels; choose a smaller size, such as "
                f"--size {max(1, max(height, width) // 2)}."
            ) from error


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
        StyleError: The style file cannot be used, as in `fststyle.stylefile.read_style`.
        SettingError: ``device`` is unknown or not there, or ``threads`` is below 1.
    """
    if device not in get_args(Device):
        raise SettingError(f"device must be one of {', '.join(get_args(Device))}, not {device!r}.")
    if threads is not None and (type(threads) is not int or threads < 1):
        raise SettingError(f"threads must be a whole number from 1, not {threads!r}.")
    if device == "auto":
        device = _best_device()
    if device == "cpu":
        content = read_style(path)
        return Runtime(content.info, device, _openvino_forward(content.model, threads))
    _check_gpu(device)
    network, info = load_style(path)
    return Runtime(info, device, _torch_forward(network, device))


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


def _openvino_forward(model: bytes, threads: int | None) -> _Forward:
    import openvino

    core = openvino.Core()
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "bf16" if "BF16" in capabilities else "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    # All sizes stay dynamic. Compiling for one size (0.07 s) saves 3 % at 512².
    compiled = core.compile_model(core.read_model(model, b""), "CPU", settings)
    request = compiled.create_infer_request()

    def forward(photo: NDArray[np.float32]) -> NDArray[np.float32]:
        # The picture is the request's own memory, which the next photo overwrites.
        picture: NDArray[np.float32] = request.infer(
            [photo], share_inputs=True, share_outputs=True
        )[0]
        return picture

    return forward


def _torch_forward(network: Any, device: str) -> _Forward:
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


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _OUT_OF_MEMORY)
