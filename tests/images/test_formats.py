from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from errors_help import raises
from image_help import DISPLAY_P3, PATCH, SPACES, stored_colour
from PIL import Image, TiffImagePlugin
from script_help import ROOT

from fststyle.errors import PhotoError
from fststyle.images import exif as ex
from fststyle.images import load, save
from fststyle.images.animation import ANIMATION_SUFFIXES
from fststyle.images.colour import srgb_profile
from fststyle.images.extensions import OTHER_IMAGE_SUFFIXES, PHOTO_SUFFIXES
from fststyle.images.metadata import Metadata, result_metadata

TABLE = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "formats.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| .")
]


def cells(suffix: str) -> list[str]:
    return next(row for row in TABLE if re.search(rf"\{suffix}\b", row[0]))


def test_every_format_has_its_row() -> None:
    named = {name for row in TABLE for name in re.findall(r"\.[a-z0-9]+", row[0])}
    assert named == set(PHOTO_SUFFIXES) | set(ANIMATION_SUFFIXES)
    for suffix in sorted(named):
        assert cells(suffix)[2].startswith("yes") == (suffix in save.OUTPUT_SUFFIXES)
        assert ("animations" in cells(suffix)[2]) == (suffix in ANIMATION_SUFFIXES)


HEIF = {".heic", ".heif", ".hif"}
WRITTEN_BY_PILLOW = sorted(
    set(PHOTO_SUFFIXES) - HEIF - {".jxl", ".psd", ".ras", ".pcd", ".pgm", ".pbm", ".pfm"}
)


def test_extensions_of_all_formats_that_pillow_reads() -> None:
    Image.init()
    readable = Image.registered_extensions().items()
    photos = {form for suffix, form in readable if suffix in PHOTO_SUFFIXES} - {"TGA"}
    assert {suffix for suffix, form in readable if form in photos} <= set(PHOTO_SUFFIXES)
    assert photos >= {"JPEG", "MPO", "PNG", "TIFF", "JPEG2000", "WEBP", "AVIF", "BMP", "GIF"}
    assert not set(PHOTO_SUFFIXES) & set(OTHER_IMAGE_SUFFIXES)


@pytest.mark.parametrize("suffix", WRITTEN_BY_PILLOW)
def test_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo{suffix}"
    Image.new("RGB", (16, 12), PATCH).save(path)

    photo = load.load_photo(path)

    assert photo.pixels.shape == (12, 16, 3)
    assert photo.bits == 8
    np.testing.assert_allclose(photo.pixels[6, 8] * 255, PATCH, atol=2)


@pytest.mark.parametrize("suffix", save.OUTPUT_SUFFIXES)
def test_written_and_tagged_as_srgb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    save.save_photo(np.full((12, 16, 3), np.array(PATCH) / 255, np.float32), path)

    with Image.open(path) as stored:
        profile = stored.info.get("icc_profile")
        # WebP has no 4:4:4 and less than 8 bits of colour.
        tolerance = 3 if suffix == ".webp" else 2
        np.testing.assert_allclose(np.asarray(stored)[6, 8], PATCH, atol=tolerance)
    assert profile == (None if suffix == ".bmp" else srgb_profile())


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_colour_of_another_space(tmp_path: Path, suffix: str, space: str) -> None:
    path = tmp_path / f"photo{suffix}"
    stored = np.rint(stored_colour(space) * 255).astype(np.uint8)
    assert np.abs(stored.astype(int) - PATCH).max() > 5
    picture = Image.fromarray(np.broadcast_to(stored, (16, 16, 3)).copy())
    if suffix == ".jpg":
        picture.save(path, icc_profile=SPACES[space], quality=98, subsampling="4:4:4")
    else:
        picture.save(path, icc_profile=SPACES[space], quality=98)

    actual = load.load_image(path)[8, 8] * 255

    np.testing.assert_allclose(actual, PATCH, atol=2)


def test_camera_says_adobe_rgb_without_a_profile(tmp_path: Path) -> None:
    stored = np.rint(stored_colour("adobe_rgb") * 255).astype(np.uint8)
    exif = Image.Exif()
    exif[ex.EXIF_FOLDER] = {0xA001: 0xFFFF, 0xA005: {1: "R03", 2: b"0100"}}
    picture = Image.fromarray(np.broadcast_to(stored, (16, 16, 3)).copy())
    picture.save(tmp_path / "_DSC0001.jpg", exif=exif, quality=98, subsampling="4:4:4")
    picture.save(tmp_path / "plain.jpg", quality=98, subsampling="4:4:4")

    actual = load.load_image(tmp_path / "_DSC0001.jpg")[8, 8] * 255
    plain = load.load_image(tmp_path / "plain.jpg")[8, 8] * 255

    np.testing.assert_allclose(actual, PATCH, atol=2)
    np.testing.assert_allclose(plain, stored, atol=2)


def test_results_are_rounded(tmp_path: Path) -> None:
    values = np.array([[[100.4, 100.6, 254.6]]], np.float32)

    save.save_photo(values / 255, tmp_path / "a.png")
    save.save_photo(values / 65_535, tmp_path / "b.png", bits=16)

    np.testing.assert_allclose(load.load_image(tmp_path / "a.png") * 255, [[[100, 101, 255]]])
    actual = load.load_image(tmp_path / "b.png") * 65_535
    np.testing.assert_allclose(actual, [[[100, 101, 255]]], rtol=1e-5)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "F"])
def test_grey_of_every_kind(tmp_path: Path, mode: str) -> None:
    levels = np.array([[0, 255]], np.uint8)
    if mode == "I;16":
        picture = Image.fromarray(levels.astype(np.uint16) * 257)
    elif mode == "F":
        picture = Image.fromarray(levels.astype(np.float32) / 255)
    else:
        picture = Image.fromarray(levels).convert(mode)
    picture.save(tmp_path / "photo.tif")

    photo = load.load_photo(tmp_path / "photo.tif")

    np.testing.assert_allclose(photo.pixels[0], [[0] * 3, [1] * 3], atol=1e-6)
    assert photo.bits == (16 if mode in ("I;16", "F") else 8)


def test_adobe_cmyk_jpeg_is_stored_inverted(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path)
    assert b"Adobe" in path.read_bytes()[:200]

    np.testing.assert_allclose(load.load_image(path)[8, 8], [1, 0, 0], atol=0.02)


def test_heic(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    stored = np.rint(stored_colour("display_p3") * 255).astype(np.uint8)
    pixels = np.broadcast_to(stored, (32, 64, 3)).copy()
    exif = ex.Exif()
    exif.image[ex.ORIENTATION] = exif.entry(ex.SHORT, 6)
    exif.image[0x010F] = ex.text_entry("Orchard")
    picture = Image.fromarray(pixels)
    picture.info["icc_profile"] = DISPLAY_P3
    heif = pillow_heif.from_pillow(picture)
    heif.save(tmp_path / "photo.heic", quality=95, exif=b"Exif\0\0" + ex.write_exif(exif))

    before = dict(Image.registered_extensions())  # other packages of the tests may add to them
    photo = load.load_photo(tmp_path / "photo.heic")

    assert photo.pixels.shape == (64, 32, 3)
    np.testing.assert_allclose(photo.pixels[32, 16] * 255, PATCH, atol=3)
    assert ex.entry_text(ex.read_exif(photo.metadata.exif).image[0x010F]) == "Orchard"
    assert Image.registered_extensions() == before


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_heic_without_the_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brand: bytes
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(12))

    with raises(PhotoError, "missing_package", "pillow-heif"):
        load.load_photo(tmp_path / "IMG_1.HEIC")


KEPT = sorted(
    {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".avif"} & set(save.OUTPUT_SUFFIXES)
)


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:mine="http://example.com/mine/" mine:word="hello"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


def photo_exif(maker: str = "Café Optics") -> bytes:
    exif = ex.Exif(">")
    exif.image[0x010F] = ex.text_entry(maker)
    exif.image[ex.ORIENTATION] = exif.entry(ex.SHORT, 6)
    exif.exif[0x9003] = ex.text_entry("2024:05:06 07:08:09")
    exif.exif[0x829A] = exif.entry(ex.RATIONAL, 1, 250)
    exif.gps[2] = exif.entry(ex.RATIONAL, 48, 1, 51, 1, 29, 1)
    return ex.write_exif(exif)


def maker(suffix: str) -> str:
    # Of a turned AVIF, pillow writes and reads only ASCII.
    return "Cafe Optics" if suffix == ".avif" else "Café Optics"


def save_with_metadata(path: Path) -> None:
    picture = Image.new("RGB", (16, 8), PATCH)
    exif = photo_exif(maker(path.suffix))
    options: dict[str, Any] = {"exif": b"Exif\0\0" + exif, "xmp": XMP}
    if path.suffix == ".png":
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    if path.suffix.startswith(".tif"):
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[700] = XMP
        tags[0x010F] = "Café Optics".encode()
        tags.tagtype[0x010F] = 2
        tags[ex.ORIENTATION] = 6
        tags[ex.EXIF_FOLDER] = {0x9003: "2024:05:06 07:08:09"}
        tags[ex.GPS_FOLDER] = {2: (48.0, 51.0, 29.0)}
        options = {"tiffinfo": tags}
    picture.save(path, dpi=(240, 240), **options)


@pytest.mark.parametrize("suffix", KEPT)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("keep_gps", [False, True])
def test_metadata_is_kept(tmp_path: Path, suffix: str, bits: int, keep_gps: bool) -> None:
    save_with_metadata(tmp_path / f"photo{suffix}")
    photo = load.load_photo(tmp_path / f"photo{suffix}")
    assert photo.pixels.shape == (16, 8, 3)
    metadata = result_metadata(
        photo.metadata, style_name="waves", style_licence="CC0-1.0", keep_gps=keep_gps
    )

    out = tmp_path / f"out{suffix}"
    save.save_photo(photo.pixels, out, metadata=metadata, bits=bits)
    result = load.load_photo(out)

    assert result.pixels.shape == (16, 8, 3)
    exif = ex.read_exif(result.metadata.exif)
    assert ex.entry_text(exif.image[0x010F]) == maker(suffix)
    assert ex.entry_text(exif.exif[0x9003]) == "2024:05:06 07:08:09"
    assert ex.entry_text(exif.image[ex.SOFTWARE]).startswith("fststyle ")
    note = ex.entry_text(exif.image[ex.IMAGE_DESCRIPTION])
    assert note.endswith("in the style waves (licence of the style: CC0-1.0).")
    assert bool(exif.gps) == keep_gps
    assert b'mine:word="hello"' in result.metadata.xmp
    assert b"digitalsourcetype/algorithmicallyEnhanced" in result.metadata.xmp
    if suffix not in (".webp", ".avif"):
        assert result.metadata.dpi == pytest.approx((240, 240), abs=0.5)
    with Image.open(out) as stored:
        assert stored.getexif().get(ex.ORIENTATION, 1) == 1


def test_png_says_it_in_text_too(tmp_path: Path) -> None:
    metadata = result_metadata(Metadata(), style_name="waves", style_licence="")

    save.save_photo(np.zeros((4, 4, 3), np.float32), tmp_path / "out.png", metadata=metadata)

    with Image.open(tmp_path / "out.png") as stored:
        assert stored.info["Software"].startswith("fststyle ")
        assert stored.info["Description"].endswith("in the style waves.")


def test_without_metadata_nothing_is_said(tmp_path: Path) -> None:
    for suffix in KEPT:
        save.save_photo(np.zeros((4, 4, 3), np.float32), tmp_path / f"out{suffix}")
        assert b"fststyle" not in (tmp_path / f"out{suffix}").read_bytes()


def test_too_much_for_a_jpeg(tmp_path: Path) -> None:
    exif = ex.read_exif(photo_exif())
    exif.exif[0x9286] = ex.Entry(ex.UNDEFINED, 70_000, bytes(70_000))
    long_xmp = XMP.replace(b"hello", b"hello" * 20_000)
    metadata = result_metadata(
        Metadata(ex.write_exif(exif), long_xmp), style_name="waves", style_licence=""
    )

    save.save_photo(np.zeros((8, 8, 3), np.float32), tmp_path / "out.jpg", metadata=metadata)

    kept = load.load_photo(tmp_path / "out.jpg").metadata
    assert ex.entry_text(ex.read_exif(kept.exif).image[0x010F]) == "Café Optics"
    assert b"algorithmicallyEnhanced" in kept.xmp
    assert b"hello" not in kept.xmp


def test_quality_by_default(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
    for suffix, quality in ((".jpg", 92), (".webp", 90), (".avif", 85)):
        save.save_photo(pixels, tmp_path / f"a{suffix}")
        save.save_photo(pixels, tmp_path / f"b{suffix}", quality=quality)
        save.save_photo(pixels, tmp_path / f"c{suffix}", quality=40)
        default = (tmp_path / f"a{suffix}").read_bytes()
        assert default == (tmp_path / f"b{suffix}").read_bytes()
        assert len(default) > 1.3 * (tmp_path / f"c{suffix}").stat().st_size


def test_colours_are_kept_at_full_size(tmp_path: Path) -> None:
    # Columns of red and blue would blend to purple at half the size.
    columns = np.zeros((16, 32, 3), np.float32)
    columns[:, 0::2, 0] = 1
    columns[:, 1::2, 2] = 1
    for suffix in (".jpg", ".avif"):
        save.save_photo(columns, tmp_path / f"out{suffix}")
        actual = load.load_image(tmp_path / f"out{suffix}")
        assert np.abs(actual - columns).mean() < 0.05
