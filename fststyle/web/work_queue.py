"""A queue that limits the number of requests and gives each a private folder for its files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from anyio import (
    CancelScope,
    CapacityLimiter,
    Event,
    create_task_group,
    fail_after,
    move_on_after,
    to_thread,
)
from anyio.abc import TaskGroup

from fststyle.web.errors import ClientGone, Refusal

_POLL_SECONDS: Final = 0.25  # time between checks that the client is still connected

_T = TypeVar("_T")


class WorkQueue:
    """Slots for requests, and the threads that process them.

    The queue is an asynchronous context manager. On exit, it waits for running work to finish and
    drops work that has not started.

    Args:
        folder: A folder that is private to this process. Each slot gets a subfolder.
        threads: Number of worker threads.
        slots: Maximum number of simultaneous requests, including those still uploading.
    """

    def __init__(self, folder: Path, *, threads: int = 2, slots: int = 32) -> None:
        self._folder = folder
        self._limiter = CapacityLimiter(threads)
        self._free = slots
        self._tasks = create_task_group()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._tasks.cancel_scope.cancel()  # does not stop threads that are already running
        await self._tasks.__aexit__(kind, error, traceback)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Reserve a slot, from before the upload until the response is complete.

        Yields:
            The slot.

        Raises:
            Refusal: All slots are taken (code ``queue_full``).
        """
        if self._free == 0:
            raise Refusal(
                "The server is processing too many photos.",
                remedy="Try again in a moment.",
                code="queue_full",
            )
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        slot = Slot(folder, self._limiter, self._tasks, self._release)
        self._free -= 1
        try:
            yield slot
        finally:
            self._release(slot)

    def _release(self, slot: Slot) -> None:
        slot.holders -= 1
        if slot.holders == 0:
            shutil.rmtree(slot.folder, ignore_errors=True)
            self._free += 1


class Slot:
    """One request's place in the queue.

    Attributes:
        folder: Folder for the request's files. It is deleted once the request has been answered
            and its work has ended.
        holders: Number of tasks that use the folder: the request itself, plus any unfinished work.
    """

    def __init__(
        self,
        folder: Path,
        limiter: CapacityLimiter,
        tasks: TaskGroup,
        release: Callable[[Slot], None],
    ) -> None:
        self.folder = folder
        self.holders = 1
        self._limiter = limiter
        self._tasks = tasks
        self._release = release

    async def run(
        self, work: Callable[[], _T], *, seconds: float, gone: Callable[[], Awaitable[bool]]
    ) -> _T:
        """Call a function in a worker thread as soon as one is free.

        Args:
            work: The function.
            seconds: Time limit, including the wait for a thread. When it is exceeded, work that
                has already started continues in the background.
            gone: Function that returns whether the client has closed the connection.

        Returns:
            The result of ``work``.

        Raises:
            Refusal: The time limit was exceeded (code ``too_slow``).
            ClientGone: The client closed the connection, or the server is stopping.
        """
        result: Future[_T] = Future()
        done, scope = Event(), CancelScope()

        async def in_thread() -> None:
            try:
                with scope:  # cancelling has no effect once the thread has started
                    result.set_result(await to_thread.run_sync(work, limiter=self._limiter))
            except Exception as error:
                result.set_exception(error)
            finally:
                done.set()
                self._release(self)

        self.holders += 1
        self._tasks.start_soon(in_thread)
        try:
            with fail_after(seconds):
                while not done.is_set():
                    with move_on_after(_POLL_SECONDS):
                        await done.wait()
                    if not done.is_set() and await gone():
                        raise ClientGone
        except TimeoutError:
            raise Refusal(
                f"The request took longer than {seconds:g} seconds.",
                remedy="Try again, or use a smaller photo.",
                code="too_slow",
            ) from None
        finally:
            scope.cancel()
        if not result.done():  # the server is stopping
            raise ClientGone
        return result.result()
