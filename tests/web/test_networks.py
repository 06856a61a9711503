from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from errors_help import raises

from fststyle.runtime.runner import Runtime, load_runtime
from fststyle.web import networks
from fststyle.web.errors import Refusal
from fststyle.web.networks import Networks, parse_blend


def test_blends() -> None:
    assert parse_blend("one") == {"one": 1}
    assert parse_blend("one:0.6,other:1.8") == {"one": 0.25, "other": pytest.approx(0.75)}
    assert parse_blend("one,one") == {"one": 1}


def test_a_style_in_the_working_folder_is_not_found(
    style_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(style_path, tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    with raises(Refusal, "unknown_style", "one"):
        Networks(1).stylizer("one")


def test_networks_are_shared_and_renewed(styles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Path] = []

    def load(path: Path, **options: Any) -> Runtime:
        loaded.append(path)
        return load_runtime(path, **options)

    monkeypatch.setattr(networks, "load_runtime", load)
    loaded_networks = Networks(1)
    first = loaded_networks.stylizer("small").styles
    assert loaded_networks.stylizer("small:2").styles == first
    assert len(loaded) == 1
    path = styles / "small.onnx"
    path.touch()  # trained again
    loaded_networks.stylizer("small")
    assert len(loaded) == 2


def test_the_networks_have_a_limit_in_bytes(styles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(path: Path, **options: Any) -> Runtime:
        loaded.append(path.stem)
        return load_runtime(path, **options)

    monkeypatch.setattr(networks, "load_runtime", load)
    loaded_networks = Networks(1)
    names = [f"small{n}" for n in range(6)]
    for name in names:
        shutil.copy(styles / "small.onnx", styles / f"{name}.onnx")
        loaded_networks.stylizer(name, 2 * 10**6)
    loaded.clear()
    for name in reversed(names):
        loaded_networks.stylizer(name)
    assert loaded == ["small1", "small0"]


def test_a_damaged_style_says_no_path(styles: Path) -> None:
    (styles / "small.onnx").write_bytes(b"nothing")
    with raises(Refusal, "damaged") as refused:
        Networks(1).stylizer("small")
    assert str(styles) not in str(refused.value)
    assert "small" not in {style.name for style in networks.list_networks()}
