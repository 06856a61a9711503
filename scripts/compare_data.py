"""How far do the built-in photographs carry? The same style, trained on them and on a folder.

    python scripts/compare_data.py PHOTOS [--style thanos_poster] [--minutes 10]

trains the style twice, with ``data=builtin`` and with ``data=folder data.root=PHOTOS``, for the
same time (or takes two networks so trained: ``--trained BUILTIN.onnx FOLDER.onnx``), and prints
the relative losses of both networks on photographs that neither saw: the folder's held-out ones
and the built-in held-out ones.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from fststyle.data import builtin_held_out, is_held_out
from fststyle.images import find_photos, fit_short_side, load_image, save_photo
from fststyle.measure import measure_for
from fststyle.sheets import sheet
from fststyle.styles import find_picture
from fststyle.stylizer import Stylizer
from fststyle.vggweights import load_weights

ROOT = Path(__file__).parents[1]


def train(style: str, minutes: float, folder: Path, *data: str) -> Path:
    """Train in a process of its own, and return the style file."""
    command = [sys.executable, str(ROOT / "train.py"), f"style={style}", f"minutes={minutes}"]
    options = [f"output_dir={folder}", "report=false", "install=false"]
    subprocess.run([*command, *options, *data], check=True)
    return folder / f"{style}.onnx"


@torch.no_grad()
def main() -> None:
    """Train twice, measure, print a Markdown table, draw a sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--style", default="thanos_poster")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--count", type=int, default=24, help="held-out photos of the folder")
    parser.add_argument("--trained", type=Path, nargs=2, metavar=("BUILTIN", "FOLDER"))
    parser.add_argument("--output", type=Path, default=Path(tempfile.mkdtemp()))
    arguments = parser.parse_args()

    root = arguments.photos.resolve()
    if arguments.trained is None:
        on_folder = ("data=folder", f"data.root={root}")
        output, what = arguments.output, (arguments.style, arguments.minutes)
        trained = (train(*what, output / "builtin"), train(*what, output / "folder", *on_folder))
    else:
        trained = arguments.trained
    files = dict(zip(("builtin", "folder"), trained, strict=True))
    held_out = (path for path in find_photos(root) if is_held_out(path))
    groups = {
        f"{arguments.count} of the folder's": list(itertools.islice(held_out, arguments.count)),
        "built-in ones": builtin_held_out(),
    }
    measure = measure_for(load_image(find_picture(arguments.style)), load_weights())
    print("| held-out photos | trained on | total | content | style | photo's own style |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows = []
    for group, paths in groups.items():
        photos = [fit_short_side(load_image(path), 256) for path in paths]
        shown = [[photo] for photo in photos]
        for data, file in files.items():
            stylizer = Stylizer(str(file), device="cpu")
            figures = []
            for photo, row in zip(photos, shown, strict=True):
                picture = stylizer(photo)
                row.append(picture)
                content, image = (
                    torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]
                    for pixels in (photo, picture)
                )
                targets = measure.content_targets(content)
                terms, own = measure(image, targets), measure(content, targets)
                values = (terms.total, terms.content, terms.style, own.style)
                figures.append([float(value) for value in values])
            cells = (f"{statistics.mean(column):.3f}" for column in zip(*figures, strict=True))
            print(f"| {group} | {data} | {' | '.join(cells)} |")
        rows += shown[:3]
    path = arguments.output / "compare_data.png"
    save_photo(sheet(rows, titles=("photo", *files), cell_height=256), path)
    print(f"\nSheet: {path}")


if __name__ == "__main__":
    main()
