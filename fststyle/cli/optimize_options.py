"""The options of ``fststyle optimize``, without torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from fststyle.cli.arguments import positive, whole_number

OPTIMISE_SIZE: Final = 512
"""Long side at which a photo is optimised unless ``--size`` says otherwise, in pixels."""


def add_optimise_options(command: argparse.ArgumentParser) -> None:
    """Add the options of ``fststyle optimize``."""
    command.add_argument("photo", type=Path)
    command.add_argument("--style", required=True, help="a picture, or the name of an artwork")
    command.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    command.add_argument(
        "--size",
        type=_pixels_or_full,
        help=f"long side in pixels, or full; default {OPTIMISE_SIZE}",
    )
    command.add_argument(
        "--init",
        default="content",
        help="content, noise, style (its network's output), a picture or a style file",
    )
    command.add_argument(
        "--optimizer", dest="method", choices=("lbfgs", "adam"), help="default: the preset's own"
    )
    command.add_argument(
        "--iterations",
        type=positive,
        help="in a round, at each scale; default: 100, or as the recipe has it",
    )
    command.add_argument("--rounds", type=positive, help="L-BFGS begins anew with each")
    command.add_argument("--learning-rate", type=float)
    command.add_argument(
        "--scale-factor",
        type=float,
        help=f"coarse to fine by this factor (1: one scale); default 2 above {OPTIMISE_SIZE} px",
    )
    command.add_argument("--seed", type=whole_number, help="of the noise to start from")
    command.add_argument("--save-every", type=positive, metavar="N", help="pictures on the way")
    command.add_argument(
        "--sheet", type=Path, metavar="PNG", help="original, style, result and loss curve"
    )
    command.add_argument("--json", action="store_true", help="one line of JSON for each step")
    loss = command.add_argument_group("loss (a preset, and values that replace its own)")
    loss.add_argument(
        "--loss",
        default="calibrated",
        metavar="PRESET",
        help="calibrated, johnson, pytorch_examples, lengstrom, keras_vgg16 or keras_vgg19",
    )
    for term in ("content", "style", "palette", "tv"):
        loss.add_argument(f"--{term}-weight", type=float)
    loss.add_argument("--content-layers", type=_layer_weights, metavar="LAYER[:WEIGHT],…")
    loss.add_argument("--style-layers", type=_layer_weights, metavar="LAYER[:WEIGHT],…")
    loss.add_argument(
        "--style-sizes",
        type=_sizes,
        metavar="PIXELS,…",
        help="short sides at which the style picture is seen; 0 for its own",
    )
    loss.add_argument("--vgg-weights", metavar="FILE", help="instead of those found")


def _layer_weights(text: str) -> dict[str, float]:
    """``relu1_2,relu3_3:2`` → {"relu1_2": 1.0, "relu3_3": 2.0}."""
    layers = {}
    for item in text.split(","):
        name, colon, weight = item.partition(":")
        try:
            layers[name.strip()] = float(weight) if colon else 1.0
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"must be layers with weights, such as relu1_2,relu3_3:2, not {text!r}"
            ) from None
    return layers


def _pixels_or_full(text: str) -> int:
    """A size in pixels from 1, or ``full``, which is 0."""
    if text == "full":
        return 0
    if text.isdigit() and int(text) > 0:
        return positive(text)
    raise argparse.ArgumentTypeError(f"must be a number of pixels from 1, or full, not {text!r}")


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(whole_number(item.strip()) for item in text.split(","))
