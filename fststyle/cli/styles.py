"""``fststyle styles``: what styles there are, how good, and a photo in all of them.

None of it loads torch.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from fststyle.errors import PhotoError, SettingError, StyleError
from fststyle.images.load import load_image
from fststyle.images.resize import fit_long_side
from fststyle.images.save import check_output, save_photo
from fststyle.images.sheets import contact_sheet
from fststyle.styles import quality
from fststyle.styles.find import FoundStyle, art_info, list_styles, zoo_folder
from fststyle.styles.info import StyleInfo
from fststyle.styles.style_file import read_info

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
    """A style with what its file says; `info` is None where the file is damaged."""

    found: FoundStyle
    info: StyleInfo | None
    damage: str = ""

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


def styles(options: argparse.Namespace) -> int:
    """List the styles, or draw a photo in all of them.

    Args:
        options: Of the command line: ``json``, ``sheet``, ``output`` and ``size``.

    Returns:
        The exit status.

    Raises:
        FststyleError: Something that the user can mend.
    """
    if options.sheet is not None:
        return _draw(options.sheet, options.output or _SHEET, options.size)
    if options.output is not None:
        raise SettingError("-o names the contact sheet; say of which photo: --sheet PHOTO.")
    listed = [_read(found) for found in list_styles()]
    if options.json:
        document = {"styles": [_as_dict(style) for style in listed]}
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return 0
    for line in _table([_HEADER, *(_row(style) for style in listed)]):
        print(line)
    return 0


def _read(found: FoundStyle) -> _Listed:
    try:
        is_network = found.kind == "network"
        return _Listed(found, read_info(found.path) if is_network else art_info(found.name))
    except StyleError as error:  # one bad file hides no others
        return _Listed(found, None, str(error))


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
    facts["quality"] = [asdict(item) for item in style.qualities()]
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
    licence = info.licence.partition(" (")[0] or "-"  # the whole is in --json
    return (style.found.name, style.origin(), equals, left, size, licence, artwork)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    # What has no bound stands last.
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
    """Draw the photo and what every trained network makes of it."""
    if output.exists() and output.resolve() == photo_path.resolve():
        raise PhotoError(f"The sheet would replace the photo {photo_path}; give it another name.")
    check_output(output)
    photo = fit_long_side(load_image(photo_path), size)
    networks = [found for found in list_styles() if found.kind == "network"]

    from fststyle.stylize.stylizer import Stylizer

    names, pictures = [photo_path.name], [photo]
    damages = []
    for found in networks:
        try:
            pictures.append(Stylizer(str(found.path), device="cpu")(photo))
        except StyleError as error:
            damages.append(str(error))
            continue
        names.append(found.name)
    if len(pictures) == 1:
        if damages:
            raise StyleError(f"No trained style can be used: {damages[0]}")
        raise StyleError(
            "There is no trained style yet; train one: fststyle train style=thanos_poster"
        )
    for damage in damages:
        print(f"Left out: {damage}", file=sys.stderr)
    pixels = contact_sheet(pictures, names)
    save_photo(pixels, output)
    height, width = pixels.shape[:2]
    count = len(pictures) - 1
    print(f"{output}  {width}×{height}  {count} style{'s' if count > 1 else ''}")
    return 0
