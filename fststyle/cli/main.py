"""The command line: ``fststyle stylize | video | optimize | evaluate | styles | info | train | …``.

Exit status: 0 done, 1 something the user can mend (one sentence says how), 2 wrong usage,
130 ended by Ctrl-C. Results go to the standard output, everything else to standard error.
Stylising with a trained network on the CPU loads no torch: heavy modules are imported where
a command needs them.
"""

from __future__ import annotations

import argparse
import dataclasses
import errno
import hashlib
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fststyle import __version__
from fststyle.cli import stylize as stylize_command
from fststyle.cli.arguments import positive, require_packages
from fststyle.cli.errors import sentence
from fststyle.cli.interop import add_commands
from fststyle.cli.optimize_options import OPTIMISE_SIZE, add_optimise_options
from fststyle.cli.serve import add_command as add_serve
from fststyle.cli.video import add_video_command
from fststyle.errors import FststyleError, PhotoError, StyleError, record_error
from fststyle.files import cannot_write
from fststyle.images.load import load_image, load_photo
from fststyle.images.resize import fit_long_side
from fststyle.images.save import check_output
from fststyle.styles.find import (
    FoundStyle,
    art_folder,
    art_info,
    find_network,
    find_picture,
    find_style,
    training_settings,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status.

    Args:
        arguments: What follows the program's name; by default the process's own.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("fststyle").setLevel(logging.INFO)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if (
            getattr(sys, name) is None
        ):  # closed by who started this; nothing else may take its place
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The name of a file may hold what the terminal's encoding does not.
        sys.stdout.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()
    except FststyleError as error:
        record_error(error)
        print(f"Error: {sentence(error)}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        status = 130
    except OSError as error:  # of the standard output; files' have become FststyleErrors
        if error.errno not in (errno.EPIPE, errno.ENOSPC) or error.filename is not None:
            raise
        if error.errno != errno.EPIPE:  # `fststyle styles | head -1`: nobody reads on
            print(f"Error: {cannot_write('the standard output', error)}", file=sys.stderr)
        # What is left of it goes nowhere, so that closing it raises nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    raise SystemExit(status)


def _stylize(options: argparse.Namespace) -> int:
    found = stylize_command.style_without_network(options)
    if found is None:
        return stylize_command.stylize(options)
    return _stylize_without_network(options, found)


def _stylize_without_network(options: argparse.Namespace, found: FoundStyle) -> int:
    """Do as ``fststyle optimize PHOTO --style PICTURE -o OUT`` does, and say so."""
    photo_path, output = Path(options.inputs[0]), Path(options.output)
    picture, photo = load_image(found.path), load_photo(photo_path)
    is_ours = found.path.parent == art_folder()
    what = "has no trained network yet" if is_ours else "is a picture, not a trained style"
    print(
        f"{options.style} {what}; this one photo is optimised instead, which takes minutes. "
        f"To train it once for all photos: fststyle train {training_settings(found)}",
        file=sys.stderr,
    )
    defaults = _parser().parse_args(["optimize", "photo", "--style", "style", "-o", "out"])
    size = 0 if options.size == "full" else options.size
    given = {"photo": photo_path, "style": options.style, "output": output, "size": size}

    from fststyle.cli.optimize import optimize

    return optimize(argparse.Namespace(**{**vars(defaults), **given}), photo, picture, "content")


def _optimize(options: argparse.Namespace) -> int:
    require_packages("torch", "safetensors", "skimage")
    _check_result(options)
    if options.sheet is not None:
        _check_sheet(options.sheet, options.output)
    picture = load_image(_style_picture(options.style))
    start: Any = options.init
    if options.init == "style" or options.init.lower().endswith(".onnx"):
        start = _network(options.style if options.init == "style" else options.init)
    elif options.init not in ("content", "noise"):
        if not Path(options.init).exists():
            raise PhotoError(
                f"There is no picture {options.init} to start from; --init takes content, noise, "
                "style, a picture or a style file."
            )
        start = load_image(options.init)
    photo = load_photo(options.photo)

    from fststyle.cli.optimize import optimize

    return optimize(options, photo, picture, start)


def _check_result(options: argparse.Namespace) -> None:
    check_output(options.output)
    if options.output.exists() and options.output.resolve() == options.photo.resolve():
        raise PhotoError(f"The result would replace the photo {options.photo}; give it a new name.")


def _check_sheet(sheet: Path, output: Path) -> None:
    if sheet.suffix.lower() != ".png":
        raise PhotoError(f"The sheet is a PNG; name it --sheet {sheet.with_suffix('.png')}.")
    if sheet.resolve() == output.resolve():
        raise PhotoError(f"The sheet would replace the result {output}; give it another name.")
    check_output(sheet)


def _network(style: str) -> FoundStyle:
    """The trained network to start an optimisation from."""
    found = find_network(style)
    _info_of(found)  # refuses a damaged file
    return found


def _style_picture(style: str, option: str = "--style") -> Path:
    """The picture of a style: a picture's path, or of an artwork's name or network."""
    name = style
    if style.lower().endswith(".onnx"):
        name = _info_of(find_style(style)).name
    elif find_style(style).kind == "picture":
        return find_picture(style)
    try:
        return find_picture(name)
    except StyleError as error:
        raise StyleError(
            f"{style} is a trained network whose picture is not among ours; give the path of the "
            f"picture that it was trained on: {option} PICTURE."
        ) from error


def _evaluate(options: argparse.Namespace) -> int:
    require_packages("torch", "safetensors", "skimage")
    if not options.output.is_dir():
        raise PhotoError(f"There is no folder {options.output}; make it, or name another by -o.")
    check_output(options.output / "report_sheet.png")
    found = find_network(options.style)
    info = _info_of(found)
    picture_path = options.picture or _style_picture(str(found.path), "--picture")
    picture = load_image(picture_path)
    names = _distinct_names(options.photos)
    photos = {
        name: fit_long_side(load_image(path), options.size)
        for name, path in zip(names, options.photos, strict=True)
    }
    if (
        info.style_image_sha256
        and info.style_image_sha256 != hashlib.sha256(picture_path.read_bytes()).hexdigest()
    ):
        print(
            f"Note: {picture_path} is not the very file that {info.name} was trained on.",
            file=sys.stderr,
        )
    from tqdm import tqdm

    from fststyle.perceptual import evaluate
    from fststyle.perceptual.measure import measure_for
    from fststyle.perceptual.vgg_weights import load_weights
    from fststyle.stylize.stylizer import Stylizer

    stylizer = Stylizer(str(found.path), device="cpu")
    measure = measure_for(picture, load_weights("vgg16", options.vgg_weights))
    with tqdm(total=1.0, disable=None, leave=False, bar_format="{l_bar}{bar}| {remaining}") as bar:

        def on_progress(share: float) -> None:
            bar.n = share
            bar.refresh()

        evaluation = evaluate.evaluate(
            info.name,
            lambda photo: stylizer(photo, size="full"),  # as L-BFGS sees it
            measure,
            photos,
            iterations=[n for n in evaluate.ITERATIONS if n < options.iterations]
            + [options.iterations],
            on_progress=on_progress,
        )
    report = evaluate.write_report(evaluation, options.output)
    print(evaluate.summary(report))
    print(f"\nReport  {report}")
    return 0


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """The photos' file names, or their paths where two have the same name."""
    unique = list(dict.fromkeys(paths))
    if len(unique) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise PhotoError(f"{twice} is named twice; name each photo once.")
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _styles(options: argparse.Namespace) -> int:
    from fststyle.cli.styles import styles

    return styles(options)


def _info_of(found: FoundStyle) -> Any:
    from fststyle.styles.style_file import read_info

    return read_info(found.path) if found.kind == "network" else art_info(found.name)


def _info(options: argparse.Namespace) -> int:
    found = find_style(options.style)
    facts: dict[str, Any] = {"path": str(found.path), "kind": found.kind}
    if found.kind == "network":
        from fststyle.styles.style_file import inspect_style

        network, info = inspect_style(found.path)
        facts |= {"network": dataclasses.asdict(network), **json.loads(info.to_json())}
    elif found.path.parent == art_folder():
        facts |= dataclasses.asdict(art_info(found.name))
    print(json.dumps(facts, indent=2, default=str, ensure_ascii=False))
    return 0


def _train(options: argparse.Namespace) -> int:
    require_packages("torch", "pytorch_lightning", "hydra")
    # In a process of its own: training needs Hydra's command line to itself.
    flags = ["--multirun"] if options.multirun else []
    command = [sys.executable, "-m", "fststyle.training", *flags, *options.settings]
    environment = {"GOMP_SPINCOUNT": "10000", **os.environ}  # as in train.py
    if os.name == "posix":  # signals and the exit status are then the training's
        os.execve(sys.executable, command, environment)
    process = subprocess.Popen(command, env=environment)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # Ctrl-C reached the training too, which ends by itself


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fststyle", description="Fast neural style: train a style, and give it to photos."
    )
    parser.add_argument("--version", action="version", version=f"fststyle {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    style_help = "a style's name (see `fststyle styles`), a style file, or a picture"

    command = commands.add_parser("stylize", help="give photos a style")
    size_help = (
        "long side of the result in pixels (never enlarged), or full; default: the photo's own, "
        f"or {OPTIMISE_SIZE} where the style is a picture and the photo is optimised"
    )
    stylize_command.add_options(command, style_help, positive, size_help)
    command.set_defaults(run=_stylize)

    add_video_command(commands, positive)

    command = commands.add_parser("optimize", help="the classic mode: optimise one photo")
    add_optimise_options(command)
    command.set_defaults(run=_optimize)

    command = commands.add_parser("evaluate", help="verify a trained style against the optimiser")
    command.add_argument("photos", type=Path, nargs="+", metavar="PHOTO")
    command.add_argument("--style", required=True, help="a trained style's name or file")
    command.add_argument("--picture", type=Path, help="its style picture, where it is not ours")
    command.add_argument("--size", type=positive, default=256, help="long side in pixels")
    command.add_argument("--iterations", type=positive, default=200, help="of L-BFGS")
    command.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path(),
        help="existing folder for report.md and its pictures; default: this one",
    )
    command.add_argument("--vgg-weights", metavar="FILE", help="instead of those found")
    command.set_defaults(run=_evaluate)

    command = commands.add_parser(
        "styles",
        help="list the styles, or draw a photo in all of them",
        description="List the styles. 'L-BFGS iterations' is what a network is worth, 'style "
        "left' the share of the photos' own style loss: medians over held-out photos.",
    )
    what = command.add_mutually_exclusive_group()
    what.add_argument("--json", action="store_true", help="everything, as one JSON document")
    what.add_argument("--sheet", type=Path, metavar="PHOTO", help="draw it in every style")
    command.add_argument(
        "-o", "--output", type=Path, metavar="OUT", help="of the sheet; default: sheet.png"
    )
    command.add_argument("--size", type=positive, default=384, help="long side in the sheet")
    command.set_defaults(run=_styles)

    command = commands.add_parser("info", help="what a style file says of itself, as JSON")
    command.add_argument("style", help=style_help)
    command.set_defaults(run=_info)

    command = commands.add_parser(
        "train", help="train a style", description="Train a style, as `python train.py` does."
    )
    command.add_argument(
        "-m", "--multirun", action="store_true", help="one run for each value: style=one,other"
    )
    command.add_argument(
        "settings",
        nargs=argparse.REMAINDER,
        metavar="KEY=VALUE",
        help="such as style=thanos_poster minutes=5; without any, the styles are listed",
    )
    command.set_defaults(run=_train)
    add_commands(commands)
    add_serve(commands, positive)
    return parser


if __name__ == "__main__":
    main()
