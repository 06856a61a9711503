"""Photos to train on, from a folder or from installed packages.

Each crop depends only on the photos, the seed and its index. A resumed run therefore gets the same
crops as an uninterrupted one, whatever the number of workers.

Photos whose SHA-256 hash starts with 0 are held out, which means they are never used for training.
"""

from __future__ import annotations

import itertools
import logging
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from fststyle.errors import PhotoError, SettingError, check_number
from fststyle.files import reason
from fststyle.images.bundled import builtin_held_out, builtin_photos
from fststyle.images.folder import search_folder
from fststyle.images.load import load_image
from fststyle.images.resize import resize
from fststyle.perceptual.tensors import to_tensor
from fststyle.training.photo_crops import PhotoCrops, is_held_out, why_unusable

log = logging.getLogger(__name__)


class _From(Sampler[int]):
    """Endless sampler of the indices from ``start``."""

    def __init__(self, start: int) -> None:
        self._start = start

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self._start)


def _collate(samples: list[dict[str, Any]] | PhotoError) -> dict[str, Any] | PhotoError:
    if isinstance(samples, PhotoError):
        return samples
    return {
        # Arrays travel through a pipe. Tensors would travel through shared memory, which is too
        # small for them in many containers.
        "photo": np.stack([sample["photo"].numpy() for sample in samples]),
        "paths": [sample["path"] for sample in samples],
        "skipped": [item for sample in samples for item in sample["skipped"]],
    }


def _photos(folder: Path) -> list[Path]:
    """Search a folder for photos, and log what is left out."""
    found = search_folder(folder)
    for message in (*map(str, found.unreadable), found.summary()):
        if message:
            log.warning("%s", message)
    return found.paths


def _check_workers() -> None:
    """Check that processes can be started, which needs semaphores in shared memory."""
    try:
        multiprocessing.get_context().Lock()
    except OSError as error:
        raise SettingError(
            f"Worker processes cannot share memory: {reason(error)}.",
            remedy="Set data.num_workers=0, or give the container a /dev/shm.",
            code="no_shared_memory",
        ) from error


class PhotoDataModule(pl.LightningDataModule):
    """Training crops, and held-out photos for validation and sample sheets.

    Args:
        root: Folder with photos, searched recursively; ``None`` uses the built-in photos.
        size: Side of the training crops in pixels, from 64 to 1024.
        batch_size: Number of crops per training step.
        num_workers: Number of processes that prepare crops. With 0, the training process prepares
            them itself, which is best for training on the CPU.
        validation_photos: Maximum number of held-out photos used for validation.
        seed: Random seed for the crops.

    Raises:
        SettingError: A value is out of range, or worker processes cannot be started (code
            ``no_shared_memory``).
        PhotoError: The folder does not exist or does not contain any photos.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        size: int = 256,
        batch_size: int = 1,
        num_workers: int = 0,
        validation_photos: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_number("data.size", size, 64, 1024, whole=True)
        check_number("data.batch_size", batch_size, 1, 256, whole=True)
        check_number("data.num_workers", num_workers, 0, 64, whole=True)
        check_number("data.validation_photos", validation_photos, 1, 64, whole=True)
        check_number("data.seed", seed, 0, 2**32 - 1, whole=True)
        self.size = size
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self._builtin = root is None
        self.skipped: dict[str, str] = {}
        """Unreadable files: the reason for each file, by path."""
        self.trained_on: set[str] = set()
        """Paths of the photos used for training so far."""
        if num_workers:
            _check_workers()
        self.paths = builtin_photos() if root is None else _photos(Path(root).expanduser())
        self.held_out = self._find_held_out(root is None, validation_photos)

    def _find_held_out(self, builtin: bool, count: int) -> list[Path]:
        """Find readable held-out photos, first in the folder, then among the built-in photos."""
        found: list[Path] = []
        for path in itertools.chain(() if builtin else self.paths, builtin_held_out()):
            if len(found) == count:
                break
            try:
                if path in self.paths and not is_held_out(path):
                    continue
                load_image(path)
            except (PhotoError, OSError) as error:
                self.skipped[str(path)] = why_unusable(path, error)
                continue
            found.append(path)
        return found

    def held_out_crops(self, most: int | None = None) -> Tensor:
        """Return the central squares of the first held-out photos, ``(n, 3, size, size)``."""
        return torch.stack([self._central(load_image(path)) for path in self.held_out[:most]])

    def _central(self, photo: NDArray[np.float32]) -> Tensor:
        side = min(photo.shape[:2])
        top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
        square = photo[top : top + side, left : left + side]
        return to_tensor(resize(square, width=self.size, height=self.size))[0]

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Make a loader for the crops, starting at the current training step."""
        step = 0 if self.trainer is None else cast(Any, self.trainer.lightning_module).steps_made
        return DataLoader(
            PhotoCrops(self.paths, self.size, self.seed, vary_colours=self._builtin),
            batch_size=self.batch_size,
            sampler=_From(int(step) * self.batch_size),
            num_workers=self.num_workers,
            collate_fn=_collate,
            persistent_workers=self.num_workers > 0,
        )

    def val_dataloader(self) -> DataLoader[Tensor]:
        """Make a loader for the held-out crops, one at a time."""
        return DataLoader(self.held_out_crops(), batch_size=1)  # type: ignore[arg-type]

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Record which files a batch used or skipped, and return only its crops."""
        if isinstance(batch, PhotoError):
            raise batch
        if isinstance(batch, dict):
            self.trained_on.update(batch["paths"])
            self.skipped.update(batch["skipped"])
            return torch.from_numpy(batch["photo"])
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return the files used and skipped so far, for the checkpoint."""
        return {"trained_on": sorted(self.trained_on), "skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state saved by `state_dict`."""
        self.trained_on = set(state_dict["trained_on"])
        self.skipped = {**state_dict["skipped"], **self.skipped}
