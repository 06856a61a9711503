"""A request to optimise one photo, with its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

OPTIMIZE_SIZE: Final = 512
"""Long side in pixels at which a photo is optimised unless a size is given."""


@dataclass(frozen=True)
class OptimizeRequest:
    """The optimisation of one photo.

    Attributes:
        photo: Path of the photo.
        style: Path of the style image, or the name of an artwork or style.
        output: Path of the result.
        size: Long side of the result in pixels; ``full`` for the photo's own; None for
            `OPTIMIZE_SIZE`, or as the loss preset's source does it.
        init: Start from ``content`` (the photo), ``noise``, ``style`` (what the style's network
            makes of the photo), an image, or a style file.
        loss: Name of the loss preset.
        loss_values: Values of the loss that replace those of the preset.
        optimizer_values: Values of the optimiser that replace those of the preset.
        vgg_weights: File with the weights of VGG; None to use those found.
        save_every: Also save the image every `save_every` iterations.
        sheet: Path of a PNG with the photo, the style image, the result and the loss curve.
        json: Print a line of JSON for each iteration.
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
