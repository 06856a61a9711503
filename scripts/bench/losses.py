"""Draw what variants of the loss make of photographs, to choose a default by looking.

    python scripts/bench/losses.py --photos PHOTOS --styles wave.jpg scream.jpg
        --variant default: --variant strong:style_weight=1
        --variant deep:style_weight=0.7,style_layers={relu3_3:1,relu4_3:2} -o FOLDER

trains every variant on every style picture for the same time (``--minutes``), on the processor,
and writes for each style ``sheet_STYLE.png``: a row for each variant, a column for each photograph,
the style picture last. The keys are those of the group ``loss``, ``preset=johnson`` among them; one
with a dot is any other setting of ``train.py`` (``network.width=32``). ``table.md`` has the means
over the photographs:

- the relative, unweighted losses of each layer under the fixed measure, and its weighted total,
  whatever the network was trained under;
- patches: the distance of 7×7 patches from the style picture's
  (`fststyle.perceptual.similarity`), in 1/255;
- SSIM against the photograph.

A training that is in ``results.json`` with the same settings is not made again, so a comparison
that was cut off goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig
from PIL import Image, ImageDraw, ImageFont
from training import compose, run_training, sha256, start_from, style_name

from fststyle.errors import FststyleError, SettingError
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
from fststyle.styles.find import find_picture
from fststyle.styles.info import StyleInfo
from fststyle.stylize.stylizer import Stylizer
from fststyle.training.settings import check_keys, comparable, read_loss

Pixels = NDArray[np.float32]


def read_variant(text: str) -> tuple[str, list[str]]:
    """``NAME:key=value,key=value`` → the name, and what it is on the command line of ``train.py``.

    Raises:
        SettingError: It is not of this form.
    """
    name, colon, rest = text.partition(":")
    # A comma inside brackets belongs to a value.
    parts = re.findall(r"(?:[^,\[{]|\[[^\]]*\]|\{[^}]*\})+", rest)
    if not colon or not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or any("=" not in p for p in parts):
        raise SettingError(f"A variant is NAME:key=value,key=value, not {text!r}.")
    # Whether there is such a key is told by the loss, with all that there are.
    return name, [part if "." in part.split("=")[0] else f"++loss.{part}" for part in parts]


def label(text: str, height: int, width: int = 120) -> Pixels:
    """A text in the middle of a white cell."""
    strip = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(strip)
    size = 18.0
    while size > 6 and draw.textlength(text, ImageFont.load_default(size)) > width - 4:
        size -= 1
    font = ImageFont.load_default(size)
    draw.text((width / 2, height / 2), text, fill="black", font=font, anchor="mm")
    return from_pil(strip).pixels


def figures(
    measure: PerceptualLoss, style: Pixels, photo: Pixels, picture: Pixels
) -> dict[str, float]:
    """What is known of a stylised photograph; all pictures are ``(H, W, 3)``, RGB in [0, 1]."""
    content, image = to_tensor(photo), to_tensor(picture)
    targets = measure.content_targets(content)
    relative = measure.relative(image, targets)
    known = {"total": float(measure(image, targets).total.detach())}
    known |= {f"content {layer}": float(value) for layer, value in relative.content.items()}
    known |= {f"style {layer}": float(value) for layer, value in relative.style.items()}
    return {**known, "patches": patch_distance(picture, style), "SSIM": ssim(picture, photo)}


def means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The means of each figure over photographs."""
    return {key: statistics.fmean(row[key] for row in rows) for key in rows[0]}


def table(rows: dict[str, dict[str, float]]) -> str:
    """Figures by name, in Markdown."""
    keys = list(next(iter(rows.values())))
    lines = [f"| | {' | '.join(keys)} |", "| --- " * (len(keys) + 1) + "|"]
    for name, values in rows.items():
        cells = (f"{values[key]:.1f}" if key == "patches" else f"{values[key]:.3f}" for key in keys)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def read_results(path: Path) -> dict[str, Any]:
    """The settings of the finished trainings, by ``STYLE/VARIANT``.

    Raises:
        SettingError: The file is there and holds something else.
    """
    if not path.exists():
        return {}
    try:
        return cast(dict[str, Any], dict(json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError) as error:
        raise SettingError(f"{path} is not of this script; give another folder by -o.") from error


def stylised(
    measure: PerceptualLoss, style: Pixels, files: dict[str, Path], photos: dict[str, Pixels]
) -> tuple[dict[str, dict[str, float]], Pixels]:
    """The figures and the sheet of one style.

    Args:
        measure: The fixed measure for the style.
        style: Its picture.
        files: Variant → style file.
        photos: Name → photograph.

    Returns:
        Row → figures, the means over the photographs, and the sheet.
    """
    # The texture is that of the size at which the measure sees the picture.
    seen = fit_short_side(style, MEASURE.style_sizes[0])
    heights = max(len(photo) for photo in photos.values())
    titles = ("", *photos, "style")
    pictures = {"photo": list(photos.values())}
    for variant, file in files.items():
        stylizer = Stylizer(str(file), device="cpu")
        pictures[variant] = [stylizer(photo) for photo in photos.values()]
    rows = {}
    for name, results in pictures.items():
        pairs = zip(photos.values(), results, strict=True)
        rows[name] = means([figures(measure, seen, photo, result) for photo, result in pairs])
    drawn = [[label(name, heights), *results, style] for name, results in pictures.items()]
    return rows, sheet(drawn, titles=titles, cell_height=heights)


def plan(
    arguments: argparse.Namespace, style: str, picture: Path, overrides: Sequence[str]
) -> tuple[DictConfig, dict[str, Any]]:
    """The configuration of a training, and all that it depends on.

    Raises:
        FststyleError: A setting is wrong.
    """
    cfg = compose(picture, style, arguments.photos.resolve(), overrides, arguments.minutes)
    check_keys(cfg)
    read_loss(cfg.loss)
    settings = {"minutes": arguments.minutes}
    if arguments.init is not None:
        start_from(cfg, arguments.init, picture)
        settings["init"] = sha256(arguments.init)
    info = StyleInfo(style, style_image_sha256=sha256(picture))
    return cfg, {**settings, "config": comparable(cfg, info)}


def compare(arguments: argparse.Namespace) -> None:
    """Train what is not trained yet, then draw and measure.

    Raises:
        FststyleError: A setting is wrong, or a training cannot be made.
    """
    folder: Path = arguments.output
    pictures = {}
    for text in arguments.styles:
        picture = find_picture(text).resolve()
        pictures[style_name(text, picture)] = picture
    variants = dict(read_variant(text) for text in arguments.variant)
    if len(pictures) < len(arguments.styles) or len(variants) < len(arguments.variant):
        raise SettingError("Two styles or two variants have the same name; rename one of them.")
    plans = {
        (style, variant): plan(arguments, style, picture, overrides)
        for style, picture in pictures.items()
        for variant, overrides in variants.items()
    }
    photos = {}
    for path in arguments.content or builtin_held_out():
        photos[path.stem] = fit_short_side(load_image(path), arguments.size)

    finished = read_results(folder / "results.json")

    def is_finished(style: str, variant: str) -> bool:
        is_same = finished.get(f"{style}/{variant}") == plans[style, variant][1]
        return is_same and (folder / style / variant / f"{style}.onnx").is_file()

    waiting = [key for key in plans if not is_finished(*key)]
    weights = load_weights()
    begin = time.monotonic()
    text = ""
    for style, picture in pictures.items():
        for variant in variants:
            if (style, variant) not in waiting:
                continue
            done = waiting.index((style, variant))
            each = (time.monotonic() - begin) / 60 / done if done else arguments.minutes
            left = each * (len(waiting) - done)
            print(
                f"{style}, {variant}: {done + 1} of {len(waiting)}; about {left:.0f} min left",
                file=sys.stderr,
                flush=True,
            )
            cfg, settings = plans[style, variant]
            run_training(cfg, folder / style / variant)
            finished[f"{style}/{variant}"] = settings
            write_atomically(folder / "results.json", json.dumps(finished, indent=1).encode())
        measure = measure_for(load_image(picture), weights)
        files = {name: folder / style / name / f"{style}.onnx" for name in variants}
        rows, drawn = stylised(measure, load_image(picture), files, photos)
        save_photo(drawn, folder / f"sheet_{style}.png")
        text += f"## {style}\n\n{table(rows)}\n\n"
        write_atomically(folder / "table.md", text.encode())
    print(text.strip())


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("--variant", action="append", required=True, metavar="NAME:key=value,…")
    add("--styles", nargs="+", required=True, metavar="PICTURE", help="pictures or artworks' names")
    add("--content", type=Path, nargs="+", metavar="PHOTO", help="to draw (the built-in ones)")
    add("--photos", type=Path, required=True, help="folder of photographs to train on")
    add("-o", "--output", type=Path, required=True, metavar="FOLDER")
    add("--minutes", type=float, default=3.0, help="of each training (3)")
    add("--init", type=Path, metavar="STYLE_FILE", help="a network for all to begin with")
    add("--size", type=int, default=256, help="short side of the photographs drawn, pixels (256)")
    return made


def main() -> None:
    """The command line."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    arguments = parser().parse_args()
    try:
        compare(arguments)
    except FststyleError as error:
        raise SystemExit(f"Error: {error}") from None
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; the same command goes on after the finished trainings.\n")
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
