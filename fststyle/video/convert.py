"""From film to film in three stages that overlap: decoding, stylising and encoding.

Nothing but a few frames is ever held, so memory is bounded for any length, and nothing is written
but the result.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import VideoError
from fststyle.files import cannot_write, replacing
from fststyle.video.container import Copied, Frame
from fststyle.video.reader import VideoReader
from fststyle.video.writer import Output, VideoWriter

_HELD_BYTES: Final = 2**28
"""About so much is held at most of frames ahead, and of pictures behind."""
_MOST_HELD: Final = 8
_MOST_EARLY: Final = 4096
"""Packets of sound and subtitles that wait for their pictures at most."""
_PATIENCE: Final = 0.1
"""Seconds after which a stage that waits looks whether it is to stop."""

Work = Callable[[NDArray[np.uint8], float], NDArray[np.uint8]]
"""A frame ``(H, W, 3)`` and when it is shown, in seconds → its picture, of the same shape."""


@dataclass(frozen=True)
class ConversionResult:
    """What became of a film.

    Attributes:
        frames: That were written.
        seconds: How long they last, from 0 on.
        is_whole: Whether it was not stopped.
        width: Of its frames, in pixels.
        height: Likewise.
    """

    frames: int
    seconds: float
    is_whole: bool
    width: int
    height: int


class _Stopped(Exception):
    """Another stage has failed, or the user has had enough."""


class _Channel:
    """From one stage to the next; only frames are counted."""

    def __init__(self, room: int, stop: threading.Event) -> None:
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._room = threading.Semaphore(room)
        self._stop = stop

    def put(self, item: Any) -> None:
        if isinstance(item, Frame):
            while not self._room.acquire(timeout=_PATIENCE):
                if self._stop.is_set():
                    raise _Stopped
        self._queue.put(item)

    def get(self) -> Any:
        while True:
            try:
                item = self._queue.get(timeout=_PATIENCE)
                break
            except Empty:
                if self._stop.is_set():
                    raise _Stopped from None
        if isinstance(item, Frame):
            self._room.release()
        return item


def convert(
    source: VideoReader,
    output: Output,
    work: Work,
    *,
    on_frame: Callable[[int], None] = lambda count: None,
    stop: Callable[[], bool] = lambda: False,
) -> ConversionResult:
    """Make a film of another one.

    Args:
        source: It is read to its end.
        output: Where and how the result is written; what is there is replaced when it is complete.
        work: Called in this thread, for one frame after another. A broken frame gets the
            picture before it.
        on_frame: Called in this thread, with the number of frames that are done.
        stop: Asked before each frame; from then on what is done becomes the whole of the result.

    Returns:
        How much there is.

    Raises:
        VideoError: The film cannot be read or written; there is no file then, unless there
            was one before.
        KeyboardInterrupt: It was stopped before its first frame was done; likewise.
    """
    try:
        with replacing(output.path) as temporary:
            with VideoWriter(temporary, output, source) as writer:
                is_whole = _run(source, writer, work, on_frame, stop)
                if not is_whole and writer.frames == 0:
                    raise KeyboardInterrupt
                if writer.frames == 0:
                    raise VideoError(f"{output.path} is not written: not one frame was done.")
            return ConversionResult(writer.frames, writer.seconds, is_whole, *writer.size)
    except OSError as error:
        raise cannot_write(output.path, error, VideoError) from error


def _run(
    source: VideoReader,
    writer: VideoWriter,
    work: Work,
    on_frame: Callable[[int], None],
    stop: Callable[[], bool],
) -> bool:
    film = source.info
    room = max(2, min(_MOST_HELD, _HELD_BYTES // (3 * film.width * film.height)))
    ended = threading.Event()  # at once, for good or ill
    failures: list[BaseException] = []
    ahead, behind = _Channel(room, ended), _Channel(room, ended)

    def stage(function: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                function()
            except _Stopped:
                pass
            except BaseException as error:
                failures.append(error)
                ended.set()

        thread = threading.Thread(target=guarded, name=f"fststyle-{function.__name__}")
        thread.start()
        return thread

    def read() -> None:
        for item in source.items():
            ahead.put(item)
            if ended.is_set():
                return
        ahead.put(None)

    def write() -> None:
        while (item := behind.get()) is not None:
            if isinstance(item, Copied):
                writer.add_copied(item)
            else:
                writer.add_frame(item.pixels, item.pts, item.duration)

    stages = [stage(read), stage(write)]
    is_whole, count, until = True, 0, 0.0
    early: deque[Copied] = deque()  # sound of what is not done yet
    newest: NDArray[np.uint8] | None = None
    try:
        while (item := ahead.get()) is not None:
            if is_whole and stop():
                is_whole = False
                if count == 0:
                    break
                source.end_at(until)
                early = deque(copied for copied in early if copied.seconds < until)
            if isinstance(item, Copied):
                if is_whole or item.seconds < until:
                    early.append(item)
            elif is_whole:
                if item.pixels is not None:
                    newest = work(item.pixels, float(item.pts * film.time_base))
                assert newest is not None, "a film begins with a frame that is sound"
                count += 1
                until = float((item.pts + item.duration) * film.time_base)
                behind.put(Frame(newest, item.pts, item.duration))
                on_frame(count)
            while early and (early[0].seconds < until or len(early) > _MOST_EARLY):
                behind.put(early.popleft())
        for copied in early:
            behind.put(copied)
        behind.put(None)
        stages[1].join()
    except _Stopped:
        pass
    finally:
        ended.set()
        for thread in stages:
            thread.join()
    if failures:
        raise failures[0]
    return is_whole
