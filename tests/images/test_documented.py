"""Sentences of docs/formats.md that no other test checks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_help import random_bytes
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fststyle.images.animation import is_animation, load_frames
from fststyle.images.load import load_photo
from fststyle.images.save import OUTPUT_SUFFIXES, save_photo

IMAGE = Image.fromarray(random_bytes(20, 30, 3))


def test_image_sequence(tmp_path: Path) -> None:
    path = tmp_path / "photo.avifs"
    others = [IMAGE.rotate(90), IMAGE.rotate(180)]
    IMAGE.save(path, "AVIF", save_all=True, append_images=others, duration=40)
    assert is_animation(path)
    assert len(load_frames(path).durations) == 3
    assert load_photo(path).pixels.shape == (20, 30, 3)


@pytest.mark.parametrize("kind", ["MPO", "TIFF"])
def test_first_image_of_several(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"photo.{kind[:3].lower()}"
    IMAGE.save(path, kind, save_all=True, append_images=[Image.new("RGB", (30, 20))])
    mean = load_photo(path).pixels.mean()
    assert mean == pytest.approx(np.asarray(IMAGE).mean() / 255, abs=0.01)
    assert not is_animation(path)


def test_texts_that_are_not_kept(tmp_path: Path) -> None:
    caption = b"\x1c\x02\x78\0\x0bold caption"
    resource = b"8BIM\x04\x04\0\0" + len(caption).to_bytes(4, "big") + caption
    segment = b"Photoshop 3.0\0" + resource + bytes(len(resource) % 2)
    IMAGE.save(tmp_path / "iptc.jpg")
    content = (tmp_path / "iptc.jpg").read_bytes()
    marker = b"\xff\xed" + (len(segment) + 2).to_bytes(2, "big") + segment
    (tmp_path / "iptc.jpg").write_bytes(content[:2] + marker + content[2:])
    with Image.open(tmp_path / "iptc.jpg") as image:
        assert caption in image.info["photoshop"].values()
    texts = PngInfo()
    texts.add_text("Comment", "old caption")
    IMAGE.save(tmp_path / "text.png", pnginfo=texts)
    IMAGE.save(tmp_path / "comment.gif", comment=b"old caption")
    for name in ("iptc.jpg", "text.png", "comment.gif"):
        photo = load_photo(tmp_path / name)
        for suffix in OUTPUT_SUFFIXES:
            save_photo(photo.pixels, tmp_path / f"out{suffix}", metadata=photo.metadata)
            assert b"old caption" not in (tmp_path / f"out{suffix}").read_bytes()


def test_gif_whose_first_frame_is_opaque(tmp_path: Path) -> None:
    path = tmp_path / "photo.gif"
    frames = [Image.new("L", (8, 8), grey) for grey in (200, 90)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"\x21\xf9\x04") + 3] |= 1  # a transparent colour in the second frame
    path.write_bytes(content)
    assert [frame.alpha for frame in load_frames(path).frames()] == [None, None]
