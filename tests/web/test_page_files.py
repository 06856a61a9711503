from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from errors_help import raises

from fststyle.errors import SettingError
from fststyle.web import page_files as pagefiles
from fststyle.web.page_files import ORT_FILES, export_page, ort_folder, page_config, page_files


@pytest.fixture
def fake_ort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ort_folder().mkdir(parents=True)
    for name in ORT_FILES.values():
        (ort_folder() / name).write_text(name)


def test_the_page_asks_for_nothing_that_is_not_there() -> None:
    files = page_files()
    sources = {name: path.read_text() for name, path in files.items() if path.suffix != ".png"}
    for name, text in sources.items():
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in text
        for asked in re.findall(r'from "\./([^"]+)"|(?:src|href)="([^"#]+\.\w+)"', text):
            (wanted,) = filter(None, asked)
            assert wanted in files or wanted in ("ort/ort.js", "api/openapi.json"), name


def test_the_page_has_no_inline_script_or_style() -> None:
    html = page_files()["index.html"].read_text()
    assert re.findall(r"<script(?![^>]*src=)", html) == []
    assert "<style" not in html
    assert re.findall(r"\s(?:on\w+|style)=", html) == []


def test_config_tells_whether_styles_run_in_the_browser(fake_ort: None, tmp_path: Path) -> None:
    assert page_config()["local"] is True
    (ort_folder() / "ort.js").unlink()
    assert page_config(server=True)["local"] is False


@pytest.mark.usefixtures("fake_ort")
def test_export(tmp_path: Path) -> None:
    folder = tmp_path / "site" / "page"
    for _ in range(2):  # a second time into its own folder
        count = export_page(folder)
    styles = json.loads((folder / "styles.json").read_text())["styles"]
    assert count == len(styles) >= 4
    for style in styles:
        assert (folder / "styles" / f"{style['name']}.onnx").stat().st_size == style["bytes"]
    assert {path.name for path in (folder / "ort").iterdir()} == set(ORT_FILES.values())
    config = json.loads((folder / "config.json").read_text())
    assert (config["server"], config["jobs"], config["local"]) == (False, False, True)
    html = (folder / "index.html").read_text()
    assert "default-src 'none'" in html
    assert "frame-ancestors" not in html  # which only a header can say
    for name in page_files():
        assert (folder / name).is_file()


@pytest.mark.usefixtures("fake_ort")
def test_export_leaves_other_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").touch()
    with raises(SettingError, "not_empty", tmp_path):
        export_page(tmp_path)
    with raises(SettingError, "not_a_folder"):
        export_page(tmp_path / "precious.txt")


def test_export_needs_the_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with raises(SettingError, "missing_runtime", "scripts/vendor_ort.py"):
        export_page(tmp_path / "site")
    assert pagefiles.ort_files() == {}
