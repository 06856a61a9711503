"""``fststyle import`` and ``fststyle export``: exchange styles with other programs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from fststyle.cli.arguments import height_and_width, strength
from fststyle.cli.errors import CommandError
from fststyle.cli.extras import require_packages
from fststyle.cli.local_files import local_path, output_path, style_text
from fststyle.files import shell_word
from fststyle.styles.export import LOWEST_OPSET, Precision
from fststyle.styles.find import find_network
from fststyle.styles.onnx_protobuf import OPSET

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SAMPLE_SIDE = 384
"""Long side, in pixels, of the photos used to calibrate int8."""


def add_command(commands: Any) -> None:
    """Add ``fststyle import`` and ``fststyle export`` to the command line."""
    command = commands.add_parser(
        "import",
        help="convert a network from another program to a style",
        description="Convert a checkpoint from pytorch/examples (fast_neural_style) or "
        "gordicaleksa/pytorch-neural-style-transfer-johnson to a style file.",
    )
    command.add_argument("checkpoint", type=local_path, help="checkpoint file, such as candy.pth")
    command.add_argument("-o", "--output", type=output_path, required=True, metavar="NAME.onnx")
    command.add_argument("--name", help="name of the style; default: the file's name")
    for key in ("title", "artist", "licence", "source"):
        command.add_argument(f"--{key}", default="", help=f"{key} of the style image")
    command.set_defaults(run=_import)

    command = commands.add_parser(
        "export",
        help="convert a style for use in another program",
        description="Convert a style for use in another program, and print how much the results "
        "differ from those of the style file.",
    )
    command.add_argument("style", type=style_text, help="name or file of a trained style")
    command.add_argument(
        "-o", "--output", type=output_path, required=True, metavar="OUT.onnx|OUT.xml"
    )
    command.add_argument(
        "--format", choices=("onnx", "openvino"), help="default: according to the extension of OUT"
    )
    command.add_argument(
        "--size", type=height_and_width, metavar="HxW", help="a fixed size; default: any size"
    )
    command.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="float32",
        help="int8: weights and activations quantised by NNCF; default float32",
    )
    command.add_argument(
        "--strength",
        type=strength,
        default=1.0,
        metavar="0.25..4",
        help="strength of the style, for styles with a dial; default 1",
    )
    command.add_argument(
        "--opset",
        type=int,
        metavar="N",
        help=f"ONNX opset, {LOWEST_OPSET} or later; default {OPSET}",
    )
    command.add_argument(
        "--photos",
        type=local_path,
        metavar="FOLDER",
        help="photos for calibrating int8; default: photos that come with scikit-image",
    )
    command.set_defaults(run=_export)


def _import(options: argparse.Namespace) -> int:
    output = options.output
    if output.suffix != ".onnx":
        raise CommandError(
            "A style file must have the extension .onnx, but {path} does not.",
            path=output,
            remedy=f"Use -o {shell_word(output.with_suffix('.onnx'))}",
            code="unknown_extension",
        )
    require_packages("train", "torch")

    from fststyle.styles.import_pytorch import read_checkpoint
    from fststyle.styles.info import StyleInfo
    from fststyle.styles.style_file import save_style

    # The name is checked before the checkpoint is read.
    info = StyleInfo(output.stem if options.name is None else options.name)
    checkpoint = read_checkpoint(options.checkpoint)
    info = StyleInfo(
        info.name,
        title=options.title,
        artist=options.artist,
        licence=options.licence,
        source=options.source,
        training={
            "imported_from": checkpoint.project,
            "checkpoint": options.checkpoint.name,
            "checkpoint_sha256": checkpoint.sha256,
            **checkpoint.facts,
        },
    )
    save_style(checkpoint.network, info, output)
    config = checkpoint.network.config
    print(
        f"{output}  {info.name}  {checkpoint.project}: {config.width} filters, "
        f"{config.residual_blocks} residual blocks of {config.trunk}"
    )
    return 0


def _export(options: argparse.Namespace) -> int:
    output = options.output
    suffix = {"onnx": ".onnx", "openvino": ".xml", None: output.suffix}[options.format]
    if output.suffix != suffix:
        raise CommandError(
            f"For the format {options.format}, {{path}} must have the extension {suffix}.",
            path=output,
            remedy=f"Use -o {shell_word(output.with_suffix(suffix))}",
            code="unknown_extension",
        )
    found = find_network(options.style)

    from fststyle.styles.export import export_style

    samples = _samples(options.photos) if options.precision == "int8" else []
    exported = export_style(
        found.path,
        output,
        size=options.size,
        precision=options.precision,
        opset=options.opset,
        samples=samples,
        strength=options.strength,
        style=found.style,
    )
    for path in exported.paths:
        print(f"{path}  {path.stat().st_size / 1024:.0f} kB")
    sizes = ", ".join(f"{height}x{width}" for height, width in exported.sizes)
    print(
        f"Difference from {found.name} at {sizes} (of 255): mean {255 * exported.mean:.3f}, "
        f"largest {255 * exported.largest:.3f}; run by {exported.runner}."
    )
    return 0


def _samples(folder: Path | None) -> list[NDArray[np.float32]]:
    """Read the photos for calibrating int8."""
    from fststyle.images.folder import find_photos
    from fststyle.images.load import load_image
    from fststyle.images.resize import fit_long_side

    if folder is None:
        from fststyle.images.bundled import builtin_photos

        paths = builtin_photos()
    else:
        paths = find_photos(folder)[:300]
    return [fit_long_side(load_image(path), _SAMPLE_SIDE) for path in paths]
