"""Exception handlers: turn every error into an HTTP status and ``{"error": …, "code": …}``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fststyle.errors import FststyleError
from fststyle.files import NO_SPACE, reason
from fststyle.web.errors import ClientGone, Refusal, public_message, status_of

_CODES: Final = {404: "not_found", 405: "wrong_method"}
_CLOSING: Final = (400, 408, 413, 415, 429)  # the rest of the body is not received
_BUSY: Final = (429, 503)


def add_handlers(app: FastAPI) -> None:
    """Register handlers that answer every error with a `fststyle.web.models.Problem`."""
    app.add_exception_handler(FststyleError, _on_error)
    app.add_exception_handler(OSError, _on_os_error)
    app.add_exception_handler(RequestValidationError, _on_bad_setting)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(ClientGone, _on_disconnect)


def _problem(status: int, message: str, code: str) -> JSONResponse:
    headers = {"retry-after": "1"} if status in _BUSY else {}
    if status in _CLOSING:
        headers["connection"] = "close"
    return JSONResponse({"error": message, "code": code}, status, headers)


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, FststyleError)
    return _problem(status_of(error), public_message(error), error.code)


async def _on_os_error(request: Request, error: Exception) -> Response:
    """Answer an error of the folder for the files of requests. Other errors are unexpected."""
    assert isinstance(error, OSError)
    folder = request.app.state.shared.queue.folder
    is_inside = Path(os.fsdecode(error.filename or "")).is_relative_to(folder)
    if error.errno not in NO_SPACE and not is_inside:
        raise error
    refusal = Refusal(
        f"The server cannot store temporary files: {reason(error)}.",
        remedy="Free some space on the server, or restart it with TMPDIR set to another folder.",
        code="no_temporary_folder",
    )
    return await _on_error(request, refusal)


async def _on_bad_setting(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = ".".join(str(item) for item in first["loc"][1:2])
    if first["type"] == "extra_forbidden":
        message = f"Unknown setting {name!r:.80}; /api/openapi.json lists the settings"
    elif first["type"] == "string_pattern_mismatch":
        message = f"{name}: Names may contain only lower-case letters, digits, _ and -"
        if name == "style":
            message += "; to blend styles, write one:0.6,other:0.4"
    else:
        message = f"{name}: {first['msg'].removesuffix('.')}"
    return _problem(422, f"{message}.", "setting")


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message, headers = f"{error.detail}.", dict(error.headers or {})
    if error.status_code == 404:
        message = f"{request.url.path} does not exist on this server."
    if error.status_code == 405:
        headers["allow"] = ", ".join(_methods_at(request)) or headers["Allow"]
        message = f"{request.url.path} accepts only {headers['allow']}."
    response = _problem(error.status_code, message, _CODES.get(error.status_code, "http"))
    response.headers.update(headers)
    return response


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return _problem(400, "The connection was closed.", "gone")  # the client never sees this


def _methods_at(request: Request) -> list[str]:
    """Return the methods that the API accepts for a request's path, across all routes."""
    at_address = [
        route.methods
        for route in request.app.state.api_routes
        if route.path_regex.match(request.url.path)
    ]
    return sorted(set().union(*at_address))
