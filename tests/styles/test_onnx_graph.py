"""Files whose graph was edited are in test_style_file.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest

from fststyle.styles.network import TransformerNet
from fststyle.styles.onnx_graph import (
    build_model,
    foreign_operators,
    has_external_data,
    read_weights,
    rebuild,
)
from fststyle.styles.onnx_protobuf import Weights
from fststyle.styles.shape import NetworkConfig


@pytest.fixture
def config(each_network: TransformerNet) -> NetworkConfig:
    return each_network.config


@pytest.fixture
def weights(each_network: TransformerNet) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in each_network.state_dict().items()}


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_weights_come_back(config: NetworkConfig, weights: Weights, dtype: type) -> None:
    stored = {n: a.astype(dtype) if a.ndim == 4 else a for n, a in weights.items()}
    model = build_model(config, stored)
    onnx.checker.check_model(model, full_check=True)
    actual = read_weights(model)
    assert actual.keys() == stored.keys()
    for name, array in stored.items():
        assert actual[name].dtype == array.dtype
        np.testing.assert_array_equal(actual[name], array)


def test_own_model_is_rebuilt_without_its_metadata(config: NetworkConfig, weights: Weights) -> None:
    model = build_model(config, weights)
    expected = model.SerializeToString()
    onnx.helper.set_model_props(model, {"key": "value"})
    assert rebuild(model, config).SerializeToString() == expected
    assert foreign_operators(model) == []
    assert not has_external_data(model)


def test_equal_networks_give_equal_files(config: NetworkConfig, weights: Weights) -> None:
    model = build_model(config, weights)
    other = build_model(config, dict(reversed(list(weights.items()))))
    assert other.SerializeToString() == model.SerializeToString()
    names = [tensor.name for tensor in model.graph.initializer]
    assert len(set(names)) == len(names)
    assert set(names) <= {name for node in model.graph.node for name in node.input}


def test_other_network_is_not_rebuilt(config: NetworkConfig, weights: Weights) -> None:
    model = build_model(config, weights)
    others: list[dict[str, Any]] = [
        {"first_stride": 3 - config.first_stride},
        {"width": 3},
        {"trunk": 13},
        {"residual_blocks": 0},
        {"residual_blocks": 2},
    ]
    for other in others:
        with pytest.raises(ValueError, match="shape|not belong"):
            rebuild(model, replace(config, **other))
    with pytest.raises(ValueError, match="operations are different|not belong"):
        rebuild(model, replace(config, linear_output=1 - config.linear_output))
    model.graph.node[0].input[0] = "picture"
    with pytest.raises(ValueError, match="operations are different"):
        rebuild(model, config)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("to_rgb.bias", None),
        ("to_rgb.bias", np.zeros(4, np.float32)),
        ("to_rgb.bias", np.zeros(3, np.float16)),
        ("to_rgb.weight", np.zeros((3, 4, 9, 9))),
        ("more", np.zeros(3, np.float32)),
    ],
)
def test_wrong_weights_are_refused(
    config: NetworkConfig, weights: dict[str, Any], name: str, array: object
) -> None:
    weights.pop(name, None)
    if array is not None:
        weights[name] = array
    with pytest.raises(ValueError, match=name):
        build_model(config, weights)
