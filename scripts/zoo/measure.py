"""Measure a style file against L-BFGS at several sizes, and record it where it can be shown.

    python scripts/zoo/measure.py NAME.onnx --picture PICTURE -o FOLDER [PHOTO ...]

writes FOLDER/256/report.md and FOLDER/512/report.md with their plots and sheets, and
FOLDER/quality.json, the medians (see `fststyle.styles.quality`). The photographs are, unless named,
the three held-out ones that everybody has installed: a cat, a palace and a portrait. Each is seen
as a square from its middle; one that is smaller than the size is enlarged.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from fststyle.errors import FststyleError
from fststyle.files import write_atomically
from fststyle.images.bundled import builtin_held_out
from fststyle.images.load import load_image
from fststyle.images.resize import middle_square
from fststyle.perceptual import evaluate
from fststyle.perceptual.measure import measure_for
from fststyle.perceptual.vgg_weights import load_weights
from fststyle.styles import quality
from fststyle.styles.style_file import read_info
from fststyle.stylize.stylizer import Stylizer


def measure(
    file: Path,
    picture: Path,
    output: Path,
    photos: list[Path],
    sizes: list[int],
    iterations: int,
    vgg_weights: str | None = None,
) -> list[quality.Quality]:
    """Measure a style file, and write the reports and ``quality.json``.

    Args:
        file: The style file.
        picture: The style picture.
        output: The folder for the reports; made where need be.
        photos: Photographs that the network has not seen.
        sizes: Sides of the squares, in pixels.
        iterations: How long L-BFGS runs.
        vgg_weights: A file of the original VGG16, instead of the one that is found.

    Returns:
        The medians at each size.

    Raises:
        FststyleError: A file cannot be read or written, or the VGG is not the original one.
    """
    name = read_info(file).name
    loss = measure_for(load_image(picture), load_weights("vgg16", vgg_weights))
    stylizer = Stylizer(str(file), device="cpu")
    shown = [n for n in evaluate.ITERATIONS if n < iterations] + [iterations]
    stems = {path.stem for path in photos}
    names = [path.stem if len(stems) == len(photos) else str(path) for path in photos]
    pictures = [load_image(path) for path in photos]
    found = []
    for size in sizes:
        squares = {
            key: middle_square(photo, size) for key, photo in zip(names, pictures, strict=True)
        }
        evaluation = evaluate.evaluate(name, stylizer, loss, squares, iterations=shown)
        folder = output / str(size)
        folder.mkdir(parents=True, exist_ok=True)
        evaluate.write_report(evaluation, folder)
        found.append(evaluate.measured(evaluation, size))
    record = {
        "photos": [path.name for path in photos],
        "quality": [asdict(item) for item in found],
    }
    write_atomically(output / "quality.json", json.dumps(record, indent=2).encode())
    return found


def main() -> None:
    """Measure, and print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, metavar="NAME.onnx")
    parser.add_argument("photos", type=Path, nargs="*", metavar="PHOTO")
    parser.add_argument("--picture", type=Path, required=True, help="the style picture")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], help="in pixels")
    parser.add_argument("--iterations", type=int, default=50, help="of L-BFGS")
    parser.add_argument("--vgg-weights", metavar="FILE", help="instead of those found")
    given = parser.parse_args()
    if min(given.sizes) < 1:
        parser.error("--sizes are numbers of pixels from 1")
    photos = list(dict.fromkeys(given.photos)) or builtin_held_out()
    try:
        found = measure(
            given.file,
            given.picture,
            given.output,
            photos,
            sorted(set(given.sizes)),
            given.iterations,
            given.vgg_weights,
        )
    except FststyleError as error:
        sys.exit(f"Error: {error}")
    for item in found:
        print(
            f"{given.file.stem} at {item.size}×{item.size}: equals {item.equals_text()} L-BFGS "
            f"iterations (worst {item.worst_text()}); {item.style_left():.0%} of the photos' own "
            "style loss is left"
        )


if __name__ == "__main__":
    main()
