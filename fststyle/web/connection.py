"""The server's HTTP connections."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS: Final = 10.0
"""Time limit for the head of a request, from the connection or from the previous response."""

MOST_CONNECTIONS: Final = 512

_BROWSER_HEADERS: Final = (b"origin", b"sec-fetch-mode")


class Connection(H11Protocol):
    """A connection that cannot keep other clients out, and that may be half closed.

    A connection without a request is closed after `HEAD_SECONDS`, or earlier if there are as many
    connections as the server accepts.

    A client that closes its sending half after a complete request still gets the response. Only a
    browser that closes a connection has certainly cancelled its request.
    """

    _last: Any = None  # the previous request
    _since = 0.0  # when this connection began to wait for a request
    _is_half_closed = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a request, if necessary in place of another connection."""
        super().connection_made(transport)
        others: list[Any] = [each for each in self.connections if each is not self]
        waiting = [each for each in others if each._is_waiting()]
        if len(self.connections) >= MOST_CONNECTIONS and waiting:
            min(waiting, key=lambda each: each._since).transport.close()
        self._wait_for_request(None)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection open if the client may still wait for a response."""
        cycle = self.cycle
        is_pending = cycle is not None and not (cycle.more_body or cycle.response_complete)
        self._is_half_closed = is_pending and all(
            name not in _BROWSER_HEADERS for name, _ in self.headers
        )
        return self._is_half_closed

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        last = self.cycle
        super().on_response_complete()
        self._wait_for_request(last)
        if self._is_half_closed and self.cycle is last:
            self.transport.close()

    def _wait_for_request(self, last: Any) -> None:
        self._last = last
        self._since = self.loop.time()
        self.loop.call_later(HEAD_SECONDS, self._close_without_request, last)

    def _close_without_request(self, last: Any) -> None:
        if self.cycle is last:
            self.transport.close()

    def _is_waiting(self) -> bool:
        return self.cycle is self._last and not self.transport.is_closing()
