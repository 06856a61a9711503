"""How much do more photographs help? The same style, trained on more and more of them.

    python scripts/bench/data.py PHOTOS -o FOLDER [--counts 12,100,1000] [--minutes 10]

trains the style on the built-in photographs, and on so many of PHOTOS (all of them, where there
are fewer), for the same time each, or the same number of ``--steps``. It prints the losses of each
network on photographs that none of them saw, of PHOTOS and the built-in held-out ones, and draws a
sheet. A network that is in FOLDER already is not trained again, and one that was cut off goes on.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from fststyle.cli.arguments import positive
from fststyle.errors import FststyleError
from fststyle.files import write_atomically
from fststyle.images.bundled import builtin_held_out, builtin_photos
from fststyle.images.load import find_photos, load_image
from fststyle.images.resize import fit_short_side
from fststyle.images.save import save_photo
from fststyle.images.sheets import sheet
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.measure import losses_of, measure_for
from fststyle.perceptual.tensors import to_tensor
from fststyle.perceptual.vgg_weights import load_weights
from fststyle.styles.find import find_picture
from fststyle.stylize.stylizer import Stylizer
from fststyle.training.data import is_held_out

ROOT: Final = Path(__file__).resolve().parents[2]
SHOWN: Final = 3
"""Photographs of each kind in the sheet."""


def counts(text: str) -> list[int]:
    """Read ``12,100``."""
    return [positive(part) for part in text.split(",")]


def train(style: str, length: str, folder: Path, photos: Sequence[Path]) -> Path:
    """Train in a process of its own, unless that is done.

    Args:
        style: As ``style=`` takes it.
        length: ``minutes=10`` or ``steps=2000``.
        folder: Of the run.
        photos: To train on; none for the built-in ones.

    Returns:
        The style file.
    """
    file = folder / f"{style.rpartition('/')[2]}.onnx"
    if file.exists() and (folder / "sheet.png").exists():
        return file
    data = ["data=builtin"]
    if photos:
        links = folder.with_name(f"{folder.name}_photos")
        links.mkdir(parents=True, exist_ok=True)
        for photo in photos:
            link = links / photo.name
            if not link.is_symlink():
                link.symlink_to(photo)
        data = ["data=folder", f"data.root='{links.resolve()}'"]
    command = [sys.executable, str(ROOT / "train.py"), f"style={style}", length, *data]
    options = [f"output_dir='{folder}'", "report=false", "install=false", "trainer.gates=false"]
    subprocess.run([*command, *options, "resume=auto"], check=True)
    return file


def chosen(photos: Sequence[Path], count: int) -> list[Path]:
    """So many photographs: of a larger number they are a part."""
    order = np.random.default_rng(0).permutation(len(photos))
    return [photos[index] for index in order[:count]]


@torch.no_grad()
def row(
    file: Path, photos: Sequence[NDArray[np.float32]], measure: PerceptualLoss
) -> tuple[list[float], list[NDArray[np.float32]]]:
    """The mean total, content and style of a network on photographs, and its pictures."""
    stylizer = Stylizer(str(file), device="cpu")
    pictures = [stylizer(photo) for photo in photos]
    found = []
    for photo, picture in zip(photos, pictures, strict=True):
        targets = measure.content_targets(to_tensor(photo))
        losses = losses_of(measure, to_tensor(picture), targets)
        found.append((losses.total, sum(losses.content.values()), losses.style_term()))
    return [statistics.mean(column) for column in zip(*found, strict=True)], pictures


def compare(arguments: argparse.Namespace) -> None:
    """Train, measure, print a Markdown table and draw a sheet.

    Raises:
        FststyleError: A photograph cannot be read, or there is no such style.
    """
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    length = f"minutes={arguments.minutes:g}"
    if arguments.steps is not None:
        length = f"steps={arguments.steps}"
    files = find_photos(arguments.photos.resolve())
    held_out = list(itertools.islice(filter(is_held_out, files), arguments.held_out))
    files = [path for path in files if not is_held_out(path)]
    counts = sorted({min(count, len(files)) for count in arguments.counts})
    sets: dict[str, list[Path]] = {f"{len(builtin_photos())}, built-in": []}
    sets |= {str(n): chosen(files, n) for n in counts}
    networks = {
        name: train(arguments.style, length, output / name.partition(",")[0], photos)
        for name, photos in sets.items()
    }
    groups = {f"{len(held_out)} of the folder's": held_out, "built-in ones": builtin_held_out()}
    measure = measure_for(load_image(find_picture(arguments.style)), load_weights())
    lines = ["| held-out photographs | trained on | total | content | style |", "| --- " * 5 + "|"]
    shown: list[list[NDArray[np.float32]]] = []
    for group, paths in groups.items():
        photos = [fit_short_side(load_image(path), 256) for path in paths]
        rows = [[photo] for photo in photos[:SHOWN]]
        for name, file in networks.items():
            figures, pictures = row(file, photos, measure)
            cells = " | ".join(f"{value:.3f}" for value in figures)
            lines.append(f"| {group} | {name} | {cells} |")
            for line, picture in zip(rows, pictures, strict=False):
                line.append(picture)
        shown += rows
    save_photo(sheet(shown, titles=("photo", *networks), cell_height=256), output / "data.png")
    write_atomically(output / "data.md", ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))


def main() -> None:
    """The command line."""
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--style", default="thanos_poster")
    parser.add_argument("--counts", type=counts, default=[12, 100, 1000])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--steps", type=positive, help="instead of minutes")
    parser.add_argument("--held-out", type=positive, default=24, help="photos of the folder")
    try:
        compare(parser.parse_args())
    except FststyleError as error:
        sys.exit(f"Error: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"Error: a training ended with status {error.returncode}; see above.")


if __name__ == "__main__":
    main()
