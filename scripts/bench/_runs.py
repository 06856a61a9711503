"""Timed training runs for the benchmarks: the recipe of pytorch/examples, and fststyle's own.

Networks are measured at set times, on the same held-out crops, with the fixed measure of
``fststyle evaluate``. The clock stops while a network is being measured.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

# As in train.py, this is set before PyTorch is loaded. It applies to both recipes.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import hydra
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, open_dict
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from fststyle.errors import SettingError, StyleError
from fststyle.files import write_atomically
from fststyle.images.load import load_image
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.measure import MEASURE, Losses, losses_of, measure_for
from fststyle.perceptual.presets import LossConfig
from fststyle.perceptual.vgg_weights import load_weights
from fststyle.styles.find import find_picture
from fststyle.styles.info import StyleInfo
from fststyle.styles.network import TransformerNet
from fststyle.styles.shape import NetworkConfig
from fststyle.styles.style_file import load_style, save_style
from fststyle.training.data import PhotoDataModule
from fststyle.training.module import StyleModule
from fststyle.training.settings import (
    TrainerSettings,
    check_keys,
    comparable,
    config_folder,
    construct,
    read_loss,
)
from fststyle.training.train import train

RECORDS: Final = "records.json"

# pytorch/examples, fast_neural_style/neural_style/neural_style.py and transformer_net.py.
PEER_NETWORK: Final = NetworkConfig(first_stride=1, width=32, trunk=128, residual_blocks=5)
PEER_BATCH: Final = 4
PEER_LEARNING_RATE: Final = 1e-3

Record = dict[str, Any]
"""A finished run: style, run (its name), minutes, settings, file and points (the measurements)."""


@dataclass(frozen=True)
class Setup:
    """The style and photographs shared by several runs.

    Attributes:
        style: Name of the style.
        image: Path of the style image.
        photos: Folder with photographs to train on.
        size: Side length of the crops in pixels.
        held_out: Maximum number of photographs to measure on.
    """

    style: str
    image: Path
    photos: Path
    size: int = 256
    held_out: int = 8

    @classmethod
    def find(cls, text: str, photos: Path, size: int = 256, held_out: int = 8) -> Setup:
        """Find the style image, given its path or the name of an artwork.

        Raises:
            FststyleError: The image cannot be found, or its file name contains no usable character.
        """
        image = find_picture(text).resolve()
        name = re.sub(r"[^a-z0-9_-]+", "_", image.stem.lower()).strip("_-")[:64]
        if not name:
            raise SettingError(
                f"{text} cannot be used as a style name. Rename the file using letters from a to z."
            )
        return cls(name, image, photos.resolve(), size, held_out)

    def settings(self) -> dict[str, Any]:
        """Return all settings that affect the results of every run."""
        return {
            "style": sha256(self.image),
            "photos": str(self.photos),
            "size": self.size,
            "held_out": self.held_out,
            "measure": MEASURE.as_dict(),
            "threads": torch.get_num_threads(),
        }


@dataclass(frozen=True)
class PeerRun:
    """A training run with the recipe of pytorch/examples.

    Attributes:
        name: Name of the run.
        minutes: Training time.
        setup: Style and photographs.
        loss: Loss function to train with.
        seed: Random seed for the weights and the crops.
    """

    name: str
    minutes: float
    setup: Setup
    loss: LossConfig
    seed: int = 0

    def settings(self) -> dict[str, Any]:
        """Return all settings that affect the result."""
        recipe = {
            "loss": self.loss.as_dict(),
            "network": dataclasses.asdict(PEER_NETWORK),
            "batch": PEER_BATCH,
            "learning_rate": PEER_LEARNING_RATE,
            "seed": self.seed,
        }
        return {**self.setup.settings(), "minutes": self.minutes, "recipe": recipe}

    def train(self, file: Path, progress: Progress) -> list[dict[str, Any]]:
        """Train, write the style file unless training diverged, and return measurements."""
        data = PhotoDataModule(
            self.setup.photos,
            size=self.setup.size,
            batch_size=PEER_BATCH,
            validation_photos=self.setup.held_out,
            seed=self.seed,
        )
        watch = Watch(self.setup.image, data.held_out_crops(), self.minutes, PEER_BATCH, progress)
        network = self._fit(data, watch)
        info = StyleInfo(self.setup.style, style_image_sha256=sha256(self.setup.image))
        try:
            save_style(network, info, file)
        except StyleError as error:  # the measurements are still a valid result
            print(f"{self.name}: {error}", file=sys.stderr)
        return watch.points

    def _fit(self, data: PhotoDataModule, watch: Watch) -> TransformerNet:
        """Run the training loop of pytorch/examples until the time is up."""
        image = load_image(self.setup.image)
        loss = PerceptualLoss.from_picture(self.loss, load_weights(), image)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(self.seed)
            network = TransformerNet(PEER_NETWORK)
        optimizer = torch.optim.Adam(network.parameters(), lr=PEER_LEARNING_RATE)
        watch.look(network, 0, 0.0)
        paused, begin = 0.0, time.monotonic()
        for steps, batch in enumerate(data.train_dataloader(), start=1):
            photos = torch.from_numpy(batch["photo"])
            with (
                torch.no_grad()
            ):  # up to the deepest layer; fststyle's recipe stops at the content layer
                features = loss.vgg(photos)
            targets = {layer: features[layer] for layer in self.loss.content_layers}
            terms = loss(network(photos), targets)
            optimizer.zero_grad()
            terms.total.backward()
            optimizer.step()
            now = time.monotonic()
            seconds = now - begin - paused
            if watch.is_due(seconds):
                watch.look(network, steps, seconds)
                paused += time.monotonic() - now
            if seconds >= 60 * self.minutes:
                break
        return network


@dataclass(frozen=True)
class OurRun:
    """A run of ``python train.py`` on the CPU, without installing the style or writing a report.

    Attributes:
        name: Name of the run.
        minutes: Training time.
        setup: Style and photographs.
        overrides: Settings, in the form used on the command line of ``train.py``.
        warm: Style file to start from. The shape of its network is also used.
    """

    name: str
    minutes: float
    setup: Setup
    overrides: tuple[str, ...] = ()
    warm: Path | None = None

    def config(self) -> DictConfig:
        """Compose the configuration, except for the output folder.

        Raises:
            FststyleError: A setting is wrong, or the network to start from was trained on the
                same style image.
        """
        setup = self.setup
        fixed = (
            "data=folder", "trainer.accelerator=cpu", "report=false", "install=false",
            "~callbacks.progress", f"data.size={setup.size}",
            f"data.validation_photos={setup.held_out}",
        )  # fmt: skip
        try:
            with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
                cfg = hydra.compose("config", overrides=[*fixed, *self.overrides])
        except hydra.errors.HydraException as error:
            raise SettingError(" ".join(str(error).split())) from error
        cfg.data.root, cfg.minutes = str(setup.photos), self.minutes
        cfg.style.name, cfg.style.image = setup.style, str(setup.image)
        if self.warm is not None:
            start_from(cfg, self.warm, setup.image)
        check_keys(cfg)
        read_loss(cfg.loss)
        return cfg

    def settings(self) -> dict[str, Any]:
        """Return all settings that affect the result."""
        cfg = self.config()
        info = StyleInfo(self.setup.style, style_image_sha256=sha256(self.setup.image))
        trainer = construct(TrainerSettings, cfg.trainer, "trainer")
        return {
            **self.setup.settings(),
            "minutes": self.minutes,
            "warm": None if self.warm is None else sha256(self.warm),
            "config": comparable(cfg, info),
            "precision": trainer.chosen_precision(),
        }

    def train(self, file: Path, progress: Progress) -> list[dict[str, Any]]:
        """Train in the folder of the style file, and return the measurements.

        Raises:
            FststyleError: The training failed.
            KeyboardInterrupt: The training run was interrupted.
        """
        cfg = self.config()
        cfg.output_dir = str(file.parent)
        points = file.with_name("points.json")
        recorder = {
            "_target_": f"{__name__}.Recorder",
            "points": str(points),
            "image": str(self.setup.image),
            "minutes": self.minutes,
            "images": cfg.data.batch_size,
            "label": progress.label,
            "minutes_after": progress.minutes_after,
        }
        with open_dict(cfg):
            cfg.callbacks["recorder"] = recorder
        for name in ("last.ckpt", "previous.ckpt"):  # left over from an interrupted run
            file.with_name(name).unlink(missing_ok=True)
        if train(cfg).interrupted:
            raise KeyboardInterrupt
        found: list[dict[str, Any]] = json.loads(points.read_text(encoding="utf-8"))
        return found


@dataclass(frozen=True)
class Progress:
    """Prints a line for each measurement.

    Attributes:
        label: Name of the run.
        minutes: Training time of the run.
        minutes_after: Total training time of all later runs in minutes.
    """

    label: str
    minutes: float
    minutes_after: float

    def show(self, seconds: float, total: float) -> None:
        """Print the run's time and total loss, and the remaining training time of all runs."""
        left = round(max(0.0, self.minutes - seconds / 60) + self.minutes_after)
        text = f"{self.label}: {seconds:.0f} of {60 * self.minutes:.0f} s, total {total:.3f}; "
        text += f"about {left // 60}:{left % 60:02d} h of training time left"
        print(text, file=sys.stderr, flush=True)


class Watch:
    """Measures a network at set times during training.

    Args:
        image: Style image.
        crops: Held-out crops ``(n, 3, H, W)``.
        minutes: Training time.
        images: Number of photographs per step.
        progress: Object that prints each measurement.
    """

    def __init__(
        self, image: Path, crops: Tensor, minutes: float, images: int, progress: Progress
    ) -> None:
        self.points: list[dict[str, Any]] = []
        self._measure = measure_for(load_image(image), load_weights())
        self._crops, self._images, self._progress = crops, images, progress
        self._waiting = look_times(60 * minutes)

    def is_due(self, seconds: float) -> bool:
        """Return whether the next measurement is due."""
        return bool(self._waiting) and seconds >= self._waiting[0]

    def look(self, network: torch.nn.Module, steps: int, seconds: float) -> None:
        """Measure the network, unless it has already been measured at this step."""
        self._waiting = [t for t in self._waiting if t > seconds]
        if self.points and self.points[-1]["steps"] == steps:
            return
        losses = measured(self._measure, network, self._crops)
        content = sum(MEASURE.content_layers[k] * v for k, v in losses.content.items())
        point = {
            "seconds": round(seconds, 3),
            "steps": steps,
            "images": steps * self._images,
            "content": content / sum(MEASURE.content_layers.values()),
            "style": losses.style_term(),
            "total": losses.total,
            "layers": {**losses.content, **losses.style},
        }
        self.points.append(point)
        self._progress.show(seconds, losses.total)


class Recorder(Callback):
    """Monitors a run of ``train.py``, and stops the run's clock during measurements.

    Args:
        points: File that the measurements are written to.
        image: Style image.
        minutes: Training time.
        images: Number of photographs per step.
        label: Name of the run.
        minutes_after: Total training time of all later runs in minutes.
    """

    def __init__(
        self, points: str, image: str, minutes: float, images: int, label: str, minutes_after: float
    ) -> None:
        self._points, self._image = Path(points), Path(image)
        self._minutes, self._images = minutes, images
        self._progress = Progress(label, minutes, minutes_after)
        self._paused = 0.0
        self._end = 0.0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Load the fixed measure before the clock starts."""
        if stage == "fit":
            crops = cast(Any, trainer).datamodule.held_out_crops()
            self.watch = Watch(self._image, crops, self._minutes, self._images, self._progress)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace the module's clock with one that can be stopped, and measure once."""
        module = cast(StyleModule, pl_module)
        clock = module.seconds
        module.seconds = lambda: clock() - self._paused  # type: ignore[method-assign]
        self._look(module, 0.0)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """Measure the network if a measurement is due."""
        module = cast(StyleModule, pl_module)
        self._end = module.seconds()
        if self.watch.is_due(self._end):
            self._look(module, self._end)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the finished network, and write the measurements."""
        module = cast(StyleModule, pl_module)
        self.watch.look(module.average.module, module.steps_made, self._end)
        write_atomically(self._points, json.dumps(self.watch.points).encode())

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Stop correcting the clock, because it has stopped."""
        self._paused = 0.0

    def _look(self, module: StyleModule, seconds: float) -> None:
        before = module.seconds()
        self.watch.look(module.average.module, module.steps_made, seconds)
        self._paused += module.seconds() - before


def run(runs: Sequence[PeerRun | OurRun], folder: Path) -> list[Record]:
    """Carry out the runs that are not yet in the folder's records.

    Args:
        runs: The runs.
        folder: Folder for the records and the style files. It is created if necessary.

    Returns:
        The records of the runs, in the same order.

    Raises:
        FststyleError: A setting is wrong, or a training run failed.
    """
    settings = [json.loads(json.dumps(item.settings())) for item in runs]
    known = {(r["style"], r["run"]): r for r in read_records(folder / RECORDS)}

    def finished(index: int) -> Record | None:
        record = known.get((runs[index].setup.style, runs[index].name))
        return record if record is not None and record["settings"] == settings[index] else None

    waiting = [index for index in range(len(runs)) if finished(index) is None]
    for number, index in enumerate(waiting):
        item = runs[index]
        style = item.setup.style
        after = sum(runs[later].minutes for later in waiting[number + 1 :])
        progress = Progress(f"{style}, {item.name}", item.minutes, after)
        file = folder / style / _folder_name(item.name) / f"{style}.onnx"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        points = item.train(file, progress)
        known[style, item.name] = {
            "style": style,
            "run": item.name,
            "minutes": item.minutes,
            "settings": settings[index],
            "file": file.relative_to(folder).as_posix() if file.is_file() else None,
            "points": points,
        }
        text = json.dumps(list(known.values()), indent=1)
        write_atomically(folder / RECORDS, text.encode())
    return [known[item.setup.style, item.name] for item in runs]


def read_records(path: Path) -> list[Record]:
    """Read the records of the finished runs in a folder.

    Raises:
        SettingError: The file exists but does not contain records.
    """
    if not path.exists():
        return []
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        return [record for record in records if record["points"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError(f"{path} was not written by this script. Choose another -o.") from error


def start_from(cfg: DictConfig, style_file: Path, image: Path) -> None:
    """Configure a run to start from another style's network and to use that network's shape.

    Raises:
        SettingError: The network was trained on the same style image.
    """
    network, info = load_style(style_file)
    if info.style_image_sha256 == sha256(image):
        raise SettingError(
            f"{style_file} was trained on {image} itself, so starting from it shows nothing; use "
            "the network of another style image, by another painter.",
            code="same_style_image",
        )
    for name in cfg.network:
        cfg.network[name] = getattr(network.config, name)
    cfg.init = str(style_file.resolve())


@torch.no_grad()
def measured(measure: PerceptualLoss, network: torch.nn.Module, crops: Tensor) -> Losses:
    """Return a network's mean losses on crops ``(n, 3, H, W)``, according to the fixed measure."""
    found = [
        losses_of(measure, network(crop).float(), measure.content_targets(crop))
        for crop in crops[:, None]
    ]
    return Losses(
        statistics.fmean(each.total for each in found),
        {k: statistics.fmean(each.content[k] for each in found) for k in found[0].content},
        {k: statistics.fmean(each.style[k] for each in found) for k in found[0].style},
        statistics.fmean(each.palette for each in found),
        statistics.fmean(each.tv for each in found),
    )


def look_times(seconds: float) -> list[float]:
    """Return when to measure: every 15 seconds at first, later every minute, and at the end."""
    early = min(15.0, seconds / 8)
    times = [early * index for index in range(1 + round(min(seconds, 120.0) / early))]
    times += [60.0 * index for index in range(3, math.ceil(seconds / 60))]
    return [*(t for t in times if t < seconds), seconds]


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _folder_name(name: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", name.lower())
