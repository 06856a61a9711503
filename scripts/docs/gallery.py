"""Write docs/gallery.md and its pictures from the networks in fststyle/zoo.

    python scripts/docs/gallery.py            # all of it; the same zoo gives the same page
    python scripts/docs/gallery.py --check    # exit status 1 if the page is not the zoo's

Each picture is a strip of the same three photographs, which fststyle's dependencies carry and
no network is trained on: a cat, a palace and a portrait. One more picture has a face in all styles.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import FststyleError
from fststyle.files import write_atomically
from fststyle.images.bundled import builtin_held_out, builtin_photos
from fststyle.images.load import load_image
from fststyle.images.photo import to_pil
from fststyle.images.resize import resize
from fststyle.images.sheets import contact_sheet, sheet
from fststyle.styles.find import zoo_folder
from fststyle.styles.quality import recorded
from fststyle.styles.style_file import read_info
from fststyle.stylize.stylizer import Stylizer

DOCS = Path(__file__).resolve().parents[2] / "docs"

HEIGHT: Final = 300
"""At which the photographs are stylised, in pixels."""
MOST_BYTES: Final = 60_000
"""Of a strip's file; for busy ones the quality falls, and then the size."""
_TRIALS: Final = [(height, quality) for height in (300, 240, 200) for quality in (82, 74, 66, 58)]
_ORIGINALS: Final = "_photos"  # no style's name begins so
_ALL: Final = "_all"
_FACE: Final = "astronaut.png"  # of scikit-image
_FACE_HEIGHT: Final = 320
_MOST_ALL_BYTES: Final = 400_000


def page(zoo: Path) -> str:
    """The gallery's text, from what the files of a zoo say of themselves.

    Args:
        zoo: The folder of the networks.

    Returns:
        The Markdown. It holds the SHA-256 of every file, so a page of other files differs.

    Raises:
        StyleError: A file is damaged.
    """
    rows, strips = [], []
    for path in sorted(zoo.glob("*.onnx")):
        name, info = path.stem, read_info(path)
        found = recorded(info)
        cells = (
            f"[`{name}`](#{name})",
            info.title,
            info.artist,
            str(info.year or ""),
            _link(info.source),
            info.licence.partition(" (")[0],
            ", ".join(f"{q.equals_text()} at {q.size}²" for q in found) or "–",
            f"{found[0].style_left():.0%}" if found else "–",
            f"{path.stat().st_size / 1000:.0f} kB",
        )
        rows.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        about = ", ".join(str(item) for item in (info.title, info.artist, info.year) if item)
        strips += [
            f"<!-- {name} {sha256} -->",
            f"### {name}",
            "",
            f"{' '.join(about.split())}. Picture: {_link(info.source)}. {info.licence}.",
            "",
            _image(name, name),
            "",
        ]
    header = (
        ("style", "title", "artist", "year", "picture from", "licence")
        + ("equals L-BFGS iterations", "style loss left", "size")
    )  # fmt: skip
    lines = [
        "<!-- Written by scripts/docs/gallery.py; edit that. -->",
        f"# The zoo: {len(rows)} trained styles",
        "",
        "Each comes with fststyle: `fststyle stylize photo.jpg --style NAME -o out.jpg`. "
        "`fststyle styles --sheet photo.jpg` draws a photo of yours in all of them.",
        "",
        f"| {' | '.join(header)} |",
        f"|{' --- |' * len(header)}",
        *rows,
        "",
        "Iterations and style loss (its share of the photographs' own) are medians over held-out "
        "photographs; the README says how they are measured.",
        "",
        "The photographs: chelsea (Stéfan van der Walt, CC0, scikit-image), china (Daniel Büchele, "
        "CC BY 2.0, scikit-learn), and Grace Hopper (U.S. Navy, public domain, Matplotlib).",
        "",
        _image(_ORIGINALS, "the photographs"),
        "",
        "A face in all of them, as `fststyle styles --sheet` draws it; all were trained with the "
        "default weight of the style (Eileen Collins; NASA, public domain, scikit-image):",
        "",
        _image(_ALL, "an astronaut in all styles"),
        "",
        *strips,
    ]
    return "\n".join(lines)


def listed(text: str) -> dict[str, str]:
    """The styles that a page lists: name → SHA-256 of the file."""
    return dict(re.findall(r"^<!-- ([a-z0-9_-]+) ([0-9a-f]{64}) -->$", text, re.MULTILINE))


def write(zoo: Path, docs: Path) -> list[Path]:
    """Write the page and its pictures; pictures of styles that are gone are removed.

    Args:
        zoo: The folder of the networks; at least one.
        docs: The folder of ``gallery.md``.

    Returns:
        What was written.

    Raises:
        FststyleError: A file is damaged or cannot be written.
    """
    text = page(zoo)
    folder = docs / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    photos = [_at_height(load_image(path), HEIGHT) for path in builtin_held_out()]
    written = []
    for name in (_ORIGINALS, *listed(text)):
        pictures = photos
        if name != _ORIGINALS:
            stylizer = Stylizer(str(zoo / f"{name}.onnx"), device="cpu")
            pictures = [stylizer(photo) for photo in photos]
        written.append(folder / f"{name}.jpg")
        _save_small(sheet([pictures], gap=0), written[-1])
    (path,) = (path for path in builtin_photos() if path.name == _FACE)
    face = _at_height(load_image(path), _FACE_HEIGHT)
    faces = [Stylizer(str(zoo / f"{name}.onnx"), device="cpu")(face) for name in listed(text)]
    written.append(folder / f"{_ALL}.jpg")
    whole = contact_sheet([face, *faces], ["photo", *listed(text)])
    _save_small(whole, written[-1], [(whole.shape[0], q) for q in (85, 78, 70)], _MOST_ALL_BYTES)
    for path in folder.glob("*.jpg"):
        if path not in written:
            path.unlink()
    # Last: a page that is there has its pictures.
    write_atomically(docs / "gallery.md", text.encode())
    return [*written, docs / "gallery.md"]


def staleness(zoo: Path, docs: Path) -> str:
    """What is wrong with the gallery of a zoo, in a sentence; empty if nothing is.

    A zoo without networks has no gallery.
    """
    path = docs / "gallery.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    names, known = {item.stem for item in zoo.glob("*.onnx")}, set(listed(text))
    if names - known:
        return f"{path.name} does not list {', '.join(sorted(names - known))}."
    if known - names:
        return f"{path.name} lists what the zoo lacks: {', '.join(sorted(known - names))}."
    if not names:
        return f"{path.name} is of a zoo that is empty." if text else ""
    if text != page(zoo):
        return f"{path.name} is of other files than the zoo holds."
    expected = {f"{name}.jpg" for name in (_ORIGINALS, _ALL, *names)}
    there = {item.name for item in (docs / "gallery").glob("*")}
    if there != expected:
        return f"docs/gallery differs in {', '.join(sorted(there ^ expected))}."
    return ""


def _at_height(photo: NDArray[np.float32], height: int) -> NDArray[np.float32]:
    return resize(photo, width=round(photo.shape[1] * height / photo.shape[0]), height=height)


def _save_small(
    picture: NDArray[np.float32],
    path: Path,
    trials: Sequence[tuple[int, int]] = _TRIALS,
    most: int = MOST_BYTES,
) -> None:
    encoded = BytesIO()
    for height, quality in trials:
        encoded = BytesIO()
        image = to_pil(_at_height(picture, height))
        image.save(encoded, "JPEG", quality=quality, subsampling="4:2:0", optimize=True)
        if encoded.tell() <= most:
            break
    write_atomically(path, encoded.getvalue())


def _image(stem: str, what: str) -> str:
    return f'<img src="gallery/{stem}.jpg" alt="{what}" width="900">'


def _link(source: str) -> str:
    """A source as Markdown; an address in front of " : " becomes a link."""
    site, colon, rest = source.partition(" : ")
    if re.fullmatch(r"(https?://)?[\w.-]+\.[a-z]{2,}(/[\w./-]*)?", site):
        address = site if site.startswith("http") else f"https://{site}"
        return f"[{site}]({address}){colon}{rest}"
    return source


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the gallery, or check it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only check the page there is")
    given = parser.parse_args(arguments)
    zoo = zoo_folder()
    try:
        if given.check:
            if wrong := staleness(zoo, DOCS):
                print(f"{wrong} Run: python scripts/docs/gallery.py", file=sys.stderr)
            return 1 if wrong else 0
        if not any(zoo.glob("*.onnx")):
            print(f"Error: There is no network in {zoo}; train the zoo first.", file=sys.stderr)
            return 1
        for path in write(zoo, DOCS):
            print(f"{path}  {path.stat().st_size / 1000:.0f} kB")
    except FststyleError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
