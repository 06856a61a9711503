from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from fststyle.openvino_core import openvino_core
from fststyle.runtime.runner import load_runtime
from fststyle.styles.network import TransformerNet
from fststyle.styles.onnx_graph import build_model
from fststyle.styles.onnx_norms import FoldedNorm, InstanceNorm, Norm, SmoothedNorm, norm_names
from fststyle.styles.onnx_protobuf import Weights


@pytest.fixture
def weights(each_network: TransformerNet) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in each_network.state_dict().items()}


def compiled(network: TransformerNet, weights: Weights, norm: Norm, merged: bool) -> Any:
    model = build_model(network.config, weights, norm, merged=merged)
    onnx.checker.check_model(model, full_check=True)
    core = openvino_core()
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    return core.compile_model(core.read_model(model.SerializeToString(), b""), "CPU", settings)


def random_photos(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.mark.parametrize("shape", [(1, 3, 61, 74), (2, 3, 32, 48), (1, 3, 5, 5)], ids=str)
@pytest.mark.parametrize("fixed", [False, True])
def test_merged_upsampling_gives_the_same_result(
    each_network: TransformerNet, weights: Weights, shape: tuple[int, ...], fixed: bool
) -> None:
    if fixed and shape[0] > 1:
        pytest.skip("a fixed size has a batch size of 1")
    norm = InstanceNorm((shape[2], shape[3]) if fixed else None)
    expected, actual = (
        compiled(each_network, weights, norm, merged)(random_photos(*shape))[0]
        for merged in (False, True)
    )
    assert actual.shape == shape
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_merged_upsampling_with_folded_norms(
    each_network: TransformerNet, weights: dict[str, Any]
) -> None:
    for name in norm_names(weights):
        gain = weights.pop(f"{name}.weight")
        layer, _, index = name.rpartition(".")
        weights[f"{layer}.{int(index) - 1}.bias"] = weights.pop(f"{name}.bias")
        weights[f"{layer}.{int(index) - 1}.weight"] *= gain[:, None, None, None]
    photos = random_photos(2, 3, 30, 45)
    expected, actual = (
        compiled(each_network, weights, FoldedNorm(), merged)(photos)[0] for merged in (False, True)
    )
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_merged_upsampling_in_a_video(each_network: TransformerNet, weights: Weights) -> None:
    frame = (random_photos(1, 45, 62, 3) * 255).astype(np.uint8)
    results = []
    for merged in (False, True):
        model = compiled(each_network, weights, SmoothedNorm(), merged)
        before = np.zeros(tuple(model.input("before").get_shape()), np.float32)
        results.append(model({"photo": frame, "keep": np.zeros(1, np.float32), "before": before}))
    expected, actual = (result["picture"].astype(int) for result in results)
    assert np.abs(actual - expected).max() <= 1
    np.testing.assert_allclose(results[1]["statistics"], results[0]["statistics"], atol=1e-4)


def test_plain_photo_stays_plain(each_style_path: Path) -> None:
    result = load_runtime(each_style_path, device="cpu")(np.full((48, 64, 3), 77, np.uint8))
    assert np.ptp(result.astype(int), axis=(0, 1)).max() <= 1
