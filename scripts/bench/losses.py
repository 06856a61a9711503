"""Compare variants of the loss on photographs, to choose a default by eye.

    python scripts/bench/losses.py --photos PHOTOS --styles wave.jpg scream.jpg
        --variant default: --variant strong:style_weight=1
        --variant deep:style_weight=0.7,style_layers={relu3_3:1,relu4_3:2} -o FOLDER

The script trains every variant on every style image for the same time (``--minutes``), on the CPU.
For each style, it writes ``sheet_STYLE.png`` with a row for each variant, a column for each
photograph, and the style image in the last column. The keys are settings from the group ``loss``,
including ``preset=johnson``. A key that contains a dot is any other setting of ``train.py``
(``network.width=32``). ``table.md`` contains means over the photographs:

- the relative, unweighted loss for each layer of the fixed measure, and the measure's weighted
  total, regardless of the loss that the network was trained with;
- patches: the distance between 7×7 patches and those of the style image
  (`fststyle.perceptual.similarity`), in 1/255;
- SSIM between the result and the photograph.

Runs that are already in ``records.json`` with the same settings are not repeated, so an interrupted
comparison can be continued.
"""

from __future__ import annotations

import argparse
import re
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from _command import minutes, run_benchmark, training_parser
from _records import Table, write_record
from _runs import OurRun, Setup, run
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fststyle.errors import SettingError
from fststyle.files import write_atomically
from fststyle.images.bundled import builtin_held_out
from fststyle.images.load import from_pil, load_image
from fststyle.images.resize import fit_short_side
from fststyle.images.save import save_photo
from fststyle.images.sheets import sheet
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.measure import MEASURE, measure_for
from fststyle.perceptual.similarity import patch_distance, ssim
from fststyle.perceptual.tensors import to_tensor
from fststyle.perceptual.vgg_weights import load_weights
from fststyle.stylize.stylizer import Stylizer

Pixels = NDArray[np.float32]


def read_variant(text: str) -> tuple[str, list[str]]:
    """Parse ``NAME:key=value,key=value`` into the name and the settings for ``train.py``.

    Raises:
        SettingError: The text does not have this form.
    """
    name, colon, rest = text.partition(":")
    # A comma inside brackets belongs to a value.
    parts = re.findall(r"(?:[^,\[{]|\[[^\]]*\]|\{[^}]*\})+", rest)
    if not colon or not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or any("=" not in p for p in parts):
        raise SettingError(
            f"Cannot parse the variant {text!r}; write NAME:key=value,key=value.",
            code="unknown_variant",
        )
    # With ++, unknown keys are reported by the loss, which also lists all known keys.
    return name, [part if "." in part.split("=")[0] else f"++loss.{part}" for part in parts]


def label(text: str, height: int, width: int = 120) -> Pixels:
    """Draw text in the middle of a white cell."""
    strip = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(strip)
    size = 18.0
    while size > 6 and draw.textlength(text, ImageFont.load_default(size)) > width - 4:
        size -= 1
    font = ImageFont.load_default(size)
    draw.text((width / 2, height / 2), text, fill="black", font=font, anchor="mm")
    return from_pil(strip).pixels


def measured(
    measure: PerceptualLoss, style: Pixels, photo: Pixels, result: Pixels
) -> dict[str, float]:
    """Measure a stylised photograph. All images are ``(H, W, 3)``, RGB in [0, 1]."""
    content, image = to_tensor(photo), to_tensor(result)
    targets = measure.content_targets(content)
    relative = measure.relative(image, targets)
    known = {"total": float(measure(image, targets).total.detach())}
    known |= {f"content {layer}": float(value) for layer, value in relative.content.items()}
    known |= {f"style {layer}": float(value) for layer, value in relative.style.items()}
    return {**known, "patches": patch_distance(result, style), "SSIM": ssim(result, photo)}


def means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each value over all photographs."""
    return {key: statistics.fmean(row[key] for row in rows) for key in rows[0]}


def table(rows: dict[str, dict[str, float]]) -> Table:
    """Format the values of each row as a table."""
    keys = list(next(iter(rows.values())))
    cells = [
        [name, *(f"{values[key]:.{1 if key == 'patches' else 3}f}" for key in keys)]
        for name, values in rows.items()
    ]
    return Table(["", *keys], cells)


def stylised(
    measure: PerceptualLoss, style: Pixels, files: dict[str, Path], photos: dict[str, Pixels]
) -> tuple[dict[str, dict[str, float]], Pixels]:
    """Stylise the photographs with each variant of one style, and measure the results.

    Args:
        measure: The fixed measure for the style.
        style: The style image.
        files: The style file for each variant.
        photos: The photographs, by name.

    Returns:
        The means over the photographs for each row, and the sheet.
    """
    # The measure uses the style image at this size, so its texture must have the same size.
    seen = fit_short_side(style, MEASURE.style_sizes[0])
    height = max(len(photo) for photo in photos.values())
    results = {"photo": list(photos.values())}
    for variant, file in files.items():
        stylizer = Stylizer(str(file), device="cpu")
        results[variant] = [stylizer(photo) for photo in photos.values()]
    rows = {}
    for name, images in results.items():
        pairs = zip(photos.values(), images, strict=True)
        rows[name] = means([measured(measure, seen, photo, image) for photo, image in pairs])
    drawn = [[label(name, height), *images, style] for name, images in results.items()]
    return rows, sheet(drawn, titles=("", *photos, "style"), cell_height=height)


def benchmark(arguments: argparse.Namespace) -> None:
    """Carry out the missing runs, then draw the sheets and measure."""
    folder: Path = arguments.output
    setups = {}
    for text in arguments.styles:
        setup = Setup.find(text, arguments.photos, arguments.size, arguments.held_out)
        setups[setup.style] = setup
    variants = dict(read_variant(text) for text in arguments.variant)
    if len(setups) < len(arguments.styles) or len(variants) < len(arguments.variant):
        raise SettingError("Two styles or two variants have the same name. Rename one of them.")
    runs = [
        OurRun(name, arguments.minutes, setup, tuple(overrides), arguments.init)
        for setup in setups.values()
        for name, overrides in variants.items()
    ]
    photos = {}
    for path in arguments.content or builtin_held_out():
        photos[path.stem] = fit_short_side(load_image(path), arguments.content_size)
    records = run(runs, folder)
    tables, values, text = {}, {}, ""
    for style, setup in setups.items():
        image = load_image(setup.image)
        files = {r["run"]: folder / r["file"] for r in records if r["style"] == style}
        rows, drawn = stylised(measure_for(image, load_weights()), image, files, photos)
        save_photo(drawn, folder / f"sheet_{style}.png")
        values[style], tables[f"losses-{style}"] = rows, table(rows)
        text += f"## {style}\n\n{table(rows)}\n\n"
    write_atomically(folder / "table.md", text.encode())
    print(text.strip())
    write_record("losses", values, tables, arguments.records)


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = training_parser(__doc__)
    add = parser.add_argument
    add("--variant", action="append", required=True, metavar="NAME:key=value,…")
    add(
        "--styles",
        nargs="+",
        required=True,
        metavar="IMAGE",
        help="style images or names of artworks",
    )
    add(
        "--content",
        type=Path,
        nargs="+",
        metavar="PHOTO",
        help="photos to draw (default: the bundled photos)",
    )
    add(
        "--content-size",
        type=int,
        default=256,
        help="short side of the drawn photos in pixels (256)",
    )
    add("--minutes", type=minutes, default=3.0, help="training time of each variant (3)")
    add("--init", type=Path, metavar="STYLE_FILE", help="network from which all variants start")
    run_benchmark(benchmark, parser.parse_args())


if __name__ == "__main__":
    main()
