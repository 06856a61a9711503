from __future__ import annotations

import pytest
from errors_help import raises

from fststyle.errors import SettingError
from fststyle.perceptual.layers import canonical_layer, layer_names


def test_layer_names() -> None:
    assert " ".join(layer_names("vgg16")) == (
        "relu1_1 relu1_2 relu2_1 relu2_2 relu3_1 relu3_2 relu3_3 "
        "relu4_1 relu4_2 relu4_3 relu5_1 relu5_2 relu5_3"
    )
    assert set(layer_names("vgg19")) - set(layer_names("vgg16")) == {
        "relu3_4",
        "relu4_4",
        "relu5_4",
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [("relu1_1", "relu1_1"), ("block1_conv1", "relu1_1"), ("block5_conv3", "relu5_3")],
)
def test_both_names_of_a_layer(name: str, expected: str) -> None:
    assert canonical_layer(name) == expected


def test_vgg19_has_more_layers() -> None:
    assert canonical_layer("block5_conv4", "vgg19") == "relu5_4"
    with raises(SettingError, "unknown_layer", "VGG16", "block5_conv4"):
        canonical_layer("block5_conv4")
