"""The page's server: its HTTP API, and the page itself.

docs/guides/page.md describes it for people, ``/api/openapi.json`` for programs.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import HTTPException
from fastapi.responses import FileResponse, StreamingResponse

from fststyle import __version__
from fststyle.errors import FststyleError
from fststyle.stylize.control import Control
from fststyle.web.errors import Refusal
from fststyle.web.guard import Guard
from fststyle.web.handlers import add_handlers, known_settings, methods_at
from fststyle.web.jobs import Job, Jobs
from fststyle.web.models import (
    NAME,
    PICTURE,
    STYLE,
    UPLOAD,
    Artwork,
    Health,
    JobFacts,
    JobList,
    Size,
    Style,
    Styles,
    body,
    problems,
)
from fststyle.web.page_files import MEDIA_TYPES, ort_files, page_config, page_files
from fststyle.web.photos import (
    Networks,
    Wish,
    check_picture,
    find_network,
    list_artworks,
    list_networks,
    stylise_file,
)
from fststyle.web.uploads import UploadLimits, receive
from fststyle.web.work_queue import WorkQueue

LEAST_STYLE_SIDE: Final = 32
"""MIN_STYLE_SIDE of presets.py, which would load torch."""

_MOST_STREAMS: Final = 32
_HEARTBEAT: Final = 10.0  # seconds; what stands between may end silent connections


@dataclass(frozen=True)
class Limits:
    """What the server takes on.

    Attributes:
        upload: Of each request's body.
        pixels: Of a photo.
        seconds: For a photo, from when it is received.
        threads: Photos in work at the same time.
        places: Requests with photos at the same time.
    """

    upload: UploadLimits = field(default_factory=UploadLimits)
    pixels: int = 64_000_000
    seconds: float = 120.0
    threads: int = 2
    places: int = 32


def create_app(
    *,
    limits: Limits | None = None,
    token: str | None = None,
    jobs: bool = True,
    training: Sequence[str] = (),
    vgg_weights: str | None = None,
    network_threads: int | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Guard:
    """Make the server's application.

    Args:
        limits: What it takes on.
        token: That every request must bring; None for none, which is for loopback only.
        jobs: Whether photos can be optimised and styles trained.
        training: Settings of every training, as ``fststyle train`` takes them.
        vgg_weights: A file of VGG weights for that, instead of looking for them.
        network_threads: Of the processor, for a network.
        stopping: Tells whether the server is about to end, so that no answer may go on for long.

    Returns:
        An ASGI application.
    """
    limits = limits or Limits()
    state = _State(limits, jobs, training, vgg_weights, network_threads, stopping)
    app = FastAPI(
        title="fststyle",
        version=__version__,
        description="Give photos a trained style.",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=state.lifespan,
    )
    add_handlers(app)
    _add_photos(app, state)
    if jobs:
        _add_jobs(app, state)
    else:
        _refuse_jobs(app)
    _add_page(app, state)  # last: it answers to every name
    return Guard(app, token)


class _State:
    """What the requests share."""

    def __init__(
        self,
        limits: Limits,
        has_jobs: bool,
        training: Sequence[str],
        vgg_weights: str | None,
        network_threads: int | None,
        stopping: Callable[[], bool],
    ) -> None:
        self.limits = limits
        self.has_jobs = has_jobs
        self.networks = Networks(network_threads)
        self.queue: WorkQueue
        self.jobs: Jobs
        self.streams = 0
        self.stopping = stopping
        self._training = training
        self._vgg_weights = vgg_weights

    @contextlib.asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Hold the private folder, the threads and the jobs."""
        folder = Path(tempfile.mkdtemp(prefix="fststyle-serve-"))  # mode 700
        self.queue = WorkQueue(folder, threads=self.limits.threads, places=self.limits.places)
        self.jobs = Jobs(folder, training=self._training, vgg_weights=self._vgg_weights)
        try:
            yield
        finally:
            self.jobs.close()
            self.queue.close()
            shutil.rmtree(folder, ignore_errors=True)


def _add_photos(app: FastAPI, state: _State) -> None:
    limits = state.limits

    @app.get("/healthz", responses=problems())
    async def health() -> Health:
        """Tell that the server is there; it needs no token."""
        return Health(status="ok", version=__version__)

    @app.head("/healthz", include_in_schema=False)
    async def is_there() -> Response:
        return Response()

    @app.get("/api/styles", responses=problems())
    def styles() -> Styles:
        """List the styles."""
        networks = [Style(**style) for style in list_networks()]
        artworks = list_artworks() if state.has_jobs else []
        return Styles(styles=networks, artworks=[Artwork(**artwork) for artwork in artworks])

    @app.post(
        "/api/stylize",
        responses={
            200: {"content": {f"image/{name}": PICTURE for name in ("jpeg", "png", "webp")}},
            **problems(*UPLOAD, 404, 503),
        },
        response_class=Response,
        openapi_extra=body("photo", "mask", raw=True),
        dependencies=[Depends(known_settings)],
    )
    async def stylize(
        request: Request,
        style: Annotated[
            str,
            Query(pattern=STYLE, description="a style, or several with weights: one:0.6,other:1"),
        ],
        format: Annotated[  # noqa: A002 - the name in the address
            Literal["jpeg", "png", "webp"] | None,
            Query(description="of the result; default: as the photo's, or what comes near"),
        ] = None,
        size: Size = None,
        scale: Annotated[
            float | None,
            Query(ge=0.25, le=64, description="size of the strokes; default: as large photos need"),
        ] = None,
        strength: Annotated[float, Query(ge=0, le=1)] = 1.0,
        keep_colors: bool = False,
        quality: Annotated[int | None, Query(ge=1, le=100)] = None,
        strip: Annotated[bool, Query(description="keep no metadata of the photo")] = False,
        keep_gps: Annotated[bool, Query(description="keep where it was taken")] = False,
    ) -> Response:
        """Stylise a photo; the answer is the very file that ``fststyle stylize`` writes."""
        if strip and keep_gps:
            raise Refusal(422, "bad_setting", "Give strip or keep_gps, not both.")
        control = Control(size=size, scale=scale, strength=strength, keep_colors=keep_colors)
        wish = Wish(style, format or "", control, quality, strip, keep_gps)
        async with state.queue.place() as place:
            files = await receive(request, place.folder, ("photo", "mask"), limits.upload)
            begin = time.perf_counter()
            picture, name = await place.run(
                functools.partial(stylise_file, files, wish, state.networks, limits.pixels),
                seconds=limits.seconds,
                gone=request.is_disconnected,
            )
        milliseconds = 1000 * (time.perf_counter() - begin)
        headers = {"server-timing": f"stylize;dur={milliseconds:.1f}"}
        return Response(picture, media_type=f"image/{name}", headers=headers)

    @app.get(
        "/api/styles/{name}.onnx",
        responses={
            200: {"content": {"application/octet-stream": PICTURE}},
            **problems(404, 422),
        },
        response_class=Response,
    )
    def style_file(name: str) -> Response:
        """Send a style file, for runners elsewhere."""
        return FileResponse(find_network(name).path, media_type="application/octet-stream")


def _add_page(app: FastAPI, state: _State) -> None:
    pages = page_files()

    def send(path: Path, *, keep: bool = False) -> Response:
        headers = {"cache-control": "max-age=86400" if keep else "no-cache"}
        media_type = MEDIA_TYPES.get(path.suffix, "application/octet-stream")
        return FileResponse(path, media_type=media_type, headers=headers)

    @app.get("/config.json", include_in_schema=False)
    async def config() -> dict[str, Any]:
        return page_config(
            server=True,
            jobs=state.has_jobs,
            most_bytes=state.limits.upload.bytes,
            most_pixels=state.limits.pixels,
        )

    @app.get("/ort/{name}", include_in_schema=False)
    async def ort(name: str) -> Response:
        files = ort_files()
        if name not in files:
            raise Refusal(404, "no_file", "There is no such file.")
        return send(files[name], keep=True)

    @app.api_route("/{name:path}", methods=["GET", "HEAD"], include_in_schema=False)
    async def page(request: Request, name: str) -> Response:
        if methods_at(request):
            raise HTTPException(405)
        # A dictionary of names: no path is ever made of what is asked for.
        path = pages.get(name or "index.html")
        if path is None:
            raise Refusal(404, "no_file", "There is no such page.")
        return send(path)


def _refuse_jobs(app: FastAPI) -> None:
    @app.post("/api/optimize", include_in_schema=False)
    @app.post("/api/train", include_in_schema=False)
    @app.get("/api/jobs", include_in_schema=False)
    async def refuse() -> Response:
        raise Refusal(403, "no_jobs", "This server repaints and trains nothing (--no-jobs).")


def _add_jobs(app: FastAPI, state: _State) -> None:
    limits = state.limits

    def facts(job: Job) -> JobFacts:
        return JobFacts(**job.facts())

    async def take(request: Request, folder: Path, *names: str) -> dict[str, Path]:
        files = await receive(request, folder, names, limits.upload)
        for name, path in files.items():
            least = LEAST_STYLE_SIDE if name == "picture" else 1
            await asyncio.to_thread(check_picture, path, name, limits.pixels, least_side=least)
        return files

    @app.post(
        "/api/optimize",
        status_code=202,
        responses=problems(*UPLOAD, 404, 409),
        openapi_extra=body("photo", "picture", raw=True),
        dependencies=[Depends(known_settings)],
    )
    async def optimize(
        request: Request,
        style: Annotated[
            str | None,
            Query(pattern=NAME, description="an artwork; without it the form has a picture"),
        ] = None,
        iterations: Annotated[int, Query(ge=1, le=500)] = 100,
        size: Annotated[int, Query(ge=32, le=1024, description="long side")] = 512,
        style_weight: Annotated[float, Query(ge=0.01, le=10)] = 0.5,
    ) -> JobFacts:
        """Begin to repaint one photo by optimisation, as ``fststyle optimize`` does."""
        async with state.queue.place() as place:
            files = await take(request, place.folder, "photo", "picture")
            if ("picture" in files) == (style is not None):
                end = "." if style is None else ", not both."
                sentence = f"Name an artwork (style=NAME) or send a picture of a style{end}"
                raise Refusal(422, "bad_style", sentence)
            if style is not None and all(style != work["name"] for work in list_artworks()):
                raise Refusal(404, "no_style", f"There is no artwork {style}.")
            job = state.jobs.optimize(
                files["photo"],
                files.get("picture") or str(style),
                iterations=iterations,
                size=size,
                strength=style_weight,
            )
        return facts(job)

    @app.post(
        "/api/train",
        status_code=202,
        responses=problems(*UPLOAD, 409),
        openapi_extra=body("picture", raw=True),
        dependencies=[Depends(known_settings)],
    )
    async def train(
        request: Request,
        name: Annotated[str, Query(pattern=NAME, description="of the new style")],
        minutes: Annotated[float, Query(gt=0, le=600)] = 10.0,
    ) -> JobFacts:
        """Begin to train a style on a picture, as ``fststyle train`` does."""
        async with state.queue.place() as place:
            files = await take(request, place.folder, "picture")
            job = state.jobs.train(files["picture"], name, minutes)
        return facts(job)

    @app.get("/api/jobs", responses=problems())
    def jobs() -> JobList:
        """List the jobs."""
        return JobList(jobs=[facts(job) for job in state.jobs.all()])

    @app.get("/api/jobs/{job_id}", responses=problems(404, 422))
    def job(job_id: str) -> JobFacts:
        """Tell how a job stands."""
        return facts(state.jobs.find(job_id))

    @app.delete("/api/jobs/{job_id}", responses=problems(404, 422))
    def cancel(job_id: str, keep: bool = False) -> JobFacts:
        """End a job; ``keep`` keeps what it has made so far."""
        return facts(state.jobs.cancel(job_id, keep=keep))

    @app.get(
        "/api/jobs/{job_id}/events",
        responses={
            200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
            **problems(404, 422, 429),
        },
        response_class=Response,
    )
    async def events(request: Request, job_id: str) -> Response:
        """Tell of a job as it goes on, as server-sent events, to its end."""
        watched = state.jobs.find(job_id)
        if state.streams >= _MOST_STREAMS:
            raise Refusal(429, "queue_full", "Too many watch already; try again in a moment.")
        return StreamingResponse(_events(request, watched, state), media_type="text/event-stream")

    @app.get(
        "/api/jobs/{job_id}/picture",
        responses={200: {"content": {"image/png": PICTURE}}, **problems(404, 422)},
        response_class=Response,
    )
    def picture(job_id: str) -> Response:
        """Send the newest picture: of a training its sample sheet, else the photo as it is now."""
        path = state.jobs.find(job_id).picture()
        try:
            content = None if path is None else path.read_bytes()
        except OSError:  # a newer one has just taken its place
            content = None
        if content is None:
            raise Refusal(404, "no_picture", "There is no picture yet.")
        return Response(content, media_type="image/png")


async def _events(request: Request, job: Job, state: _State) -> AsyncIterator[str]:
    state.streams += 1  # here, since what never begins never ends either
    try:
        told = None
        silent_since = time.monotonic()
        while True:
            facts = await asyncio.to_thread(job.facts)
            mark = (facts["version"], facts["picture"], facts["status"])
            now = time.monotonic()
            if mark != told:
                told, silent_since = mark, now
                yield f"data: {json.dumps(facts)}\n\n"
            elif now - silent_since > _HEARTBEAT:
                silent_since = now
                yield ": still there\n\n"
            if facts["status"] != "running" or state.stopping():
                return
            if await request.is_disconnected():
                return
            await asyncio.sleep(0.3)
    except FststyleError:  # the job is forgotten
        return
    finally:
        state.streams -= 1
