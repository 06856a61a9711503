"""Routes for photos and styles."""

from __future__ import annotations

import functools
import time
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import FileResponse

from fststyle import __version__
from fststyle.web.errors import Refusal
from fststyle.web.formats import FORMATS
from fststyle.web.models import (
    FILE,
    NAME,
    UPLOAD,
    Health,
    Styles,
    StylizeRequest,
    image_body,
    problems,
)
from fststyle.web.networks import find_network, list_artworks, list_networks
from fststyle.web.photos import stylize_file
from fststyle.web.state import SharedState, refuse_doubled_settings
from fststyle.web.uploads import receive

router: Final = APIRouter()


@router.get("/healthz", responses=problems())
async def health() -> Health:
    """Report that the server is running. No token is required."""
    return Health(status="ok", version=__version__)


@router.head("/healthz", include_in_schema=False)
async def health_head() -> Response:
    """Report that the server is running, without a body."""
    return Response()


@router.get("/api/styles", responses=problems())
def styles(state: SharedState) -> Styles:
    """List the styles."""
    return Styles(styles=list_networks(), artworks=list_artworks() if state.has_jobs else [])


@router.get(
    "/api/styles/{name}.onnx",
    responses={200: {"content": {"application/octet-stream": FILE}}, **problems(404, 422)},
    response_class=Response,
)
def style_file(name: Annotated[str, Path(pattern=NAME)]) -> Response:
    """Return a style file, for use outside the server."""
    return FileResponse(find_network(name).path, media_type="application/octet-stream")


@router.post(
    "/api/stylize",
    responses={
        200: {"content": {f"image/{name}": FILE for name in FORMATS}},
        **problems(*UPLOAD, 404, 503),
    },
    response_class=Response,
    openapi_extra=image_body("photo", "mask", "strength_map"),
    dependencies=[Depends(refuse_doubled_settings)],
)
async def stylize(
    request: Request, state: SharedState, settings: Annotated[StylizeRequest, Query()]
) -> Response:
    """Stylise a photo. The response is the same file that ``fststyle stylize`` would write."""
    if settings.strip and settings.keep_gps:
        raise Refusal("strip and keep_gps cannot be combined.", code="setting")
    async with state.queue.slot() as slot:
        files = await receive(
            request, slot.folder, ("photo", "mask", "strength_map"), state.limits.upload
        )
        begin = time.perf_counter()
        work = functools.partial(stylize_file, files, settings, state.networks, state.limits.pixels)
        image, name, faces = await slot.run(
            work, seconds=state.limits.seconds, gone=request.is_disconnected
        )
    milliseconds = 1000 * (time.perf_counter() - begin)
    headers = {"server-timing": f"stylize;dur={milliseconds:.1f}"}
    if faces is not None:
        headers["fststyle-faces"] = str(faces)
    return Response(image, media_type=f"image/{name}", headers=headers)
