"""Photographs that come with other packages."""

from __future__ import annotations

import hashlib
import importlib.util

import pytest
from errors_help import raises

from fststyle.errors import PhotoError
from fststyle.images.bundled import builtin_held_out, builtin_photos, sample_photo
from fststyle.images.load import load_image


@pytest.mark.needs("skimage", "sklearn", "matplotlib")
def test_builtin_photos() -> None:
    trained, held_out = builtin_photos(), builtin_held_out()
    assert len(trained) >= 10
    assert {path.stem for path in held_out} == {"chelsea", "china", "grace_hopper"}
    assert not set(trained) & set(held_out)
    digests = [hashlib.sha256(path.read_bytes()).digest() for path in trained + held_out]
    assert len(set(digests)) == len(digests)
    for path in trained + held_out:
        pixels = load_image(path)
        assert min(pixels.shape[:2]) >= 128, path.name
        assert pixels.std() > 0.03, path.name


@pytest.mark.needs("skimage")
def test_sample_photo() -> None:
    path = sample_photo()
    assert path is not None
    assert path in builtin_held_out()


def test_packages_without_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    assert sample_photo() is None
    with raises(PhotoError, "not_found", "skimage, sklearn"):
        builtin_photos()
