from __future__ import annotations

import io
import itertools
import os
import random
import socket
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image
from web_help import Server, encoded, picture, running_server

from fststyle.cli import main as cli
from fststyle.images.bundled import builtin_photos
from fststyle.images.save import save_photo
from fststyle.perceptual.presets import MIN_STYLE_SIDE

THREADS = ["--threads", "1"]
LIMITS = ["--max-megabytes", "2", "--max-megapixels", "1", "--max-upload-seconds", "2"]


@pytest.fixture(scope="module")
def server(style_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with running_server(folder, style_path, *THREADS, *LIMITS, "--queue", "6") as server:
        yield server
    # Whatever the tests did, nothing of it stays.
    assert server.left_behind() == []
    assert list(server.temporary.iterdir()) == []
    assert server.process.returncode == 0
    assert "Traceback" not in server.log


@pytest.fixture
def by_command_line(style_path: Path, tmp_path: Path) -> CommandLine:
    return CommandLine(style_path, tmp_path)


class CommandLine:
    """``fststyle stylize`` in this process."""

    def __init__(self, style: Path, folder: Path) -> None:
        self._style = style
        self._folder = folder

    def __call__(self, body: bytes, ending: str, *options: str | Path) -> bytes:
        source, target = self._folder / "source", self._folder / f"target{ending}"
        source.write_bytes(body)
        command = ["stylize", str(source), "-o", str(target), "--style", str(self._style)]
        with pytest.raises(SystemExit) as stop:
            cli.main([*command, *THREADS, *map(str, options)])
        assert stop.value.code == 0
        return target.read_bytes()


def bomb(width: int = 30_000, height: int = 30_000) -> bytes:
    """A PNG of few bytes that says it has very many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + check

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    header = chunk(b"IHDR", size + b"\x08\x02\0\0\0")
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000))


def wait_until_empty(server: Server) -> None:
    end = time.monotonic() + 20
    while server.left_behind() and time.monotonic() < end:
        time.sleep(0.05)
    assert server.left_behind() == []


# What it is for


def test_health_and_styles(server: Server) -> None:
    assert httpx.get(f"{server.url}healthz").json()["status"] == "ok"
    found = httpx.get(f"{server.url}api/styles").json()
    small = next(style for style in found["styles"] if style["name"] == "small")
    assert small["title"] == "A small one"
    assert small["origin"] == "own"
    assert "thanos_poster" in {artwork["name"] for artwork in found["artworks"]}
    assert str(server.folder) not in str(found)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("strenght=0.5", "Unknown setting 'strenght'"),
        ("style_outside=small", "Unknown setting 'style_outside'"),
        ("strength=0.5&strength=0.7", "'strength' is given more than once"),
    ],
)
def test_settings_that_there_are_not(server: Server, query: str, words: str) -> None:
    address = f"{server.url}api/stylize?style=small&{query}"
    answer = httpx.post(address, content=encoded(1), headers={"content-type": "image/png"})
    assert answer.status_code == 422
    assert words in answer.json()["error"]
    assert answer.json()["code"] == "setting"


def test_head_of_health(server: Server) -> None:
    response = httpx.head(f"{server.url}healthz")
    assert (response.status_code, response.content) == (200, b"")


def test_head(server: Server) -> None:
    answer = httpx.head(server.url)
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) > 1000
    assert answer.content == b""


def test_style_file(server: Server, style_path: Path) -> None:
    response = httpx.get(f"{server.url}api/styles/small.onnx")
    assert response.content == style_path.read_bytes()


@pytest.mark.parametrize(
    ("ending", "query", "options"),
    [
        (".png", {}, []),
        (".jpg", {"quality": 70}, ["--quality", "70"]),
        (".webp", {"size": 20}, ["--size", "20"]),
        (".png", {"strength": 0.3, "keep_colors": True}, ["--strength", "0.3", "--keep-colors"]),
        (".png", {"scale": 2, "strip": True}, ["--scale", "2", "--strip"]),
    ],
)
def test_the_bytes_are_those_of_the_command_line(
    server: Server,
    by_command_line: CommandLine,
    ending: str,
    query: dict[str, Any],
    options: list[str],
) -> None:
    body = encoded(1, ending)
    kind = {".png": "png", ".jpg": "jpeg", ".webp": "webp"}[ending]
    response = server.stylize(body, f"image/{kind}", **query)
    assert response.headers["content-type"] == f"image/{kind}"
    assert response.content == by_command_line(body, ending, *options)


def test_format_and_mask(server: Server, by_command_line: CommandLine, tmp_path: Path) -> None:
    body, mask = encoded(2), tmp_path / "mask.png"
    save_photo(picture(3, 20, 20), mask)
    response = httpx.post(
        f"{server.url}api/stylize",
        params={"style": "small", "format": "jpeg"},
        files={"photo": ("x", body, "image/png"), "mask": ("y", mask.read_bytes(), "image/png")},
    )
    assert response.content == by_command_line(body, ".jpg", "--mask", mask)


def test_strength_map(server: Server, by_command_line: CommandLine, tmp_path: Path) -> None:
    body, strength_map = encoded(2), tmp_path / "map.png"
    save_photo(picture(3, 20, 20), strength_map)
    response = httpx.post(
        f"{server.url}api/stylize",
        params={"style": "small", "strength": 0.8},
        files={
            "photo": ("x", body, "image/png"),
            "strength_map": ("y", strength_map.read_bytes(), "image/png"),
        },
    )
    options = ("--strength", "0.8", "--strength-map", strength_map)
    assert response.content == by_command_line(body, ".png", *options)


@pytest.mark.needs("skimage", "sklearn")
def test_gentle_faces(server: Server, by_command_line: CommandLine) -> None:
    (path,) = [path for path in builtin_photos() if path.stem == "astronaut"]
    body = path.read_bytes()
    response = server.stylize(body, faces="gentle")
    assert response.content == by_command_line(body, ".png", "--faces", "gentle")
    assert response.headers["fststyle-faces"] == "1"
    others = server.stylize(body)
    assert others.content != response.content
    assert "fststyle-faces" not in others.headers
    assert server.stylize(body, faces="wild").status_code == 422


def test_blend_with_a_shipped_style(server: Server, style_path: Path, tmp_path: Path) -> None:
    from fststyle.stylize.stylizer import Stylizer

    image = Image.open(io.BytesIO(server.stylize(encoded(4), style="small:3,great_wave").content))
    both = Stylizer({str(style_path): 3, "great_wave": 1}, device="cpu", threads=1)
    expected = both(Image.open(io.BytesIO(encoded(4))))
    assert np.array_equal(np.asarray(image), np.asarray(expected))


def test_animation_stays_one(server: Server) -> None:
    frames = [Image.fromarray((255 * picture(n, 16, 16)).astype(np.uint8)) for n in range(3)]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    result = server.stylize(file.getvalue(), "image/webp")
    assert getattr(Image.open(io.BytesIO(result.content)), "n_frames", 1) == 3


# What it refuses


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"style": "unknown"}, 404, "unknown_style"),
        ({"style": "../../etc/passwd"}, 422, "setting"),
        ({"style": "small.onnx"}, 422, "setting"),
        ({"style": "small:0"}, 422, "bad_weight"),
        ({"style": "small,small,small,small,small"}, 422, "setting"),
        ({"strength": 2}, 422, "no_dial"),
        ({"strength": 4.5}, 422, "setting"),
        ({"strength": "nan"}, 422, "setting"),
        ({"scale": 0.1}, 422, "setting"),
        ({"size": 0}, 422, "setting"),
        ({"format": "tiff"}, 422, "setting"),
        ({"quality": 101}, 422, "setting"),
        ({"strip": "true", "keep_gps": "true"}, 422, "setting"),
    ],
)
def test_settings(server: Server, query: dict[str, Any], status: int, code: str) -> None:
    response = server.stylize(encoded(1), **query)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.json()["error"].endswith((".", "names."))


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"", "image/png", 400, "empty"),
        (b"GIF89a", "image/gif", 422, "damaged"),
        (b"no picture at all", "image/png", 415, "not_an_image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "image/png", 415, "not_an_image"),
        (encoded(1)[:300], "image/png", 422, "damaged"),
        (b"no form at all", "multipart/form-data; boundary=x", 400, "bad_form"),
        (b"no form at all", "multipart/form-data", 415, "not_an_image"),
        (bomb(), "image/png", 413, "too_large"),
        (bomb(1500, 1000), "image/png", 413, "too_many_pixels"),
        (b"\0" * (2**21 + 1), "image/png", 413, "too_large"),
    ],
    ids=range(10),
)
def test_bad_bodies(server: Server, body: bytes, content_type: str, status: int, code: str) -> None:
    response = server.stylize(body, content_type)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert str(server.folder) not in response.text
    wait_until_empty(server)


def test_large_body_without_a_length(server: Server) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"\x89PNG" * 4096

    # The server answers and closes while we still send.
    try:
        response = httpx.post(
            f"{server.url}api/stylize",
            params={"style": "small"},
            content=endless(),
            headers={"content-type": "image/png"},
            timeout=30,
        )
        assert response.status_code == 413
    except httpx.TransportError:
        pass
    wait_until_empty(server)
    assert server.stylize(encoded(1)).status_code == 200


def test_unknown_addresses(server: Server) -> None:
    for path in ("api/nothing", "..%2f..%2fetc/passwd", "webapp.py", "ort/..%2f..%2fapp.py"):
        response = httpx.get(server.url + path)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert httpx.put(f"{server.url}api/styles").status_code == 405
    for path in ("api/stylize", "api/train"):
        response = httpx.get(server.url + path)
        assert (response.status_code, response.headers["allow"]) == (405, "POST")
        assert response.json() == {"error": f"/{path} accepts only POST.", "code": "wrong_method"}
        assert httpx.put(server.url + path).json()["error"] == f"/{path} accepts only POST."
    response = httpx.put(f"{server.url}api/jobs/xyz")
    assert (response.status_code, response.headers["allow"]) == (405, "DELETE, GET")
    response = httpx.put(f"{server.url}app.js")
    assert response.json()["error"] == "/app.js accepts only GET, HEAD."


def test_broken_forms_say_nothing_in_the_log(server: Server) -> None:
    form = "multipart/form-data; boundary=b"
    for body in (b"--x\r\n", b"--b\r\nno colon\r\n\r\n", b"--b\r\n\x00: \x00\r\n\r\n--b--"):
        assert server.post("api/stylize", body, form, style="small").status_code == 400
    assert "multipart" not in server.log


def test_every_answer_has_its_policy(server: Server) -> None:
    for path in ("", "healthz", "api/styles", "nothing", "app.js"):
        headers = httpx.get(server.url + path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy
        assert "http:" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-embedder-policy"] == "require-corp"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "fststyle.example"}, 421),
        ({"origin": "http://localhost:1"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_other_sites_are_refused(server: Server, headers: dict[str, str], status: int) -> None:
    assert httpx.get(f"{server.url}api/styles", headers=headers).status_code == status


# Many and odd clients


def raw(server: Server, data: bytes) -> socket.socket:
    address = urlsplit(server.url)
    client = socket.create_connection((str(address.hostname), address.port or 0), timeout=30)
    client.sendall(data)
    return client


def head(server: Server, length: int) -> bytes:
    host = urlsplit(server.url).netloc
    return (
        f"POST /api/stylize?style=small HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Type: image/png\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_aborted_uploads_leave_nothing(server: Server) -> None:
    body = encoded(1)
    for _ in range(20):  # more than there are places
        client = raw(server, head(server, len(body)) + body[: len(body) // 2])
        time.sleep(0.01)
        client.close()
    wait_until_empty(server)
    assert server.stylize(body).status_code == 200


def test_a_slow_upload_is_given_up(server: Server) -> None:
    with raw(server, head(server, 1000) + b"\x89PNG") as client:
        answer = client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 408 ")
    wait_until_empty(server)


def test_a_client_that_sends_slowly_is_served(server: Server) -> None:
    body = encoded(1)
    with raw(server, head(server, len(body))) as client:
        for start in range(0, len(body), 1000):
            client.sendall(body[start : start + 1000])
            time.sleep(0.05)
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_many_at_once_get_their_own_answers_or_429(server: Server) -> None:
    bodies = [encoded(seed, height=24 + seed, width=30) for seed in range(8)]
    expected = [server.stylize(body).content for body in bodies]
    assert len(set(expected)) == len(bodies)
    process = psutil.Process(server.process.pid)
    numbers = [n % len(bodies) for n in range(200)]
    random.Random(0).shuffle(numbers)
    refused = 0
    lock = threading.Lock()

    # The server closes idle connections after ten seconds, which a busy machine may exceed.
    limits = httpx.Limits(max_keepalive_connections=200, keepalive_expiry=4)
    with httpx.Client(timeout=120, limits=limits) as client:

        def ask(number: int) -> bool:
            nonlocal refused
            for tries in itertools.count(1):
                response = client.post(
                    f"{server.url}api/stylize",
                    params={"style": "small"},
                    content=bodies[number],
                    headers={"content-type": "image/png"},
                )
                if response.status_code != 429:
                    break
                assert response.json()["code"] == "queue_full"
                assert response.headers["retry-after"] == "1"
                with lock:
                    refused += 1
                time.sleep(0.05 * min(tries, 10))
            return response.content == expected[number]

        memory = []
        for _ in range(2):
            with ThreadPoolExecutor(200) as threads:
                assert all(threads.map(ask, numbers))
            memory.append(process.memory_info().rss)
    assert refused > 0, "200 clients for 6 places"
    assert memory[1] - memory[0] < 30e6
    wait_until_empty(server)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_stylising_loads_no_torch(server: Server) -> None:
    server.stylize(encoded(1))
    maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "openvino" in maps
    assert "libtorch" not in maps


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_the_folder_of_uploads_is_private(server: Server) -> None:
    (folder,) = server.temporary.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700


# Jobs: what they refuse; tests/test_jobs.py runs them


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("api/optimize", {}, 422, "setting"),
        ("api/optimize", {"style": "unknown"}, 404, "unknown_style"),
        ("api/optimize", {"style": "ink_wash", "iterations": 0}, 422, "setting"),
        ("api/optimize", {"style": "ink_wash", "size": 5000}, 422, "setting"),
        ("api/train", {"name": "Bad Name"}, 422, "setting"),
        ("api/train", {"name": "great_wave"}, 409, "already_exists"),
        ("api/train", {"name": "new", "minutes": 10_000}, 422, "setting"),
    ],
)
def test_bad_jobs(server: Server, path: str, query: dict[str, Any], status: int, code: str) -> None:
    response = server.post(path, encoded(1), **query)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert httpx.get(f"{server.url}api/jobs").json() == {"jobs": []}
    wait_until_empty(server)


def test_a_style_picture_has_the_least_size_that_training_needs(server: Server) -> None:
    response = server.post("api/train", encoded(1, height=MIN_STYLE_SIDE - 1), name="new")
    assert (response.status_code, response.json()["code"]) == (422, "too_small")


def test_unknown_jobs(server: Server) -> None:
    for path in ("", "/events", "/picture"):
        assert httpx.get(f"{server.url}api/jobs/unknown{path}").status_code == 404
    assert httpx.delete(f"{server.url}api/jobs/unknown").status_code == 404
