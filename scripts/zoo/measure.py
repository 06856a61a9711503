"""Compare a style file with L-BFGS at several sizes, and record the results.

    python scripts/zoo/measure.py NAME.onnx --picture IMAGE -o FOLDER [PHOTO ...]

The script writes FOLDER/256/report.md and FOLDER/512/report.md with plots and sheets. It also
writes FOLDER/quality.json with the medians (see `fststyle.styles.quality`) and the end-of-training
checks that the network failed. By default, the three held-out photographs that come with the
dependencies are used: a cat, a palace and a portrait. Each is cropped to its centre square, and
enlarged if it is smaller than the size.
"""

from __future__ import annotations

import argparse
import hashlib
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
from fststyle.styles.info import StyleInfo
from fststyle.styles.style_file import read_info
from fststyle.stylize.stylizer import Stylizer
from fststyle.training.gates import LIMITS


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
        picture: The style image.
        output: Folder for the reports. It is created if necessary.
        photos: Photographs that the network was not trained on.
        sizes: Side lengths of the squares in pixels.
        iterations: Number of L-BFGS iterations.
        vgg_weights: File with the original VGG16 weights, to use instead of the default

    Returns:
        The medians at each size.

    Raises:
        FststyleError: A file cannot be read or written, or the VGG weights are not the originals.
    """
    info = read_info(file)
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
        evaluation = evaluate.evaluate(info.name, stylizer, loss, squares, iterations=shown)
        folder = output / str(size)
        folder.mkdir(parents=True, exist_ok=True)
        evaluate.write_report(evaluation, folder)
        found.append(evaluate.measured(evaluation, size))
    record = {
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "photos": [path.name for path in photos],
        "failed_checks": failed_checks(info),
        "summary": summary(found),
        "quality": [asdict(item) for item in found],
    }
    write_atomically(output / "quality.json", json.dumps(record, indent=2).encode())
    return found


def failed_checks(info: StyleInfo) -> list[str]:
    """Return the end-of-training checks that a network failed, as recorded in its file."""
    values = info.training.get("gates") or {}
    return [
        f"{name} {values[name]} (limit {limit:g})"
        for name, limit in LIMITS.items()
        if name in values and not (values[name] is not None and values[name] <= limit)
    ]


def summary(qualities: list[quality.Quality]) -> str:
    """Describe the quality at all sizes in one line."""
    sizes = ", ".join(f"{q.equals_text()} at {q.size}²" for q in qualities)
    left = qualities[0].style_left()
    return f"equals L-BFGS iterations: {sizes}; {left:.0%} of the photos' style loss left"


def main() -> None:
    """Measure a style file, and print a line for each size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, metavar="NAME.onnx")
    parser.add_argument("photos", type=Path, nargs="*", metavar="PHOTO")
    parser.add_argument("--picture", type=Path, required=True, help="the style image")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], help="in pixels")
    parser.add_argument("--iterations", type=int, default=50, help="L-BFGS iterations (50)")
    parser.add_argument("--vgg-weights", metavar="FILE", help="original VGG16 weights")
    given = parser.parse_args()
    if min(given.sizes) < 1:
        parser.error("--sizes must be numbers of pixels, at least 1")
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
