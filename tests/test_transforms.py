from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from fststyle.errors import SettingError, StyleError
from fststyle.stylizer import Stylizer
from fststyle.transforms import RandomStylize

PHOTO = torch.from_numpy(
    np.random.default_rng(1).integers(0, 256, (3, 12, 15), dtype=np.uint8)
)


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
    batch = RandomStylize([style_path], p=1.0, strength=(1.0, 1.0))(
        PHOTO.expand(2, 2, 3, 12, 15)
    )
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


class Photos(Dataset[torch.Tensor]):
    def __init__(self, transform: RandomStylize) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        return self.transform(PHOTO.roll(index, 2))


def test_in_the_workers_of_a_data_loader(style_path: Path) -> None:
    transform = RandomStylize([style_path], p=0.7, strength=(0.0, 1.0))
    Stylizer(style_path, device="cpu")(PHOTO)  # the process has stylised before it forks
    transform._stylizer(0)
    batches = []
    for _ in range(2):
        generator = torch.Generator().manual_seed(11)
        loader = DataLoader(Photos(transform), 3, num_workers=2, generator=generator, timeout=60)
        batches.append(torch.cat(list(loader)))
    assert batches[0].shape == (6, 3, 12, 15)
    assert torch.equal(batches[0], batches[1])
    changed = [
        not torch.equal(batches[0][index], PHOTO.roll(index, 2)) for index in range(6)
    ]
    assert any(changed)


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
def test_bad_settings(
    style_path: Path, settings: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        RandomStylize(**{"styles": [style_path], **settings})
