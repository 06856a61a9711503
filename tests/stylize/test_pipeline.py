from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from fststyle.errors import FststyleError, PhotoError
from fststyle.images.photo import Photo
from fststyle.stylize import pipeline
from fststyle.stylize.pipeline import Outcome, default_jobs, run


def photo_of(number: int, side: int = 4) -> Photo:
    return Photo(np.full((side, side + 1, 3), number, np.float32))


class Counted:
    """Reads and writes numbers, and counts what is held."""

    def __init__(self, side: int = 4, seconds: float = 0.0) -> None:
        self.side = side
        self.seconds = seconds
        self.lock = threading.Lock()
        self.held = self.most = 0
        self.written: list[tuple[int, float]] = []

    def read(self, number: int) -> Photo:
        with self.lock:
            self.held += 1
            self.most = max(self.most, self.held)
        if number % 7 == 3:
            with self.lock:
                self.held -= 1
            raise PhotoError(f"{number} is damaged.")
        return photo_of(number, self.side)

    def work(self, photo: Photo) -> tuple[Photo, float]:
        return Photo(photo.pixels * 2), 0.5

    def write(self, number: int, photo: Photo) -> None:
        time.sleep(self.seconds * (number % 3))
        with self.lock:
            self.held -= 1
            self.written.append((number, float(photo.pixels[0, 0, 0])))

    def run(self, numbers: range, threads: int) -> list[Outcome[int]]:
        return list(run(numbers, read=self.read, work=self.work, write=self.write, threads=threads))


@pytest.mark.parametrize("threads", [1, 3])
def test_all_jobs_are_done_in_order_and_memory_is_bounded(threads: int) -> None:
    counted = Counted(seconds=0.001)
    outcomes = counted.run(range(40), threads)
    assert [outcome.task for outcome in outcomes] == list(range(40))
    failed = [outcome.task for outcome in outcomes if outcome.error is not None]
    assert failed == [3, 10, 17, 24, 31, 38]
    assert str(outcomes[3].error) == "3 is damaged."
    assert sorted(counted.written) == [(n, 2.0 * n) for n in range(40) if n not in failed]
    assert (outcomes[0].width, outcomes[0].height, outcomes[0].seconds) == (5, 4, 0.5)
    assert counted.held == 0
    assert counted.most <= 2 * threads + 2


def test_of_large_photos_fewer_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_HELD_BYTES", 12 * 40 * 41)
    counted = Counted(side=40, seconds=0.001)
    counted.run(range(3), 8)
    counted.most = 0
    outcomes = run(range(30), read=counted.read, work=counted.work, write=counted.write, threads=8)
    next(outcomes)  # from here on the size is known
    counted.held = counted.most = 0
    list(outcomes)
    assert counted.most <= 8 + 2


def test_reading_and_writing_go_on_beside_the_work() -> None:
    reached, finish = threading.Event(), threading.Event()

    def read(number: int) -> Photo:
        if number == 1:
            reached.set()
        return photo_of(number)

    def work(photo: Photo) -> tuple[Photo, float]:
        if photo.pixels[0, 0, 0] == 0:
            assert reached.wait(10)  # the next one is read meanwhile
        else:
            finish.set()  # the one before is being written
        return photo, 0.0

    def write(number: int, photo: Photo) -> None:
        assert finish.wait(10)

    assert len(list(run(range(2), read=read, work=work, write=write, threads=1))) == 2


@pytest.mark.parametrize("error", [FststyleError("no"), MemoryError(), ZeroDivisionError()])
def test_bugs_are_raised_and_failures_are_not(error: Exception) -> None:
    def fail(_: int) -> Photo:
        raise error

    counted = Counted()
    outcomes = run([0], read=fail, work=counted.work, write=counted.write, threads=1)
    if isinstance(error, ZeroDivisionError):
        with pytest.raises(ZeroDivisionError):
            list(outcomes)
    else:
        assert [type(outcome.error) for outcome in outcomes] == [FststyleError]


def test_what_has_begun_is_finished_when_the_caller_stops() -> None:
    counted = Counted(seconds=0.05)
    outcomes = run(range(20), read=counted.read, work=counted.work, write=counted.write, threads=2)
    next(outcomes)
    outcomes.close()
    before = list(counted.written)
    assert 1 <= len(before) < 20
    time.sleep(0.1)
    assert counted.written == before


def test_default_jobs() -> None:
    assert 1 <= default_jobs() <= 4
