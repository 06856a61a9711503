from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fststyle.images import exif as ex
from fststyle.images.load import load_photo
from fststyle.images.metadata import Metadata, result_metadata
from fststyle.images.save import OUTPUT_SUFFIXES, save_photo


def full(order: str = "<") -> ex.Exif:
    exif = ex.Exif(order)
    exif.image[ex.SOFTWARE] = ex.text_entry("a camera's 1.0")
    exif.image[0x8298] = ex.text_entry("© Zoë")
    exif.image[ex.ORIENTATION] = exif.entry(ex.SHORT, 8)
    exif.image[0x0111] = exif.entry(ex.LONG, 1234)
    exif.exif[0x829A] = exif.entry(ex.RATIONAL, 1, 250)
    exif.exif[0x927C] = ex.Entry(ex.UNDEFINED, 100, bytes(range(100)))
    exif.exif[ex.COLOR_SPACE] = exif.entry(ex.SHORT, 0xFFFF)
    exif.exif[0xA002] = exif.entry(ex.LONG, 4000)
    exif.exif[0x9000] = ex.Entry(ex.UNDEFINED, 4, b"0232")
    exif.gps[2] = exif.entry(ex.RATIONAL, 48, 1, 51, 1, 29, 1)
    return exif


@pytest.mark.parametrize("order", ["<", ">"])
def test_what_is_written_is_read(order: str) -> None:
    assert ex.read_exif(ex.write_exif(full(order))) == full(order)
    assert ex.read_exif(ex.write_exif(ex.Exif(order))) == ex.Exif(order)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pillow_reads_the_same(order: str) -> None:
    exif = Image.Exif()
    exif.load(ex.write_exif(full(order)))

    assert exif[ex.SOFTWARE] == "a camera's 1.0"
    assert exif[ex.ORIENTATION] == 8
    assert exif.get_ifd(ex.EXIF_FOLDER)[0x829A] == 1 / 250
    assert exif.get_ifd(ex.EXIF_FOLDER)[0x9000] == b"0232"
    assert exif.get_ifd(ex.GPS_FOLDER)[2] == (48, 51, 29)


def test_pillows_is_read() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Orchard"
    exif[ex.EXIF_FOLDER] = {0x9003: "2024:05:06 07:08:09"}

    actual = ex.read_exif(exif.tobytes().removeprefix(b"Exif\0\0"))

    assert ex.entry_text(actual.image[0x010F]) == "Orchard"
    assert ex.entry_text(actual.exif[0x9003]) == "2024:05:06 07:08:09"


def test_kept_for_result() -> None:
    actual = ex.kept_for_result(full(), keep_gps=False)

    assert set(actual.image) == {ex.SOFTWARE, 0x8298}
    assert set(actual.exif) == {0x829A, 0x9000, ex.COLOR_SPACE}
    assert actual.exif[ex.COLOR_SPACE].data == b"\1\0"
    assert actual.gps == {}
    assert ex.kept_for_result(full(), keep_gps=True).gps == full().gps
    assert ex.ORIENTATION in full().image


def test_thumbnail_is_left_out() -> None:
    block = ex.write_exif(full())
    thumbnail = struct.pack("<HHHIII", 1, 0x0201, ex.LONG, 1, len(block), 0) + b"\xff\xd8 a picture"
    (count,) = struct.unpack_from("<H", block, 8)
    following = 10 + 12 * count
    with_thumbnail = (
        block[:following] + struct.pack("<I", len(block)) + block[following + 4 :] + thumbnail
    )
    assert b"a picture" not in ex.write_exif(ex.read_exif(with_thumbnail))


def test_text() -> None:
    assert ex.entry_text(ex.text_entry("Zoë")) == "Zoë"
    assert ex.entry_text(ex.Entry(ex.ASCII, 4, b"Zo\xeb\0")) == "Zoë"  # Latin-1, as some write
    assert ex.entry_text(ex.Entry(ex.ASCII, 6, b"one\0two")) == "one"
    assert ex.entry_text(ex.Entry(ex.SHORT, 1, b"ab")) == ""
    assert ex.entry_text(None) == ""


def test_resolution() -> None:
    folder = ex.resolution(ex.Exif(">"), (72.5, 300))

    assert folder[ex.X_RESOLUTION].data == struct.pack(">II", 72_500, 1000)
    assert folder[ex.Y_RESOLUTION].data == struct.pack(">II", 300_000, 1000)
    assert folder[ex.RESOLUTION_UNIT].data == b"\0\2"


@pytest.mark.parametrize(
    "block", [b"", b"II*\0", b"JUNK\0\0\0\x08", b"II*\0\xff\xff\xff\xff", b"MM"]
)
def test_junk_is_empty(block: bytes) -> None:
    actual = ex.read_exif(block)

    assert (actual.image, actual.exif, actual.gps) == ({}, {}, {})


def test_a_bomb_is_not_larger_than_its_block() -> None:
    # Two thousand entries, each of which is nearly the whole block.
    size = 8 + 2 + 12 * 2000 + 4
    table = b"".join(struct.pack("<HHII", tag, 7, size - 10, 0) for tag in range(2000))
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", 2000) + table + bytes(4)

    actual = ex.read_exif(block)

    assert sum(len(entry.data) for entry in actual.image.values()) <= len(block)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_never_fails(data: st.DataObject) -> None:
    block = np.frombuffer(ex.write_exif(full(">")), np.uint8).copy()
    for _ in range(data.draw(st.integers(0, 6))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    damaged = block.tobytes()[: data.draw(st.integers(0, len(block)))]

    actual = ex.read_exif(damaged)

    assert ex.read_exif(ex.write_exif(actual)) == actual


def odd_entry(rng: random.Random) -> ex.Entry:
    kind, count = rng.randrange(1, 14), rng.choice((1, 1, 2, 5, 70))
    size = ex._TYPE_SIZES[kind] * count
    data = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size), (b"12" * size)[:size]))
    return ex.Entry(kind, count, data)


@pytest.mark.parametrize("suffix", OUTPUT_SUFFIXES)
def test_results_are_readable_whatever_the_photo_says(tmp_path: Path, suffix: str) -> None:
    rng = random.Random(0)
    path = tmp_path / f"out{suffix}"
    resolutions = [
        {tag: ex.Entry(kind, 1, bytes(ex._TYPE_SIZES[kind]))}
        for tag in (ex.X_RESOLUTION, ex.Y_RESOLUTION, ex.RESOLUTION_UNIT)
        for kind in ex._TYPE_SIZES
    ]
    tags = sorted(ex.KEPT_TAGS)
    others = [{tag: odd_entry(rng) for tag in rng.sample(tags, 9)} for _ in range(30)]
    for image in resolutions + others:
        folders = ({tag: odd_entry(rng) for tag in rng.sample(range(0x10000), 9)} for _ in "eg")
        block = ex.write_exif(ex.Exif(rng.choice("<>"), image, *folders))
        photo = Metadata(block, dpi=rng.choice((None, (72, 300.5))))
        result = result_metadata(photo, style_name="waves", style_licence="", keep_gps=True)
        for metadata in (photo, result):
            save_photo(np.zeros((4, 4, 3), np.uint8), path, metadata=metadata)
            with Image.open(path) as written:
                written.load()
                for folder in (ex.EXIF_FOLDER, ex.GPS_FOLDER):
                    written.getexif().get_ifd(folder)
            assert load_photo(path).pixels.shape == (4, 4, 3)


def test_only_sound_resolutions_are_kept() -> None:
    for order in "<>":
        exif = ex.Exif(order)
        exif.image.update(ex.resolution(exif, (72, 300)))
        assert ex.kept_for_result(exif, keep_gps=True).image == exif.image
        exif.image[ex.X_RESOLUTION] = ex.Entry(1, 1, b"H")
        exif.image[ex.Y_RESOLUTION] = exif.entry(ex.RATIONAL, 72, 0)
        exif.image[ex.RESOLUTION_UNIT] = exif.entry(ex.SHORT, 9)
        assert ex.kept_for_result(exif, keep_gps=True).image == {}
