from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from errors_help import raises
from omegaconf import OmegaConf
from training_help import compose

from fststyle.errors import SettingError, StyleError
from fststyle.perceptual.presets import PRESETS, LossConfig
from fststyle.styles.find import art_folder, art_info
from fststyle.styles.info import StyleInfo
from fststyle.styles.shape import NetworkConfig
from fststyle.training import callbacks
from fststyle.training.data import PhotoDataModule
from fststyle.training.dial import DialConfig
from fststyle.training.main import main
from fststyle.training.prepare import make_trainer, prepare
from fststyle.training.run_folder import Run
from fststyle.training.settings import (
    StyleSettings,
    TrainerSettings,
    config_folder,
    construct,
    instantiate,
    read_loss,
    read_optimizer,
    read_schedule,
    style_choices,
)
from fststyle.training.steady import SteadyConfig
from fststyle.training.train import train

CONFIGS = config_folder()
ROOT = Path(__file__).parents[2]
PAINTINGS = [name for name in style_choices() if name.startswith("painting/")]
ARTWORKS = [name for name in style_choices() if "/" not in name]
RUN = "output_dir=run"  # without it, a folder of Hydra's, which does not exist


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def run_main(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str]:
    """Run the command in this process; return its exit status and standard error."""
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert isinstance(caught.value.code, int)
    captured = capsys.readouterr()
    assert captured.out == ""
    return caught.value.code, captured.err


# Every file


@pytest.mark.parametrize("style", style_choices())
def test_style_composes_and_constructs(style: str) -> None:
    cfg = compose(f"style={style}", RUN)
    settings = construct(StyleSettings, cfg.style, "style")
    assert settings.name == style.rpartition("/")[2]
    StyleInfo(settings.name)
    construct(NetworkConfig, cfg.network, "network")
    trainer = construct(TrainerSettings, cfg.trainer, "trainer")
    assert read_schedule(cfg, trainer).minutes == trainer.minutes
    read_loss(cfg.loss)
    OmegaConf.resolve(cfg)  # no interpolation leads nowhere


@pytest.mark.parametrize("style", ARTWORKS)
def test_artwork_is_there(style: str) -> None:
    settings = construct(StyleSettings, compose(f"style={style}", RUN).style, "style")
    picture = settings.find_picture()
    assert picture.parent == art_folder()
    info = settings.info(picture)
    assert info == dataclasses.replace(art_info(style), style_image_sha256=info.style_image_sha256)
    assert len(info.style_image_sha256) == 64


def test_every_artwork_has_a_config() -> None:
    assert sorted(path.stem for path in art_folder().glob("*.jpg")) == ARTWORKS


def test_there_are_twenty_paintings() -> None:
    assert len(PAINTINGS) == 20
    pictures = {compose(f"style={style}", RUN).style.image for style in PAINTINGS}
    assert len(pictures) == 20


@pytest.mark.parametrize("style", PAINTINGS)
def test_painting_says_where_it_is_from(style: str) -> None:
    cfg = compose(f"style={style}", RUN, "paintings=elsewhere")
    settings = construct(StyleSettings, cfg.style, "style")
    assert settings.title
    assert settings.artist
    assert settings.year
    assert settings.source
    assert settings.licence.startswith("Public domain")
    assert Path(settings.image).parent == Path("elsewhere")
    info = StyleInfo(  # checks their types
        settings.name, settings.title, settings.artist, settings.year, settings.source
    )
    assert info.year == settings.year


@pytest.mark.parametrize("name", names("loss"))
def test_loss(name: str) -> None:
    cfg = compose(f"loss={name}", RUN).loss
    expected = PRESETS["calibrated" if name == "as_preset" else name]
    assert read_loss(cfg) == expected


def test_every_preset_has_a_config() -> None:
    assert set(names("loss")) - {"as_preset"} == set(PRESETS)


def test_loss_values_are_all_listed() -> None:
    """So that they can be given without a plus."""
    known = {item.name for item in dataclasses.fields(LossConfig)} - {"tuned_for"}
    for name in names("loss"):
        assert set(compose(f"loss={name}", RUN).loss) == known


@pytest.mark.parametrize("name", names("network"))
def test_network(name: str) -> None:
    cfg = compose(f"network={name}", RUN).network
    config = construct(NetworkConfig, cfg, "network")
    assert {*cfg, "styles"} == {item.name for item in dataclasses.fields(NetworkConfig)}
    if name == "slim":
        assert config == NetworkConfig()
    if name == "johnson":
        assert config == NetworkConfig(first_stride=1, width=32, trunk=128, residual_blocks=5)


@pytest.mark.parametrize("name", names("data"))
def test_data(name: str, tmp_path: Path) -> None:
    photo = art_folder() / "ink_wash.jpg"
    (tmp_path / "photo.jpg").write_bytes(photo.read_bytes())
    root = [f"data.root={tmp_path}"] if name == "folder" else []
    data = instantiate(compose(f"data={name}", RUN, "seed=7", *root).data, "data")
    assert isinstance(data, PhotoDataModule)
    default = PhotoDataModule()
    assert data.seed == 7
    for value in ("size", "batch_size", "num_workers"):
        assert getattr(data, value) == getattr(default, value)
    assert (data.paths == [tmp_path / "photo.jpg"]) == (name == "folder")


@pytest.mark.parametrize("name", names("optim"))
def test_optim(name: str) -> None:
    cfg = compose(f"optim={name}", RUN).optim
    assert cfg.lr > 0
    assert callable(read_optimizer(cfg))


@pytest.mark.parametrize("name", names("steady"))
def test_steady(name: str) -> None:
    cfg = compose(f"steady={name}", RUN, "seed=7").steady
    assert set(cfg) == {item.name for item in dataclasses.fields(SteadyConfig)}
    config = construct(SteadyConfig, cfg, "steady")
    if name == "default":
        assert config == SteadyConfig(seed=7)
    nothing = compose(f"steady={name}", RUN, "seed=null").steady
    assert construct(SteadyConfig, nothing, "steady").seed == 0


@pytest.mark.parametrize("name", names("dial"))
def test_dial(name: str) -> None:
    cfg = compose(f"dial={name}", RUN, "seed=7").dial
    assert set(cfg) == {item.name for item in dataclasses.fields(DialConfig)}
    config = construct(DialConfig, cfg, "dial")
    if name == "default":
        assert config == DialConfig(seed=7)
    nothing = compose(f"dial={name}", RUN, "seed=null").dial
    assert construct(DialConfig, nothing, "dial").seed == 0


@pytest.mark.parametrize("name", names("trainer"))
def test_trainer(name: str) -> None:
    cfg = compose(f"trainer={name}", RUN)
    trainer = construct(TrainerSettings, cfg.trainer, "trainer")
    schedule = read_schedule(cfg, trainer)
    assert (schedule.steps, schedule.minutes) == (None, trainer.minutes)
    assert trainer.minutes <= 12 or name == "full"
    assert trainer.chosen_precision() in ("bf16-mixed", "32-true")


@pytest.mark.parametrize("name", names("callbacks"))
def test_callbacks(name: str, tmp_path: Path) -> None:
    made = instantiate(
        compose(f"callbacks={name}", f"output_dir={tmp_path}").callbacks, "callbacks"
    )
    assert isinstance(made["checkpoint"], callbacks.ResumeCheckpoint)
    assert isinstance(made["sheets"](photos=[]), callbacks.SampleSheets)


# How they go together


def test_everything_of_a_run_is_in_its_folder() -> None:
    cfg = compose("output_dir=somewhere", "start_step=3")
    assert cfg.output_dir == "somewhere"
    assert cfg.callbacks.checkpoint.path == "somewhere/last.ckpt"
    assert cfg.callbacks.sheets.folder == "somewhere/samples"
    assert cfg.logger.csv.save_dir == cfg.logger.tensorboard.save_dir == "somewhere"
    assert cfg.logger.csv.version == "from_step_3"


def test_no_file_leads_out_of_the_repository() -> None:
    for path in CONFIGS.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert "image: /" not in text  # no path of one machine
        assert ".." not in text


# Mistakes


@pytest.mark.parametrize("accelerator", ["cuda", "mps"])
def test_accelerator_that_is_not_there(
    accelerator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("cuda", "backends.mps"):
        monkeypatch.setattr(f"torch.{package}.is_available", lambda: False)
    cfg = compose("style=ink_wash", f"trainer.accelerator={accelerator}", f"output_dir={tmp_path}")
    run = Run(tmp_path, {}, "2026-01-01")
    with raises(SettingError, "setting", "Choose another trainer.accelerator."):
        make_trainer(prepare(cfg), run, callbacks.StopSignals())


@pytest.mark.parametrize("style", ["painting/great_wave"])
def test_painting_without_its_picture(
    style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fststyle.training.settings.zoo_folder", lambda: tmp_path)
    cfg = compose(f"style={style}", f"paintings={tmp_path}", f"output_dir={tmp_path / 'run'}")
    with pytest.raises(StyleError) as caught:
        train(cfg)
    assert caught.value.code == "not_found"
    assert caught.value.path == f"{tmp_path}/hokusai_great_wave.jpg"
    assert "The Great Wave off Kanagawa (Katsushika Hokusai, c. 1831)" in caught.value.problem
    assert "network" not in caught.value.remedy
    assert not (tmp_path / "run").exists()


def test_painting_whose_network_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "great_wave.onnx").touch()
    monkeypatch.setattr("fststyle.training.settings.zoo_folder", lambda: tmp_path)
    cfg = compose("style=painting/great_wave", f"paintings={tmp_path}", f"output_dir={tmp_path}/r")
    with raises(StyleError, "not_found", "A trained network is included: great_wave."):
        train(cfg)


# The command


def test_script_alone_lists_the_styles(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "train.py"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stdout == ""
    for style in style_choices():
        assert f"\n  {style}\n" in done.stderr
    assert "style.image=my.jpg style.name=mine" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("style=thanos",), ("Unknown style thanos", "thanos_poster", "painting/the_kiss")),
        (("style=painting/the_scram",), ("did you mean painting/the_scream?",)),
        (("style=ink_wash", "network=big"), ("Unknown network big. Choose from johnson, slim.",)),
        (("style=ink_wash", "minuts=1"), ("Unknown setting minuts; did you mean minutes?",)),
        (("style=ink_wash", "+minuts=1"), ("Unknown setting minuts; did you mean minutes?",)),
        (("style=ink_wash", "trainer.precision=böse"), ("quotes",)),
        (("style=ink_wash", "trainer.precision=a=b"), ("quotes",)),
        (
            ("style=ink_wash", "loss.stile_weight=1"),
            ("setting loss.stile_weight; did you", "loss.style"),
        ),
        (("style=ink_wash", "+loss.stile_weight=1"), ("Unknown setting loss.stile_weight",)),
        (("style=ink_wash", "+network.widht=1"), ("Unknown setting network.widht",)),
        (("style=ink_wash", "stepss=1"), ("stepss",)),
        (
            ("style=ink_wash", "optim=adan"),
            ("Unknown optim adan; did you mean adam?",),
        ),
        (("style=ink_wash", "init=nosuch", "vgg_weights=no"), ("'nosuch'",)),
        (("style=ink_wash", "data=folder"), ("data.root",)),
        (("style=ink_wash", "style.image=${nothing}"), ("nothing",)),
        (("style.image=gone.jpg", "style.name=mine"), ("gone.jpg",)),
        (("style.image=gone.jpg",), ("style=thanos_poster",)),
        (
            ("style=painting/the_scream",),
            ("Munch", "paintings/munch_the_scream.jpg", "style.image"),
        ),
        (("style=ink_wash", "output_dir=file/run"), ("file/run", "output_dir")),
        (("style=ink_wash", "hydra.run.dir=file/run"), ("file/run", "hydra.run.dir=FOLDER")),
        (("style=ink_wash", "steps="), ("steps",)),
        (("style=ink_wash", "steps=[1"), ("[1",)),
    ],
)
def test_mistake_on_the_command_line(
    arguments: tuple[str, ...],
    parts: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    status, err = run_main(monkeypatch, capsys, *arguments)
    assert status == 1
    assert err.startswith("Error: ")
    assert "Traceback" not in err
    for part in parts:
        assert part in err
    assert not list(tmp_path.glob("outputs/*"))


@pytest.mark.parametrize(
    "arguments", [(), ("-m",), ("steps=3",), ("trainer=quick", "network=slim")]
)
def test_no_style_on_the_command_line(
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, err = run_main(monkeypatch, capsys, *arguments)
    assert status == 2
    assert "\n  thanos_poster\n" in err
    assert "\n  painting/great_wave\n" in err


def test_misspelt_style_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, err = run_main(monkeypatch, capsys, "stile=thanos_poster")
    assert status == 2
    assert err.startswith("Unknown setting stile; did you mean style?\n")


def test_bug_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy(cfg: Any, **_: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fststyle.training.main.train", buggy)
    monkeypatch.setattr(sys, "argv", ["train.py", "style=ink_wash"])
    with pytest.raises(ZeroDivisionError, match="a bug"):
        main()


@pytest.mark.parametrize("flag", ["--cfg=job", "--help"])
def test_hydras_own_flags(
    flag: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", flag])
    with contextlib.suppress(SystemExit):
        main()
    assert "vgg_weights" in capsys.readouterr().out
