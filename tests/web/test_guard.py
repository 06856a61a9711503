from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from starlette.types import Message, Receive, Send

from fststyle.web.guard import Guard

TOKEN = "a-token-of-many-letters"


async def _inside(scope: Any, receive: Receive, send: Send) -> None:
    if scope["path"] == "/broken":
        raise ZeroDivisionError("secret detail")
    headers = [(b"content-type", b"text/plain"), (b"cache-control", b"max-age=5")]
    headers.append((b"path", scope["path"].encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"inside"})


class Answer:
    def __init__(self, sent: list[Message]) -> None:
        self.status: int = sent[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        self.body: bytes = sent[1]["body"]
        self.path = self.headers.get("path")


def ask(
    path: str = "/",
    headers: Mapping[str, str] | None = None,
    *,
    token: str | None = None,
    query: str = "",
    method: str = "GET",
    fails: bool = False,
    origins: Sequence[str] = (),
) -> Answer:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    given = {"host": "localhost:8765", **(headers or {})}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    call = Guard(_inside, token, origins)(scope, receive, send)
    if fails:
        with pytest.raises(ZeroDivisionError):
            asyncio.run(call)
    else:
        asyncio.run(call)
    return Answer(sent)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8765", "[::1]:8765"])
def test_names_of_this_computer(host: str) -> None:
    assert ask(headers={"host": host}).body == b"inside"


@pytest.mark.parametrize("host", ["", "example.org", "localhost.example.org", "127.0.0.1.nip.io"])
def test_names_of_others(host: str) -> None:
    assert ask(headers={"host": host}).status == 421


def test_headers_are_added_and_own_ones_stay() -> None:
    headers = ask().headers
    assert headers["cache-control"] == "max-age=5"
    assert headers["x-content-type-options"] == "nosniff"
    assert "wasm-unsafe-eval" in headers["content-security-policy"]


def test_an_error_of_ours_says_nothing_to_clients() -> None:
    answer = ask("/broken", fails=True)
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert b"ZeroDivision" not in answer.body
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"cookie": "fststyle_token=wrong"},
        {"cookie": f"other={TOKEN}"},
        {"cookie": 'fststyle_token="\\'},
    ],
)
def test_without_the_token(headers: dict[str, str]) -> None:
    assert ask("/api/styles", headers, token=TOKEN).status == 401


@pytest.mark.parametrize(
    "headers",
    [{"authorization": f"Bearer {TOKEN}"}, {"cookie": f"a=b; fststyle_token={TOKEN}"}],
)
def test_with_the_token_any_host_will_do(headers: dict[str, str]) -> None:
    assert ask("/x", {"host": "192.0.2.1:8765", **headers}, token=TOKEN).body == b"inside"


def test_the_address_with_the_token_sets_the_cookie() -> None:
    answer = ask(token=TOKEN, query=f"token={TOKEN}")
    assert answer.status == 303
    assert answer.headers["location"] == "./"
    cookie, *flags = answer.headers["set-cookie"].lower().split("; ")
    assert cookie == f"fststyle_token={TOKEN}"
    assert sorted(flags) == ["httponly", "path=/", "samesite=strict"]
    assert ask(token=TOKEN, query="token=wrong").status == 401
    assert ask("/api/styles", token=TOKEN, query=f"token={TOKEN}").status == 401


def test_health_needs_no_token() -> None:
    assert ask("/healthz", token=TOKEN).body == b"inside"


def test_a_link_from_elsewhere_opens_the_page_but_reaches_no_api() -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert ask("/", link).status == 200
    assert ask("/api/stylize", link, method="POST").status == 403
    assert ask("/api/styles", {"sec-fetch-site": "cross-site"}).status == 403
    assert ask("/", {"origin": "http://localhost:8765"}).status == 200
    assert ask("/", {"origin": "http://localhost:1"}).status == 403


PUBLIC = ["https://example.org/art/", "http://localhost:9000/"]


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "example.org", "localhost", "localhost:9000"])
@pytest.mark.parametrize("origin", ["https://example.org", "http://localhost:9000"])
def test_a_page_behind_a_proxy(host: str, origin: str) -> None:
    headers = {"host": host, "origin": origin}
    answer = ask("/api/stylize", headers, method="POST", origins=PUBLIC)
    assert answer.body == b"inside"
    assert ask("/api/stylize", headers, method="POST", token=TOKEN, origins=PUBLIC).status == 401
    if origin.partition("://")[2] != host:
        answer = ask("/api/stylize", headers, method="POST")
        assert answer.status in (403, 421)
        assert b"--origin" in answer.body
        if answer.status == 403:
            assert f"--origin {origin}.".encode() in answer.body
            assert f"Host: {host}.".encode() in answer.body


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "other.example"},
        {"host": "other.example", "x-forwarded-host": "localhost"},
        {"origin": "http://example.org"},
        {"origin": "https://example.org:8443"},
        {"origin": "https://other.example", "x-forwarded-host": "other.example"},
        {"origin": "null"},
        {"origin": "https://example.org", "sec-fetch-site": "cross-site"},
    ],
)
def test_forwarded_headers_are_not_trusted(headers: dict[str, str]) -> None:
    answer = ask("/api/stylize", headers, method="POST", origins=PUBLIC)
    assert answer.status in (403, 421)


def test_a_sub_path_that_the_proxy_keeps() -> None:
    assert ask("/art/api/styles", origins=PUBLIC).path == "/api/styles"
    assert ask("/api/styles", origins=PUBLIC).path == "/api/styles"
    assert ask("/artist/x", origins=PUBLIC).path == "/artist/x"
    answer = ask("/art", origins=PUBLIC)
    assert (answer.status, answer.headers["location"]) == (308, "/art/")
    answer = ask("/art/", token=TOKEN, query=f"token={TOKEN}", origins=PUBLIC)
    assert (answer.status, answer.headers["location"]) == (303, "./")
