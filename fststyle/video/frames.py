"""Run a style file over the frames of a film, one after another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import SettingError
from fststyle.images.photo import Pixels
from fststyle.runtime.on_openvino import openvino_compiler
from fststyle.runtime.on_torch import torch_forward
from fststyle.runtime.runner import Device, checked_device, extended, memory_errors
from fststyle.runtime.tiling import from_batch, to_batch
from fststyle.styles.info import StyleInfo
from fststyle.styles.onnx_graph import build_model
from fststyle.styles.onnx_norms import SmoothedNorm
from fststyle.styles.style_file import load_style, read_style

FrameForward = Callable[[NDArray[np.uint8], float], NDArray[np.uint8]]
"""A frame ``(H, W, 3)`` and how much of the statistics before it is kept → its picture."""

_LEAST_STEADY: Final = 32
"""Least side of frames whose statistics are kept, in pixels."""


class FrameRuntime:
    """A style for the frames of a film, in order; `load_frame_runtime` makes it.

    The statistics that instance norm takes are kept from frame to frame, so that what enters or
    leaves the picture does not change all the rest of it ("pumping").

    Attributes:
        info: Where the style comes from and how it was trained.
        device: Where it runs: ``cpu``, ``cuda`` or ``mps``.
        keep: How much of the statistics of the frames before counts, from 0, the frame for itself,
            to 1, for the next frame.
    """

    def __init__(self, info: StyleInfo, device: str, forward: FrameForward) -> None:
        self.info = info
        self.device = device
        self.keep = 0.0
        self._forward = forward

    def __call__(self, pixels: Pixels, *, tile: int | None = None) -> Pixels:
        """Stylise the next frame; it is computed at once, in 8 bits.

        Args:
            pixels: As in `fststyle.runtime.runner.Runtime`.
            tile: None; it is here because photos have it.

        Returns:
            As `Runtime` does.

        Raises:
            SettingError: ``tile`` is given.
            FststyleError: The frame is too large for the memory.
        """
        if tile is not None:
            raise SettingError("Films are not computed in tiles; leave tile out.")
        height, width = pixels.shape[:2]
        levels: Any = pixels if pixels.dtype == np.uint8 else np.rint(255 * pixels).astype(np.uint8)
        # What is read off a tiny frame says nothing of its statistics.
        keep = self.keep if min(height, width) >= _LEAST_STEADY else 0.0
        with memory_errors(self.device, width, height):
            picture: Any = self._forward(np.ascontiguousarray(extended(levels)), keep)
        picture = picture[:height, :width]
        result: Pixels = picture if pixels.dtype == np.uint8 else picture / np.float32(255)
        return result


def load_frame_runtime(
    path: Path, *, device: Device = "auto", threads: int | None = None
) -> FrameRuntime:
    """Make a style file ready to run over the frames of a film.

    Args:
        path: As in `load_runtime`, and so all that follows.
        device: See there.
        threads: See there.

    Returns:
        The style, ready to run.

    Raises:
        StyleError: See there.
        SettingError: See there.
    """
    device = checked_device(device, threads)
    if device == "cpu":
        content = read_style(path)
        model = build_model(content.network, content.weights, SmoothedNorm())
        compiled = openvino_compiler(threads)(model.SerializeToString())
        return FrameRuntime(content.info, device, _openvino_forward(compiled))
    network, info = load_style(path)
    return FrameRuntime(info, device, _torch_forward(network, device))


def _openvino_forward(compiled: Any) -> FrameForward:
    request = compiled.create_infer_request()
    shape = compiled.input("before").get_shape()
    before = np.zeros(tuple(shape), np.float32)

    def forward(pixels: NDArray[np.uint8], keep: float) -> NDArray[np.uint8]:
        nonlocal before
        inputs = {"photo": pixels[np.newaxis], "keep": np.array([keep], np.float32)}
        results = request.infer(inputs | {"before": before}, share_inputs=True, share_outputs=True)
        before = np.array(results["statistics"])
        return np.array(results["picture"][0])

    return forward


def _torch_forward(network: Any, device: str) -> FrameForward:
    import torch
    from torch import nn

    kept: dict[str, tuple[Any, Any]] = {}
    share = 0.0  # of what was kept

    def norm(name: str, layer: Any, hidden: Any) -> Any:
        hidden = hidden.float()
        variance, mean = torch.var_mean(hidden, (0, 2, 3), correction=0, keepdim=True)
        now = (mean, (variance + layer.eps).sqrt())
        old = kept.get(name, now)
        kept[name] = (mean, deviation) = (
            now[0].lerp(old[0], share),
            now[1].lerp(old[1], share),
        )
        scale = layer.weight.float().view_as(mean) / deviation
        shift = layer.bias.float().view_as(mean) - mean * scale
        return (hidden * scale + shift).to(layer.weight.dtype)

    for name, module in network.named_modules():
        if isinstance(module, nn.InstanceNorm2d):
            module.register_forward_hook(
                lambda layer, inputs, _, name=name: norm(name, layer, inputs[0])
            )
    run = torch_forward(network, device)

    def forward(pixels: NDArray[np.uint8], keep: float) -> NDArray[np.uint8]:
        nonlocal share
        share = keep
        return from_batch(run(to_batch(pixels)), pixels)

    return forward
