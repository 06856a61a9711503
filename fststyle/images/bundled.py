"""Photographs inside installed packages, for training, for samples and for the page."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

from fststyle.errors import PhotoError

# Photographs inside packages that fststyle depends on. Of the stereo pair only one.
_BUILTIN: Final = {
    "skimage": [
        "data/astronaut.png",
        "data/brick.png",
        "data/camera.png",
        "data/coffee.png",
        "data/coins.png",
        "data/grass.png",
        "data/gravel.png",
        "data/hubble_deep_field.jpg",
        "data/ihc.png",
        "data/moon.png",
        "data/motorcycle_left.png",
        "data/rocket.jpg",
    ],
    "sklearn": ["datasets/images/flower.jpg"],
}


# Held out whatever their hashes: the built-in set shows its results on these.
_BUILTIN_HELD_OUT: Final = {
    "skimage": ["data/chelsea.png"],
    "sklearn": ["datasets/images/china.jpg"],
    "matplotlib": ["mpl-data/sample_data/grace_hopper.jpg"],
}


def builtin_photos() -> list[Path]:
    """Photographs for training that scikit-image and scikit-learn carry, sorted."""
    return _installed(_BUILTIN)


def builtin_held_out() -> list[Path]:
    """Photographs that are never trained on: a cat, a palace and a portrait."""
    return _installed(_BUILTIN_HELD_OUT)


def _installed(names: dict[str, list[str]]) -> list[Path]:
    paths = []
    for package, files in names.items():
        specification = importlib.util.find_spec(package)
        if specification is None or specification.origin is None:
            continue
        folder = Path(specification.origin).parent
        paths += [folder / name for name in files if (folder / name).is_file()]
    if not paths:
        raise PhotoError(
            f"Cannot find the photographs that come with the packages {', '.join(names)}.",
            remedy="Install these packages again, or use a folder of your own photographs.",
            code="not_found",
        )
    return sorted(paths, key=lambda path: path.name)


def sample_photo() -> Path | None:
    """Find a photo to try: the cat of scikit-image (CC0, Stéfan van der Walt)."""
    specification = importlib.util.find_spec("skimage")
    if specification is None or specification.origin is None:
        return None
    path = Path(specification.origin).parent / "data" / "chelsea.png"
    return path if path.is_file() else None
