from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from errors_help import raises

from fststyle.errors import SettingError
from fststyle.styles.shape import NetworkConfig, Upsample, layers, receptive_radius


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        ({"first_stride": 0}, "1 to 2"),
        ({"first_stride": 3}, "1 to 2"),
        ({"first_stride": True}, "1 to 2"),
        ({"trunk": 0}, "1 to 1024"),
        ({"trunk": 1025}, "1 to 1024"),
        ({"trunk": 64.0}, "1 to 1024"),
        ({"width": 0}, "1 to 256"),
        ({"width": 257}, "1 to 256"),
        ({"width": 8.0}, "1 to 256"),
        ({"width": True}, "1 to 256"),
        ({"width": "8"}, "1 to 256"),
        ({"residual_blocks": -1}, "0 to 32"),
        ({"residual_blocks": 33}, "0 to 32"),
        ({"residual_blocks": None}, "0 to 32"),
        ({"linear_output": 2}, "0 to 1"),
        ({"linear_output": True}, "0 to 1"),
    ],
)
def test_impossible_settings(values: dict[str, Any], limits: str) -> None:
    ((name, value),) = values.items()
    with raises(SettingError, "setting", f"network.{name}", limits, repr(value)):
        NetworkConfig(**values)
    with raises(SettingError, "setting", f"network.{name}", limits):
        NetworkConfig.from_json(json.dumps(asdict(NetworkConfig()) | values))


@pytest.mark.parametrize("config", [NetworkConfig(), NetworkConfig(1, 3, 5, 0, 1)])
def test_json(config: NetworkConfig) -> None:
    text = config.to_json()
    assert ("linear_output" in text) == bool(config.linear_output)
    assert NetworkConfig.from_json(text) == config


@pytest.mark.parametrize(
    "text", ["", "{", "[4]", "null", "3", '"a"', "{}", '{"width": 4}', "[" * 100_000, "9" * 5000]
)
def test_json_of_something_else(text: str) -> None:
    with raises(SettingError, "setting"):
        NetworkConfig.from_json(text)


def test_json_with_unknown_keys() -> None:
    values = asdict(NetworkConfig())
    with raises(SettingError, "unknown_key", "depth"):
        NetworkConfig.from_json(json.dumps(values | {"depth": 3}))


@pytest.mark.parametrize("first_stride", [1, 2])
def test_layers_fit_together(first_stride: int) -> None:
    config = NetworkConfig(first_stride, width=4, trunk=10)
    parts = layers(config)
    channels, scale = 3, 1.0
    for layer in (*parts.encoder, *parts.residual, *parts.decoder, parts.to_rgb):
        if isinstance(layer, Upsample):
            scale *= layer.factor
        else:
            assert layer.inputs == channels
            channels, scale = layer.outputs, scale / layer.stride
    assert (channels, scale) == (3, 1)


def test_receptive_radius_grows_with_the_residual_blocks() -> None:
    radii = [receptive_radius(NetworkConfig(residual_blocks=n)) for n in (0, 1, 5)]
    assert [radius - radii[0] for radius in radii] == [0, 8, 40]
    assert all(radius % 4 == 0 for radius in radii)
