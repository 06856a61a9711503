"""Uploads: the request body is either a single image or a form with one or more images.

Clients send all kinds of content types, so only the bytes decide what a body or a file is.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from anyio import current_time, fail_after, open_file, to_thread
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from fststyle.files import reason
from fststyle.web.errors import Refusal
from fststyle.web.formats import kind_of

_KINDS: Final = "JPEG, PNG, WebP, AVIF, HEIC, JPEG 2000, TIFF, GIF or BMP"
_FORM_START: Final = re.compile(
    rb"--([\w'()+,./:=? -]{1,70})\r\nContent-Disposition: *form-data", re.IGNORECASE
)
_GRACE_SECONDS: Final = 10.0  # afterwards, an upload must have had the lowest speed on average
_LOWEST_SPEED: Final = 1000.0  # bytes per second

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
        Refusal: The body is too large, arrives too slowly, or is neither an image nor a form with
            images.
    """
    body = folder / "body"
    await _save_body(request, body, limits)
    options = parse_options_header(request.headers.get("content-type", ""))[1]
    with body.open("rb") as file:
        start = _FORM_START.match(file.read(1024))
    boundary = options.get(b"boundary") or (start and start[1])
    if boundary and kind_of(body) is None:
        files = await _split_form(body, names, boundary)
    else:
        files = {names[0]: body.rename(folder / names[0])}
    for name, path in files.items():
        if path.stat().st_size == 0:
            raise Refusal(f"The {name} file is empty.", remedy="Choose another file.", code="empty")
        if kind_of(path) is None:
            raise Refusal(
                f"Cannot read the {name} as an image.", remedy=f"Use {_KINDS}.", code="not_an_image"
            )
    return files


async def _save_body(request: Request, path: Path, limits: UploadLimits) -> None:
    declared = request.headers.get("content-length", "0")
    size = int(declared[:18]) if declared.isascii() and declared.isdigit() else 0
    begin = current_time()
    try:
        with path.open("wb") as file, fail_after(min(limits.seconds, _GRACE_SECONDS)) as scope:
            _check_size(size, limits)
            async for chunk in request.stream():
                _check_size(file.tell() + len(chunk), limits)
                file.write(chunk)
                allowed = _GRACE_SECONDS + file.tell() / _LOWEST_SPEED
                scope.deadline = begin + min(limits.seconds, allowed)
    except TimeoutError:
        raise Refusal(
            f"The upload took longer than {limits.seconds:g} seconds, or stalled.",
            remedy="Send it again, or use a smaller file.",
            code="upload_too_slow",
        ) from None


def _check_size(size: int, limits: UploadLimits) -> None:
    if size > limits.bytes:
        raise Refusal(
            f"The upload is larger than {limits.bytes / 2**20:g} MB.",
            remedy="Use a smaller file.",
            code="too_large",
        )


async def _split_form(body: Path, names: Sequence[str], boundary: bytes) -> dict[str, Path]:
    with body.open("rb") as file:
        file.seek(max(0, body.stat().st_size - 1024))
        # The parser would silently drop an incomplete part at the end.
        if not file.read().rstrip().endswith(b"--" + boundary + b"--"):
            raise Refusal("The form is incomplete.", remedy="Send it again.", code="bad_form")
    content_type = 'multipart/form-data; boundary="' + boundary.decode("latin-1") + '"'
    parser = MultiPartParser(Headers({"content-type": content_type}), _chunks(body))
    files: dict[str, Path] = {}
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal(f"Cannot read the form: {reason(error)}.", code="bad_form") from error
    try:
        for name, part in form.multi_items():
            if isinstance(part, UploadFile) and not (part.filename or part.size):
                continue  # browsers send this for a field without a chosen file
            if name not in names or not isinstance(part, UploadFile):
                raise Refusal(
                    f"Unexpected form field {name!r:.80}. Only these file fields are allowed: "
                    f"{', '.join(names)}.",
                    remedy="Pass settings in the query string.",
                    code="bad_form",
                )
            if name in files:
                raise Refusal(f"The form contains more than one {name}.", code="bad_form")
            files[name] = body.with_name(name)
            with files[name].open("wb") as file:
                await to_thread.run_sync(shutil.copyfileobj, part.file, file)
    finally:
        await form.close()
    if names[0] not in files:
        raise Refusal(f"The form has no field named {names[0]}.", code="missing_part")
    return files


async def _chunks(path: Path) -> AsyncGenerator[bytes]:
    async with await open_file(path, "rb") as file:
        while chunk := await file.read(2**18):
            yield chunk
