from __future__ import annotations

import dataclasses
import json
import math
import multiprocessing
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import _runs
import numpy as np
import pytest
import torch
from errors_help import raises
from script_help import load_script
from training_help import PATIENCE

from fststyle.errors import SettingError
from fststyle.images.load import load_image
from fststyle.images.save import save_photo
from fststyle.perceptual.measure import measure_for
from fststyle.perceptual.vgg import VGGWeights
from fststyle.styles.info import StyleInfo
from fststyle.styles.network import TransformerNet
from fststyle.styles.shape import NetworkConfig
from fststyle.styles.style_file import read_info, read_style, save_style

bench_training = load_script("bench/training")
bench_shapes = load_script("bench/shapes")
bench_losses = load_script("bench/losses")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork server")

COMMON = ("--photos", "photos", "-o", "out", "--records", "records")
TINY = ("network.width=4", "network.residual_blocks=1", "callbacks.sheets=null")


class Ended(NamedTuple):
    """What a process has left."""

    returncode: int | None
    stdout: str
    stderr: str


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with photographs, of which some are held out, and a style picture."""
    (tmp_path / "photos").mkdir()
    random = np.random.default_rng(0)
    for index in range(24):
        coarse = random.random((6, 6, 3), dtype=np.float32)
        save_photo(np.kron(coarse, np.ones((12, 12, 1))), tmp_path / "photos" / f"{index}.png")
    save_photo(random.random((48, 64, 3), dtype=np.float32), tmp_path / "My style.png")
    return tmp_path


def run(folder: Path, script: str, *arguments: str) -> Ended:
    """Run a script in a process forked from one that has imported what takes seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fststyle.training.main"])
    process = context.Process(target=_main, args=(str(folder), script, arguments), daemon=True)
    process.start()
    process.join(PATIENCE)
    if process.exitcode is None:
        process.kill()
    out, err = ((folder / name).read_text() for name in ("stdout", "stderr"))
    return Ended(process.exitcode, out, err)


def _main(folder: str, script: str, arguments: tuple[str, ...]) -> None:
    os.chdir(folder)
    for name, number in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    torch.set_num_threads(1)
    sys.argv = [script, *arguments]
    load_script(script).main()


def cells(table: str) -> dict[str, list[str]]:
    """The rows of a Markdown table by their first cells."""
    lines = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in lines}


# bench/training.py


@pytest.mark.engines
@pytest.mark.usefixtures("original_weights")
def test_bench_training(folder: Path, style_path: Path) -> None:
    common = (*COMMON, "--style", "My style.png", "--size", "64")
    settings = ("--held-out", "1", "--minutes", "0.004", "--ours-minutes", "0.01")
    tiny = [part for item in TINY for part in ("--ours", item)]
    first = run(folder, "bench/training", *common, *settings, *tiny, "--rows", "A1,A2")
    assert first.returncode == 0, first.stderr
    out = folder / "out"
    before = json.loads((out / "records.json").read_text())
    assert [record["run"] for record in before] == ["A1", "A2"]

    warm = ("--warm", str(style_path), "--warm-budgets", "0.005")
    done = run(folder, "bench/training", *common, *settings, *tiny, *warm)
    assert done.returncode == 0, done.stderr
    assert "A2:" not in done.stderr
    assert "my_style, B warm, 0.005 min: 0 of 0 s, total " in done.stderr
    assert " h of training time left" in done.stderr
    records = json.loads((out / "records.json").read_text())
    assert records[:2] == before
    rows = cells(done.stdout)
    names = ["A1", "A2", "B, 0.01 min", "B warm, 0.005 min"]
    assert [*rows][2:] == [record["run"] for record in records] == names
    assert "A2 first reaches its last total, " in done.stdout
    assert done.stdout.strip() == (out / "table.md").read_text().strip()
    for record, name in zip(records, names, strict=True):
        points, last = record["points"], record["points"][-1]
        assert points[0]["steps"] == 0
        assert last["seconds"] >= 60 * record["minutes"]
        assert last["images"] == last["steps"] * (4 if name.startswith("A") else 1)
        assert rows[name][:2] == [f"{last['steps']}", f"{last['images']}"]
        assert rows[name][5] == f"{last['total']:.3f}"
        assert read_info(out / record["file"]).name == "my_style"
    assert load_image(out / "curves.png").shape[2] == 3
    # A photo and four networks, 64 pixels each.
    assert load_image(out / "sheet_my_style.png").shape[1] == 5 * 64 + 6 * 8


# bench/shapes.py


@pytest.mark.engines
@pytest.mark.usefixtures("original_weights")
def test_bench_shapes(folder: Path) -> None:
    shapes = ["2/4/12/1", "1/4/8/1"]
    common = (*COMMON, "--style", "My style.png", "--size", "64")
    tiny = [p for item in TINY if not item.startswith("network.") for p in ("--ours", item)]
    more = ("--shapes", ",".join(shapes), "--minutes", "0.005", "--held-out", "1", "--calls", "1")
    done = run(folder, "bench/shapes", *common, *more, *tiny)
    assert done.returncode == 0, done.stderr
    out = folder / "out"
    records = json.loads((out / "records.json").read_text())
    assert [record["run"] for record in records] == shapes
    rows = {name.strip("*"): row for name, row in cells(done.stdout).items()}
    for record in records:
        shape, last = record["run"], record["points"][-1]
        assert rows[shape][1:] == [
            *(f"{last[key]:.3f}" for key in ("total", "style", "content")), str(last["steps"])
        ]  # fmt: skip
        assert float(rows[shape][0]) > 0
        config = read_style(out / record["file"]).network
        names = ("first_stride", "width", "trunk", "residual_blocks")
        assert "/".join(str(getattr(config, name)) for name in names) == shape
    assert done.stdout == (out / "shapes.md").read_text()
    assert load_image(out / "shapes.png").shape[2] == 3
    assert load_image(out / "sheet.png").shape[1] == 3 * 64 + 4 * 8


# bench/levers.py


@pytest.mark.engines
@pytest.mark.usefixtures("original_weights")
def test_bench_levers(folder: Path) -> None:
    common = (*COMMON, "--style", "My style.png", "--size", "64")
    tiny = [part for item in TINY for part in ("--ours", item)]
    more = ("--minutes", "0.004", "--held-out", "1", "--lever", "larger: data.batch_size=2 seed=3")
    done = run(folder, "bench/levers", *common, *more, *tiny)
    assert done.returncode == 0, done.stderr
    out = folder / "out"
    default, larger = json.loads((out / "records.json").read_text())
    assert (default["run"], larger["run"]) == ("the default", "larger")
    assert larger["settings"]["config"]["data"]["batch_size"] == 2
    rows = {name.strip("*"): row for name, row in cells(done.stdout).items()}
    totals = {r["run"]: r["points"][-1]["total"] for r in (default, larger)}
    assert [*rows][2:] == sorted(totals, key=lambda name: float(totals[name]))
    assert rows["larger"][:2] == [
        f"{totals['larger']:.3f}", f"{totals['larger'] / totals['the default'] - 1:+.1%}"
    ]  # fmt: skip
    assert rows["the default"][1] == "+0.0%"
    assert done.stdout == (out / "levers.md").read_text()
    assert load_image(out / "sheet.png").shape[1] == 3 * 64 + 4 * 8
    refused = run(folder, "bench/levers", *common, "--lever", "no settings:")
    assert refused.returncode == 2
    assert "must be NAME: key=value" in refused.stderr


def test_bench_shapes_front_and_wrong_shapes() -> None:
    points = {"slow": (9.0, 1.0), "fast": (1.0, 2.0), "bad": (5.0, 2.5), "same": (9.0, 1.0)}
    assert bench_shapes.on_the_front(points) == ["fast", "slow"]
    assert "network.trunk=128" in bench_shapes.network_settings("1/32/128/5")
    for shape in ("1/2/3", "a/b/c/d", ""):
        with raises(SettingError, "unknown_shape"):
            bench_shapes.network_settings(shape)


@pytest.fixture
def setup(folder: Path) -> _runs.Setup:
    return _runs.Setup.find(str(folder / "My style.png"), folder / "photos")


def test_run_starts_from_the_other_network(folder: Path, setup: _runs.Setup) -> None:
    torch.manual_seed(0)
    network = TransformerNet(NetworkConfig(width=5, residual_blocks=2))
    save_style(network, StyleInfo("other"), folder / "other.onnx")
    cfg = _runs.OurRun("warm", 1.0, setup, warm=folder / "other.onnx").config()
    assert {**cfg.network, "styles": 1} == dataclasses.asdict(network.config)
    assert cfg.init == str(folder / "other.onnx")


def test_run_refuses_the_network_of_the_same_image(
    folder: Path, setup: _runs.Setup, small_network: TransformerNet
) -> None:
    file = folder / "same.onnx"
    save_style(small_network, StyleInfo("a", style_image_sha256=_runs.sha256(setup.image)), file)
    with raises(SettingError, "same_style_image"):
        _runs.OurRun("warm", 1.0, setup, warm=file).config()


def test_wrong_override_is_refused(setup: _runs.Setup) -> None:
    with pytest.raises(SettingError, match="widht"):
        _runs.OurRun("wrong", 1.0, setup, ("network.widht=4",)).config()


def test_records_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    assert _runs.read_records(path) == []
    path.write_text('{"rows": 1}')
    with pytest.raises(SettingError):
        _runs.read_records(path)


def test_look_times() -> None:
    assert _runs.look_times(12) == [0, 1.5, 3, 4.5, 6, 7.5, 9, 10.5, 12]
    assert _runs.look_times(300) == [*range(0, 121, 15), 180, 240, 300]
    assert _runs.look_times(100) == pytest.approx([*np.arange(0, 100, 12.5), 100])


@pytest.mark.parametrize(
    ("total", "seconds"), [(5, 0), (4, 0), (3, 5), (2, 10), (1.5, 25), (1, 30), (0.9, math.inf)]
)
def test_first_time(total: float, seconds: float) -> None:
    curve = [(0.0, 4.0), (10.0, 2.0), (20.0, 2.0), (30.0, 1.0), (40.0, 1.2)]
    points = [{"seconds": time, "total": value} for time, value in curve]
    assert bench_training.first_time(points, total) == seconds


def record(run: str, minutes: float, *curve: tuple[float, float]) -> dict[str, Any]:
    points = [
        {"seconds": s, "steps": 2, "images": 8, "content": 1.0, "style": 0.5, "total": total}
        for s, total in curve
    ]
    return {"run": run, "minutes": minutes, "points": points}


def test_table_of_times() -> None:
    records = [
        record("A1", 10, (0, 5.0), (600, 3.0)),
        record("A2", 10, (0, 4.0), (500, 2.0), (600, 2.0)),
        record("B, 4 min", 4, (0, 4.0), (100, 2.0), (240, 1.5)),
        record("B, 2 min", 2, (0, 4.0), (60, 2.5), (120, 2.0)),
        record("B, 1 min", 1, (0, 4.0), (60, 2.2)),
    ]
    rows = cells(str(bench_training.table(records)))
    text = "\n".join(bench_training.summary(records))
    assert rows["A1"] == ["2", "8", "600", "1.000", "0.500", "3.000", "–", "–"]
    assert rows["A2"][-2:] == ["500 s", "1.0"]
    assert rows["B, 4 min"][-2:] == ["100 s", "5.0"]
    assert rows["B, 1 min"][-2:] == ["–", "–"]
    assert "budget that reaches that total at its end is 2 min, 4.2 times as fast" in text
    assert "first reaches it 100 s after the start of a run" in text
    assert "B warm" not in text


def test_total_is_the_measure_s(original_weights: VGGWeights) -> None:
    random = np.random.default_rng(0)
    measure = measure_for(random.random((40, 50, 3), dtype=np.float32), original_weights)
    crops = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    losses = _runs.measured(measure, torch.nn.Sigmoid(), crops)
    with torch.no_grad():
        terms = [measure(crop.sigmoid(), measure.content_targets(crop)) for crop in crops[:, None]]
    assert losses.total == pytest.approx(np.mean([float(t.total) for t in terms]), rel=1e-5)
    assert losses.content["relu4_2"] == pytest.approx(
        np.mean([float(t.content) for t in terms]), rel=1e-5
    )


def test_clock_stops_while_a_run_is_measured(tmp_path: Path) -> None:
    looks: list[float] = []

    def look(network: object, steps: int, seconds: float) -> None:
        looks.append(seconds)
        time.sleep(0.2)

    begin = time.monotonic()
    module: Any = SimpleNamespace(
        seconds=lambda: time.monotonic() - begin, steps_made=0, average=SimpleNamespace(module=None)
    )
    recorder = _runs.Recorder(str(tmp_path / "points.json"), "style.png", 1.0, 1, "run", 0.0)
    recorder.watch = cast(
        Any, SimpleNamespace(look=look, is_due=lambda seconds: True, points=[{"steps": 0}])
    )
    trainer: Any = None
    recorder.on_train_start(trainer, module)
    recorder.on_train_batch_end(trainer, module, None, None, 0)
    recorder.on_train_batch_end(trainer, module, None, None, 1)
    assert module.seconds() <= time.monotonic() - begin - 0.6
    recorder.on_train_end(trainer, module)
    assert looks[-1] == looks[-2]
    assert json.loads((tmp_path / "points.json").read_text()) == [{"steps": 0}]


# bench/losses.py


@pytest.mark.engines
@pytest.mark.usefixtures("original_weights")
def test_bench_losses(folder: Path) -> None:
    content = folder / "photos" / "0.png"
    extra = ",".join(("network.width=4", "network.residual_blocks=1", "callbacks.sheets=null"))
    common = (*COMMON, "--styles", "My style.png", "--content", str(content))
    options = ("--minutes", "0.005", "--size", "64", "--held-out", "1", "--content-size", "64")
    first = run(folder, "bench/losses", *common, *options, "--variant", f"one:{extra}")
    assert first.returncode == 0, first.stderr
    style_file = folder / "out" / "my_style" / "one" / "my_style.onnx"
    before = style_file.read_bytes()

    second = f"two:style_weight=3,style_layers={{relu1_2:1,relu2_2:2}},{extra}"
    variants = ("--variant", f"one:{extra}", "--variant", second)
    done = run(folder, "bench/losses", *common, *options, *variants)
    assert done.returncode == 0, done.stderr
    assert "my_style, two: 0 of 0 s, total " in done.stderr
    assert style_file.read_bytes() == before
    rows = cells(done.stdout)
    assert [*rows][2:] == ["photo", "one", "two"]
    assert rows[""][:2] == ["total", "content relu4_2"]
    assert rows[""][-2:] == ["patches", "SSIM"]
    assert rows["photo"][1] == "0.000"
    assert rows["photo"][-1] == "1.000"
    assert 0 < float(rows["two"][-2]) < 255
    info = read_info(folder / "out" / "my_style" / "two" / "my_style.onnx")
    assert info.training["loss"]["style_weight"] == 3
    assert info.training["loss"]["style_layers"] == {"relu1_2": 1, "relu2_2": 2}
    # The photo, two results and the style image, 64 pixels each.
    assert load_image(folder / "out" / "sheet_my_style.png").shape[1] >= 4 * 64 + 5 * 8


def test_bench_losses_refuses_a_wrong_key(folder: Path) -> None:
    common = ("--photos", "photos", "--styles", "thanos_poster", "-o", "out")
    done = run(folder, "bench/losses", *common, "--variant", "a:styel_weight=1")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "loss.styel_weight" in done.stderr
    assert "style_weight" in done.stderr
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:", ("a", [])),
        ("a:style_weight=1", ("a", ["++loss.style_weight=1"])),
        (
            "b-2:style_layers={relu1_2:1,relu2_2:1},style_sizes=[256,384],network.width=8",
            (
                "b-2",
                [
                    "++loss.style_layers={relu1_2:1,relu2_2:1}",
                    "++loss.style_sizes=[256,384]",
                    "network.width=8",
                ],
            ),
        ),
    ],
)
def test_read_variant(text: str, expected: tuple[str, list[str]]) -> None:
    assert bench_losses.read_variant(text) == expected


@pytest.mark.parametrize("text", ["style_weight=1", "a b:x=1", ":x=1", "a:x", "a:x=1,y"])
def test_variant_that_cannot_be_read(text: str) -> None:
    with raises(SettingError, "unknown_variant"):
        bench_losses.read_variant(text)
