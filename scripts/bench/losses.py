"""Compare variants of the loss on photographs, to choose a default by eye.

    python scripts/bench/losses.py --photos PHOTOS --styles wave.jpg scream.jpg
        --variant default: --variant strong:style_weight=1
        --variant deep:style_weight=0.7,style_layers={relu3_3:1,relu4_3:2} -o FOLDER

The script trains every variant on every style image for the same time (``--minutes``), on the CPU.
For each style, it writes ``sheet_STYLE.png`` with a row for each photograph, a column for each
variant, and the style image in the last column. The keys are settings from the group ``loss``,
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
from pathlib import Path

import numpy as np
from _command import minutes, run_benchmark, training_parser
from _records import Table, write_record
from _runs import OurRun, Setup, run
from numpy.typing import NDArray

from fststyle.errors import SettingError
from fststyle.files import write_atomically
from fststyle.images.bundled import builtin_held_out
from fststyle.images.load import load_image
from fststyle.images.resize import fit_short_side
from fststyle.images.save import save_photo
from fststyle.images.sheets import sheet
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.measure import MEASURE, losses_of, measure_for
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


def measured(
    measure: PerceptualLoss, style: Pixels, photo: Pixels, result: Pixels
) -> dict[str, float]:
    """Measure a stylised photograph. All images are ``(H, W, 3)``, RGB in [0, 1]."""
    losses = losses_of(measure, to_tensor(result), measure.content_targets(to_tensor(photo)))
    return {
        "total": losses.total,
        **{f"content {layer}": value for layer, value in losses.content.items()},
        **{f"style {layer}": value for layer, value in losses.style.items()},
        "patches": patch_distance(result, style),
        "SSIM": ssim(result, photo),
    }


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
    results = {"photo": list(photos.values())}
    for variant, file in files.items():
        stylizer = Stylizer(str(file), device="cpu")
        results[variant] = [stylizer(photo) for photo in photos.values()]
    rows = {}
    for name, images in results.items():
        pairs = zip(photos.values(), images, strict=True)
        found = [measured(measure, seen, photo, image) for photo, image in pairs]
        rows[name] = {key: statistics.fmean(each[key] for each in found) for key in found[0]}
    drawn = [[*images, style] for images in zip(*results.values(), strict=True)]
    height = max(len(photo) for photo in photos.values())
    return rows, sheet(drawn, titles=(*results, "style"), cell_height=height)


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
        OurRun(name, arguments.minutes, setup, (*arguments.ours, *overrides), arguments.init)
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
    add("--styles", nargs="+", required=True, metavar="IMAGE", help="style images or artworks")
    add("--content", type=Path, nargs="+", metavar="PHOTO", help="photos to draw (bundled ones)")
    add("--content-size", type=int, default=256, help="short side in pixels (256)")
    add("--minutes", type=minutes, default=3.0, help="training time of each variant (3)")
    add("--init", type=Path, metavar="STYLE_FILE", help="network from which all variants start")
    run_benchmark(benchmark, parser.parse_args())


if __name__ == "__main__":
    main()
