"""Random square crops of photos, mirrored and recoloured, for training.

A sample is a pure function of (seed, index), so a run that is resumed at a step gets the crops
that it would have got without the interruption, whatever the number of workers.

A photo whose file's SHA-256 starts with 0 is held out: it is never trained on.
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
"""Limit on the decoded photographs in memory, in bytes."""


_LEAST_CROP: Final = 0.75
"""Smallest crop, as a fraction of the training size; smaller crops would be blurred."""


def is_held_out(path: Path) -> bool:
    """Return True if a photo is never trained on, because its SHA-256 starts with 0.

    The answer depends on the content of the file, not on its name or folder.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith("0")


def why_unusable(path: Path, error: Exception) -> str:
    """Explain in a sentence why a file cannot be used."""
    if not isinstance(error, OSError):
        return str(error)
    if path.is_symlink() and not path.exists():
        return f"{path} is a link to {path.readlink()}, which does not exist. Fix or remove it."
    return f"Cannot read {path}: {error.strerror or error}."


_PLAIN: Final = 1 / 255
"""Standard deviation below which a crop counts as a single colour."""


_GRAIN: Final = 2 / 255
"""Standard deviation of the grain that is added to such a crop, as a camera adds it."""


_MOST_BEND: Final = 0.5
"""Largest absolute logarithm of the power of a tone curve."""


class PhotoCrops(Dataset[dict[str, Any]]):
    """An endless sequence of random square crops of photographs.

    ``crops[index]`` is ``{"photo": (3, size, size) float32 RGB in [0, 1], "path": …, "skipped":
    …}``. Held-out photographs and unreadable files are replaced by the next file. ``path`` is
    the file of the crop, and ``skipped`` lists the unreadable files as (path, reason).

    Args:
        paths: Files of the photographs.
        size: Side of the crops in pixels.
        seed: Random seed; the same files and seed give the same crops.
        vary_colours: Change the colours of each crop at random (see `_recoloured`). This helps
            if the photographs are few or grey.
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
        self._unusable: dict[Path, str | None] = {}  # None: held out

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

        An error is returned, not raised: torch would raise the error of a worker process again
        with a traceback as its message.
        """
        try:
            return [self[index] for index in indices]
        except PhotoError as error:
            return error

    def _candidates(self, index: int) -> Iterator[Path]:
        """Yield the photo for an index, then the next ones in the random order of the epoch."""
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
            # Twice the size of the crop is enough; a larger photo would be shrunk each time.
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
        # Otherwise instance norm divides by nearly zero, and the gradients become infinite.
        if max(float(crop[..., channel].std()) for channel in range(3)) < _PLAIN:
            grain = _GRAIN * rng.standard_normal(crop.shape).astype(np.float32)
            crop = np.clip(crop + grain, 0, 1)
        return to_tensor(crop)[0]


def _recoloured(crop: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Permute the channels of every second crop, and apply a random power to each channel.

    Six of the thirteen built-in photographs are grey. A network that sees only their colours
    paints other colours badly.
    """
    if rng.random() < 0.5:
        crop = crop[..., rng.permutation(3)]
    powers = np.exp(rng.uniform(-_MOST_BEND, _MOST_BEND, size=3)).astype(np.float32)
    recoloured: NDArray[np.float32] = crop**powers
    return recoloured
