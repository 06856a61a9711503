"""Read what other programs trained: PyTorch checkpoints of two well-known projects.

They are pytorch/examples (``fast_neural_style``) and gordicaleksa's
pytorch-neural-style-transfer-johnson. Both have the network of `TransformerNet` with first
stride 1, pad every convolution by reflection and upsample to the nearest neighbour. What differs
is folded into the weights, exactly:

- *The photo's range.* Theirs is a·photo + b by channels. The factor goes into the first
  convolution. The offset adds a constant to each of its channels, at the borders too, because
  reflection keeps a constant photo constant; the instance norm after it takes that away.
- *Biases before instance norms* add constants in the same way, and are left out.
- *The picture's range.* Theirs, c·picture + d, is undone in the last convolution, which nothing
  but the clamp to [0, 1] follows: ``linear_output`` of `NetworkConfig`.

Nothing in a checkpoint is executed: torch reads tensors and plain containers only.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from fststyle.errors import SettingError, StyleError
from fststyle.styles.network import TransformerNet
from fststyle.styles.shape import NetworkConfig

MAX_BYTES: Final = 256 * 2**20
"""Checkpoints that are larger, or would be when unpacked, are refused."""

_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_STD: Final = (0.229, 0.224, 0.225)

_EXPECTED: Final = (
    "expected was a network of pytorch/examples (fast_neural_style) or of "
    "gordicaleksa/pytorch-neural-style-transfer-johnson"
)
# What old versions of PyTorch stored for instance norms and never used.
_LEFT_OVER: Final = re.compile(r"\.(running_mean|running_var|num_batches_tracked)$")


@dataclass(frozen=True)
class _Family:
    """Checkpoints of one program.

    Attributes:
        project: Its repository.
        grow: Prefixes of the layers after the residual blocks.
        factor: Of the photo, and of the picture, by channels.
        offset: Likewise.
    """

    project: str
    grow: tuple[str, str, str]
    factor: tuple[float, float, float]
    offset: tuple[float, float, float]


_FAMILIES: Final = (
    _Family(
        "pytorch/examples",
        ("deconv1.conv2d", "deconv2.conv2d", "deconv3.conv2d"),
        factor=(255.0, 255.0, 255.0),
        offset=(0.0, 0.0, 0.0),
    ),
    _Family(
        "gordicaleksa/pytorch-neural-style-transfer-johnson",
        ("up1.conv2d.conv2d", "up2.conv2d.conv2d", "up3.conv2d"),
        factor=(1 / _IMAGENET_STD[0], 1 / _IMAGENET_STD[1], 1 / _IMAGENET_STD[2]),
        offset=(
            -_IMAGENET_MEAN[0] / _IMAGENET_STD[0],
            -_IMAGENET_MEAN[1] / _IMAGENET_STD[1],
            -_IMAGENET_MEAN[2] / _IMAGENET_STD[2],
        ),
    ),
)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network that another program trained.

    Attributes:
        network: The same network as ours, on the CPU and in evaluation mode.
        project: The repository whose program wrote it.
        facts: What it says of its training, as JSON can hold it.
        sha256: Of the file, hexadecimal.
    """

    network: TransformerNet
    project: str
    facts: Mapping[str, float]
    sha256: str


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of pytorch/examples or gordicaleksa, without running anything in it.

    Args:
        path: A ``.pth`` or ``.model`` file, of PyTorch's new or old format.

    Returns:
        The network; its pictures are theirs, clamped to [0, 1], cropped to the photo's size.

    Raises:
        StyleError: The file is missing, damaged, larger than `MAX_BYTES`, holds more than
            weights, or those of another network.
    """
    data = _read(path)
    content = _load(data, path)
    facts: dict[str, float] = {}
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        facts = {
            str(key): value
            for key, value in content.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise StyleError(
            f"{path} holds no weights by name: {_EXPECTED}, found was a "
            f"{type(content).__name__}; save the network's state_dict()."
        )
    theirs = {
        str(key).removeprefix("module."): value
        for key, value in content.items()
        if not _LEFT_OVER.search(str(key))
    }
    for family in _FAMILIES:
        if f"{family.grow[0]}.weight" in theirs:
            network = _convert(theirs, family, path)
            return Checkpoint(network, family.project, facts, hashlib.sha256(data).hexdigest())
    first = ", ".join(list(theirs)[:3]) or "nothing"
    raise StyleError(
        f"{path} holds another network: {_EXPECTED}, found were {len(theirs)} values "
        f"({first:.120})."
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise StyleError(f"There is no checkpoint {path}; check the path.") from error
    except OSError as error:
        raise StyleError(
            f"{path} cannot be read ({error.strerror}); check that it is a file that you may read."
        ) from error
    unpacked = len(data)
    if unpacked <= MAX_BYTES and data.startswith(b"PK"):
        # PyTorch stores without compression; anything else may be far larger than the file.
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise StyleError(
                f"{path} is damaged or incomplete ({error}); copy or download it again."
            ) from error
    if unpacked > MAX_BYTES:
        raise StyleError(
            f"{path} is larger than {MAX_BYTES >> 20} MB, and the checkpoints that can be imported "
            "have a tenth of that; check that it is the right file."
        )
    return data


def _load(data: bytes, path: Path) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # on old formats, which we want to read
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # on damaged files torch raises nearly anything
        if type(error).__name__ == "UnpicklingError" and "GLOBAL" in str(error):
            raise StyleError(
                f"{path} holds objects of a program, not weights alone, and is not opened: "
                f"{_EXPECTED}, saved as its state_dict()."
            ) from error
        raise StyleError(
            f"{path} is not a PyTorch checkpoint, or damaged or incomplete: {_EXPECTED}; "
            "copy or download it again."
        ) from error


def _convert(theirs: Mapping[str, Any], family: _Family, path: Path) -> TransformerNet:
    """Fill our network with their weights."""
    blocks = len({key.partition(".")[0] for key in theirs if re.match(r"res\d+\.", key)})
    layers = {"encoder.0.0": "conv1.conv2d", "encoder.1.0": "conv2.conv2d"}
    layers |= {"encoder.2.0": "conv3.conv2d", "to_rgb": family.grow[2]}
    layers |= {"decoder.1.0": family.grow[0], "decoder.3.0": family.grow[1]}
    layers |= {f"encoder.{n}.1": f"in{n + 1}" for n in range(3)}
    layers |= {"decoder.1.1": "in4", "decoder.3.1": "in5"}
    for block in range(blocks):
        ours, other = f"residual.{block}.body", f"res{block + 1}"
        layers |= {f"{ours}.0.0": f"{other}.conv1.conv2d", f"{ours}.0.1": f"{other}.in1"}
        layers |= {f"{ours}.1": f"{other}.conv2.conv2d", f"{ours}.2": f"{other}.in2"}

    widths = [_channels(theirs, f"{name}.weight") for name in ("conv1.conv2d", "conv3.conv2d")]
    try:
        config = NetworkConfig(1, widths[0], widths[1], blocks, linear_output=1)
    except SettingError as error:
        raise StyleError(
            f"{path} holds a network of another size: {_EXPECTED}, found were {widths[0]} and "
            f"{widths[1]} filters and {blocks} residual blocks."
        ) from error
    with torch.device("meta"):
        network = TransformerNet(config)
    state: dict[str, Tensor] = {}
    known = {f"{name}.bias" for name in layers.values()}
    for key, parameter in network.state_dict().items():
        layer, _, kind = key.rpartition(".")
        name = f"{layers[layer]}.{kind}"
        known.add(name)
        state[key] = _tensor(theirs, name, tuple(parameter.shape), path)
    more = theirs.keys() - known
    if more:
        raise StyleError(f"{path} holds another network: {_EXPECTED}, found was {min(more)!r} too.")

    factor, offset = (torch.tensor(values) for values in (family.factor, family.offset))
    state["encoder.0.0.weight"] = state["encoder.0.0.weight"] * factor[:, None, None]
    state["to_rgb.weight"] = state["to_rgb.weight"] / factor[:, None, None, None]
    state["to_rgb.bias"] = (state["to_rgb.bias"] - offset) / factor
    network.load_state_dict(state, assign=True)
    return network.eval()


def _channels(theirs: Mapping[str, Any], name: str) -> int:
    kernel = theirs.get(name)
    return kernel.shape[0] if isinstance(kernel, Tensor) and kernel.ndim == 4 else 0


def _tensor(theirs: Mapping[str, Any], name: str, shape: tuple[int, ...], path: Path) -> Tensor:
    """Check one of their tensors before anything is computed from it."""
    tensor = theirs.get(name)
    found = "nothing" if tensor is None else f"a {type(tensor).__name__}"
    if isinstance(tensor, Tensor):
        found = "×".join(map(str, tensor.shape)) or "a number"
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if plain and tensor.is_floating_point() and tensor.shape == shape:
            return tensor.detach().to("cpu", torch.float32, copy=True)
        found += f" of {tensor.dtype}"
    raise StyleError(
        f"{path} holds another network: {_EXPECTED}, whose {name} is {'×'.join(map(str, shape))}, "
        f"found was {found}."
    )
