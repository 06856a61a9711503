"""A bounded number of requests in work, each with a private folder that goes with it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from fststyle.web.errors import Refusal

_LOOK_AGAIN: Final = 0.25  # seconds, for a client that has gone

_T = TypeVar("_T")


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class WorkQueue:
    """Threads that work, and places for requests that are received or wait for one.

    Args:
        folder: Private to this process; each place has a folder of its own in it.
        threads: That work at the same time.
        places: Requests at the same time, those in work included.
    """

    def __init__(self, folder: Path, *, threads: int = 2, places: int = 32) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="fststyle-photo")
        self._free = places
        self._lock = threading.Lock()

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[Place]:
        """Take a place, from before a request's body is received until its answer is there.

        Yields:
            The place.

        Raises:
            Refusal: All are taken.
        """
        with self._lock:
            if self._free == 0:
                raise Refusal(429, "queue_full", "Too many photos at once; try again in a moment.")
            self._free -= 1
        place: Place | None = None
        try:
            place = Place(self._threads, Path(tempfile.mkdtemp(dir=self._folder)))
            yield place
        finally:
            if place is None:
                self._give_back(None)
            else:
                place.when_done(self._give_back)

    def close(self) -> None:
        """Let what is in work end, and drop what waits."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _give_back(self, place: Place | None) -> None:
        if place is not None:
            shutil.rmtree(place.folder, ignore_errors=True)
        with self._lock:
            self._free += 1


class Place:
    """One request's.

    Attributes:
        folder: For its files; it goes with the place.
    """

    def __init__(self, threads: ThreadPoolExecutor, folder: Path) -> None:
        self.folder = folder
        self._threads = threads
        self._future: Future[Any] | None = None

    async def run(
        self, work: Callable[[], _T], *, seconds: float, gone: Callable[[], Awaitable[bool]]
    ) -> _T:
        """Have a thread do something.

        Args:
            work: To be done.
            seconds: After which it is given up; what has begun ends all the same, unseen.
            gone: Tells whether the client has gone.

        Returns:
            What ``work`` returns.

        Raises:
            Refusal: It takes too long.
            ClientGone: As it says.
        """
        future = self._threads.submit(work)
        self._future = future
        waiting = asyncio.ensure_future(asyncio.wrap_future(future))
        end = asyncio.get_running_loop().time() + seconds
        try:
            while True:
                done, _ = await asyncio.wait({waiting}, timeout=_LOOK_AGAIN)
                if done:
                    return waiting.result()
                if await gone():
                    raise ClientGone
                if asyncio.get_running_loop().time() > end:
                    raise Refusal(
                        503, "too_slow", f"That took longer than {seconds:g} seconds; try again."
                    )
        finally:
            if not waiting.done():
                future.cancel()
                waiting.add_done_callback(lambda over: over.cancelled() or over.exception())

    def when_done(self, call: Callable[[Place], None]) -> None:
        """Call something as soon as no thread is at work here."""
        if self._future is None:
            call(self)
        else:
            self._future.add_done_callback(lambda _: call(self))
