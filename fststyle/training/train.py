"""Train one transformer network for one style: prepare, fit, finish."""

from __future__ import annotations

import copy
import dataclasses
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig

from fststyle.errors import FststyleError, TrainingError
from fststyle.images.load import load_image
from fststyle.images.resize import fit_long_side, fit_short_side
from fststyle.images.save import save_photo
from fststyle.images.sheets import sheet
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.vgg import VGGWeights
from fststyle.perceptual.vgg_weights import weights_for
from fststyle.styles import find
from fststyle.styles.network import TransformerNet
from fststyle.styles.style_file import save_style
from fststyle.stylize.stylizer import Stylizer
from fststyle.training import gates, report
from fststyle.training.callbacks import StopSignals
from fststyle.training.gates import Gate
from fststyle.training.module import StyleModule
from fststyle.training.prepare import Plan, make_trainer, prepare
from fststyle.training.run_folder import Run, cannot_continue, find_resumable
from fststyle.training.warm_start import starting_network

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """Files and losses produced by a training run.

    Attributes:
        style_file: Style file of the trained network.
        installed: Installed copy of the style file, which can be used by name, or ``None``.
        sheet: Image of held-out photos next to their stylised versions.
        held_out: Losses on held-out photos, by name; relative losses are unweighted.
        report: Quality report, or ``None`` if none was written.
        interrupted: ``True`` if Ctrl-C ended the run early.
        gates: Results of the checks for visible faults; empty if they were skipped.
    """

    style_file: Path
    installed: Path | None
    sheet: Path
    held_out: dict[str, float]
    report: Path | None
    interrupted: bool
    gates: tuple[Gate, ...] = ()


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained module, and the information needed to describe it.

    Attributes:
        module: Trained module.
        weights: VGG weights used for the loss.
        started_from: Name of the style that training started from, or ``None`` for random weights.
        interrupted: ``True`` if Ctrl-C ended the run early.
    """

    module: StyleModule
    weights: VGGWeights
    started_from: str | None
    interrupted: bool = False


def train(
    cfg: DictConfig, *, overrides: Sequence[str] = (), in_sweep: bool = False
) -> TrainingResult:
    """Train a style.

    Args:
        cfg: Configuration composed from ``configs/config.yaml``; it is not modified.
        overrides: Settings from the command line, which are recorded in the run's folder.
        in_sweep: ``True`` if this run is part of a sweep. Its network is then not
            installed, and ``resume=auto`` only resumes runs with the same settings.

    Raises:
        FststyleError: Training failed, or an input or setting cannot be used.

    Example:
        >>> import hydra
        >>> from fststyle.training.settings import config_folder
        >>> from fststyle.training.train import train
        >>> with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        ...     cfg = hydra.compose("config", ["style=ink_wash", "output_dir=run"])
        >>> cfg.style.name
        'ink_wash'
        >>> result = train(cfg)  # doctest: +SKIP
    """
    plan = prepare(cfg)
    mode = "same" if in_sweep and cfg.resume == "auto" else cfg.resume
    resumable = find_resumable(plan.folder, plan.settings, mode)
    with (
        Run.new(plan.folder, plan.settings, chosen=plan.folder_chosen)
        if resumable is None
        else Run.resume(resumable, plan.settings)
    ) as run:
        trained = fit(plan, run)
        return finish(plan, run, trained, overrides=overrides, in_sweep=in_sweep)


def fit(plan: Plan, run: Run) -> Trained:
    """Train until the schedule ends or Ctrl-C stops the run.

    Args:
        plan: Checked settings.
        run: Run to train in.

    Raises:
        TrainingError: Training diverges or cannot write to its folder. If there are good weights,
            the last ones are saved in a style file.
    """
    trained = _start(plan, run)
    module, stop = trained.module, StopSignals()
    trainer = make_trainer(plan, run, stop)
    log.info(
        "Training %s on %s for %s; the run is in %s",
        plan.info.name,
        report.counted(len(plan.data.paths), "photo file"),
        plan.schedule.limits(),
        run.folder,
    )
    run.mark("running")
    try:
        _run_trainer(trainer, module, plan, run)
    except FststyleError as error:
        run.mark("failed")
        if not isinstance(error, TrainingError) or not module.average.n_averaged:
            raise
        path = export(plan, run, trained)
        remedy = f"{error.remedy} The last good weights are in {path}.".lstrip()
        raise type(error)(error.problem, remedy=remedy, code=error.code) from error
    except OSError as error:
        raise cannot_continue(run.folder, error) from error
    if not module.average.n_averaged:
        run.mark("interrupted")
        raise TrainingError(
            "Training stopped before the first step, so there is nothing to save.", code="no_steps"
        )
    return dataclasses.replace(trained, interrupted=stop.received is not None)


def finish(
    plan: Plan, run: Run, trained: Trained, *, overrides: Sequence[str], in_sweep: bool
) -> TrainingResult:
    """Export and check the network, draw the sample sheet, install the style and write a report.

    Args:
        plan: Checked settings.
        run: Run that trained the network.
        trained: Result of `fit`.
        overrides: Settings from the command line.
        in_sweep: ``True`` if this run is part of a sweep.

    Raises:
        FststyleError: A file cannot be written.
    """
    module = trained.module
    style_file = export(plan, run, trained)
    notes = report.run_notes(plan.data.skipped, module.guard.rollbacks, module.guard.pace)
    for note in notes:
        log.warning(note)
    log.info("%d steps in %.1f minutes", module.steps_made, module.seconds() / 60)

    stylizer = Stylizer(str(style_file), device="cpu")
    found = _check(plan, stylizer) if plan.trainer.gates else ()
    if found:
        export(plan, run, trained, found)
    sheet_path = run.folder / "sheet.png"
    _draw_sheet(plan, stylizer, sheet_path)
    passed = not any(gate.blocks for gate in found)
    wanted = bool(plan.cfg.install)
    installed = (
        find.install(style_file, trained.interrupted)
        if wanted and passed and not in_sweep
        else None
    )
    # A sweep reads these values after all its runs have ended, perhaps in another process.
    facts = {
        "overrides": list(overrides),
        "style_file": style_file.name,
        "install": wanted,
        "gates_passed": passed,
    }
    run.mark("interrupted" if trained.interrupted else "finished", facts)
    written = None
    if plan.cfg.report and not trained.interrupted:
        written = report.write_report(
            plan.info.name, stylizer, module.loss, trained.weights, plan.style_image, plan.data,
            report.RunFacts(
                run.folder,
                str(style_file) if installed is None else plan.info.name,
                module.steps_made,
                module.seconds(),
                run.settings,
                found,
                notes,
            ),
        )  # fmt: skip
    held_out = report.held_out(module)
    return TrainingResult(
        style_file, installed, sheet_path, held_out, written, trained.interrupted, found
    )


def export(plan: Plan, run: Run, trained: Trained, found: tuple[Gate, ...] = ()) -> Path:
    """Write the style file of a run.

    Args:
        plan: Checked settings.
        run: Run that trained the network.
        trained: Module to export in its current state.
        found: Results of the gates, to be recorded in the file.

    Raises:
        FststyleError: The file cannot be written.
    """
    path = run.folder / f"{plan.info.name}.onnx"
    module = trained.module
    network = cast(TransformerNet, copy.deepcopy(module.average.module).cpu().eval())
    facts = report.training_facts(module, plan.data, trained.weights, plan.style_image)
    if trained.started_from is not None:
        facts["started_from"] = trained.started_from
    if found:
        facts["gates"] = report.gate_values(found)
    save_style(network, dataclasses.replace(plan.info, training=facts), path)
    return path


def _check(plan: Plan, stylizer: Stylizer) -> tuple[Gate, ...]:
    """Check a style file for faults, and log those that do not prevent its installation."""
    size = plan.loss.style_sizes[0]
    found = gates.check(
        stylizer,
        fit_short_side(plan.style_image, size) if size else plan.style_image,
        strengths=gates.STRENGTHS if plan.network.dial else (1.0,),
    )
    for gate in found:
        if not gate.passed and not gate.blocks:
            log.warning("%s This is only a warning.", gate.sentence)
    return found


def _start(plan: Plan, run: Run) -> Trained:
    """Find the VGG weights, and make the loss and the initial network."""
    cfg = plan.cfg
    config, weights = weights_for(plan.loss, cfg.vgg_weights)
    loss = PerceptualLoss.from_picture(config, weights, plan.style_image)
    if loss.substitution:
        log.warning(loss.substitution)
    photos = plan.data.held_out_crops(3)
    start = starting_network(cfg.init, plan.network, loss, photos, plan.info.style_image_sha256)
    if start is not None:
        network, started_from = start[0].train(), start[1]
        if run.checkpoint is None:  # otherwise the checkpoint's weights replace these
            log.info(
                "Training starts from the network for %s (init=none starts from random weights)",
                started_from,
            )
    else:
        with torch.random.fork_rng():
            torch.manual_seed(0 if cfg.seed is None else cfg.seed)
            network, started_from = TransformerNet(plan.network), None
    module = StyleModule(
        network,
        loss,
        plan.optimizer,
        plan.schedule,
        plan.steady,
        plan.dial,
        warm_start=started_from is not None,
    )
    return Trained(module, weights, started_from)


def _run_trainer(trainer: pl.Trainer, module: StyleModule, plan: Plan, run: Run) -> None:
    """Train until the run ends. Then validate, unless Lightning has already done so."""
    with warnings.catch_warnings():
        # Lightning's advice on worker processes and existing folders.
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        warnings.filterwarnings("ignore", module="lightning_fabric")
        # Lightning's use of torch.jit and of the device count.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        try:
            trainer.fit(
                module,
                datamodule=plan.data,
                ckpt_path=run.checkpoint,
                weights_only=True if run.checkpoint else None,
            )
            if module.held_out_at != module.steps_made:  # the run was resumed after its last step
                trainer.validate(module, datamodule=plan.data, verbose=False)
        except SystemExit:  # Lightning's response to a second Ctrl-C
            raise KeyboardInterrupt from None
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                "The GPU does not have enough memory.",
                remedy="Lower data.batch_size, data.size or network.width.",
                code="out_of_memory",
            ) from error
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            raise TrainingError(
                "A process that prepares photos was killed, perhaps because memory ran out.",
                remedy="Lower data.num_workers, then run the same command with resume=auto.",
                code="worker_died",
            ) from error


def _draw_sheet(plan: Plan, stylizer: Stylizer, path: Path) -> None:
    """Draw held-out photos next to their stylised versions."""
    photos = [fit_long_side(load_image(path), 512) for path in plan.data.held_out[:4]]
    rows = [[photo, stylizer(photo)] for photo in photos]
    try:
        save_photo(sheet(rows, titles=("photo", plan.info.name), cell_height=384), path)
    except FststyleError as error:  # the style file exists
        log.warning("Cannot write the sample sheet: %s", error)
