from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from errors_help import raises

from fststyle.errors import SettingError, StyleError
from fststyle.styles.info import StyleInfo

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


def test_info_survives_json() -> None:
    assert StyleInfo.from_json(INFO.to_json()) == INFO


def test_info_ignores_unknown_keys() -> None:
    assert StyleInfo.from_json('{"name": "a", "mood": "calm"}') == StyleInfo("a")


def test_info_keeps_its_own_copy_of_training() -> None:
    training: dict[str, Any] = {"layers": ("relu1_2", "relu2_2")}
    info = StyleInfo("a", training=training)
    training["layers"] = ()
    assert info.training == {"layers": ["relu1_2", "relu2_2"]}


@pytest.mark.parametrize("name", ["a", "0", "great_wave-2", "a" * 64])
def test_info_takes_names(name: str) -> None:
    assert StyleInfo(name).name == name


@pytest.mark.parametrize(
    "name", ["", "Wave", "-a", "_a", "a/b", "../a", "a.b", "ä", "a\n", "a" * 65]
)
def test_info_refuses_names(name: str) -> None:
    with raises(SettingError, "setting"):
        StyleInfo(name)


@pytest.mark.parametrize(
    "values",
    [
        {"name": 3},
        {"name": "a", "title": None},
        {"name": "a", "title": "\x1b[2J"},
        {"name": "a", "year": 1.5},
        {"name": "a", "year": True},
        {"name": "a", "training": [1]},
        {"name": "A b"},
        {"title": "nameless"},
        ["a"],
    ],
)
def test_info_from_json_refuses(values: object) -> None:
    with raises(StyleError, "damaged"):
        StyleInfo.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_info_from_json_refuses_what_is_not_json(text: str) -> None:
    with raises(StyleError, "damaged"):
        StyleInfo.from_json(text)


@pytest.mark.parametrize("value", [float("nan"), np.float32(1), torch.zeros(1), {1, 2}])
def test_info_refuses_training_that_json_cannot_hold(value: object) -> None:
    with raises(SettingError, "setting", "JSON"):
        StyleInfo("a", training={"loss": value})
