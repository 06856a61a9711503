"""Photos one after another, while the next are read and the last are written."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, Final, Generic, Protocol, TypeVar

from numpy.typing import NDArray

from fststyle.errors import FststyleError


class Picture(Protocol):
    """What has a size to tell, such as a `Photo`."""

    @property
    def pixels(self) -> NDArray[Any]:
        """``(H, W, 3)``."""
        ...


_Task = TypeVar("_Task")
_Read = TypeVar("_Read")
_Result = TypeVar("_Result", bound=Picture)
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")

_HELD_BYTES: Final = 2**30
"""No more than about so much is held of photos read ahead, and of results to be written."""

_BYTES_A_PIXEL: Final = 12


@dataclass(frozen=True, eq=False)
class Outcome(Generic[_Task]):
    """How a task ended.

    Attributes:
        task: As it was given.
        seconds: That the work took, without reading and writing; 0 where it was not reached.
        height: Of the result.
        width: Of the result.
        error: What went wrong, in a sentence; None where the result is written.
    """

    task: _Task
    seconds: float = 0.0
    height: int = 0
    width: int = 0
    error: FststyleError | None = None


def default_jobs() -> int:
    """Return how many threads read, and how many write, unless the user says otherwise."""
    return max(1, min(4, os.cpu_count() or 1))


def run(
    tasks: Iterable[_Task],
    *,
    read: Callable[[_Task], _Read],
    work: Callable[[_Read], tuple[_Result, float]],
    write: Callable[[_Task, _Result], None],
    threads: int,
) -> Generator[Outcome[_Task], None, None]:
    """Do tasks in order: read by threads, worked on here, written by threads.

    At most ``threads`` photos are ahead and as many results behind, and of large ones fewer, so
    memory is bounded. A task that fails stops no other one. When the caller stops early, by
    Ctrl-C say, writing that has begun is finished, and nothing else is begun.

    Args:
        tasks: In this order.
        read: Called in another thread.
        work: Called in this thread; returns the result and the seconds that count.
        write: Called in another thread.
        threads: At least 1.

    Yields:
        How each task ended, in their order.
    """
    todo, largest = iter(tasks), 0
    ahead: deque[tuple[_Task, Future[_Read | FststyleError]]] = deque()
    behind: deque[tuple[Outcome[_Task], Future[None | FststyleError] | None]] = deque()
    readers = ThreadPoolExecutor(threads, "fststyle-read")
    writers = ThreadPoolExecutor(threads, "fststyle-write")

    def begin_reading(room: int) -> None:
        for task in islice(todo, max(0, room - len(ahead))):
            ahead.append((task, readers.submit(_caught, read, task)))

    try:
        while True:
            room = max(1, min(threads, _HELD_BYTES // max(1, largest)))
            begin_reading(room)
            if not ahead:
                break
            task, reading = ahead.popleft()
            begin_reading(room)
            behind.append(_worked(task, reading, work, write, writers))
            del reading  # which holds the photo
            newest = behind[-1][0]
            largest = max(largest, newest.height * newest.width * _BYTES_A_PIXEL)
            while len(behind) > room or (behind and _is_done(behind[0][1])):
                yield _ended(*behind.popleft())
        while behind:
            yield _ended(*behind.popleft())
    finally:
        readers.shutdown(cancel_futures=True)
        writers.shutdown(cancel_futures=True)


def _worked(
    task: _Task,
    reading: Future[_Read | FststyleError],
    work: Callable[[_Read], tuple[_Result, float]],
    write: Callable[[_Task, _Result], None],
    writers: ThreadPoolExecutor,
) -> tuple[Outcome[_Task], Future[None | FststyleError] | None]:
    photo = reading.result()
    done = photo if isinstance(photo, FststyleError) else _caught(work, photo)
    if isinstance(done, FststyleError):
        return Outcome(task, error=done), None
    result, seconds = done
    height, width = result.pixels.shape[:2]
    writing = writers.submit(_caught, partial(write, task), result)
    return Outcome(task, seconds, height, width), writing


def _caught(function: Callable[[_Given], _Made], argument: _Given) -> _Made | FststyleError:
    try:
        return function(argument)
    except FststyleError as error:
        return error.with_traceback(None)  # which would hold the photo
    except MemoryError:
        return FststyleError("There is not enough memory; make the photo smaller with --size.")


def _is_done(writing: Future[Any] | None) -> bool:
    return writing is None or writing.done()


def _ended(outcome: Outcome[_Task], writing: Future[None | FststyleError] | None) -> Outcome[_Task]:
    error = None if writing is None else writing.result()
    return outcome if error is None else replace(outcome, error=error)
