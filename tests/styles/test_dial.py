from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from dialled import make_dialled_network

from fststyle.styles.dial import (
    DIAL_RANGE,
    STRONGEST,
    WEAKEST,
    dial_position,
    fold_dial,
    select_style,
    split_norms,
    style_share,
)
from fststyle.styles.network import TransformerNet
from fststyle.styles.shape import NetworkConfig


def arrays_of(network: TransformerNet) -> dict[str, Any]:
    return {name: value.detach().numpy() for name, value in network.state_dict().items()}


def network_of(shape: NetworkConfig, weights: Mapping[str, Any]) -> TransformerNet:
    network = TransformerNet(shape).eval()
    network.load_state_dict({n: torch.from_numpy(np.array(a)) for n, a in weights.items()})
    return network


def test_strengths_are_spread_evenly_over_the_dial() -> None:
    assert (WEAKEST, STRONGEST) == (0.25, 4)
    positions = dial_position(np.geomspace(WEAKEST, STRONGEST, 9).astype(np.float32))
    np.testing.assert_allclose(positions, np.linspace(-DIAL_RANGE, DIAL_RANGE, 9), atol=1e-6)
    assert dial_position(0.0) == dial_position(WEAKEST) == -DIAL_RANGE
    assert dial_position(1) == 0


def test_weakest_strengths_are_blended_with_the_photo() -> None:
    assert [style_share(s) for s in (0, 0.125, 0.25, 1, 4)] == [0, 0.5, 1, 1, 1]
    shares = style_share(np.array([[0, 0.05], [0.2, 3]], np.float32))
    np.testing.assert_allclose(shares, [[0, 0.2], [0.8, 1]], rtol=1e-6)


@pytest.mark.parametrize("first_stride", [1, 2])
@pytest.mark.parametrize(("styles", "dial"), [(1, True), (3, True), (3, False)])
def test_folded_network_gives_the_same_result(first_stride: int, styles: int, dial: bool) -> None:
    network = make_dialled_network(first_stride, styles=styles, dial=dial)
    photo = torch.rand(2, 3, 37, 50, generator=torch.Generator().manual_seed(2))
    seen = []
    for style in range(styles):
        shape, weights = select_style(network.config, arrays_of(network), style)
        for position in (-4.0, 0.0, 1.5) if dial else (0.0,):
            folded = fold_dial(shape, weights, position) if dial else (shape, weights)
            assert folded[0].is_plain
            with torch.inference_mode():
                actual = network_of(*folded)(photo)
                expected = network(photo, position, style)
            np.testing.assert_allclose(actual, expected, atol=2e-5)
            seen.append(np.asarray(actual))
    differences = [np.abs(a - b).mean() for i, a in enumerate(seen) for b in seen[:i]]
    assert min(differences) > 0.003  # otherwise the test would prove nothing


def test_split_norms_only_normalise() -> None:
    network = make_dialled_network()
    weights = arrays_of(network)
    shape, unit, parameters = split_norms(network.config, weights)
    assert shape.is_plain
    assert unit.keys() == TransformerNet(shape).state_dict().keys()
    assert {array.shape[:1] + array.shape[2:] for array in parameters.values()} == {(1, 1, 1)}
    for name, array in parameters.items():
        np.testing.assert_array_equal(array[:, :, 0, 0], weights[name])
        if ".dial_" not in name:
            assert np.all(unit[name] == (1 if name.endswith("weight") else 0))
