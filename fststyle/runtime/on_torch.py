"""Running a network on a GPU with torch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fststyle.runtime.tiling import Forward, Sample
from fststyle.styles.onnx_norms import EPSILON, fold_norms


def torch_forward(network: Any, device: str) -> Forward:
    """Return a function that runs a network with torch in float16.

    The network is moved to the device.

    Args:
        network: A `TransformerNet`. With a dial, the function also needs the positions.
        device: GPU to use: ``cuda`` or ``mps``.
    """
    import torch

    network = network.to(device, torch.float16, memory_format=torch.channels_last)

    def forward(*inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            tensors = [torch.from_numpy(array).to(device, torch.float16) for array in inputs]
            tensors[0] = tensors[0].contiguous(memory_format=torch.channels_last)
            result: NDArray[np.float32] = network(*tensors).float().cpu().numpy()
        return result

    return forward


def torch_pin(network: Any, device: str) -> Callable[[Sample], Forward]:
    """Return a function that pins a network's norms to the statistics of a sample."""
    import torch
    from torch import nn

    if network.config.dial:
        return _pin_mapped(network, device)
    weights = {n: tensor.float().cpu().numpy() for n, tensor in network.state_dict().items()}

    def pin(sample: Sample) -> Forward:
        statistics: dict[str, NDArray[np.floating]] = {}
        pinned = copy.deepcopy(network)
        norms = {n: m for n, m in pinned.named_modules() if isinstance(m, nn.InstanceNorm2d)}

        def measure(name: str, norm: Any, hidden: Any) -> Any:
            variance, mean = _statistics(hidden, sample)
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
        with np.errstate(over="ignore", invalid="ignore"):  # the runtime checks the result
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


def _pin_mapped(network: Any, device: str) -> Callable[[Sample], Forward]:
    """Return a function that pins the norms of a network that follows a map of positions."""
    from fststyle.styles.network import ConditionalNorm

    def pin(sample: Sample) -> Forward:
        statistics: dict[str, tuple[Any, Any]] = {}
        pinned = copy.deepcopy(network)

        def normalise(name: str, norm: Any, hidden: Any, setting: Any) -> Any:
            if name not in statistics:
                statistics[name] = _statistics(hidden, sample)
            variance, mean = statistics[name]
            normal = (hidden.float() - mean) * (variance + EPSILON).rsqrt()
            return norm.scaled(normal.to(hidden.dtype), setting)

        for name, norm in pinned.named_modules():
            if isinstance(norm, ConditionalNorm):
                norm.register_forward_hook(
                    lambda norm, inputs, _, name=name: normalise(name, norm, *inputs)
                )
        forward = torch_forward(pinned, device)
        forward(sample.batch, sample.positions)
        return forward

    return pin


def _statistics(hidden: Any, sample: Sample) -> tuple[Any, Any]:
    """Return the variances and means, each ``(1, C, 1, 1)``, without the sample's margins."""
    import torch

    (height, width), photo = hidden.shape[2:], sample.batch.shape[2:]
    top = sample.inset[0] * height // photo[0]
    left = sample.inset[1] * width // photo[1]
    counted = hidden[:, :, top : height - top, left : width - left].float()
    variance, mean = torch.var_mean(counted, (0, 2, 3), correction=0, keepdim=True)
    return variance, mean


def cuda_memory() -> int:
    """Return the number of free bytes on the CUDA device."""
    import torch

    return int(torch.cuda.mem_get_info()[0])
