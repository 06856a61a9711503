"""Training one transformer network for one style.

``python train.py style=thanos_poster`` composes ``configs/`` and calls `train`. No value of
the configuration goes deeper than that function as anything but plain values.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import hydra
import numpy as np
import pytorch_lightning as pl
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fststyle import evaluate
from fststyle.callbacks import ResumeCheckpoint, SampleSheets, StopSignals
from fststyle.data import PhotoDataModule
from fststyle.errors import FststyleError, SettingError, StyleError, TrainingError
from fststyle.images import fit_long_side, load_image, save_photo
from fststyle.losses import LossConfig, PerceptualLoss, loss_config, weights_for
from fststyle.module import Schedule, StyleModule
from fststyle.network import NetworkConfig, TransformerNet
from fststyle.runs import Run
from fststyle.sheets import sheet
from fststyle.stylefile import StyleInfo, save_style
from fststyle.styles import art_folder, art_info, find_picture, user_styles_folder
from fststyle.stylizer import Stylizer
from fststyle.vgg import VGGWeights

log = logging.getLogger(__name__)

INTERRUPTED: Final = 130
"""Exit status of a run that Ctrl-C ended: the style file is written, and is of that moment."""

_VOLATILE: Final = ("minutes", "steps", "resume", "output_dir", "start_step", "report", "install")
_T = TypeVar("_T")


@dataclass(frozen=True)
class StyleSettings:
    """What is asked of a style: its name, its picture, and what is known of the artwork."""

    name: str | None = None
    image: str | None = None
    title: str = ""
    artist: str = ""
    year: int | str | None = None
    source: str = ""
    licence: str = ""

    def find_picture(self) -> Path:
        """The picture's file.

        Raises:
            StyleError: It is not there.
        """
        assert self.image is not None
        try:
            return find_picture(self.image)
        except FststyleError as error:
            if not self.artist:
                raise
            raise StyleError(
                f"The picture of {self.title} ({self.artist}, {self.year}) is not in this "
                f"repository; it is looked for at {self.image}. Put it there, or give "
                "style.image=PATH."
            ) from error

    def info(self, picture: Path, training: dict[str, Any]) -> StyleInfo:
        """The style file's provenance; one of our own artworks brings its own."""
        assert self.name is not None
        if picture.parent == art_folder():
            known = art_info(picture.stem)
        else:
            known = StyleInfo(
                self.name, self.title, self.artist, self.year, self.source, self.licence
            )
        return dataclasses.replace(
            known,
            name=self.name,
            style_image_sha256=hashlib.sha256(picture.read_bytes()).hexdigest(),
            training=training,
        )


@dataclass(frozen=True)
class TrainingResult:
    """What a run leaves.

    Attributes:
        style_file: The trained style.
        installed: Its copy that ``--style NAME`` finds, if one was made.
        sheet: Held-out photographs and their stylised versions.
        report: The measured quality, if it was measured.
        interrupted: Whether Ctrl-C ended the run early.
    """

    style_file: Path
    installed: Path | None
    sheet: Path
    report: Path | None
    interrupted: bool


def train(cfg: DictConfig) -> TrainingResult:
    """Train a style as a composed configuration says.

    Args:
        cfg: As ``configs/config.yaml`` composes it.

    Returns:
        What the run left.

    Raises:
        FststyleError: Something that the user can mend.
    """
    style = _construct(StyleSettings, cfg.style, "style")
    if style.name is None or style.image is None:
        raise SettingError(
            "Name a style (style=thanos_poster), or give a picture and a name "
            "(style.image=my.jpg style.name=mine)."
        )
    StyleInfo(style.name)  # its rule for names
    config = _loss(cfg.loss)
    network_config = _construct(NetworkConfig, cfg.network, "network")
    schedule = _schedule(cfg)
    picture_path = style.find_picture()
    picture = load_image(picture_path)
    data = cast(PhotoDataModule, _instantiate(cfg.data, "data"))

    settings = _settings(cfg, picture_path)
    run = Run.open(Path(cfg.output_dir), settings, cfg.resume)
    cfg = copy.copy(cfg)
    cfg.output_dir, cfg.start_step = str(run.folder), run.steps_made
    config, weights = weights_for(config, cfg.vgg_weights)
    loss = PerceptualLoss.from_picture(config, weights, picture)
    if loss.substitution:
        log.warning(loss.substitution)

    with torch.random.fork_rng():
        torch.manual_seed(0 if cfg.seed is None else cfg.seed)
        network = TransformerNet(network_config)
    module = StyleModule(network, loss, _instantiate(cfg.optim, "optim"), schedule)
    stop = StopSignals()
    trainer = _trainer(cfg, data, stop)
    log.info(
        "Training %s on %d photos for %s; the run is in %s",
        style.name,
        len(data.paths),
        _limits(schedule),
        run.folder,
    )
    run.mark("running")

    def export() -> Path:
        path = run.folder / f"{style.name}.onnx"
        trained = copy.deepcopy(module.average.module).cpu().eval()
        info = style.info(picture_path, _training_facts(module, data, config, weights, picture))
        save_style(cast(TransformerNet, trained), info, path)
        return path

    try:
        _fit(trainer, module, data, run.checkpoint)
    except TrainingError as error:
        if not module.average.n_averaged:
            raise
        raise TrainingError(f"{error} They are in {export()}.") from error
    if not module.average.n_averaged:
        raise TrainingError("Not one step was made; train for longer (minutes=10).")
    style_file = export()
    for path, reason in data.skipped.items():
        log.warning("Skipped %s: %s", path, reason)
    if data.skipped:
        log.warning("%d files were skipped; they could not be read.", len(data.skipped))
    log.info("%d steps in %.1f minutes", module.steps_made, module.seconds() / 60)

    stylizer = Stylizer(str(style_file), device="cpu")
    sheet_path = run.folder / "sheet.png"
    photos = {path.stem: load_image(path) for path in data.held_out[:4]}
    rows = [[small, stylizer(small)] for small in (fit_long_side(p, 512) for p in photos.values())]
    save_photo(sheet(rows, titles=("photo", style.name), cell_height=384), sheet_path)
    interrupted = stop.received is not None
    report = None
    if cfg.report and not interrupted:
        report = _report(run.folder, style.name, stylizer, loss, weights, picture, data)
    installed = _install(style_file) if cfg.install else None
    run.mark("interrupted" if interrupted else "finished")
    return TrainingResult(style_file, installed, sheet_path, report, interrupted)


def _fit(
    trainer: pl.Trainer, module: StyleModule, data: PhotoDataModule, checkpoint: Path | None
) -> None:
    with warnings.catch_warnings():
        # Lightning advises more worker processes, and tells of folders that are there.
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        warnings.filterwarnings("ignore", module="lightning_fabric")
        # Lightning's own use of torch.jit and of the device count.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        trainer.fit(
            module, datamodule=data, ckpt_path=checkpoint, weights_only=True if checkpoint else None
        )


def _trainer(cfg: DictConfig, data: PhotoDataModule, stop: StopSignals) -> pl.Trainer:
    for name in ("pytorch_lightning", "lightning_fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    callbacks = _instantiate(cfg.callbacks, "callbacks")
    sheets = callbacks.pop("sheets", None)
    if sheets is not None:
        callbacks["sheets"] = cast(Callable[..., SampleSheets], sheets)(photos=data.held_out[:4])
    # After all others, so that the checkpoint holds the step's every effect.
    checkpoint = callbacks.pop("checkpoint", None)
    last = [] if checkpoint is None else [cast(ResumeCheckpoint, checkpoint)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        return pl.Trainer(
            accelerator=cfg.trainer.accelerator,
            devices=1,
            precision=_precision(cfg.trainer.precision, cfg.trainer.accelerator),
            max_epochs=-1,
            max_steps=-1,
            val_check_interval=int(cfg.trainer.validate_every),
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            log_every_n_steps=10,
            callbacks=[*callbacks.values(), stop, *last],
            logger=list(_instantiate(cfg.logger, "logger").values()),
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )


def _precision(name: str, accelerator: str) -> Any:
    """``auto``: bfloat16 autocast where the processor computes in it, float32 elsewhere."""
    if name != "auto":
        return name
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    capabilities = torch.cpu.get_capabilities()
    fast = capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")
    return "bf16-mixed" if fast or capabilities.get("bf16") else "32-true"


def _loss(cfg: DictConfig) -> LossConfig:
    values = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    return loss_config(**{str(key): value for key, value in values.items()})


def _schedule(cfg: DictConfig) -> Schedule:
    minutes = cfg.minutes
    if minutes is None and cfg.steps is None:
        minutes = cfg.trainer.minutes
    trainer = cfg.trainer
    for name, value in (("steps", cfg.steps), ("minutes", minutes)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise SettingError(f"{name} must be a number, not {value!r}.")
    return Schedule(
        cfg.steps, minutes, trainer.warmup_steps, trainer.ema_decay, trainer.gradient_clip
    )


def _limits(schedule: Schedule) -> str:
    limits = []
    if schedule.steps is not None:
        limits.append(f"{schedule.steps} steps")
    if schedule.minutes is not None:
        limits.append(f"{schedule.minutes:g} minutes")
    return " or ".join(limits)


def _construct(kind: type[_T], cfg: DictConfig, group: str) -> _T:
    """A dataclass from a group of the configuration; a misspelt key is told by name."""
    values = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True) or {})
    known = [item.name for item in dataclasses.fields(cast(Any, kind))]
    for key in values:
        if key not in known:
            raise SettingError(f"There is no {group}.{key}; known are {', '.join(known)}.")
    return kind(**values)


def _instantiate(cfg: DictConfig, group: str) -> Any:
    """Hydra's instantiation; the user's errors come out as they went in."""
    try:
        made = hydra.utils.instantiate(cfg, _convert_="all")
    except HydraException as error:
        if isinstance(error.__cause__, FststyleError):
            raise error.__cause__ from None
        raise SettingError(f"{group}: {str(error).splitlines()[0]}") from error
    if isinstance(made, dict):
        return {key: value for key, value in made.items() if value is not None}
    return made


def _settings(cfg: DictConfig, picture: Path) -> dict[str, Any]:
    """What must be equal for a run to be resumed, as JSON holds it."""
    values: dict[str, Any] = {}
    for key in cfg:
        if key not in _VOLATILE and key not in ("hydra", "callbacks", "logger"):
            value = cfg[key]
            plain = (
                OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            )
            values[str(key)] = plain
    values["trainer"].pop("minutes", None)
    values["style"]["sha256"] = hashlib.sha256(picture.read_bytes()).hexdigest()
    return cast(dict[str, Any], json.loads(json.dumps(values)))


def _training_facts(
    module: StyleModule,
    data: PhotoDataModule,
    config: LossConfig,
    weights: VGGWeights,
    picture: NDArray[np.float32],
) -> dict[str, Any]:
    metrics = module.trainer.callback_metrics
    return {
        "steps": module.steps_made,
        "minutes": round(module.seconds() / 60, 2),
        "photos": len(data.paths),
        "size": data.size,
        "batch_size": data.batch_size,
        "loss": config.as_dict(),
        "vgg": {"architecture": weights.architecture, "original": weights.original},
        "style_picture_size": [picture.shape[1], picture.shape[0]],
        "held_out": {
            name.removeprefix("val/"): round(float(value), 5)
            for name, value in metrics.items()
            if name.startswith("val/")
        },
    }


def _report(
    folder: Path,
    name: str,
    stylizer: Stylizer,
    loss: PerceptualLoss,
    weights: VGGWeights,
    picture: NDArray[np.float32],
    data: PhotoDataModule,
) -> Path:
    """Measure the style file on three held-out photographs, in a minute or so."""
    log.info("Comparing with L-BFGS on three held-out photos (report=false leaves this out)")
    same = loss.config == evaluate.MEASURE
    measure = loss if same else evaluate.measure_for(picture, weights)
    names = [path.stem for path in data.held_out[:3]]
    crops = [crop.numpy().transpose(1, 2, 0) for crop in data.held_out_crops()[:3]]
    evaluation = evaluate.evaluate(
        name,
        stylizer,
        measure.cpu(),
        dict(zip(names, crops, strict=True)),
        iterations=(1, 2, 5, 10, 20, 50),
    )
    return evaluate.write_report(evaluation, folder)


def _install(style_file: Path) -> Path | None:
    """Copy the style file to where ``--style NAME`` finds it."""
    target = user_styles_folder() / style_file.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copyfile(style_file, temporary)
        temporary.replace(target)
    except OSError as error:
        log.warning("The style could not be copied to %s (%s).", target, error)
        return None
    return target


def config_folder() -> Path:
    """Where the configuration is: in the installed package, or in the checkout."""
    inside = Path(__file__).parent / "configs"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "configs"


def style_choices() -> list[str]:
    """The values that ``style=`` takes."""
    folder = config_folder() / "style"
    return sorted(
        path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")
    )


def main() -> None:
    """``python train.py style=NAME [key=value …]``."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    arguments = sys.argv[1:]
    if not any(a.lstrip("+~").startswith("style") or a in _HYDRA_FLAGS for a in arguments):
        sys.stderr.write(
            "Name a style: python train.py style=NAME, with NAME one of\n  "
            + "\n  ".join(style_choices())
            + "\nor give your own picture: style.image=my.jpg style.name=mine\n"
        )
        raise SystemExit(2)
    hydra_main = hydra.main(
        version_base="1.3", config_path=str(config_folder()), config_name="config"
    )
    hydra_main(_job)()


_HYDRA_FLAGS: Final = ("--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i", "--version")


def _job(cfg: DictConfig) -> None:
    """One run; what it says at its end is all that goes to the standard output."""
    try:
        result = train(cfg)
    except FststyleError as error:
        sys.stderr.write(f"Error: {error}\n")
        raise SystemExit(1) from None
    except OmegaConfBaseException as error:
        sys.stderr.write(f"Error: {str(error).splitlines()[0]}\n")
        raise SystemExit(1) from None
    lines = [f"Style file    {result.style_file}"]
    if result.installed is not None:
        lines.append(
            f"Use it        fststyle stylize photo.jpg --style {result.installed.stem} -o out.jpg"
        )
    lines.append(f"Sample sheet  {result.sheet}")
    if result.report is not None:
        lines += [f"Report        {result.report}", "", evaluate.summary(result.report)]
    sys.stdout.write("\n".join(lines) + "\n")
    if result.interrupted:
        raise SystemExit(INTERRUPTED)


if __name__ == "__main__":
    GlobalHydra.instance().clear()
    main()
