"""The style file: one trained style in one ONNX file.

``NAME.onnx`` is plain ONNX: it holds no code, and other runners, browsers and phones use it as
it is. Input ``photo`` and output ``picture`` are ``(N, 3, H, W)``, RGB in [0, 1], of any N and
of any H and W from 5. The metadata are ``format`` = ``fststyle``, ``format_version``,
``fststyle_version``, ``network`` (`NetworkConfig` as JSON) and ``style`` (`StyleInfo` as JSON).
Weights bear the names that they have in `TransformerNet`; kernels are stored in half precision
where that does not show in the picture.

A file whose graph is not exactly the one that `fststyle.styles.onnx_graph` builds for its
``network`` is refused, and what a runner gets is that graph built anew from the weights, so nothing
in a file but numbers ever reaches it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from fststyle import __version__
from fststyle.errors import SettingError, StyleError
from fststyle.files import write_atomically
from fststyle.openvino_core import openvino_core
from fststyle.styles.info import StyleInfo
from fststyle.styles.onnx_graph import (
    Weights,
    build_model,
    foreign_operators,
    has_external_data,
    read_weights,
    rebuild,
)
from fststyle.styles.onnx_protobuf import messages

if TYPE_CHECKING:
    from torch import Tensor

    from fststyle.styles.network import TransformerNet

FORMAT_VERSION: Final = 1
"""Files of a later version are refused."""

MAX_BYTES: Final = 64 * 2**20
"""Files that are larger are refused."""


_KEYS: Final = ("first_stride", "width", "trunk", "residual_blocks", "linear_output")
_NETWORK_KEYS: Final = dict(zip(_KEYS, (1, 1, 1, 0, 0), strict=True))  # with lowest values
_EARLIER_NETWORK_KEYS: Final = frozenset(("width", "residual_blocks", "linear_output"))


@dataclass(frozen=True, eq=False)
class StyleFile:
    """The checked content of a style file.

    Attributes:
        info: Where the style comes from and how it was trained.
        network: The values of the `NetworkConfig`.
        weights: By their names in `TransformerNet`, as stored: kernels in float16 or float32,
            everything else in float32.
        model: An ONNX model for a runner, made from ``network`` and ``weights`` alone.
    """

    info: StyleInfo
    network: Mapping[str, int]
    weights: Weights
    model: bytes


def save_style(network: TransformerNet, info: StyleInfo, path: Path) -> None:
    """Write a style file, after checking that it gives back the network.

    Kernels are stored as float16 if no pixel of two test pictures changes by more than 1/255
    by it, else as float32.

    Args:
        network: A trained network on any device; it is left as it is.
        info: Where the style comes from and how it was trained.
        path: Ends in ``.onnx``. Its folder is made where need be, a file there is replaced.

    Raises:
        StyleError: The network holds NaN or infinity, is too large for a style file, or does
            not give the same picture in OpenVINO as in torch.
        SettingError: ``path`` does not end in ``.onnx``.
        FststyleError: The file cannot be written. Nothing is left behind, whatever happens.
    """
    if path.suffix != ".onnx":
        raise SettingError(f"{path} must end in .onnx to be found as a style file.")
    exact = {
        name: tensor.detach().float().cpu().numpy() for name, tensor in network.state_dict().items()
    }
    if not all(np.isfinite(array).all() for array in exact.values()):
        raise StyleError(
            "The network holds NaN or infinity, so its training has diverged; "
            "train again with a lower learning rate."
        )
    config = asdict(network.config)
    photos = [probe_photo(height, width) for height, width in ((131, 173), (99, 66))]

    with np.errstate(over="ignore"):  # too large for float16: infinite, and found out below
        stored = {n: a.astype(np.float16) if a.ndim == 4 else a for n, a in exact.items()}
    pictures = _run_torch(config, stored, photos)
    originals = _run_torch(config, exact, photos)
    if not _difference(pictures, originals) <= 1 / 255:  # written so that NaN does not pass
        stored, pictures = exact, originals

    data = _serialise(config, info, stored)
    if len(data) > MAX_BYTES:
        raise StyleError(
            f"The network takes {len(data) / 2**20:.0f} MB, but a style file at most "
            f"{MAX_BYTES >> 20} MB; choose a smaller network.trunk."
        )
    written = _parse(data, str(path))
    if any(not np.array_equal(written.weights[name], stored[name]) for name in stored):
        raise StyleError(f"{path.name} does not give back its weights; please report this.")
    difference = _difference(_run_openvino(data, photos), pictures)
    if not difference <= 0.5 / 255:
        raise StyleError(
            f"OpenVINO's picture differs from torch's by {difference:.2g} of the range, so "
            f"{path.name} was not written; please report this with the versions of both."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StyleError(
            f"The folder {path.parent} cannot be made ({error.strerror}); choose another one."
        ) from error
    write_atomically(path, data)


def load_style(path: Path) -> tuple[TransformerNet, StyleInfo]:
    """Read a style file into torch.

    Args:
        path: A style file.

    Returns:
        The network, float32, on the CPU and in evaluation mode, and the style's information.

    Raises:
        StyleError: As in `read_style`, or torch's network cannot have that configuration.
    """
    content = read_style(path)
    try:
        network = _network(content.network, content.weights)
    except SettingError as error:
        raise StyleError(f"{path} is out of range: {error}") from error
    return network, content.info


def read_style(path: Path) -> StyleFile:
    """Read and check a style file without torch.

    Args:
        path: A style file.

    Returns:
        Its content.

    Raises:
        StyleError: The file is missing, damaged, larger than `MAX_BYTES`, no style file, made by
            a newer fststyle or before the first release, or its graph is not the one that
            fststyle writes: it refers to another file, say, or holds another operator.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise StyleError(
            f"There is no style file {path}; 'fststyle styles' lists the styles there are."
        ) from error
    except OSError as error:
        raise StyleError(
            f"{path} cannot be read ({error.strerror}); check that it is a file that you may read."
        ) from error
    if len(data) > MAX_BYTES:
        raise StyleError(
            f"{path} is larger than {MAX_BYTES >> 20} MB and so no style file; "
            "choose a file that fststyle wrote."
        )
    return _parse(data, str(path))


def inspect_style(path: Path) -> tuple[Mapping[str, int], StyleInfo]:
    """Read the network's configuration and the information of a style file, without torch.

    Args:
        path: A style file.

    Returns:
        The values of the `NetworkConfig`, and the style's information.

    Raises:
        StyleError: As in `read_style`.
    """
    content = read_style(path)
    return content.network, content.info


def read_info(path: Path) -> StyleInfo:
    """Read the information of a style file, without torch.

    Args:
        path: A style file.

    Returns:
        Where the style comes from and how it was trained.

    Raises:
        StyleError: As in `read_style`.
    """
    return read_style(path).info


def save_info(source: Path, info: StyleInfo, target: Path) -> None:
    """Write a style file again with other information; the network stays as it is.

    Args:
        source: A style file; it may be ``target``.
        info: What the new file says of itself.
        target: Its folder is there; a file there is replaced whole or not at all.

    Raises:
        StyleError: As in `read_style`.
        FststyleError: The file cannot be written.
    """
    content = read_style(source)
    data = _serialise(content.network, info, content.weights)
    _parse(data, str(target))  # nobody gets a file that is not read back
    write_atomically(target, data)


def _serialise(config: Mapping[str, int], info: StyleInfo, weights: Weights) -> bytes:
    model = build_model(config, weights)
    metadata = {
        "format": "fststyle",
        "format_version": str(FORMAT_VERSION),
        "fststyle_version": __version__,
        "network": json.dumps({k: n for k, n in config.items() if n or k != "linear_output"}),
        "style": info.to_json(),
    }
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    model.producer_name, model.producer_version = "fststyle", __version__
    serialised: bytes = model.SerializeToString()
    return serialised


def _parse(data: bytes, path: str) -> StyleFile:
    """Check the bytes of a style file; ``path`` is for the messages."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]

    damaged = "the file is damaged or incomplete; copy or train it again."
    try:
        model = messages().ModelProto.FromString(data)
    except DecodeError as error:
        raise StyleError(f"{path} is not an ONNX file, or {damaged}") from error
    # Protobuf hands over text that is not UTF-8 as bytes.
    metadata = {e.key: e.value for e in model.metadata_props if isinstance(e.value, str)}
    if metadata.get("format") != "fststyle":
        raise StyleError(
            f"{path} is not an fststyle style file (such as 'python train.py' writes), or {damaged}"
        )
    version = metadata.get("format_version", "")
    if not re.fullmatch(r"[1-9][0-9]{0,8}", version):
        raise StyleError(f"{path} has the format version {version!r:.40}: {damaged}")
    newer = f"{path} was made by a newer fststyle; run 'pip install -U fststyle'."
    if int(version) > FORMAT_VERSION:
        raise StyleError(newer)
    try:
        network = {"linear_output": 0} | json.loads(metadata.get("network", ""))
    except (ValueError, TypeError, RecursionError):
        network = None
    if network is not None and network.keys() == _EARLIER_NETWORK_KEYS:
        raise StyleError(f"{path} is of an earlier fststyle; train the style again.")
    if network is None or any(
        type(network.get(key)) is not int or network[key] < lowest
        for key, lowest in _NETWORK_KEYS.items()
    ):
        raise StyleError(f"{path} does not say what network it holds: {damaged}")
    if network.keys() != _NETWORK_KEYS.keys():
        raise StyleError(newer)
    try:
        info = StyleInfo.from_json(metadata.get("style", ""))
    except StyleError as error:
        raise StyleError(f"{path} cannot be used: {error!s:.300}") from error

    unsafe = "only use style files from people whom you trust, or train the style again."
    if has_external_data(model):
        raise StyleError(f"{path} refers to another file, which no style file does; {unsafe}")
    foreign = foreign_operators(model)
    if foreign:
        raise StyleError(
            f"{path} holds the operator {foreign[0]!r:.80}, which no style file does; {unsafe}"
        )
    try:
        rebuilt = rebuild(model, network)
    except ValueError as error:
        raise StyleError(
            f"{path} does not hold the network that it names ({error!s:.200}); {unsafe}"
        ) from error
    weights = read_weights(rebuilt)
    if not all(np.isfinite(array).all() for array in weights.values()):
        raise StyleError(f"{path} holds NaN or infinity for weights; train the style again.")
    return StyleFile(info, network, weights, rebuilt.SerializeToString())


def _network(config: Mapping[str, int], weights: Weights) -> TransformerNet:
    import torch

    from fststyle.styles.network import TransformerNet
    from fststyle.styles.shape import NetworkConfig

    # On the meta device nothing is drawn for an initialisation that would be overwritten.
    with torch.device("meta"):
        network = TransformerNet(NetworkConfig(**config))
    state: dict[str, Tensor] = {
        name: torch.tensor(array.astype(np.float32)) for name, array in weights.items()
    }
    network.load_state_dict(state, assign=True)
    return network.eval()


def probe_photo(height: int, width: int) -> NDArray[np.float32]:
    """Make a picture (1, 3, H, W) with structure at all scales as photos have, always the same."""
    random = np.random.default_rng(0)
    photo = np.zeros((1, 3, height, width), np.float32)
    for step in (64, 32, 16, 8, 4, 2, 1):
        coarse = random.standard_normal((1, 3, height // step + 1, width // step + 1))
        fine = coarse.repeat(step, axis=2).repeat(step, axis=3)
        photo += step**0.5 * fine[:, :, :height, :width].astype(np.float32)
    photo -= photo.min()
    photo /= photo.max()
    return photo


def _run_torch(
    config: Mapping[str, int], weights: Weights, photos: list[NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    import torch

    network = _network(config, weights)
    with torch.inference_mode():
        return [network(torch.from_numpy(photo)).numpy() for photo in photos]


def _run_openvino(model: bytes, photos: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    core = openvino_core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(model, b""), "CPU", settings)
    return [compiled([photo])[0] for photo in photos]


def _difference(actual: list[NDArray[np.float32]], expected: list[NDArray[np.float32]]) -> float:
    differences = [np.abs(a - e).max() for a, e in zip(actual, expected, strict=True)]
    return float(np.max(differences))
