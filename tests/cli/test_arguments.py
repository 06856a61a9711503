from __future__ import annotations

import argparse
import doctest
from collections.abc import Callable
from typing import Any

import pytest

from fststyle.cli import arguments


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (arguments.positive, "1", 1),
        (arguments.whole_number, "0", 0),
        (arguments.quality, "100", 100),
        (arguments.port, "65535", 65535),
        (arguments.share, "0.5", 0.5),
        (arguments.stroke_scale, "64", 64.0),
        (arguments.pixels_or_full, "full", "full"),
        (arguments.pixels_or_full, "7", 7),
        (arguments.seconds, "1:02:03.5", 3723.5),
        (arguments.seconds, "2:03", 123.0),
        (arguments.seconds, ".5", 0.5),
        (arguments.height_and_width, "720x1280", (720, 1280)),
        (arguments.height_and_width, "720×1280", (720, 1280)),
        (arguments.layer_weights, "relu1_1:2, relu3_1", {"relu1_1": 2.0, "relu3_1": 1.0}),
        (arguments.whole_numbers, "32, 0", (32, 0)),
    ],
)
def test_values_are_read(read: Callable[[str], Any], text: str, expected: object) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("read", "text", "fact"),
    [
        (arguments.positive, "0", "from 1"),
        (arguments.positive, "²", "from 1"),
        (arguments.whole_number, "-1", "from 0"),
        (arguments.whole_number, str(2**40), "from 0"),
        (arguments.quality, "101", "from 1 to 100"),
        (arguments.port, "65536", "from 0 to 65535"),
        (arguments.share, "nan", "from 0 to 1"),
        (arguments.share, "1.01", "from 0 to 1"),
        (arguments.stroke_scale, "0.1", "from 0.25 to 64"),
        (arguments.pixels_or_full, "0", "or full"),
        (arguments.pixels_or_full, "Full", "or full"),
        (arguments.seconds, "1:2:3:4", "H:MM:SS"),
        (arguments.seconds, "-1", "H:MM:SS"),
        (arguments.height_and_width, "0x5", "720x1280"),
        (arguments.height_and_width, "5", "720x1280"),
        (arguments.layer_weights, "relu1_2:x", "relu1_2,relu3_3:2"),
        (arguments.whole_numbers, "9,x", "from 0"),
    ],
)
def test_bad_values_are_refused(read: Callable[[str], Any], text: str, fact: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        read(text)
    assert fact in str(caught.value)


def test_examples() -> None:
    assert doctest.testmod(arguments).failed == 0
