"""Files that people really have, uploaded to a server."""

from __future__ import annotations

import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from fuzz_cases import planar_tiff
from image_help import random_bytes
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from web_help import Server, encoded, running_server

from fststyle.images import exif as ex
from fststyle.images.save import encode

PIXELS = random_bytes(40, 48, 3)
IMAGE = Image.fromarray(PIXELS)


@pytest.fixture(scope="module")
def server(style_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server"), style_path, "--threads", "1") as server:
        yield server


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def result(server: Server, body: bytes, **settings: Any) -> Image.Image:
    answer = server.stylize(body, format=settings.pop("format", "png"), **settings)
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


def with_long_text() -> bytes:
    info = PngInfo()
    info.add_text("Comment", "long " * 400_000, zip=True)
    return saved(IMAGE, "PNG", pnginfo=info)


def with_large_profile() -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return saved(IMAGE, "PNG", icc_profile=profile + bytes(3_000_000))


@pytest.mark.parametrize("make", [with_long_text, with_large_profile])
def test_png_with_a_large_chunk(server: Server, make: Any) -> None:
    expected = np.asarray(result(server, saved(IMAGE, "PNG"))).astype(int)
    np.testing.assert_allclose(np.asarray(result(server, make())), expected, atol=2)


def test_planar_tiff(server: Server) -> None:
    words = PIXELS.astype(np.uint16) * 257
    planar = planar_tiff(np.dstack((words, np.full(words.shape[:2], 65_535, np.uint16))))
    expected = result(server, encode(words, "PNG"))
    assert expected.tobytes() == result(server, planar).convert("RGB").tobytes()


def test_colours_under_transparent_pixels(server: Server) -> None:
    alpha = Image.new("L", IMAGE.size)
    alpha.paste(255, (12, 8, 36, 32))
    shown = []
    for colour in ("black", "white", "lime"):
        photo = Image.composite(IMAGE, Image.new("RGB", IMAGE.size, colour), alpha)
        photo.putalpha(alpha)
        painted = np.asarray(result(server, saved(photo, "PNG")))
        assert painted[..., 3].tobytes() == alpha.tobytes()
        shown.append(painted[8:32, 12:36].tobytes())
    assert shown[0] == shown[1] == shown[2]


def test_gif_frame_beyond_the_screen(server: Server) -> None:
    frames = [Image.fromarray(random_bytes(8, 12, seed=seed)) for seed in range(3)]
    content = bytearray(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    second = content.rindex(b",\0\0\0\0\x0c\0\x08\0")
    content[second + 1] = 4
    painted: Any = result(server, bytes(content), format="webp")
    assert (painted.size, painted.n_frames) == ((12, 8), 3)


def test_resolution_of_the_wrong_type(server: Server) -> None:
    exif = ex.Exif()
    exif.image[282] = ex.Entry(1, 1, b"\x48")  # a BYTE
    photo = saved(IMAGE, "JPEG", exif=b"Exif\0\0" + ex.write_exif(exif))
    painted = result(server, photo, format="jpeg")
    painted.load()
    assert painted.size == IMAGE.size


def png_without_rows() -> bytes:
    content = saved(IMAGE, "PNG")
    start = content.index(b"IDAT")
    rows = zlib.compress(bytes(20 * (1 + 3 * 48)))
    chunk = b"IDAT" + rows
    check = zlib.crc32(chunk).to_bytes(4, "big")
    end = content[content.index(b"IEND") - 4 :]
    return content[: start - 4] + len(rows).to_bytes(4, "big") + chunk + check + end


def jpeg_without_rows() -> bytes:
    return saved(IMAGE, "JPEG", quality=95)[:-2000] + b"\xff\xd9"


@pytest.mark.parametrize("make", [png_without_rows, jpeg_without_rows])
def test_missing_rows(server: Server, make: Any) -> None:
    answer = server.stylize(make())
    assert answer.json()["code"] == "damaged"
    assert answer.json()["error"].startswith("The photo is damaged or incomplete")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of other processes are Linux's")
def test_full_temporary_folder(server: Server) -> None:
    process = psutil.Process(server.process.pid)
    photo = encoded(1, ".jpg", 200, 200)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    for limit in (len(photo) // 2, len(photo) + 1):  # the upload or the result does not fit
        process.rlimit(psutil.RLIMIT_FSIZE, (limit, before[1]))
        answer = server.stylize(photo, "image/jpeg", format="png")
        process.rlimit(psutil.RLIMIT_FSIZE, before)
        assert (answer.status_code, answer.json()["code"]) == (507, "no_temporary_folder")
        assert "TMPDIR" in answer.json()["error"]
        assert str(server.temporary) not in answer.text
    assert result(server, photo).size == (200, 200)
    assert "Traceback" not in server.log
