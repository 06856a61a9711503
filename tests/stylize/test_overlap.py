from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from fststyle.stylize.overlap import behind, prefetch

BOTH = pytest.mark.parametrize("overlap", [prefetch, behind])


def room() -> int:
    return 3


@BOTH
@pytest.mark.parametrize("threads", [1, 4])
def test_results_keep_their_order(overlap: Callable[..., Any], threads: int) -> None:
    def slow(number: int) -> int:
        time.sleep(0.003 * (number % 3))
        return number**2

    assert list(overlap(slow, range(20), room, threads=threads)) == [n**2 for n in range(20)]
    assert list(overlap(slow, [], room)) == []


@BOTH
def test_few_items_are_held(overlap: Callable[..., Any]) -> None:
    started = finished = most = 0

    def items() -> Any:
        nonlocal started, most
        for number in range(30):
            started += 1
            most = max(most, started - finished)
            yield number

    for _ in overlap(lambda number: number, items(), room):
        finished += 1
    assert 2 <= most <= 5


@BOTH
def test_errors_reach_the_caller_in_order(overlap: Callable[..., Any]) -> None:
    results = overlap(lambda number: 6 // (3 - number), range(9), room)
    assert [next(results) for _ in range(3)] == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not [thread for thread in threading.enumerate() if "fststyle" in thread.name]


def test_prefetch_reads_while_the_caller_works() -> None:
    read = threading.Event()

    def note(number: int) -> int:
        if number == 1:
            read.set()
        return number

    results = prefetch(note, range(3), lambda: 1)
    assert next(results) == 0
    assert read.wait(10)
    results.close()


def test_behind_hands_over_what_is_finished() -> None:
    finish, first = threading.Event(), threading.Event()

    def write(number: int) -> int:
        first.set()
        assert number == 0 or finish.wait(10)
        return number

    made: list[int] = []

    def items() -> Any:
        for number in range(4):
            if number == 1:
                assert first.wait(10)  # the first item is written while the next one is made
            made.append(number)
            yield number

    results = behind(write, items(), lambda: 2)
    assert next(results) == 0
    assert made in ([0], [0, 1])
    finish.set()
    assert list(results) == [1, 2, 3]


@BOTH
def test_closing_starts_no_more_calls(overlap: Callable[..., Any]) -> None:
    begun: list[int] = []

    def note(number: int) -> int:
        begun.append(number)
        time.sleep(0.02)
        return number

    results = overlap(note, range(50), room)
    next(results)
    results.close()
    count = len(begun)
    assert count <= 5
    time.sleep(0.06)
    assert len(begun) == count
