"""State that all requests of a server share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request

from fststyle.web.errors import Refusal
from fststyle.web.jobs import Jobs
from fststyle.web.networks import Networks
from fststyle.web.uploads import UploadLimits
from fststyle.web.work_queue import WorkQueue


@dataclass(frozen=True)
class Limits:
    """Limits of a server.

    Attributes:
        upload: Limits of each request's body.
        pixels: Largest number of pixels of a photo.
        seconds: Time limit for a photo, from the end of its upload.
        threads: Number of photos that are processed at the same time.
        slots: Number of requests with photos at the same time.
    """

    upload: UploadLimits = field(default_factory=UploadLimits)
    pixels: int = 64_000_000
    seconds: float = 120.0
    threads: int = 2
    slots: int = 32


@dataclass
class State:
    """State that all requests share.

    Attributes:
        limits: Limits of the server.
        networks: The loaded networks.
        has_jobs: Photos can be repainted and styles trained.
        training: Settings of every training, as ``fststyle train`` takes them.
        vgg_weights: File of VGG weights for the jobs. By default they are searched for.
        stopping: Return whether the server is stopping.
        streams: Number of clients that follow jobs.
        queue: The slots for photos. It exists while the server runs.
        jobs: The trainings and repaintings. They exist while the server runs.
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
        """Create the private folder, the queue and the jobs, and remove them at the end."""
        folder = Path(tempfile.mkdtemp(prefix="fststyle-serve-"))  # mode 700
        threads, slots = self.limits.threads, self.limits.slots
        try:
            async with WorkQueue(folder, threads=threads, slots=slots) as self.queue:
                self.jobs = Jobs(folder, training=self.training, vgg_weights=self.vgg_weights)
                try:
                    yield
                finally:
                    self.jobs.close()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _state(request: Request) -> State:
    state: State = request.app.state.shared
    return state


SharedState = Annotated[State, Depends(_state)]
"""The parameter of a route that receives the server's state."""


async def refuse_doubled_settings(request: Request) -> None:
    """Refuse a query string that has a setting twice.

    Raises:
        Refusal: It has (code ``setting``).
    """
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if names.count(name) > 1:
            raise Refusal(f"The setting {name!r:.80} is given more than once.", code="setting")
