from __future__ import annotations

import copy
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dialled import make_dialled_network, save_dialled_style
from errors_help import raises
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from fststyle.errors import SettingError, StyleError
from fststyle.stylize.stylizer import Stylizer
from fststyle.transforms import RandomStylize

PHOTO = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (3, 12, 15), dtype=np.uint8))


@pytest.fixture(scope="module")
def expected(style_path: Path) -> torch.Tensor:
    return Stylizer(style_path, device="cpu")(PHOTO)


def test_certain_and_never(style_path: Path, expected: torch.Tensor) -> None:
    always = RandomStylize([style_path], p=1.0, strength=(1.0, 1.0))
    never = RandomStylize([style_path], p=0.0)
    assert torch.equal(always(PHOTO), expected)
    assert never(PHOTO) is PHOTO
    image = Image.fromarray(PHOTO.permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(np.asarray(always(image)), expected.permute(1, 2, 0).numpy())


def test_in_a_composition_with_labels_and_boxes(style_path: Path, expected: torch.Tensor) -> None:
    transform = v2.Compose(
        [
            RandomStylize([style_path], p=1.0, strength=(1.0, 1.0)),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    mask = tv_tensors.Mask(torch.ones(12, 15))
    sample = {"image": tv_tensors.Image(PHOTO), "mask": mask, "label": 7}
    actual = transform(sample)
    assert isinstance(actual["image"], tv_tensors.Image)
    torch.testing.assert_close(actual["image"].as_subclass(torch.Tensor), expected / 255)
    assert torch.equal(actual["mask"], mask)
    assert actual["label"] == 7
    batch = RandomStylize([style_path], p=1.0, strength=(1.0, 1.0))(PHOTO.expand(2, 2, 3, 12, 15))
    assert torch.equal(batch, expected.expand(2, 2, 3, 12, 15))


def test_seeds_repeat_and_other_randomness_is_left_alone(style_path: Path) -> None:
    transform = RandomStylize([style_path, style_path], p=0.5, strength=(0.2, 0.9))
    drawn = []
    for _ in range(2):
        torch.manual_seed(4)
        drawn.append([transform.make_params([]) for _ in range(400)])
    assert drawn[0] == drawn[1]
    styles = [params["style"] for params in drawn[0]]
    assert 150 < styles.count(None) < 250
    assert 60 < styles.count(1) < 140
    strengths = [params["strength"] for params in drawn[0]]
    assert 0.2 <= min(strengths) < 0.25
    assert 0.85 < max(strengths) <= 0.9


def test_strength_is_between_photo_and_style(style_path: Path, expected: torch.Tensor) -> None:
    half = RandomStylize([style_path], p=1.0, strength=(0.5, 0.5))(PHOTO)
    difference = half.float() - (PHOTO.float() + expected.float()) / 2
    assert difference.abs().max() <= 1


def test_copies_and_pickles(style_path: Path, expected: torch.Tensor) -> None:
    transform = RandomStylize([style_path], p=1.0, strength=(1.0, 1.0))
    transform(PHOTO)
    for twin in (pickle.loads(pickle.dumps(transform)), copy.deepcopy(transform)):
        assert torch.equal(twin(PHOTO), expected)
    assert "p=1.0" in repr(transform)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16, torch.uint16])
@pytest.mark.parametrize("shape", [(1, 28, 28), (2, 1, 9, 12), (3, 9, 12), (4, 9, 12)])
def test_results_of_tensors_can_be_collated(
    style_path: Path, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    transform = RandomStylize([style_path], p=0.5)
    image = v2.functional.to_dtype(torch.rand(shape), dtype, scale=True)
    results = [transform(image) for _ in range(12)]
    changed = [not torch.equal(result, image) for result in results]
    assert 0 < sum(changed) < 12
    assert torch.stack(results).shape == (12, *shape)
    assert {result.dtype for result in results} == {dtype}


MODES = {
    "1": "L", "L": "L", "LA": "LA", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB",
    "YCbCr": "RGB", "I;16": "I;16", "I": "I;16", "F": "F",
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_results_of_pillow_images_can_be_collated(style_path: Path, mode: str) -> None:
    transform = RandomStylize([style_path], p=0.5)
    ramp = np.linspace(0, 255, 12 * 15).reshape(12, 15).astype(np.uint8)
    image = Image.fromarray(ramp)
    if mode == "I;16":
        image = Image.fromarray(ramp.astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(ramp.astype(np.float32) / 255)
    elif mode == "I":
        image = Image.fromarray(ramp.astype(np.int32) * 257)
    else:
        image = image.convert("RGB" if mode == "CMYK" else mode).convert(mode)
    image.getexif()[0x0112] = 6
    results = [transform(image) for _ in range(12)]
    assert {(result.mode, result.size) for result in results} == {(MODES[mode], (12, 15))}
    assert len({result.tobytes() for result in results}) > 2
    never = RandomStylize([style_path], p=0)(image)
    expected = np.rot90(np.asarray(image), k=-1)
    if mode in ("L", "RGB", "I;16", "F", "I", "LA"):
        np.testing.assert_allclose(np.asarray(never).astype(float), expected, atol=1e-6)


def test_tensors_that_are_not_images_are_always_refused(style_path: Path) -> None:
    transform = RandomStylize([style_path], p=0)
    for tensor in (torch.rand(28, 28), torch.rand(2, 9, 9), torch.ones(3, 9, 9, dtype=torch.bool)):
        with pytest.raises(SettingError, match="channels"):
            transform(tensor)
    assert transform(torch.rand(0, 3, 9, 9)).shape == (0, 3, 9, 9)


FORKED = """
import sys, torch
from torch.utils.data import DataLoader
from fststyle.errors import SettingError
from fststyle.transforms import RandomStylize

class Photos:
    def __len__(self):
        return 6
    def __getitem__(self, index):
        return transform(photos[index])

def load():
    loader = DataLoader(
        Photos(), 3, num_workers=2, generator=torch.Generator().manual_seed(11), timeout=60,
        multiprocessing_context="fork",
    )
    return torch.cat(list(loader))

torch.set_num_threads(1)
photos = torch.randint(0, 256, (6, 3, 12, 15), dtype=torch.uint8)
transform = RandomStylize(sys.argv[1:], p=0.8, strength=(0.5, 1.0))
first, second = load(), load()
print(torch.equal(first, second), 1 <= (first != photos).flatten(1).any(1).sum() <= 6)
transform.p = 1.0
transform(photos[0])
try:
    load()
except SettingError as error:
    print('multiprocessing_context="spawn"' in str(error))
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_in_the_workers_of_a_data_loader(style_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", FORKED, str(style_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert (done.stdout, done.returncode) == ("True tensor(True)\nTrue\n", 0), done.stderr


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"styles": []}, SettingError),
        ({"styles": "ink_wash"}, SettingError),
        ({"styles": ["no_such_style"]}, StyleError),
        ({"p": 1.5}, SettingError),
        ({"strength": (0.8, 0.2)}, SettingError),
        ({"strength": (-0.1, 1.0)}, SettingError),
        ({"strength": (0.0, float("nan"))}, SettingError),
    ],
)
def test_bad_settings(style_path: Path, settings: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        RandomStylize(**{"styles": [style_path], **settings})


def test_strengths_of_a_dial(tmp_path: Path, style_path: Path) -> None:
    dialled = save_dialled_style(make_dialled_network(), tmp_path / "dialled.onnx")
    strong = RandomStylize([dialled], p=1.0, strength=(4.0, 4.0))(PHOTO)
    assert torch.equal(strong, Stylizer(dialled, device="cpu")(PHOTO, strength=4.0))
    assert not torch.equal(strong, Stylizer(dialled, device="cpu")(PHOTO))
    drawn = RandomStylize([dialled], p=1.0, strength=(1.0, 4.0))
    torch.manual_seed(0)
    strengths = [drawn.make_params([])["strength"] for _ in range(200)]
    assert 1 <= min(strengths) < 1.1 < 3.9 < max(strengths) <= 4
    for styles in (
        [style_path],
        [dialled, style_path],
        [{str(dialled): 0.5, str(style_path): 0.5}],
    ):
        with raises(SettingError, "no_dial", style_path):
            RandomStylize(styles, strength=(0.5, 1.5))
    with raises(SettingError, "setting", "4.5"):
        RandomStylize([dialled], strength=(1.0, 4.5))
