"""A bounded number of requests at a time, each with a private folder for its files."""

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

_POLL_SECONDS: Final = 0.25  # between two checks whether the client is still there

_T = TypeVar("_T")


class WorkQueue:
    """Slots for requests, and the threads that work for them.

    It is an asynchronous context manager. On exit it waits for work that is running, and drops
    work that waits for a thread.

    Args:
        folder: A folder that is private to this process. Each slot gets a folder in it.
        threads: Number of threads that work at the same time.
        slots: Number of requests at the same time, including those that are uploading.
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
        self._tasks.cancel_scope.cancel()  # running threads are waited for
        await self._tasks.__aexit__(kind, error, traceback)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Take a slot, from before the upload until the answer is complete.

        Yields:
            The slot.

        Raises:
            Refusal: All slots are taken (code ``queue_full``).
        """
        if self._free == 0:
            raise Refusal(
                "Too many photos at once.", remedy="Try again in a moment.", code="queue_full"
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
    """The place of one request in the queue.

    Attributes:
        folder: Folder for the request's files. It is deleted when the request has been answered
            and no thread works for it any longer.
        holders: Number of tasks that use the folder: the request, and its work while it runs.
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
        """Call a function in a thread, as soon as one is free.

        Args:
            work: The function.
            seconds: Time limit, including the wait for a thread. Work that has started then still
                runs to its end, in the background.
            gone: Return whether the client has closed the connection.

        Returns:
            The result of ``work``.

        Raises:
            Refusal: The time limit is exceeded (code ``too_slow``).
            ClientGone: The client has closed the connection.
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
                f"This took longer than {seconds:g} seconds.",
                remedy="Try again, or use a smaller photo.",
                code="too_slow",
            ) from None
        finally:
            scope.cancel()
        if not result.done():  # the server is stopping
            raise ClientGone
        return result.result()
