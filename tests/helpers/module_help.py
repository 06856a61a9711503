"""Small modules, and fitting them."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.presets import loss_config
from fststyle.perceptual.vgg import VGGWeights
from fststyle.styles.network import TransformerNet
from fststyle.styles.shape import NetworkConfig
from fststyle.training.module import OptimizerFactory, Schedule, StyleModule


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.5)


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.01)


@pytest.fixture
def loss(narrow_weights: VGGWeights) -> PerceptualLoss:
    rng = np.random.default_rng(0)
    picture = rng.random((64, 64, 3), dtype=np.float32)
    config = loss_config("johnson", style_sizes=(64,), style_weight=1e3)
    return PerceptualLoss.from_picture(config, narrow_weights, picture)


def make_module(
    loss: PerceptualLoss,
    optimizer: OptimizerFactory = adam,
    kind: type[StyleModule] = StyleModule,
    warm_start: bool = False,
    **schedule: Any,
) -> StyleModule:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = TransformerNet(NetworkConfig(width=4, trunk=16, residual_blocks=1))
    return kind(
        network, loss, optimizer, Schedule(**{"steps": 100, **schedule}), warm_start=warm_start
    )


def photos(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(1, 3, 64, 64, generator=generator) for _ in range(count)]


def fit(module: StyleModule, batches: list[Tensor]) -> Recorder:
    recorder = Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=1,
            callbacks=[recorder],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        loader: Any = torch.utils.data.DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
        trainer.fit(module, loader)
    return recorder


class Recorder(pl.Callback):
    """Copies of everything after each step, and of the start."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []
        self.averages: list[dict[str, Tensor]] = []
        self.optimizers: list[dict[str, Any]] = []
        self.rates: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.record(trainer, pl_module)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.record(trainer, pl_module)
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def record(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, StyleModule)
        self.weights.append(copy.deepcopy(pl_module.network.state_dict()))
        self.averages.append(copy.deepcopy(pl_module.average.module.state_dict()))
        self.optimizers.append(copy.deepcopy(trainer.optimizers[0].state_dict()))
