from __future__ import annotations

from pathlib import Path

import pytest
from web_help import encoded

from fststyle.web.formats import kind_of


@pytest.mark.parametrize(
    ("ending", "kind"),
    [(".png", "png"), (".jpg", "jpeg"), (".webp", "webp"), (".tif", "tiff"), (".bmp", "bmp")],
)
def test_kinds(tmp_path: Path, ending: str, kind: str) -> None:
    path = tmp_path / "photo"
    path.write_bytes(encoded(1, ending))
    assert kind_of(path) == kind


@pytest.mark.parametrize("content", [b"", b"<svg/>", b"%!PS-Adobe", b"\x00\x00\x01\x00", b"8BPS"])
def test_no_kinds(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "photo"
    path.write_bytes(content)
    assert kind_of(path) is None
