"""Reading ahead and writing behind: background threads work while the caller computes.

`prefetch` and `behind` map a function over items, in order, with a bounded number of items in
memory. They differ in when they wait: `prefetch` first starts as many calls as there is room for,
while `behind` hands over each result as soon as it is finished. In both, the items are iterated
in the caller's thread, and an exception of the function is raised in the caller's thread.

Whoever stops early, for example because of Ctrl-C, closes the generator: calls that are running
are finished, and no others are started.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

Room = Callable[[], int]
"""The number of items that may wait, asked again for each item."""


def prefetch(
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    room: Room,
    *,
    threads: int = 1,
) -> Generator[_Result, None, None]:
    """Call a function on items ahead of the caller, in background threads.

    Args:
        function: Reads an item.
        items: Items to read.
        room: Largest number of results ahead of the one that the caller works on.
        threads: Number of background threads.

    Yields:
        The results, in the order of the items.

    Example:
        >>> list(prefetch(str.upper, "abc", lambda: 2))
        ['A', 'B', 'C']
    """
    remaining = iter(items)
    ahead: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(threads, "fststyle-read")
    try:
        while True:
            for item in islice(remaining, max(0, room() + 1 - len(ahead))):
                ahead.append(pool.submit(function, item))
            if not ahead:
                return
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def behind(
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    room: Room,
    *,
    threads: int = 1,
) -> Generator[_Result, None, None]:
    """Call a function on items in background threads, while the caller makes the next items.

    Args:
        function: Writes an item.
        items: Items to write; making them is the caller's work.
        room: Largest number of items that wait to be written.
        threads: Number of background threads.

    Yields:
        The results, in the order of the items.

    Example:
        >>> list(behind(print, ["one", "two"], lambda: 2))
        one
        two
        [None, None]
    """
    waiting: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(threads, "fststyle-write")
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            del item  # it may be large
            while waiting and (len(waiting) > room() or waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
