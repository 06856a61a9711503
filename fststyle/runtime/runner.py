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

from fststyle.errors import FststyleError, SettingError
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
        tiled = Tiled(openvino_pin(content, compiler), receptive_radius(content.network))
        return Runtime(content.info, device, openvino_forward(compiler(content.model)), tiled)
    network, info = load_style(path)
    forward = torch_forward(network, device)
    memory = cuda_memory if device == "cuda" else available_memory
    tiled = Tiled(torch_pin(network, device), receptive_radius(network.config), memory)
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
    missing = (max(0, MIN_SIDE - height), max(0, MIN_SIDE - width))
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
