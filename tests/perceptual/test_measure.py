from __future__ import annotations

import numpy as np
import pytest
import torch
from errors_help import raises

from fststyle.errors import SettingError
from fststyle.perceptual.measure import MEASURE, Losses, losses_of, measure_for
from fststyle.perceptual.presets import PRESETS, LossConfig
from fststyle.perceptual.vgg import VGGWeights


def test_measure_is_the_calibrated_loss() -> None:
    assert MEASURE == LossConfig() == PRESETS["calibrated"]


def test_measure_needs_the_original_weights(narrow_weights: VGGWeights) -> None:
    with raises(SettingError, "other_weights", "a narrow VGG16"):
        measure_for(np.zeros((48, 48, 3), np.float32), narrow_weights)


def test_losses_of_an_image(original_weights: VGGWeights) -> None:
    style = np.random.default_rng(0).random((48, 48, 3), dtype=np.float32)
    measure = measure_for(style, original_weights)
    photo, image = torch.rand(2, 1, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    targets = measure.content_targets(photo)
    own, other = (losses_of(measure, pixels, targets) for pixels in (photo, image))
    assert own.content == {"relu4_2": 0.0}
    assert set(own.style) == set(MEASURE.style_layers)
    assert other.content["relu4_2"] > 0
    for losses in (own, other):
        terms = losses.content["relu4_2"] + 0.3 * losses.tv + 0.5 * losses.palette
        weighted = sum(MEASURE.style_layers[k] * v for k, v in losses.style.items())
        assert losses.total == pytest.approx(terms + 0.5 * weighted, rel=1e-4)


def test_style_term_is_a_weighted_mean() -> None:
    style = {"relu1_2": 0.1, "relu2_2": 0.2, "relu3_3": 0.3, "relu4_3": 0.4}
    expected = (1.5 * 0.1 + 1.5 * 0.2 + 0.3 + 2 * 0.4) / 6
    assert Losses(1.0, {}, style, 0.0, 0.0).style_term() == pytest.approx(expected)
