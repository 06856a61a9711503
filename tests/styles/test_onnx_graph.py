"""Files whose graph was edited are in test_stylefile.py."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import onnx
import pytest

from fststyle.openvino_core import openvino_core
from fststyle.styles import onnx_graph as onnxgraph
from fststyle.styles.network import TransformerNet
from fststyle.styles.onnx_graph import (
    Weights,
    build_model,
    foreign_operators,
    has_external_data,
    read_weights,
    rebuild,
)


@pytest.fixture
def config(each_network: TransformerNet) -> dict[str, int]:
    return asdict(each_network.config)


@pytest.fixture
def weights(each_network: TransformerNet) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in each_network.state_dict().items()}


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_weights_come_back(config: dict[str, int], weights: Weights, dtype: type) -> None:
    stored = {n: a.astype(dtype) if a.ndim == 4 else a for n, a in weights.items()}
    model = build_model(config, stored)
    onnx.checker.check_model(model, full_check=True)
    actual = read_weights(model)
    assert actual.keys() == stored.keys()
    for name, array in stored.items():
        assert actual[name].dtype == array.dtype
        np.testing.assert_array_equal(actual[name], array)


def test_own_model_is_rebuilt_without_its_metadata(
    config: dict[str, int], weights: Weights
) -> None:
    model = build_model(config, weights)
    expected = model.SerializeToString()
    onnx.helper.set_model_props(model, {"key": "value"})
    assert rebuild(model, config).SerializeToString() == expected
    assert foreign_operators(model) == []
    assert not has_external_data(model)


def test_equal_networks_give_equal_files(config: dict[str, int], weights: Weights) -> None:
    model = build_model(config, weights)
    other = build_model(config, dict(reversed(list(weights.items()))))
    assert other.SerializeToString() == model.SerializeToString()
    names = [tensor.name for tensor in model.graph.initializer]
    assert len(set(names)) == len(names)
    assert set(names) <= {name for node in model.graph.node for name in node.input}


def test_other_network_is_not_rebuilt(config: dict[str, int], weights: Weights) -> None:
    model = build_model(config, weights)
    others = [
        {"first_stride": 3 - config["first_stride"]},
        {"width": 3},
        {"trunk": 13},
        {"residual_blocks": 0},
        {"residual_blocks": 2},
    ]
    for other in others:
        with pytest.raises(ValueError, match="shape|no place"):
            rebuild(model, config | other)
    for first_stride in (0, 3, -1):
        with pytest.raises(ValueError, match=f"none with the first stride {first_stride}"):
            rebuild(model, config | {"first_stride": first_stride})
    for linear_output in (2, -1):
        with pytest.raises(ValueError, match=f"none with the linear output {linear_output}"):
            rebuild(model, config | {"linear_output": linear_output})
    with pytest.raises(ValueError, match="operations are others|no place"):
        rebuild(model, config | {"linear_output": 1 - config["linear_output"]})
    model.graph.node[0].input[0] = "picture"
    with pytest.raises(ValueError, match="operations are others"):
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
    config: dict[str, int], weights: dict[str, Any], name: str, array: object
) -> None:
    weights.pop(name, None)
    if array is not None:
        weights[name] = array
    with pytest.raises(ValueError, match=name):
        build_model(config, weights)


def test_steady_norms_are_instance_norms_where_nothing_is_kept(
    config: dict[str, int], weights: Weights
) -> None:
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    models = {}
    kinds: tuple[onnxgraph.Norms, ...] = ("instance", "steady")
    for norms in kinds:
        model = build_model(config, weights, norms=norms)
        core = openvino_core()
        read = core.read_model(model.SerializeToString(), b"")
        models[norms] = core.compile_model(read, "CPU", settings)
    photo = np.random.default_rng(0).integers(0, 256, (1, 61, 72, 3)).astype(np.uint8)
    expected = models["instance"](photo.transpose(0, 3, 1, 2) / np.float32(255))[0]
    size = models["steady"].input("before").get_shape()
    before = np.full(tuple(size), 7, np.float32)
    inputs = {"photo": photo, "keep": np.zeros(1, np.float32), "before": before}
    actual = models["steady"](inputs)
    difference = actual["picture"] - 255 * expected.transpose(0, 2, 3, 1)
    assert np.abs(difference).max() < 0.6  # it is rounded to bytes
    # What is kept wholly stays as it is.
    kept = models["steady"](inputs | {"keep": np.ones(1, np.float32)})["statistics"]
    np.testing.assert_allclose(kept, before, atol=1e-4)
    # On the photo's own statistics nothing changes.
    own = {"keep": np.full(1, 0.9, np.float32), "before": np.array(actual["statistics"])}
    again = models["steady"](inputs | own)["picture"].astype(int)
    assert np.abs(again - actual["picture"]).max() <= 1
