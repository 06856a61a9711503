from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fststyle.errors import StyleError
from fststyle.perceptual.evaluate import Evaluation, PhotoResult, Point, measured
from fststyle.perceptual.measure import Losses
from fststyle.perceptual.presets import LossConfig
from fststyle.styles.info import StyleInfo
from fststyle.styles.quality import Quality, recorded, with_quality
from fststyle.styles.style_file import read_style, save_info

SMALL = Quality(256, 3, 50, 9.8, 4.5, 1.9, 2.5, 0.2, 0.8, 1.2)
LARGE = Quality(512, 3, 50, None, 12.0, 1.8, 2.4, 0.1, 0.7, 1.1)


def result(name: str, equals: float, network: float, photo: float) -> PhotoResult:
    layers = LossConfig().style_layers

    def losses(value: float, content: float) -> Losses:
        return Losses(10 * value, {"relu4_2": content}, dict.fromkeys(layers, value), 0.0, 0.0)

    curve = [Point(n, n, 0.0, 100.0 - n) for n in range(51)]
    return PhotoResult(
        name, 8, 8, losses(photo, 0.0), losses(network, 1.0), 0.0, 0.0, 0.0,
        curve, {}, 0.0, 0.0, equals,
    )  # fmt: skip


def test_measured_are_the_medians() -> None:
    results = [
        result("a", 3.0, 0.1, 0.5),
        result("b", math.inf, 0.3, 0.9),
        result("c", 7.126, 0.2, 0.8),
    ]
    evaluation = Evaluation("x", "the original VGG16", results, (1, 50), [])
    actual = measured(evaluation, 256)
    expected = Quality(256, 3, 50, 7.13, 3.0, 2.0, 8.0, 0.2, 0.8, 1.0)
    assert actual == expected
    assert actual.style_left() == pytest.approx(0.25)


def test_more_iterations_than_were_run() -> None:
    results = [result("a", math.inf, 0.1, 0.5)]
    actual = measured(Evaluation("x", "", results, (50,), []), 512)
    assert (actual.equals, actual.equals_worst) == (None, None)
    assert (actual.equals_text(), actual.worst_text()) == ("> 50", "> 50")
    assert SMALL.equals_text() == "9.8"


def test_round_trip_keeps_the_rest_of_the_record() -> None:
    info = StyleInfo("wave", training={"steps": 7, "quality": "old"})
    actual = with_quality(info, [LARGE, SMALL])
    assert recorded(actual) == [SMALL, LARGE]
    assert recorded(StyleInfo.from_json(actual.to_json())) == [SMALL, LARGE]
    assert actual.training["steps"] == 7
    assert info.training["quality"] == "old"


def test_nothing_measured() -> None:
    assert recorded(StyleInfo("wave")) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("size", 256.5),
        ("size", True),
        ("photos", "3"),
        ("equals", "many"),
        ("equals", -1),
        ("total", None),
        ("style", []),
        ("style", 1e999),
    ],
)
def test_damaged_records_are_ignored(key: str, value: Any) -> None:
    record = dict(with_quality(StyleInfo("wave"), [SMALL]).training["quality"][0])
    text = json.dumps({"name": "wave", "training": {"quality": [{**record, key: value}, record]}})
    if value == 1e999:  # Infinity is not JSON
        with pytest.raises(StyleError):
            StyleInfo.from_json(text)
    else:
        assert recorded(StyleInfo.from_json(text)) == [SMALL]


@pytest.mark.parametrize("record", [3, "9.8", {"equals": 3}, [3], [[]], [{}]])
def test_other_values_are_no_records(record: Any) -> None:
    assert recorded(StyleInfo("wave", training={"quality": record})) == []


def test_file_gets_the_record_and_keeps_its_network(style_path: Path, tmp_path: Path) -> None:
    before = read_style(style_path)
    target = tmp_path / "new.onnx"
    save_info(style_path, with_quality(before.info, [SMALL]), target)
    after = read_style(target)
    assert recorded(after.info) == [SMALL]
    assert after.info.title == before.info.title
    assert after.model == before.model
    for name, array in before.weights.items():
        assert after.weights[name].dtype == array.dtype
        np.testing.assert_array_equal(after.weights[name], array)
    once = target.read_bytes()
    save_info(target, after.info, target)
    assert target.read_bytes() == once


def test_file_that_cannot_be_read_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no style")
    with pytest.raises(StyleError):
        save_info(tmp_path / "bad.onnx", StyleInfo("bad"), tmp_path / "new.onnx")
    assert not (tmp_path / "new.onnx").exists()
