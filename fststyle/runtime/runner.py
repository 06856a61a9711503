"""Running style files: with OpenVINO on the CPU, and with torch on a GPU."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import (
    FststyleError,
    SettingError,
    StyleError,
    check_choice,
    check_number,
)
from fststyle.images.photo import Pixels
from fststyle.runtime.on_openvino import (
    compiled_network,
    openvino_compiler,
    openvino_forward,
    openvino_pin,
)
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
    to_positions,
)
from fststyle.styles.dial import WEAKEST, Strength, dial_position
from fststyle.styles.grain import NO_GRAIN, Grain
from fststyle.styles.info import StyleInfo
from fststyle.styles.onnx_norms import InstanceNorm
from fststyle.styles.shape import MIN_SIDE, receptive_radius
from fststyle.styles.style_file import read_style

Device = Literal["auto", "cpu", "cuda", "mps"]

_Array = TypeVar("_Array", bound=NDArray[Any])

KEPT_STRENGTHS: Final = 4
"""Number of strengths for which the network is kept, for each style with a dial."""

# Neither OpenVINO nor torch raises a specific out-of-memory exception on every device.
_OUT_OF_MEMORY: Final = (
    "out of memory",
    "failed to allocate",
    "can't allocate",
    "bad_alloc",
    "bad allocation",
)


@dataclass(frozen=True)
class Tiled:
    """The functions and values needed to run a style tile by tile.

    Attributes:
        pin: Function that builds the network with the statistics of a sample.
        margin: The network's receptive radius in pixels.
        memory: Function that returns the number of free bytes on the device.
    """

    pin: Callable[[Sample], Forward]
    margin: int
    memory: Callable[[], int] = available_memory


class Loaded(NamedTuple):
    """A network that is ready to run at one strength, or with a map.

    Attributes:
        forward: Function that runs the network on a whole photo.
        tiled: Functions to run the network tile by tile, or ``None`` if photos are never tiled.
    """

    forward: Forward
    tiled: Tiled | None = None


class ReadyStyle(Protocol):
    """A style that is ready to run, on photos (a `Runtime`) or on the frames of a video."""

    @property
    def has_dial(self) -> bool:
        """``True`` if the network can run at any strength from `WEAKEST` to `STRONGEST`."""

    @property
    def info(self) -> StyleInfo:
        """Information about the style's origin and training."""

    @property
    def device(self) -> str:
        """The device that the style runs on: ``cpu``, ``cuda`` or ``mps``."""

    def __call__(
        self, pixels: Pixels, *, tile: int | None = None, strength: Strength = 1.0
    ) -> Pixels:
        """Stylise an image ``(H, W, 3)`` in the same way as `Runtime`."""


class Runtime:
    """A style that is ready to run, as returned by `load_runtime`.

    Several threads can share the same runtime. A runtime processes one photo at a time, and can use
    all CPU cores to do so.

    Attributes:
        info: Information about the style's origin and training.
        device: The device that the style runs on: ``cpu``, ``cuda`` or ``mps``.

    Example:
        >>> import numpy as np
        >>> from fststyle.runtime.runner import load_runtime
        >>> from fststyle.styles.find import find_network
        >>> runtime = load_runtime(find_network("great_wave").path)
        >>> runtime(np.zeros((48, 64, 3), np.uint8)).shape
        (48, 64, 3)
    """

    def __init__(
        self,
        info: StyleInfo,
        device: str,
        forward: Forward,
        tiled: Tiled | None = None,
        grain: Grain = NO_GRAIN,
    ) -> None:
        self.info = info
        self.device = device
        self.has_dial = False
        self._grain = grain
        loaded = Loaded(finite(forward, info), tiled)
        self._load: Callable[[float | None], Loaded] = lambda strength: loaded
        self._lock = threading.Lock()

    @classmethod
    def with_dial(
        cls,
        info: StyleInfo,
        device: str,
        load: Callable[[float | None], Loaded],
        grain: Grain = NO_GRAIN,
    ) -> Runtime:
        """Create a runtime for a network with a dial.

        Args:
            info: Information about the style's origin and training.
            device: The device that the style runs on.
            load: Function that loads the network for one strength, or for a map if the argument is
                ``None``. The most recently used networks are kept.
            grain: Noise that is added to photos.
        """
        runtime = cls.__new__(cls)
        runtime.info, runtime.device, runtime.has_dial = info, device, True
        runtime._grain = grain

        def load_checked(strength: float | None) -> Loaded:
            loaded = load(strength)
            return loaded._replace(forward=finite(loaded.forward, info))

        runtime._load = lru_cache(KEPT_STRENGTHS)(load_checked)
        runtime._lock = threading.Lock()
        return runtime

    def __call__(
        self, pixels: Pixels, *, tile: int | None = None, strength: Strength = 1.0
    ) -> Pixels:
        """Stylise a photo.

        Args:
            pixels: RGB image, ``(H, W, 3)``, with sides of at least 1 pixel: uint8, or float32 in
                [0, 1].
            tile: Maximum side length of the tiles that the photo is divided into, rounded up to a
                multiple of 4. By default, the tile size depends on the size of the photo and the
                free memory, and small photos are not divided.
            strength: Strength of the style, from `WEAKEST` to `STRONGEST`: one number, or an array
                ``(H, W)`` with one for each pixel. Weaker strengths have the same result as
                `WEAKEST`. Without a dial, the strength is ignored.

        Returns:
            The stylised photo, a new array with the same shape, dtype and range. As in
            `TransformerNet`, a photo with a side shorter than 5 pixels is padded by repeating its
            edge pixels, and the result is cropped to the original size.

        Raises:
            SettingError: ``tile`` is below 1.
            StyleError: The result contains NaN or infinity (code ``diverged``).
            FststyleError: The photo does not fit into memory (code ``out_of_memory``).
        """
        if tile is not None:
            check_number("tile", tile, 1, whole=True)
        height, width = pixels.shape[:2]
        with memory_errors(self.device, width, height), self._lock:
            pixels = extended(pixels)
            positions, key = None, 1.0
            if self.has_dial and isinstance(strength, np.ndarray):
                positions = dial_position(extended(strength))
            elif self.has_dial:
                key = max(float(strength), WEAKEST)
            loaded = self._load(key if positions is None else None)
            tiled = loaded.tiled
            if tiled is not None and tile is None and height * width > SMALL_PIXELS:
                tile = choose_tile(height, width, tiled.memory())
            if tiled is None or tile is None or tile >= max(pixels.shape):
                maps = [] if positions is None else [to_positions(positions)]
                batch = to_batch(pixels, self._grain)
                result = loaded.forward(batch, *maps)[:, :, :height, :width]
                return from_batch(result, pixels)
            forward = finite(tiled.pin(take_sample(pixels, positions, self._grain)), self.info)
            whole = run_in_tiles(
                pixels,
                forward,
                side=tile,
                margin=tiled.margin,
                positions=positions,
                grain=self._grain,
            )
            return whole[:height, :width]


def load_runtime(
    path: Path, *, style: str = "", device: Device = "auto", threads: int | None = None
) -> Runtime:
    """Load a style file so that it is ready to run.

    On the CPU, the style runs with OpenVINO and does not need torch. Computations use bfloat16 if
    the processor supports it, and float32 otherwise. Using bfloat16 is five times as fast, and
    changes pixel values (0 to 255) by 0.5 on average. On a GPU, the style runs with torch in
    float16.

    Args:
        path: Style file to load.
        style: Name of the style in the file. By default, the first one.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``. With ``auto``, the style runs on the GPU if
            the program has already imported torch and torch can use a GPU. Otherwise, the style
            runs on the CPU, because importing torch takes longer than stylising a photo.
        threads: Number of threads on the CPU. By default, OpenVINO chooses the number. On a GPU,
            this setting is ignored.

    Returns:
        The style, ready to run.

    Raises:
        StyleError: The style file cannot be used, for one of the reasons listed in
            `fststyle.styles.style_file.read_style`, or it has no style with that name.
        SettingError: ``device`` is unknown or not available, or ``threads`` is below 1.

    Example:
        >>> import numpy as np
        >>> from fststyle.styles.find import find_style
        >>> stylize = load_runtime(find_style("great_wave").path, device="cpu")
        >>> stylize(np.zeros((48, 64, 3), np.uint8)).shape
        (48, 64, 3)
    """
    device = checked_device(device, threads)
    content = read_style(path).selected(style)
    grain, content = content.without_grain()
    margin = receptive_radius(content.network)
    compiler = openvino_compiler(threads) if device == "cpu" else None
    memory = cuda_memory if device == "cuda" else available_memory

    def load(strength: float | None) -> Loaded:
        parameters = None
        fixed = content if strength is None else content.folded(strength)
        if compiler is None:
            network = fixed.torch_network()
            forward, pin = torch_forward(network, device), torch_pin(network, device)
        else:
            if strength is None:
                fixed, parameters = content.separated()
            forward = openvino_forward(
                compiled_network(fixed, compiler, InstanceNorm(), parameters)
            )
            pin = openvino_pin(fixed, compiler, parameters)
        return Loaded(forward, Tiled(pin, margin, memory))

    if content.network.dial:
        return Runtime.with_dial(content.info, device, load, grain)
    return Runtime(content.info, device, *load(1.0), grain)


def finite(forward: Forward, info: StyleInfo) -> Forward:
    """Return a network whose results are checked with `check_finite`."""

    def checked(*inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        result = forward(*inputs)
        check_finite(result, info)
        return result

    return checked


def check_finite(values: NDArray[np.float32], info: StyleInfo) -> None:
    """Check that the values computed by a style are numbers. Images would otherwise become black.

    Raises:
        StyleError: The values contain NaN or infinity (code ``diverged``).
    """
    with np.errstate(invalid="ignore"):
        total = values.sum()
    if not np.isfinite(total):
        problem = f"The style {info.name} computes NaN or infinity instead of colours."
        raise StyleError(problem, remedy="Train it again, or choose another.", code="diverged")


@contextmanager
def memory_errors(device: str, width: int, height: int) -> Iterator[None]:
    """Convert out-of-memory errors into an `FststyleError` that names the photo's size.

    Args:
        device: Device that the style runs on.
        width: Width of the photo in pixels.
        height: Height of the photo in pixels.

    Raises:
        FststyleError: There is not enough memory (code ``out_of_memory``). ``details["size"]``
            suggests a smaller length for the longer side.
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


def extended(pixels: _Array) -> _Array:
    """Pad a photo or map ``(H, W, …)`` at its lower and right edges to the minimum size."""
    height, width = pixels.shape[:2]
    missing = (max(0, MIN_SIDE - height), max(0, MIN_SIDE - width))
    if not any(missing):
        return pixels
    rest = [(0, 0)] * (pixels.ndim - 2)
    padded: Any = np.pad(pixels, [(0, missing[0]), (0, missing[1]), *rest], mode="edge")
    result: _Array = padded
    return result


def checked_device(device: Device, threads: int | None) -> Device:
    """Choose the device that a style runs on, and check the number of threads.

    Args:
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``, as in `load_runtime`.
        threads: Number of threads on the CPU, or ``None`` for the default.

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
