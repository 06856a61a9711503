from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from fststyle.errors import FststyleError, QualityError
from fststyle.perceptual.tensors import to_pixels, to_tensor
from fststyle.styles.network import TransformerNet
from fststyle.styles.shape import NetworkConfig
from fststyle.training import gates
from fststyle.training.faults.blobs import blobs
from fststyle.training.faults.detail import lost_structure
from fststyle.training.faults.lattice import checkerboard
from fststyle.training.gates import Gate, GateName
from fststyle.training.probes import small_probes

Pixels = NDArray[np.float32]
PROBES = small_probes().photos
# Those that need only a photo and a result.
MEASURED: list[GateName] = ["blobs", "lattice_2", "lattice_4", "frame", "structure", "blur"]


def clipped(pixels: NDArray[Any]) -> Pixels:
    return np.asarray(np.clip(pixels, 0, 1), np.float32)


def soft(pixels: NDArray[Any], sigma: float) -> Pixels:
    return np.asarray(ndimage.gaussian_filter(pixels, (sigma, sigma, 0)), np.float32)


# Stylisations without a fault


def unchanged(photo: Pixels) -> Pixels:
    return photo


def poster(photo: Pixels) -> Pixels:
    return soft(np.round(soft(photo, 1) * 4) / 4, 0.6)


def cartoon(photo: Pixels) -> Pixels:
    flat = soft(photo, 1.5)
    edges = np.hypot(*np.gradient(flat.mean(axis=2)))[..., None]
    return clipped(flat * (1 - np.clip(12 * edges - 0.2, 0, 1)))


def ink(photo: Pixels) -> Pixels:
    grey = soft(photo, 1).mean(axis=2, keepdims=True)
    return np.repeat(clipped((grey - 0.45) * 12 + 0.5), 3, axis=2)


def brush(photo: Pixels) -> Pixels:
    """A broad texture over the colours."""
    noise = np.random.default_rng(0).normal(size=photo.shape)
    return clipped(photo * 0.8 + 0.1 + 0.25 * ndimage.gaussian_filter(noise, (1.2, 2.5, 0)))


CLEAN: list[Callable[[Pixels], Pixels]] = [unchanged, poster, cartoon, ink, brush]


# Faults


def lattice(picture: Pixels, period: int, amplitude: float) -> Pixels:
    rows, columns = np.indices(picture.shape[:2])[..., None]
    angle = 2 * math.pi / period
    return clipped(picture + amplitude / 255 * np.cos(angle * rows) * np.cos(angle * columns))


def columns_of(picture: Pixels, period: int, amplitude: float) -> Pixels:
    columns = np.arange(picture.shape[1])[None, :, None]
    return clipped(picture + amplitude / 255 * np.cos(2 * math.pi / period * columns + 0.3))


def blob(picture: Pixels, size: float, colour: tuple[float, float, float]) -> Pixels:
    rows, columns = np.indices(picture.shape[:2])[..., None]
    distance = np.hypot(rows - picture.shape[0] // 3, columns - picture.shape[1] // 4)
    inside = np.clip(size / 2 - distance + 0.5, 0, 1)
    return clipped(inside * np.array(colour) + (1 - inside) * picture)


def frame(picture: Pixels, thickness: int, strength: float) -> Pixels:
    framed = picture * (1 - strength)
    inside = slice(thickness, -thickness)
    framed[inside, inside] = picture[inside, inside]
    return clipped(framed)


FAULTS: dict[str, tuple[GateName, Callable[[Pixels], Pixels]]] = {
    "checkerboard": ("lattice_2", lambda p: lattice(p, 2, 4)),
    "stripes of two": ("lattice_2", lambda p: columns_of(p, 2, 5)),
    "grid of four": ("lattice_4", lambda p: lattice(p, 4, 10)),
    "stripes of four": ("lattice_4", lambda p: columns_of(p, 4, 8)),
    "small red blob": ("blobs", lambda p: blob(p, 12, (1, 0, 0))),
    "green blob": ("blobs", lambda p: blob(p, 24, (0, 1, 0))),
    "frame": ("frame", lambda p: frame(p, 4, 0.6)),
    "blur": ("blur", lambda p: soft(p, 3)),
    "nothing": ("structure", lambda p: np.full_like(p, 0.4)),
}


def check(stylise: Callable[[Pixels], Pixels], **options: Any) -> tuple[Gate, ...]:
    return gates.check(lambda photo, *, strength: stylise(photo), **options)


def failed(stylise: Callable[[Pixels], Pixels]) -> set[str]:
    return {gate.name for gate in check(stylise) if gate.blocks}


@pytest.mark.parametrize("style", CLEAN)
def test_clean_pictures_pass(style: Callable[[Pixels], Pixels]) -> None:
    actual = check(style)
    assert [gate.sentence for gate in actual if not gate.passed] == []
    assert [gate.name for gate in actual] == [name for name in gates.LIMITS if name != "specks"]


def test_values_are_repeatable() -> None:
    assert check(brush) == check(brush)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("style", [unchanged, brush])
def test_planted_faults_fail(style: Callable[[Pixels], Pixels], fault: str) -> None:
    gate, plant = FAULTS[fault]
    photo = PROBES["face"]
    limit = gates.LIMITS[gate]
    picture = style(photo)
    assert gates.measure(gate, photo, picture) <= limit
    assert gates.measure(gate, photo, plant(picture)) > limit


@pytest.mark.parametrize("fault", ["checkerboard", "grid of four", "green blob", "frame"])
def test_a_fault_fails_its_gate_alone(fault: str) -> None:
    gate, plant = FAULTS[fault]
    assert failed(lambda photo: plant(photo)) == {gate}


@pytest.mark.parametrize(
    ("gate", "plant", "strengths"),
    [
        ("lattice_2", lambda p, s: lattice(p, 2, s), (1, 2, 4, 8)),
        ("lattice_4", lambda p, s: columns_of(p, 4, s), (2, 3, 4, 8)),
        ("frame", lambda p, s: frame(p, 4, s), (0.1, 0.2, 0.4, 0.8)),
        ("blur", soft, (0.5, 1, 2, 4)),
        (
            "blobs",
            lambda p, s: clipped((1 - s) * p + s * blob(p, 18, (0, 1, 0))),
            (0.25, 0.5, 0.75, 1),
        ),
    ],
)
def test_stronger_faults_have_larger_values(
    gate: GateName, plant: Callable[[Pixels, float], Pixels], strengths: tuple[float, ...]
) -> None:
    photo = PROBES["face"]
    values = [gates.measure(gate, photo, plant(photo, strength)) for strength in strengths]
    assert values == sorted(values)
    assert values[-1] > gates.LIMITS[gate]
    assert values[0] < values[-1] / 1.5


def test_structure_is_lost_by_degrees() -> None:
    photo = PROBES["face"]
    noise = np.random.default_rng(0).normal(size=photo.shape)
    smooth = ndimage.gaussian_filter(noise, (4, 4, 0))
    values = [
        lost_structure(photo, clipped((1 - s) * photo + s * (0.5 + 3 * smooth)))
        for s in (0.0, 0.3, 0.6, 1.0)
    ]
    assert values[0] == pytest.approx(0, abs=1e-9)
    assert values == sorted(values)
    assert values[-1] > gates.LIMITS["structure"]
    assert lost_structure(photo, 1 - photo) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("height", "width"), [(131, 173), (66, 99), (40, 41), (21, 17)])
def test_odd_and_small_sizes(height: int, width: int) -> None:
    photo = np.ascontiguousarray(PROBES["face"][80 : 80 + height, 40 : 40 + width])
    for name in MEASURED:
        assert math.isfinite(gates.measure(name, photo, photo))
    assert checkerboard(lattice(photo, 2, 6), 2) > gates.LIMITS["lattice_2"]


def test_pictures_stay_as_they_are() -> None:
    photo = PROBES["face"].copy()
    picture = blob(photo, 18, (1, 0, 0))
    copies = photo.copy(), picture.copy()
    for name in MEASURED:
        gates.measure(name, photo, picture)
    assert np.array_equal(photo, copies[0])
    assert np.array_equal(picture, copies[1])


def test_photo_of_a_blob_is_no_blob() -> None:
    """What the photo shows itself is nobody's fault."""
    photo = blob(PROBES["clear_sky"], 18, (1, 1, 0))
    assert blobs(photo, photo) <= 0
    assert blobs(PROBES["clear_sky"], photo) > gates.LIMITS["blobs"]


def test_nan_does_not_pass() -> None:
    actual = check(lambda photo: np.full_like(photo, np.nan), artwork=PROBES["face"])
    assert [gate.passed for gate in actual] == [False] * len(gates.LIMITS)
    assert {gate.name for gate in actual if not gate.blocks} == gates.ONLY_WARN


@pytest.mark.parametrize("seed", [0, 1])
def test_untrained_network_fails(seed: int) -> None:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = TransformerNet(NetworkConfig(width=8, residual_blocks=2)).eval()
    with torch.no_grad():
        assert failed(lambda photo: to_pixels(network(to_tensor(photo))))


def test_require(tmp_path: Path) -> None:
    found = check(lambda photo: lattice(photo, 2, 8))
    path = tmp_path / "mine.onnx"
    with pytest.raises(QualityError) as caught:
        gates.require(found, path)
    sentence = str(caught.value)
    assert isinstance(caught.value, FststyleError)
    assert "A checkerboard of 2 pixels is visible on " in sentence
    assert f"use its file: {path}." in sentence
    assert "\n" not in sentence
    passed = [dataclasses.replace(gate, value=0.0) for gate in found]
    gates.require(passed, path)
    gates.require((), path)


def test_new_gates_only_warn() -> None:
    found = [Gate(name, 9.0, 0.5, "disc", "Seen.") for name in gates.ONLY_WARN]
    assert not any(gate.passed or gate.blocks for gate in found)
    gates.require(found, Path("mine.onnx"))
    with pytest.raises(QualityError):
        gates.require([*found, Gate("blur", 9.0, 1.25, "face", "Blurred.")], Path("mine.onnx"))


def test_the_worst_strength_counts() -> None:
    seen: list[float] = []

    def stylise(photo: Pixels, *, strength: float) -> Pixels:
        seen.append(strength)
        return lattice(photo, 2, 8 if strength == 0.5 else 0)

    found = {gate.name: gate for gate in gates.check(stylise, strengths=gates.STRENGTHS)}
    assert set(seen) == {0.5, 1.0, 2.0}
    assert found["lattice_2"].strength == 0.5
    assert " at strength 0.5 (lattice_2 " in found["lattice_2"].sentence
    assert found["blur"].passed
