"""Uploads: the request body is either a single image or a form with one or more images."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from anyio import fail_after, to_thread
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import Message

from fststyle.web.errors import Refusal
from fststyle.web.formats import RAW_TYPES, kind_of

_KINDS: Final = "JPEG, PNG, WebP, AVIF, HEIC, TIFF, GIF or BMP"
_FORM: Final = "multipart/form-data"
_PART_TYPES: Final = ("", *RAW_TYPES, "application/octet-stream")  # curl sends the last one

# Errors in a form are reported to the client, not in the server's log.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class UploadLimits:
    """Limits for one upload.

    Attributes:
        bytes: Maximum size of the whole request body.
        seconds: Maximum duration of the upload.
    """

    bytes: int = 64 * 2**20
    seconds: float = 60.0


class _LimitedBody:
    """Receives a request body, and checks its size and, for a form, that the end is not missing."""

    def __init__(self, request: Request, limits: UploadLimits, form_end: bytes = b"") -> None:
        self._receive = request.receive
        self._limits = limits
        self._form_end = form_end
        self._size = 0
        self._last = b""

    async def __call__(self) -> Message:
        message = await self._receive()
        chunk = message.get("body", b"")
        self._size += len(chunk)
        if self._size > self._limits.bytes:
            raise _too_large(self._limits)
        self._last = (self._last + chunk)[-1024:]
        is_last = message["type"] == "http.request" and not message.get("more_body", False)
        # Starlette's parser would silently drop an incomplete part at the end of a form.
        if is_last and not self._last.rstrip().endswith(self._form_end):
            raise Refusal("The form is incomplete.", remedy="Send it again.", code="bad_form")
        return message


async def receive(
    request: Request, folder: Path, names: Sequence[str], limits: UploadLimits
) -> dict[str, Path]:
    """Receive the images in a request.

    Args:
        request: The request. Its body is an image or a form with image files.
        folder: Folder for the files. Each file is named after its form field.
        names: Names of the fields that a form may have. The first field is required. If the
            request body is the image itself rather than a form, the image is treated as this
            field.
        limits: Limits for the upload.

    Returns:
        The received files, by field name.

    Raises:
        Refusal: The body is too large, arrives too slowly, has the wrong content type, or is not
            an image.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    declared = request.headers.get("content-length", "0")
    if declared.isascii() and declared.isdigit() and int(declared[:18]) > limits.bytes:
        raise _too_large(limits)
    is_form = kind == _FORM.encode()
    if not is_form and kind.decode("latin-1") not in RAW_TYPES:
        raise Refusal(
            "The content type must be an image type (image/jpeg, image/png, …) or "
            "multipart/form-data.",
            code="content_type",
        )
    try:
        with fail_after(limits.seconds):
            if is_form:
                boundary = options.get(b"boundary", b"")
                files = await _receive_form(request, folder, names, boundary, limits)
            else:
                files = {names[0]: folder / names[0]}
                with files[names[0]].open("wb") as file:
                    async for chunk in Request(
                        request.scope, _LimitedBody(request, limits)
                    ).stream():
                        file.write(chunk)
    except TimeoutError:
        raise Refusal(
            f"The upload took longer than {limits.seconds:g} seconds.", code="upload_too_slow"
        ) from None
    for name, path in files.items():
        if path.stat().st_size == 0:
            raise Refusal(f"The {name} file is empty.", remedy="Choose another file.", code="empty")
        if kind_of(path) is None:
            raise _not_an_image(name)
    return files


async def _receive_form(
    request: Request, folder: Path, names: Sequence[str], boundary: bytes, limits: UploadLimits
) -> dict[str, Path]:
    body = _LimitedBody(request, limits, form_end=b"--" + boundary + b"--")
    files: dict[str, Path] = {}
    try:
        # One more file than allowed is accepted, so that the error can name the wrong field.
        async with Request(request.scope, body).form(
            max_files=len(names) + 1, max_fields=1, max_part_size=1024
        ) as form:
            for name, part in form.multi_items():
                _check_part(name, part, names)
                if name in files:
                    raise Refusal(f"The form contains more than one {name}.", code="bad_form")
                assert isinstance(part, UploadFile)
                files[name] = folder / name
                with files[name].open("wb") as file:
                    await to_thread.run_sync(shutil.copyfileobj, part.file, file)
    except (HTTPException, MultiPartException) as error:
        raise Refusal("The form is damaged.", remedy="Send it again.", code="bad_form") from error
    if names[0] not in files:
        raise Refusal(f"The form has no field named {names[0]}.", code="missing_part")
    return files


def _check_part(name: str, part: UploadFile | str, names: Sequence[str]) -> None:
    if name not in names or not isinstance(part, UploadFile):
        raise Refusal(
            f"Unexpected form field. Only these file fields are allowed: {', '.join(names)}.",
            remedy="Pass settings in the query string.",
            code="bad_form",
        )
    kind = parse_options_header(part.content_type or "")[0].decode("latin-1")
    if kind not in _PART_TYPES:
        raise _not_an_image(name, "content_type")


def _not_an_image(name: str, code: str = "not_an_image") -> Refusal:
    return Refusal(f"Cannot read the {name} as an image.", remedy=f"Use {_KINDS}.", code=code)


def _too_large(limits: UploadLimits) -> Refusal:
    return Refusal(
        f"The upload is larger than {limits.bytes / 2**20:g} MB.",
        remedy="Use a smaller file.",
        code="too_large",
    )
