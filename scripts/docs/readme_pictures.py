"""Draw the README's images from finished training runs.

    python scripts/docs/readme_pictures.py RUN_FOLDER [RUN_FOLDER ...] [--times "2 minutes=FILE" …]

The style of the first run is used for docs/strip.jpg (photo, style and result) and docs/curve.png
(its loss compared with L-BFGS). docs/sheet.jpg shows held-out photographs in the styles of all
runs. With ``--times``, docs/times.jpg shows results of networks that were trained for different
times.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fststyle.images.bundled import builtin_held_out
from fststyle.images.load import load_image
from fststyle.images.resize import fit_long_side
from fststyle.images.save import save_photo
from fststyle.images.sheets import sheet
from fststyle.styles.find import find_picture
from fststyle.stylize.stylizer import Stylizer

Pixels = NDArray[np.float32]
DOCS = Path(__file__).parents[2] / "docs"


def save_sheet(
    photos: Iterable[Pixels], stylizers: dict[str, Stylizer], height: int, path: Path, quality: int
) -> None:
    """Draw photographs, and the results of each network."""
    rows = [
        [small, *(stylizer(small) for stylizer in stylizers.values())]
        for small in (fit_long_side(photo, 512) for photo in photos)
    ]
    drawn = sheet(rows, titles=("photo", *stylizers), cell_height=height)
    save_photo(drawn, path, quality=quality)


def main() -> None:
    """Draw all images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN_FOLDER")
    parser.add_argument("--times", nargs="+", default=[], metavar="TITLE=STYLE_FILE")
    arguments = parser.parse_args()
    DOCS.mkdir(exist_ok=True)
    stylizers = {}
    for run in arguments.runs:
        (file,) = run.glob("*.onnx")
        stylizers[file.stem] = Stylizer(str(file), device="cpu")
    photos = {path.stem: load_image(path) for path in builtin_held_out()}

    lead = next(iter(stylizers))
    strip = [photos["china"], load_image(find_picture(lead)), stylizers[lead](photos["china"])]
    save_photo(sheet([strip], cell_height=360), DOCS / "strip.jpg", quality=88)
    save_sheet(photos.values(), stylizers, 260, DOCS / "sheet.jpg", quality=88)
    if arguments.times:
        files = dict(text.split("=", 1) for text in arguments.times)
        timed = {title: Stylizer(file, device="cpu") for title, file in files.items()}
        save_sheet(photos.values(), timed, 240, DOCS / "times.jpg", quality=85)
    shutil.copyfile(arguments.runs[0] / "report_curve.png", DOCS / "curve.png")
    for path in sorted(DOCS.glob("*.*g")):
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
