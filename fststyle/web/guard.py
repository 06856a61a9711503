"""Access checks for every request, and the security headers of every response."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

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

    Behind a proxy, the address of the page in the browser can differ from the address that requests
    have here. The headers ``X-Forwarded-*`` are not trusted, because any page can send them.

    Args:
        app: The application.
        token: The token, or ``None`` if no token is required.
        origins: Addresses of the page behind proxies, such as ``https://example.org/art``.
    """

    def __init__(self, app: ASGIApp, token: str | None, origins: Sequence[str] = ()) -> None:
        self._app = app
        self._token = token
        addresses = [urlsplit(origin) for origin in origins]
        self._origins = {f"{each.scheme}://{each.netloc}" for each in addresses}
        self._names = {*_LOOPBACK, *(_name_of(each.netloc) for each in addresses)}
        self._prefixes = [path for each in addresses if (path := each.path.rstrip("/"))]

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

        for prefix in self._prefixes:  # if the proxy has not removed it
            if scope["path"] == prefix:
                response = Response(status_code=308, headers={"location": f"{prefix}/"})
                await response(scope, receive, send_with_headers)
                return
            if scope["path"].startswith(f"{prefix}/"):
                scope = {**scope, "path": scope["path"].removeprefix(prefix)}
        request = HTTPConnection(scope)
        try:
            self._check(request)
        except Refusal as refusal:
            await _answer(refusal)(scope, receive, send_with_headers)
            return
        if self._token is not None and scope["path"] == "/" and "token" in request.query_params:
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
        if self._token is None and _name_of(host) not in self._names:
            raise Refusal(
                f"This server accepts only requests to localhost, not to {host:.80}.",
                remedy="If a proxy serves this page, start the server with --origin URL, where URL "
                "is the address of the page in the browser.",
                code="bad_host",
            )
        if path in _OPEN:
            return
        is_read = request.scope["method"] in ("GET", "HEAD")
        is_page = is_read and headers.get("sec-fetch-mode") == "navigate"
        from_other = headers.get("sec-fetch-site") in ("cross-site", "same-site") and not is_page
        if from_other:
            raise Refusal("Pages on other sites may not use this server.", code="other_site")
        origin = headers.get("origin", f"http://{host}")
        if origin not in self._origins and origin.partition("://")[2] != host:
            raise Refusal(
                f"The page is at {origin:.80}, but its request has the header Host: {host:.80}. "
                "Pages on other sites may not use this server.",
                remedy="If a proxy has changed this header, start the server with "
                f"--origin {origin:.80}.",
                code="other_site",
            )
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
