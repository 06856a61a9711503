"""Access checks for every request, and the security headers of every response."""

from __future__ import annotations

import secrets
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fststyle.web.errors import UNKNOWN, Refusal, status_of
from fststyle.web.page_files import CONTENT_POLICY

HEADERS: Final = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
    # Browsers let WebAssembly use threads only if these two headers are set.
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers added to every response that does not set them itself."""

_COOKIE: Final = "fststyle_token"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_OPEN: Final = ("/healthz",)  # paths that need no token


class Guard:
    """An ASGI application that passes only permitted requests on to another application.

    Without a token, only requests addressed to ``localhost`` or a loopback address are accepted.
    This prevents other sites from reaching the server through a host name that they resolve to
    this computer (DNS rebinding). With a token, each request must send the token, either as
    ``Authorization: Bearer`` or as the cookie that ``/?token=…`` sets. In both cases, requests
    made by pages of other sites are refused.

    Args:
        app: The application.
        token: The token, or ``None`` if no token is required.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, then respond to it or pass it on to the application."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        request = HTTPConnection(scope)
        try:
            self._check(request)
        except Refusal as refusal:
            await _answer(refusal)(scope, receive, send_with_headers)
            return
        if self._token is not None and request.url.path == "/" and "token" in request.query_params:
            response = Response(status_code=303, headers={"location": "./", "connection": "close"})
            response.set_cookie(_COOKIE, self._token, httponly=True, samesite="strict")
            await response(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            if not started:  # an unexpected error: the traceback goes to the log, not to the client
                answer = _answer(Refusal(UNKNOWN, code="internal"))
                await answer(scope, receive, send_with_headers)
            raise

    def _check(self, request: HTTPConnection) -> None:
        """Refuse a request that is not permitted.

        Raises:
            Refusal: The host is wrong, a page of another site made the request, or the token is
                missing or wrong.
        """
        headers, path = request.headers, request.scope["path"]
        host = headers.get("host", "")
        if self._token is None and _name_of(host) not in _LOOPBACK:
            raise Refusal("This server accepts only requests to localhost.", code="bad_host")
        if path in _OPEN:
            return
        is_read = request.scope["method"] in ("GET", "HEAD")
        is_page = is_read and headers.get("sec-fetch-mode") == "navigate"
        from_other = headers.get("sec-fetch-site") in ("cross-site", "same-site") and not is_page
        if from_other or headers.get("origin", f"://{host}").partition("://")[2] != host:
            raise Refusal("Pages on other sites may not use this server.", code="other_site")
        if self._token is not None and not self._has_token(request, self._token):
            raise Refusal(
                "This server requires a token.",
                remedy="Open the address that 'fststyle serve' printed, or send "
                "'Authorization: Bearer TOKEN'.",
                code="no_token",
            )

    @staticmethod
    def _has_token(request: HTTPConnection, token: str) -> bool:
        kind, _, bearer = request.headers.get("authorization", "").partition(" ")
        offered = [
            bearer if kind.lower() == "bearer" else "",
            request.cookies.get(_COOKIE, ""),
            request.query_params.get("token", "") if request.scope["path"] == "/" else "",
        ]
        return any(secrets.compare_digest(text.encode(), token.encode()) for text in offered)


def _name_of(host: str) -> str:
    """Strip the port: ``[::1]:8000`` → ``::1``, ``localhost:8000`` → ``localhost``."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _answer(refusal: Refusal) -> JSONResponse:
    facts = {"error": str(refusal), "code": refusal.code}
    # Close the connection, so that the rest of the body need not be received.
    return JSONResponse(facts, status_of(refusal), {"connection": "close"})
