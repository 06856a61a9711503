"""The style file: one trained style in one ONNX file.

``NAME.onnx`` is a plain ONNX file. It contains no code, and can be used in other runners, in
browsers and on phones without conversion. The input ``photo`` and the output ``picture`` are
``(N, 3, H, W)``, RGB in [0, 1], with any N, and with H and W of at least 5. The metadata are
``format`` (always ``fststyle``), ``format_version``, ``fststyle_version``, ``network``
(`NetworkConfig` as JSON) and ``style`` (`StyleInfo` as JSON). Weights have the same names as in
`TransformerNet`. Kernels are stored in half precision if this does not visibly change the result.

Files of networks with several styles, or with a dial for the strength, have format version 2. Their
model has the additional inputs of `fststyle.styles.onnx_dial.DialNorm`, which other runners need
not set. Instead of ``style``, the metadata contain ``styles``, a JSON list with an object for each
style: its ``info`` (`StyleInfo`) and its recommended ``strength``. Files of networks with grain
also have format version 2. All other files have format version 1.

A file is rejected unless its graph exactly matches the one that `fststyle.styles.onnx_graph`
builds for its ``network``. Even then, runners never get the file's own graph, only one rebuilt
from the weights. The weights are all that runners use from the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fststyle import __version__
from fststyle.errors import FststyleError, SettingError, StyleError
from fststyle.files import cannot_write, reason, write_atomically
from fststyle.styles.content import OneStyle, StyleFile, norm_of, torch_network
from fststyle.styles.dial import STRONGEST, WEAKEST, dial_position
from fststyle.styles.info import StyleInfo
from fststyle.styles.magnitude import overflows
from fststyle.styles.onnx_graph import (
    build_model,
    foreign_operators,
    has_external_data,
    read_weights,
    rebuild,
)
from fststyle.styles.onnx_norms import Norm
from fststyle.styles.onnx_protobuf import Weights, messages
from fststyle.styles.probe import openvino_runner, probe_photo
from fststyle.styles.shape import NetworkConfig

if TYPE_CHECKING:
    from fststyle.styles.network import TransformerNet

FORMAT_VERSION: Final = 2
"""Latest version of the file format. Files with a later version are rejected."""

MAX_BYTES: Final = 64 * 2**20
"""Largest size of a style file, in bytes. Larger files are rejected."""

_COPY_AGAIN: Final = (
    "The file may be damaged or incomplete. Copy it again, or train the style again."
)
_UNSAFE: Final = "Only use style files from people you trust, or train the style again."


def save_style(network: TransformerNet, info: StyleInfo | Sequence[OneStyle], path: Path) -> None:
    """Write a style file, after checking that the same network can be read from it.

    Kernels are stored as float16 if this does not change any pixel of two test images by more than
    1/255, and as float32 otherwise.

    Args:
        network: A trained network on any device. The network is not modified.
        info: Origin and training of the style. If the network has several styles, or if the
            recommended strength is not 1, a list with an entry for each style.
        path: Path of the new file, with the extension ``.onnx``. The folder is created if
            necessary, and an existing file is replaced.

    Raises:
        StyleError: The network contains NaN or values that overflow (code
            ``diverged``), is too large for a
            style file (``too_large``), or gives different results in OpenVINO and torch
            (``not_verified``).
        SettingError: ``path`` has a different extension (code ``unknown_extension``).
        FststyleError: The file cannot be written. No partial file is left behind after any error.

    Example:
        >>> import tempfile
        >>> from fststyle.styles.network import TransformerNet
        >>> network = TransformerNet(NetworkConfig(width=4, trunk=8, residual_blocks=1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "my_style.onnx")
        ...     save_style(network, StyleInfo("my_style", artist="Me"), path)
        ...     loaded, info = load_style(path)
        >>> info.artist, loaded.config == network.config
        ('Me', True)
    """
    if path.suffix != ".onnx":
        problem, remedy = "{path} does not end with .onnx.", "Choose another name."
        raise SettingError(problem, path=path, remedy=remedy, code="unknown_extension")
    exact = {
        name: tensor.detach().float().cpu().numpy() for name, tensor in network.state_dict().items()
    }
    if overflows(network.config, exact):
        problem = "The training diverged: the network contains NaN, or values that overflow."
        remedy = "Train again with a lower learning rate."
        raise StyleError(problem, remedy=remedy, code="diverged")
    shape = network.config
    styles = (OneStyle(info),) if isinstance(info, StyleInfo) else tuple(info)
    photos = [probe_photo(height, width) for height, width in ((131, 173), (99, 66))]

    with np.errstate(over="ignore"):  # values too large for float16 become infinite, see below
        stored = {n: a.astype(np.float16) if a.ndim == 4 else a for n, a in exact.items()}
    settings = _settings(shape, styles)
    expected = _run_torch(shape, stored, settings, photos)
    originals = _run_torch(shape, exact, settings, photos)
    if not _difference(expected, originals) <= 1 / 255:  # written so that NaN does not pass
        stored, expected = exact, originals

    data = _serialise(shape, styles, stored)
    if len(data) > MAX_BYTES:
        size = f"{len(data) / 2**20:.0f} MB"
        problem = f"The network takes {size}, but the limit is {MAX_BYTES >> 20} MB."
        raise StyleError(problem, remedy="Choose a smaller network.trunk.", code="too_large")
    _check_written(data, path, stored, photos, expected)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path.parent, error, StyleError) from error
    write_atomically(path, data)


def load_style(path: Path) -> tuple[TransformerNet, StyleInfo]:
    """Load a style file as a torch network.

    Args:
        path: A style file.

    Returns:
        The network and the style's information. The network is float32, on the CPU and in
        evaluation mode.

    Raises:
        StyleError: The file cannot be used, as in `read_style`.

    Example:
        >>> from fststyle.styles.find import find_style
        >>> network, info = load_style(find_style("great_wave").path)
        >>> info.artist
        'Katsushika Hokusai'
    """
    content = read_style(path)
    return content.torch_network(), content.info


def read_style(path: Path) -> StyleFile:
    """Read and verify a style file, without torch.

    Args:
        path: A style file.

    Returns:
        The verified content of the file.

    Raises:
        StyleError: The file is missing (code ``not_found``), cannot be read (``cannot_read``), is
            larger than `MAX_BYTES` (``too_large``), is another kind of file (``not_a_style``),
            is damaged (``damaged``), or was made by a newer version of fststyle
            (``newer_version``). Or its graph differs from the one that fststyle writes, for
            example because it refers to another file or contains other operators (``unsafe``).

    Example:
        >>> from fststyle.styles.find import find_network
        >>> from fststyle.styles.style_file import read_style
        >>> read_style(find_network("great_wave").path).info.name
        'great_wave'
    """
    data = read_bytes(path, MAX_BYTES, "style file")
    return _parse(data, path)


def refusal(
    problem: str, path: Path, code: str = "damaged", remedy: str = _COPY_AGAIN
) -> StyleError:
    """Return the error for a file that cannot be used."""
    return StyleError(problem, path=path, remedy=remedy, code=code)


def read_bytes(path: Path, most: int, what: str) -> bytes:
    """Read a file that must not be larger than ``most`` bytes.

    Raises:
        StyleError: The file is missing (code ``not_found``), cannot be read (``cannot_read``), or
            is too large to be ``what`` (``too_large``).
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError as error:
        problem = f"The {what} {{path}} does not exist."
        raise refusal(problem, path, "not_found", "Check the path.") from error
    except OSError as error:
        problem = f"Cannot read {{path}}: {reason(error)}."
        remedy = "Check that it is a file and that you may read it."
        raise refusal(problem, path, "cannot_read", remedy) from error
    if len(data) > most:
        problem = f"{{path}} is larger than {most >> 20} MB, so it is not a {what}."
        raise refusal(problem, path, "too_large", "Choose another file.")
    return data


def read_info(path: Path) -> StyleInfo:
    """Read the style's information from a style file, without torch.

    Args:
        path: A style file.

    Returns:
        Origin and training of the style.

    Raises:
        StyleError: The file cannot be used, as in `read_style`.

    Example:
        >>> from fststyle.styles.find import find_network
        >>> from fststyle.styles.style_file import read_info
        >>> read_info(find_network("great_wave").path).artist
        'Katsushika Hokusai'
    """
    return read_style(path).info


def save_info(source: Path, info: StyleInfo, target: Path) -> None:
    """Copy a style file with new information. The network stays the same.

    Args:
        source: A style file, which may be the same as ``target``.
        info: Information for the new file, about its first style.
        target: Path of the new file, in an existing folder. If writing fails, any existing file is
            left unchanged.

    Raises:
        StyleError: ``source`` cannot be used, as in `read_style`.
        FststyleError: The file cannot be written.
    """
    content = read_style(source)
    styles = (replace(content.styles[0], info=info), *content.styles[1:])
    data = _serialise(content.network, styles, content.weights)
    _parse(data, target)  # never write a file that cannot be read back
    write_atomically(target, data)


def _check_written(
    data: bytes,
    path: Path,
    weights: Weights,
    photos: list[NDArray[np.float32]],
    expected: list[NDArray[np.float32]],
) -> None:
    """Check a new file's weights, and that OpenVINO and torch return the same results."""
    written = _parse(data, path)
    if any(not np.array_equal(written.weights[name], weights[name]) for name in weights):
        problem = "The weights read from {path} differ from those of the network."
        raise refusal(problem, path, "not_verified", "Please report this.")
    # The first setting is the file's default, so it can be checked with the file itself.
    names = [style.info.name for style in written.styles]
    others = _settings(written.network, written.styles)[1:]
    models = [written.selected(names[number]).folded(strength).model for strength, number in others]
    models.insert(0, data)
    actual = [run(photo) for run in map(openvino_runner, models) for photo in photos]
    difference = _difference(actual, expected)
    if not difference <= 0.5 / 255:
        problem = (
            f"OpenVINO's result differs from torch's by {difference:.2g} of the range, so {{path}} "
            "was not written."
        )
        remedy = "Please report this, including the versions of OpenVINO and torch."
        raise refusal(problem, path, "not_verified", remedy)


def _serialise(shape: NetworkConfig, styles: Sequence[OneStyle], weights: Weights) -> bytes:
    if len(styles) != shape.styles:
        raise ValueError(f"{len(styles)} descriptions of {shape.styles} styles")
    model = build_model(shape, weights, norm_of(shape, styles))
    metadata = {
        "format": "fststyle",
        "format_version": str(shape.format_version),
        "fststyle_version": __version__,
        "network": shape.to_json(),
    }
    if shape.format_version == 1:
        metadata["style"] = styles[0].info.to_json()
    else:
        items = [{"info": asdict(style.info), "strength": style.strength} for style in styles]
        metadata["styles"] = json.dumps(items, ensure_ascii=False)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    model.producer_name, model.producer_version = "fststyle", __version__
    serialised: bytes = model.SerializeToString()
    return serialised


def _parse(data: bytes, path: Path) -> StyleFile:
    """Read and check the content of a style file. ``path`` is used in error messages."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]

    try:
        model = messages().ModelProto.FromString(data)
    except DecodeError as error:
        raise refusal("{path} is not an ONNX file.", path, "not_a_style") from error
    # Protobuf returns strings that are not valid UTF-8 as bytes.
    metadata = {e.key: e.value for e in model.metadata_props if isinstance(e.value, str)}
    if metadata.get("format") != "fststyle":
        problem = "{path} is not a style file written by fststyle."
        raise refusal(problem, path, "not_a_style")
    version = metadata.get("format_version", "")
    if not re.fullmatch(r"[1-9][0-9]{0,8}", version):
        raise refusal(f"Unknown format version {version!r:.40} in {{path}}.", path)
    if int(version) > FORMAT_VERSION:
        raise _newer(path)
    shape = _read_shape(metadata.get("network", ""), int(version), path)
    styles = _read_styles(metadata, shape, path)
    rebuilt = _rebuild(model, shape, norm_of(shape, styles), path)
    weights = read_weights(rebuilt)
    if overflows(shape, weights):
        problem = "The weights in {path} contain NaN, or results computed with them overflow."
        raise refusal(problem, path, remedy="Train the style again.")
    return StyleFile(styles, shape, weights)


def _read_shape(text: str, version: int, path: Path) -> NetworkConfig:
    problem = "{path} does not describe the network that it contains."
    try:
        shape = NetworkConfig.from_json(text)
    except SettingError as error:
        if error.code == "unknown_key":
            raise _newer(path) from error
        raise refusal(problem, path) from error
    if version != shape.format_version:
        raise refusal(problem, path)
    return shape


def _read_styles(
    metadata: Mapping[str, str], shape: NetworkConfig, path: Path
) -> tuple[OneStyle, ...]:
    try:
        if shape.format_version == 1:
            return (OneStyle(StyleInfo.from_json(metadata.get("style", ""))),)
        styles = tuple(
            OneStyle(StyleInfo.from_json(json.dumps(item["info"])), item["strength"])
            for item in json.loads(metadata.get("styles", ""))
        )
        if len({style.info.name for style in styles}) != shape.styles or len(styles) > shape.styles:
            raise ValueError(f"it must describe {shape.styles} styles with different names")
    except (FststyleError, KeyError, TypeError, ValueError, RecursionError) as error:
        problem = f"Cannot read the description in {{path}}: {error!s:.300}"
        raise refusal(problem, path, remedy="") from error
    return styles


def _settings(shape: NetworkConfig, styles: Sequence[OneStyle]) -> list[tuple[float, int]]:
    """Return the strengths and styles for which a file is checked. The first is its default."""
    strengths = (WEAKEST, STRONGEST) if shape.dial else () if shape.is_plain else (1.0,)
    rest = [(strength, number) for number in range(shape.styles) for strength in strengths]
    return [(styles[0].strength, 0), *rest]


def _newer(path: Path) -> StyleError:
    problem = "{path} was made by a newer version of fststyle."
    return refusal(problem, path, "newer_version", "Update fststyle.")


def _rebuild(model: Any, shape: NetworkConfig, norm: Norm, path: Path) -> Any:
    """Rebuild the model from its weights, or reject a model that contains anything else."""
    foreign = foreign_operators(model)
    if has_external_data(model):
        problem = "{path} refers to another file, which style files never do."
    elif foreign:
        problem = f"{{path}} contains the operator {foreign[0]!r:.80}, which style files never use."
    else:
        try:
            return rebuild(model, shape, norm)
        except ValueError as error:
            problem = f"{{path}} does not contain the network that it describes ({error!s:.200})."
    raise refusal(problem, path, "unsafe", _UNSAFE)


def _run_torch(
    shape: NetworkConfig,
    weights: Weights,
    settings: Sequence[tuple[float, int]],
    photos: list[NDArray[np.float32]],
) -> list[NDArray[np.float32]]:
    import torch

    network = torch_network(shape, weights)
    with torch.inference_mode():
        return [
            network(torch.from_numpy(photo), float(dial_position(strength)), style).numpy()
            for strength, style in settings
            for photo in photos
        ]


def _difference(actual: list[NDArray[np.float32]], expected: list[NDArray[np.float32]]) -> float:
    differences = [np.abs(a - e).max() for a, e in zip(actual, expected, strict=True)]
    return float(np.max(differences))
