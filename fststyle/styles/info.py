"""Information about the origin and the training of a style."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from fststyle.errors import SettingError, StyleError

STYLE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""Pattern for valid names of styles and their files."""

_CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class StyleInfo:
    """Information about the origin and the training of a style.

    Attributes:
        name: Name of the style and its file: lower-case letters, digits, ``_`` and ``-``.
        title: Title of the artwork.
        artist: Artist of the artwork.
        year: Year of the artwork.
        source: Source of the style image, such as a web address.
        licence: Licence of the style image.
        style_image_sha256: Hexadecimal SHA-256 checksum of the style image's file.
        training: Anything known about the training run, such as steps, minutes, photos, loss
            settings and held-out losses. All values must be representable in JSON.

    Raises:
        SettingError: ``name`` is not allowed, or another value has the wrong type.

    Example:
        >>> info = StyleInfo("great_wave", artist="Katsushika Hokusai", year=1831)
        >>> StyleInfo.from_json(info.to_json()) == info
        True
    """

    name: str
    title: str = ""
    artist: str = ""
    year: int | str | None = None
    source: str = ""
    licence: str = ""
    style_image_sha256: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in ("name", "title", "artist", "source", "licence", "style_image_sha256"):
            value = getattr(self, key)
            if not isinstance(value, str):
                raise SettingError(f"A style's {key} must be text, not {value!r}.")
        if isinstance(self.year, bool) or not isinstance(self.year, int | str | None):
            raise SettingError(f"A style's year must be a number or text, not {self.year!r}.")
        # These texts are printed, and control characters could change what the terminal shows.
        for value in asdict(self).values():
            if isinstance(value, str) and _CONTROL_CHARACTERS.search(value):
                raise SettingError(f"A style's texts must be single lines, not {value!r}.")
        if not STYLE_NAME.fullmatch(self.name):
            raise SettingError(
                f"{self.name!r} is not a valid name for a style.",
                remedy="Use at most 64 of a-z, 0-9, '_' and '-', starting with a letter or digit.",
            )
        try:
            if not isinstance(self.training, Mapping):
                raise TypeError("it is not a mapping")
            # A copy with the same types that reading the file would give.
            training = json.loads(json.dumps(dict(self.training), allow_nan=False))
        except (TypeError, ValueError) as error:
            problem = f"The style's training record cannot be stored as JSON: {error}."
            raise SettingError(problem) from error
        object.__setattr__(self, "training", training)

    def to_json(self) -> str:
        """Return all fields as a JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> StyleInfo:
        """Read the text that `to_json` wrote.

        Args:
            text: A JSON object. Unknown keys are ignored, and missing keys get default values.

        Returns:
            The style's information.

        Raises:
            StyleError: The text is not a JSON object with a name, or a value has the wrong type
                (code ``damaged``).
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            problem = f"The style's description is not JSON ({error})."
            raise StyleError(problem, code="damaged") from error
        if not isinstance(values, dict) or "name" not in values:
            problem = 'The description of a style must be a JSON object with a "name".'
            raise StyleError(problem, code="damaged")
        known = {f.name for f in fields(cls)}
        try:
            return cls(**{key: value for key, value in values.items() if key in known})
        except SettingError as error:
            raise StyleError(error.problem, remedy=error.remedy, code="damaged") from error
