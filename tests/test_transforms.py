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
        ({"strength": (0.0, 2.0)}, SettingError),
    ],
)
def test_bad_settings(style_path: Path, settings: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        RandomStylize(**{"styles": [style_path], **settings})
