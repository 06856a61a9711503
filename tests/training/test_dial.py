from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from errors_help import raises
from module_help import adam, fit, photos
from module_help import loss as loss  # the fixture
from training_help import small

from fststyle.errors import SettingError
from fststyle.perceptual.losses import LossTerms, PerceptualLoss
from fststyle.perceptual.presets import LossConfig
from fststyle.styles.find import zoo_folder
from fststyle.styles.network import TransformerNet
from fststyle.styles.shape import NetworkConfig
from fststyle.styles.style_file import load_style, read_style
from fststyle.training.dial import DialConfig, at_position, draw_position
from fststyle.training.module import Schedule, StyleModule
from fststyle.training.optimizers import muon
from fststyle.training.train import train
from fststyle.training.warm_start import network_from


def dialled_network(dial: bool = True) -> TransformerNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TransformerNet(NetworkConfig(width=4, trunk=16, residual_blocks=1, dial=dial))


def test_positions_depend_only_on_seed_and_step() -> None:
    config = DialConfig(seed=3)
    positions = [draw_position(config, step) for step in range(3000)]
    assert [draw_position(config, step) for step in range(3000)] == positions
    assert draw_position(replace(config, seed=4), 1) != draw_position(config, 1)
    others = [position for position in positions if position]
    assert len(others) / 3000 == pytest.approx(2 / 3, abs=0.03)
    assert min(others) < -3.9
    assert max(others) > 3.9
    assert np.mean(others) == pytest.approx(0, abs=0.15)
    assert np.std(others) == pytest.approx(8 / math.sqrt(12), abs=0.1)


@pytest.mark.parametrize("position", [-4.0, -1.5, 0.0, 4.0])
def test_terms_have_the_style_weight_of_the_position(position: float) -> None:
    terms = LossTerms(*torch.tensor([1.0, 0.5, 0.2, 0.1]))
    actual = at_position(terms, LossConfig(content_weight=1.0, style_weight=0.5), position)
    factor = 1.5 / (1 + 0.5 * 2**position)
    expected = [factor, factor * 0.5 * 2**position, factor * 0.2, factor * 0.1]
    np.testing.assert_allclose([float(term) for term in actual], expected, rtol=1e-6)


def test_loss_without_weights_is_left_alone() -> None:
    terms = LossTerms(*torch.zeros(4))
    assert at_position(terms, LossConfig(content_weight=0, style_weight=0), 2.0) is terms


@pytest.mark.parametrize("factory", [adam, muon])
def test_dial_has_its_own_learning_rate(loss: PerceptualLoss, factory: Any) -> None:
    network = dialled_network()
    module = StyleModule(network, loss, factory, Schedule(steps=9), dial=DialConfig(lr=0.03))
    optimizer = module.configure_optimizers()
    rates = {
        id(parameter): group["lr"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    own = {name: rates[id(value)] for name, value in network.named_parameters()}
    assert len(own) == len(rates)
    for name, rate in own.items():
        assert (rate == 0.03) == (".dial_" in name)


@pytest.mark.parametrize("factory", [adam, muon])
def test_network_learns_what_the_dial_does(loss: PerceptualLoss, factory: Any) -> None:
    network = dialled_network()
    module = StyleModule(network, loss, factory, Schedule(steps=20), dial=DialConfig(seed=1))
    fit(module, photos(12))
    slopes = [v for name, v in network.named_parameters() if ".dial_" in name]
    assert all(float(slope.detach().abs().max()) > 1e-3 for slope in slopes)
    photo = photos(1)[0]
    with torch.no_grad():
        weak, strong = (module.average.module(photo, position) for position in (-4.0, 4.0))
    assert float((weak - strong).abs().mean()) > 0.001


def test_validation_measures_three_positions(loss: PerceptualLoss) -> None:
    module = StyleModule(dialled_network(), loss, adam, Schedule(steps=9))
    logged: dict[str, float] = {}
    module.log = lambda name, value, **_: logged.update({name: float(value)})  # type: ignore[method-assign]
    with torch.no_grad():
        module.validation_step(photos(1)[0], 0)
    names = {name for name in logged if name.endswith("/total")}
    assert names == {"val/total", "val/t-2/total", "val/t+2/total"}
    assert logged["val/t-2/total"] != logged["val/total"]
    plain = StyleModule(dialled_network(dial=False), loss, adam, Schedule(steps=9))
    logged.clear()
    plain.log = module.log  # type: ignore[method-assign]
    with torch.no_grad():
        plain.validation_step(photos(1)[0], 0)
    assert not any("/t" in name and name != "val/total" and name != "val/tv" for name in logged)


@pytest.mark.parametrize(
    "values", [{"lr": -1}, {"lr": math.inf}, {"centre": 1.1}, {"seed": -1}, {"seed": 0.5}]
)
def test_settings_out_of_range(values: Any) -> None:
    with raises(SettingError, "setting", "dial."):
        DialConfig(**values)


def test_warm_start_from_a_network_without_a_dial() -> None:
    path = zoo_folder() / "great_wave.onnx"
    network, info = load_style(path)
    config = replace(network.config, dial=True)
    extended, name = network_from(path, config)
    assert name == info.name
    assert extended.config == config
    photo = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for position in (-4.0, 0.0, 4.0):
            torch.testing.assert_close(extended(photo, position), network(photo))


def test_run_with_a_dial_gives_a_style(tmp_path: Path) -> None:
    settings = ("network.dial=true", "init=none", "seed=5", "trainer.validate_every=2")
    whole = train(small(tmp_path / "whole", *settings, "steps=4"))
    content = read_style(whole.style_file)
    assert content.network.dial
    assert content.network.format_version == 2
    assert "t+2/total" in whole.held_out
