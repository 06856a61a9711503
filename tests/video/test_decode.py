from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
from video_help import moving, write_video

from fststyle.video.clip import Clip
from fststyle.video.container import Damage
from fststyle.video.decode import Lost, decode_frames, read_packets, select_copies

VIDEO = SimpleNamespace(index=0, type="video")
AUDIO = SimpleNamespace(index=1, type="audio")
TEXT = SimpleNamespace(index=2, type="subtitle")


def packet(stream: Any, seconds: float, *, has_dts: bool = True) -> Any:
    time = round(1000 * seconds)
    return SimpleNamespace(
        stream=stream,
        stream_index=stream.index,
        pts=time,
        dts=time if has_dts else None,
        time_base=Fraction(1, 1000),
    )


def selected(packets: list[Any], clip: Clip, *copied: Any) -> list[tuple[int, float]]:
    found = select_copies(packets, VIDEO, copied, clip)
    return [(p.stream_index, p.pts / 1000) for p in found]


def test_copies_are_the_packets_of_other_streams() -> None:
    packets = [packet(VIDEO, 0), packet(AUDIO, 0), packet(TEXT, 0.5, has_dts=False)]
    assert selected(packets, Clip.of(Fraction(0)), AUDIO, TEXT) == [(1, 0), (2, 0.5)]


def test_reading_ends_when_frames_and_sound_have_ended() -> None:
    clip = Clip.of(Fraction(0), duration=1)
    late = [packet(VIDEO, 1), packet(TEXT, 0.9), packet(AUDIO, 0.95), packet(AUDIO, 1)]
    assert selected([*late, packet(TEXT, 0.99)], clip, AUDIO, TEXT) == [(2, 0.9), (1, 0.95)]
    # Without sound, or if it never comes, the frames decide.
    later = [packet(VIDEO, 9), packet(TEXT, 0.9), packet(VIDEO, 11.1), packet(TEXT, 0.95)]
    assert selected(later, clip, TEXT) == [(2, 0.9)]
    assert selected(later, clip, AUDIO, TEXT) == [(2, 0.9)]


def test_frames_are_decoded_up_to_the_end_of_the_clip(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", moving(20))
    damage = Damage()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = read_packets(container, (stream,), damage)
        frames = list(decode_frames(packets, stream, Clip.of(Fraction(0), duration=0.4)))
    assert [round(25 * frame.time) for frame in frames] == list(range(10))
    assert damage == Damage()


def test_lost_frames_are_marked(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", moving(9), options={"g": "1"}, audio=None)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]

        def damaged() -> Any:
            for number, item in enumerate(read_packets(container, (stream,), Damage())):
                if number == 4:
                    broken: Any = av.Packet(b"\xa5" * item.size)
                    broken.stream, broken.pts, broken.dts = stream, item.pts, item.dts
                    yield broken
                else:
                    yield item

        items = list(decode_frames(damaged(), stream, Clip.of(Fraction(0))))
    lost = [item for item in items if isinstance(item, Lost)]
    assert (len(items), len(lost)) == (9, 1)


def test_files_that_break_off_are_truncated() -> None:
    class Broken:
        format = SimpleNamespace(flags=0)

        def demux(self, streams: Any) -> Any:
            yield SimpleNamespace(size=1)
            raise OSError(5, "input error")

    damage = Damage()
    packets = read_packets(Broken(), (), damage)
    assert [next(packets).size for _ in range(5)] == [1] * 5
    packets.close()  # type: ignore[attr-defined]

    class Gone:
        format = Broken.format

        def demux(self, streams: Any) -> Any:
            raise OSError(5, "input error")

    assert list(read_packets(Gone(), (), damage)) == []
    assert "input error" in damage.truncated
