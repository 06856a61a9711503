from __future__ import annotations

import json
import math
from typing import Any

import pytest
from errors_help import raises

from fststyle.errors import SettingError
from fststyle.perceptual.presets import PRESETS, LossConfig, loss_config


@pytest.mark.parametrize(
    ("preset", "sizes"),
    [
        ("johnson", (256,)),
        ("pytorch_examples", (0,)),
        ("lengstrom", (0,)),
        ("keras_vgg16", (512,)),
        ("keras_vgg19", (512,)),
    ],
)
def test_published_style_sizes(preset: str, sizes: tuple[int, ...]) -> None:
    assert loss_config(preset).style_sizes == sizes


def test_overrides() -> None:
    config = loss_config("johnson", style_weight=7, content_layers={"block2_conv2": 2})
    assert config.style_weight == 7
    assert dict(config.content_layers) == {"relu2_2": 2.0}
    assert config.tv_weight == PRESETS["johnson"].tv_weight
    assert dict(PRESETS["johnson"].content_layers) == {"relu3_3": 1.0}
    assert loss_config("johnson", style_weight=None, style_sizes=None) == PRESETS["johnson"]


@pytest.mark.parametrize("preset", list(PRESETS))
def test_configuration_becomes_json(preset: str) -> None:
    text = json.dumps(PRESETS[preset].as_dict())
    assert LossConfig(**json.loads(text)) == PRESETS[preset]


@pytest.mark.parametrize(
    ("values", "code", "fact"),
    [
        ({"preset": "jonson"}, "unknown_loss", "calibrated, painterly, johnson"),
        ({"style_wieght": 1.0}, "unknown_setting", "style_weight"),
        ({"tuned_for": "x"}, "unknown_setting", "loss.tuned_for"),
        ({"content_layers": {"relu9_9": 1.0}}, "unknown_layer", "relu9_9"),
        ({"style_layers": {"relu3_4": 1.0}}, "unknown_layer", "relu3_4"),
        ({"normalised_layers": ("relu9_9",)}, "unknown_layer", "relu9_9"),
        ({"content_layers": {}}, "no_layers", "loss.content_layers"),
        ({"style_layers": {}}, "no_layers", "loss.style_layers"),
        ({"style_layers": ["relu1_1"]}, "no_layers", "loss.style_layers"),
        ({"style_layers": {"relu1_1": -1}}, "setting", "loss.style_layers.relu1_1"),
        ({"content_weight": -1.0}, "setting", "from 0 and below 1e+30, not -1.0"),
        ({"style_weight": math.nan}, "setting", "loss.style_weight"),
        ({"style_weight": math.inf}, "setting", "loss.style_weight"),
        ({"tv_weight": "1"}, "setting", "loss.tv_weight"),
        ({"tv_weight": True}, "setting", "loss.tv_weight"),
        ({"architecture": "vgg11"}, "setting", "vgg16, vgg19"),
        ({"content_form": "sum"}, "setting", "relative, mean"),
        ({"gram_divisor": "c"}, "setting", "hw, chw"),
        ({"tv_form": "l1"}, "setting", "mean_squares"),
        ({"pixel_range": 2}, "setting", "1, 255"),
        ({"style_sizes": ()}, "setting", "loss.style_sizes"),
        ({"style_sizes": (8,)}, "setting", "loss.style_sizes"),
        ({"style_sizes": 12}, "setting", "loss.style_sizes"),
        ({"style_sizes": (256.0,)}, "setting", "loss.style_sizes"),
    ],
)
def test_impossible_settings(values: dict[str, Any], code: str, fact: str) -> None:
    with raises(SettingError, code, fact):
        loss_config(**values)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("style_form", "setting"),
        ("style_sizes", "setting"),
        ("tv_weight", "setting"),
        ("content_layers", "no_layers"),
    ],
)
def test_none_is_not_a_value(name: str, code: str) -> None:
    values: dict[str, Any] = {name: None}
    with raises(SettingError, code, f"loss.{name}"):
        LossConfig(**values)
