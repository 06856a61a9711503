from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from starlette.types import Message, Receive, Send

from fststyle.web.guard import Guard

TOKEN = "a-token-of-many-letters"


async def _inside(scope: Any, receive: Receive, send: Send) -> None:
    if scope["path"] == "/broken":
        raise ZeroDivisionError("secret detail")
    headers = [(b"content-type", b"text/plain"), (b"cache-control", b"max-age=5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"inside"})


class Answer:
    def __init__(self, sent: list[Message]) -> None:
        self.status: int = sent[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        self.body: bytes = sent[1]["body"]


def ask(
    path: str = "/",
    headers: Mapping[str, str] | None = None,
    *,
    token: str | None = None,
    query: str = "",
    method: str = "GET",
    fails: bool = False,
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
    call = Guard(_inside, token)(scope, receive, send)
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
