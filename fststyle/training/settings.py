"""What a composed configuration says, as typed values; a wrong key or value is told by name."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast, get_args

import hydra
import torch
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fststyle.errors import FststyleError, SettingError, StyleError
from fststyle.perceptual.presets import LossConfig, loss_config
from fststyle.styles.find import art_folder, art_info, find_picture, zoo_folder
from fststyle.styles.info import StyleInfo
from fststyle.training.module import OptimizerFactory, Schedule

Precision = Literal["auto", "bf16-mixed", "32-true"]
Accelerator = Literal["auto", "cpu", "gpu", "cuda", "mps"]

# A run may be resumed with other values of these: they change nothing that is computed.
_FREE: Final = frozenset(
    ("minutes", "steps", "resume", "output_dir", "start_step", "report", "install", "paintings")
    + ("callbacks", "logger", "hydra")
)
_T = TypeVar("_T")


@dataclass(frozen=True)
class StyleSettings:
    """What is asked of a style: its name, its picture, and what is known of the artwork.

    Raises:
        SettingError: Name or picture are missing or no text.
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
                "Name a style (style=thanos_poster), or give a picture and a name "
                "(style.image=my.jpg style.name=mine)."
            )
        if not isinstance(self.image, str):
            raise SettingError(f"style.image must be the path of a picture, not {self.image!r}.")

    def find_picture(self) -> Path:
        """The picture's file.

        Raises:
            StyleError: It is not there.
        """
        try:
            return find_picture(self.image)
        except FststyleError as error:
            if not self.artist:
                raise
            known = ", ".join(str(item) for item in (self.artist, self.year) if item is not None)
            shipped = (
                f" (a trained network is shipped: --style {self.name})"
                if (zoo_folder() / f"{self.name}.onnx").is_file()
                else ""
            )
            raise StyleError(
                f"The picture of {self.title} ({known}) is not in this repository and not at "
                f"{self.image}; put it there, or give its path by style.image=PATH{shipped}."
            ) from error

    def info(self, picture: Path) -> StyleInfo:
        """The style file's provenance; one of our own artworks brings its own.

        Raises:
            SettingError: The name breaks its rule, or another value is not of its type.
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
    """The group ``trainer``; for the rest see `Schedule`.

    Attributes:
        minutes: The budget where neither steps nor minutes are given.
        precision: ``auto``: bfloat16 autocast where the processor computes in it.
        accelerator: Where to train, as Lightning names it.
        validate_every: Steps between two validations.
        gates: Look for faults at the end, and install no network that has one.

    Raises:
        SettingError: A value is not among the choices, or out of range.
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
        for name, value, choices in (
            ("precision", self.precision, get_args(Precision)),
            ("accelerator", self.accelerator, get_args(Accelerator)),
        ):
            if value not in choices:
                raise SettingError(
                    f"trainer.{name} must be one of {', '.join(choices)}, not {value!r}."
                )
        minutes = self.minutes
        if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not minutes > 0:
            raise SettingError(f"trainer.minutes must be a number above 0, not {minutes!r}.")
        if not isinstance(self.gates, bool):
            raise SettingError(f"trainer.gates must be true or false, not {self.gates!r}.")
        every = self.validate_every
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise SettingError(
                f"trainer.validate_every must be a whole number from 1, not {every}."
            )

    def chosen_precision(self) -> Literal["bf16-mixed", "32-true"]:
        """The precision to compute in, on this machine."""
        if self.precision != "auto":
            return self.precision
        if self.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
            # float16 would need its gradients scaled.
            return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
        if self.accelerator != "cpu" and torch.backends.mps.is_available():
            return "32-true"
        capabilities = torch.cpu.get_capabilities()
        names = ("amx_bf16", "avx512_bf16", "bf16")
        return "bf16-mixed" if any(capabilities.get(name) for name in names) else "32-true"


def construct(kind: type[_T], cfg: DictConfig, group: str) -> _T:
    """Make a dataclass of a group of the configuration.

    Args:
        kind: The dataclass.
        cfg: Its values; those that are null are left at their defaults, if they have one.
        group: The group's name, for messages.

    Raises:
        SettingError: A key is unknown, or a value is not of its type or out of range.
    """
    values = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True) or {})
    known = {item.name: item for item in dataclasses.fields(cast(Any, kind))}
    for key in values:
        if key not in known:
            raise SettingError(f"There is no {group}.{key}; known are {', '.join(known)}.")
    given = {
        key: value
        for key, value in values.items()
        if value is not None or known[key].default is dataclasses.MISSING
    }
    try:
        return kind(**given)
    except TypeError as error:  # a missing key; a text where a number is compared
        raise SettingError(f"{group}: {error}; see configs/{group}.") from error


def read_loss(cfg: DictConfig) -> LossConfig:
    """The loss of the group ``loss``; what is null there is as in the preset.

    Raises:
        SettingError: A key is unknown, or a value is not of its type or out of range.
    """
    values = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    try:
        return loss_config(**{str(k): value for k, value in values.items()})
    except TypeError as error:
        raise SettingError(f"loss: {error}; see configs/loss.") from error


def read_schedule(cfg: DictConfig, trainer: TrainerSettings) -> Schedule:
    """The schedule: by steps, by minutes, or by both; ``trainer.minutes`` with neither.

    Raises:
        SettingError: A value is not of its type or out of range.
    """
    minutes = cfg.minutes
    if minutes is None and cfg.steps is None:
        minutes = trainer.minutes
    return Schedule(
        cfg.steps, minutes, trainer.warmup_steps, trainer.ema_decay, trainer.gradient_clip
    )


def instantiate(cfg: DictConfig | None, group: str) -> Any:
    """Hydra's instantiation; the user's errors come out as they went in.

    Args:
        cfg: A ``_target_`` with its arguments, or several by name; those that are null are
            left out.
        group: The group's name, for messages.

    Raises:
        FststyleError: The target refused its arguments.
    """
    if cfg is None:
        return {}
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise SettingError(f"{missing[0]} must be given: {missing[0]}=VALUE.")
    try:
        made = hydra.utils.instantiate(cfg, _convert_="all")
    except HydraException as error:
        cause = error.__cause__
        if isinstance(cause, FststyleError):
            raise cause from None
        if cause is None or isinstance(cause, TypeError | ValueError | ImportError):
            text = " ".join(str(cause or error).split())
            raise SettingError(f"{group}: {text}; see configs/{group}.") from error
        raise
    if isinstance(made, dict):
        return {key: value for key, value in made.items() if value is not None}
    return made


def read_optimizer(cfg: DictConfig) -> OptimizerFactory:
    """The optimiser of the group ``optim``, tried on a parameter.

    Raises:
        SettingError: The optimiser refuses its arguments.
    """
    factory = cast(OptimizerFactory, instantiate(cfg, "optim"))
    try:
        factory([torch.nn.Parameter(torch.zeros(1))])
    except (TypeError, ValueError) as error:
        raise SettingError(f"optim: {error}; see configs/optim.") from error
    return factory


def comparable(cfg: DictConfig, info: StyleInfo) -> dict[str, Any]:
    """What must be equal for a run to be resumed, as JSON holds it."""
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
    """Where the configuration is: in the installed package, or in the checkout."""
    inside = Path(__file__).parents[1] / "configs"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "configs"


def style_choices() -> list[str]:
    """The values that ``style=`` takes."""
    return _choices("style")


def _choices(group: str) -> list[str]:
    folder = config_folder() / group
    return sorted(
        path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")
    )


def _known_keys() -> list[str]:
    """The top-level keys of the configuration, groups included."""
    base = cast(DictConfig, OmegaConf.load(config_folder() / "config.yaml"))
    groups = [str(key) for item in base.defaults if OmegaConf.is_dict(item) for key in item]
    keys = [str(key) for key in base if key not in ("defaults", "hydra")]
    return sorted({*keys, *(group for group in groups if " " not in group)})


def check_keys(cfg: DictConfig) -> None:
    """Refuse top-level keys that mean nothing, which ``+key=value`` would let through.

    Raises:
        SettingError: There is such a key.
    """
    for key in cfg:
        if key not in (*_known_keys(), "hydra"):
            raise SettingError(_no_such_key(str(key)))


def _no_such_key(key: str) -> str:
    near = difflib.get_close_matches(key, _known_keys(), n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(_known_keys())}."
    return f"There is no setting {key}; {hint}"


def explain(error: Exception) -> str:
    """What Hydra or OmegaConf say of a command line, in a sentence for its user.

    Args:
        error: A ``HydraException`` or an ``OmegaConfBaseException``.

    Returns:
        The sentence; what is not known here stays as they say it.
    """
    cause = str(error.__cause__) if isinstance(error.__cause__, OmegaConfBaseException) else ""
    text = "\n".join(part for part in (str(error), cause) if part)
    if missing := re.search(r"Could not override '([^'.]+)'", text):
        return _no_such_key(missing[1])
    if missing := re.search(r"Could not override '([^']+)'", text):
        return f"There is no setting {missing[1]}; see `python train.py --help`."
    if choice := re.search(r"Could not find '(\w+)/([^']*)'", text):
        group, name = choice.groups()
        choices = _choices(group)
        near = difflib.get_close_matches(name, choices, n=1)
        hint = f" did you mean {near[0]}?" if near else ""
        what = f"style {name}" if group == "style" else f"{group}={name}"
        return f"There is no {what};{hint} there are {', '.join(choices)}."
    if "LexerNoViableAlt" in text or "mismatched input" in text or "extraneous input" in text:
        line = text.splitlines()[0]
        return (
            f"{line} (a value with letters beyond a to z, or a sign such as = , ( ), needs quotes "
            "of its own: \"style.image='my=picture.jpg'\")"
        )
    return re.sub(r"\s*Config search path:.*", "", text, flags=re.DOTALL)
