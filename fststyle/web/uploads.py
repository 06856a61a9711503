"""Bodies of requests, received into a folder: one picture, or a form that holds several."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from fststyle.web.errors import Refusal
from fststyle.web.photos import PICTURE_KINDS, kind_of

RAW_TYPES: Final = tuple(f"image/{kind}" for kind in PICTURE_KINDS)
"""Content types of a body that is a picture itself."""

_KINDS: Final = "JPEG, PNG, WebP, AVIF, HEIC, TIFF, GIF or BMP"
_FORM: Final = "multipart/form-data"
_PART_TYPES: Final = (*RAW_TYPES, "application/octet-stream")  # what curl says of some
_MOST_HEADER_BYTES: Final = 4096  # of a part

# What a client sends is told to the client, not to the server's log.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class UploadLimits:
    """How much is received, and for how long.

    Attributes:
        bytes: Of a whole body.
        seconds: From its first byte to its last.
    """

    bytes: int = 64 * 2**20
    seconds: float = 60.0


async def receive(
    request: Request, folder: Path, names: Sequence[str], limits: UploadLimits
) -> dict[str, Path]:
    """Receive the pictures of a request.

    Args:
        request: Its body is a picture, or a form whose parts are pictures.
        folder: Where the pictures are put; under names that we choose.
        names: Of the parts that a form may have; a body that is a picture is the first of them.
        limits: What is refused.

    Returns:
        The files by the names of their parts; the first of ``names`` is always there.

    Raises:
        Refusal: The body is too large, too slow, of another type, or holds no picture.
    """
    content_type = request.headers.get("content-type", "")
    kind, options = parse_options_header(content_type)
    declared = request.headers.get("content-length", "0")
    if declared.isascii() and declared.isdigit() and int(declared[:18]) > limits.bytes:
        raise _too_large(limits)
    is_form = kind == _FORM.encode()
    if is_form and not options.get(b"boundary"):
        raise Refusal(400, "bad_form", "The form has no boundary; send multipart/form-data.")
    if not is_form and kind.decode("latin-1") not in RAW_TYPES:
        raise Refusal(
            415,
            "content_type",
            "Send a picture (Content-Type: image/jpeg, image/png, …) or multipart/form-data.",
        )
    try:
        async with asyncio.timeout(limits.seconds):
            if is_form:
                files = await _receive_form(request, folder, names, options[b"boundary"], limits)
            else:
                files = {names[0]: folder / names[0]}
                with files[names[0]].open("wb") as file:
                    async for chunk in _chunks(request, limits):
                        file.write(chunk)
    except TimeoutError:
        raise Refusal(
            408, "upload_too_slow", f"The upload took longer than {limits.seconds:g} seconds."
        ) from None
    if names[0] not in files:
        raise Refusal(400, "no_picture", f"The form has no part named {names[0]}.")
    for name, path in files.items():
        if path.stat().st_size == 0:
            raise Refusal(400, "empty", f"The {name} is empty; choose another file.")
        if kind_of(path) is None:
            raise Refusal(
                415,
                "no_picture",
                f"The {name} is not a picture that can be read here; use {_KINDS}.",
            )
    return files


async def _chunks(request: Request, limits: UploadLimits) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limits.bytes:
            raise _too_large(limits)
        yield chunk


async def _receive_form(
    request: Request, folder: Path, names: Sequence[str], boundary: bytes, limits: UploadLimits
) -> dict[str, Path]:
    parts = _Parts(folder, names)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": parts.begin,
                "on_part_data": parts.data,
                "on_part_end": parts.end,
                "on_header_field": parts.header_name,
                "on_header_value": parts.header_value,
                "on_header_end": parts.header_end,
                "on_headers_finished": parts.headers_finished,
                "on_end": parts.finish,
            },
        )
        async for chunk in _chunks(request, limits):
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise Refusal(400, "bad_form", "The form is damaged; send it again.") from error
    finally:
        parts.close()
    if not parts.finished:
        raise Refusal(400, "bad_form", "The form is incomplete; send it again.")
    return parts.files


class _Parts:
    """The parts of a form as the parser tells of them, each written to a file of its own."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.files: dict[str, Path] = {}
        self.finished = False
        self._folder = folder
        self._names = names
        self._file: BinaryIO | None = None
        self._headers: dict[bytes, bytes] = {}
        self._field = self._value = b""

    def begin(self) -> None:
        self._headers = {}
        self._field = self._value = b""

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]
        self._check_header()

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._check_header()

    def _check_header(self) -> None:
        if len(self._field) + len(self._value) > _MOST_HEADER_BYTES:
            raise Refusal(400, "bad_form", "A header in the form is too long.")

    def header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""
        if len(self._headers) > 8:
            raise Refusal(400, "bad_form", "A part of the form has too many headers.")

    def headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("latin-1")
        if name not in self._names:
            known = " and ".join(self._names)
            raise Refusal(
                400, "bad_form", f"The form may have {known}; settings belong into the address."
            )
        if name in self.files:
            raise Refusal(400, "bad_form", f"The form has more than one {name}.")
        kind = parse_options_header(self._headers.get(b"content-type", b""))[0].decode("latin-1")
        if kind and kind not in _PART_TYPES:
            raise Refusal(
                415,
                "content_type",
                f"The {name} is not a kind of picture that can be read here; use {_KINDS}.",
            )
        self.files[name] = self._folder / name
        self._file = self.files[name].open("wb")

    def data(self, data: bytes, start: int, end: int) -> None:
        assert self._file is not None
        self._file.write(data[start:end])

    def end(self) -> None:
        self.close()

    def finish(self) -> None:
        self.finished = True

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _too_large(limits: UploadLimits) -> Refusal:
    return Refusal(
        413, "too_large", f"The upload is larger than {limits.bytes / 2**20:g} MB; make it smaller."
    )
