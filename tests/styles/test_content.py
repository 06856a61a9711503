from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from dialled import make_dialled_network, save_dialled_style
from errors_help import raises

from fststyle.errors import SettingError, StyleError
from fststyle.styles.content import OneStyle
from fststyle.styles.find import find_style
from fststyle.styles.info import StyleInfo
from fststyle.styles.style_file import (
    load_style,
    read_info,
    read_style,
    save_info,
    save_style,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A style file with a dial."""
    folder = tmp_path_factory.mktemp("dialled")
    return save_dialled_style(make_dialled_network(), folder / "a.onnx", strength=1.5)


@pytest.fixture(scope="module")
def pair_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A style file with a dial and two styles."""
    folder = tmp_path_factory.mktemp("dialled")
    return save_dialled_style(make_dialled_network(styles=2), folder / "pair.onnx")


@pytest.mark.parametrize(("styles", "dial"), [(1, True), (2, True), (2, False)])
def test_round_trip(styles: int, dial: bool, tmp_path: Path) -> None:
    network = make_dialled_network(styles=styles, dial=dial)
    path = save_dialled_style(network, tmp_path / "a.onnx", strength=1.0)
    loaded, info = load_style(path)
    content = read_style(path)
    assert info == content.info == read_info(path)
    assert [style.info.name for style in content.styles] == [f"style_{n}" for n in range(styles)]
    assert loaded.config == content.network == network.config
    assert network.config.format_version == 2
    expected = network.state_dict()
    for name, tensor in loaded.state_dict().items():
        exact = expected[name]
        assert torch.equal(tensor, exact.half().float() if exact.ndim == 4 else exact)
    metadata = {e.key: e.value for e in onnx.load(str(path)).metadata_props}
    assert metadata["format_version"] == "2"
    assert json.loads(metadata["styles"])[0]["strength"] == 1
    save_style(loaded, content.styles, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_content_can_be_reduced(path: Path, pair_path: Path) -> None:
    pair = read_style(pair_path)
    second = pair.selected("style_1")
    assert second.info.name == "style_1"
    assert second.network.styles == 1
    assert pair.selected().info.name == "style_0"
    single = read_style(path)
    assert single.selected("style_0") is single
    folded = single.folded(2.0)
    assert folded.network.is_plain
    assert folded.info == single.info
    assert folded.folded(0.5) is folded
    with raises(StyleError, "unknown_style", "style_0, style_1"):
        pair.selected("style_2")


def test_reference_names_a_style_in_a_file(pair_path: Path) -> None:
    found = find_style(f"{pair_path}#style_1")
    assert (found.kind, found.path, found.style) == ("network", pair_path, "style_1")
    assert find_style(str(pair_path)).style == ""
    with raises(StyleError, "not_found"):
        find_style("missing.onnx#style_1")


def test_information_can_be_replaced(path: Path, tmp_path: Path) -> None:
    save_info(path, StyleInfo("other", artist="Me"), tmp_path / "b.onnx")
    changed = read_style(tmp_path / "b.onnx")
    assert changed.info.artist == "Me"
    assert changed.styles[0].strength == 1.5
    assert changed.model == read_style(path).model


@pytest.mark.parametrize("strength", [0.2, 4.5, float("nan"), "1", True])
def test_recommended_strength_out_of_range(strength: Any) -> None:
    with raises(SettingError, "setting", "recommended strength"):
        OneStyle(StyleInfo("a"), strength)


def _metadata(key: str, change: Callable[[Any], Any]) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        (entry,) = (entry for entry in model.metadata_props if entry.key == key)
        entry.value = json.dumps(change(json.loads(entry.value)))

    return edit


def _strength_constant(model: Any) -> None:
    (tensor,) = (t for t in model.graph.initializer if t.name == "strength")
    tensor.raw_data = np.array([1.0], "<f4").tobytes()


def _no_input(model: Any) -> None:
    (value,) = (v for v in model.graph.input if v.name == "strength")
    model.graph.input.remove(value)


def _plain_version(model: Any) -> None:
    (entry,) = (entry for entry in model.metadata_props if entry.key == "format_version")
    entry.value = "1"


def _no_styles(model: Any) -> None:
    (entry,) = (entry for entry in model.metadata_props if entry.key == "styles")
    model.metadata_props.remove(entry)


NO_NETWORK = "damaged", "does not describe the network that it contains"
NO_STYLES = "damaged", "Cannot read the description"
OTHER = "unsafe", "does not contain the network that it describes"


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (_plain_version, NO_NETWORK),
        (_metadata("network", lambda n: n | {"dial": 1}), NO_NETWORK),
        (_metadata("network", lambda n: n | {"dial": None}), NO_NETWORK),
        (_metadata("network", lambda n: n | {"styles": 0}), NO_NETWORK),
        (_metadata("network", lambda n: n | {"grain": 40}), NO_NETWORK),
        (_metadata("network", lambda n: n | {"grain": 4}), OTHER),
        (_metadata("network", lambda n: n | {"styles": 65}), NO_NETWORK),
        (_metadata("network", lambda n: n | {"dial": False}), NO_NETWORK),
        (_metadata("network", lambda n: n | {"styles": 2}), NO_STYLES),
        (_metadata("network", lambda n: n | {"nodes": 5}), ("newer_version", "newer version")),
        (_no_styles, NO_STYLES),
        (_metadata("styles", lambda s: s * 2), NO_STYLES),
        (_metadata("styles", lambda s: []), NO_STYLES),
        (_metadata("styles", lambda s: None), NO_STYLES),
        (_metadata("styles", lambda s: 7), NO_STYLES),
        (_metadata("styles", lambda s: ["a"]), NO_STYLES),
        (_metadata("styles", lambda s: [{"info": s[0]["info"]}]), NO_STYLES),
        (_metadata("styles", lambda s: [{"info": {}, "strength": 1}]), NO_STYLES),
        (_metadata("styles", lambda s: [s[0] | {"strength": 5}]), NO_STYLES),
        (_metadata("styles", lambda s: [s[0] | {"strength": "1"}]), NO_STYLES),
        (_metadata("styles", lambda s: [s[0] | {"strength": 2}]), OTHER),
        (_strength_constant, OTHER),
        (_no_input, OTHER),
    ],
)
def test_edited_file_is_refused(
    edit: Callable[[Any], object], expected: tuple[str, str], path: Path, tmp_path: Path
) -> None:
    model = onnx.ModelProto.FromString(path.read_bytes())
    edit(model)
    target = tmp_path / "a.onnx"
    target.write_bytes(model.SerializeToString())
    with raises(StyleError, *expected, target) as caught:
        read_style(target)
    assert "\n" not in str(caught.value)


def test_every_damaged_byte_is_refused_or_harmless(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    target = tmp_path / "a.onnx"
    expected = read_style(path)
    outcomes = set()
    for position in range(0, len(data), 97):
        target.write_bytes(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :])
        try:
            actual = read_style(target)
        except StyleError:
            outcomes.add("refused")
        else:
            outcomes.add("read")
            assert actual.network == expected.network
            assert len(actual.model) == len(expected.model)
    assert outcomes == {"refused", "read"}
