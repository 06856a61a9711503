"""Reading ahead and writing behind in background threads, while the caller computes.

`prefetch` and `behind` map a function over items, in order, and limit the number of items in
memory. `prefetch` starts as many calls as there is room for before it yields a result. `behind`
starts one call per item, and yields each result as soon as it is finished. Both iterate over the
items in the caller's thread, and raise the function's exceptions in the caller's thread.

A caller that stops early, for example on Ctrl-C, must close the generator. Calls in progress are
then completed, and no new calls are started.
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
"""Returns the number of items that may wait. It is called again for each item."""


def prefetch(
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    room: Room,
    *,
    threads: int = 1,
) -> Generator[_Result, None, None]:
    """Call a function on items in background threads, before the caller needs the results.

    Args:
        function: Function that reads an item.
        items: Items to read.
        room: Maximum number of results to read ahead of the one that the caller is using.
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
    """Call a function on items in background threads, while the caller produces the next items.

    Args:
        function: Function that writes an item.
        items: Items to write. The iterable is advanced in the caller's thread.
        room: Maximum number of items that may wait to be written.
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
