"""A request to optimise one photo, with its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

OPTIMIZE_SIZE: Final = 512
"""Long side, in pixels, at which a photo is optimised by default."""


@dataclass(frozen=True)
class OptimizeRequest:
    """A request to optimise one photo.

    Attributes:
        photo: Path of the photo.
        style: Path of the style image, or the name of an artwork or style.
        output: Path of the result.
        size: Long side of the result in pixels, or ``full`` for the size of the photo. ``None``
            means `OPTIMIZE_SIZE`. The preset ``keras_vgg16`` then works on a square.
        init: Starting point: ``content`` (the photo), ``noise``, ``style`` (the result of the
            style's network), or the path of an image or a style file.
        loss: Name of the loss preset.
        loss_values: Loss settings that override those of the preset.
        optimizer_values: Optimiser settings that override those of the preset.
        vgg_weights: File with the VGG weights, or ``None`` to find them automatically.
        save_every: Number of iterations between intermediate images, or ``None`` to save none.
        sheet: Path of a PNG file that shows the photo, the style image, the result and the loss
            curve, or ``None`` to omit it.
        json: Whether to print a line of JSON for each iteration.
    """

    photo: Path
    style: str
    output: Path
    size: int | Literal["full"] | None = None
    init: str = "content"
    loss: str = "calibrated"
    loss_values: Mapping[str, Any] = field(default_factory=dict)
    optimizer_values: Mapping[str, Any] = field(default_factory=dict)
    vgg_weights: str | None = None
    save_every: int | None = None
    sheet: Path | None = None
    json: bool = False
