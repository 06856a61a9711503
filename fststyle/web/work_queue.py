"""A queue that limits the number of requests and gives each a private folder for its files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from anyio import CancelScope, CapacityLimiter, Event, fail_after, move_on_after, to_thread
from anyio.abc import TaskGroup

from fststyle.web.errors import ClientGone, Refusal

_POLL_SECONDS: Final = 0.25  # time between checks that the client is still connected

_T = TypeVar("_T")


class WorkQueue:
    """Slots for requests, and the threads that process them.

    Args:
        folder: A folder that is private to this process. Each slot gets a subfolder.
        tasks: Task group that waits for running work. If it is cancelled, work that has not
            started is dropped.
        threads: Number of worker threads.
        slots: Maximum number of simultaneous requests, including those still uploading.
    """

    def __init__(
        self, folder: Path, tasks: TaskGroup, *, threads: int = 2, slots: int = 32
    ) -> None:
        self.folder = folder
        self.tasks = tasks
        self.limiter = CapacityLimiter(threads)
        self.free = slots

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Reserve a slot, from before the upload until the response is complete.

        Yields:
            The slot.

        Raises:
            Refusal: All slots are taken (code ``queue_full``).
        """
        if self.free == 0:
            raise Refusal(
                "The server is processing too many photos.",
                remedy="Try again in a moment.",
                code="queue_full",
            )
        slot = Slot(self, Path(tempfile.mkdtemp(dir=self.folder)))
        self.free -= 1
        try:
            yield slot
        finally:
            slot.release()


@dataclass
class Slot:
    """One request's place in the queue.

    Attributes:
        queue: The queue.
        folder: Folder for the request's files. It is deleted once the request has been answered
            and its work has ended.
        holders: Number of tasks that use the folder: the request itself, plus any unfinished work.
    """

    queue: WorkQueue
    folder: Path
    holders: int = 1

    def release(self) -> None:
        """End one task's use of the folder. After the last one, the slot is free again."""
        self.holders -= 1
        if self.holders == 0:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.queue.free += 1

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
                    result.set_result(await to_thread.run_sync(work, limiter=self.queue.limiter))
            except Exception as error:
                result.set_exception(error)
            finally:
                done.set()
                self.release()

        self.holders += 1
        self.queue.tasks.start_soon(in_thread)
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
