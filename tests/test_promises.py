"""Numbers that the documentation states are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from training_help import compose

from fststyle.images.bundled import builtin_held_out, builtin_photos
from fststyle.images.limits import MAX_PIXELS
from fststyle.images.save import QUALITIES
from fststyle.perceptual.optimize import MAX_SINGLE_SCALE
from fststyle.runtime import tiling
from fststyle.styles import onnx_norms, shape
from fststyle.styles.content import OneStyle, StyleFile
from fststyle.styles.dial import STRONGEST, WEAKEST
from fststyle.styles.export import LOWEST_OPSET
from fststyle.styles.find import art_folder, zoo_folder
from fststyle.styles.info import StyleInfo
from fststyle.styles.network import TransformerNet
from fststyle.styles.shape import NetworkConfig, Upsample, layers, receptive_radius
from fststyle.stylize import faces, strokes
from fststyle.stylize.strokes import WORKING_SIDE
from fststyle.stylize.stylizer import Stylizer
from fststyle.stylize.subject import MODEL_MEGABYTES
from fststyle.training import gates, guards, photo_crops
from fststyle.training.dial import VALIDATED, DialConfig
from fststyle.training.faults import lattice
from fststyle.training.probes import small_probes
from fststyle.training.settings import read_loss
from fststyle.video import flow, scene_cuts
from fststyle.video.encoders import _ENCODERS, CRF, FORMATS, PRESET
from fststyle.video.video_stylizer import SMOOTHING, STEADY
from fststyle.web.connection import HEAD_SECONDS, MOST_CONNECTIONS
from fststyle.web.errors import STATUSES
from fststyle.web.jobs import _KEPT
from fststyle.web.models import BLEND, OptimizeRequest, StylizeRequest, TrainRequest
from fststyle.web.photos import _LARGE_PIXELS
from fststyle.web.uploads import _GRACE_SECONDS, _LOWEST_SPEED

ROOT = Path(__file__).resolve().parents[1]
TENS = {10: "ten", 4: "four", 13: "13", 3: "three", 8: "eight"}


def number_in(script: str, name: str) -> int:
    """Read a constant of a script of the page."""
    path = ROOT / "fststyle" / "web" / "page" / script
    found = re.search(rf"const {name} = ([\d_]+);", path.read_text(encoding="utf-8"))
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
    ("docs/guides/export.md", f"`--strength {WEAKEST:g}..{STRONGEST:g}`"),
    ("docs/guides/export.md", f"any height and width from {shape.MIN_SIDE} pixels"),
    (
        "docs/guides/page.md",
        f"limited to {number_in('runner.js', 'MAX_PIXELS') // 10**6} megapixels",
    ),
    (
        "docs/guides/page.md",
        f"works on at most {number_in('runner.js', 'MAX_NETWORK_PIXELS') / 10**6:g} megapixels",
    ),
    ("docs/guides/page.md", f"choose up to {number_in('queue.js', 'MOST')} photos"),
    ("docs/guides/page.md", f"long side of at most {number_in('brush.js', 'LONGEST')} pixels"),
    ("docs/guides/page.md", f"or has had {TENS[_KEPT]} newer jobs"),
    ("SECURITY.md", f"or has had {TENS[_KEPT]} newer jobs"),
    ("SECURITY.md", f"decode more than {MAX_PIXELS // 10**6} megapixels"),
    ("docs/guides/page.md", f"head of a request within {HEAD_SECONDS:g} seconds"),
    ("docs/guides/page.md", f"slower than {_LOWEST_SPEED / 1000:g} kB/s after"),
    ("docs/guides/page.md", f"after the first {_GRACE_SECONDS:g} seconds"),
    ("docs/guides/page.md", f"If {MOST_CONNECTIONS} connections are open"),
    (
        "docs/guides/page.md",
        f"Photos over {_LARGE_PIXELS // 10**6} megapixels are processed",
    ),
    ("docs/guides/photos.md", f"a long side over {WORKING_SIDE} pixels, it is the long side"),
    ("docs/guides/photos.md", f"`--scale {strokes.LOWEST_SCALE:g}..{strokes.HIGHEST_SCALE:g}`"),
    ("docs/guides/photos.md", f"Strengths below {WEAKEST:g} are blended with the photo"),
    ("docs/guides/photos.md", f"a third of the strength ({100 * faces.GENTLE:g} %)"),
    (
        "docs/guides/photos.md",
        f"YuNet, a network of {round(faces._MODEL.stat().st_size, -4) // 1000} kB",
    ),
    ("docs/guides/photos.md", f"long side is reduced to {faces._SIDE} pixels"),
    ("docs/guides/photos.md", f"U²-Net ({MODEL_MEGABYTES} MB, Apache 2.0 licence)"),
    ("docs/quickstart.md", f"{MODEL_MEGABYTES} MB more on first use"),
    ("docs/guides/train.md", f"{TENS[len(small_probes().photos)]} test photos are stylised"),
    (
        "docs/guides/train.md",
        f"from {lattice.PERIODS[0]} to {lattice.PERIODS[-1]} pixels that stays",
    ),
    ("docs/guides/train.md", "at the strengths {:g}, {:g} and {:g}.".format(*gates.STRENGTHS)),
    ("docs/guides/train.md", f"255, and at most {shape._MOST_GRAIN:g}."),
    ("docs/guides/train.md", f"`dial.lr` ({DialConfig().lr:g})"),
    ("docs/guides/train.md", "for t = {} and t = {} (`t-2/total`".format(*VALIDATED)),
    ("docs/guides/train.md", f"above {MAX_SINGLE_SCALE} pixels, it proceeds from coarse"),
    ("docs/training_measurements.md", f"in memory, up to {photo_crops._CACHE_BYTES >> 20} MB"),
    ("docs/guides/video.md", f"follow the motion in the video; default {STEADY:g}"),
    ("docs/guides/video.md", f"at a long side of {flow.FLOW_SIDE} pixels"),
    ("docs/guides/video.md", f"1/{onnx_norms._STEP**2} of the pixels"),
    ("docs/guides/video.md", f"in a {scene_cuts._CELLS}×{scene_cuts._CELLS} grid"),
    ("docs/guides/video.md", f"statistics are averaged; default {SMOOTHING:g}"),
    ("docs/guides/video.md", f"the default is {CRF}, with the preset {PRESET}"),
    ("docs/how_it_works.md", f"stride 2 and {NetworkConfig().width} filters"),
    ("docs/how_it_works.md", f"residual trunk has {NetworkConfig().trunk} channels"),
    ("docs/how_it_works.md", f"and the {TENS[len(builtin_held_out())]} held-out photos"),
    ("docs/large_photos.md", f"photos of up to {MAX_PIXELS // 10**6} megapixels, or"),
    ("docs/large_photos.md", f"with a long side of {WORKING_SIDE} pixels (scale 3.2"),
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
    assert promise in words_of(page)


def words_of(page: str) -> str:
    return " ".join((ROOT / page).read_text(encoding="utf-8").split())


def test_numbers_in_words() -> None:
    large = words_of("docs/large_photos.md")
    assert strokes.DETAIL == strokes.REPAINT == 0.5
    assert "half of the fine luminance detail" in large
    assert "at full size, at half the strength" in large
    assert strokes.MOST_UPSCALED == 2
    assert "more than twice as many pixels as the network's input" in large
    training = words_of("docs/guides/train.md")
    assert (guards.EXPLOSION, guards.CHECKED_AT, guards._MAY_RISE_TO) == (10, 100, 1.25)
    assert "increases to ten times its usual value" in training
    assert "After a hundred steps" in training
    assert "has risen by more than a quarter" in training


def test_checks_that_only_warn() -> None:
    page = (ROOT / "docs" / "guides" / "train.md").read_text(encoding="utf-8")
    part = page.partition("checks only warn")[2].partition("Their limits")[0]
    assert set(re.findall("^- `(.*?)`:", part, re.MULTILINE)) == gates.ONLY_WARN


def test_statuses_and_settings_of_the_api() -> None:
    page = (ROOT / "docs" / "guides" / "page.md").read_text(encoding="utf-8")
    rows = {int(number) for number in re.findall(r"^\| (\d{3}) \|", page, re.MULTILINE)}
    assert rows == {*STATUSES.values(), 422}
    (row,) = re.findall(r"^\| `POST /api/stylize` \| (.*)$", page, re.MULTILINE)
    assert set(StylizeRequest.model_fields) <= set(re.findall("`(.*?)`", row))
    assert "a blend has at most four" in row
    assert re.match(BLEND, "a,b,c,d")
    assert not re.match(BLEND, "a,b,c,d,e")
    repaint = OptimizeRequest()
    assert (repaint.iterations, repaint.size, repaint.style_weight) == (100, 512, 0.5)
    assert "`iterations` (100), `size` (512) and `style_weight` (0.5)" in page
    assert TrainRequest(name="a").minutes == 10
    assert "`name` and `minutes` (default 10)" in page


def test_formats_and_codecs_of_videos() -> None:
    page = words_of("docs/guides/video.md")
    formats = page.partition("selects the format: ")[2].partition(" The input")[0]
    assert re.findall(r"`(\.\w+)`", formats) == list(FORMATS)
    with_crf = [encoder.name for encoder in _ENCODERS if encoder.default_crf is not None]
    assert with_crf == ["libx264", "libx265", "libsvtav1", "libvpx-vp9"]
    assert "the quality of H.264, HEVC, AV1 and VP9" in page


def test_sizes_of_style_files() -> None:
    def size(**settings: Any) -> int:
        network = NetworkConfig(**settings)
        state = TransformerNet(network).state_dict()
        weights = {n: w.numpy().astype("f2" if w.ndim == 4 else "f4") for n, w in state.items()}
        return len(StyleFile((OneStyle(StyleInfo("style")),), network, weights).model)

    added = size(dial=True) - size()
    assert f"The dial adds {added / 1000:.0f} kB" in words_of("docs/guides/train.md")
    assert size(dial=True, grain=4.0) < 1_000_000


def test_figures_agree_with_the_tables() -> None:
    benchmarks, large, videos = (
        words_of(f"docs/{page}.md") for page in ("benchmarks", "large_photos", "guides/video")
    )

    def figure(page: str, row: str) -> float:
        found = re.search(rf"\| {re.escape(row)} \| ([0-9.]+)", page)
        assert found is not None
        return float(found[1])

    seconds = figure(benchmarks, "one photo, 512×512")
    assert f"only about {seconds:.1f} s including start-up" in words_of("docs/how_it_works.md")
    seconds = figure(large, "12000×8333 | automatic")
    assert f"a 100-megapixel photo takes {seconds:.0f} s and" in benchmarks
    slow, fast = (figure(videos, f"360p, steady {steady}") for steady in ("0.6", "0"))
    assert f"processed at {slow:.0f} to {fast:.0f} frames per second" in benchmarks


def test_limits_of_the_server() -> None:
    page = words_of("docs/guides/page.md")
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
    measurements = words_of("docs/training_measurements.md")
    assert f"and at most {lengths['standard'].ema_decay:g})" in measurements
    assert f"using {lengths['standard'].warmup_steps} warm-up steps" in measurements


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
