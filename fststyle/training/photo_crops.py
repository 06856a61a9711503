"""Random square crops of photos for training, some of them mirrored and recoloured.

Each crop depends only on the photos, the seed and its index. A resumed run therefore gets the same
crops as an uninterrupted one, whatever the number of workers.

Photos whose SHA-256 hash starts with 0 are held out, which means they are never used for training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from fststyle.errors import PhotoError
from fststyle.images.load import load_image
from fststyle.images.resize import fit_short_side, resize
from fststyle.perceptual.tensors import to_tensor

_CACHE_BYTES: Final = 1 << 29
"""Maximum total size in bytes of the decoded photos that are kept in memory."""


_LEAST_CROP: Final = 0.75
"""Smallest crop as a fraction of the training size; enlarging smaller crops would blur them."""


def is_held_out(path: Path) -> bool:
    """Return ``True`` if a photo is held out because its SHA-256 hash starts with 0.

    The result depends on the content of the file, not on its name or folder.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith("0")


def why_unusable(path: Path, error: Exception) -> str:
    """Explain why a file cannot be used."""
    if not isinstance(error, OSError):
        return str(error)
    if path.is_symlink() and not path.exists():
        return (
            f"{path} is a link to {path.readlink()}, which does not exist. Fix or remove the link."
        )
    return f"Cannot read {path}: {error.strerror or error}."


_PLAIN: Final = 1 / 255
"""Standard deviation below which a crop counts as a single colour."""


_GRAIN: Final = 2 / 255
"""Standard deviation of the grain added to single-colour crops, similar to camera noise."""


_MOST_BEND: Final = 0.5
"""Maximum absolute value of the logarithm of a tone curve's exponent."""


class PhotoCrops(Dataset[dict[str, Any]]):
    """An endless sequence of random square crops of photos.

    ``crops[index]`` is a dict with three keys: ``photo``, a crop ``(3, size, size)`` as float32
    RGB in [0, 1]; ``path``, the path of the photo; and ``skipped``, a list of unreadable files as
    (path, reason). Held-out photos and unreadable files are replaced by the next usable photo.

    Args:
        paths: Paths of the photos.
        size: Side of the crops in pixels.
        seed: Random seed; the same files and seed give the same crops.
        vary_colours: Randomly change the colours of each crop (see `_recoloured`). This helps if
            there are only a few photos or many are grey.
    """

    def __init__(
        self, paths: Sequence[Path], size: int, seed: int, vary_colours: bool = False
    ) -> None:
        self._vary_colours = vary_colours
        self._paths = list(paths)
        self._size = size
        self._seed = seed
        self._order: tuple[int, NDArray[np.intp]] = (-1, np.empty(0, np.intp))
        self._cache: dict[Path, NDArray[np.uint8]] = {}
        self._cached_bytes = 0
        self._unusable: dict[Path, str | None] = {}  # None if held out

    def __getitem__(self, index: int) -> dict[str, Any]:
        skipped: list[tuple[str, str]] = []
        for path in self._candidates(index):
            if path in self._unusable:
                continue
            photo = self._load(path)
            if photo is None:
                reason = self._unusable[path]
                if reason is not None:
                    skipped.append((str(path), reason))
                continue
            rng = np.random.default_rng((self._seed, 1, index))
            return {"photo": self._crop(photo, rng), "path": str(path), "skipped": skipped}
        broken = sum(reason is not None for reason in self._unusable.values())
        raise PhotoError(
            f"None of the {len(self._paths)} photos can be used for training: {broken} cannot be "
            f"read, {len(self._paths) - broken} are held out.",
            remedy="Choose another folder with data.root=PHOTOS.",
            code="no_photos",
        )

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]] | PhotoError:
        """Make the samples of a batch for a data loader.

        An error is returned rather than raised, because torch would raise a worker's error again
        with a traceback as its message.
        """
        try:
            return [self[index] for index in indices]
        except PhotoError as error:
            return error

    def _candidates(self, index: int) -> Iterator[Path]:
        """Yield the photo for an index, then its replacements in the random order of the epoch."""
        count = len(self._paths)
        epoch, position = divmod(index, count)
        if self._order[0] != epoch:
            order = np.random.default_rng((self._seed, 0, epoch)).permutation(count)
            self._order = (epoch, order)
        for offset in range(count):
            yield self._paths[self._order[1][(position + offset) % count]]

    def _load(self, path: Path) -> NDArray[np.uint8] | None:
        if path in self._cache:
            return self._cache[path]
        try:
            if is_held_out(path):
                self._unusable[path] = None
                return None
            # Twice the crop size is enough; larger photos would be shrunk again for every crop.
            pixels = fit_short_side(load_image(path), 2 * self._size)
        except (PhotoError, OSError) as error:
            self._unusable[path] = why_unusable(path, error)
            return None
        photo = np.rint(pixels * 255).astype(np.uint8)
        if self._cached_bytes + photo.nbytes <= _CACHE_BYTES:
            self._cache[path] = photo
            self._cached_bytes += photo.nbytes
        return photo

    def _crop(self, photo: NDArray[np.uint8], rng: np.random.Generator) -> Tensor:
        height, width = photo.shape[:2]
        longest = min(height, width)
        shortest = min(longest, round(_LEAST_CROP * self._size))
        side = round(float(np.exp(rng.uniform(np.log(shortest), np.log(longest)))))
        top = int(rng.integers(height - side + 1))
        left = int(rng.integers(width - side + 1))
        levels = photo[top : top + side, left : left + side]
        if rng.random() < 0.5:
            levels = levels[:, ::-1]
        levels = resize(levels, width=self._size, height=self._size)
        crop = levels.astype(np.float32) / np.float32(255)
        if self._vary_colours:
            crop = _recoloured(crop, rng)
        # Without grain, instance normalisation divides by almost zero, and gradients overflow.
        if max(float(crop[..., channel].std()) for channel in range(3)) < _PLAIN:
            grain = _GRAIN * rng.standard_normal(crop.shape).astype(np.float32)
            crop = np.clip(crop + grain, 0, 1)
        return to_tensor(crop)[0]


def _recoloured(crop: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Permute the channels of half of the crops, and raise each channel to a random power.

    Six of the thirteen built-in photos are grey. A network trained only on their colours
    handles other colours poorly.
    """
    if rng.random() < 0.5:
        crop = crop[..., rng.permutation(3)]
    powers = np.exp(rng.uniform(-_MOST_BEND, _MOST_BEND, size=3)).astype(np.float32)
    recoloured: NDArray[np.float32] = crop**powers
    return recoloured
