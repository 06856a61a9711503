"""Draw the project's own style images. Every run produces identical files.

python scripts/art/make.py [NAME ...] [--output FOLDER]
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ink_wash import ink_wash
from PIL import Image
from stained_glass import stained_glass
from thanos_poster import thanos_poster
from woodblock_waves import woodblock_waves

from fststyle.files import write_atomically

MAX_BYTES = 480_000
DEFAULT_OUTPUT = Path(__file__).resolve().parents[2] / "fststyle" / "art"

ARTWORKS: dict[str, tuple[str, Callable[[], Image.Image]]] = {
    "thanos_poster": ("Titan Before the Sun", thanos_poster),
    "stained_glass": ("Rose Window", stained_glass),
    "ink_wash": ("Misty Ranges", ink_wash),
    "woodblock_waves": ("Waves at Dusk", woodblock_waves),
}


def encode(image: Image.Image) -> bytes:
    """Encode an image as JPEG at the best quality that stays below the size limit."""
    data = b""
    for quality in range(94, 40, -2):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, subsampling="4:4:4", optimize=True)
        data = buffer.getvalue()
        if len(data) <= MAX_BYTES:
            break
    return data


def description(name: str) -> dict[str, str | int]:
    """Return the metadata of an artwork."""
    return {
        "name": name,
        "title": ARTWORKS[name][0],
        "artist": "fststyle project",
        "year": 2026,
        "source": "drawn by scripts/art/make.py",
        "licence": "MIT",
    }


def write_artwork(name: str, folder: Path) -> None:
    """Draw one artwork, and write its JPEG file and its metadata."""
    image = encode(ARTWORKS[name][1]())
    about = json.dumps(description(name), indent=2)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{name}.jpg", image)
    write_atomically(folder / f"{name}.json", f"{about}\n".encode())
    print(f"{folder / name}.jpg: {len(image)} bytes")


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the artworks named on the command line, or all artworks if none is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(ARTWORKS)}")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="folder to write to")
    options = parser.parse_args(argv)
    for name in options.names:
        if name not in ARTWORKS:
            known = ", ".join(ARTWORKS)
            print(f"Unknown artwork {name!r}. Choose from {known}.", file=sys.stderr)
            return 2
    for name in options.names or ARTWORKS:
        write_artwork(name, options.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
