"""Import networks trained by other programs: PyTorch checkpoints from two well-known projects.

The two projects are pytorch/examples (``fast_neural_style``) and gordicaleksa's
pytorch-neural-style-transfer-johnson. Both use the architecture of `TransformerNet` with a first
stride of 1, reflection padding for every convolution, and nearest-neighbour upsampling. The
remaining differences are folded into the weights, without changing the results:

- *Input range.* Their networks expect a·photo + b for each channel. The factor a is folded into
  the first convolution. The offset b would only add a constant to each output channel of that
  convolution, even at the borders, because reflection padding keeps a constant photo constant.
  The instance norm that follows removes this constant, so b is ignored.
- *Biases before instance norms.* They also add only constants, so they are ignored.
- *Output range.* Their networks return c·result + d. The last convolution is changed to return
  the result itself, followed only by a clamp to [0, 1] (``linear_output`` in `NetworkConfig`).

Nothing in a checkpoint is executed: torch reads only tensors and plain containers from it.
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
from fststyle.styles.style_file import read_bytes, refusal

MAX_BYTES: Final = 256 * 2**20
"""Largest size in bytes of a checkpoint, both before and after unpacking."""

_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_STD: Final = (0.229, 0.224, 0.225)

_EXPECTED: Final = (
    "Only networks from pytorch/examples (fast_neural_style) and "
    "gordicaleksa/pytorch-neural-style-transfer-johnson can be imported."
)
_COPY_AGAIN: Final = "Copy or download the file again."
# Values that old versions of PyTorch stored for instance norms but never used.
_LEFT_OVER: Final = re.compile(r"\.(running_mean|running_var|num_batches_tracked)$")


@dataclass(frozen=True)
class _Family:
    """The checkpoint format of one project.

    Attributes:
        project: Name of the project's repository.
        grow: Name prefixes of the layers after the residual blocks.
        factor: Scale factor for each channel of the photo and the result.
        offset: Offset for each channel of the photo and the result.
    """

    project: str
    grow: tuple[str, str, str]
    factor: tuple[float, ...]
    offset: tuple[float, ...]


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
        factor=tuple(1 / std for std in _IMAGENET_STD),
        offset=tuple(-mean / std for mean, std in zip(_IMAGENET_MEAN, _IMAGENET_STD, strict=True)),
    ),
)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network trained by another program.

    Attributes:
        network: The equivalent `TransformerNet`, on the CPU and in evaluation mode.
        project: Repository of the program that wrote the checkpoint.
        facts: Numbers that the checkpoint stores about its training run, by name.
        sha256: Hexadecimal SHA-256 checksum of the file.
    """

    network: TransformerNet
    project: str
    facts: Mapping[str, float]
    sha256: str


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint from pytorch/examples or gordicaleksa, without executing code from it.

    Args:
        path: Path of a ``.pth`` or ``.model`` file, in PyTorch's new or old format.

    Returns:
        The checkpoint. The results of its network equal those of the original network, clamped
        to [0, 1] and cropped to the photo's size.

    Raises:
        StyleError: The file is missing (code ``not_found``), cannot be read (``cannot_read``), is
            damaged (``damaged``), is larger than `MAX_BYTES` (``too_large``), contains more than
            weights (``unsafe``), or contains another kind of network (``other_network``).
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
        raise _other_network(path, f"a {type(content).__name__} instead of named weights")
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
    raise _other_network(path, f"{len(theirs)} values ({first:.120})")


def _other_network(path: Path, found: str) -> StyleError:
    problem = f"{{path}} contains another kind of network: {found}."
    return refusal(problem, path, "other_network", _EXPECTED)


def _read(path: Path) -> bytes:
    data = read_bytes(path, MAX_BYTES, "checkpoint")
    if not data.startswith(b"PK"):
        return data
    # PyTorch does not compress its files, but others may unpack to far more than their size.
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        problem = f"{{path}} is damaged or incomplete ({error})."
        raise refusal(problem, path, remedy=_COPY_AGAIN) from error
    if unpacked > MAX_BYTES:
        problem = f"{{path}} unpacks to more than {MAX_BYTES >> 20} MB, so it is not a checkpoint."
        raise refusal(problem, path, "too_large", "Choose another file.")
    return data


def _load(data: bytes, path: Path) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # warnings about old formats
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises almost anything for damaged files
        if type(error).__name__ == "UnpicklingError" and "GLOBAL" in str(error):
            problem = "{path} contains Python objects in addition to weights, so it was not opened."
            remedy = f"Save only the network's state_dict(). {_EXPECTED}"
            raise refusal(problem, path, "unsafe", remedy) from error
        problem = "{path} is not a PyTorch checkpoint, or it is damaged or incomplete."
        raise refusal(problem, path, remedy=f"{_COPY_AGAIN} {_EXPECTED}") from error


def _convert(theirs: Mapping[str, Any], family: _Family, path: Path) -> TransformerNet:
    """Create a `TransformerNet` with the weights of a checkpoint."""
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
        found = f"{widths[0]} and {widths[1]} filters and {blocks} residual blocks"
        raise _other_network(path, found) from error
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
        raise _other_network(path, f"it also has {min(more)!r}")

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
    """Return a tensor of a checkpoint, after checking its type and shape."""
    tensor = theirs.get(name)
    found = "nothing" if tensor is None else f"a {type(tensor).__name__}"
    if isinstance(tensor, Tensor):
        found = "×".join(map(str, tensor.shape)) or "a number"
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if plain and tensor.is_floating_point() and tensor.shape == shape:
            return tensor.detach().to("cpu", torch.float32, copy=True)
        found += f" of {tensor.dtype}"
    expected = "×".join(map(str, shape))
    raise _other_network(path, f"{name} should have the shape {expected}, but is {found}")
