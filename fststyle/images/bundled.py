"""Photographs bundled with other packages, for training, examples and the web page."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fststyle.errors import PhotoError

# Package → files. Only one image of the motorcycle stereo pair is used.
_TRAINING: Final = {
    "skimage": (
        "data/astronaut.png", "data/brick.png", "data/camera.png", "data/coffee.png",
        "data/coins.png", "data/grass.png", "data/gravel.png", "data/hubble_deep_field.jpg",
        "data/ihc.png", "data/moon.png", "data/motorcycle_left.png", "data/rocket.jpg",
    ),
    "sklearn": ("datasets/images/flower.jpg",),
}  # fmt: skip

# Always held out, regardless of their hashes: training shows its results on these photos.
_HELD_OUT: Final = {
    "skimage": ("data/chelsea.png",),
    "sklearn": ("datasets/images/china.jpg",),
    "matplotlib": ("mpl-data/sample_data/grace_hopper.jpg",),
}


def builtin_photos() -> list[Path]:
    """Return the training photographs bundled with scikit-image and scikit-learn, sorted by name.

    Raises:
        PhotoError: Neither of the packages is installed (code ``not_found``).

    Example:
        >>> len(builtin_photos())
        13
    """
    return _installed(_TRAINING)


def builtin_held_out() -> list[Path]:
    """Return the photographs that are never used for training: a cat, a palace and a portrait.

    Raises:
        PhotoError: None of the packages that contain them is installed (code ``not_found``).

    Example:
        >>> [path.name for path in builtin_held_out()]
        ['chelsea.png', 'china.jpg', 'grace_hopper.jpg']
    """
    return _installed(_HELD_OUT)


def sample_photo() -> Path | None:
    """Return a photo for trying out styles: the cat from scikit-image (CC0, Stéfan van der Walt).

    Returns:
        The photo's path, or ``None`` if scikit-image is not installed.

    Example:
        >>> sample_photo().name
        'chelsea.png'
    """
    return next(iter(_files("skimage", _HELD_OUT["skimage"])), None)


def _installed(names: Mapping[str, tuple[str, ...]]) -> list[Path]:
    paths = [path for package, files in names.items() for path in _files(package, files)]
    if not paths:
        problem = f"Cannot find the photographs that come with the packages {', '.join(names)}."
        remedy = "Install these packages, or use a folder with your own photographs."
        raise PhotoError(problem, remedy=remedy, code="not_found")
    return sorted(paths, key=lambda path: path.name)


def _files(package: str, names: tuple[str, ...]) -> list[Path]:
    specification = importlib.util.find_spec(package)
    if specification is None or specification.origin is None:
        return []
    folder = Path(specification.origin).parent
    return [folder / name for name in names if (folder / name).is_file()]
