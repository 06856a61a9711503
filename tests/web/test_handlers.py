from __future__ import annotations

import asyncio
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Query

from fststyle.errors import PhotoError
from fststyle.web.errors import UNKNOWN, Refusal
from fststyle.web.handlers import add_handlers
from fststyle.web.models import TrainRequest

router = APIRouter()


@router.get("/busy")
def busy() -> None:
    raise Refusal("Too many.", remedy="Try again.", code="queue_full")


@router.get("/damaged")
def damaged() -> None:
    raise PhotoError("{path} is damaged.", path="/srv/secret", code="damaged")


@router.get("/train")
def train(settings: Annotated[TrainRequest, Query()]) -> None:
    pass


@router.post("/train")
def start() -> None:
    pass


def ask(path: str, method: str = "GET") -> httpx.Response:
    app = FastAPI()
    app.include_router(router)
    app.state.api_routes = router.routes
    add_handlers(app)

    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path)

    return asyncio.run(main())


def test_errors_become_problems() -> None:
    answer = ask("/busy")
    assert answer.json() == {"error": "Too many. Try again.", "code": "queue_full"}
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    answer = ask("/damaged")
    assert (answer.status_code, answer.json()) == (422, {"error": UNKNOWN, "code": "damaged"})


@pytest.mark.parametrize(
    ("query", "fact"),
    [
        ("name=a&nam=b", "'nam'"),
        ("name=A", "lower-case"),
        ("name=a&minutes=-1", "minutes"),
        ("", "name"),
    ],
)
def test_wrong_settings_are_named(query: str, fact: str) -> None:
    answer = ask(f"/train?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "setting")
    assert fact in answer.json()["error"]


def test_all_methods_of_an_address_are_listed() -> None:
    answer = ask("/train", "DELETE")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    assert answer.json()["code"] == "wrong_method"
    assert ask("/nowhere").json()["code"] == "not_found"
