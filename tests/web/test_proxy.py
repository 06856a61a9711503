"""The server behind a small proxy that treats headers and paths as nginx and Caddy do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from web_help import Server, encoded, running_server

OUTSIDE = "https://example.org"
TOKEN = "a-token-of-many-letters"


@pytest.fixture(scope="module", params=["open", "token"])
def server(
    request: pytest.FixtureRequest, style_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("behind")
    options = ["--threads", "1", "--origin", "https://EXAMPLE.org:443/art"]
    options += ["--token", TOKEN] if request.param == "token" else []
    with running_server(folder, style_path, *options) as server:
        yield server
    assert "Traceback" not in server.log


class Proxy:
    """A proxy for ``https://example.org/art/``.

    Args:
        target: Address of the server.
        host: The header ``Host`` that the server gets: as from the browser, without the port, or
            that of the server (the default of nginx).
        keeps_path: Whether the server gets the path with ``/art``.
    """

    def __init__(self, target: str, host: str, keeps_path: bool) -> None:
        upstream = urlsplit(target)
        given = {"browser": "example.org:443", "name": "example.org", "server": upstream.netloc}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path if keeps_path else self.path.removeprefix("/art")
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", 0)))
                headers |= {"host": given[host], "connection": "close", "x-real-ip": "192.0.2.1"}
                headers |= {"x-forwarded-for": "192.0.2.1", "x-forwarded-host": "example.org"}
                answer = httpx.request(
                    self.command, f"http://{upstream.netloc}{path}", headers=headers, content=body
                )
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    if name not in ("connection", "transfer-encoding"):
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.content)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/art/"

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever).start()
        return self.url

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.parametrize("keeps_path", [False, True])
@pytest.mark.parametrize("host", ["browser", "name", "server"])
def test_the_page_works_behind_a_proxy(server: Server, host: str, keeps_path: bool) -> None:
    with Proxy(server.url, host, keeps_path) as url, httpx.Client(timeout=60) as browser:
        if TOKEN in server.printed:
            assert browser.get(f"{url}config.json").status_code == 401
            answer = browser.get(f"{url}?token={TOKEN}")
            assert answer.headers["location"] == "./"
            # The cookie is for all paths, as browsers are told.
            browser.headers["cookie"] = answer.headers["set-cookie"].partition(";")[0]
        assert "<title>fststyle</title>" in browser.get(url).text
        assert browser.get(f"{url}app.js").status_code == 200
        assert browser.get(f"{url}config.json").json()["server"] is True
        result = browser.post(
            f"{url}api/stylize?style=small",
            files={"photo": ("x.png", encoded(1), "image/png")},
            headers={"origin": OUTSIDE},
        )
        assert result.headers["content-type"] == "image/png", result.text


def test_a_proxy_that_is_not_known_is_named(style_path: Path, tmp_path: Path) -> None:
    with running_server(tmp_path / "server", style_path, "--threads", "1") as server:
        for host, status, word in (("server", 403, f"--origin {OUTSIDE}."), ("name", 421, "URL")):
            with Proxy(server.url, host, False) as url:
                answer = httpx.post(f"{url}api/stylize?style=small", headers={"origin": OUTSIDE})
                assert answer.status_code == status
                assert word in answer.json()["error"]
                assert "proxy" in answer.json()["error"]
