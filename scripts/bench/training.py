"""How soon is a network good? The training that others do, and ours, by the clock.

    python scripts/bench/training.py --photos PHOTOS -o FOLDER
    python scripts/bench/training.py --photos PHOTOS -o FOLDER --style thanos_poster
        --minutes 20 --ours-minutes 10 --budgets 1,2,5,10 --warm OTHER.onnx

trains, one after another on this machine's processor, on the same photos and style picture:

- A1 and A2, the recipe of pytorch/examples: the network in the paper's size (width 32, 5 residual
  blocks), float32, 4 photos of 256 pixels a step, Adam at a constant rate of 1e-3, no average of
  the weights, no clipping of gradients, the whole VGG for the photo too. A1 under jcjohnson's
  published loss (``loss=johnson``), A2 under the loss that is our default. Both have this package's
  network, data and VGG: their unbounded output, their crops (the centre) and their memory layout
  are not copied. That makes A, if anything, faster.
- B, what ``python train.py`` does, in runs of these budgets, each of which ends with its learning
  rate at zero. Its own validation, sheets and checkpoints count as its time.
- B warm, the same from the weights of another style's network. That this one never saw the style's
  picture is checked; that it never saw its painter is yours to see to.

Every network is measured at set times, for which the clock stands still, on the same held-out
crops under the fixed measure of ``fststyle evaluate``: content and style are relative and
unweighted, total is weighted. It prints a table, and writes ``table.md``, ``curves.png``,
``curves.json``, ``sheet_STYLE.png`` and the style files. A row that is in ``curves.json`` with the
same settings is not run again, so a benchmark that was cut off goes on where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import io
import json
import logging
import math
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

# As in train.py, before torch is loaded, for A as for B.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import hydra
import numpy as np
import pytorch_lightning as pl
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray
from omegaconf import DictConfig, open_dict
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from fststyle.errors import FststyleError, SettingError, StyleError
from fststyle.files import write_atomically
from fststyle.images.load import load_image
from fststyle.images.save import save_photo
from fststyle.images.sheets import sheet
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.measure import MEASURE, Losses, measure_for
from fststyle.perceptual.presets import LossConfig, loss_config
from fststyle.perceptual.tensors import to_pixels
from fststyle.perceptual.vgg import VGGWeights
from fststyle.perceptual.vgg_weights import load_weights
from fststyle.styles.find import find_picture
from fststyle.styles.info import StyleInfo
from fststyle.styles.network import TransformerNet
from fststyle.styles.shape import NetworkConfig
from fststyle.styles.style_file import load_style, save_style
from fststyle.training.data import PhotoDataModule
from fststyle.training.module import StyleModule
from fststyle.training.settings import TrainerSettings, comparable, config_folder, construct
from fststyle.training.train import train

Pixels = NDArray[np.float32]

# pytorch/examples, fast_neural_style/neural_style/neural_style.py and transformer_net.py.
PEER_NETWORK: Final = NetworkConfig(first_stride=1, width=32, trunk=128, residual_blocks=5)
PEER_BATCH: Final = 4
PEER_LEARNING_RATE: Final = 1e-3
PEER_LOSSES: Final = {"A1": loss_config("johnson"), "A2": LossConfig()}

Tell = Callable[[float, float], None]
"""Takes the seconds of a row that are done, and the total by then."""


@dataclass(frozen=True)
class Row:
    """One training of the table.

    Attributes:
        name: Of the row.
        minutes: Its budget.
        settings: All that its figures depend on, as JSON holds it.
        cfg: The configuration of ``train.py``; None for the peer recipe.
        loss: The loss of the peer recipe.
        warm: The style file to begin with.
    """

    name: str
    minutes: float
    settings: dict[str, Any]
    cfg: DictConfig | None = None
    loss: LossConfig | None = None
    warm: Path | None = None

    def file_name(self) -> str:
        """The name of its folder and style file."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower())


def look_times(seconds: float) -> list[float]:
    """When to measure a run: at its start, each quarter minute, later each minute, at its end."""
    early = min(15.0, seconds / 8)
    times = [early * index for index in range(1 + round(min(seconds, 120.0) / early))]
    times += [60.0 * index for index in range(3, math.ceil(seconds / 60))]
    return [*(t for t in times if t < seconds), seconds]


@torch.no_grad()
def measured(measure: PerceptualLoss, network: torch.nn.Module, crops: Tensor) -> Losses:
    """The means of a network's losses on crops ``(n, 3, H, W)``, under the fixed measure."""
    results = []
    for crop in crops[:, None]:
        losses = measure.relative(network(crop).float(), measure.content_targets(crop))
        results.append(
            (
                {layer: float(value) for layer, value in losses.content.items()},
                {layer: float(value) for layer, value in losses.style.items()},
                float(losses.palette),
                float(losses.tv),
            )
        )
    contents, styles, palettes, variations = zip(*results, strict=True)
    content = {k: statistics.fmean(each[k] for each in contents) for k in MEASURE.content_layers}
    style = {k: statistics.fmean(each[k] for each in styles) for k in MEASURE.style_layers}
    palette, tv = statistics.fmean(palettes), statistics.fmean(variations)
    # The measure's forms are relative, so its total is made of these.
    total = (
        MEASURE.content_weight * sum(MEASURE.content_layers[k] * v for k, v in content.items())
        + MEASURE.style_weight * sum(MEASURE.style_layers[k] * v for k, v in style.items())
        + MEASURE.palette_weight * palette
        + MEASURE.tv_weight * tv
    )
    return Losses(total, content, style, palette, tv)


class Watch:
    """Measures a network at set times of its training.

    Args:
        measure: The fixed measure.
        crops: Held-out crops ``(n, 3, H, W)``.
        seconds: The training's budget.
        images: Photographs in a step.
        tell: Called after each measurement.
    """

    def __init__(
        self, measure: PerceptualLoss, crops: Tensor, seconds: float, images: int, tell: Tell
    ) -> None:
        self.points: list[dict[str, Any]] = []
        self._measure, self._crops, self._images, self._tell = measure, crops, images, tell
        self._waiting = look_times(seconds)

    def is_due(self, seconds: float) -> bool:
        """Whether the next time has come."""
        return bool(self._waiting) and seconds >= self._waiting[0]

    def look(self, network: torch.nn.Module, steps: int, seconds: float) -> None:
        """Measure, unless this step is measured."""
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
        self._tell(seconds, losses.total)


class Recorder(Callback):
    """Watches a run of ``train.py``; the run's clock stands still meanwhile."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._paused = 0.0
        self._end = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put our clock in the place of the module's, and measure the beginning."""
        module: StyleModule = pl_module  # type: ignore[assignment]
        clock = module.seconds
        module.seconds = lambda: clock() - self._paused  # type: ignore[method-assign]
        self._look(module, 0.0)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Measure when it is time."""
        module: StyleModule = pl_module  # type: ignore[assignment]
        self._end = module.seconds()
        if self._watch.is_due(self._end):
            self._look(module, self._end)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the network that is shipped."""
        module: StyleModule = pl_module  # type: ignore[assignment]
        self._watch.look(module.average.module, module.steps_made, self._end)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """From here on the module's own clock is right."""
        self._paused = 0.0

    def _look(self, module: StyleModule, seconds: float) -> None:
        before = module.seconds()
        self._watch.look(module.average.module, module.steps_made, seconds)
        self._paused += module.seconds() - before


class _Current:
    """The recorder of the run at hand, for Hydra to find."""

    recorder: Recorder


def current_recorder() -> Recorder:
    """What Hydra calls to make the callback."""
    return _Current.recorder


def compose(
    picture: Path, name: str, photos: Path, overrides: Sequence[str], minutes: float
) -> DictConfig:
    """The configuration of ``python train.py``, on the processor, without what follows a training.

    Args:
        picture: The style picture.
        name: The style's name.
        photos: The folder of photographs.
        overrides: As on the command line of ``train.py``.
        minutes: The budget.

    Returns:
        The configuration, but for ``output_dir``.

    Raises:
        SettingError: An override is wrong.
    """
    fixed = ["data=folder", "trainer.accelerator=cpu", "report=false", "install=false"]
    try:
        with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
            cfg = hydra.compose("config", overrides=[*fixed, "~callbacks.progress", *overrides])
    except hydra.errors.HydraException as error:
        raise SettingError(" ".join(str(error).split())) from error
    cfg.data.root, cfg.minutes = str(photos), minutes
    cfg.style.name, cfg.style.image = name, str(picture)
    return cfg


def add_callback(cfg: DictConfig, name: str, function: str, **arguments: str) -> None:
    """Add a callback of this file to a configuration."""
    with open_dict(cfg):
        cfg.callbacks[name] = {"_target_": f"{__name__}.{function}", **arguments}


def start_from(cfg: DictConfig, style_file: Path, picture: Path) -> None:
    """Let a run begin with a network that never saw the picture; the network's shape is its.

    Raises:
        SettingError: It was trained on this picture.
    """
    network, info = load_style(style_file)
    if info.style_image_sha256 == sha256(picture):
        raise SettingError(
            f"{style_file} was trained on {picture} itself, so beginning with it shows nothing; "
            "give the network of another picture, and of another painter."
        )
    for name, value in dataclasses.asdict(network.config).items():
        cfg.network[name] = value
    cfg.init = str(style_file.resolve())


def train_as_peers(
    row: Row, picture: Pixels, weights: VGGWeights, data: PhotoDataModule, watch: Watch
) -> TransformerNet:
    """The loop of pytorch/examples, until the row's time is over."""
    config = cast(LossConfig, row.loss)
    loss = PerceptualLoss.from_picture(config, weights, picture)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(data.seed)
        network = TransformerNet(PEER_NETWORK)
    optimizer = torch.optim.Adam(network.parameters(), lr=PEER_LEARNING_RATE)
    watch.look(network, 0, 0.0)
    paused, begin = 0.0, time.monotonic()
    for steps, batch in enumerate(data.train_dataloader(), start=1):
        photos = batch["photo"]
        with torch.no_grad():  # to the deepest layer, where ours stops at the content's
            features = loss.vgg(photos)
        targets = {layer: features[layer] for layer in config.content_layers}
        terms = loss(network(photos), targets)
        optimizer.zero_grad()
        terms.total.backward()
        optimizer.step()
        now = time.monotonic()
        seconds = now - begin - paused
        if watch.is_due(seconds):
            watch.look(network, steps, seconds)
            paused += time.monotonic() - now
        if seconds >= 60 * row.minutes:
            break
    return network


def train_as_we_do(row: Row, folder: Path, watch: Watch) -> None:
    """A run of ``train.py`` in a folder."""
    cfg = cast(DictConfig, row.cfg).copy()
    _Current.recorder = Recorder(watch)
    add_callback(cfg, "recorder", "current_recorder")
    run_training(cfg, folder)


def run_training(cfg: DictConfig, folder: Path) -> None:
    """``train.py`` in a folder, from the start, to its end.

    Raises:
        KeyboardInterrupt: It was interrupted.
    """
    cfg = cfg.copy()
    cfg.output_dir = str(folder)
    (folder / "last.ckpt").unlink(missing_ok=True)  # of a run that was cut off
    if train(cfg).interrupted:
        raise KeyboardInterrupt


def sha256(path: Path) -> str:
    """Of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def style_name(text: str, picture: Path) -> str:
    """A name for a style that was given as a path or by its name."""
    name = re.sub(r"[^a-z0-9_-]+", "_", picture.stem.lower()).strip("_-")[:64]
    if not name:
        raise SettingError(f"{text} makes no name; rename the picture with letters a to z.")
    return name


def first_time(points: Sequence[dict[str, Any]], total: float) -> float:
    """Seconds after which a curve first falls to a total, interpolated; infinite if never."""
    if points[0]["total"] <= total:
        return float(points[0]["seconds"])
    for before, after in zip(points, points[1:], strict=False):
        if after["total"] <= total:
            share = (before["total"] - total) / (before["total"] - after["total"])
            return float(before["seconds"] + share * (after["seconds"] - before["seconds"]))
    return math.inf


def plan_rows(arguments: argparse.Namespace, picture: Path, name: str) -> list[Row]:
    """What to train for a style, in order.

    Raises:
        FststyleError: A setting is wrong.
    """
    size = [f"data.size={arguments.size}", f"data.validation_photos={arguments.held_out}"]
    overrides = ["init=none", *size, *arguments.ours]
    photos = arguments.photos.resolve()
    info = StyleInfo(name, style_image_sha256=sha256(picture))
    plain = compose(picture, name, photos, overrides, arguments.ours_minutes)
    common = {
        "style": info.style_image_sha256,
        "photos": str(photos),
        "size": arguments.size,
        "held_out": arguments.held_out,
        "measure": json.loads(json.dumps(MEASURE.as_dict())),
        "threads": torch.get_num_threads(),
    }
    rows = []
    for peer, loss in PEER_LOSSES.items():
        recipe = {
            "loss": json.loads(json.dumps(loss.as_dict())),
            "network": dataclasses.asdict(PEER_NETWORK),
            "batch": PEER_BATCH,
            "learning_rate": PEER_LEARNING_RATE,
            "seed": plain.seed,
        }
        settings = {**common, "minutes": arguments.minutes, "recipe": recipe}
        rows.append(Row(peer, arguments.minutes, settings, loss=loss))

    def ours(minutes: float, warm: Path | None) -> Row:
        cfg = compose(picture, name, photos, overrides, minutes)
        settings = {**common, "minutes": minutes}
        if warm is not None:
            start_from(cfg, warm, picture)
            settings["warm"] = sha256(warm)
        settings["config"] = comparable(cfg, info)
        trainer = construct(TrainerSettings, cfg.trainer, "trainer")
        settings["precision"] = trainer.chosen_precision()
        label = "B" if warm is None else "B warm"
        return Row(f"{label}, {minutes:g} min", minutes, settings, cfg=cfg, warm=warm)

    budgets = sorted({*arguments.budgets, arguments.ours_minutes}, reverse=True)
    rows += [ours(minutes, None) for minutes in budgets]
    if arguments.warm is not None:
        budgets = sorted(set(arguments.warm_budgets or [arguments.ours_minutes]), reverse=True)
        rows += [ours(minutes, arguments.warm) for minutes in budgets]
    return [row for row in rows if row.name[:2].strip(", ") in arguments.rows]


def read_records(path: Path) -> list[dict[str, Any]]:
    """The finished rows in ``curves.json``.

    Raises:
        SettingError: The file is there and holds something else.
    """
    if not path.exists():
        return []
    try:
        records: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError(f"{path} is not of this script; give another folder by -o.") from error
    return records


def write_records(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write ``curves.json`` with all finished rows."""
    machine = {
        "processor": platform.processor() or platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }
    write_atomically(path, json.dumps({"machine": machine, "rows": records}, indent=1).encode())


def table(records: Sequence[dict[str, Any]]) -> str:
    """The figures of one style's finished rows, in Markdown."""
    peer = next((record for record in records if record["row"] == "A2"), None)
    target = math.nan if peer is None else peer["points"][-1]["total"]
    theirs = math.nan if peer is None else first_time(peer["points"], target)
    lines = [
        "| | steps | images | seconds | content | style | total | at A2's last loss after "
        "| times as fast |",
        "| --- " * 9 + "|",
    ]
    for record in records:
        last = record["points"][-1]
        ours = first_time(record["points"], target)
        known = math.isfinite(ours) and peer is not None
        cells = [record["row"], f"{last['steps']}", f"{last['images']}", f"{last['seconds']:.0f}"]
        cells += [f"{last[key]:.3f}" for key in ("content", "style", "total")]
        cells += [f"{ours:.0f} s" if known else "–"]
        cells += [f"{theirs / ours:.1f}" if known and ours else "–"]
        lines.append(f"| {' | '.join(cells)} |")
    if peer is not None:
        lines += ["", f"A2 first has its last loss, {target:.3f}, after {theirs:.0f} s."]
        for kind in ("B,", "B warm,"):
            runs = [record for record in records if record["row"].startswith(kind)]
            if runs:
                lines += ["", _shortest(kind.strip(","), runs, target, theirs)]
    return "\n".join(lines)


def _shortest(kind: str, runs: Sequence[dict[str, Any]], target: float, theirs: float) -> str:
    """Which budget is enough for A2's loss, and when the runs cross it on their way."""
    enough = [run["minutes"] for run in runs if run["points"][-1]["total"] <= target]
    if not enough:
        return f"{kind}: none of these budgets ends at that loss or below."
    least = min(enough)
    first = min(first_time(run["points"], target) for run in runs)
    times = f"{first:.0f} s into a run" if first else "from the start"
    return (
        f"{kind}: the shortest budget that ends at that loss or below is {least:g} min, "
        f"{theirs / (60 * least):.1f} times as fast; it is first crossed {times}."
    )


def curves_figure(styles: dict[str, list[dict[str, Any]]]) -> bytes:
    """The totals against the time of training, one plot for each style, as a PNG."""
    figure = Figure(figsize=(8, 4.5 * len(styles)), layout="constrained")
    FigureCanvasAgg(figure)
    for index, (style, records) in enumerate(styles.items()):
        axes = figure.add_subplot(len(styles), 1, index + 1)
        for number, record in enumerate(records):
            points = [point for point in record["points"] if point["seconds"] > 0]
            dashes = "--" if record["row"] in PEER_LOSSES else "-"
            axes.plot(
                [point["seconds"] for point in points],
                [point["total"] for point in points],
                dashes,
                color=f"C{number % 10}",
                marker=".",
                markersize=4,
                label=record["row"],
            )
            if record["row"] == "A2":
                level = points[-1]["total"]
                axes.axhline(level, color=f"C{number % 10}", linestyle=":", linewidth=1)
        # A spike at the start would make all curves flat.
        axes.set_ylim(top=1.05 * max(record["points"][0]["total"] for record in records))
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("seconds of training")
        axes.set_ylabel("total on held-out photos")
        axes.set_title(style)
        axes.legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


@torch.no_grad()
def rows_sheet(folder: Path, records: Sequence[dict[str, Any]], crops: Tensor) -> Pixels:
    """Held-out photographs, and what each row's network makes of them."""
    records = [record for record in records if record["file"] is not None]
    networks = [load_style(folder / record["file"])[0] for record in records]
    rows = [
        [to_pixels(crop), *(to_pixels(network(crop)) for network in networks)]
        for crop in crops[:4, None]
    ]
    return sheet(rows, titles=("photo", *(record["row"] for record in records)))


class Progress:
    """Tells how far the benchmark is, a line for each measurement.

    Args:
        seconds: Of all trainings that are to be run.
    """

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._begin = time.monotonic()
        self._done = 0.0

    def row(self, label: str, budget: float) -> Tell:
        """What is to be called in a row's training."""
        before = self._done

        def tell(seconds: float, total: float) -> None:
            self._done = before + min(seconds, budget)
            # Measuring and loading take time beside the trainings'.
            real = time.monotonic() - self._begin
            pace = max(1.0, real / self._done) if self._done > 5 else 1.0
            left = round(pace * (self._left - self._done) / 60)
            print(
                f"{label}: {seconds:.0f} of {budget:.0f} s, total {total:.3f}; "
                f"about {left // 60}:{left % 60:02d} h left in all",
                file=sys.stderr,
                flush=True,
            )

        return tell


def run_row(
    row: Row, picture: Path, name: str, folder: Path, weights: VGGWeights, tell: Tell
) -> dict[str, Any]:
    """Train a row and save its network; return its record."""
    pixels = load_image(picture)
    batch = PEER_BATCH if row.cfg is None else row.cfg.data.batch_size
    data = PhotoDataModule(
        row.settings["photos"],
        size=row.settings["size"],
        batch_size=batch,
        validation_photos=row.settings["held_out"],
        seed=row.settings["recipe"]["seed"] if row.cfg is None else row.cfg.seed,
    )
    watch = Watch(
        measure_for(pixels, weights), data.held_out_crops(), 60 * row.minutes, batch, tell
    )
    file = folder / name / row.file_name() / f"{name}.onnx"
    file.unlink(missing_ok=True)
    if row.cfg is None:
        network = train_as_peers(row, pixels, weights, data, watch)
        try:
            save_style(network, StyleInfo(name, style_image_sha256=sha256(picture)), file)
        except StyleError as error:  # it has diverged; its curve is a result all the same
            print(f"{row.name}: {error}", file=sys.stderr)
    else:
        train_as_we_do(row, file.parent, watch)
    return {
        "style": name,
        "row": row.name,
        "minutes": row.minutes,
        "settings": row.settings,
        "file": str(file.relative_to(folder)) if file.is_file() else None,
        "points": watch.points,
    }


def run_rows(
    plans: dict[str, list[Row]], pictures: dict[str, Path], folder: Path
) -> dict[str, list[dict[str, Any]]]:
    """Train the rows that are not in ``curves.json`` yet.

    Args:
        plans: The rows of each style.
        pictures: Each style's picture.
        folder: Where the curves and the style files are; it is made.

    Returns:
        The records of the rows, in their order.

    Raises:
        FststyleError: A training cannot be made.
    """
    records = read_records(folder / "curves.json")

    def finished(name: str, row: Row) -> dict[str, Any] | None:
        key = (name, row.name, json.loads(json.dumps(row.settings)))
        return next((r for r in records if (r["style"], r["row"], r["settings"]) == key), None)

    waiting = [row for name, rows in plans.items() for row in rows if not finished(name, row)]
    progress = Progress(60 * sum(row.minutes for row in waiting))
    weights = load_weights()
    for name, rows in plans.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for row in rows:
            if finished(name, row):
                continue
            tell = progress.row(f"{name}, {row.name}", 60 * row.minutes)
            record = run_row(row, pictures[name], name, folder, weights, tell)
            others = [r for r in records if (r["style"], r["row"]) != (name, row.name)]
            records = [*others, json.loads(json.dumps(record))]
            write_records(folder / "curves.json", records)
    return {
        name: [cast(dict[str, Any], finished(name, row)) for row in rows]
        for name, rows in plans.items()
    }


def bench(arguments: argparse.Namespace) -> None:
    """Train what is not trained yet, and write and print the tables.

    Raises:
        FststyleError: A setting is wrong, or a training cannot be made.
    """
    folder: Path = arguments.output
    pictures = {}
    for text in arguments.style or ["thanos_poster"]:
        picture = find_picture(text).resolve()
        pictures[style_name(text, picture)] = picture
    plans = {name: plan_rows(arguments, picture, name) for name, picture in pictures.items()}
    data = PhotoDataModule(
        arguments.photos, size=arguments.size, validation_photos=arguments.held_out
    )
    done = run_rows(plans, pictures, folder)
    text = ""
    for name, records in done.items():
        picture_sheet = rows_sheet(folder, records, data.held_out_crops())
        save_photo(picture_sheet, folder / f"sheet_{name}.png")
        text += f"## {name}\n\n{table(records)}\n\n"
    write_atomically(folder / "table.md", text.encode())
    write_atomically(folder / "curves.png", curves_figure(done))
    print(text.strip())


def save_sheet(arguments: argparse.Namespace, records: Sequence[dict[str, Any]]) -> None:
    """Write ``sheet.png``: held-out crops, and what each row's network makes of them."""
    data = PhotoDataModule(
        arguments.photos, size=arguments.size, validation_photos=arguments.held_out
    )
    folder: Path = arguments.output
    save_photo(rows_sheet(folder, records, data.held_out_crops()), folder / "sheet.png")


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("--photos", type=Path, required=True, help="folder of photographs to train on")
    add("--style", action="append", help="an artwork's name or a picture; may be repeated")
    add("-o", "--output", type=Path, required=True, metavar="FOLDER")
    add("--minutes", type=float, default=20.0, help="of A1 and A2 (20)")
    add("--ours-minutes", type=float, default=10.0, help="of the longest B (10)")
    add("--budgets", type=_numbers, default=[], metavar="1,2,5", help="of more runs of B, minutes")
    add("--warm", type=Path, metavar="STYLE_FILE", help="another style's network to begin with")
    add("--warm-budgets", type=_numbers, metavar="1,2", help="of B warm, minutes (ours-minutes)")
    add("--rows", type=lambda text: text.split(","), default=["A1", "A2", "B"], metavar="A2,B")
    add("--size", type=int, default=256, help="side of the crops in pixels (256)")
    add("--held-out", type=int, default=8, help="photographs to measure on at most (8)")
    add("--ours", action="append", default=[], metavar="KEY=VALUE", help="for train.py, in B")
    return made


def plain_parser(description: str | None, minutes: float) -> argparse.ArgumentParser:
    """The command line of benchmarks that train B alone, each time for the same ``minutes``."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("--photos", type=Path, required=True, help="folder of photographs to train on")
    add("--style", default="thanos_poster", help="an artwork's name or a picture")
    add("-o", "--output", type=Path, required=True, metavar="FOLDER")
    add("--minutes", type=_minutes, default=minutes, help=f"of each training ({minutes:g})")
    add("--size", type=int, default=256, help="side of the crops in pixels (256)")
    add("--held-out", type=int, default=8, help="photographs to measure on at most (8)")
    add("--ours", action="append", default=[], metavar="KEY=VALUE", help="for train.py, in all")
    return made


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"minutes must be above 0, not {minutes:g}")
    return minutes


def run_bench(work: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> None:
    """Run a benchmark, and end with a sentence where it cannot go on."""
    try:
        work(arguments)
    except FststyleError as error:
        raise SystemExit(f"Error: {error}") from None
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; the same command goes on after the finished rows.\n")
        raise SystemExit(130) from None


def main() -> None:
    """The command line."""
    # Lightning's own remarks are about its defaults.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    arguments = parser().parse_args()
    for minutes in (arguments.minutes, arguments.ours_minutes, *arguments.budgets):
        if not 0 < minutes < math.inf:
            parser().error(f"minutes must be above 0, not {minutes:g}")
    run_bench(bench, arguments)


if __name__ == "__main__":
    main()
