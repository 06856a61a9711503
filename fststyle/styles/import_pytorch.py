"""Import networks that other programs trained: PyTorch checkpoints of two well-known projects.

They are pytorch/examples (``fast_neural_style``) and gordicaleksa's
pytorch-neural-style-transfer-johnson. Both have the network of `TransformerNet` with first
stride 1, pad every convolution by reflection and upsample to the nearest neighbour. The
differences are folded into the weights, exactly:

- *The photo's range.* Theirs is a·photo + b by channels. The factor goes into the first
  convolution. The offset adds a constant to each of its channels, at the borders too, because
  reflection keeps a constant photo constant. The instance norm after it removes that constant.
- *Biases before instance norms* add constants in the same way, and are left out.
- *The result's range.* Theirs, c·result + d, is undone in the last convolution. Only the clamp to
  [0, 1] follows it: ``linear_output`` of `NetworkConfig`.

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
    "Only networks of pytorch/examples (fast_neural_style) and of "
    "gordicaleksa/pytorch-neural-style-transfer-johnson can be imported."
)
_COPY_AGAIN: Final = "Copy or download it again."
# Values that old versions of PyTorch stored for instance norms and never used.
_LEFT_OVER: Final = re.compile(r"\.(running_mean|running_var|num_batches_tracked)$")


@dataclass(frozen=True)
class _Family:
    """Checkpoints of one program.

    Attributes:
        project: The program's repository.
        grow: Prefixes of the layers after the residual blocks.
        factor: Factors of the photo's and the result's channels.
        offset: Offsets of the photo's and the result's channels.
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
        network: An equal `TransformerNet`, on the CPU and in evaluation mode.
        project: The repository of the program that wrote it.
        facts: Values that it stores about its training, as JSON can hold them.
        sha256: SHA-256 of the file, hexadecimal.
    """

    network: TransformerNet
    project: str
    facts: Mapping[str, float]
    sha256: str


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of pytorch/examples or gordicaleksa, without running anything in it.

    Args:
        path: A ``.pth`` or ``.model`` file, in PyTorch's new or old format.

    Returns:
        The network. Its results equal the original's, clamped to [0, 1] and cropped to the
        photo's size.

    Raises:
        StyleError: The file is missing (code ``not_found``), cannot be read (``cannot_read``), is
            damaged (``damaged``) or larger than `MAX_BYTES` (``too_large``), holds more than
            weights (``unsafe``), or holds another network (``other_network``).
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
        raise _other_network(path, f"a {type(content).__name__}, not weights by name")
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
    return StyleError(
        f"{{path}} holds another network: {found}.",
        path=path,
        remedy=_EXPECTED,
        code="other_network",
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise StyleError(
            "There is no checkpoint {path}.", path=path, remedy="Check the path.", code="not_found"
        ) from error
    except OSError as error:
        raise StyleError(
            f"Cannot read {{path}} ({error.strerror}).",
            path=path,
            remedy="Check that it is a file that you may read.",
            code="cannot_read",
        ) from error
    unpacked = len(data)
    if unpacked <= MAX_BYTES and data.startswith(b"PK"):
        # PyTorch does not compress. Compressed content may be far larger than the file.
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise StyleError(
                f"{{path}} is damaged or incomplete ({error}).",
                path=path,
                remedy=_COPY_AGAIN,
                code="damaged",
            ) from error
    if unpacked > MAX_BYTES:
        raise StyleError(
            f"{{path}} is larger than {MAX_BYTES >> 20} MB, ten times the usual size of a network.",
            path=path,
            remedy="Check that it is the right file.",
            code="too_large",
        )
    return data


def _load(data: bytes, path: Path) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # about old formats
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises almost anything for damaged files
        if type(error).__name__ == "UnpicklingError" and "GLOBAL" in str(error):
            raise StyleError(
                "{path} holds a program's objects, not only weights, so it is not opened.",
                path=path,
                remedy=f"Save the network's state_dict(). {_EXPECTED}",
                code="unsafe",
            ) from error
        raise StyleError(
            "{path} is not a PyTorch checkpoint, or it is damaged or incomplete.",
            path=path,
            remedy=f"{_COPY_AGAIN} {_EXPECTED}",
            code="damaged",
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
        raise _other_network(path, f"it has {min(more)!r} too")

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
    expected = "×".join(map(str, shape))
    raise _other_network(path, f"{name} should have the shape {expected}, but is {found}")
