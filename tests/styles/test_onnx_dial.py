"""Three ways to run a network with a dial: folded, with an input, and with a map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from dialled import make_dialled_network, save_dialled_style
from numpy.typing import NDArray

from fststyle.openvino_core import openvino_core
from fststyle.runtime.tiling import to_positions
from fststyle.styles.dial import dial_position, style_share
from fststyle.styles.onnx_dial import MappedNorm
from fststyle.styles.onnx_graph import build_model
from fststyle.styles.onnx_norms import InstanceNorm
from fststyle.styles.probe import openvino_runner
from fststyle.styles.style_file import load_style, read_style


def run_file(path: Path, **inputs: object) -> NDArray[np.float32]:
    """Run a style file as another program would, with ONNX's own interpreter."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(path))
    outputs: Any = evaluator.run(None, inputs)
    result: NDArray[np.float32] = np.asarray(outputs[0])
    return result


def run_torch(
    path: Path, photo: NDArray[np.float32], strength: Any, style: int = 0
) -> NDArray[np.float32]:
    network = load_style(path)[0]
    position: Any = torch.from_numpy(dial_position(strength))
    position = float(position) if position.ndim == 0 else position[None, None]
    share: Any = style_share(strength)
    with torch.inference_mode():
        result = network(torch.from_numpy(photo), position, style).numpy()
    blended: NDArray[np.float32] = photo + np.float32(share) * (result - photo)
    return blended


def photo_of(height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((1, 3, height, width), np.float32)


@pytest.mark.parametrize("first_stride", [1, 2])
@pytest.mark.parametrize("styles", [1, 2])
def test_folded_and_input_give_torchs_result(
    first_stride: int, styles: int, tmp_path: Path
) -> None:
    network = make_dialled_network(first_stride, styles=styles)
    path = save_dialled_style(network, tmp_path / "a.onnx", strength=2.0)
    onnx.checker.check_model(str(path), full_check=True)
    photo = photo_of(22, 29)
    for strength in (0.0, 0.1, 0.25, 1.0, 3.0, 4.0):
        for style in range(styles):
            expected = run_torch(path, photo, strength, style)
            inputs: dict[str, object] = {"strength": np.array([strength], np.float32)}
            if styles > 1:
                inputs["style"] = np.array(style)
            actual = run_file(path, photo=photo, **inputs)
            np.testing.assert_allclose(actual, expected, atol=2e-5)
            if strength >= 0.25:
                folded = read_style(path).selected(f"style_{style}").folded(strength)
                run = openvino_runner(folded.model)
                np.testing.assert_allclose(run(photo), expected, atol=2e-5)
    np.testing.assert_array_equal(run_file(path, photo=photo, strength=np.zeros(1, "f")), photo)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_other_runners_use_the_recommended_strength(engine: str, tmp_path: Path) -> None:
    path = save_dialled_style(make_dialled_network(), tmp_path / "a.onnx", strength=3.0)
    photo = photo_of(40, 31)
    if engine == "openvino":
        actual = openvino_runner(path.read_bytes())(photo)
    else:
        onnxruntime = pytest.importorskip("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options)
        assert [value.name for value in session.get_inputs()] == ["photo"]
        assert [value.name for value in session.get_overridable_initializers()] == ["strength"]
        actual = session.run(None, {"photo": photo})[0]
        other = session.run(None, {"photo": photo, "strength": np.full(1, 0.5, np.float32)})[0]
        np.testing.assert_allclose(other, run_torch(path, photo, 0.5), atol=2e-5)
    np.testing.assert_allclose(actual, run_torch(path, photo, 3.0), atol=2e-5)


@pytest.mark.parametrize("first_stride", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(5, 6), (9, 11), (22, 29), (64, 64)])
@pytest.mark.parametrize("merged", [False, True])
def test_map_gives_torchs_result(
    merged: bool, first_stride: int, height: int, width: int, tmp_path: Path
) -> None:
    path = save_dialled_style(make_dialled_network(first_stride), tmp_path / "a.onnx")
    photo = photo_of(height, width)
    strength = 0.25 + 3.75 * np.random.default_rng(1).random((height, width), np.float32)
    content, parameters = read_style(path).separated()
    norm = MappedNorm(InstanceNorm(), content.network, parameters)
    model = build_model(content.network, content.weights, norm, merged=merged)
    onnx.checker.check_model(model, full_check=True)
    core = openvino_core()
    read = core.read_model(model.SerializeToString(), b"")
    compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    actual = compiled([photo, to_positions(dial_position(strength))])[0]
    np.testing.assert_allclose(actual, run_torch(path, photo, strength), atol=2e-5)
    # A map that is the same everywhere is one strength.
    even = to_positions(dial_position(np.full((height, width), 3, np.float32)))
    np.testing.assert_allclose(compiled([photo, even])[0], run_torch(path, photo, 3.0), atol=2e-5)
