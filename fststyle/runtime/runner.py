"""Run a style file: with OpenVINO on the CPU, with torch on a GPU."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, get_args

import numpy as np

from fststyle.errors import FststyleError, SettingError, check_choice, check_number
from fststyle.images.photo import Pixels
from fststyle.runtime.on_openvino import openvino_compiler, openvino_forward, openvino_pin
from fststyle.runtime.on_torch import cuda_memory, torch_forward, torch_pin
from fststyle.runtime.tiling import (
    SMALL_PIXELS,
    Forward,
    Sample,
    available_memory,
    choose_tile,
    from_batch,
    run_in_tiles,
    take_sample,
    to_batch,
)
from fststyle.styles.info import StyleInfo
from fststyle.styles.shape import MIN_SIDE, receptive_radius
from fststyle.styles.style_file import load_style, read_style

Device = Literal["auto", "cpu", "cuda", "mps"]

# Neither OpenVINO nor torch has an exception of its own for this on every device.
_OUT_OF_MEMORY: Final = (
    "out of memory",
    "failed to allocate",
    "can't allocate",
    "bad_alloc",
    "bad allocation",
)


@dataclass(frozen=True)
class Tiled:
    """The functions and values that a style needs to run tile by tile.

    Attributes:
        pin: Makes the network with the statistics of a sample.
        margin: The network's receptive radius in pixels.
        memory: Returns the number of free bytes on the device.
    """

    pin: Callable[[Sample], Forward]
    margin: int
    memory: Callable[[], int] = available_memory


class ReadyStyle(Protocol):
    """A style that is ready to run: over photos, a `Runtime`, or over a video's frames."""

    @property
    def info(self) -> StyleInfo:
        """The origin and the training of the style."""

    @property
    def device(self) -> str:
        """The device that it runs on: ``cpu``, ``cuda`` or ``mps``."""

    def __call__(self, pixels: Pixels, *, tile: int | None = None) -> Pixels:
        """Stylise ``(H, W, 3)``, as `Runtime` does."""


class Runtime:
    """A style that is ready to run, as `load_runtime` returns it.

    Several threads may share one. It runs for one photo at a time, on all cores of the processor.

    Attributes:
        info: The origin and the training of the style.
        device: The device that it runs on: ``cpu``, ``cuda`` or ``mps``.

    Example:
        >>> import numpy as np
        >>> from fststyle.runtime.runner import load_runtime
        >>> from fststyle.styles.find import find_network
        >>> runtime = load_runtime(find_network("great_wave").path)
        >>> runtime(np.zeros((48, 64, 3), np.uint8)).shape
        (48, 64, 3)
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
                multiple of 4. By default it depends on the photo's size and the free memory:
                a photo that fits is computed as a whole.

        Returns:
            The stylised photo: a new array of the same shape, type and range. As in
            `TransformerNet`, a photo with a side below 5 pixels is extended by its edge
            pixels and cropped back.

        Raises:
            SettingError: ``tile`` is below 1.
            FststyleError: The photo is too large for the memory (code ``out_of_memory``).
        """
        if tile is not None:
            check_number("tile", tile, 1, whole=True)
        height, width = pixels.shape[:2]
        with memory_errors(self.device, width, height):
            pixels = extended(pixels)
            tiled = self._tiled
            if tiled is not None and tile is None and height * width > SMALL_PIXELS:
                tile = choose_tile(height, width, tiled.memory())
            with self._lock:
                if tiled is None or tile is None or tile >= max(pixels.shape):
                    result = self._forward(to_batch(pixels))[:, :, :height, :width]
                    return from_batch(result, pixels)
                forward = tiled.pin(take_sample(pixels))
                whole = run_in_tiles(pixels, forward, side=tile, margin=tiled.margin)
                return whole[:height, :width]


def load_runtime(path: Path, *, device: Device = "auto", threads: int | None = None) -> Runtime:
    """Make a style file ready to run.

    The CPU runs it with OpenVINO, without torch. It computes in bfloat16 if the processor supports
    that, otherwise in float32. With bfloat16 it is five times as fast, and pixels differ by half a
    level of 255 on average. A GPU runs it with torch in float16.

    Args:
        path: A style file.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``, which is a GPU if the program has already
            imported torch and torch supports one, otherwise the CPU. Importing torch takes longer
            than stylising a photo.
        threads: Number of threads on the CPU. By default OpenVINO chooses. GPUs ignore it.

    Returns:
        The style, ready to run.

    Raises:
        StyleError: The style file cannot be used, as in `fststyle.styles.style_file.read_style`.
        SettingError: ``device`` is unknown or not available, or ``threads`` is below 1.

    Example:
        >>> import numpy as np
        >>> from fststyle.styles.find import find_style
        >>> stylize = load_runtime(find_style("great_wave").path, device="cpu")
        >>> stylize(np.zeros((48, 64, 3), np.uint8)).shape
        (48, 64, 3)
    """
    device = checked_device(device, threads)
    if device == "cpu":
        content = read_style(path)
        compiler = openvino_compiler(threads)
        tiled = Tiled(openvino_pin(content, compiler), receptive_radius(content.network))
        return Runtime(content.info, device, openvino_forward(compiler(content.model)), tiled)
    network, info = load_style(path)
    forward = torch_forward(network, device)
    memory = cuda_memory if device == "cuda" else available_memory
    tiled = Tiled(torch_pin(network, device), receptive_radius(network.config), memory)
    return Runtime(info, device, forward, tiled)


@contextmanager
def memory_errors(device: str, width: int, height: int) -> Iterator[None]:
    """Convert errors about too little memory into ones that name the photo's size.

    Args:
        device: Device that the style runs on.
        width: Width of the photo in pixels.
        height: Height of the photo in pixels.

    Raises:
        FststyleError: The memory is too small (code ``out_of_memory``). The error's
            ``details["size"]`` is a long side to try instead.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error).lower()
        if not isinstance(error, MemoryError) and all(sign not in text for sign in _OUT_OF_MEMORY):
            raise
        raise FststyleError(
            f"There is not enough memory on the {device} device for a photo of "
            f"{width}×{height} pixels.",
            remedy="Choose a smaller size.",
            code="out_of_memory",
            details={"size": max(1, max(height, width) // 2)},
        ) from error


def extended(pixels: Pixels) -> Pixels:
    """Extend a photo ``(H, W, 3)`` at its lower and right edges to the smallest allowed size."""
    height, width = pixels.shape[:2]
    missing = (max(0, MIN_SIDE - height), max(0, MIN_SIDE - width))
    if not any(missing):
        return pixels
    result: Pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    return result


def checked_device(device: Device, threads: int | None) -> Device:
    """Choose the device that a style runs on, and check the number of threads.

    Args:
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``, as for `load_runtime`.
        threads: Number of threads on the CPU, or None.

    Returns:
        ``cpu``, ``cuda`` or ``mps``.

    Raises:
        SettingError: ``device`` is unknown (code ``setting``) or not available (code
            ``no_device``), or ``threads`` is below 1.
    """
    check_choice("device", device, get_args(Device))
    if threads is not None:
        check_number("threads", threads, 1, whole=True)
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
        raise SettingError(
            f"This computer has no {device} device that torch can use.",
            remedy="Use the device cpu.",
            code="no_device",
        )
