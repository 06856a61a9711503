"""Finding faces, and making a style gentle on them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fststyle.images.bundled import builtin_held_out, builtin_photos
from fststyle.images.load import load_image
from fststyle.stylize.control import Control
from fststyle.stylize.faces import GENTLE, Face, find_faces, gentle_map
from fststyle.stylize.regions import find_regions
from fststyle.stylize.stylizer import Stylizer

photographs = pytest.mark.needs("skimage", "sklearn", "matplotlib")


def photo_of(name: str) -> NDArray[np.float32]:
    (path,) = [p for p in (*builtin_photos(), *builtin_held_out()) if p.stem == name]
    return load_image(path)


@photographs
def test_a_face_is_found_at_its_place() -> None:
    photo = photo_of("astronaut")
    (face,) = find_faces(photo)
    # The tip of her nose is at x = 223 and y = 127.
    assert abs(face.x * 512 - 223) < 15
    assert abs(face.y * 512 - 115) < 15
    assert 70 < face.width * 512 < 110
    assert 90 < face.height * 512 < 140
    levels = np.rint(255 * photo).astype(np.uint8)
    np.testing.assert_allclose(find_faces(levels), [face], atol=0.01)
    large = np.kron(levels, np.ones((4, 4, 1), np.uint8))
    np.testing.assert_allclose(find_faces(large), [face], atol=0.01)
    beside = np.concatenate((levels, levels[:, ::-1]), axis=1)
    assert len(find_faces(beside)) == 2


@photographs
def test_there_are_no_faces_in_other_photos() -> None:
    for name in ("chelsea", "china", "coffee", "rocket"):
        assert find_faces(photo_of(name)) == []


@photographs
def test_threads_share_the_network() -> None:
    photo = photo_of("grace_hopper")
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(find_faces, [photo] * 8))
    assert len(results[0]) == 1
    assert results == [results[0]] * 8


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (3, 2), (33, 1000)])
def test_photos_of_any_size(size: tuple[int, int]) -> None:
    assert find_faces(np.zeros((*size, 3), np.uint8)) == []


def test_map_has_soft_edges() -> None:
    values = gentle_map([Face(0.5, 0.5, 0.2, 0.2)], 400, 400)
    assert values.dtype == np.float32
    assert values[200, 200] == values[200, 230] == np.float32(GENTLE)  # inside the face
    assert values[0, 0] == values[200, 10] == values[390, 200] == 1
    assert np.abs(np.diff(values, axis=0)).max() < 0.03
    row = values[200, 200:]
    assert (np.diff(row) >= 0).all()
    assert gentle_map([], 2, 3).tolist() == [[1, 1, 1]] * 2
    two = gentle_map([Face(0.2, 0.5, 0.2, 0.2), Face(0.8, 0.5, 0.2, 0.2)], 100, 200)
    assert two[50, 40] == two[50, 160] == np.float32(GENTLE)
    assert two[50, 100] > 0.99


@photographs
@pytest.mark.parametrize("settings", [{}, {"keep_colors": True}, {"tile": 128}, {"size": 256}])
def test_style_is_gentle_on_a_face(style_path: Any, settings: Any) -> None:
    stylizer = Stylizer(style_path, device="cpu", threads=1)
    photo = photo_of("astronaut")
    regions = find_regions(photo, Control(faces="gentle"))
    assert regions.faces == 1
    gentle = stylizer(photo, faces="gentle", **settings)
    expected = stylizer(photo, strength_map=regions.factors, **settings)
    np.testing.assert_array_equal(gentle, expected)
    everywhere = stylizer(photo, **settings)
    k = len(gentle) / 512
    nose = np.s_[round(115 * k) : round(130 * k), round(215 * k) : round(230 * k)]
    corner = np.s_[-round(100 * k) :, : round(100 * k)]
    np.testing.assert_allclose(gentle[corner], everywhere[corner], atol=1e-5)
    assert np.abs(gentle[nose] - everywhere[nose]).mean() > 0.02


def test_photo_without_a_face_is_stylised_as_usual(style_path: Any) -> None:
    stylizer = Stylizer(style_path, device="cpu", threads=1)
    photo = np.random.default_rng(0).random((40, 52, 3), np.float32)
    assert find_regions(photo, Control(faces="gentle")) == (0, None)
    np.testing.assert_array_equal(stylizer(photo, faces="gentle"), stylizer(photo))
