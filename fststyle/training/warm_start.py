"""Warm start: training starts from the weights of a network for another style.

Whatever the style, a transformer network first learns to detect edges and shapes and to paint
without seams. A network for another style has already learned this, so it needs only a fraction of
the steps. Fritz and others recommend warm starts and let the user choose the network. This module
can also find the nearest network automatically.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from fststyle.errors import StyleError
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.styles.dial import fold_dial, select_style
from fststyle.styles.find import find_network, zoo_folder
from fststyle.styles.network import TransformerNet
from fststyle.styles.shape import NetworkConfig
from fststyle.styles.style_file import load_style, read_style

log = logging.getLogger(__name__)


def starting_network(
    init: str | None,
    config: NetworkConfig,
    loss: PerceptualLoss,
    photos: Tensor,
    style_image_sha256: str,
) -> tuple[TransformerNet, str] | None:
    """Find the network to start training from.

    Args:
        init: ``None`` or ``"none"`` for random weights; ``"nearest"`` for the nearest of the
            included networks; a folder for the nearest of its networks; otherwise the name or
            path of a style.
        config: Shape of the network to train.
        loss: Loss for the style to train.
        photos: Photos ``(N, 3, H, W)``, RGB in [0, 1], on which the networks are compared.
        style_image_sha256: SHA-256 hash of the style image file.

    Returns:
        The network and the name of its style, or ``None`` for random weights.

    Raises:
        StyleError: The style does not exist, or its network has a different shape.
    """
    if init in (None, "none"):
        return None
    init = os.path.expanduser(str(init))
    folder = zoo_folder() if init == "nearest" else Path(init)
    if folder.is_dir():
        return nearest_network(folder.glob("*.onnx"), config, loss, photos, style_image_sha256)
    return network_from(find_network(init).path, config)


def check_start(init: str | None) -> None:
    """Check early that `starting_network` will find the style.

    Raises:
        StyleError: The style does not exist, or it does not have a network.
    """
    path = Path(str(init)).expanduser()
    if init not in (None, "none", "nearest") and not path.is_dir():
        find_network(str(path))


def nearest_network(
    candidates: Iterable[Path],
    config: NetworkConfig,
    loss: PerceptualLoss,
    photos: Tensor,
    style_image_sha256: str,
) -> tuple[TransformerNet, str] | None:
    """Find the network whose results are nearest to a style, measured by its style loss.

    Args:
        candidates: Style files. Networks with a different shape are skipped. Networks for the same
            style image are also skipped, because there would be little left to train.
        config: Shape of the network to train.
        loss: Loss for the style to train.
        photos: Photos ``(N, 3, H, W)``, RGB in [0, 1], that each candidate stylises.
        style_image_sha256: SHA-256 hash of the style image file.

    Returns:
        The network with the lowest style loss and the name of its style, or ``None`` if there are
        no suitable candidates.
    """
    nearest: tuple[float, TransformerNet, str] | None = None
    for path in sorted(candidates):
        try:
            style = read_style(path)
        except StyleError as error:
            log.warning("Cannot start from %s: %s", path.name, error)
            continue
        same_image = style_image_sha256 and style.info.style_image_sha256 == style_image_sha256
        if not _fits(style.network, config) or same_image:
            continue
        network = _extended(load_style(path)[0], config)
        distance = _style_distance(network, loss, photos)
        if nearest is None or distance < nearest[0]:
            nearest = distance, network, style.info.name
    return None if nearest is None else nearest[1:]


def network_from(path: Path, config: NetworkConfig) -> tuple[TransformerNet, str]:
    """Load a network to start from.

    Args:
        path: Style file.
        config: Shape that the network must have.

    Returns:
        The network and the name of its style.

    Raises:
        StyleError: The file cannot be read, or the network has a different shape (code
            ``other_shape``).
    """
    network, info = load_style(path)
    if not _fits(network.config, config):
        shape = " ".join(f"network.{key}={value}" for key, value in asdict(network.config).items())
        raise StyleError(
            "The network in {path} has a different shape, so training cannot start from it.",
            path=path,
            remedy=f"Set {shape}, or init=none.",
            code="other_shape",
        )
    return _extended(network, config), info.name


def _fits(shape: NetworkConfig, config: NetworkConfig) -> bool:
    """Return whether two shapes have the same kernels. Styles, dial and grain may differ."""
    return replace(shape, styles=config.styles, dial=config.dial, grain=config.grain) == config


def _extended(network: TransformerNet, config: NetworkConfig) -> TransformerNet:
    """Return a network with another number of styles, or with or without a dial.

    Each of its styles is the first style of ``network``, at strength 1. At first, a new dial has no
    effect.
    """
    if network.config == config:
        return network
    arrays = {name: value.numpy() for name, value in network.state_dict().items()}
    shape, weights = select_style(network.config, arrays, 0)
    if shape.dial:
        _, weights = fold_dial(shape, weights)
    with torch.random.fork_rng():
        extended = TransformerNet(config).eval()
    state = extended.state_dict()
    for name, array in weights.items():
        state[name].copy_(torch.from_numpy(array))  # (C,) to (S, C)
    return extended


@torch.no_grad()
def _style_distance(network: TransformerNet, loss: PerceptualLoss, photos: Tensor) -> float:
    weights = loss.config.style_layers
    total = 0.0
    for photo in photos:
        targets = loss.content_targets(photo[None])
        losses = loss.relative(network(photo[None]), targets)
        total += sum(weights[layer] * float(value.mean()) for layer, value in losses.style.items())
    return total
