from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import numpy as np
import pytest
from errors_help import raises

from fststyle.errors import SettingError
from fststyle.stylize.control import Control, ControlSettings


def test_the_typed_arguments_are_the_fields() -> None:
    types = {field.name: field.type for field in fields(Control)}
    typed = {name: hint.__forward_arg__ for name, hint in ControlSettings.__annotations__.items()}
    assert typed == types


def test_defaults_change_nothing() -> None:
    control = Control()
    assert (control.size, control.scale, control.tile, control.mask) == (None,) * 4
    assert (control.strength, control.keep_colors) == (1.0, False)
    with pytest.raises(FrozenInstanceError):
        control.size = 5  # type: ignore[misc]


@pytest.mark.parametrize("scale", [0, -1, 0.2, 65, float("nan"), float("inf"), True, "2"])
def test_scale_out_of_range(scale: Any) -> None:
    with raises(SettingError, "setting", "scale", "0.25", "64"):
        Control(scale=scale)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("size", value) for value in (0, -5, 1.5, True, "512", "Full")],
        *[("tile", value) for value in (0, 2.5, True)],
        *[("strength", value) for value in (-0.1, 4.1, np.nan, "much", None)],
    ],
)
def test_values_out_of_range(name: str, value: Any) -> None:
    with raises(SettingError, "setting", name):
        Control(**{name: value})


def test_numbers_of_numpy() -> None:
    half: Any = np.float32(0.5)
    assert Control(strength=half, scale=np.float64(2)).strength == 0.5
