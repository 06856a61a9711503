"""Effect of the number of training photographs: one style, trained on more and more of them.

    python scripts/bench/data.py PHOTOS -o FOLDER [--counts 12,100,1000] [--minutes 10]

The script trains the style on the bundled photographs, and on 12, 100 and 1000 photographs from
PHOTOS (or on all of them if there are fewer). Each network is trained for the same time, or for the
same number of ``--steps``. The script then prints each network's losses on photographs that no
network was trained on, both bundled ones and ones from PHOTOS, and draws a sheet. Networks that
already exist in FOLDER are not trained again, and an interrupted training run is resumed.
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
from typing import Any, Final

import numpy as np
import torch
from _command import benchmark_parser, minutes, run_benchmark
from _records import Table, write_record
from numpy.typing import NDArray

from fststyle.cli.arguments import positive
from fststyle.files import write_atomically
from fststyle.images.bundled import builtin_held_out, builtin_photos
from fststyle.images.folder import find_photos
from fststyle.images.load import load_image
from fststyle.images.resize import fit_short_side
from fststyle.images.save import save_photo
from fststyle.images.sheets import sheet
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.measure import losses_of, measure_for
from fststyle.perceptual.tensors import to_tensor
from fststyle.perceptual.vgg_weights import load_weights
from fststyle.styles.find import find_picture
from fststyle.stylize.stylizer import Stylizer
from fststyle.training.photo_crops import is_held_out

ROOT: Final = Path(__file__).resolve().parents[2]
SHOWN: Final = 3  # number of photographs of each kind in the sheet


def counts(text: str) -> list[int]:
    """Parse a comma-separated list of numbers."""
    return [positive(part) for part in text.split(",")]


def train(style: str, length: str, folder: Path, photos: Sequence[Path]) -> Path:
    """Train in a new process, unless the network already exists.

    Args:
        style: Value of ``style=``.
        length: ``minutes=10`` or ``steps=2000``.
        folder: Folder for the run.
        photos: Photographs to train on. If empty, the bundled photographs are used.

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
    """Select photographs so that a larger selection contains every smaller one."""
    order = np.random.default_rng(0).permutation(len(photos))
    return [photos[index] for index in order[:count]]


@torch.no_grad()
def row(
    file: Path, photos: Sequence[NDArray[np.float32]], measure: PerceptualLoss
) -> tuple[list[float], list[NDArray[np.float32]]]:
    """Return a network's mean total, content and style losses on photographs, and its results."""
    stylizer = Stylizer(str(file), device="cpu")
    results = [stylizer(photo) for photo in photos]
    found = []
    for photo, result in zip(photos, results, strict=True):
        targets = measure.content_targets(to_tensor(photo))
        losses = losses_of(measure, to_tensor(result), targets)
        found.append((losses.total, sum(losses.content.values()), losses.style_term()))
    return [statistics.mean(column) for column in zip(*found, strict=True)], results


def compare(arguments: argparse.Namespace) -> None:
    """Train, measure, print the table, draw the sheet and write the record.

    Raises:
        FststyleError: A photograph cannot be read, or the style is unknown.
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
    sets: dict[str, list[Path]] = {f"{len(builtin_photos())}, bundled": []}
    sets |= {str(n): chosen(files, n) for n in counts}
    networks = {
        name: train(arguments.style, length, output / name.partition(",")[0], photos)
        for name, photos in sets.items()
    }
    groups = {f"{len(held_out)} of the folder": held_out, "bundled": builtin_held_out()}
    measure = measure_for(load_image(find_picture(arguments.style)), load_weights())
    lines: list[list[str]] = []
    values: list[dict[str, Any]] = []
    shown: list[list[NDArray[np.float32]]] = []
    for group, paths in groups.items():
        photos = [fit_short_side(load_image(path), 256) for path in paths]
        rows = [[photo] for photo in photos[:SHOWN]]
        for name, file in networks.items():
            losses, results = row(file, photos, measure)
            lines.append([group, name, *(f"{value:.3f}" for value in losses)])
            values.append({"photographs": group, "trained on": name, "losses": losses})
            for line, result in zip(rows, results, strict=False):
                line.append(result)
        shown += rows
    save_photo(sheet(shown, titles=("photo", *networks), cell_height=256), output / "data.png")
    table = Table(("held-out photographs", "trained on", "total", "content", "style"), lines)
    write_atomically(output / "data.md", f"{table}\n".encode())
    print(table)
    write_record("data", values, {"data": table}, arguments.records)


def main() -> None:
    """Parse the command line and run the benchmark."""
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    parser = benchmark_parser(__doc__)
    add = parser.add_argument
    add("photos", type=Path, help="folder with photographs")
    add("-o", "--output", type=Path, required=True, metavar="FOLDER", help="folder for the results")
    add("--style", default="thanos_poster", help="artwork or style image (thanos_poster)")
    add("--counts", type=counts, default=[12, 100, 1000], metavar="12,100,1000")
    add("--minutes", type=minutes, default=10.0, help="training time of each network (10)")
    add("--steps", type=positive, help="steps of each training run, instead of minutes")
    add("--held-out", type=positive, default=24, help="photos to measure on (24)")
    try:
        run_benchmark(compare, parser.parse_args())
    except subprocess.CalledProcessError as error:
        sys.exit(f"Error: a training run ended with status {error.returncode}; see above.")


if __name__ == "__main__":
    main()
