"""State shared by all requests to a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

from anyio import create_task_group
from fastapi import Depends, Request

from fststyle.web.errors import Refusal
from fststyle.web.jobs import Jobs
from fststyle.web.networks import Networks
from fststyle.web.private_folder import private_folder
from fststyle.web.uploads import UploadLimits
from fststyle.web.work_queue import WorkQueue


@dataclass(frozen=True)
class Limits:
    """A server's limits.

    Attributes:
        upload: Limits for the body of each request.
        pixels: Largest number of pixels allowed in a photo.
        seconds: Time limit for stylising a photo in seconds, not counting the upload.
        threads: Number of photos processed at the same time.
        slots: Number of photo requests accepted at the same time.
    """

    upload: UploadLimits = field(default_factory=UploadLimits)
    pixels: int = 64_000_000
    seconds: float = 120.0
    threads: int = 2
    slots: int = 32


@dataclass
class State:
    """State shared by all requests.

    Attributes:
        limits: The server's limits.
        networks: The loaded networks.
        has_jobs: Whether clients may repaint photos and train styles.
        training: Settings applied to every training run, in the form that ``fststyle train``
            accepts.
        vgg_weights: File with the VGG weights for jobs. By default, the usual locations are
            searched.
        stopping: Function that returns whether the server is stopping.
        streams: Number of clients that are following a job.
        queue: The slots for photo requests. Available only while the server runs.
        jobs: The jobs that train styles and repaint photos. Available only while the server runs.
    """

    limits: Limits
    networks: Networks
    has_jobs: bool = True
    training: Sequence[str] = ()
    vgg_weights: str | None = None
    stopping: Callable[[], bool] = lambda: False
    streams: int = 0
    queue: WorkQueue = field(init=False)
    jobs: Jobs = field(init=False)

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """Create the private folder, the queue and the jobs, and remove them on shutdown."""
        threads, slots = self.limits.threads, self.limits.slots
        with private_folder() as folder:
            async with create_task_group() as tasks:
                self.queue = WorkQueue(folder, tasks, threads=threads, slots=slots)
                self.jobs = Jobs(folder, training=self.training, vgg_weights=self.vgg_weights)
                try:
                    yield
                finally:
                    self.jobs.close()
                    tasks.cancel_scope.cancel()  # does not stop threads that are already running


def _state(request: Request) -> State:
    state: State = request.app.state.shared
    return state


SharedState = Annotated[State, Depends(_state)]
"""Type of the parameter through which a route receives the server's state."""


async def refuse_doubled_settings(request: Request) -> None:
    """Refuse a query string that contains a setting more than once.

    Raises:
        Refusal: A setting is repeated (code ``setting``).
    """
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if names.count(name) > 1:
            raise Refusal(f"The setting {name!r:.80} is given more than once.", code="setting")
