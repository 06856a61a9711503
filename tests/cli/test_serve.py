from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from web_help import encoded, running_server

from fststyle.cli import main as cli
from fststyle.perceptual.vgg import VGGWeights


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(["serve", "--no-browser", *arguments])
    assert isinstance(stop.value.code, int)
    return stop.value.code


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert run("--port", str(other.getsockname()[1])) == 1
    assert "another --port" in capsys.readouterr().err


def test_an_address_of_another(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--host", "192.0.2.1", "--port", "0") == 1
    assert "--" in capsys.readouterr().err


@pytest.mark.parametrize("token", ["short", "with a newline\nin the middle", "semi;colon" * 3])
def test_a_token_that_is_none(token: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--port", "0", "--token", token) == 1
    assert "at least 16 letters" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["example.org", "ftp://x", "https://", "https://a/?b", "http://["])
def test_an_origin_that_is_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--origin", text) == 2
    assert "not the address of a page" in capsys.readouterr().err


def test_what_a_training_could_not_begin_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--training", "foo") == 1
    assert "--training expects KEY=VALUE" in capsys.readouterr().err
    assert run("--vgg-weights", "none.pth") == 1
    assert "Cannot find the VGG weights none.pth" in capsys.readouterr().err


def test_elsewhere_a_token_is_asked_for(style_path: Path, tmp_path: Path) -> None:
    arguments = ["--host", "0.0.0.0", "--no-jobs", "--threads", "1"]
    with running_server_on_loopback(tmp_path, style_path, *arguments) as (url, token):
        assert len(token) >= 32
        assert httpx.get(f"{url}api/styles").status_code == 401
        assert httpx.get(url).status_code == 401
        headers = {"authorization": f"Bearer {token}"}
        assert httpx.get(f"{url}api/styles", headers=headers).status_code == 200
        with httpx.Client(follow_redirects=True) as browser:
            assert "<title>fststyle</title>" in browser.get(f"{url}?token={token}").text
            answer = browser.post(
                f"{url}api/stylize?style=small",
                content=encoded(1),
                headers={"content-type": "image/png"},
            )
            assert answer.status_code == 200
            # There are no jobs here.
            refused = browser.post(f"{url}api/train?name=a", content=b"")
            assert (refused.status_code, refused.json()["code"]) == (403, "no_jobs")
            assert browser.get(f"{url}api/jobs").status_code == 403
            assert browser.get(f"{url}config.json").json()["jobs"] is False


class running_server_on_loopback:  # noqa: N801 - it reads as a function
    """A server that listens everywhere, called by this computer's own address."""

    def __init__(self, folder: Path, style: Path, *arguments: str) -> None:
        self._server = running_server(folder / "server", style, *arguments)

    def __enter__(self) -> tuple[str, str]:
        server = self._server.__enter__()
        port = server.url.rpartition(":")[2]
        return f"http://127.0.0.1:{port}", server.printed.rpartition("?token=")[2]

    def __exit__(self, *error: Any) -> None:
        self._server.__exit__(*error)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_it_ends_cleanly_by_a_signal(number: str, style_path: Path, tmp_path: Path) -> None:
    with running_server(tmp_path / "server", style_path) as server:
        server.process.send_signal(signal.Signals[number])
        status = server.process.wait(60)
        assert status in (0, 128 + signal.SIGINT, 128 + signal.SIGTERM)
        assert list(server.temporary.iterdir()) == []
        assert "Traceback" not in server.log


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_it_ends_cleanly_while_a_job_is_followed(
    style_path: Path, tmp_path: Path, original_weights: VGGWeights
) -> None:
    with running_server(tmp_path / "server", style_path) as server:
        job = server.post("api/optimize", encoded(1), style="ink_wash", iterations=500).json()
        with httpx.stream("GET", f"{server.url}api/jobs/{job['id']}/events", timeout=60) as told:
            assert "getting" not in next(told.iter_lines())
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(60) == 0
        assert server.log == "Press Ctrl-C to stop.\n"
        assert list(server.temporary.iterdir()) == []


def test_without_jobs_they_are_refused(style_path: Path, tmp_path: Path) -> None:
    with running_server(tmp_path / "server", style_path, "--no-jobs") as server:
        answers = [server.post(f"api/{kind}", encoded(1)) for kind in ("train", "optimize")]
        answers.append(httpx.get(f"{server.url}api/jobs"))
        assert [(a.status_code, a.json()["code"]) for a in answers] == [(403, "no_jobs")] * 3


def test_help_names_the_extra() -> None:
    command = [sys.executable, "-m", "fststyle", "serve", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert "fststyle[web]" in done.stdout
