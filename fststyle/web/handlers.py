"""What was not possible, told over HTTP as a sentence and a word."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fststyle.web.errors import Refusal
from fststyle.web.work_queue import ClientGone


def add_handlers(app: FastAPI) -> None:
    """Have all that goes wrong told as a `fststyle.web.models.Problem`."""

    def problem(status: int, sentence: str, code: str) -> JSONResponse:
        headers = {"retry-after": "1"} if status in (429, 503) else {}
        if status in (400, 408, 413, 415, 429):
            headers["connection"] = "close"  # the rest of the body is not waited for
        return JSONResponse({"error": sentence, "code": code}, status, headers)

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        return problem(error.status, str(error), error.code)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = ".".join(str(item) for item in first["loc"][1:2])
        message = first["msg"]
        if first["type"] == "string_pattern_mismatch":  # a pattern is no sentence
            message = "Names have lower-case letters, digits, _ and - (no ending)"
            if name == "style":
                message += "; weights are as in one:0.6,other:0.4"
        return problem(422, f"{name}: {message}.", "bad_setting")

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        response = problem(error.status_code, f"{error.detail}.", "http")
        response.headers.update(error.headers or {})
        if error.status_code == 405:
            methods = ", ".join(methods_at(request) or ["GET", "HEAD"])  # of pages
            response = problem(405, f"{request.url.path} takes {methods}.", "wrong_method")
            response.headers["allow"] = methods
        return response

    async def gone(request: Request, error: Exception) -> Response:
        return problem(400, "The connection was closed.", "gone")  # nobody reads it

    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(ClientGone, gone)


def methods_at(request: Request) -> list[str]:
    """What the API takes at a request's address; nothing where that is none of the API's."""
    path, found = request.url.path, set()
    for route in request.app.routes:
        if isinstance(route, APIRoute) and route.path_regex.match(path):
            # All pages are at one address.
            found |= set() if "{name:path}" in route.path else route.methods or set()
    return sorted(found)


async def known_settings(request: Request) -> None:
    """Refuse a setting in the address that there is not, or that stands there twice."""
    known = [field.alias for field in request.scope["route"].dependant.query_params]
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in known:
            raise Refusal(
                422,
                "bad_setting",
                f"There is no setting {name!r:.80}; there are {', '.join(known)}.",
            )
        if given.count(name) > 1:
            raise Refusal(422, "bad_setting", f"{name} is given more than once.")
