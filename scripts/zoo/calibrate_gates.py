"""Print the values of the end-of-training checks of pairs of photo and result, also with faults.

    python scripts/zoo/calibrate_gates.py [--pair PHOTO IMAGE]... [--style FILE]... [--faults]

The script prints a table with a row for each image: each pair, each bundled artwork (compared with
itself as the photo), and the result of each style file for each probe photograph. With
``--faults``, every image is followed by copies with faults of increasing strength. Values above
their limit are marked. The limits in ``fststyle/training/gates.py`` lie between the values for good
images and the values for faulty ones. The checks that only warn need more than a pair; the tests in
``tests/training/faults`` plant their faults.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fststyle.images.load import load_image
from fststyle.images.resize import fit_long_side, resize
from fststyle.markdown import markdown_table
from fststyle.styles.find import art_folder
from fststyle.stylize.stylizer import Stylizer
from fststyle.training import gates
from fststyle.training.probes import small_probes

Pixels = NDArray[np.float32]
LIMITS = {name: limit for name, limit in gates.LIMITS.items() if name not in gates.ONLY_WARN}


def with_faults(image: Pixels) -> Iterator[tuple[str, Pixels]]:
    """Yield copies of an image, each with one fault, in order of increasing strength."""
    height, width = image.shape[:2]
    rows, columns = np.indices((height, width))[..., None]

    def clipped(pixels: NDArray[np.floating]) -> Pixels:
        return np.asarray(np.clip(pixels, 0, 1), np.float32)

    for amplitude in (1, 2, 3, 4, 6):
        for period, wave in (
            (2, (-1.0) ** (rows + columns)),
            (2, (-1.0) ** columns),
            (4, np.cos(np.pi / 2 * columns) * np.cos(np.pi / 2 * rows)),
            (4, np.cos(np.pi / 2 * rows + 0.5)),
        ):
            yield f"lattice {period}: {amplitude}/255", clipped(image + amplitude / 255 * wave)
    top, left = height // 3, width // 4
    distance = np.hypot(rows - top, columns - left)
    for size in (12, 18, 24):
        for name, colour in (("white", (1, 1, 1)), ("red", (1, 0, 0)), ("black", (0, 0, 0))):
            inside = np.clip((size / 2 - distance) / 2 + 0.5, 0, 1)
            blob = inside * np.array(colour) + (1 - inside) * image
            yield f"blob: {size} px, {name}", clipped(blob)
    for strength in (0.05, 0.1, 0.2, 0.4):
        for thickness in (4, 8):
            framed = image - strength
            inside_frame = slice(thickness, -thickness)
            framed[inside_frame, inside_frame] = image[inside_frame, inside_frame]
            yield f"frame: {thickness} px, -{strength}", clipped(framed)
    for sigma in (1.0, 2.0, 3.0):
        yield f"blur: {sigma}", clipped(ndimage.gaussian_filter(image, (sigma, sigma, 0)))
    yield "constant", np.full_like(image, 0.4)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--pair", nargs=2, type=Path, action="append", default=[], metavar=("PHOTO", "IMAGE"))
    add("--style", type=Path, action="append", default=[], metavar="FILE", help="file to check")
    add("--faults", action="store_true", help="add faults to each image")
    add("--no-art", action="store_true", help="skip the artworks")
    arguments = parser.parse_args()
    pairs: list[tuple[str, Pixels, Pixels]] = []
    for photo_path, image_path in arguments.pair:
        image = load_image(image_path)
        height, width = image.shape[:2]
        photo = resize(load_image(photo_path), width=width, height=height)
        pairs.append((image_path.stem, photo, image))
    for path in [] if arguments.no_art else sorted(art_folder().glob("*.jpg")):
        image = fit_long_side(load_image(path), 384)
        pairs.append((path.stem, image, image))
    for path in arguments.style:
        stylizer = Stylizer(path, device="cpu")
        for name, photo in small_probes().photos.items():
            pairs.append((f"{path.stem}: {name}", photo, stylizer(photo)))
    rows = []
    for name, photo, image in pairs:
        rows.append(_row(f"**{name}**", photo, image))
        if arguments.faults:
            rows += [_row(fault, photo, faulty) for fault, faulty in with_faults(image)]
    rows.append(["limit", *(f"{limit:g}" for limit in LIMITS.values())])
    print(markdown_table(("image", *LIMITS), rows))


def _row(name: str, photo: Pixels, image: Pixels) -> list[str]:
    cells = [name]
    for gate, limit in LIMITS.items():
        value = gates.measure(gate, photo, image)
        cells.append(f"{value:.2f}{'' if value <= limit else ' !'}")
    return cells


if __name__ == "__main__":
    main()
