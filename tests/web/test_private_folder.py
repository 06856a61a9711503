from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest
from web_help import encoded, running_server

from fststyle.web.private_folder import private_folder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks of folders are POSIX's")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_the_folder_is_private_and_removed(temporary: Path) -> None:
    with private_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "upload").write_bytes(b"x")
    assert list(temporary.iterdir()) == []


def test_only_folders_of_killed_servers_are_removed(temporary: Path, tmp_path: Path) -> None:
    (temporary / "fststyle-serve-abandoned" / "job").mkdir(parents=True)
    (temporary / "fststyle-serve-file").touch()
    (temporary / "other").mkdir()
    precious = tmp_path / "precious"
    precious.mkdir()
    (temporary / "fststyle-serve-link").symlink_to(precious)
    with private_folder() as first, private_folder() as second:
        names = {path.name for path in temporary.iterdir()}
        others = {"fststyle-serve-file", "fststyle-serve-link", "other"}
        assert names == {first.name, second.name, *others}
    assert precious.is_dir()


def test_two_servers_at_once_keep_each_others_folders(style_path: Path, tmp_path: Path) -> None:
    with running_server(tmp_path / "one", style_path, "--threads", "1") as one:
        command = [sys.executable, "-m", "fststyle", "serve", "--port", "0", "--no-browser"]
        environment = {**os.environ, "TMPDIR": str(one.temporary)}
        other = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        assert other.stdout is not None
        url = other.stdout.readline().split()[-1]
        with httpx.Client(transport=httpx.HTTPTransport(retries=100)) as client:
            client.get(f"{url}healthz").raise_for_status()
        assert one.stylize(encoded(1)).status_code == 200
        assert len(list(one.temporary.iterdir())) == 2
        other.kill()
        other.wait()
        other.stdout.close()
        assert one.stylize(encoded(1)).status_code == 200
