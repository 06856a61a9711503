from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from web_help import PATIENCE, encoded

from fststyle.styles.find import zoo_folder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="HOME and pwd are POSIX's")

# A user of whom the system knows nothing, as containers have them.
UNKNOWN_USER = """
import pwd

def getpwuid(number):
    raise KeyError(number)

pwd.getpwuid = getpwuid
"""


def test_the_page_works_without_a_home_folder(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(UNKNOWN_USER)
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("HOME", "USER", "LOGNAME") and not name.startswith("XDG_")
    }
    environment |= {"PYTHONPATH": str(tmp_path), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "fststyle", "serve", "--port", "0", "--no-browser"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, cwd=tmp_path
        )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().split()[-1]
        transport = httpx.HTTPTransport(retries=100)
        with httpx.Client(base_url=url, transport=transport, timeout=PATIENCE) as client:
            assert "<title>fststyle</title>" in client.get("").text
            assert client.get("config.json").json()["local"] is False
            assert client.get("ort/ort.js").status_code == 404
            styles = client.get("api/styles").json()["styles"]
            assert len(styles) == len(list(zoo_folder().glob("*.onnx")))
            query = {"style": "great_wave"}
            answer = client.post("api/stylize", content=encoded(1), params=query)
            assert answer.headers["content-type"] == "image/png", answer.text
            assert client.get("api/styles/unknown.onnx").status_code == 404
    finally:
        process.terminate()
        process.wait(PATIENCE)
        process.stdout.close()
    assert "Traceback" not in (tmp_path / "log").read_text()
