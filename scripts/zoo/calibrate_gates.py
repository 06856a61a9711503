"""The values of every gate for given pictures, and for faults planted into them.

    python scripts/zoo/calibrate_gates.py [--pair PHOTO PICTURE]... [--style FILE]... [--faults]

prints a table with a row for each picture: for a pair, for each artwork of the package (as its own
photo), and for what each style file makes of the probe photographs. With ``--faults`` every
picture is followed by itself with planted faults of increasing strength. A value above its
limit is marked. The limits in ``fststyle/training/gates.py`` lie between the two kinds of row.
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
from fststyle.styles.find import art_folder
from fststyle.stylize.stylizer import Stylizer
from fststyle.training import gates

Pixels = NDArray[np.float32]


def with_faults(picture: Pixels) -> Iterator[tuple[str, Pixels]]:
    """The picture with one fault after another, each in increasing strength."""
    height, width = picture.shape[:2]
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
            yield f"lattice {period}: {amplitude}/255", clipped(picture + amplitude / 255 * wave)
    top, left = height // 3, width // 4
    distance = np.hypot(rows - top, columns - left)
    for size in (12, 18, 24):
        for name, colour in (("white", (1, 1, 1)), ("red", (1, 0, 0)), ("black", (0, 0, 0))):
            inside = np.clip((size / 2 - distance) / 2 + 0.5, 0, 1)
            blob = inside * np.array(colour) + (1 - inside) * picture
            yield f"blob: {size} px, {name}", clipped(blob)
    for strength in (0.05, 0.1, 0.2, 0.4):
        for thickness in (4, 8):
            framed = picture - strength
            inside_frame = slice(thickness, -thickness)
            framed[inside_frame, inside_frame] = picture[inside_frame, inside_frame]
            yield f"frame: {thickness} px, -{strength}", clipped(framed)
    for sigma in (1.0, 2.0, 3.0):
        yield f"blur: {sigma}", clipped(ndimage.gaussian_filter(picture, (sigma, sigma, 0)))
    yield "constant", np.full_like(picture, 0.4)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pair", nargs=2, type=Path, action="append", default=[])
    parser.add_argument("--style", type=Path, action="append", default=[])
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--no-art", action="store_true")
    arguments = parser.parse_args()
    pairs: list[tuple[str, Pixels, Pixels]] = []
    for photo_path, picture_path in arguments.pair:
        picture = load_image(picture_path)
        height, width = picture.shape[:2]
        photo = resize(load_image(photo_path), width=width, height=height)
        pairs.append((picture_path.stem, photo, picture))
    for path in [] if arguments.no_art else sorted(art_folder().glob("*.jpg")):
        picture = fit_long_side(load_image(path), 384)
        pairs.append((path.stem, picture, picture))
    for path in arguments.style:
        stylizer = Stylizer(path, device="cpu")
        for name, photo in gates.probe_photos().items():
            pairs.append((f"{path.stem}: {name}", photo, stylizer(photo)))
    names = list(gates.LIMITS)
    print(f"| picture | {' | '.join(names)} |")
    print("| --- |" + " --- |" * len(names))
    for name, photo, picture in pairs:
        _print_row(f"**{name}**", photo, picture)
        if arguments.faults:
            for fault, faulty in with_faults(picture):
                _print_row(fault, photo, faulty)
    print(f"| limit | {' | '.join(f'{limit:g}' for limit in gates.LIMITS.values())} |")


def _print_row(name: str, photo: Pixels, picture: Pixels) -> None:
    cells = []
    for gate, limit in gates.LIMITS.items():
        value = gates.measure(gate, photo, picture)
        cells.append(f"{value:.2f}{'' if value <= limit else ' !'}")
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
