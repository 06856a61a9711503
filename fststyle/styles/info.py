"""Where a style comes from and how it was trained."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from fststyle.errors import SettingError, StyleError

if TYPE_CHECKING:
    pass


STYLE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""What may name a style, and so its files."""


@dataclass(frozen=True)
class StyleInfo:
    """Where a style comes from and how it was trained.

    Attributes:
        name: Names the style's file: lower-case letters, digits, ``_`` and ``-``.
        title: Of the artwork.
        artist: Of the artwork.
        year: Of the artwork.
        source: Where the picture of the artwork is from.
        licence: Of that picture.
        style_image_sha256: SHA-256 of the picture's file, hexadecimal.
        training: Whatever is known of the training, as JSON can hold it: steps, minutes,
            photos, settings of the loss, held-out losses.

    Raises:
        SettingError: ``name`` breaks its rule, or another value is not of its type.
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
        # These texts are printed; control characters could rewrite the terminal.
        for value in asdict(self).values():
            if isinstance(value, str) and re.search(r"[\x00-\x1f\x7f-\x9f]", value):
                raise SettingError(f"A style's texts must be one line each, not {value!r}.")
        if not STYLE_NAME.fullmatch(self.name):
            raise SettingError(
                f"{self.name!r} cannot name a style; use up to 64 of a-z, 0-9, '_' and '-', "
                "beginning with a letter or digit."
            )
        try:
            if not isinstance(self.training, Mapping):
                raise TypeError("it is no mapping")
            # A copy of our own, and as reading the file will give it back.
            training = json.loads(json.dumps(dict(self.training), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise SettingError(
                f"A style's training must be what JSON can hold: {error}."
            ) from error
        object.__setattr__(self, "training", training)

    def to_json(self) -> str:
        """Return all fields as one JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> StyleInfo:
        """Read what `to_json` wrote.

        Args:
            text: A JSON object. Unknown keys are ignored, missing ones have their default.

        Returns:
            The same information.

        Raises:
            StyleError: It is no JSON object, has no name, or a value is not of its type.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise StyleError(f"The style's description is damaged ({error}).") from error
        if not isinstance(values, dict) or "name" not in values:
            raise StyleError('The description of a style must be a JSON object with a "name".')
        known = {f.name for f in fields(cls)}
        try:
            return cls(**{key: value for key, value in values.items() if key in known})
        except SettingError as error:
            raise StyleError(str(error)) from error
