from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from starlette.requests import Request
from web_help import encoded

from fststyle.web import uploads
from fststyle.web.errors import Refusal
from fststyle.web.uploads import UploadLimits, receive

PICTURE = encoded(1, height=8, width=8)
FORM = "multipart/form-data; boundary=b"


def part(name: str, content: bytes, content_type: str = "image/png") -> bytes:
    header = f'Content-Disposition: form-data; name="{name}"; filename="../../{name}"'
    return f"--b\r\n{header}\r\nContent-Type: {content_type}\r\n\r\n".encode() + content + b"\r\n"


END = b"--b--\r\n"


def take(
    folder: Path,
    chunks: Sequence[bytes],
    content_type: str = FORM,
    limits: UploadLimits | None = None,
    pause: float = 0.0,
) -> dict[str, Path]:
    waiting = [*chunks]

    async def next_message() -> dict[str, object]:
        await asyncio.sleep(pause)
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(b"content-type", content_type.encode())],
    }
    request = Request(scope, next_message)
    return asyncio.run(receive(request, folder, ("photo", "mask"), limits or UploadLimits()))


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_a_form_in_pieces(tmp_path: Path, size: int) -> None:
    body = part("mask", PICTURE) + part("photo", PICTURE + b"more") + END
    files = take(tmp_path, [body[at : at + size] for at in range(0, len(body), size)])
    assert files["photo"].read_bytes() == PICTURE + b"more"
    assert files["mask"].read_bytes() == PICTURE
    # Under names of ours, whatever the client calls its files.
    assert {path.name for path in tmp_path.iterdir()} == {"body", "photo", "mask"}


CONTENT_TYPES = [
    "image/png; charset=binary",
    "image/jpg",
    "image/*",
    "image/pjpeg",
    "image/x-png",
    "IMAGE/PNG",
    "application/octet-stream",
    "application/x-www-form-urlencoded",  # the default of curl --data-binary
    "multipart/form-data",
    "multipart/form-data; boundary=",
    FORM,
    "text/plain",
    "nonsense",
    "",
]


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
def test_the_bytes_decide_what_a_body_is(tmp_path: Path, content_type: str) -> None:
    files = take(tmp_path, [PICTURE[:9], PICTURE[9:]], content_type)
    assert files["photo"].read_bytes() == PICTURE
    body = part("photo", PICTURE) + END
    files = take(tmp_path, [body], content_type)
    assert files["photo"].read_bytes() == PICTURE


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
def test_the_bytes_decide_what_a_file_is(tmp_path: Path, content_type: str) -> None:
    body = part("photo", PICTURE, content_type) + part("mask", PICTURE, content_type) + END
    assert set(take(tmp_path, [body])) == {"photo", "mask"}


def test_a_form_field_without_a_chosen_file(tmp_path: Path) -> None:
    empty = part("mask", b"", "application/octet-stream").replace(b"../../mask", b"")
    assert set(take(tmp_path, [part("photo", PICTURE) + empty + END])) == {"photo"}
    with pytest.raises(Refusal) as refused:
        take(tmp_path, [empty.replace(b"mask", b"photo") + END])
    assert refused.value.code == "missing_part"


@pytest.mark.parametrize("name", ["Ünï cödé.png", "a;b.png", "", "C:\\x.png", "a" * 1000, "\0"])
def test_odd_file_names(tmp_path: Path, name: str) -> None:
    body = part("photo", PICTURE).replace(b"../../photo", name.encode()) + END
    assert take(tmp_path, [body])["photo"].read_bytes() == PICTURE


def test_several_files_are_named(tmp_path: Path) -> None:
    for count in (2, 40):
        with pytest.raises(Refusal, match="more than one photo"):
            take(tmp_path, [part("photo", PICTURE) * count + END])
    with pytest.raises(Refusal, match="'file'"):
        take(tmp_path, [part("file", PICTURE) + END])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (part("photo", PICTURE), "bad_form"),  # its end is missing
        (part("mask", PICTURE) + END, "missing_part"),
        (part("style", b"small", "text/plain") + END, "bad_form"),
        (part("photo", PICTURE) + part("photo", PICTURE) + END, "bad_form"),
        (part("photo", b"text") + END, "not_an_image"),
        (part("photo", b"") + END, "empty"),
        (b"--b\r\n" + b"x" * 9000 + b": y\r\n\r\n", "bad_form"),
        (b"--b\r\n" + b"x: y\r\n" * 99 + b"\r\n", "bad_form"),
        (b"nothing", "bad_form"),
        (part("photo", PICTURE) + b"--other--\r\n", "bad_form"),
        (b"--b\r\n\r\n", "bad_form"),
        (END, "missing_part"),
    ],
)
def test_bad_forms(tmp_path: Path, body: bytes, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        take(tmp_path, [body, b""])
    assert refused.value.code == code


@pytest.mark.parametrize("content_type", [FORM, "image/png"])
def test_too_large(tmp_path: Path, content_type: str) -> None:
    body = part("photo", PICTURE + b"\0" * 5000) + END if content_type == FORM else b"\0" * 5000
    chunks = [body[at : at + 100] for at in range(0, len(body), 100)]
    with pytest.raises(Refusal) as refused:
        take(tmp_path, chunks, content_type, UploadLimits(bytes=1000))
    assert refused.value.code == "too_large"
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1000


def test_too_slow(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        take(tmp_path, [b"x"] * 1000, "image/png", UploadLimits(seconds=0.1), pause=0.02)
    assert refused.value.code == "upload_too_slow"


def test_an_upload_that_stalls_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_GRACE_SECONDS", 0.3)
    with pytest.raises(Refusal) as refused:
        take(tmp_path, [b"x"] * 1000, "image/png", pause=0.02)
    assert refused.value.code == "upload_too_slow"
    chunks = [PICTURE[at : at + 10] for at in range(0, len(PICTURE), 10)]
    assert take(tmp_path, chunks, pause=0.003)["photo"].read_bytes() == PICTURE
