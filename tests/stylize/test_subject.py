"""Finding the subject with rembg, and a tiny network in place of the one that it downloads."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from errors_help import raises
from onnx import TensorProto, helper

from fststyle.errors import FststyleError, SettingError
from fststyle.stylize import subject
from fststyle.stylize.subject import find_subject, missing_model

with_rembg = pytest.mark.needs("rembg", "onnxruntime", "numba")


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where rembg looks for its network."""
    monkeypatch.setenv("REMBG_HOME", str(tmp_path / "rembg"))
    monkeypatch.setenv("U2NET_HOME", "")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    subject._session.cache_clear()
    yield tmp_path / "rembg" / "models" / "u2net" / "u2net.onnx"
    subject._session.cache_clear()


def write_network(path: Path) -> None:
    """Write a network that takes the red channel for the subject."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 320, 320])
    mask = helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, 320, 320])
    kernel = helper.make_tensor("kernel", TensorProto.FLOAT, [1, 3, 1, 1], [1.0, 0.0, 0.0])
    node = helper.make_node("Conv", ["image", "kernel"], ["mask"])
    graph = helper.make_graph([node], "red", [image], [mask], [kernel])
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.parent.mkdir(parents=True)
    onnx.save(network, path)


@with_rembg
def test_subject_is_what_the_network_finds(model: Path) -> None:
    assert missing_model() == model
    write_network(model)
    assert missing_model() is None
    photo = np.zeros((60, 90, 3), np.uint8)
    photo[:, 45:, 0] = 255
    mask = find_subject(photo)
    assert mask.shape == (60, 90)
    assert mask[:, :40].max() < 0.05
    assert mask[:, 50:].min() > 0.95
    np.testing.assert_array_equal(find_subject(np.float32(1 / 255) * photo), mask)
    assert max(find_subject(np.zeros((3000, 20, 3), np.uint8)).shape) == 1024


@with_rembg
def test_no_internet_is_one_sentence(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with raises(FststyleError, "no_subject_model", "cannot be downloaded") as caught:
        find_subject(np.zeros((9, 9, 3), np.uint8))
    assert caught.value.path == str(model)
    assert not model.exists()


@with_rembg
def test_damaged_network(model: Path) -> None:
    model.parent.mkdir(parents=True)
    model.write_bytes(b"no network")
    with raises(FststyleError, "no_subject_model", "Cannot read the network") as caught:
        find_subject(np.zeros((9, 9, 3), np.uint8))
    assert caught.value.path == str(model)


@with_rembg
def test_network_runs_on_this_computer() -> None:
    kind: Any = subject._kind()
    assert kind.is_local()
    assert not kind.requires_credentials()


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "rembg" else find(name)
    )
    monkeypatch.setitem(sys.modules, "rembg", None)
    with raises(SettingError, "missing_package", "needs rembg") as caught:
        find_subject(np.zeros((9, 9, 3), np.uint8))
    assert caught.value.details["extra"] == "subject"
