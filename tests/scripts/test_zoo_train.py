from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from script_help import ROOT, load_script

from fststyle.styles.find import art_folder
from fststyle.styles.info import StyleInfo
from fststyle.styles.quality import Quality, recorded, with_quality
from fststyle.styles.style_file import read_info, save_info

train_zoo = load_script("zoo/train")
zoo_collect = load_script("zoo/collect")

PAINTING, PICTURE = "great_wave", "hokusai_great_wave.jpg"

# Stands for train.py: does what "behaviour" in the style's folder of files says.
FAKE_TRAIN = """
import json, os, shutil, signal, sys, time
from pathlib import Path
files = Path(__file__).parent
settings = dict(item.split("=", 1) for item in sys.argv[1:])
folder = Path(settings["output_dir"].strip("'"))
name = settings["style"].split("/")[-1]
with open(files / "calls", "a") as calls:
    calls.write(json.dumps([name, os.environ.get("OMP_NUM_THREADS")]) + "\\n")
folder.mkdir(parents=True, exist_ok=True)
behaviour = files / f"{name}.behaviour"
behaviour = behaviour.read_text() if behaviour.exists() else ""
def mark(status):
    (folder / "run.json").write_text(json.dumps({"status": status}))
def wait_for(path):
    end = time.monotonic() + 60
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert path.exists()
if behaviour == "crash":
    print("Error: The disk is full; make room.", file=sys.stderr)
    sys.exit(1)
if behaviour == "meet":
    (files / f"{name}.here").touch()
    for other in files.glob("*.behaviour"):
        wait_for(other.with_suffix(".here"))
if behaviour == "long":
    def stop(*_):
        mark("interrupted")
        sys.exit(130)
    signal.signal(signal.SIGTERM, stop)
    mark("running")
    (files / "begun").touch()
    time.sleep(60)
shutil.copy(files / f"{name}.onnx", folder)
mark("finished")
if behaviour == "checks":
    (files / "begun").touch()
    wait_for(files / "go on")
if behaviour == "bad":
    print("Error: The network is no better than the photo.", file=sys.stderr)
    sys.exit(1)
"""

QUALITY = [
    Quality(256, 3, 50, 9.84, 4.5, 1.9, 2.5, 0.2, 0.8, 1.2),
    Quality(512, 3, 50, None, 12.0, 1.8, 2.4, 0.1, 0.7, 1.1),
]

FAKE_MEASURE = """
import hashlib, json, sys
from pathlib import Path
files = Path(__file__).parent
with open(files / "calls", "a") as calls:
    calls.write(json.dumps(["measure", Path(sys.argv[1]).stem]) + "\\n")
folder = Path(sys.argv[sys.argv.index("-o") + 1])
assert Path(sys.argv[sys.argv.index("--picture") + 1]).is_file()
record = json.loads((files / "quality.json").read_text())
record["sha256"] = hashlib.sha256(Path(sys.argv[1]).read_bytes()).hexdigest()
if (files / f"{Path(sys.argv[1]).stem}.behaviour").exists():
    if (files / f"{Path(sys.argv[1]).stem}.behaviour").read_text() == "bad":
        record["failed_checks"] = ["blob 2.3 (limit 1)"]
folder.mkdir(exist_ok=True)
(folder / "quality.json").write_text(json.dumps(record))
"""


class Bench:
    """The script with stand-ins for what it starts."""

    def __init__(self, folder: Path, run: Callable[..., int]) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.zoo = folder / "zoo"
        self._run = run

    def train(self, *styles: str, more: tuple[str, ...] = ()) -> int:
        folders = ["--paintings", str(self.folder), "--photos", str(self.folder)]
        output = ["-o", str(self.runs), *more]
        return self._run([*folders, *output, *(["--styles", *styles] if styles else [])])

    def collect(self) -> int:
        return int(zoo_collect.main([str(self.runs)]))

    def behave(self, name: str, behaviour: str) -> None:
        (self.folder / "fake" / f"{name}.behaviour").write_text(behaviour)

    def calls(self) -> list[Any]:
        """What was started since the last call."""
        path = self.folder / "fake" / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    def record(self, name: str) -> Any:
        return json.loads((self.runs / name / "measured" / "quality.json").read_text())

    def signal_when(self, file: str, number: int, then: str | None = None) -> None:
        """Send this process a signal when a stand-in has made a file, then make another."""

        def send() -> None:
            end = time.monotonic() + 60
            while not (self.folder / "fake" / file).exists() and time.monotonic() < end:
                time.sleep(0.01)
            os.kill(os.getpid(), number)
            if then is not None:
                time.sleep(0.3)  # longer than it takes to end a process at once
                (self.folder / "fake" / then).touch()

        threading.Thread(target=send).start()


@pytest.fixture
def bench(tmp_path: Path, style_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    fake = tmp_path / "fake"
    fake.mkdir()
    for name in ("thanos_poster", "ink_wash", PAINTING):
        info = StyleInfo(
            *(name, "A title", "An artist", 1900, "a | museum", "Public domain", "ab" * 32),
            {"steps": 7, "minutes": 0.5, "photos": 9},
        )
        save_info(style_path, info, fake / f"{name}.onnx")
    shutil.copy(art_folder() / "ink_wash.jpg", tmp_path / PICTURE)
    (fake / "train.py").write_text(FAKE_TRAIN)
    (fake / "measure.py").write_text(FAKE_MEASURE)
    record = with_quality(StyleInfo("x"), QUALITY).training["quality"]
    measured = {"photos": ["cat.png"], "failed_checks": [], "summary": "good", "quality": record}
    (fake / "quality.json").write_text(json.dumps(measured))
    monkeypatch.setattr(train_zoo, "TRAIN", [sys.executable, str(fake / "train.py")])
    monkeypatch.setattr(train_zoo, "MEASURE", [sys.executable, str(fake / "measure.py")])
    monkeypatch.setattr(zoo_collect, "zoo_folder", lambda: tmp_path / "zoo")
    collect = "import sys, runpy; print('collecting', sys.argv[1])"
    monkeypatch.setattr(train_zoo, "COLLECT", [sys.executable, "-c", collect])
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return Bench(tmp_path, train_zoo.main)


# What is started


def test_every_style_with_a_config_is_known(tmp_path: Path) -> None:
    (tmp_path / PICTURE).touch()
    found, missing = train_zoo.find_styles(tmp_path)
    assert [style.name for style in found] == [
        *("ink_wash", "stained_glass", "thanos_poster", "woodblock_waves"),
        PAINTING,
    ]
    assert found[-1].choice == f"painting/{PAINTING}"
    assert found[-1].image == tmp_path / PICTURE
    names = {path.stem for path in (ROOT / "configs" / "style").rglob("*.yaml")}
    assert {style.name for style in found} | set(missing) == names
    assert "van_gogh_starry_night.jpg" in missing["starry_night"]


def test_command_is_the_users_recipe(tmp_path: Path) -> None:
    from omegaconf import OmegaConf
    from training_help import compose  # takes seconds, and the other tests do without it

    odd = tmp_path / "it's 1,5 [m] = #2 \\ (é)"
    zoo = train_zoo.Zoo(odd / "runs", odd / "photos", odd / "art", 30.0, extra=("network.width=8",))
    style = train_zoo.Style(PAINTING, f"painting/{PAINTING}", odd / "art" / PICTURE)
    command = zoo.command(style)
    assert command[:2] == train_zoo.TRAIN
    cfg = compose(*command[2:])
    assert cfg.style.name == PAINTING
    assert cfg.style.image == str(odd / "art" / PICTURE)
    assert cfg.data.root == str(odd / "photos")
    assert cfg.output_dir == str(odd / "runs" / PAINTING)
    assert (cfg.minutes, cfg.resume, cfg.install, cfg.network.width) == (30, "auto", False, 8)
    # Everything else is as the configuration has it.
    plain = compose(f"style=painting/{PAINTING}", "data=folder")
    for group in ("loss", "optim", "trainer", "callbacks", "seed", "steps", "report"):
        values = [OmegaConf.masked_copy(c, [group]) for c in (cfg, plain)]
        assert OmegaConf.to_container(values[0]) == OmegaConf.to_container(values[1])


# How trainings come out


def test_styles_are_trained_and_measured(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.train("thanos_poster", PAINTING) == 0
    assert bench.calls() == [
        *(["thanos_poster", None], ["measure", "thanos_poster"]),
        *([PAINTING, None], ["measure", PAINTING]),
    ]
    out = capsys.readouterr().out
    assert "[1/2] thanos_poster: good; passed" in out
    assert "1 to go, about" in out
    assert [Quality(**values) for values in bench.record(PAINTING)["quality"]] == QUALITY


def test_what_is_done_is_skipped_and_said(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.train("thanos_poster")
    bench.calls()
    capsys.readouterr()
    assert bench.train("thanos_poster") == 0
    assert bench.calls() == []
    assert "thanos_poster: already done; good; passed" in capsys.readouterr().out
    # What was measured is another file.
    shutil.copy(
        bench.folder / "fake" / "ink_wash.onnx", bench.runs / "thanos_poster/thanos_poster.onnx"
    )
    assert bench.train("thanos_poster") == 0
    assert bench.calls() == [["measure", "thanos_poster"]]


def test_failed_style_stops_no_other(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.behave("ink_wash", "crash")
    assert bench.train("ink_wash", "thanos_poster", "starry_night") == 1
    assert bench.record("thanos_poster")["failed_checks"] == []
    *_, first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("failed  ink_wash: training failed with status 1 (")
    assert first.endswith("Error: The disk is full; make room.")
    assert second.startswith("failed  starry_night: its style image is missing: ")
    bench.calls()
    bench.behave("ink_wash", "")
    assert bench.train("ink_wash") == 0
    assert bench.calls() == [["ink_wash", None], ["measure", "ink_wash"]]


def test_style_that_does_not_pass_is_kept_out_of_the_zoo(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.behave("ink_wash", "bad")
    assert bench.train("ink_wash", "thanos_poster") == 1
    out = capsys.readouterr().out
    assert "rejected  ink_wash: good; rejected: blob 2.3 (limit 1)" in out
    assert bench.collect() == 1
    assert "left out  ink_wash: it failed checks: blob 2.3" in capsys.readouterr().out
    assert [path.name for path in bench.zoo.iterdir()] == ["thanos_poster.onnx"]
    bench.calls()
    assert bench.train("ink_wash") == 1  # it is not trained again
    assert bench.calls() == []


def test_ship_collects_afterwards(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    assert bench.train("ink_wash", more=("--ship",)) == 0
    assert f"collecting {bench.runs}" in capfd.readouterr().out


def test_measuring_that_fails_is_repeated_alone(bench: Bench) -> None:
    record = bench.folder / "fake" / "quality.json"
    record.rename(record.with_suffix(".away"))
    assert bench.train("ink_wash") == 1
    record.with_suffix(".away").rename(record)
    bench.calls()
    assert bench.train("ink_wash") == 0
    assert bench.calls() == [["measure", "ink_wash"]]


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_lets_the_training_save(
    bench: Bench, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    bench.behave("ink_wash", "long")
    before = signal.getsignal(number)
    bench.signal_when("begun", number)
    assert bench.train("ink_wash", "thanos_poster") == 130
    assert signal.getsignal(number) is before
    run = json.loads((bench.runs / "ink_wash" / "run.json").read_text())
    assert run["status"] == "interrupted"
    assert bench.calls() == [["ink_wash", None]]
    out = capsys.readouterr().out
    assert "ink_wash: interrupted; run the same command again" in out
    assert "1 styles were not started" in out
    bench.behave("ink_wash", "")
    assert bench.train("ink_wash", "thanos_poster") == 0


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_signal_while_the_training_checks_itself_loses_nothing(bench: Bench) -> None:
    bench.behave("ink_wash", "checks")
    bench.signal_when("begun", signal.SIGTERM, then="go on")
    assert bench.train("ink_wash") == 130
    assert bench.calls() == [["ink_wash", None]]
    assert bench.train("ink_wash") == 0
    assert bench.calls() == [["measure", "ink_wash"]]


def test_two_at_a_time(bench: Bench) -> None:
    for name in ("ink_wash", "thanos_poster"):
        bench.behave(name, "meet")  # neither ends without the other
    assert bench.train("ink_wash", "thanos_poster", more=("--jobs", "2")) == 0
    begun = [call for call in bench.calls() if call[0] != "measure"]
    assert sorted(begun) == [["ink_wash", "1"], ["thanos_poster", "1"]]


# Wrong usage


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--minutes", "46"), "at most 45"),
        (("--minutes", "0"), "greater than 0"),
        (("--minutes", "nan"), "greater than 0"),
        (("--extra", "minutes=90"), "except for settings that this script controls: minutes=90"),
        (("--extra", "style.image=x.jpg"), "except for settings that this script controls"),
        (("--extra", "+output_dir=x"), "except for settings that this script controls"),
        (("--extra", "nothing"), "takes KEY=VALUE"),
        (("--jobs", "3"), "invalid choice"),
        (("--iterations", "0"), "at least 1"),
    ],
)
def test_wrong_usage(
    bench: Bench, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], expected: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        bench.train(more=more)
    assert stop.value.code == 2
    assert expected in capsys.readouterr().err
    assert bench.calls() == []


def test_unknown_style(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.train("waves") == 2
    assert "Unknown style waves. Choose from adele_bloch_bauer," in capsys.readouterr().err


def test_folders_must_be_there(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train_zoo.main(["--paintings", str(bench.folder), "--photos", str(bench.folder / "no")])
    assert "cannot find the folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train_zoo.main([])
    assert "required: --paintings, --photos" in capsys.readouterr().err


# Into the zoo


def test_collect(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.train("ink_wash", PAINTING)
    assert not bench.zoo.exists()
    assert bench.collect() == 0
    for name in ("ink_wash", PAINTING):
        info = read_info(bench.zoo / f"{name}.onnx")
        assert info.name == name
        assert info.training["steps"] == 7
        assert recorded(info) == QUALITY
    assert f"shipped   {PAINTING}: " in capsys.readouterr().out
    once = (bench.zoo / "ink_wash.onnx").read_bytes()
    assert bench.collect() == 0
    assert (bench.zoo / "ink_wash.onnx").read_bytes() == once


def test_collect_of_nothing(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.runs.mkdir()
    assert bench.collect() == 1
    assert "contains no measured style" in capsys.readouterr().err


def test_collect_leaves_out_what_is_too_large(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.train("ink_wash")
    monkeypatch.setattr(zoo_collect, "MAX_FILE_BYTES", 1000)
    assert bench.collect() == 1
    assert (
        "left out  ink_wash: 0.0 MB is more than the limit of 0.001 MB" in capsys.readouterr().out
    )
    assert not list(bench.zoo.glob("*"))


def test_zoo_that_would_be_too_large_stays(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.zoo.mkdir()
    (bench.zoo / "other.onnx").write_bytes(bytes(10**6))
    bench.train("ink_wash")
    monkeypatch.setattr(zoo_collect, "MAX_ZOO_BYTES", 10**6)
    assert bench.collect() == 1
    assert "The zoo would be 1.0 MB, but the limit is 1 MB." in capsys.readouterr().err
    assert [path.name for path in bench.zoo.iterdir()] == ["other.onnx"]
    # A file that is replaced does not count twice.
    (bench.zoo / "other.onnx").rename(bench.zoo / "ink_wash.onnx")
    assert bench.collect() == 0


def test_collect_wants_the_licence(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    file = bench.folder / "fake" / "ink_wash.onnx"
    save_info(file, StyleInfo("ink_wash", "A title", source="a museum"), file)
    bench.train("ink_wash")
    assert bench.collect() == 1
    assert "ink_wash: the file lacks licence" in capsys.readouterr().out


def test_collect_checks_that_this_file_was_measured(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.train("ink_wash")
    other = bench.folder / "fake" / "thanos_poster.onnx"
    shutil.copy(other, bench.runs / "ink_wash" / "ink_wash.onnx")
    assert bench.collect() == 1
    assert "another file was measured" in capsys.readouterr().out
    assert not list(bench.zoo.glob("*"))
