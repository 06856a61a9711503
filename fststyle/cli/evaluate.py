"""``fststyle evaluate``: compare a trained style with optimising the same photos."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fststyle.cli.arguments import positive
from fststyle.cli.errors import CommandError
from fststyle.cli.extras import require_packages
from fststyle.cli.local_files import local_path, local_text, output_path, style_text
from fststyle.cli.optimize import style_image
from fststyle.images.load import load_image
from fststyle.images.resize import fit_long_side
from fststyle.images.save import check_output
from fststyle.styles.find import find_network


def add_command(commands: Any) -> None:
    """Add ``fststyle evaluate`` to the command line."""
    command = commands.add_parser(
        "evaluate",
        help="compare a trained style with optimising each photo",
        description="Measure how many iterations of optimisation (L-BFGS) a photo needs to reach "
        "the same loss as with the trained style, and write a report.",
    )
    command.add_argument("photos", type=local_path, nargs="+", metavar="PHOTO")
    command.add_argument(
        "--style", type=style_text, required=True, help="name or file of a trained style"
    )
    command.add_argument(
        "--picture", type=local_path, help="style image, if it is not bundled with fststyle"
    )
    command.add_argument(
        "--size", type=positive, default=256, help="long side of the photos in pixels; default 256"
    )
    command.add_argument(
        "--iterations", type=positive, default=200, help="number of L-BFGS iterations; default 200"
    )
    command.add_argument(
        "-o",
        "--output",
        type=output_path,
        default=Path(),
        help="existing folder for report.md and its images; default: the current folder",
    )
    command.add_argument(
        "--vgg-weights",
        type=local_text,
        metavar="FILE",
        help="VGG weights to use instead of those found automatically",
    )
    command.set_defaults(run=evaluate)


def evaluate(options: argparse.Namespace) -> int:
    """Evaluate a trained style and write the report.

    Args:
        options: The parsed command line.

    Returns:
        The exit status, 0.

    Raises:
        FststyleError: An input is missing or unsuitable, or the report cannot be written.
    """
    require_packages("train", "torch", "safetensors", "skimage")
    if not options.output.is_dir():
        raise CommandError(
            "The folder {path} does not exist.",
            path=options.output,
            remedy="Create it, or choose another one with -o.",
            code="not_found",
        )
    check_output(options.output / "report_sheet.png")
    found = find_network(options.style)

    from fststyle.styles.style_file import read_info

    info = read_info(found.path)
    image_path = options.picture or style_image(str(found.path), option="--picture")
    image = load_image(image_path)
    photos = {
        name: fit_long_side(load_image(path), options.size)
        for name, path in _by_name(options.photos).items()
    }
    checksum = hashlib.sha256(image_path.read_bytes()).hexdigest()
    if info.style_image_sha256 and info.style_image_sha256 != checksum:
        print(
            f"Note: {info.name} was not trained on {image_path}, but on a different file.",
            file=sys.stderr,
        )

    from tqdm import tqdm

    from fststyle.perceptual import evaluate as evaluation
    from fststyle.perceptual.measure import measure_for
    from fststyle.perceptual.vgg_weights import load_weights
    from fststyle.stylize.stylizer import Stylizer

    stylizer = Stylizer(str(found.path), device="cpu")
    measure = measure_for(image, load_weights("vgg16", options.vgg_weights))
    with tqdm(total=1.0, disable=None, leave=False, bar_format="{l_bar}{bar}| {remaining}") as bar:

        def on_progress(share: float) -> None:
            bar.n = share
            bar.refresh()

        result = evaluation.evaluate(
            info.name,
            # The size is the one at which photos are optimised, too.
            lambda photo: stylizer(photo, size="full"),
            measure,
            photos,
            iterations=[n for n in evaluation.ITERATIONS if n < options.iterations]
            + [options.iterations],
            on_progress=on_progress,
        )
    report = evaluation.write_report(result, options.output)
    print(evaluation.summary(report))
    print(f"\nReport  {report}")
    return 0


def _by_name(paths: Sequence[Path]) -> dict[str, Path]:
    """Return the photos by file name, or by path if two of them have the same file name."""
    for path in paths:
        if paths.count(path) > 1:
            raise CommandError(
                "{path} is given twice.",
                path=path,
                remedy="Give each photo only once.",
                code="repeated",
            )
    names = {path.name: path for path in paths}
    return names if len(names) == len(paths) else {str(path): path for path in paths}
