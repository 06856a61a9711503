"""Training one transformer network for one style.

``python train.py style=thanos_poster`` composes ``configs/`` and calls `train`. No value of
the configuration goes deeper than that function as anything but plain values.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime
import difflib
import logging
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import hydra
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fststyle.errors import (
    FststyleError,
    PhotoError,
    SettingError,
    TrainingError,
    record_error,
)
from fststyle.images.load import load_image
from fststyle.images.resize import fit_long_side
from fststyle.images.save import save_photo
from fststyle.images.sheets import sheet
from fststyle.perceptual import evaluate
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.vgg_weights import weights_for
from fststyle.styles import find
from fststyle.styles.find import user_styles_folder
from fststyle.styles.info import StyleInfo
from fststyle.styles.network import TransformerNet
from fststyle.styles.shape import NetworkConfig
from fststyle.styles.style_file import save_style
from fststyle.stylize.stylizer import Stylizer
from fststyle.training import gates, report
from fststyle.training.callbacks import (
    ResumeCheckpoint,
    SafeCheckpointIO,
    SampleSheets,
    StopSignals,
)
from fststyle.training.data import PhotoDataModule
from fststyle.training.module import StyleModule
from fststyle.training.run_folder import (
    Run,
    add_notes,
    cannot_go_on,
    counted,
    quiet_threads,
    remove_empty,
    run_notes,
)
from fststyle.training.settings import (
    StyleSettings,
    TrainerSettings,
    check_keys,
    comparable,
    config_folder,
    construct,
    explain,
    instantiate,
    read_loss,
    read_optimizer,
    read_schedule,
    style_choices,
)
from fststyle.training.steady import SteadyConfig
from fststyle.training.sweep import Job, to_install, write_sweep_sheet
from fststyle.training.warm_start import check_start, starting_network

log = logging.getLogger(__name__)

INTERRUPTED: Final = 130
"""Exit status of a run that Ctrl-C ended: the style file is written, and is of that moment."""


@dataclass(frozen=True)
class TrainingResult:
    """What a run leaves.

    Attributes:
        style_file: The trained style.
        installed: Its copy that ``--style NAME`` finds, if one was made.
        sheet: Held-out photographs and their stylised versions.
        held_out: Held-out losses by name, the relative ones unweighted.
        report: The measured quality, if it was measured.
        interrupted: Whether Ctrl-C ended the run early.
        gates: The faults that were looked for, if they were.
    """

    style_file: Path
    installed: Path | None
    sheet: Path
    held_out: dict[str, float]
    report: Path | None
    interrupted: bool
    gates: tuple[gates.Gate, ...] = ()


def train(cfg: DictConfig) -> TrainingResult:
    """Train a style as a composed configuration says.

    Args:
        cfg: As ``configs/config.yaml`` composes it.

    Returns:
        What the run left.

    Raises:
        FststyleError: Something that the user can mend.
    """
    with contextlib.ExitStack() as stack:
        return _train(cfg, stack)


def _train(cfg: DictConfig, stack: contextlib.ExitStack) -> TrainingResult:
    check_keys(cfg)
    style = construct(StyleSettings, cfg.style, "style")
    picture_path = style.find_picture()
    info = style.info(picture_path)
    config = read_loss(cfg.loss)
    network_config = construct(NetworkConfig, cfg.network, "network")
    trainer_settings = construct(TrainerSettings, cfg.trainer, "trainer")
    schedule = read_schedule(cfg, trainer_settings)
    optimizer = read_optimizer(cfg.optim)
    steady = construct(SteadyConfig, cfg.steady, "steady")
    check_start(cfg.init)
    picture = load_image(picture_path)
    data = cast(PhotoDataModule, instantiate(cfg.data, "data"))
    run = Run.open(Path(cfg.output_dir), comparable(cfg, info), cfg.resume)
    stack.callback(run.close)
    cfg = copy.deepcopy(cfg)
    cfg.output_dir, cfg.start_step = str(run.folder), run.steps_made

    config, weights = weights_for(config, cfg.vgg_weights)
    loss = PerceptualLoss.from_picture(config, weights, picture)
    if loss.substitution:
        log.warning(loss.substitution)
    network, started_from = _network(cfg, network_config, loss, data, info)
    module = StyleModule(
        network, loss, optimizer, schedule, steady, warm_start=started_from is not None
    )
    stop = StopSignals()
    trainer = _trainer(cfg, trainer_settings, data, stop)
    log.info(
        "Training %s on %s for %s; the run is in %s",
        style.name,
        counted(len(data.paths), "photo file"),
        schedule.limits(),
        run.folder,
    )
    run.mark("running")

    def export(found: tuple[gates.Gate, ...] = ()) -> Path:
        path = run.folder / f"{style.name}.onnx"
        trained = copy.deepcopy(module.average.module).cpu().eval()
        facts = report.training_facts(module, data, config, weights, picture)
        if started_from is not None:
            facts["started_from"] = started_from
        if found:
            facts["gates"] = report.gate_values(found)
        save_style(cast(TransformerNet, trained), dataclasses.replace(info, training=facts), path)
        return path

    try:
        _fit(trainer, module, data, run.checkpoint)
    except OSError as error:
        raise TrainingError(cannot_go_on(run.folder, error)) from error
    except FststyleError as error:
        run.mark("failed")
        if not isinstance(error, TrainingError) or not module.average.n_averaged:
            raise
        raise type(error)(f"{error} The last good weights are in {export()}.") from error
    interrupted = stop.received is not None
    if not module.average.n_averaged:
        run.mark("interrupted")
        raise TrainingError("Not one step was made before the end; there is nothing to keep.")
    style_file = export()
    notes = run_notes(data.skipped, module.guard.rollbacks, module.guard.pace)
    for note in notes:
        log.warning(note)
    log.info("%d steps in %.1f minutes", module.steps_made, module.seconds() / 60)

    stylizer = Stylizer(str(style_file), device="cpu")
    found = gates.check(stylizer) if trainer_settings.gates else ()
    if found:
        export(found)
    sheet_path = run.folder / "sheet.png"
    photos = [fit_long_side(load_image(path), 512) for path in data.held_out[:4]]
    rows = [[photo, stylizer(photo)] for photo in photos]
    try:
        save_photo(sheet(rows, titles=("photo", style.name), cell_height=384), sheet_path)
    except FststyleError as error:  # the style file is there
        log.warning("The sample sheet is not written: %s", error.__cause__ or error)
    installed = None
    if cfg.install and all(gate.passed for gate in found):
        installed = find.install(style_file, interrupted)
    run.mark("interrupted" if interrupted else "finished")
    written = None
    if cfg.report and not interrupted:
        written = report.write_report(
            style.name, stylizer, loss, weights, picture, data,
            report.RunFacts(
                run.folder,
                str(style_file) if installed is None else style.name,
                module.steps_made,
                module.seconds(),
                run.settings,
                found,
            ),
        )  # fmt: skip
        if written is not None and notes:
            add_notes(written, notes)
    losses = report.held_out(module)
    return TrainingResult(style_file, installed, sheet_path, losses, written, interrupted, found)


def _network(
    cfg: DictConfig,
    config: NetworkConfig,
    loss: PerceptualLoss,
    data: PhotoDataModule,
    info: StyleInfo,
) -> tuple[TransformerNet, str | None]:
    """The network as training begins, and the style that it comes from, if any."""
    photos = data.held_out_crops(3)
    start = starting_network(cfg.init, config, loss, photos, info.style_image_sha256)
    if start is not None:
        if not cfg.start_step:  # else the checkpoint's weights take their place
            log.info("Training starts from the network of %s (init=none: from nothing)", start[1])
        return start[0].train(), start[1]
    with torch.random.fork_rng():
        torch.manual_seed(0 if cfg.seed is None else cfg.seed)
        return TransformerNet(config), None


def _fit(
    trainer: pl.Trainer, module: StyleModule, data: PhotoDataModule, checkpoint: Path | None
) -> None:
    """Train, and see to it that the held-out losses are those of the last step."""
    with warnings.catch_warnings():
        # Lightning advises more worker processes, and tells of folders that are there.
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        warnings.filterwarnings("ignore", module="lightning_fabric")
        # Lightning's own use of torch.jit and of the device count.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        try:
            trainer.fit(
                module,
                datamodule=data,
                ckpt_path=checkpoint,
                weights_only=True if checkpoint else None,
            )
            if module.held_out_at != module.steps_made:  # resumed when the last step was made
                trainer.validate(module, datamodule=data, verbose=False)
        except SystemExit:  # what Lightning makes of a second Ctrl-C
            raise KeyboardInterrupt from None
        except PhotoError as error:  # a worker process puts its traceback before the sentence
            sentence = str(error).strip().splitlines()[-1].partition("PhotoError: ")
            raise PhotoError(sentence[2] or sentence[0]) from error
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                "The GPU's memory is too small for this; lower data.batch_size, data.size or "
                "network.width."
            ) from error


def _trainer(
    cfg: DictConfig, settings: TrainerSettings, data: PhotoDataModule, stop: StopSignals
) -> pl.Trainer:
    for name in ("pytorch_lightning", "lightning_fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    callbacks = instantiate(cfg.get("callbacks"), "callbacks")
    sheets = callbacks.pop("sheets", None)
    if sheets is not None:
        try:
            callbacks["sheets"] = cast(Callable[..., SampleSheets], sheets)(
                photos=data.held_out[:4]
            )
        except TypeError as error:
            raise SettingError(f"callbacks.sheets: {error}; see configs/callbacks.") from error
    # After all others, so that the checkpoint holds the step's every effect.
    checkpoint = callbacks.pop("checkpoint", None)
    last = [] if checkpoint is None else [cast(ResumeCheckpoint, checkpoint)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        try:
            return pl.Trainer(
                accelerator=settings.accelerator,
                devices=1,
                precision=settings.chosen_precision(),
                max_epochs=-1,
                max_steps=-1,
                val_check_interval=settings.validate_every,
                check_val_every_n_epoch=None,
                num_sanity_val_steps=0,
                log_every_n_steps=10,
                callbacks=[*callbacks.values(), stop, *last],
                logger=list(instantiate(cfg.get("logger"), "logger").values()),
                enable_progress_bar=False,
                enable_model_summary=False,
                enable_checkpointing=False,
                plugins=[SafeCheckpointIO()],
            )
        except MisconfigurationException as error:  # the accelerator is not there
            text = " ".join(str(error).split())
            raise SettingError(f"{text} Choose another trainer.accelerator.") from error


def main() -> None:
    """``python train.py style=NAME [key=value …]``."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # Whether the style is named is not left to Hydra: it would make a folder first.
    keys = [argument.partition("=")[0].lstrip("+~") for argument in sys.argv[1:]]
    if not any(key.split(".")[0] == "style" or key in _HYDRA_FLAGS for key in keys):
        for key in difflib.get_close_matches("style", keys):
            sys.stderr.write(f"There is no setting {key}; did you mean style?\n")
        sys.stderr.write(
            "Name a style: python train.py style=NAME, with NAME one of\n  "
            + "\n  ".join(style_choices())
            + "\nor give your own picture: style.image=my.jpg style.name=mine\n"
        )
        raise SystemExit(2)
    jobs = _Jobs()
    quiet_threads()
    # Without this, Hydra prints a traceback whatever the error is.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")(
            jobs.run
        )()
    except KeyboardInterrupt:
        sys.stderr.write(
            "Interrupted. There is a checkpoint each minute of training: where there was one, "
            "resume=auto goes on from it.\n"
        )
        raise SystemExit(INTERRUPTED) from None
    except (HydraException, OmegaConfBaseException) as error:
        record_error(SettingError(explain(error)))
        sys.stderr.write(f"Error: {explain(error)}\n")
        raise SystemExit(1) from None
    except OSError as error:
        if jobs.begun:
            raise
        sys.stderr.write(
            f"Error: The folder {error.filename} of the run cannot be made ({error.strerror}); "
            "start where you may write, or give hydra.run.dir=FOLDER.\n"
        )
        raise SystemExit(1) from None
    finally:
        jobs.end_sweep()
    if jobs.status:
        raise SystemExit(jobs.status)


_HYDRA_FLAGS: Final = ("--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i", "--version")


class _Jobs:
    """One run after another, as Hydra starts them; notes how each ended."""

    def __init__(self) -> None:
        self.begun = False
        self.status = 0
        self._finished: list[Job] = []
        self._sweep: Path | None = None

    def run(self, cfg: DictConfig) -> None:
        """One run; what it says at its end is all that goes to the standard output.

        In a multirun a job that fails does not keep the others from being run.
        """
        self.begun = True
        hydra_cfg = HydraConfig.get()
        installs = bool(cfg.install)
        if hydra_cfg.mode == RunMode.MULTIRUN:
            self._sweep = Path(hydra_cfg.sweep.dir)
            cfg.install = False  # at the end it is known whether one may be
            cfg.resume = "same" if cfg.resume == "auto" else cfg.resume
        try:
            result = train(cfg)
            installs = installs and all(gate.passed for gate in result.gates)
            overrides = tuple(hydra_cfg.overrides.task)
            job = Job(overrides, result.style_file, result.interrupted, installs)
            self._finished.append(job)
            _tell(result)
            gates.require(result.gates, result.style_file)
        except FststyleError as error:
            record_error(error)
            self._fail(str(error))
        except OmegaConfBaseException as error:
            self._fail(str(error).splitlines()[0])
        finally:
            remove_empty(Path(hydra_cfg.runtime.output_dir))

    def _fail(self, sentence: str) -> None:
        sys.stderr.write(f"Error: {sentence}\n")
        self.status = 1

    def end_sweep(self) -> None:
        """Install what a multirun has trained once, and set its networks side by side."""
        if self._sweep is None:
            return
        sole, several = to_install(self._finished)
        copies = [find.install(job.style_file, job.interrupted) for job in sole]
        sys.stdout.write("".join(_how_to_use(copy.stem) for copy in copies if copy is not None))
        if several:
            names, folder = ", ".join(several), user_styles_folder()
            log.info("Of several networks of %s none is installed; copy one to %s", names, folder)
        if len(self._finished) < 2:
            return
        path = self._sweep / f"sweep_{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}.png"
        try:
            write_sweep_sheet(self._finished, path)
        except FststyleError as error:
            self._fail(str(error))
            return
        sys.stdout.write(f"Sweep sheet   {path.absolute()}\n")
        sys.stdout.flush()


def _how_to_use(name: str) -> str:
    return f"Use it        fststyle stylize photo.jpg --style {name} -o out.jpg\n"


def _tell(result: TrainingResult) -> None:
    lines = [f"Style file    {result.style_file}"]
    if result.installed is not None:
        lines.append(_how_to_use(result.installed.stem).rstrip())
    lines.append(f"Sample sheet  {result.sheet}")
    if result.held_out:
        losses = ", ".join(f"{name} {value:.3f}" for name, value in result.held_out.items())
        lines.append(f"Held-out loss {losses}")
    if result.gates:
        passed = sum(gate.passed for gate in result.gates)
        lines.append(f"Gates         {passed} of {len(result.gates)} passed")
    if result.report is not None:
        lines += [f"Report        {result.report}", "", evaluate.summary(result.report)]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    if result.interrupted:
        sys.stderr.write("Interrupted before its end; resume=auto goes on with this run.\n")
        raise SystemExit(INTERRUPTED)
