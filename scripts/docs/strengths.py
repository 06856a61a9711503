"""Write a sheet for each style with a dial: three photographs at five strengths.

    python scripts/docs/strengths.py                        # all styles in fststyle/zoo
    python scripts/docs/strengths.py mine.onnx --to sheets  # other style files

Each row is one of the photographs of the gallery, followed by its results at the strengths 0.25,
0.5, 1, 2 and 4. The sheets are called NAME_strengths.jpg. Styles without a dial are passed over.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gallery import DOCS, HEIGHT, at_height, save_small

from fststyle.errors import FststyleError
from fststyle.images.bundled import builtin_held_out
from fststyle.images.load import load_image
from fststyle.images.sheets import sheet
from fststyle.styles.find import zoo_folder
from fststyle.styles.style_file import read_style
from fststyle.stylize.stylizer import Stylizer

STRENGTHS: Final = (0.25, 0.5, 1, 2, 4)
MOST_BYTES: Final = 250_000
"""Maximum file size of a sheet. To stay below it, quality is reduced first, then size."""


def write(path: Path, folder: Path) -> Path | None:
    """Write the sheet of a style.

    Args:
        path: Style file.
        folder: Folder for the sheet, which is created if necessary.

    Returns:
        The path of the sheet, or ``None`` if the style has no dial.

    Raises:
        FststyleError: The file cannot be used, or the sheet cannot be written.
    """
    if not read_style(path).network.dial:
        return None
    stylizer = Stylizer(path, device="cpu")
    photos = [at_height(load_image(photo), HEIGHT) for photo in builtin_held_out()]
    rows = [[photo, *(stylizer(photo, strength=s) for s in STRENGTHS)] for photo in photos]
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{path.stem}_strengths.jpg"
    whole = sheet(rows, gap=4)
    heights = [len(rows) * height for height in (HEIGHT, 240, 200)]
    trials = [(height, quality) for height in heights for quality in (82, 70)]
    save_small(whole, target, trials, MOST_BYTES)
    return target


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the sheets, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("styles", nargs="*", type=Path, help="style files; default: the zoo")
    parser.add_argument("--to", type=Path, default=DOCS / "gallery", help="folder for the sheets")
    given = parser.parse_args(arguments)
    try:
        for path in given.styles or sorted(zoo_folder().glob("*.onnx")):
            target = write(path, given.to)
            print(f"{path.stem} has no dial." if target is None else target)
    except FststyleError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
