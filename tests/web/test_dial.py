"""The API and the exported page with a style that has a dial."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from dialled import make_dialled_network, save_dialled_style
from errors_help import raises
from web_help import encoded, picture, running_server

from fststyle.cli import main as cli
from fststyle.images.save import save_photo
from fststyle.styles import dial
from fststyle.styles.probe import openvino_runner
from fststyle.styles.style_file import read_style
from fststyle.web.errors import Refusal
from fststyle.web.networks import Networks, browser_model, list_networks
from fststyle.web.page_files import page_folder


@pytest.fixture
def dialled(styles: Path) -> Path:
    """A style with a dial, next to a style without one."""
    return save_dialled_style(make_dialled_network(), styles / "dialled.onnx", strength=2.0)


@pytest.mark.usefixtures("dialled")
def test_list_of_styles() -> None:
    facts = {s.name: (s.dial, s.recommended_strength) for s in list_networks()}
    assert facts["dialled"] == (True, 2.0)
    assert facts["small"] == (False, 1.0)


def test_memory_of_all_strengths_counts(dialled: Path) -> None:
    """A style with a dial keeps a network for each of the last strengths."""
    networks = Networks(1, max_bytes=100_000_000)
    networks.stylizer("small", 200_000)
    networks.stylizer("dialled", 200_000)  # 35 MB for each of 4 strengths
    assert list(networks._loaded) == []
    networks = Networks(1, max_bytes=150_000_000)
    networks.stylizer("small", 200_000)
    networks.stylizer("dialled", 200_000)
    assert list(networks._loaded) == ["dialled"]


def test_network_for_browsers(dialled: Path, styles: Path) -> None:
    assert browser_model("small") == (styles / "small.onnx").read_bytes()
    model = onnx.load_from_string(browser_model("dialled"))
    assert [value.name for value in model.graph.input] == ["photo", "position"]
    dialled.write_bytes(b"nothing")
    with raises(Refusal, "damaged", "dialled"):
        browser_model("dialled")
    with raises(Refusal, "unknown_style", "other"):
        browser_model("other")


def test_server(style_path: Path, tmp_path: Path) -> None:
    strength_map, photo, target = (tmp_path / f"{n}.png" for n in ("map", "photo", "target"))
    save_photo(picture(3, 20, 30), strength_map)
    photo.write_bytes(encoded(2))
    with running_server(tmp_path / "server", style_path, "--threads", "1") as server:
        path = server.folder / "data" / "fststyle" / "styles" / "dialled.onnx"
        save_dialled_style(make_dialled_network(), path)
        listed = {s["name"]: s for s in httpx.get(f"{server.url}api/styles").json()["styles"]}
        assert (listed["dialled"]["dial"], listed["small"]["dial"]) == (True, False)
        response = httpx.post(
            f"{server.url}api/stylize",
            params={"style": "dialled", "strength": 4},
            files={
                "photo": ("x", photo.read_bytes(), "image/png"),
                "strength_map": ("y", strength_map.read_bytes(), "image/png"),
            },
        )
        model = httpx.get(f"{server.url}styles/dialled.onnx").content
        assert httpx.get(f"{server.url}styles/other.onnx").status_code == 404
        assert httpx.get(f"{server.url}styles/..%2Fsmall.onnx").status_code in (404, 422)
    assert model == read_style(path).with_position()
    command = ["stylize", str(photo), "--style", str(path), "-o", str(target), "--threads", "1"]
    with pytest.raises(SystemExit):
        cli.main([*command, "--strength", "4", "--strength-map", str(strength_map)])
    assert response.content == target.read_bytes()


def test_one_position_for_all_pixels(dialled: Path) -> None:
    """Other runners may set the dial without a map."""
    from onnx.reference import ReferenceEvaluator

    content = read_style(dialled)
    photo = np.random.default_rng(0).random((1, 3, 22, 29), np.float32)
    expected = openvino_runner(content.folded(2.0).model)(photo)
    inputs = {"photo": photo, "position": np.full((1, 1, 1, 1), 2, np.float32)}
    model = onnx.load_from_string(content.with_position())
    outputs: Any = ReferenceEvaluator(model).run(None, inputs)
    np.testing.assert_allclose(outputs[0], expected, atol=2e-5)


@pytest.mark.parametrize("name", ["runner.js", "strength.js"])
def test_range_of_the_scripts(name: str) -> None:
    script = (page_folder() / name).read_text()
    found = re.search(r"const STRONGEST = ([\d.]+);", script)
    assert found is not None
    assert float(found[1]) == dial.STRONGEST
