from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from errors_help import raises
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from fststyle.errors import FststyleError, SettingError, StyleError
from fststyle.openvino_core import openvino_core
from fststyle.styles import shape, style_file
from fststyle.styles.info import StyleInfo
from fststyle.styles.network import TransformerNet
from fststyle.styles.shape import NetworkConfig
from fststyle.styles.style_file import load_style, read_info, read_style, save_style

INFO = StyleInfo(
    "great_wave",
    title="神奈川沖浪裏",
    artist="Katsushika Hokusai",
    year=1831,
    source="https://example.org/wave",
    licence="public domain",
    style_image_sha256="ab" * 32,
    training={"steps": 1500, "minutes": 5.5, "loss": {"layers": ["relu1_2"], "style_weight": 0.5}},
)


def run_openvino(model: bytes, photo: NDArray[np.float32]) -> NDArray[np.float32]:
    core = openvino_core()
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(model, b""), "CPU", settings)
    return np.array(compiled([photo])[0])


def run_torch(network: TransformerNet, photo: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        picture: torch.Tensor = network(torch.from_numpy(photo))
    return np.array(picture.numpy())


def random_photo(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).random(shape, np.float32)


def edited(source: Path, target: Path, edit: Callable[[Any], object]) -> Path:
    """Write a style file that differs from another one by an edit of its ONNX model."""
    model = onnx.ModelProto.FromString(source.read_bytes())
    edit(model)
    target.write_bytes(model.SerializeToString())
    return target


def set_metadata(key: str, value: str) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        (entry,) = (entry for entry in model.metadata_props if entry.key == key)
        entry.value = value

    return edit


# Writing and reading


def test_round_trip(each_network: TransformerNet, tmp_path: Path) -> None:
    path = tmp_path / "new" / "great_wave.onnx"
    before = {name: tensor.clone() for name, tensor in each_network.state_dict().items()}
    generator_state = torch.get_rng_state()
    save_style(each_network, INFO, path)
    loaded, info = load_style(path)
    assert torch.equal(torch.get_rng_state(), generator_state)
    assert info == read_info(path) == INFO
    assert read_style(path).network == each_network.config
    assert loaded.config == each_network.config
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    actual = loaded.state_dict()
    assert actual.keys() == before.keys()
    for name, tensor in before.items():
        assert torch.equal(each_network.state_dict()[name], tensor)
        assert actual[name].dtype == torch.float32
        assert torch.equal(actual[name], tensor.half().float() if tensor.ndim == 4 else tensor)
    assert [file.name for file in path.parent.iterdir()] == ["great_wave.onnx"]


def test_saving_what_was_loaded_gives_the_same_file(each_style_path: Path, tmp_path: Path) -> None:
    save_style(*load_style(each_style_path), tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == each_style_path.read_bytes()


@pytest.mark.parametrize(
    ("height", "width"), [(64, 61), (7, 5), (5, 5), (34, 6), (40, 20), (6, 7), (41, 59)]
)
def test_file_gives_torchs_result(
    each_style_path: Path, each_network: TransformerNet, height: int, width: int
) -> None:
    photo = random_photo(2, 3, height, width)
    expected = run_torch(load_style(each_style_path)[0], photo)
    for model in (each_style_path.read_bytes(), read_style(each_style_path).model):
        np.testing.assert_allclose(run_openvino(model, photo), expected, atol=1e-5)
    assert np.abs(run_torch(each_network, photo) - expected).max() < 1 / 255
    assert expected.std() > 0.02  # a network that does nothing would prove nothing


def test_file_is_valid_onnx_that_describes_itself(
    each_style_path: Path, each_network: TransformerNet
) -> None:
    model = onnx.ModelProto.FromString(each_style_path.read_bytes())
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["format"] == "fststyle"
    assert metadata["format_version"] == "1"
    expected = asdict(each_network.config)
    for key in ("linear_output", "styles", "dial", "grain"):  # as in the first files
        if not expected[key] or expected[key] == 1 and key == "styles":
            del expected[key]
    assert json.loads(metadata["network"]) == expected
    assert json.loads(metadata["style"])["title"] == "A small one"
    assert [value.name for value in model.graph.input] == ["photo"]
    assert [value.name for value in model.graph.output] == ["picture"]
    assert len(metadata) == 5


def test_default_network_untrained(tmp_path: Path) -> None:
    # Its norms are all equal; an exporter that merges equal arrays loses them.
    network = TransformerNet(NetworkConfig()).train()
    path = tmp_path / "untrained.onnx"
    save_style(network, StyleInfo("untrained"), path)
    assert network.training
    assert path.stat().st_size <= 1_000_000
    loaded, _ = load_style(path)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=1e-3, atol=1e-6)
    photo = random_photo(1, 3, 33, 47)
    expected = run_torch(loaded, photo)
    np.testing.assert_allclose(run_openvino(path.read_bytes(), photo), expected, atol=1e-5)


@pytest.mark.parametrize("first_stride", [1, 2])
def test_smallest_network(first_stride: int, tmp_path: Path) -> None:
    config = NetworkConfig(first_stride=first_stride, width=1, trunk=1, residual_blocks=0)
    network = TransformerNet(config)
    path = tmp_path / "one.onnx"
    save_style(network, StyleInfo("one"), path)
    assert read_style(path).network == config
    assert load_style(path)[0].config == network.config


@pytest.mark.parametrize("factor", [1e-4, 1e6])
def test_kernels_that_float16_would_change_stay_float32(factor: float, tmp_path: Path) -> None:
    # Instance norm undoes the factor, as long as the kernels survive it: 1e-4 times them are
    # subnormal in float16, 1e6 times them infinite.
    network = TransformerNet(NetworkConfig(width=2, trunk=8, residual_blocks=0))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        kernel = network.get_parameter("encoder.0.0.weight")
        kernel.copy_(torch.randn(kernel.shape, generator=generator) * factor)
        if factor < 1:
            kernel.mul_(1e-3)
            network.get_parameter("encoder.0.1.weight").fill_(1e4)
        network.to_rgb.weight.copy_(torch.randn(network.to_rgb.weight.shape, generator=generator))
    save_style(network, StyleInfo("a"), tmp_path / "a.onnx")
    for name, tensor in load_style(tmp_path / "a.onnx")[0].state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3.4e38])
def test_diverged_network_is_not_saved(value: float, tmp_path: Path) -> None:
    network = TransformerNet(NetworkConfig(width=1, trunk=4, residual_blocks=0))
    with torch.no_grad():
        network.get_parameter("decoder.1.1.bias").fill_(value)
    with raises(StyleError, "diverged"):
        save_style(network, StyleInfo("a"), tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_network_that_is_too_large_is_not_saved(
    small_network: TransformerNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style_file, "MAX_BYTES", 9_000)
    with raises(StyleError, "too_large", "network.trunk"):
        save_style(small_network, StyleInfo("a"), tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_difference_from_openvino_is_found(
    small_network: TransformerNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style_file, "openvino_runner", lambda model: lambda photo: photo)
    with raises(StyleError, "not_verified", "differs from torch's"):
        save_style(small_network, StyleInfo("a"), tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_failing_write_leaves_the_old_file_alone(
    small_network: TransformerNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.onnx"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(FststyleError, match="No space left"):
        save_style(small_network, StyleInfo("a"), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_that_cannot_be_made(small_network: TransformerNet, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with raises(StyleError, "cannot_write", tmp_path / "file"):
        save_style(small_network, StyleInfo("a"), tmp_path / "file" / "a.onnx")


def test_style_file_needs_its_extension(small_network: TransformerNet, tmp_path: Path) -> None:
    with raises(SettingError, "unknown_extension", "a.pt"):
        save_style(small_network, StyleInfo("a"), tmp_path / "a.pt")


# Refusing


def test_missing_file(tmp_path: Path) -> None:
    with raises(StyleError, "not_found", tmp_path / "none.onnx"):
        read_style(tmp_path / "none.onnx")


def test_folder_is_not_a_style_file(tmp_path: Path) -> None:
    with raises(StyleError, "cannot_read", tmp_path):
        read_style(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.9999])
def test_truncated_file(share: float, style_path: Path, tmp_path: Path) -> None:
    data = style_path.read_bytes()
    path = tmp_path / "a.onnx"
    path.write_bytes(data[: int(share * len(data))])
    with raises(StyleError, "not_a_style", path, "damaged or incomplete"):
        load_style(path)


@pytest.mark.parametrize("content", [b"This is a text.\n", b"\x89PNG\r\n\x1a\n", b"\0" * 100])
def test_other_kind_of_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with raises(StyleError, "not_a_style", path):
        read_style(path)


def test_every_damaged_byte_is_refused_or_harmless(each_style_path: Path, tmp_path: Path) -> None:
    data = each_style_path.read_bytes()
    path = tmp_path / "a.onnx"
    expected = read_style(each_style_path)
    outcomes = set()
    for position in range(0, len(data), 97):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :])
        try:
            actual = read_style(path)
        except StyleError:
            outcomes.add("refused")
        else:
            outcomes.add("read")
            assert actual.network == expected.network
            assert len(actual.model) == len(expected.model)
    assert outcomes == {"refused", "read"}


def test_file_that_is_too_large(style_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style_file, "MAX_BYTES", style_path.stat().st_size - 1)
    with raises(StyleError, "too_large", style_path):
        read_style(style_path)
    monkeypatch.setattr(style_file, "MAX_BYTES", style_path.stat().st_size)
    read_style(style_path)


def _remove_metadata(model: Any) -> None:
    del model.metadata_props[:]


def _external_data(model: Any) -> None:
    tensor = model.graph.initializer[-1]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    tensor.ClearField("raw_data")


def _external_data_undeclared(model: Any) -> None:
    model.graph.initializer[-1].external_data.add(key="location", value="../secret")


def _foreign_operator(model: Any) -> None:
    model.graph.node[5].op_type = "MatMul"


def _foreign_domain(model: Any) -> None:
    model.graph.node[5].domain = "com.example"


def _foreign_opset(model: Any) -> None:
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def _function(model: Any) -> None:
    model.functions.append(
        helper.make_function(
            "", "Relu", ["x"], ["y"], [helper.make_node("Abs", ["x"], ["y"])], model.opset_import
        )
    )


def _other_opset(model: Any) -> None:
    model.opset_import[0].version = 17


def _more_nodes(model: Any) -> None:
    model.graph.node.append(helper.make_node("Relu", ["picture"], ["more"]))


def _other_attribute(model: Any) -> None:
    (pad, *_) = (node for node in model.graph.node if node.op_type == "Pad")
    pad.attribute[0].s = b"constant"


def _other_input(model: Any) -> None:
    (resize, *_) = (node for node in model.graph.node if node.op_type == "Resize")
    resize.input[0] = "photo"


def _other_constant(model: Any) -> None:
    (tensor,) = (t for t in model.graph.initializer if t.name == "double")
    tensor.CopyFrom(numpy_helper.from_array(np.array([1, 1, 4000, 4000], np.float32), "double"))


def _more_weights(model: Any) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "more"))


def _twice_the_same_weight(model: Any) -> None:
    model.graph.initializer.append(model.graph.initializer[-1])


def _less_weights(model: Any) -> None:
    del model.graph.initializer[-1]


def _negative_shape(model: Any) -> None:
    model.graph.initializer[-1].dims[0] *= -1
    model.graph.initializer[-1].dims.append(-1)


def _huge_shape(model: Any) -> None:
    model.graph.initializer[-1].dims.append(2**62)


def _double_precision(model: Any) -> None:
    tensor = model.graph.initializer[-1]
    tensor.CopyFrom(
        numpy_helper.from_array(numpy_helper.to_array(tensor).astype("f8"), tensor.name)
    )


def _one_weight(value: float) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == "residual.0.body.0.1.weight")
        array = numpy_helper.to_array(tensor).copy()
        array[1] = value
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    return edit


def _network(**values: object) -> Callable[[Any], None]:
    return set_metadata("network", json.dumps(values))


def _other_network(**values: object) -> Callable[[Any], None]:
    """Change some values of the network that a file says it holds; None removes one."""

    def edit(model: Any) -> None:
        (entry,) = (entry for entry in model.metadata_props if entry.key == "network")
        changed = json.loads(entry.value) | values
        entry.value = json.dumps({k: v for k, v in changed.items() if v is not None})

    return edit


def _other_first_stride(model: Any) -> None:
    (entry,) = (entry for entry in model.metadata_props if entry.key == "network")
    values = json.loads(entry.value)
    entry.value = json.dumps(values | {"first_stride": 3 - values["first_stride"]})


def _other_output(model: Any) -> None:
    (entry,) = (entry for entry in model.metadata_props if entry.key == "network")
    values = json.loads(entry.value)
    values["linear_output"] = 1 - values.get("linear_output", 0)
    entry.value = json.dumps(values)


NO_NETWORK = "damaged", "does not describe the network that it contains"
OTHER = "unsafe", "does not contain the network that it describes"


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (_remove_metadata, ("not_a_style", "is not a style file")),
        (set_metadata("format", "other"), ("not_a_style", "is not a style file")),
        (set_metadata("format_version", "3"), ("newer_version", "newer version of fststyle")),
        (set_metadata("format_version", "9" * 5000), ("damaged", "format version")),
        (set_metadata("format_version", "one"), ("damaged", "format version")),
        (set_metadata("style", "{}"), ("damaged", 'a "name"')),
        (set_metadata("network", "{"), NO_NETWORK),
        (set_metadata("network", "[4]"), NO_NETWORK),
        (_network(), NO_NETWORK),
        (_network(width=4, residual_blocks=1), NO_NETWORK),
        (_other_network(first_stride=None), NO_NETWORK),
        (_other_network(first_stride=0), NO_NETWORK),
        (_other_network(first_stride=True), NO_NETWORK),
        (_other_network(width=4.0), NO_NETWORK),
        (_other_network(width=0), NO_NETWORK),
        (_other_network(trunk=None), NO_NETWORK),
        (_other_network(trunk=0), NO_NETWORK),
        (_other_network(trunk="12"), NO_NETWORK),
        (_other_network(residual_blocks=-1), NO_NETWORK),
        (_other_network(linear_output=-1), NO_NETWORK),
        (_other_network(linear_output=False), NO_NETWORK),
        (_other_network(linear_output=2), NO_NETWORK),
        (set_metadata("format_version", "2"), NO_NETWORK),
        (_other_network(dial=True), NO_NETWORK),
        (_other_network(styles=2), NO_NETWORK),
        (_other_network(depth=3), ("newer_version", "newer version of fststyle")),
        (_other_first_stride, OTHER),
        (_other_output, OTHER),
        (_other_network(first_stride=3), NO_NETWORK),
        (_other_network(first_stride=10**12), NO_NETWORK),
        (_other_network(width=5), OTHER),
        (_other_network(width=10**12), NO_NETWORK),
        (_other_network(trunk=13), OTHER),
        (_other_network(trunk=10**12), NO_NETWORK),
        (_other_network(residual_blocks=0), OTHER),
        (_other_network(residual_blocks=2), OTHER),
        (_other_network(residual_blocks=10**12), NO_NETWORK),
        (_external_data, ("unsafe", "refers to another file")),
        (_external_data_undeclared, ("unsafe", "refers to another file")),
        (_foreign_operator, ("unsafe", "the operator 'MatMul'")),
        (_foreign_domain, ("unsafe", "the operator 'com.example:")),
        (_foreign_opset, ("unsafe", "the operator 'com.example:")),
        (_function, ("unsafe", "the operator ':Relu'")),
        (_other_opset, OTHER),
        (_more_nodes, OTHER),
        (_other_attribute, OTHER),
        (_other_input, OTHER),
        (_other_constant, OTHER),
        (_more_weights, OTHER),
        (_twice_the_same_weight, OTHER),
        (_less_weights, OTHER),
        (_negative_shape, OTHER),
        (_huge_shape, OTHER),
        (_double_precision, OTHER),
        *((_one_weight(x), ("damaged", "overflow")) for x in (np.nan, np.inf, 3.4e38, -3.4e38)),
        (_one_weight(1e12), ("damaged", "overflow")),
    ],
)
def test_edited_file_is_refused(
    edit: Callable[[Any], object], expected: tuple[str, str], each_style_path: Path, tmp_path: Path
) -> None:
    path = edited(each_style_path, tmp_path / "a.onnx", edit)
    (tmp_path.parent / "secret").write_bytes(bytes(4096))
    with raises(StyleError, *expected, path) as caught:
        read_style(path)
    assert "\n" not in str(caught.value)


def test_edit_that_changes_nothing_is_read(each_style_path: Path, tmp_path: Path) -> None:
    # Else the test above would prove nothing.
    path = edited(each_style_path, tmp_path / "a.onnx", lambda model: None)
    assert read_style(path).model == read_style(each_style_path).model


def test_network_beyond_the_limits_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file that is consistent in itself, with more blocks than `NetworkConfig` allows.
    path = tmp_path / "deep.onnx"
    with monkeypatch.context() as context:
        context.setitem(shape._RANGES, "residual_blocks", (0, 33))
        config = NetworkConfig(width=1, trunk=4, residual_blocks=33)
        save_style(TransformerNet(config), StyleInfo("deep"), path)
        assert read_style(path).network == config
    with raises(StyleError, *NO_NETWORK):
        load_style(path)
