"""Folded and measured norms are tested by the tiles of tests/runtime/test_tiling.py."""

from __future__ import annotations

import numpy as np

from fststyle.openvino_core import openvino_core
from fststyle.styles.network import TransformerNet
from fststyle.styles.onnx_graph import build_model
from fststyle.styles.onnx_norms import InstanceNorm, Norm, SmoothedNorm


def test_smoothed_norms_are_instance_norms_if_nothing_is_kept(each_network: TransformerNet) -> None:
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    models = {}
    weights = {name: tensor.numpy() for name, tensor in each_network.state_dict().items()}
    norms: dict[str, Norm] = {"instance": InstanceNorm(), "smoothed": SmoothedNorm()}
    for name, norm in norms.items():
        model = build_model(each_network.config, weights, norm)
        core = openvino_core()
        read = core.read_model(model.SerializeToString(), b"")
        models[name] = core.compile_model(read, "CPU", settings)
    photo = np.random.default_rng(0).integers(0, 256, (1, 61, 72, 3)).astype(np.uint8)
    expected = models["instance"](photo.transpose(0, 3, 1, 2) / np.float32(255))[0]
    size = models["smoothed"].input("before").get_shape()
    before = np.full(tuple(size), 7, np.float32)
    inputs = {"photo": photo, "keep": np.zeros(1, np.float32), "before": before}
    actual = models["smoothed"](inputs)
    difference = actual["picture"] - 255 * expected.transpose(0, 2, 3, 1)
    assert np.abs(difference).max() < 0.6  # it is rounded to bytes
    # What is kept wholly stays as it is.
    kept = models["smoothed"](inputs | {"keep": np.ones(1, np.float32)})["statistics"]
    np.testing.assert_allclose(kept, before, atol=1e-4)
    # On the photo's own statistics nothing changes.
    own = {"keep": np.full(1, 0.9, np.float32), "before": np.array(actual["statistics"])}
    again = models["smoothed"](inputs | own)["picture"].astype(int)
    assert np.abs(again - actual["picture"]).max() <= 1
