from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from errors_help import raises
from omegaconf import DictConfig
from training_help import compose

from fststyle.errors import FststyleError, SettingError
from fststyle.perceptual.presets import PRESETS
from fststyle.styles.find import art_folder
from fststyle.training.settings import (
    TrainerSettings,
    construct,
    read_loss,
    read_schedule,
)
from fststyle.training.train import train

RUN = "output_dir=run"  # without it, a folder of Hydra's, which does not exist


def test_loss_values_can_be_set() -> None:
    settings = (
        "loss.style_weight=3",
        "loss.style_sizes=[64,0]",
        "loss.style_layers={block1_conv2: 1, relu3_3: 2}",
        "loss.tv_weight=0",
    )
    config = read_loss(compose("loss=johnson", RUN, *settings).loss)
    assert config == dataclasses.replace(
        PRESETS["johnson"],
        style_weight=3,
        style_sizes=(64, 0),
        style_layers={"relu1_2": 1, "relu3_3": 2},
        tv_weight=0,
    )


def test_style_may_override_the_loss_and_the_data(tmp_path: Path) -> None:
    """Listed before loss and data, the style's values would silently be replaced."""
    (tmp_path / "style").mkdir()
    (tmp_path / "style" / "strong.yaml").write_text(
        "# @package _global_\n"
        "style: {name: strong, image: ink_wash}\n"
        "loss: {preset: johnson, style_weight: 2.5}\n"
        "data: {size: 192}\n"
        "trainer: {minutes: 4}\n"
    )
    cfg = compose("style=strong", RUN, f"hydra.searchpath=[file://{tmp_path}]")
    assert (cfg.loss.preset, cfg.loss.style_weight, cfg.data.size) == ("johnson", 2.5, 192)
    assert read_loss(cfg.loss) == dataclasses.replace(PRESETS["johnson"], style_weight=2.5)
    assert cfg.trainer.minutes == 4
    # The command line has the last word.
    cfg = compose(
        "style=strong", "loss.style_weight=1", f"hydra.searchpath=[file://{tmp_path}]", RUN
    )
    assert cfg.loss.style_weight == 1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((), (None, 10)),
        (("steps=7",), (7, None)),
        (("minutes=0.25",), (None, 0.25)),
        (("steps=7", "minutes=0.25"), (7, 0.25)),
        (("trainer=smoke",), (None, 0.2)),
        (("trainer.minutes=3.5",), (None, 3.5)),
    ],
)
def test_how_long(settings: tuple[str, ...], expected: tuple[int | None, float | None]) -> None:
    cfg = compose(RUN, *settings)
    schedule = read_schedule(cfg, construct(TrainerSettings, cfg.trainer, "trainer"))
    assert (schedule.steps, schedule.minutes) == expected


@pytest.mark.parametrize(
    ("settings", "code", "facts"),
    [
        ("+loss.stile_weight=1", "unknown_setting", ("loss.stile_weight", "style_weight")),
        ("+network.widht=3", "unknown_setting", ("network.widht", "did you mean network.width?")),
        ("+style.titel=x", "unknown_setting", ("style.titel", "style.title")),
        ("+trainer.minuets=3", "unknown_setting", ("did you mean trainer.minutes?",)),
        ("+steady.wieght=1", "unknown_setting", ("did you mean steady.weight?",)),
        ("+data.sise=3", "refused", ("data: ", "'sise'", "See configs/data.")),
        ("+optim.weigth=3", "refused", ("optim: ", "'weigth'", "See configs/optim.")),
        ("+callbacks.finite.limmit=3", "refused", ("'limmit'", "See configs/callbacks.")),
        ("+callbacks.sheets.att=[1]", "refused", ("callbacks.sheets: ", "See configs/callbacks.")),
        ("+logger.csv.nmae=3", "refused", ("'nmae'", "See configs/logger.")),
        ("optim.lr=-1", "refused", ("optim: Invalid learning rate: -1",)),
        ("optim.lr=fast", "refused", ("optim: ", "See configs/optim.")),
        ("optim._target_=torch.optim.Adan", "refused", ("optim: ", "Adan")),
        ("network.width=wide", "setting", ("network",)),
        ("loss.normalised_layers=3", "refused", ("loss: ", "See configs/loss.")),
        ("callbacks.finite.limit=0", "setting", ("callbacks.finite.limit",)),
        ("data.size=3", "setting", ("data.size", 64)),
        ("data=folder", "setting", ("data.root=",)),
        ("network.first_stride=3", "setting", ("network.first_stride", "from 1 to 2")),
        ("loss.style_weight=much", "setting", ("loss.style_weight",)),
        ("trainer.precision=16-mixed", "setting", ("auto, bf16-mixed, 32-true",)),
        ("trainer.accelerator=tpu", "setting", ("trainer.accelerator", "auto, cpu")),
        ("trainer.validate_every=0", "setting", ("trainer.validate_every",)),
        ("trainer.minutes=long", "setting", ("trainer.minutes", "'long'")),
        ("trainer.warmup_steps=null", "setting", ("warmup_steps",)),
        ("steady.weight=-1", "setting", ("steady.weight",)),
        ("steps=many", "setting", ("steps", "'many'")),
        ("resume=yes", "setting", ("resume",)),
        ("seed=-1", "setting", (".seed",)),
        ("style.name=../up", "setting", ("../up",)),
        ("style.name=Wave", "setting", ("'Wave'",)),
        ("style.name=null", "no_style", ("style=thanos_poster",)),
        ("style.image=7", "setting", ("style.image", 7)),
        ("style.image=thanos_postre", "unknown_style", ("thanos_poster",)),
        ("style.image=gone.jpg", "not_found", ("gone.jpg",)),
        ("style={name: mine, image: [1]}", "setting", ("style.image",)),
    ],
)
@pytest.mark.usefixtures("original_weights")
def test_mistake_is_one_sentence_that_names_it(
    settings: str, code: str, facts: tuple[object, ...], tmp_path: Path
) -> None:
    with pytest.raises(FststyleError) as caught:
        train(small_run(tmp_path, settings))
    assert caught.value.code == code
    assert [fact for fact in facts if str(fact) not in str(caught.value)] == []
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.onnx"))


def small_run(folder: Path, settings: str) -> DictConfig:
    overrides = [f"output_dir={folder / 'run'}", "steps=1", "init=none", "loss.style_sizes=[64]"]
    if settings.startswith("style={"):
        return compose(*overrides, settings)
    return compose("style=ink_wash", *overrides, settings)


def test_title_that_is_no_text_is_told_before_training(tmp_path: Path) -> None:
    image = art_folder() / "ink_wash.jpg"
    (tmp_path / "wash.jpg").write_bytes(image.read_bytes())
    with raises(SettingError, "setting", "title", 1984):
        train(
            compose(
                "style.name=mine",
                f"style.image={tmp_path / 'wash.jpg'}",
                "style.title=1984",
                f"output_dir={tmp_path / 'run'}",
            )
        )
