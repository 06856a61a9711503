"""Routes for jobs that train a style or repaint a photo."""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Final

import anyio
from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from fststyle.perceptual.presets import MIN_STYLE_SIDE
from fststyle.web.errors import Refusal
from fststyle.web.jobs import Job
from fststyle.web.models import (
    FILE,
    UPLOAD,
    JobFacts,
    JobList,
    OptimizeRequest,
    TrainRequest,
    image_body,
    problems,
)
from fststyle.web.networks import list_artworks
from fststyle.web.photos import check_image
from fststyle.web.state import SharedState, State, refuse_doubled_settings
from fststyle.web.uploads import receive

_MAX_STREAMS: Final = 32
_POLL_SECONDS: Final = 0.3
_HEARTBEAT_SECONDS: Final = 10.0  # proxies close connections that stay silent for too long

router: Final = APIRouter()
disabled_router: Final = APIRouter(include_in_schema=False)


@disabled_router.post("/api/optimize")
@disabled_router.post("/api/train")
@disabled_router.get("/api/jobs")
async def refuse() -> Response:
    """Refuse jobs because they are disabled on this server."""
    raise Refusal("Training and repainting are disabled on this server.", code="no_jobs")


@router.post(
    "/api/optimize",
    status_code=202,
    responses=problems(*UPLOAD, 404, 409),
    openapi_extra=image_body("photo", "picture"),
    dependencies=[Depends(refuse_doubled_settings)],
)
async def optimize(
    request: Request, state: SharedState, settings: Annotated[OptimizeRequest, Query()]
) -> JobFacts:
    """Start repainting one photo by optimisation, as ``fststyle optimize`` does."""
    style = settings.style
    async with state.queue.slot() as slot:
        files = await _receive(request, state, slot.folder, "photo", "picture")
        if ("picture" in files) == (style is not None):
            raise Refusal(
                "Pass the name of an artwork (style=NAME) or send a style image"
                + ("." if style is None else ", not both."),
                code="setting",
            )
        if style is not None and all(style != artwork.name for artwork in list_artworks()):
            raise Refusal(f"Unknown artwork {style}.", code="unknown_style")
        job = state.jobs.optimize(
            files["photo"],
            files.get("picture") or str(style),
            iterations=settings.iterations,
            size=settings.size,
            style_weight=settings.style_weight,
        )
    return job.facts()


@router.post(
    "/api/train",
    status_code=202,
    responses=problems(*UPLOAD, 409),
    openapi_extra=image_body("picture"),
    dependencies=[Depends(refuse_doubled_settings)],
)
async def train(
    request: Request, state: SharedState, settings: Annotated[TrainRequest, Query()]
) -> JobFacts:
    """Start training a style from an image, as ``fststyle train`` does."""
    async with state.queue.slot() as slot:
        files = await _receive(request, state, slot.folder, "picture")
        job = state.jobs.train(files["picture"], settings.name, settings.minutes)
    return job.facts()


@router.get("/api/jobs", responses=problems())
def jobs(state: SharedState) -> JobList:
    """List the jobs."""
    return JobList(jobs=[job.facts() for job in state.jobs.all()])


@router.get("/api/jobs/{job_id}", responses=problems(404, 422))
def job(state: SharedState, job_id: str) -> JobFacts:
    """Return the state of a job."""
    return state.jobs.find(job_id).facts()


@router.delete("/api/jobs/{job_id}", responses=problems(404, 422))
def cancel(state: SharedState, job_id: str, keep: bool = False) -> JobFacts:
    """Stop a job. With ``keep``, the result so far is kept."""
    return state.jobs.cancel(job_id, keep=keep).facts()


@router.get(
    "/api/jobs/{job_id}/events",
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
        **problems(404, 422, 429),
    },
    response_class=Response,
)
async def events(request: Request, state: SharedState, job_id: str) -> Response:
    """Stream the state of a job as server-sent events until the job ends."""
    job = state.jobs.find(job_id)
    if state.streams >= _MAX_STREAMS:
        raise Refusal(
            "Too many clients are following jobs.",
            remedy="Try again in a moment.",
            code="queue_full",
        )
    return StreamingResponse(_events(request, job, state), media_type="text/event-stream")


@router.get(
    "/api/jobs/{job_id}/picture",
    responses={200: {"content": {"image/png": FILE}}, **problems(404, 422)},
    response_class=Response,
)
def picture(state: SharedState, job_id: str) -> Response:
    """Return the newest image: a training run's sample sheet, or the repainted photo so far."""
    path = state.jobs.find(job_id).image()
    try:
        content = None if path is None else path.read_bytes()
    except OSError:  # a newer image has just replaced this one
        content = None
    if content is None:
        raise Refusal("This job has no image yet.", code="not_found")
    return Response(content, media_type="image/png")


async def _receive(request: Request, state: State, folder: Path, *names: str) -> dict[str, Path]:
    files = await receive(request, folder, names, state.limits.upload)
    for name, path in files.items():
        min_side = MIN_STYLE_SIDE if name == "picture" else 1
        check = functools.partial(check_image, path, name, state.limits.pixels, min_side=min_side)
        await to_thread.run_sync(check)
    return files


async def _events(request: Request, job: Job, state: State) -> AsyncIterator[str]:
    state.streams += 1  # counted only here, because a stream that never starts also never ends
    try:
        sent = None
        silent_since = time.monotonic()
        while True:
            facts = await to_thread.run_sync(job.facts)
            mark = (facts.version, facts.picture, facts.status)
            now = time.monotonic()
            if mark != sent:
                sent, silent_since = mark, now
                yield f"data: {facts.model_dump_json()}\n\n"
            elif now - silent_since > _HEARTBEAT_SECONDS:
                silent_since = now
                yield ": heartbeat\n\n"
            if facts.status != "running" or state.stopping() or await request.is_disconnected():
                return
            await anyio.sleep(_POLL_SECONDS)
    finally:
        state.streams -= 1
