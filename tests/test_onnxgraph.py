"""Files whose graph was edited are in test_stylefile.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from fststyle.network import TransformerNet
from fststyle.onnxgraph import (
    Weights,
    build_model,
    foreign_operators,
    has_external_data,
    read_weights,
    rebuild,
)

CONFIG = {"width": 4, "residual_blocks": 1}


@pytest.fixture
def weights(small_network: TransformerNet) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in small_network.state_dict().items()}


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_weights_come_back(weights: Weights, dtype: type) -> None:
    stored = {n: a.astype(dtype) if a.ndim == 4 else a for n, a in weights.items()}
    model = build_model(CONFIG, stored)
    onnx.checker.check_model(model, full_check=True)
    actual = read_weights(model)
    assert actual.keys() == stored.keys()
    for name, array in stored.items():
        assert actual[name].dtype == array.dtype
        np.testing.assert_array_equal(actual[name], array)


def test_own_model_is_rebuilt_without_its_metadata(weights: Weights) -> None:
    model = build_model(CONFIG, weights)
    expected = model.SerializeToString()
    onnx.helper.set_model_props(model, {"key": "value"})
    assert rebuild(model, CONFIG).SerializeToString() == expected
    assert foreign_operators(model) == []
    assert not has_external_data(model)


def test_other_network_is_not_rebuilt(weights: Weights) -> None:
    model = build_model(CONFIG, weights)
    for config in ({"width": 3, "residual_blocks": 1}, {"width": 4, "residual_blocks": 0}):
        with pytest.raises(ValueError, match="shape|no place"):
            rebuild(model, config)
    model.graph.node[0].input[0] = "picture"
    with pytest.raises(ValueError, match="operations are others"):
        rebuild(model, CONFIG)


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
def test_wrong_weights_are_refused(weights: dict[str, Any], name: str, array: object) -> None:
    weights.pop(name, None)
    if array is not None:
        weights[name] = array
    with pytest.raises(ValueError, match=name):
        build_model(CONFIG, weights)
