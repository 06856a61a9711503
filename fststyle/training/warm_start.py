"""Warm start: training begins with the weights of a network that knows another style.

What a transformer network learns first is common to all styles: to see edges and faces, and to
paint without seams. A network of another style has that, and needs a fraction of the steps.
Fritz and others recommend it and leave the choice to the user; here the nearest one is found.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from fststyle.errors import StyleError
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.styles.find import find_network, zoo_folder
from fststyle.styles.network import TransformerNet
from fststyle.styles.shape import NetworkConfig
from fststyle.styles.style_file import inspect_style, load_style

log = logging.getLogger(__name__)


def starting_network(
    init: str | None,
    config: NetworkConfig,
    loss: PerceptualLoss,
    photos: Tensor,
    picture_sha256: str,
) -> tuple[TransformerNet, str] | None:
    """The network that training starts from, as the setting ``init`` says.

    Args:
        init: None or ``"none"``: random weights; ``"nearest"``: the nearest of the shipped
            networks; a folder: the nearest of its style files; else a style's name or path.
        config: The shape of the network that is to be trained.
        loss: Its loss, which holds the style.
        photos: ``(N, 3, H, W)``, RGB in [0, 1], by which the nearest is found.
        picture_sha256: Of the style picture's file.

    Returns:
        The network and the name of its style, or None for random weights.

    Raises:
        StyleError: There is no such style, it is a picture only, or has another shape.
    """
    if init is None or init == "none":
        return None
    folder = zoo_folder() if init == "nearest" else Path(init)
    if folder.is_dir():
        return nearest_network(folder.glob("*.onnx"), config, loss, photos, picture_sha256)
    return network_from(find_network(init).path, config)


def check_start(init: str | None) -> None:
    """Find out early whether there is what `starting_network` will be asked for.

    Raises:
        StyleError: There is no such style.
    """
    if init not in (None, "none", "nearest") and not Path(str(init)).is_dir():
        find_network(str(init))


def nearest_network(
    candidates: Iterable[Path],
    config: NetworkConfig,
    loss: PerceptualLoss,
    photos: Tensor,
    picture_sha256: str,
) -> tuple[TransformerNet, str] | None:
    """Find the network whose pictures are nearest to a style, by the distance of Gram matrices.

    Args:
        candidates: Style files. Those of another shape are passed over, and those that were
            trained on this very picture: whoever wants such a network has it already.
        config: The shape of the network that is to be trained.
        loss: Its loss, which holds the style.
        photos: ``(N, 3, H, W)``, RGB in [0, 1], which the candidates stylise.
        picture_sha256: Of the style picture's file.

    Returns:
        The network with the lowest style loss and its name, or None if there is no candidate.
    """
    nearest: tuple[float, TransformerNet, str] | None = None
    for path in sorted(candidates):
        try:
            shape, info = inspect_style(path)
        except StyleError as error:
            log.warning("%s is no candidate for a warm start: %s", path.name, error)
            continue
        same_picture = picture_sha256 and info.style_image_sha256 == picture_sha256
        if shape != config or same_picture:
            continue
        network, _ = load_style(path)
        distance = _style_distance(network, loss, photos)
        if nearest is None or distance < nearest[0]:
            nearest = distance, network, info.name
    return None if nearest is None else nearest[1:]


def network_from(path: Path, config: NetworkConfig) -> tuple[TransformerNet, str]:
    """Load a network to start from.

    Args:
        path: A style file.
        config: The shape that it must have.

    Returns:
        The network and its style's name.

    Raises:
        StyleError: It cannot be read, or has another shape.
    """
    shape, _ = inspect_style(path)
    network, info = load_style(path)
    if network.config != config:
        settings = " ".join(f"network.{key}={value}" for key, value in asdict(shape).items())
        raise StyleError(
            f"The network in {path} has another shape, so training cannot start from it; "
            f"give {settings}, or init=none."
        )
    return network, info.name


@torch.no_grad()
def _style_distance(network: TransformerNet, loss: PerceptualLoss, photos: Tensor) -> float:
    weights = loss.config.style_layers
    total = 0.0
    for photo in photos:
        targets = loss.content_targets(photo[None])
        losses = loss.relative(network(photo[None]), targets)
        total += sum(weights[layer] * float(value.mean()) for layer, value in losses.style.items())
    return total
