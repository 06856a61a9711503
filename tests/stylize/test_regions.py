"""Strengths of faces, subjects and backgrounds, together with maps and masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dialled import make_dialled_network, save_dialled_style
from errors_help import raises
from numpy.typing import NDArray

from fststyle.errors import SettingError
from fststyle.stylize import regions
from fststyle.stylize.control import Control
from fststyle.stylize.faces import GENTLE, Face
from fststyle.stylize.regions import find_regions
from fststyle.stylize.stylizer import Stylizer

PHOTO = np.random.default_rng(0).random((40, 52, 3), np.float32)


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find a subject in the right half and a face in the middle of the photo."""

    def subject(pixels: NDArray[Any]) -> NDArray[np.float32]:
        mask = np.zeros(pixels.shape[:2], np.float32)
        mask[:, pixels.shape[1] // 2 :] = 1
        return mask

    monkeypatch.setattr(regions, "find_subject", subject)
    monkeypatch.setattr(regions, "find_faces", lambda pixels: [Face(0.5, 0.5, 0.1, 0.1)])


@pytest.fixture(scope="module")
def dialled(tmp_path_factory: pytest.TempPathFactory) -> Stylizer:
    path = tmp_path_factory.mktemp("dialled") / "dialled.onnx"
    save_dialled_style(make_dialled_network(), path)
    return Stylizer(path, device="cpu", threads=1)


def test_all_factors_are_multiplied() -> None:
    assert find_regions(PHOTO, Control()) == (None, None)
    count, factors = find_regions(PHOTO, Control(subject=0.5, background=2, faces="gentle"))
    assert count == 1
    assert factors is not None
    np.testing.assert_allclose(factors[0, [0, -1]], [2, 0.5])
    np.testing.assert_allclose(factors[20, [25, 26]], [2 * GENTLE, 0.5 * GENTLE], rtol=1e-6)


def test_factors_work_like_a_map(dialled: Stylizer) -> None:
    _, factors = find_regions(PHOTO, Control(subject=0.25, background=1))
    settings: dict[str, Any] = {"strength": 2, "scale": 1}
    actual = dialled(PHOTO, subject=0.25, **settings)
    np.testing.assert_array_equal(actual, dialled(PHOTO, strength_map=factors, **settings))
    assert np.abs(actual - dialled(PHOTO, **settings)).mean() > 0.005
    # Factors above 1 strengthen the background.
    stronger = dialled(PHOTO, strength=0.5, subject=1, background=4)
    _, quarter = find_regions(PHOTO, Control(subject=0.25))
    np.testing.assert_array_equal(stronger, dialled(PHOTO, strength=2, strength_map=quarter))


def test_map_and_mask_apply_too(dialled: Stylizer) -> None:
    top = np.zeros(PHOTO.shape[:2], np.float32)
    top[:20] = 1
    for control in (Control(subject=0.5, mask=top), Control(subject=0.5, strength_map=top)):
        result = dialled.pixels(PHOTO, control)
        np.testing.assert_array_equal(result[20:], PHOTO[20:])
    _, factors = find_regions(PHOTO, Control(subject=0.5))
    assert factors is not None
    np.testing.assert_array_equal(
        dialled(PHOTO, subject=0.5, strength_map=top), dialled(PHOTO, strength_map=top * factors)
    )
    nothing = dialled(PHOTO, subject=0)
    np.testing.assert_array_equal(nothing[:, 27:], PHOTO[:, 27:])


def test_unsuitable_values(style_path: Path, dialled: Stylizer) -> None:
    wrong: Any
    for wrong in ({"faces": "wild"}, {"faces": True}, {"subject": -1}, {"background": 4.1}):
        with raises(SettingError, "setting", next(iter(wrong))):
            Control(**wrong)
    with raises(SettingError, "setting", "strength of the background, 2 × 3, exceeds 4"):
        Control(strength=2, background=3)
    Control(strength=2, background=2)
    fixed = Stylizer(style_path, device="cpu", threads=1)
    with raises(SettingError, "no_dial", "at most 1, not 1.5"):
        fixed(PHOTO, strength=0.5, background=3)
    fixed(PHOTO, strength=0.5, background=2)
