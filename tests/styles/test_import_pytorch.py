"""The original networks are written again here, as their repositories describe them."""

from __future__ import annotations

import os
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from errors_help import raises
from networks import GROW, Weights, random_weights
from torch import Tensor
from torch.nn import functional as F

from fststyle.errors import StyleError
from fststyle.runtime.runner import load_runtime
from fststyle.styles import import_pytorch as checkpoints
from fststyle.styles.import_pytorch import read_checkpoint
from fststyle.styles.info import StyleInfo
from fststyle.styles.style_file import load_style, save_style

MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


def original(kind: str, weights: Weights, photo: Tensor) -> Tensor:
    """Return the original program's result for a photo, before it is rounded to bytes.

    Args:
        photo: ``(3, H, W)`` in [0, 1].

    Returns:
        The picture in [0, 1], of the size that theirs has: a multiple of 4.
    """

    def convolution(name: str, hidden: Tensor, stride: int = 1) -> Tensor:
        kernel = weights[f"{name}.weight"]
        hidden = F.pad(hidden, [kernel.shape[-1] // 2] * 4, mode="reflect")
        return F.conv2d(hidden, kernel, weights[f"{name}.bias"], stride)

    def norm(name: str, hidden: Tensor) -> Tensor:
        mean = hidden.mean((2, 3), keepdim=True)
        variance = hidden.var((2, 3), correction=0, keepdim=True)
        gain, shift = (weights[f"{name}.{w}"][:, None, None] for w in ("weight", "bias"))
        return (hidden - mean) / (variance + 1e-5).sqrt() * gain + shift

    def upsample(hidden: Tensor) -> Tensor:
        return hidden.repeat_interleave(2, 2).repeat_interleave(2, 3)

    hidden = 255 * photo[None] if kind == "pytorch" else (photo[None] - MEAN) / STD
    for number in (1, 2, 3):
        hidden = convolution(f"conv{number}.conv2d", hidden, 1 if number == 1 else 2)
        hidden = norm(f"in{number}", hidden).relu()
    for block in range(1, 1 + sum(key.endswith(".conv1.conv2d.bias") for key in weights)):
        inner = norm(f"res{block}.in1", convolution(f"res{block}.conv1.conv2d", hidden)).relu()
        hidden = hidden + norm(f"res{block}.in2", convolution(f"res{block}.conv2.conv2d", inner))
    first, second, last = GROW[kind]
    hidden = norm("in4", convolution(first, upsample(hidden))).relu()
    hidden = norm("in5", convolution(second, upsample(hidden))).relu()
    (picture,) = convolution(last, hidden)
    picture = picture / 255 if kind == "pytorch" else picture * STD + MEAN
    clamped: Tensor = picture.clamp(0, 1)
    return clamped


def saved(path: Path, content: object, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.fixture(params=sorted(GROW))
def kind(request: pytest.FixtureRequest) -> str:
    return cast(str, request.param)


@pytest.fixture
def small(kind: str) -> Weights:
    return random_weights(kind, width=4, trunk=8, blocks=2)


@pytest.mark.parametrize(("height", "width"), [(64, 48), (61, 43), (34, 33), (7, 30), (9, 5)])
def test_results_equal_the_originals(kind: str, height: int, width: int, tmp_path: Path) -> None:
    weights = random_weights(kind)
    network = read_checkpoint(saved(tmp_path / "a.pth", weights)).network
    photo = torch.rand(3, height, width, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        actual = network(photo[None])[0]
        expected = original(kind, weights, photo)[:, :height, :width]
    assert (actual - expected).abs().max() < 0.1 / 255
    assert ((expected > 0) & (expected < 1)).float().mean() > 0.05
    assert expected.std() > 0.02


def test_style_file_gives_the_originals_results(kind: str, tmp_path: Path) -> None:
    weights = random_weights(kind, width=8, trunk=16, blocks=2)
    checkpoint = read_checkpoint(saved(tmp_path / "a.pth", weights))
    save_style(checkpoint.network, StyleInfo("a"), tmp_path / "a.onnx")
    again, _ = load_style(tmp_path / "a.onnx")
    photo = torch.rand(3, 61, 43, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        expected = original(kind, weights, photo)[:, :61, :43]
        assert (again(photo[None])[0] - expected).abs().max() < 1 / 255
    picture = load_runtime(tmp_path / "a.onnx", device="cpu")(photo.permute(1, 2, 0).numpy())
    assert np.abs(picture - expected.permute(1, 2, 0).numpy()).mean() < 0.02  # in bfloat16


def _old_format(path: Path, weights: Weights) -> Path:
    return saved(path, OrderedDict(weights), _use_new_zipfile_serialization=False)


def _old_norms(path: Path, weights: Weights) -> Path:
    norms = [
        key.removesuffix(".weight")
        for key in weights
        if key.endswith(".weight") and weights[key].ndim == 1
    ]
    more = {f"{norm}.running_mean": torch.zeros(4) for norm in norms}
    more |= {key.replace("mean", "var"): value for key, value in more.items()}
    more |= {f"{n}.num_batches_tracked": torch.tensor(7) for n in norms}
    return saved(path, OrderedDict(weights | more), _use_new_zipfile_serialization=False)


def _half(path: Path, weights: Weights) -> Path:
    return saved(path, {key: value.half() for key, value in weights.items()})


def _parallel(path: Path, weights: Weights) -> Path:
    return saved(path, {f"module.{key}": value for key, value in weights.items()})


def _with_metadata(path: Path, weights: Weights) -> Path:
    state = {"param_groups": [{"lr": 1e-3}], "state": {0: {"step": 3}}}
    return saved(
        path,
        {
            "commit_hash": "abc",
            "style_weight": 4e5,
            "num_of_datapoints": 66_000,
            "state_dict": weights,
            "optimizer_state": state,
        },
    )


@pytest.mark.parametrize("save", [_old_format, _old_norms, _half, _parallel, _with_metadata])
def test_forms_of_a_checkpoint(
    save: Callable[[Path, Weights], Path], kind: str, small: Weights, tmp_path: Path
) -> None:
    expected = read_checkpoint(saved(tmp_path / "a.pth", small))
    actual = read_checkpoint(save(tmp_path / "b.pth", small))
    assert kind in actual.project
    for key, value in expected.network.state_dict().items():
        torch.testing.assert_close(actual.network.state_dict()[key], value, rtol=2e-3, atol=2e-3)
    facts = {"style_weight": 4e5, "num_of_datapoints": 66_000}
    assert actual.facts == (facts if save is _with_metadata else {})


def _without_last(weights: Weights) -> object:
    return {key: value for key, value in weights.items() if not key.startswith("in5")}


def _with_more(weights: Weights) -> object:
    return weights | {"att.weight": torch.zeros(3)}


def _transposed(weights: Weights) -> object:
    return weights | {"in3.weight": weights["in3.weight"][:-1]}


def _integers(weights: Weights) -> object:
    return weights | {"in3.weight": weights["in3.weight"].long()}


def _text(weights: Weights) -> object:
    return weights | {"in3.weight": "8"}


def _no_kernel(weights: Weights) -> object:
    return weights | {"conv1.conv2d.weight": torch.zeros(3)}


def _sparse(weights: Weights) -> object:
    return weights | {"in3.weight": weights["in3.weight"].to_sparse()}


def _meta(weights: Weights) -> object:
    return weights | {"in3.weight": weights["in3.weight"].to("meta")}


def _other(weights: Weights) -> object:
    return {"features.0.weight": torch.zeros(3), "features.0.bias": torch.zeros(3)}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (_without_last, "in5.weight should have the shape 4, but is nothing"),
        (_with_more, "it also has 'att.weight'"),
        (_transposed, "in3.weight should have the shape 8, but is 7 of torch.float32"),
        (_integers, "in3.weight should have the shape 8, but is 8 of torch.int64"),
        (_text, "in3.weight should have the shape 8, but is a str"),
        (_no_kernel, "0 and 8 filters"),
        (_sparse, ""),
        (_meta, "another kind of network"),
        (_other, "2 values (features.0.weight, features.0.bias)"),
        (lambda weights: {}, "0 values (nothing)"),
        (lambda weights: list(weights.values()), "a list"),
        (lambda weights: torch.zeros(3), "a Tensor"),
    ],
)
@pytest.mark.parametrize("kind", ["pytorch"], indirect=True)
def test_other_networks_are_refused(
    change: Callable[[Weights], object], found: str, small: Weights, tmp_path: Path
) -> None:
    path = saved(tmp_path / "a.pth", change(small))
    with pytest.raises(StyleError) as caught:
        read_checkpoint(path)
    # Some versions of torch do not load sparse tensors.
    assert caught.value.code in {"other_network", "damaged" if change is _sparse else ""}
    for fact in (found, path, "pytorch/examples"):
        assert str(fact) in str(caught.value)
    assert "\n" not in str(caught.value)


class _Bomb:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("new", [True, False])
def test_code_is_not_executed(new: bool, tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    saved(path, {"x": _Bomb(tmp_path / "executed")}, _use_new_zipfile_serialization=new)
    with raises(StyleError, "unsafe", path):
        read_checkpoint(path)
    assert not (tmp_path / "executed").exists()


def test_whole_modules_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "module.pth", torch.nn.Linear(2, 2))
    with raises(StyleError, "unsafe", path, "state_dict()"):
        read_checkpoint(path)


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("kind", ["pytorch"], indirect=True)
def test_truncated_checkpoints_are_refused(new: bool, small: Weights, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", small, _use_new_zipfile_serialization=new)
    data = path.read_bytes()
    for share in (0.0, 0.01, 0.3, 0.7, 0.999):
        path.write_bytes(data[: int(share * len(data))])
        with raises(StyleError, "damaged"):
            read_checkpoint(path)


@pytest.mark.parametrize("content", [b"no checkpoint", b"PK\x03\x04 no archive", bytes(4096)])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with raises(StyleError, "damaged"):
        read_checkpoint(tmp_path / "a.pth")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with raises(StyleError, "not_found", "a.pth"):
        read_checkpoint(tmp_path / "a.pth")
    with raises(StyleError, "cannot_read", tmp_path):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("kind", ["pytorch"], indirect=True)
def test_archive_that_unpacks_to_too_much(
    small: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "a.pth", small | {"conv1.conv2d.weight": torch.zeros(4, 3, 99, 99)})
    packed = tmp_path / "packed.pth"
    with (
        zipfile.ZipFile(path) as archive,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in archive.infolist():
            bomb.writestr(entry.filename, archive.read(entry))
    monkeypatch.setattr(checkpoints, "MAX_BYTES", 200_000)
    assert packed.stat().st_size < 200_000
    for large in (path, packed):
        with raises(StyleError, "too_large", large):
            read_checkpoint(large)
