"""What stands before every request: who may ask, and what browsers are told to forbid."""

from __future__ import annotations

import http.cookies
import json
import secrets
import urllib.parse
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""No inline script or style, nothing from elsewhere; WebAssembly for the runner."""

HEADERS: Final = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
    # With these two WebAssembly may use threads.
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
}

_COOKIE: Final = "fststyle_token"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_OPEN: Final = ("/healthz",)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Guard:
    """An ASGI application around another.

    Without a token it answers only to the names of this very computer, so that no page from
    elsewhere can reach it by a name of its own that it lets point here (DNS rebinding). With one,
    each request must bring it, as ``Authorization: Bearer`` or as the cookie that ``/?token=…``
    sets. A browser's request that another site has caused is refused in both cases.

    Args:
        app: The application.
        token: As above; None for none.
    """

    def __init__(self, app: App, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request, or have the application do it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            return
        headers = {name.decode("latin-1"): value for name, value in scope["headers"]}
        begun = False

        async def send_guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                given = {name.lower() for name, _ in message["headers"]}
                more = {"cache-control": "no-store", **HEADERS}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.encode(), value.encode())
                        for name, value in more.items()
                        if name.encode() not in given
                    ),
                ]
            await send(message)

        refused = self._refused(scope, headers)
        if refused is not None:
            status, code, sentence = refused
            await _answer(send_guarded, status, {"error": sentence, "code": code})
            return
        if self._token is not None and scope["path"] == "/" and _token_in(scope) is not None:
            cookie = f"{_COOKIE}={self._token}; HttpOnly; SameSite=Strict; Path=/"
            more = [(b"location", b"./"), (b"set-cookie", cookie.encode())]
            await _answer(send_guarded, 303, {"error": "", "code": "go_on"}, more)
            return
        try:
            await self._app(scope, receive, send_guarded)
        except Exception:
            if not begun:  # an error of ours: its traceback is the log's, not the client's
                sentence = "Something went wrong on the server; its log says what."
                await _answer(send_guarded, 500, {"error": sentence, "code": "internal"})
            raise

    def _refused(
        self, scope: MutableMapping[str, Any], headers: dict[str, bytes]
    ) -> tuple[int, str, str] | None:
        host = headers.get("host", b"").decode("latin-1")
        if self._token is None and _name_of(host) not in _LOOPBACK:
            return 421, "bad_host", "This server answers only to localhost."
        if scope["path"] in _OPEN:
            return None
        site = headers.get("sec-fetch-site", b"")
        origin = headers.get("origin")
        is_read = scope["method"] in ("GET", "HEAD")
        is_page = is_read and headers.get("sec-fetch-mode", b"") == b"navigate"
        if (site in (b"cross-site", b"same-site") and not is_page) or (
            origin is not None and origin.decode("latin-1").partition("://")[2] != host
        ):
            return 403, "other_site", "Another site's page may not use this server."
        if self._token is not None and not self._knows(scope, headers):
            return (
                401,
                "no_token",
                "Open the address with the token that 'fststyle serve' has printed, or send it "
                "as 'Authorization: Bearer TOKEN'.",
            )
        return None

    def _knows(self, scope: MutableMapping[str, Any], headers: dict[str, bytes]) -> bool:
        assert self._token is not None
        kind, _, given = headers.get("authorization", b"").partition(b" ")
        offered = [given] if kind.lower() == b"bearer" else []
        cookies: http.cookies.SimpleCookie = http.cookies.SimpleCookie()
        try:
            cookies.load(headers.get("cookie", b"").decode("latin-1"))
        except http.cookies.CookieError:
            cookies.clear()
        if _COOKIE in cookies:
            offered.append(cookies[_COOKIE].value.encode())
        in_address = _token_in(scope) if scope["path"] == "/" else None
        if in_address is not None:
            offered.append(in_address.encode())
        return any(secrets.compare_digest(token, self._token.encode()) for token in offered)


def _token_in(scope: MutableMapping[str, Any]) -> str | None:
    query = urllib.parse.parse_qs(scope.get("query_string", b"").decode("latin-1"))
    return query["token"][0] if "token" in query else None


def _name_of(host: str) -> str:
    """``[::1]:8000`` → ``::1``, ``localhost:8000`` → ``localhost``."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


async def _answer(
    send: Send, status: int, facts: dict[str, str], more: list[tuple[bytes, bytes]] | None = None
) -> None:
    body = json.dumps(facts).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        # What of the body has not been received is not waited for.
        (b"connection", b"close"),
        *(more or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
