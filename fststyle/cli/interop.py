"""``fststyle import`` and ``fststyle export``: styles from and for other programs."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fststyle.errors import SettingError
from fststyle.styles.find import find_network

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SAMPLE_SIDE = 384
"""Long side of the photos that int8 is calibrated on, in pixels."""


def add_commands(commands: Any) -> None:
    """Add both commands to those of the command line.

    Args:
        commands: What ``ArgumentParser.add_subparsers`` returned.
    """
    command = commands.add_parser(
        "import",
        help="turn another program's network into a style",
        description="Turn a checkpoint of pytorch/examples (fast_neural_style) or of "
        "gordicaleksa/pytorch-neural-style-transfer-johnson into a style file.",
    )
    command.add_argument("checkpoint", type=Path, help="such as candy.pth")
    command.add_argument("-o", "--output", type=Path, required=True, metavar="NAME.onnx")
    command.add_argument("--name", help="of the style; default: the file's")
    for key in ("title", "artist", "licence", "source"):
        command.add_argument(f"--{key}", default="", help="of the style's picture")
    command.set_defaults(run=_import)

    command = commands.add_parser(
        "export",
        help="write a style for another runner",
        description="Write a style for another runner, and print how far its pictures are from "
        "the style's own.",
    )
    command.add_argument("style", help="a trained style's name or file")
    command.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.onnx|OUT.xml")
    command.add_argument(
        "--format", choices=("onnx", "openvino"), help="default: as the output's ending says"
    )
    command.add_argument(
        "--size", type=_height_and_width, metavar="HxW", help="fixed; default: any size"
    )
    command.add_argument(
        "--precision",
        choices=("float32", "float16", "int8", "int8-weights"),
        default="float32",
        help="int8: weights and activations, by NNCF; int8-weights: a smaller file, no faster",
    )
    command.add_argument("--opset", type=int, metavar="N", help="of ONNX, from 11; default 18")
    command.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="that int8 is measured on; default: ours"
    )
    command.set_defaults(run=_export)


def _height_and_width(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9][0-9]{0,4})[x×]([1-9][0-9]{0,4})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"must be height x width, such as 720x1280, not {text!r}")
    return int(match[1]), int(match[2])


def _import(options: argparse.Namespace) -> int:
    output = options.output
    if output.suffix != ".onnx":
        raise SettingError(f"{output} must end in .onnx to be found as a style file.")

    from fststyle.styles.import_pytorch import read_checkpoint
    from fststyle.styles.info import StyleInfo
    from fststyle.styles.style_file import save_style

    info = StyleInfo(output.stem if options.name is None else options.name)  # before any reading
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
        raise SettingError(
            f"The format {options.format} is written to a file that ends in {suffix}: "
            f"-o {output.with_suffix(suffix)}."
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
    """Photos that are typical of what the style will see."""
    from fststyle.images.load import find_photos, load_image
    from fststyle.images.resize import fit_long_side

    if folder is None:
        from fststyle.images.bundled import builtin_photos

        paths = builtin_photos()
    else:
        paths = find_photos(folder)[:300]
    return [fit_long_side(load_image(path), _SAMPLE_SIDE) for path in paths]
