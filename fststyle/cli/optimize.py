"""``fststyle optimize``: optimise one photo. Inputs are checked before torch is imported."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fststyle.cli.arguments import (
    given,
    layer_weights,
    pixels_or_full,
    positive,
    whole_number,
    whole_numbers,
)
from fststyle.cli.errors import CommandError
from fststyle.cli.extras import require_packages
from fststyle.cli.local_files import local_path, local_text, output_path, style_text
from fststyle.cli.optimize_request import OPTIMIZE_SIZE, OptimizeRequest
from fststyle.errors import NoNetworkError, StyleError
from fststyle.files import shell_word
from fststyle.images.load import load_image, load_photo
from fststyle.images.save import check_output
from fststyle.perceptual.presets import PRESETS
from fststyle.styles.find import FoundStyle, find_network, find_picture, find_style
from fststyle.stylize.output_paths import check_replaced

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_REQUEST: Final = tuple(
    item.name for item in dataclasses.fields(OptimizeRequest) if not item.name.endswith("_values")
)
_LOSS: Final = (
    "content_weight", "style_weight", "palette_weight", "tv_weight", "content_layers",
    "style_layers", "style_sizes",
)  # fmt: skip
_OPTIMIZER: Final = ("method", "iterations", "rounds", "learning_rate", "scale_factor", "seed")


def add_command(commands: Any) -> None:
    """Add ``fststyle optimize`` to the command line."""
    command = commands.add_parser(
        "optimize",
        help="optimise one photo, without a trained style",
        description="Optimise the pixels of one photo (Gatys et al. 2016). This takes minutes, but "
        "works with any image as the style and does not need a trained network.",
        argument_default=argparse.SUPPRESS,
    )
    command.add_argument("photo", type=local_path, metavar="PHOTO")
    command.add_argument(
        "--style", type=style_text, required=True, help="style image, or the name of an artwork"
    )
    command.add_argument("-o", "--output", type=output_path, required=True, metavar="OUT")
    command.add_argument(
        "--size",
        type=pixels_or_full,
        metavar="N|full",
        help=f"long side in pixels, or full; default {OPTIMIZE_SIZE}",
    )
    command.add_argument(
        "--init",
        type=style_text,
        help="where to start: content (the photo, the default), noise, style (the result of the "
        "style's network), or the path of an image or a style file",
    )
    command.add_argument(
        "--optimizer", dest="method", choices=("lbfgs", "adam"), help="default: set by the preset"
    )
    command.add_argument(
        "--iterations",
        type=positive,
        help="iterations per round and scale; default: 100, or set by the preset",
    )
    command.add_argument(
        "--rounds", type=positive, help="number of rounds; L-BFGS restarts in each one"
    )
    command.add_argument("--learning-rate", type=float)
    command.add_argument(
        "--scale-factor",
        type=float,
        help=f"work from coarse to fine, with each scale larger by this factor; 1: a single scale; "
        f"default: 2 above {OPTIMIZE_SIZE} pixels, otherwise 1",
    )
    command.add_argument("--seed", type=whole_number, help="random seed for --init noise")
    command.add_argument(
        "--save-every", type=positive, metavar="N", help="also save the image every N iterations"
    )
    command.add_argument(
        "--sheet",
        type=output_path,
        metavar="PNG",
        help="also save one image with the photo, the style image, the result and the loss curve",
    )
    command.add_argument("--json", action="store_true", help="print one line of JSON per iteration")
    loss = command.add_argument_group("loss (a preset, and values that override it)")
    loss.add_argument("--loss", metavar="PRESET", help=", ".join(PRESETS))
    for term in ("content", "style", "palette", "tv"):
        loss.add_argument(f"--{term}-weight", type=float)
    loss.add_argument("--content-layers", type=layer_weights, metavar="LAYER[:WEIGHT],…")
    loss.add_argument("--style-layers", type=layer_weights, metavar="LAYER[:WEIGHT],…")
    loss.add_argument(
        "--style-sizes",
        type=whole_numbers,
        metavar="PIXELS,…",
        help="short sides at which the loss uses the style image; 0 for its original size",
    )
    loss.add_argument(
        "--vgg-weights",
        type=local_text,
        metavar="FILE",
        help="VGG weights to use instead of those found automatically",
    )
    command.set_defaults(run=optimize)


def optimize(options: argparse.Namespace) -> int:
    """Optimise a photo.

    Args:
        options: The parsed command line.

    Returns:
        The exit status: 0, or 130 if Ctrl-C interrupted the optimisation.

    Raises:
        FststyleError: An input is missing or unsuitable, or a result cannot be written.
    """
    return run_request(
        OptimizeRequest(
            **given(options, *_REQUEST),
            loss_values=given(options, *_LOSS),
            optimizer_values=given(options, *_OPTIMIZER),
        )
    )


def run_request(request: OptimizeRequest, *, note: str = "") -> int:
    """Check a request, with the quickest checks first, and then optimise the photo.

    Args:
        request: The request.
        note: Message to print after the inputs have been read.

    Returns:
        The exit status: 0, or 130 if Ctrl-C interrupted the optimisation.

    Raises:
        FststyleError: An input is missing or unsuitable, or a result cannot be written.
    """
    require_packages("train", "torch", "safetensors", "skimage")
    _check_outputs(request)
    image = load_image(style_image(request.style))
    start = _start(request)
    photo = load_photo(request.photo)
    if note:
        print(note, file=sys.stderr)

    from fststyle.cli.optimize_photo import optimize_photo

    return optimize_photo(request, photo, image, start)


def style_image(style: str, *, option: str = "--style") -> Path:
    """Find the image that a style was, or would be, trained on.

    Args:
        style: Path of an image or a style file, or the name of a style.
        option: Name of the option that accepts the image itself, for the error message.

    Returns:
        The path of the image.

    Raises:
        StyleError: The style is unknown, or its image is not bundled with fststyle.
    """
    name = style
    if style.lower().endswith(".onnx"):
        from fststyle.styles.style_file import read_info

        name = read_info(find_style(style).path).name
    elif find_style(style).kind == "picture":
        return find_picture(style)
    try:
        return find_picture(name)
    except StyleError as error:
        raise CommandError(
            f"The image that the style {style} was trained on is not bundled with fststyle.",
            remedy=f"Give its path: {option} IMAGE.",
            code="no_style_image",
        ) from error


def _check_outputs(request: OptimizeRequest) -> None:
    check_output(request.output)
    inputs = [request.photo, *map(Path, (request.style, request.init))]
    check_replaced([request.output], inputs)
    sheet = request.sheet
    if sheet is None:
        return
    if sheet.suffix.lower() != ".png":
        raise CommandError(
            "The sheet is a PNG file, but {path} does not have the extension .png.",
            path=sheet,
            remedy=f"Use --sheet {shell_word(sheet.with_suffix('.png'))}",
            code="unknown_extension",
        )
    check_replaced([sheet], [request.output, *inputs])
    check_output(sheet)


def _start(request: OptimizeRequest) -> str | NDArray[np.float32] | FoundStyle:
    """Resolve the starting point: a keyword, an image file, or a network."""
    init = request.init
    if init in ("content", "noise"):
        return init
    if init == "style":
        return _network(request.style)
    if init.lower().endswith(".onnx"):
        return _network(init)
    if not os.path.exists(init):
        raise CommandError(
            "The image {path} to start from does not exist.",
            path=init,
            remedy="--init accepts content, noise, style, or the path of an image or a style file.",
            code="not_found",
        )
    return load_image(init)


def _network(style: str) -> FoundStyle:
    """Find the network to start from, and check its file."""
    from fststyle.styles.style_file import read_info

    try:
        found = find_network(style)
    except NoNetworkError as error:
        raise CommandError(
            f"--init style needs a trained network, and {style} has none.",
            remedy="Train one with 'fststyle train', give a style file (--init NAME.onnx), or "
            "start from the photo (--init content).",
            code="no_network",
        ) from error
    read_info(found.path)
    return found
