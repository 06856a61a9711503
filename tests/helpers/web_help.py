"""Shared by the tests of the page: a real server in a process of its own, and test images."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from fststyle.images.save import save_photo

PATIENCE = 120.0
"""Time limit for a process to respond, in seconds."""


@dataclass
class Server:
    """``fststyle serve`` on a free port. Its files are in ``folder``."""

    process: subprocess.Popen[str]
    url: str
    printed: str
    folder: Path

    @property
    def temporary(self) -> Path:
        """Folder for its temporary files."""
        return self.folder / "tmp"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def left_behind(self) -> list[Path]:
        # os.walk, because pathlib's rglob fails if a folder is deleted meanwhile.
        return [
            Path(folder, name) for folder, _, names in os.walk(self.temporary) for name in names
        ]

    def post(
        self, path: str, body: bytes, content_type: str = "image/png", **query: Any
    ) -> httpx.Response:
        headers = {"content-type": content_type}
        return httpx.post(
            self.url + path, content=body, headers=headers, params=query, timeout=PATIENCE
        )

    def stylize(self, body: bytes, content_type: str = "image/png", **query: Any) -> httpx.Response:
        return self.post("api/stylize", body, content_type, **{"style": "small", **query})


@contextlib.contextmanager
def running_server(folder: Path, style: Path, *arguments: str) -> Iterator[Server]:
    """Run a server until the end of the block.

    Args:
        folder: Folder for its files. It is created.
        style: A style file, which the server has as ``small``.
        arguments: More arguments of the command line.

    Yields:
        The server, as soon as it answers.
    """
    styles = folder / "data" / "fststyle" / "styles"
    styles.mkdir(parents=True)
    shutil.copy(style, styles / "small.onnx")
    (folder / "tmp").mkdir()
    # The cache is the user's own, for VGG's weights and onnxruntime-web.
    environment = {
        **os.environ,
        "XDG_DATA_HOME": str(folder / "data"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONWARNINGS": "",
    }
    command = [sys.executable, "-m", "fststyle", "serve", "--port", "0", "--no-browser"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
            cwd=folder,
        )
    assert process.stdout is not None
    try:
        printed = process.stdout.readline().strip()
        if not printed:
            raise RuntimeError(f"The server does not start: {(folder / 'log').read_text()}")
        url = printed.split()[-1].partition("?")[0]
        transport = httpx.HTTPTransport(retries=100)
        with httpx.Client(transport=transport, timeout=PATIENCE) as client:
            client.get(f"{url}healthz").raise_for_status()
        yield Server(process, url, printed, folder)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def picture(seed: int, height: int = 40, width: int = 48) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (height, width, 3)).astype(np.float32) / np.float32(255)


def encoded(seed: int, suffix: str = ".png", height: int = 40, width: int = 48) -> bytes:
    """Return an image file, which depends only on the arguments."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"picture{suffix}")
        save_photo(picture(seed, height, width), path)
        return path.read_bytes()
