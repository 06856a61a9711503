"""Routes for the page: its files, its configuration and onnxruntime-web."""

from __future__ import annotations

import os
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from fastapi.responses import FileResponse
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from fststyle.images.bundled import sample_photo
from fststyle.web.errors import Refusal
from fststyle.web.models import NAME
from fststyle.web.networks import browser_model
from fststyle.web.page_files import MEDIA_TYPES, SAMPLE, ort_files, page_config
from fststyle.web.state import SharedState

_READ: Final = ["GET", "HEAD"]
_NO_CACHE: Final = {"cache-control": "no-cache"}  # browsers check whether the file has changed

router: Final = APIRouter(include_in_schema=False)


@router.get("/config.json")
async def config(state: SharedState) -> dict[str, Any]:
    """Return what the page needs to know about the server."""
    return page_config(
        server=True,
        jobs=state.has_jobs,
        most_bytes=state.limits.upload.bytes,
        most_pixels=state.limits.pixels,
    )


@router.api_route(f"/{SAMPLE}", methods=_READ)
def sample() -> Response:
    """Return the sample photo."""
    path = sample_photo()
    if path is None:
        raise Refusal("This server has no sample photo.", code="not_found")
    return FileResponse(path, media_type=MEDIA_TYPES[".png"], headers=_NO_CACHE)


@router.api_route("/ort/{name}", methods=_READ)
def ort(name: str) -> Response:
    """Return one of the onnxruntime-web files."""
    files = ort_files()
    if name not in files:
        raise Refusal("This server does not have that onnxruntime-web file.", code="not_found")
    path = files[name]
    headers = {"cache-control": "max-age=86400"}
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers=headers)


@router.get("/styles/{name}.onnx")
def browser_style(name: Annotated[str, Path(pattern=NAME)]) -> Response:
    """Return the network of a style for the page's runner."""
    media_type = MEDIA_TYPES[".onnx"]
    return Response(browser_model(name), media_type=media_type, headers=_NO_CACHE)


class PageFiles(StaticFiles):
    """The page's files, with media types that do not depend on the computer's settings."""

    def file_response(self, full_path: Any, *arguments: Any, **options: Any) -> Response:
        """Return a response with the file, or one saying that it has not changed."""
        response = super().file_response(full_path, *arguments, **options)
        response.headers.update(_NO_CACHE)
        if "content-type" in response.headers:
            response.headers["content-type"] = MEDIA_TYPES[os.path.splitext(full_path)[1]]
        return response
