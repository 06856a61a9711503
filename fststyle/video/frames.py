"""Running a style on the frames of a video, one after another."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import SettingError
from fststyle.images.photo import Pixels
from fststyle.runtime.on_openvino import compiled_network, openvino_compiler
from fststyle.runtime.on_torch import torch_forward
from fststyle.runtime.runner import (
    Device,
    check_finite,
    checked_device,
    extended,
    finite,
    memory_errors,
)
from fststyle.runtime.tiling import from_batch, to_batch, to_positions
from fststyle.styles.dial import WEAKEST, Strength, dial_position
from fststyle.styles.info import StyleInfo
from fststyle.styles.onnx_norms import EPSILON, SmoothedNorm
from fststyle.styles.style_file import read_style

FrameForward = Callable[..., NDArray[np.uint8]]
"""Function that stylises a frame ``(H, W, 3)``, given the weight of the previous statistics.

Networks that follow a map of the strength also take its positions ``(1, 1, H, W)``, from
`fststyle.runtime.tiling.to_positions`.
"""

_LEAST_STEADY: Final = 32
"""Minimum short side, in pixels, of frames for which statistics are smoothed."""


class FrameRuntime:
    """A style that is ready to run on the frames of a video, in order.

    The statistics of the instance normalisation layers are carried over from frame to frame.
    Otherwise an object that enters or leaves the picture would change the rest of the frame
    ("pumping"). Use `load_frame_runtime` to create an instance.

    Attributes:
        info: Origin and training of the style.
        device: The device that the style runs on: ``cpu``, ``cuda`` or ``mps``.
        keep: Weight of the previous frames' statistics when the next frame is stylised, from 0
            (only the frame's own statistics) to 1.
    """

    def __init__(self, info: StyleInfo, device: str, forward: FrameForward) -> None:
        self.info = info
        self.device = device
        self.has_dial = False
        self.keep = 0.0
        self._load: Callable[[float | None], FrameForward] = lambda strength: forward

    @classmethod
    def with_dial(
        cls, info: StyleInfo, device: str, load: Callable[[float | None], FrameForward]
    ) -> FrameRuntime:
        """Create a runtime for a network with a dial.

        Args:
            info: Origin and training of the style.
            device: The device that the style runs on.
            load: Function that loads the network for one strength, or for a map if the argument is
                ``None``. The most recently used network is kept. With another one, the statistics
                start again.
        """
        runtime = cls.__new__(cls)
        runtime.info, runtime.device, runtime.has_dial = info, device, True
        runtime.keep = 0.0
        runtime._load = lru_cache(1)(load)
        return runtime

    def __call__(
        self, pixels: Pixels, *, tile: int | None = None, strength: Strength = 1.0
    ) -> Pixels:
        """Stylise the next frame with 8 bits per channel, without tiling.

        Args:
            pixels: Frame ``(H, W, 3)``, uint8 or float32 in [0, 1].
            tile: Always ``None``. The parameter exists for compatibility with photo runtimes.
            strength: Strength of the style, as for photos.

        Returns:
            The stylised frame, of the same shape and dtype.

        Raises:
            SettingError: ``tile`` is not ``None``.
            StyleError: The result contains NaN or infinity (code ``diverged``).
            FststyleError: The frame does not fit into memory.
        """
        if tile is not None:
            raise SettingError("tile must be None for videos.")
        height, width = pixels.shape[:2]
        levels: Any = pixels if pixels.dtype == np.uint8 else np.rint(255 * pixels).astype(np.uint8)
        # The statistics are sampled, which is not accurate enough for tiny frames.
        keep = self.keep if min(height, width) >= _LEAST_STEADY else 0.0
        with memory_errors(self.device, width, height):
            maps, key = [], 1.0
            if self.has_dial and isinstance(strength, np.ndarray):
                maps = [to_positions(dial_position(extended(strength)))]
            elif self.has_dial:
                key = max(float(strength), WEAKEST)
            forward = self._load(None if maps else key)
            image: Any = forward(np.ascontiguousarray(extended(levels)), keep, *maps)
        image = image[:height, :width]
        result: Pixels = image if pixels.dtype == np.uint8 else image / np.float32(255)
        return result


def load_frame_runtime(
    path: Path, *, style: str = "", device: Device = "auto", threads: int | None = None
) -> FrameRuntime:
    """Load a style file so that it can run on the frames of a video.

    Args:
        path: Path of the style file.
        style: Name of the style in the file. By default, the first one.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``, as in
            `fststyle.runtime.runner.load_runtime`.
        threads: Number of CPU threads. OpenVINO decides by default.

    Returns:
        The style, ready to run.

    Raises:
        StyleError: The style file cannot be used.
        SettingError: ``device`` is unknown or not available, or ``threads`` is below 1.
    """
    device = checked_device(device, threads)
    # Grain would stay in place while the picture moves, so videos are made without it.
    _, content = read_style(path).selected(style).without_grain()
    compiler = openvino_compiler(threads) if device == "cpu" else None

    def load(strength: float | None) -> FrameForward:
        fixed, parameters = (content if strength is None else content.folded(strength)), None
        if compiler is None:
            return _torch_forward(fixed.torch_network(), device, content.info)
        if strength is None:
            fixed, parameters = content.separated()
        compiled = compiled_network(fixed, compiler, SmoothedNorm(), parameters)
        return _openvino_forward(compiled, content.info)

    if content.network.dial:
        return FrameRuntime.with_dial(content.info, device, load)
    return FrameRuntime(content.info, device, load(1.0))


def _openvino_forward(compiled: Any, info: StyleInfo) -> FrameForward:
    request = compiled.create_infer_request()
    shape = compiled.input("before").get_shape()
    before = np.zeros(tuple(shape), np.float32)

    def forward(
        pixels: NDArray[np.uint8], keep: float, *positions: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        nonlocal before
        inputs: dict[str, Any] = {"photo": pixels[np.newaxis], "keep": np.array([keep], np.float32)}
        inputs["before"] = before
        if positions:
            inputs["position"] = positions[0]
        results = request.infer(inputs, share_inputs=True, share_outputs=True)
        before = np.array(results["statistics"])
        check_finite(before, info)
        return np.array(results["picture"][0])

    return forward


def _torch_forward(network: Any, device: str, info: StyleInfo) -> FrameForward:
    import torch
    from torch import nn

    from fststyle.styles.network import ConditionalNorm

    kept: dict[str, tuple[Any, Any]] = {}
    share = 0.0  # weight of the previous statistics

    def norm(name: str, layer: Any, hidden: Any, *setting: Any) -> Any:
        hidden = hidden.float()
        variance, mean = torch.var_mean(hidden, (0, 2, 3), correction=0, keepdim=True)
        now = (mean, (variance + EPSILON).sqrt())
        old = kept.get(name, now)
        kept[name] = (mean, deviation) = (
            now[0].lerp(old[0], share),
            now[1].lerp(old[1], share),
        )
        if setting:  # the network follows a map
            return layer.scaled(((hidden - mean) / deviation).to(layer.weight.dtype), *setting)
        scale = layer.weight.float().view_as(mean) / deviation
        shift = layer.bias.float().view_as(mean) - mean * scale
        return (hidden * scale + shift).to(layer.weight.dtype)

    for name, module in network.named_modules():
        if isinstance(module, nn.InstanceNorm2d | ConditionalNorm):
            module.register_forward_hook(
                lambda layer, inputs, _, name=name: norm(name, layer, *inputs)
            )
    run = finite(torch_forward(network, device), info)

    def forward(
        pixels: NDArray[np.uint8], keep: float, *positions: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        nonlocal share
        share = keep
        return from_batch(run(to_batch(pixels), *positions), pixels)

    return forward
