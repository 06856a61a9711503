from __future__ import annotations

from pathlib import Path

from errors_help import raises
from web_help import encoded

from fststyle.web.errors import Refusal
from fststyle.web.models import StylizeRequest
from fststyle.web.networks import Networks
from fststyle.web.photos import check_image, stylize_file


def test_size_is_checked_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(encoded(1, height=10, width=20))
    assert check_image(path, "photo", 200) == 200
    with raises(Refusal, "too_many_pixels", "The photo has 20×10 pixels", "0.000199 megapixels"):
        check_image(path, "photo", 199)


def test_sentences_name_no_path(styles: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo"
    photo.write_bytes(encoded(1, ".jpg", 300, 300)[:-9000])
    with raises(Refusal, "damaged", "The photo") as refused:
        stylize_file({"photo": photo}, StylizeRequest(style="small"), Networks(1), 10**6)
    assert str(tmp_path) not in str(refused.value)


def test_the_format_comes_from_the_photo(styles: Path, tmp_path: Path) -> None:
    networks = Networks(1)
    for ending, expected in ((".jpg", "jpeg"), (".bmp", "png"), (".tif", "jpeg")):
        photo = tmp_path / "photo"
        photo.write_bytes(encoded(1, ending))
        _, found, _ = stylize_file({"photo": photo}, StylizeRequest(style="small"), networks, 10**6)
        assert found == expected
