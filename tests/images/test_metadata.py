"""What becomes of metadata in each format is in test_formats.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import fststyle
from fststyle.images import exif as ex
from fststyle.images.metadata import Metadata, read_metadata, result_metadata


def exif_of(metadata: Metadata) -> ex.Exif:
    return ex.read_exif(metadata.exif)


def photo() -> Metadata:
    exif = ex.Exif()
    exif.image[ex.IMAGE_DESCRIPTION] = ex.text_entry("A cat")
    exif.image[ex.SOFTWARE] = ex.text_entry("camera 1.0")
    exif.image[ex.ORIENTATION] = exif.entry(ex.SHORT, 6)
    exif.exif[0x9003] = ex.text_entry("2024:05:06 07:08:09")
    exif.gps[2] = exif.entry(ex.RATIONAL, 48, 1, 51, 1, 29, 1)
    return Metadata(exif=ex.write_exif(exif), xmp=b"", dpi=(300.0, 299.5))


def test_result_says_what_it_is() -> None:
    result = result_metadata(photo(), style_name="waves", style_licence="CC0-1.0")

    software = f"fststyle {fststyle.__version__}"
    note = f"Stylised by {software} in the style waves (licence of the style: CC0-1.0)."
    image = exif_of(result).image
    assert ex.entry_text(image[ex.SOFTWARE]) == result.software == software
    assert ex.entry_text(image[ex.IMAGE_DESCRIPTION]) == f"A cat. {note}"
    assert result.description == note
    assert note.encode() in result.xmp
    assert image[ex.ORIENTATION].data == b"\1\0"
    assert result.dpi == (300, 299.5)
    assert exif_of(result).exif[0x9003] == exif_of(photo()).exif[0x9003]


@pytest.mark.parametrize(
    "text", ['{"shape": [4, 6, 3]}', "<?xml version='1.0'?><OME/>", "ImageJ=1"]
)
def test_what_programs_wrote_for_themselves_is_no_description(text: str) -> None:
    exif = ex.Exif()
    exif.image[ex.IMAGE_DESCRIPTION] = ex.text_entry(text)
    given = Metadata(exif=ex.write_exif(exif), xmp=b"")
    result = result_metadata(given, style_name="waves", style_licence="")
    assert ex.entry_text(exif_of(result).image[ex.IMAGE_DESCRIPTION]) == result.description


@pytest.mark.parametrize("strip", [False, True])
@pytest.mark.parametrize("keep_gps", [False, True])
def test_place_and_strip(strip: bool, keep_gps: bool) -> None:
    result = result_metadata(
        photo(), style_name="waves", style_licence="", strip=strip, keep_gps=keep_gps
    )

    exif = exif_of(result)
    assert bool(exif.gps) == (keep_gps and not strip)
    assert (0x9003 in exif.exif) == (not strip)
    assert (b"A cat" in result.exif) == (not strip)
    assert (result.dpi is None) == strip
    assert "in the style waves." in ex.entry_text(exif.image[ex.IMAGE_DESCRIPTION])
    assert b"algorithmicallyEnhanced" in result.xmp


def test_twice_stylised_says_both_styles() -> None:
    once = result_metadata(photo(), style_name="waves", style_licence="")
    twice = result_metadata(once, style_name="ink", style_licence="")

    note = ex.entry_text(exif_of(twice).image[ex.IMAGE_DESCRIPTION])
    assert note.index("A cat") < note.index("style waves") < note.index("style ink")


def test_photo_is_left_as_it_is() -> None:
    before = photo()

    result_metadata(before, style_name="waves", style_licence="", strip=True)

    assert before == photo()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((72, 72), (72, 72)),
        ((1, 1), None),
        ((float("nan"), 72), None),
        ((float("inf"), 72), None),
        ("ab", None),
        (5, None),
        ((72,), None),
        (None, None),
    ],
)
def test_resolution(tmp_path: Path, value: object, expected: object) -> None:
    picture = Image.new("RGB", (2, 2))
    picture.info["dpi"] = value
    (tmp_path / "any").touch()

    with (tmp_path / "any").open("rb") as file:
        assert read_metadata(picture, file).dpi == expected


def test_exif_in_the_text_of_an_old_png(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    block = b"Exif\0\0" + photo().exif
    texts = PngInfo()
    texts.add_text("Raw profile type exif", f"\nexif\n{len(block):8}\n{block.hex()}\n")
    Image.new("RGB", (2, 2)).save(tmp_path / "photo.png", pnginfo=texts)

    with (tmp_path / "photo.png").open("rb") as file, Image.open(file) as picture:
        picture.load()
        metadata = read_metadata(picture, file)

    assert ex.entry_text(exif_of(metadata).image[ex.IMAGE_DESCRIPTION]) == "A cat"
