"""Numbers that the documentation states are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from training_help import compose

from fststyle.images.bundled import builtin_held_out, builtin_photos
from fststyle.images.limits import MAX_PIXELS
from fststyle.images.save import QUALITIES
from fststyle.runtime import tiling
from fststyle.styles.export import LOWEST_OPSET
from fststyle.styles.find import art_folder, zoo_folder
from fststyle.styles.shape import NetworkConfig, Upsample, layers, receptive_radius
from fststyle.stylize.strokes import WORKING_SIDE
from fststyle.stylize.stylizer import Stylizer
from fststyle.training.probes import small_probes
from fststyle.training.settings import read_loss
from fststyle.video.encoders import CRF, PRESET
from fststyle.video.video_stylizer import SMOOTHING, STEADY
from fststyle.web.connection import HEAD_SECONDS, MOST_CONNECTIONS
from fststyle.web.photos import _LARGE_PIXELS
from fststyle.web.uploads import _GRACE_SECONDS, _LOWEST_SPEED

ROOT = Path(__file__).resolve().parents[1]
RUNNER = (ROOT / "fststyle" / "web" / "page" / "runner.js").read_text(encoding="utf-8")
TENS = {10: "ten", 4: "four", 13: "13", 3: "three", 8: "eight"}


def number_in_runner(name: str) -> int:
    found = re.search(rf"const {name} = ([\d_]+);", RUNNER)
    assert found is not None
    return int(found[1])


def count(folder: Path, pattern: str) -> str:
    return TENS[len(list(folder.glob(pattern)))]


PROMISES = [
    ("README.md", f"the {count(zoo_folder(), '*.onnx')} trained networks in the"),
    ("README.md", f"random crops of {TENS[len(builtin_photos())]} photos"),
    ("docs/architecture.md", f"{count(art_folder(), '*.jpg')} artworks to use as styles"),
    ("docs/formats.md", f"images over {MAX_PIXELS // 10**6} megapixels are rejected"),
    ("docs/formats.md", f"yes: quality {QUALITIES['JPEG']}, 4:4:4"),
    ("docs/formats.md", f"yes: quality {QUALITIES['WEBP']}; animations"),
    ("docs/formats.md", f"yes: quality {QUALITIES['AVIF']}, 4:4:4; animations"),
    ("docs/guides/export.md", f"ONNX opset, {LOWEST_OPSET} or later"),
    ("docs/guides/page.md", f"limited to {number_in_runner('MAX_PIXELS') // 10**6} megapixels"),
    ("docs/guides/page.md", f"head of a request within {HEAD_SECONDS:g} seconds"),
    ("docs/guides/page.md", f"slower than {_LOWEST_SPEED / 1000:g} kB/s after"),
    ("docs/guides/page.md", f"after the first {_GRACE_SECONDS:g} seconds"),
    ("docs/guides/page.md", f"If {MOST_CONNECTIONS} connections are open"),
    (
        "docs/guides/page.md",
        f"Photos over {_LARGE_PIXELS // 10**6} megapixels are processed",
    ),
    ("docs/guides/photos.md", f"a long side over {WORKING_SIDE} pixels, it is the long side"),
    ("docs/guides/train.md", f"{TENS[len(small_probes().photos)]} test photos are stylised"),
    ("docs/guides/video.md", f"follow the motion in the video; default {STEADY:g}"),
    ("docs/guides/video.md", f"statistics are averaged; default {SMOOTHING:g}"),
    ("docs/guides/video.md", f"the default is {CRF}, with the preset {PRESET}"),
    ("docs/how_it_works.md", f"stride 2 and {NetworkConfig().width} filters"),
    ("docs/how_it_works.md", f"residual trunk has {NetworkConfig().trunk} channels"),
    ("docs/how_it_works.md", f"and the {TENS[len(builtin_held_out())]} held-out photos"),
    ("docs/large_photos.md", f"on more than {tiling.WHOLE_PIXELS // 10**6} megapixels"),
    ("docs/large_photos.md", f"of up to {tiling.SAMPLE_PIXELS // 10**6} megapixels, the sample is"),
    ("docs/large_photos.md", f"crops of {tiling._CROP} × {tiling._CROP} pixels"),
    ("docs/large_photos.md", f"the outer {tiling._INSET} pixels of each crop are not counted"),
    ("docs/large_photos.md", f"sides of up to {tiling.LARGEST_TILE} pixels"),
    (
        "docs/large_photos.md",
        f"({receptive_radius(NetworkConfig())} pixels for the default",
    ),
]


@pytest.mark.parametrize(("page", "promise"), PROMISES)
def test_numbers_of_the_pages(page: str, promise: str) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    assert promise in text


def test_limits_of_the_server() -> None:
    page = " ".join((ROOT / "docs" / "guides" / "page.md").read_text(encoding="utf-8").split())
    promised = {
        "--max-megabytes": "64 MB", "--max-upload-seconds": "60 seconds",
        "--max-megapixels": "64 megapixels per photo", "--max-seconds": "120 seconds of processing",
        "--jobs": "two photos at a time", "--queue": "32 running or waiting requests",
    }  # fmt: skip
    source = (ROOT / "fststyle" / "cli" / "serve.py").read_text(encoding="utf-8")
    for option, words in promised.items():
        assert re.search(rf"{words}[^(]*\(`{option}`", page)
        number = words.split()[0].replace("two", "2")
        assert re.search(rf'"{option}", {number},', source)


@pytest.mark.parametrize(
    ("setting", "default"),
    [
        ("loss.style_weight", 0.5),
        ("loss.style_sizes", (384,)),
        ("loss.palette_weight", 0.5),
        ("init", "nearest"),
        ("steady.weight", 1),
        ("steady.start", 0.3),
        ("seed", 0),
    ],
)
def test_defaults_of_a_training(setting: str, default: object) -> None:
    cfg = compose("style=thanos_poster", "output_dir=run")
    group, _, key = setting.rpartition(".")
    value = getattr(read_loss(cfg.loss), key) if group == "loss" else OmegaConf.select(cfg, setting)
    assert value == default
    page = (ROOT / "docs" / "guides" / "train.md").read_text(encoding="utf-8")
    shown = default[0] if isinstance(default, tuple) else default
    assert re.search(rf"^\| `{setting}=[^|]*\| {shown} \|", page, re.MULTILINE)


def test_lengths_of_a_training() -> None:
    lengths = {name: compose("style=thanos_poster", f"trainer={name}", "output_dir=run").trainer
               for name in ("standard", "quick", "full")}  # fmt: skip
    assert {name: trainer.minutes for name, trainer in lengths.items()} == {
        "standard": 10, "quick": 3, "full": 45
    }  # fmt: skip
    page = (ROOT / "docs" / "guides" / "train.md").read_text(encoding="utf-8")
    assert "train for 3 or 45 minutes" in page
    assert "| `minutes=10`, `steps=2000` | 10 minutes |" in page


def test_every_checkpoint_is_a_minute_apart() -> None:
    cfg = compose("style=thanos_poster", "output_dir=run")
    assert cfg.callbacks.checkpoint.every_seconds == 60
    page = (ROOT / "docs" / "guides" / "train.md").read_text(encoding="utf-8")
    assert "checkpoint is written every minute" in " ".join(page.split())


def multiplications(shape: NetworkConfig) -> float:
    """Return the multiplications of a network per pixel of the photo."""
    total, size = 0.0, 1.0
    parts = layers(shape)
    trunk = parts.residual * shape.residual_blocks
    for layer in (*parts.encoder, *trunk, *parts.decoder, parts.to_rgb):
        if isinstance(layer, Upsample):
            size *= layer.factor
        else:
            size /= layer.stride
            total += size**2 * layer.inputs * layer.outputs * layer.kernel**2
    return total


def test_multiplications_of_the_network_of_the_paper() -> None:
    network = compose("style=thanos_poster", "network=johnson", "output_dir=run").network
    paper = multiplications(NetworkConfig(**network))
    times = paper / multiplications(NetworkConfig())
    page = (ROOT / "docs" / "guides" / "train.md").read_text(encoding="utf-8")
    assert f"needs {times:.1f} times as many multiplications" in page


def test_photos_of_one_colour_give_the_same_flat_result() -> None:
    stylizer = Stylizer("great_wave", device="cpu")
    red, blue = (
        stylizer(np.full((64, 80, 3), colour, np.uint8)) for colour in ((200, 30, 30), (0, 0, 255))
    )
    assert np.ptp(red.reshape(-1, 3).astype(int), axis=0).max() <= 1
    np.testing.assert_allclose(red.astype(int), blue, atol=1)
