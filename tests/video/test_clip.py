from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from fststyle.video.clip import Clip

MILLISECOND = Fraction(1, 1000)


def packet(pts: int, duration: int, kind: str = "audio", dts: int | None = None) -> Any:
    stream = SimpleNamespace(type=kind)
    return SimpleNamespace(
        pts=pts, dts=dts, duration=duration, time_base=MILLISECOND, stream=stream
    )


def test_times() -> None:
    whole = Clip.of(Fraction(5))
    assert whole.contains(Fraction(4))  # nothing is skipped at the beginning
    assert not whole.is_after(Fraction(100))
    part = Clip.of(Fraction(5), start=1, duration=2)
    assert part.begin == 6
    assert part.end == 8
    inside = [time for time in (5, 6, 7, 8) if part.contains(Fraction(time))]
    assert inside == [6, 7]
    assert part.contains(None)
    part.end_at(1.5)
    assert part.is_after(Fraction(15, 2))


def test_lengths() -> None:
    assert Clip.of(Fraction(0)).length(9.5) == 9.5
    assert Clip.of(Fraction(0)).length(None) is None
    assert Clip.of(Fraction(0), start=3).length(9.5) == 6.5
    assert Clip.of(Fraction(0), start=3, duration=2).length(None) == 2
    assert Clip.of(Fraction(0), duration=20).length(9.5) == 9.5
    assert Clip.of(Fraction(0), start=10).length(9.5) == 0


@pytest.mark.parametrize(
    ("pts", "duration", "kind", "expected"),
    [
        (1000, 20, "audio", (0, 20)),
        (990, 20, "audio", None),
        (1990, 20, "audio", (990, 20)),
        (2000, 20, "audio", None),
        (900, 300, "subtitle", (0, 200)),
        (1900, 300, "subtitle", (900, 100)),
        (500, 300, "subtitle", None),
    ],
)
def test_packets_are_placed(
    pts: int, duration: int, kind: str, expected: tuple[int, int] | None
) -> None:
    clip = Clip.of(Fraction(0), start=1, duration=1)
    moved = packet(pts, duration, kind, dts=pts - 5)
    assert clip.place(moved) == (expected is not None)
    if expected is not None:
        assert (moved.pts, moved.duration) == expected
        assert moved.dts <= moved.pts


def test_chapters_are_cut() -> None:
    chapters = [
        {"start": 0, "end": 1500, "time_base": MILLISECOND, "id": 1},
        {"start": 1500, "end": 4000, "time_base": MILLISECOND, "id": 2},
    ]
    found = Clip.of(Fraction(0), start=1).chapters(chapters, 2)
    assert [(c["id"], c["start"], c["end"]) for c in found] == [(1, 0, 500), (2, 500, 2000)]
    assert len(Clip.of(Fraction(0), start=2).chapters(chapters, 1)) == 1
