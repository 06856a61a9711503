"""``fststyle styles`` and ``fststyle info``: list styles, and show the content of a style file.

Neither command loads torch.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fststyle.cli.arguments import STYLE_HELP, positive
from fststyle.cli.errors import CommandError, sentence
from fststyle.cli.local_files import local_path, output_path, style_text
from fststyle.errors import StyleError
from fststyle.images.load import load_image
from fststyle.images.resize import fit_long_side
from fststyle.images.save import check_output, save_photo
from fststyle.styles import quality
from fststyle.styles.find import (
    FoundStyle,
    art_folder,
    art_info,
    check_user_styles,
    find_style,
    list_styles,
    unlisted_styles,
    user_styles_folder,
    zoo_folder,
)
from fststyle.styles.info import StyleInfo
from fststyle.styles.style_file import read_style
from fststyle.stylize.output_paths import check_replaced

_SHEET: Final = Path("sheet.png")
_HEADER: Final = (
    "name",
    "network",
    "L-BFGS iterations",
    "style left",
    "size",
    "licence",
    "artwork",
)
_RIGHT: Final = (2, 3, 4)  # columns of numbers


@dataclass(frozen=True)
class _Listed:
    """A style and the information in its file.

    Attributes:
        found: The style.
        info: Its origin and training, or ``None`` if the file is damaged.
        damage: Description of the damage.
        dial: Whether the style can be applied at strengths above 1.
        strength: Recommended strength, or ``None`` if there is no network.
    """

    found: FoundStyle
    info: StyleInfo | None
    damage: str = ""
    dial: bool = False
    strength: float | None = None

    def origin(self) -> str:
        if self.info is None:
            return "damaged"
        if self.found.kind == "picture":
            return "picture only"
        return "shipped" if self.found.path.parent == zoo_folder() else "own"

    def bytes(self) -> int | None:
        return self.found.path.stat().st_size if self.found.kind == "network" else None

    def qualities(self) -> list[quality.Quality]:
        is_network = self.info is not None and self.found.kind == "network"
        return quality.recorded(self.info) if is_network and self.info is not None else []


def add_command(commands: Any) -> None:
    """Add ``fststyle styles`` and ``fststyle info`` to the command line."""
    command = commands.add_parser(
        "styles",
        help="list the styles, or show a photo in all of them",
        description="List the styles. 'L-BFGS iterations' is the number of optimisation iterations "
        "that are needed to reach the same loss as the network. 'style left' is the network's "
        "style loss as a fraction of the photo's own style loss. Both are medians over photos that "
        "were not used in training.",
    )
    what = command.add_mutually_exclusive_group()
    what.add_argument(
        "--json", action="store_true", help="print all information as a JSON document"
    )
    what.add_argument(
        "--sheet",
        type=local_path,
        metavar="PHOTO",
        help="save one image that shows a photo in every style",
    )
    command.add_argument(
        "-o",
        "--output",
        type=output_path,
        metavar="OUT",
        help=f"path of that image; default: {_SHEET}",
    )
    command.add_argument(
        "--size",
        type=positive,
        default=384,
        help="long side of each photo in that image, in pixels; default 384",
    )
    command.set_defaults(run=styles)

    command = commands.add_parser("info", help="print what a style file contains, as JSON")
    command.add_argument("style", type=style_text, help=STYLE_HELP)
    command.set_defaults(run=info)


def styles(options: argparse.Namespace) -> int:
    """List the styles, or draw a photo in all of them.

    Args:
        options: The parsed command line.

    Returns:
        The exit status, 0.

    Raises:
        FststyleError: The photo cannot be read, the image cannot be written, no style can be
            used, or the folder of the user's styles cannot be read.
    """
    if options.sheet is not None:
        return _draw(options.sheet, options.output or _SHEET, options.size)
    if options.output is not None:
        raise CommandError(
            "-o sets the path of the image that --sheet saves.", remedy="Add --sheet PHOTO."
        )
    listed = [_read(found) for found in list_styles()]
    if unlisted := [found.path.name for found in unlisted_styles()]:
        folder = user_styles_folder()
        print(f"Not listed, because of their names, in {folder}:", file=sys.stderr)
        print(f"{', '.join(unlisted)}. Use only a-z, 0-9, _ and - in names.", file=sys.stderr)
    if options.json:
        document = {"styles": [_as_dict(style) for style in listed]}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print(*_table([_HEADER, *(_row(style) for style in listed)]), sep="\n")
    check_user_styles()
    return 0


def info(options: argparse.Namespace) -> int:
    """Print the information about a style, as JSON.

    Args:
        options: The parsed command line.

    Returns:
        The exit status, 0.

    Raises:
        StyleError: The style is unknown, or its file is damaged.
    """
    found = find_style(options.style)
    facts: dict[str, Any] = {"path": str(found.path), "kind": found.kind}
    if found.kind == "network":
        style = read_style(found.path)
        facts["format_version"] = style.network.format_version
        facts["styles"] = [each.info.name for each in style.styles]
        style = style.selected(found.style)
        facts["recommended_strength"] = style.styles[0].strength
        network = dataclasses.asdict(style.network)
        facts |= {"network": network, **json.loads(style.info.to_json())}
    elif found.path.parent == art_folder():
        facts |= dataclasses.asdict(art_info(found.name))
    print(json.dumps(facts, indent=2, default=str, ensure_ascii=False))
    return 0


def _read(found: FoundStyle) -> _Listed:
    try:
        if found.kind != "network":
            return _Listed(found, art_info(found.name))
        content = read_style(found.path)
        strength = content.styles[0].strength
        return _Listed(found, content.info, dial=content.network.dial, strength=strength)
    except StyleError as error:  # one damaged file must not hide the others
        return _Listed(found, None, sentence(error))


def _as_dict(style: _Listed) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": style.found.name,
        "origin": style.origin(),
        "path": str(style.found.path),
        "bytes": style.bytes(),
    }
    if style.info is None:
        return {**facts, "error": style.damage}
    keys = ("title", "artist", "year", "source", "licence", "style_image_sha256")
    facts |= {key: getattr(style.info, key) for key in keys}
    facts |= {"dial": style.dial, "recommended_strength": style.strength}
    facts["quality"] = [dataclasses.asdict(item) for item in style.qualities()]
    return facts


def _row(style: _Listed) -> tuple[str, ...]:
    size = "-" if style.bytes() is None else f"{(style.bytes() or 0) / 1000:.0f} kB"
    if style.info is None:
        return (style.found.name, style.origin(), "-", "-", size, "-", style.damage)
    info = style.info
    equals = left = "-"
    if found := style.qualities():
        equals = found[0].equals_text()
        left = "-" if math.isnan(found[0].style_left()) else f"{found[0].style_left():.0%}"
    artwork = ", ".join(str(x) for x in (info.title, info.artist, info.year) if x)
    licence = info.licence.partition(" (")[0] or "-"  # --json shows it in full
    return (style.found.name, style.origin(), equals, left, size, licence, artwork)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    # The last column may be long.
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if n in _RIGHT else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return lines


def _draw(photo_path: Path, output: Path, size: int) -> int:
    """Draw the photo and the results of all trained networks in one image."""
    from fststyle.images.sheets import contact_sheet  # slow to import

    check_replaced([output], [photo_path])
    check_output(output)
    photo = fit_long_side(load_image(photo_path), size)
    networks = [found for found in list_styles() if found.kind == "network"]

    from fststyle.stylize.stylizer import Stylizer

    names, images = [photo_path.name], [photo]
    damages = []
    for found in networks:
        try:
            images.append(Stylizer(str(found.path), device="cpu")(photo))
        except StyleError as error:
            damages.append(sentence(error))
            continue
        names.append(found.name)
    if len(images) == 1:
        if damages:
            raise CommandError(f"No trained style can be used: {damages[0]}", code="damaged")
        raise CommandError(
            "There are no trained styles yet.",
            remedy="Train one: fststyle train style=thanos_poster",
            code="no_network",
        )
    for damage in damages:
        print(f"Skipped: {damage}", file=sys.stderr)
    pixels = contact_sheet(images, names)
    save_photo(pixels, output)
    height, width = pixels.shape[:2]
    count = len(images) - 1
    print(f"{output}  {width}×{height}  {count} style{'s' if count > 1 else ''}")
    return 0
