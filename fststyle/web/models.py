"""What the API takes and gives, as its OpenAPI description tells programs."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import Query
from pydantic import BaseModel, Field

from fststyle.styles.info import STYLE_NAME
from fststyle.web.photos import BLEND
from fststyle.web.uploads import RAW_TYPES

PICTURE: Final[dict[str, Any]] = {"schema": {"type": "string", "format": "binary"}}
"""A body that is a file."""


class Style(BaseModel):
    """A trained style."""

    name: str
    title: str
    artist: str
    year: str
    licence: str
    quality: str
    origin: Literal["shipped", "own"]
    bytes: int


class Artwork(BaseModel):
    """A picture of ours that a photo can be optimised towards."""

    name: str
    title: str
    artist: str
    year: str
    licence: str
    quality: str


class Styles(BaseModel):
    """What there is to choose from."""

    styles: list[Style]
    artworks: list[Artwork]


class JobFacts(BaseModel):
    """How a job stands."""

    id: str
    kind: Literal["train", "optimize"]
    name: str
    status: Literal["running", "done", "failed", "cancelled"]
    share: float | None = Field(description="done of its work, from 0 to 1; null before it begins")
    step: int
    seconds_left: float | None
    seconds: float
    error: str
    picture: str | None = Field(description="changes with every new picture")
    version: int


class JobList(BaseModel):
    """The jobs that are remembered, the newest first."""

    jobs: list[JobFacts]


class Health(BaseModel):
    """The server is there."""

    status: Literal["ok"]
    version: str


class Problem(BaseModel):
    """What was not possible."""

    error: str = Field(description="a sentence for people")
    code: str = Field(description="a word for programs")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe answers that are a `Problem`, by their statuses."""
    # 401, 403 and 421 are the guard's, whatever is asked for.
    return {status: {"model": Problem} for status in (401, 403, 421, *statuses)}


def body(*parts: str, raw: bool) -> dict[str, Any]:
    """Describe a body that is a form of pictures, or the first of them itself."""
    properties = dict.fromkeys(parts, PICTURE["schema"])
    form = {"type": "object", "properties": properties, "required": [parts[0]]}
    content: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    if raw:
        content |= dict.fromkeys(RAW_TYPES, PICTURE)
    return {"requestBody": {"required": True, "content": content}}


UPLOAD: Final = (400, 408, 413, 415, 422, 429)
STYLE: Final = f"^{BLEND.pattern}$"
NAME: Final = f"^{STYLE_NAME.pattern}$"

Size = Annotated[
    Annotated[int, Field(ge=1, le=65_500)] | Literal["full"] | None,
    Query(description="long side of the result in pixels, never enlarged; default: the photo's"),
]
