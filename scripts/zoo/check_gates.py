"""Print the values of all checks of trained styles, at several sizes and strengths.

    python scripts/zoo/check_gates.py [STYLE ...] [--photos FOLDER] [--pictures FOLDER]
        [--sizes 512 1536] [-o FOLDER]

The script checks all included styles by default. It prints a row for each style, size and strength.
Values above their limit are marked with an exclamation mark. Styles with a dial are checked at the
strengths 0.5, 1 and 2, all others at 1.

For each size, the checks use a sky, figures on plain ground, and photographs whose long side is at
least that long. Give a folder with such photographs; a few of them are chosen, and reduced to the
size. Without it, they are replaced by a synthetic one, which has detail as fine as a pixel.
``specks`` compares with the style image, which is searched for by the checksum in the style file,
among the bundled artworks and in the folder for pictures. Styles without it are listed.

With -o, the results are saved as PNG files, to be looked at.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fststyle.errors import FststyleError
from fststyle.images.folder import search_folder
from fststyle.images.load import load_image
from fststyle.images.resize import fit_long_side, fit_short_side
from fststyle.images.save import save_photo
from fststyle.markdown import markdown_table
from fststyle.styles.find import art_folder, find_network, zoo_folder
from fststyle.styles.style_file import read_style
from fststyle.stylize.stylizer import Stylizer
from fststyle.training import gates
from fststyle.training.probes import large_probes

Pixels = NDArray[np.float32]


def synthetic_photo(side: int) -> Pixels:
    """Draw a landscape whose detail, like that of dead leaves, has all sizes down to a pixel."""
    rng = np.random.default_rng(5)
    height = 3 * side // 4
    photo = np.zeros((height, side, 3), np.float32)
    rows, columns = np.indices((height, side))
    for radius in 0.5 * side * rng.power(0.5, 400) ** 2 + 3:
        row, column = int(rng.integers(height)), int(rng.integers(side))
        reach = int(radius) + 1
        box = (
            slice(max(0, row - reach), row + reach),
            slice(max(0, column - reach), column + reach),
        )
        leaf = np.hypot(rows[box] - row, columns[box] - column) < radius
        photo[box][leaf] = rng.uniform(0.05, 0.95) * rng.uniform(0.6, 1, 3)
    for sigma in (0, 1, 3):
        noise = rng.normal(size=(height, side))
        noise = ndimage.gaussian_filter(noise, sigma) if sigma else noise
        photo *= 1 + 0.08 * (noise / noise.std())[..., None].astype(np.float32)
    return np.clip(photo, 0, 1)


def large_photos(folder: Path | None, side: int, count: int) -> dict[str, Pixels]:
    """Load photos whose long side is at least ``side``, and reduce them to it.

    Raises:
        FststyleError: The folder does not contain such a photo.
    """
    if folder is None:
        return {"synthetic": synthetic_photo(side)}
    paths = search_folder(folder).paths
    found: dict[str, Pixels] = {}
    for path in paths[:: max(1, len(paths) // (3 * count))]:
        photo = load_image(path)
        if max(photo.shape[:2]) >= side and len(found) < count:
            found[path.stem] = fit_long_side(photo, side)
    if not found:
        raise FststyleError(f"No photo in {folder} has a side of at least {side} pixels.")
    return found


def pictures_by_checksum(folders: Iterable[Path]) -> dict[str, Path]:
    """Return SHA-256 → path of all images in folders."""
    paths = [path for folder in folders for path in search_folder(folder).paths]
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in paths}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("styles", nargs="*", metavar="STYLE", help="names or files")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="photographs")
    parser.add_argument("--count", type=int, default=3, help="number of photographs; default 3")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="style images")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1536], help="in pixels")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="save the results here")
    given = parser.parse_args()
    styles = given.styles or sorted(path.stem for path in zoo_folder().glob("*.onnx"))
    try:
        pictures = pictures_by_checksum(
            [art_folder(), *([given.pictures] if given.pictures else [])]
        )
        probes = {
            size: large_probes(large_photos(given.photos, size, given.count), size)
            for size in given.sizes
        }
        rows: list[list[str]] = []
        for style in styles:
            network = read_style(find_network(style).path)
            picture = pictures.get(network.info.style_image_sha256)
            artwork = None if picture is None else load_image(picture)
            if artwork is None:
                print(f"{style}: no style image, so specks is not measured.", file=sys.stderr)
            elif short := network.info.training.get("loss", {}).get("style_sizes", [384])[0]:
                artwork = fit_short_side(artwork, short)
            stylizer = Stylizer(style, device="cpu")
            for size in given.sizes:
                for strength in gates.STRENGTHS if network.network.dial else (1.0,):

                    def stylise(photo: Pixels, *, strength: float) -> Pixels:
                        return stylizer(photo, size="full", strength=strength)  # noqa: B023

                    found = gates.check(stylise, artwork, strengths=[strength], probes=probes[size])
                    values = {gate.name: _cell(gate) for gate in found}
                    cells = [values.get(name, "–") for name in gates.LIMITS]
                    rows.append([network.info.name, str(size), f"{strength:g}", *cells])
                    print(" ".join(rows[-1]), file=sys.stderr)
                    if given.output is not None:
                        given.output.mkdir(parents=True, exist_ok=True)
                        for name, photo in probes[size].photos.items():
                            file = f"{network.info.name}_{size}_{strength:g}_{name}.png"
                            save_photo(stylise(photo, strength=strength), given.output / file)
    except FststyleError as error:
        sys.exit(f"Error: {error}")
    rows.append(["limit", "", "", *(f"{limit:g}" for limit in gates.LIMITS.values())])
    print(markdown_table(("style", "size", "strength", *gates.LIMITS), rows))


def _cell(gate: gates.Gate) -> str:
    return (
        f"{gate.value:.2f} ({gate.probe[:12]})"
        if gate.passed
        else f"{gate.value:.2f}! ({gate.probe[:12]})"
    )


if __name__ == "__main__":
    main()
