"""Read typed values from a composed configuration; errors name the faulty key and the problem."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast, get_args

import hydra
import torch
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fststyle.errors import FststyleError, SettingError, StyleError, check_choice, check_number
from fststyle.perceptual.presets import LossConfig, loss_config
from fststyle.styles.find import art_folder, art_info, find_picture, zoo_folder
from fststyle.styles.info import StyleInfo
from fststyle.training.module import OptimizerFactory, Schedule

Precision = Literal["auto", "bf16-mixed", "32-true"]
Accelerator = Literal["auto", "cpu", "gpu", "cuda", "mps"]

# These settings may differ when a run is resumed, because they do not affect the computation.
_FREE: Final = frozenset(
    ("minutes", "steps", "resume", "output_dir", "start_step", "report", "install", "paintings")
    + ("callbacks", "logger", "hydra")
)
_T = TypeVar("_T")


@dataclass(frozen=True)
class StyleSettings:
    """The group ``style``: a name, a style image, and information about the artwork.

    Attributes:
        name: Name of the style.
        image: Path of the style image, or name of an artwork included with fststyle.
        title: Title of the artwork.
        artist: Artist of the artwork.
        year: Year of the artwork.
        source: Source of the style image.
        licence: Licence of the style image.

    Raises:
        SettingError: The name or the style image is missing or is not text.
    """

    name: str = ""
    image: str = ""
    title: str = ""
    artist: str = ""
    year: int | str | None = None
    source: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        if not self.name or not self.image:
            raise SettingError(
                "Training needs a style.",
                remedy="Choose one (style=thanos_poster), or set a style image and a name "
                "(style.image=my.jpg style.name=mine).",
                code="no_style",
            )
        if not isinstance(self.image, str):
            raise SettingError(f"style.image must be the path of an image, not {self.image!r}.")

    def find_picture(self) -> Path:
        """Find the file of the style image.

        Raises:
            FststyleError: The file does not exist.
        """
        try:
            return find_picture(os.path.expanduser(self.image))
        except FststyleError as error:
            if not self.artist:
                raise
            known = ", ".join(str(item) for item in (self.artist, self.year) if item is not None)
            shipped = (zoo_folder() / f"{self.name}.onnx").is_file()
            raise StyleError(
                f"The image of {self.title} ({known}) is not included with fststyle, and the "
                "file {path} does not exist.",
                path=self.image,
                remedy="Save the image there, or give its path with style.image=PATH."
                + (f" A trained network is included: {self.name}." if shipped else ""),
                code="not_found",
            ) from error

    def info(self, picture: Path) -> StyleInfo:
        """Collect the information for the style file; included artworks provide their own.

        Raises:
            SettingError: The name is not allowed, or another value has the wrong type.
        """
        if picture.resolve().parent == art_folder().resolve():
            known = art_info(picture.stem)
        else:
            known = StyleInfo(
                self.name, self.title, self.artist, self.year, self.source, self.licence
            )
        sha256 = hashlib.sha256(picture.read_bytes()).hexdigest()
        return dataclasses.replace(known, name=self.name, style_image_sha256=sha256)


@dataclass(frozen=True)
class TrainerSettings:
    """Settings in the group ``trainer``.

    Attributes:
        minutes: Duration of the run if neither steps nor minutes are given.
        precision: Numeric precision; ``auto`` chooses bfloat16 if the processor supports it.
        accelerator: Lightning's name for the device to train on.
        warmup_steps: See `Schedule`.
        ema_decay: See `Schedule`.
        gradient_clip: See `Schedule`.
        validate_every: Number of steps between validations.
        gates: Check the network for visible faults, and do not install it if there are any.

    Raises:
        SettingError: A value is out of range or not one of the choices.
    """

    minutes: float
    precision: Precision
    accelerator: Accelerator
    warmup_steps: int
    ema_decay: float
    gradient_clip: float
    validate_every: int
    gates: bool

    def __post_init__(self) -> None:
        check_choice("trainer.precision", self.precision, get_args(Precision))
        check_choice("trainer.accelerator", self.accelerator, get_args(Accelerator))
        check_number("trainer.minutes", self.minutes, above=True)
        check_number("trainer.validate_every", self.validate_every, 1, whole=True)
        if not isinstance(self.gates, bool):
            raise SettingError(f"trainer.gates must be true or false, not {self.gates!r}.")

    def chosen_precision(self) -> Literal["bf16-mixed", "32-true"]:
        """Choose the precision for this machine."""
        if self.precision != "auto":
            return self.precision
        if self.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
            # float16 would require gradient scaling.
            return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
        if self.accelerator != "cpu" and torch.backends.mps.is_available():
            return "32-true"
        capabilities = torch.cpu.get_capabilities()
        names = ("amx_bf16", "avx512_bf16", "bf16")
        return "bf16-mixed" if any(capabilities.get(name) for name in names) else "32-true"


def construct(kind: type[_T], cfg: DictConfig, group: str) -> _T:
    """Make a dataclass from a group of the configuration.

    Args:
        kind: Dataclass to make.
        cfg: Values of the group. A null is replaced by the default if there is one.
        group: Name of the group, for messages.

    Raises:
        SettingError: A key is unknown (code ``unknown_setting``), or a value has the wrong type
            or is out of range.
    """
    values = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True) or {})
    fields = {item.name: item for item in dataclasses.fields(cast(Any, kind))}
    for key in values:
        if key not in fields:
            raise _unknown(f"{group}.{key}", [f"{group}.{name}" for name in fields])
    given = {
        key: value
        for key, value in values.items()
        if value is not None or fields[key].default is dataclasses.MISSING
    }
    try:
        return kind(**given)
    except TypeError as error:  # a missing key, or text instead of a number
        raise refused(group, error) from error


def read_loss(cfg: DictConfig) -> LossConfig:
    """Read the group ``loss``; a null is replaced by the preset's own value.

    Raises:
        SettingError: A key is unknown, or a value has the wrong type or is out of range.
    """
    values = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    try:
        return loss_config(**{str(k): value for k, value in values.items()})
    except TypeError as error:
        raise refused("loss", error) from error


def read_schedule(cfg: DictConfig, trainer: TrainerSettings) -> Schedule:
    """Make the schedule from ``steps`` and ``minutes``, or else from ``trainer.minutes``.

    Raises:
        SettingError: A value has the wrong type or is out of range.
    """
    minutes = trainer.minutes if cfg.minutes is None and cfg.steps is None else cfg.minutes
    return Schedule(
        cfg.steps, minutes, trainer.warmup_steps, trainer.ema_decay, trainer.gradient_clip
    )


def instantiate(cfg: DictConfig | None, group: str) -> Any:
    """Create objects with Hydra, and convert its errors to fststyle's.

    Args:
        cfg: A ``_target_`` with its arguments, or several of them by name. Null entries are
            skipped.
        group: Name of the group, for messages.

    Raises:
        FststyleError: A target refuses its arguments (code ``refused``).
    """
    if cfg is None:
        return {}
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise SettingError(
            f"The setting {missing[0]} is missing.", remedy=f"Set it with {missing[0]}=VALUE."
        )
    try:
        made = hydra.utils.instantiate(cfg, _convert_="all")
    except HydraException as error:
        cause = error.__cause__
        if isinstance(cause, FststyleError):
            raise cause from None
        if cause is None or isinstance(cause, TypeError | ValueError | ImportError):
            raise refused(group, cause or error) from error
        raise
    if isinstance(made, dict):
        return {key: value for key, value in made.items() if value is not None}
    return made


def read_optimizer(cfg: DictConfig) -> OptimizerFactory:
    """Read the group ``optim``, and test the optimiser on one parameter.

    Raises:
        SettingError: The optimiser rejects its arguments.
    """
    factory = cast(OptimizerFactory, instantiate(cfg, "optim"))
    try:
        factory([torch.nn.Parameter(torch.zeros(1))])
    except (TypeError, ValueError) as error:
        raise refused("optim", error) from error
    return factory


def comparable(cfg: DictConfig, info: StyleInfo) -> dict[str, Any]:
    """Collect the settings that must match for a run to be resumed, as JSON values."""
    values = {
        str(key): OmegaConf.to_container(cfg[key], resolve=True)
        if OmegaConf.is_config(cfg[key])
        else cfg[key]
        for key in cfg
        if key not in _FREE
    }
    for key in ("minutes", "gates"):
        cast(dict[str, Any], values["trainer"]).pop(key, None)
    cast(dict[str, Any], values["style"])["sha256"] = info.style_image_sha256
    return cast(dict[str, Any], json.loads(json.dumps(values)))


def config_folder() -> Path:
    """Find the configuration folder in the installed package or in the checkout."""
    inside = Path(__file__).parents[1] / "configs"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "configs"


def style_choices() -> list[str]:
    """List the values that ``style=`` accepts."""
    return _choices("style")


def check_keys(cfg: DictConfig) -> None:
    """Check the top-level keys, because Hydra accepts any key given as ``+key=value``.

    Raises:
        SettingError: A key is unknown (code ``unknown_setting``).
    """
    known = _top_level_settings()
    for key in cfg:
        if key not in (*known, "hydra"):
            raise _unknown(str(key), known)


def explain(error: Exception) -> SettingError:
    """Convert an error that Hydra or OmegaConf raises for a command line.

    Args:
        error: A ``HydraException`` or an ``OmegaConfBaseException``.

    Returns:
        An error that explains common mistakes in one sentence, and otherwise has the same text.
    """
    cause = str(error.__cause__) if isinstance(error.__cause__, OmegaConfBaseException) else ""
    text = "\n".join(part for part in (str(error), cause) if part)
    if missing := re.search(r"Could not override '([^']+)'", text):
        key = missing[1]
        group = key.partition(".")[0]
        known = [name for name in _all_settings() if name.startswith(f"{group}.")]
        return _unknown(key, known or _top_level_settings())
    if choice := re.search(r"Could not find '(\w+)/([^']*)'", text):
        group, name = choice.groups()
        choices = _choices(group)
        near = difflib.get_close_matches(name, choices, n=1)
        guess = f"; did you mean {near[0]}?" if near else "."
        return SettingError(
            f"Unknown {group} {name}{guess}",
            remedy=f"Choose from {', '.join(choices)}.",
            code="unknown_choice",
        )
    if "LexerNoViableAlt" in text or "mismatched input" in text or "extraneous input" in text:
        return SettingError(
            f"{text.splitlines()[0]}.",
            remedy="Put quotes around a value that contains a sign such as = , ( ) or a letter "
            "that is not from a to z: \"KEY='a=b'\".",
            code="needs_quotes",
        )
    return SettingError(re.sub(r"\s*Config search path:.*", "", text, flags=re.DOTALL))


def refused(group: str, error: BaseException) -> SettingError:
    """Make the error for a group of settings whose target refuses its arguments."""
    problem = f"{group}: {' '.join(str(error).split())}."
    return SettingError(problem, remedy=f"See configs/{group.partition('.')[0]}.", code="refused")


def _choices(group: str) -> list[str]:
    folder = config_folder() / group
    return sorted(
        path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")
    )


def _top_level_settings() -> list[str]:
    """List the top-level keys of the configuration, including the groups."""
    base = cast(DictConfig, OmegaConf.load(config_folder() / "config.yaml"))
    groups = [str(key) for item in base.defaults if OmegaConf.is_dict(item) for key in item]
    keys = [str(key) for key in base if key not in ("defaults", "hydra")]
    return sorted({*keys, *(group for group in groups if " " not in group)})


def _all_settings() -> list[str]:
    """List all keys of the configuration, such as ``data.size``."""
    found = set(_keys(OmegaConf.load(config_folder() / "config.yaml")))
    for group in _top_level_settings():
        for path in (config_folder() / group).glob("*.yaml"):
            found.update(_keys(OmegaConf.load(path), f"{group}."))
    return sorted(found)


def _keys(cfg: Any, prefix: str = "") -> Iterator[str]:
    for key in cfg:
        if not str(key).startswith("_"):  # Hydra's _target_ and _partial_
            yield f"{prefix}{key}"
        if OmegaConf.is_dict(cfg) and OmegaConf.is_dict(cfg._get_node(key)):
            yield from _keys(cfg[key], f"{prefix}{key}.")


def _unknown(key: str, known: Iterable[str]) -> SettingError:
    """Make the error for an unknown setting, which suggests the nearest one or lists all."""
    known = list(known)
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}."
    return SettingError(f"Unknown setting {key}; {hint}", code="unknown_setting")
