"""The API's settings, responses and errors, as shown in its OpenAPI description."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field

from fststyle.styles.dial import STRONGEST
from fststyle.styles.info import STYLE_NAME
from fststyle.stylize.control import Control
from fststyle.web.formats import IMAGE_KINDS

FILE: Final[dict[str, Any]] = {"schema": {"type": "string", "format": "binary"}}
"""OpenAPI description of a body that is a file."""

UPLOAD: Final = (400, 408, 413, 415, 422, 429, 507)
"""HTTP statuses of the errors that an upload can cause."""

BLEND: Final = (
    r"^[a-z0-9][a-z0-9_-]{0,63}(:[0-9]{1,3}(\.[0-9]{1,6})?)?"
    r"(,[a-z0-9][a-z0-9_-]{0,63}(:[0-9]{1,3}(\.[0-9]{1,6})?)?){0,3}$"
)
"""Pattern for the name of a style, or for up to four names with optional weights."""

NAME: Final = f"^{STYLE_NAME.pattern}$"
"""Pattern for the name of a style."""

_SCALE: Final = "size of the brush strokes; by default chosen to suit the size of the photo"


class _Settings(BaseModel):
    """Settings in a request's query string. Unknown settings are refused."""

    model_config = {"extra": "forbid"}


class StylizeRequest(_Settings):
    """Settings for a request to stylise one photo."""

    style: str = Field(
        pattern=BLEND, description="one style, or several with weights: one:0.6,other:1"
    )
    format: Literal["jpeg", "png", "webp"] | None = Field(
        default=None, description="output format; default: the photo's format, or a similar one"
    )
    size: Annotated[int, Field(ge=1, le=65_500)] | Literal["full"] | None = Field(
        default=None,
        description="long side of the result in pixels, never upscaled; default: as in the photo",
    )
    scale: float | None = Field(default=None, ge=0.25, le=64, description=_SCALE)
    strength: float = Field(
        default=1.0,
        ge=0,
        le=STRONGEST,
        description="0 is the unchanged photo; only styles with a dial can be stronger than 1",
    )
    keep_colors: bool = False
    faces: Literal["gentle"] | None = Field(
        default=None, description="gentle weakens the style on faces"
    )
    quality: int | None = Field(default=None, ge=1, le=100, description="quality of JPEG and WebP")
    strip: bool = Field(default=False, description="remove all metadata from the photo")
    keep_gps: bool = Field(default=False, description="keep the photo's GPS location")

    def control(self) -> Control:
        """Return the settings as a `Control` for `Stylizer.stylize`."""
        names = ("size", "scale", "strength", "keep_colors", "faces")
        return Control(**{name: getattr(self, name) for name in names})


class OptimizeRequest(_Settings):
    """Settings for a request to repaint one photo."""

    style: str | None = Field(
        default=None, pattern=NAME, description="name of an artwork; if omitted, send a picture"
    )
    iterations: int = Field(default=100, ge=1, le=500)
    size: int = Field(default=512, ge=32, le=1024, description="long side of the result in pixels")
    style_weight: float = Field(default=0.5, ge=0.01, le=10)


class TrainRequest(_Settings):
    """Settings for a request to train a style."""

    name: str = Field(pattern=NAME, description="name of the new style")
    minutes: float = Field(default=10.0, gt=0, le=600)


class Artwork(BaseModel):
    """One of fststyle's own artworks. Photos can be repainted in its style."""

    name: str
    title: str
    artist: str
    year: str
    licence: str
    quality: str


class Style(Artwork):
    """A trained style."""

    origin: Literal["shipped", "own"]
    bytes: int
    dial: bool = Field(description="whether the style can be applied at strengths up to 4")
    recommended_strength: float


class Styles(BaseModel):
    """All styles and artworks."""

    styles: list[Style]
    artworks: list[Artwork] = []


class JobFacts(BaseModel):
    """The state of a job."""

    model_config = {"from_attributes": True}

    id: str
    kind: Literal["train", "optimize"]
    name: str
    status: Literal["running", "done", "failed", "cancelled"]
    share: float | None = Field(
        description="fraction of the work that is done, from 0 to 1; null before the job starts"
    )
    step: int
    seconds_left: float | None
    seconds: float
    error: str
    picture: str | None = Field(description="identifier of the newest image")
    version: int


class JobList(BaseModel):
    """The jobs that the server remembers, newest first."""

    jobs: list[JobFacts]


class Health(BaseModel):
    """Confirmation that the server is running."""

    status: Literal["ok"]
    version: str


class Problem(BaseModel):
    """An error."""

    error: str = Field(description="human-readable message")
    code: str = Field(description="machine-readable error code")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI descriptions of the error responses, by HTTP status."""
    # The guard can answer a request to any address with 401, 403 or 421.
    return {status: {"model": Problem} for status in (401, 403, 421, *statuses)}


def image_body(*parts: str) -> dict[str, Any]:
    """Describe a request body: either a form with image files, or just the first file."""
    properties = dict.fromkeys(parts, FILE["schema"])
    form = {"type": "object", "properties": properties, "required": [parts[0]]}
    content = {"multipart/form-data": {"schema": form}}
    content |= {f"image/{kind}": FILE for kind in IMAGE_KINDS}
    return {"requestBody": {"required": True, "content": content}}
