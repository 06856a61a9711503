from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from fststyle.web import connection
from fststyle.web.connection import Connection

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer after a moment, but only if the client is still there."""
    message = await receive()
    while message.get("more_body"):
        message = await receive()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            assert (await receive())["type"] == "http.disconnect"
            return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"answer"})


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[int]:
    config = uvicorn.Config(app, log_config=None, limit_concurrency=connection.MOST_CONNECTIONS)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(config, state, {}), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()[1]
        for each in list(state.connections):
            each.transport.close()
        await asyncio.sleep(0.05)


async def talk(port: int, data: bytes, *, end: bool = False) -> bytes:
    """Send some bytes, and return everything that is received until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    if end:
        writer.write_eof()
    async with asyncio.timeout(20):
        answer = await reader.read()
    await closed(writer)
    return answer


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def run(*data: bytes, end: bool = False) -> list[bytes]:
    async def main() -> list[bytes]:
        async with listening() as port:
            return await asyncio.gather(*(talk(port, each, end=end) for each in data))

    return asyncio.run(main())


@pytest.mark.parametrize("data", [b"", b"G", REQUEST, REQUEST + b"\r\n" + REQUEST])
def test_a_request_head_has_a_time_limit(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.5)
    begin = time.monotonic()
    (answer,) = run(data)
    assert 0.4 < time.monotonic() - begin < 10
    assert answer.count(b"HTTP/1.1 200 OK") == data.count(b"\r\n\r\n")


def test_silent_connections_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MOST_CONNECTIONS", 8)

    async def main() -> None:
        async with listening() as port:
            for data in (b"", REQUEST):
                others = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
                for _, writer in others:
                    writer.write(data)
                for _ in range(3):
                    answer = await talk(port, REQUEST + b"Connection: close\r\n\r\n")
                    assert answer.startswith(b"HTTP/1.1 200 OK")
                for _, writer in others:
                    await closed(writer)

    asyncio.run(main())


def test_a_half_closed_connection_gets_its_answers() -> None:
    request, post = REQUEST + b"\r\n", POST + b"\r\n0123456789"
    for data in (request, post, request * 2):
        (answer,) = run(data, end=True)
        assert answer.count(b"answer") == data.count(b"HTTP/1.1")


@pytest.mark.parametrize(
    "data", [b"", REQUEST, POST + b"\r\n01234", REQUEST + b"Origin: x\r\n\r\n"]
)
def test_an_incomplete_or_cancelled_request_gets_none(data: bytes) -> None:
    assert run(data, end=True) == [b""]


def test_a_reset_connection_harms_no_other() -> None:
    async def main() -> None:
        async with listening() as port:
            for _ in range(5):
                client = socket.create_connection(("127.0.0.1", port))
                client.sendall(REQUEST + b"\r\n")
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                client.close()
            assert b"answer" in await talk(port, REQUEST + b"Connection: close\r\n\r\n")

    asyncio.run(main())
