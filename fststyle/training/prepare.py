"""Turn a composed configuration into a checked plan for a training run."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from fststyle.errors import SettingError
from fststyle.images.load import load_image
from fststyle.perceptual.presets import LossConfig
from fststyle.styles.info import StyleInfo
from fststyle.styles.shape import NetworkConfig
from fststyle.training.callbacks import (
    ResumeCheckpoint,
    SafeCheckpointIO,
    SampleSheets,
    StopSignals,
)
from fststyle.training.data import PhotoDataModule
from fststyle.training.dial import DialConfig
from fststyle.training.module import OptimizerFactory, Schedule
from fststyle.training.run_folder import Run
from fststyle.training.settings import (
    StyleSettings,
    TrainerSettings,
    check_keys,
    comparable,
    construct,
    instantiate,
    read_loss,
    read_optimizer,
    read_schedule,
    refused,
)
from fststyle.training.steady import SteadyConfig
from fststyle.training.warm_start import check_start


@dataclass(frozen=True, eq=False)
class Plan:
    """Checked settings and inputs of a training run, before anything is written to disk.

    Attributes:
        info: Information about the style, for the style file.
        style_image: Style image, ``(h, w, 3)``, RGB in [0, 1].
        loss: Loss to train with.
        network: Shape of the network.
        trainer: Settings of the trainer.
        schedule: Duration and learning rates.
        optimizer: Function that makes the optimiser.
        steady: Settings for the steadiness term.
        dial: Settings for training the dial, if the network has one.
        data: Photos to train on.
        settings: Settings that must match for a run to be resumed, as JSON values.
        cfg: Composed configuration, used for plain values and to create the callbacks and loggers
            once the run's folder is known.
    """

    info: StyleInfo
    style_image: NDArray[np.float32]
    loss: LossConfig
    network: NetworkConfig
    trainer: TrainerSettings
    schedule: Schedule
    optimizer: OptimizerFactory
    steady: SteadyConfig
    dial: DialConfig
    data: PhotoDataModule
    settings: dict[str, Any]
    cfg: DictConfig

    @property
    def folder(self) -> Path:
        """Folder for a new run."""
        return Path(self.cfg.output_dir).expanduser()

    @property
    def folder_chosen(self) -> bool:
        """``True`` if the user chose that folder, ``False`` if its name contains the time."""
        values = cast(dict[str, Any], OmegaConf.to_container(self.cfg, resolve=False))
        return bool(values["output_dir"] != "${hydra:runtime.output_dir}")


def prepare(cfg: DictConfig) -> Plan:
    """Check a configuration, read the style image, and list the photos.

    Cheap checks run before expensive ones, so that typing mistakes are reported immediately.

    Args:
        cfg: Configuration composed from ``configs/config.yaml``; it is not modified.

    Raises:
        FststyleError: A setting, the style image or the photos cannot be used.
    """
    check_keys(cfg)
    style = construct(StyleSettings, cfg.style, "style")
    path = style.find_picture()
    info = style.info(path)
    loss = read_loss(cfg.loss)
    network = construct(NetworkConfig, cfg.network, "network")
    if network.styles != 1:
        raise SettingError("Only networks with one style can be trained.")
    trainer = construct(TrainerSettings, cfg.trainer, "trainer")
    schedule = read_schedule(cfg, trainer)
    optimizer = read_optimizer(cfg.optim)
    steady = construct(SteadyConfig, cfg.steady, "steady")
    dial = construct(DialConfig, cfg.dial, "dial")
    check_start(cfg.init)
    style_image = load_image(path)
    data = cast(PhotoDataModule, instantiate(cfg.data, "data"))
    settings = comparable(cfg, info)
    return Plan(
        info, style_image, loss, network, trainer, schedule, optimizer, steady, dial, data,
        settings, cfg,
    )  # fmt: skip


def make_trainer(plan: Plan, run: Run, stop: StopSignals) -> pl.Trainer:
    """Make a Lightning trainer with the configured callbacks and loggers.

    Args:
        plan: Plan of the run.
        run: Run to train in.
        stop: Callback that ends the run on Ctrl-C.

    Raises:
        SettingError: A callback or logger rejects its settings, or the accelerator is unavailable.
    """
    cfg = copy.deepcopy(plan.cfg)
    cfg.output_dir, cfg.start_step = str(run.folder), run.steps_made
    for name in ("pytorch_lightning", "lightning_fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    callbacks = instantiate(cfg.get("callbacks"), "callbacks")
    sheets = callbacks.pop("sheets", None)
    if sheets is not None:
        try:
            callbacks["sheets"] = cast(Callable[..., SampleSheets], sheets)(
                photos=plan.data.held_out[:4]
            )
        except TypeError as error:
            raise refused("callbacks.sheets", error) from error
    # Last, so that the checkpoint includes all effects of the step.
    checkpoint = callbacks.pop("checkpoint", None)
    last = [] if checkpoint is None else [cast(ResumeCheckpoint, checkpoint)]
    settings = plan.trainer
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
                # One process, even among the variables of a cluster such as SLURM: Lightning would
                # otherwise wait for other tasks and write a checkpoint of its own on SIGUSR1.
                plugins=[SafeCheckpointIO(), LightningEnvironment()],
                # Lightning resumes any hpc_ckpt_N.ckpt that it finds here, so the folder must not
                # exist. Nothing is written to it.
                default_root_dir=run.folder / "none",
            )
        except MisconfigurationException as error:  # this machine lacks the accelerator
            text = " ".join(str(error).split())
            raise SettingError(text, remedy="Choose another trainer.accelerator.") from error
