"""Processing many photos: while one is stylised, others are read and written."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, Protocol, TypeVar

from numpy.typing import NDArray

from fststyle.errors import FststyleError
from fststyle.stylize.overlap import behind, prefetch


class Sized(Protocol):
    """An object with pixels, such as a `fststyle.images.photo.Photo`."""

    @property
    def pixels(self) -> NDArray[Any]:
        """The pixels ``(H, W, 3)``."""
        ...


_Task = TypeVar("_Task")
_Read = TypeVar("_Read")
_Result = TypeVar("_Result", bound=Sized)
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")

_HELD_BYTES: Final = 2**30
"""Approximate memory limit for photos read ahead, and for results waiting to be written."""

_BYTES_PER_PIXEL: Final = 12


@dataclass(frozen=True, eq=False)
class Outcome(Generic[_Task]):
    """The outcome of one task.

    Attributes:
        task: The task.
        seconds: Time spent stylising, excluding reading and writing. 0 if the task failed before
            it was stylised.
        height: Height of the result in pixels.
        width: Width of the result in pixels.
        faces: Number of faces found in the photo, or ``None`` if they were not searched.
        error: The error if the task failed, otherwise ``None``.
    """

    task: _Task
    seconds: float = 0.0
    height: int = 0
    width: int = 0
    faces: int | None = None
    error: FststyleError | None = None


def default_jobs() -> int:
    """Return the default number of reader threads and of writer threads."""
    return max(1, min(4, os.cpu_count() or 1))


def run(
    tasks: Iterable[_Task],
    *,
    read: Callable[[_Task], _Read],
    work: Callable[[_Read], tuple[_Result, float]],
    write: Callable[[_Task, _Result], None],
    threads: int,
) -> Generator[Outcome[_Task], None, None]:
    """Process tasks in order, and read and write files in background threads.

    To bound memory use, at most ``threads`` photos are read ahead and at most ``threads`` results
    are queued for writing; both limits are lower for large images. If a task fails, the others
    still run. If the caller stops early (for example on Ctrl-C), writes already in progress are
    completed and no new work is started.

    Args:
        tasks: The tasks, in order.
        read: Function that reads a photo. The function is called in background threads.
        work: Function that stylises a photo, and returns the result and the time it took in
            seconds. The function is called in the caller's thread.
        write: Function that writes a result. The function is called in background threads.
        threads: Number of reader threads, and also of writer threads.

    Yields:
        The outcome of each task, in order.
    """
    largest = 0

    def room() -> int:
        return max(1, min(threads, _HELD_BYTES // max(1, largest)))

    def read_one(task: _Task) -> tuple[_Task, _Read | FststyleError]:
        return task, _caught(read, task)

    def worked() -> Iterator[tuple[Outcome[_Task], _Result | None]]:
        nonlocal largest
        for task, photo in photos:
            done = photo if isinstance(photo, FststyleError) else _caught(work, photo)
            del photo  # it may be large
            if isinstance(done, FststyleError):
                yield Outcome(task, error=done), None
                continue
            result, seconds = done
            del done
            height, width = result.pixels.shape[:2]
            largest = max(largest, height * width * _BYTES_PER_PIXEL)
            faces = getattr(result, "faces", None)
            yield Outcome(task, seconds, height, width, faces), result
            del result

    def write_one(item: tuple[Outcome[_Task], _Result | None]) -> Outcome[_Task]:
        outcome, result = item
        if result is None:
            return outcome
        error = _caught(lambda made: write(outcome.task, made), result)
        return outcome if error is None else replace(outcome, error=error)

    with (
        closing(prefetch(read_one, tasks, room, threads=threads)) as photos,
        closing(behind(write_one, worked(), room, threads=threads)) as outcomes,
    ):
        yield from outcomes


def _caught(function: Callable[[_Given], _Made], argument: _Given) -> _Made | FststyleError:
    try:
        return function(argument)
    except FststyleError as error:
        return error.with_traceback(None)  # the traceback would keep the photo in memory
    except MemoryError:
        return FststyleError(
            "There is not enough memory to stylise this photo.",
            remedy="Choose a smaller size.",
            code="out_of_memory",
            details={"size": 1024},
        )
