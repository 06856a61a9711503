from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from errors_help import raises
from numpy.typing import NDArray
from video_help import chapters_of, facts_of, frames_of, moving, packets_of, times_of, write_video

from fststyle.errors import VideoError
from fststyle.video.container import Frame
from fststyle.video.convert import ConversionResult, convert
from fststyle.video.encoders import Output
from fststyle.video.reader import VideoReader

UNEVEN = [0, 40, 80, 200, 220, 240, 300, 1000, 1033, 1066]


def same(pixels: NDArray[np.uint8], seconds: float) -> NDArray[np.uint8]:
    return pixels


def pass_through(source: Path, target: Path, **options: Any) -> ConversionResult:
    """A film through all stages, with a style that does nothing."""
    reading = {k: v for k, v in options.items() if k not in ("codec", "crf")}
    writing = {k: v for k, v in options.items() if k in ("codec", "crf")}
    with VideoReader(source, **reading) as reader:
        return convert(reader, Output(target, **{"crf": 5, **writing}), same)


def patch(frame: NDArray[Any]) -> NDArray[Any]:
    height, width = frame.shape[:2]
    middle = frame[3 * height // 8 : 5 * height // 8, 3 * width // 8 : 5 * width // 8]
    return np.asarray(middle.reshape(-1, 3).mean(axis=0))


@pytest.mark.parametrize(
    ("suffix", "subtitles"), [(".mp4", "mov_text"), (".mkv", "subrip"), (".mov", "mov_text")]
)
def test_all_but_the_pictures_is_as_it_was(tmp_path: Path, suffix: str, subtitles: str) -> None:
    film = tmp_path / f"film{suffix}"
    write_video(film, moving(15), subtitles=subtitles, title="A film")
    result = tmp_path / f"result{suffix}"
    done = pass_through(film, result)
    before, after = facts_of(film), facts_of(result)
    assert after["streams"] == before["streams"] == ["video", "audio", "subtitle"]
    assert packets_of(result, "audio") == packets_of(film, "audio")
    assert packets_of(result, "subtitle") == packets_of(film, "subtitle")
    assert times_of(result) == times_of(film)
    assert after["seconds"] == pytest.approx(before["seconds"], abs=0.03)
    assert after["rate"] == 25
    assert after["languages"][2] == "fra"
    metadata = {key.lower(): value for key, value in after["metadata"].items()}
    assert metadata["title"] == "A film"
    assert "location" not in metadata
    assert (done.frames, done.is_whole) == (15, True)
    assert done.seconds == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("matrix", "full", "pixels"),
    [
        (1, False, "yuv420p"),
        (6, False, "yuv420p"),
        (6, True, "yuv420p"),
        (1, True, "yuv420p"),
        (9, False, "yuv420p10le"),
        (1, False, "yuv420p10le"),
        (6, False, "yuv422p"),
    ],
)
def test_colours_are_kept(tmp_path: Path, matrix: int, full: bool, pixels: str) -> None:
    film = write_video(
        tmp_path / "film.mp4", moving(3), matrix=matrix, full=full, pixels=pixels, audio=None
    )
    pass_through(film, tmp_path / "result.mp4", crf=0)
    seen = facts_of(tmp_path / "result.mp4")
    assert (seen["matrix"], seen["range"]) == (matrix, 2 if full else 1)
    for before, after in zip(frames_of(film), frames_of(tmp_path / "result.mp4"), strict=True):
        np.testing.assert_allclose(patch(before), (200, 100, 50), atol=3)
        np.testing.assert_allclose(patch(after), patch(before), atol=2)


def test_the_style_sees_the_colours_as_players_show_them(tmp_path: Path) -> None:
    for matrix, full in ((1, False), (6, True)):
        film = tmp_path / f"{matrix}.mp4"
        write_video(film, moving(2), matrix=matrix, full=full, audio=None)
        with VideoReader(film) as reader:
            first = next(item for item in reader.items() if isinstance(item, Frame))
        assert first.pixels is not None
        np.testing.assert_allclose(patch(first.pixels), (200, 100, 50), atol=2)


def test_times_that_are_uneven_are_kept(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", moving(len(UNEVEN)), times=UNEVEN)
    pass_through(film, tmp_path / "result.mp4")
    assert times_of(tmp_path / "result.mp4") == times_of(film) == [t / 1000 for t in UNEVEN]
    assert facts_of(tmp_path / "result.mp4")["seconds"] == pytest.approx(1.106, abs=0.03)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_films_come_out_upright(tmp_path: Path, degrees: int) -> None:
    frame = moving(1)[0]
    frame[:16, :16] = 255  # the corner that shows which side is up
    film = write_video(
        tmp_path / "film.mp4", [frame] * 2, degrees=degrees, aspect=Fraction(4, 3), audio=None
    )
    pass_through(film, tmp_path / "result.mp4")
    result = frames_of(tmp_path / "result.mp4")[0]
    expected = np.rot90(frame, degrees // 90)
    assert result.shape == expected.shape
    assert np.abs(result.astype(int) - expected).mean() < 6
    seen = facts_of(tmp_path / "result.mp4")
    assert seen["aspect"] == (Fraction(4, 3) if degrees == 180 else Fraction(3, 4))


def test_odd_sizes(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mkv", moving(3, 51, 65), codec="ffv1", pixels="yuv444p")
    pass_through(film, tmp_path / "result.mp4")
    assert facts_of(tmp_path / "result.mp4")["size"] == (64, 50)
    pass_through(film, tmp_path / "result.webp")
    pass_through(film, tmp_path / "result.mkv", codec="ffv1", crf=None)
    assert facts_of(tmp_path / "result.mkv")["size"] == (65, 51)


def test_size_start_and_duration(tmp_path: Path) -> None:
    frames = moving(50)
    film = write_video(tmp_path / "film.mp4", frames, subtitles="mov_text", options={"g": "10"})
    done = pass_through(film, tmp_path / "result.mp4", size=32, start=0.3, duration=0.6)
    # From the first frame that begins at 0.3 s or later, 0.32 s, to the last before 0.9 s.
    assert times_of(tmp_path / "result.mp4") == pytest.approx([0.02 + 0.04 * i for i in range(15)])
    assert facts_of(tmp_path / "result.mp4")["size"] == (32, 24)
    assert done.frames == 15
    whole = packets_of(film, "audio")
    part = packets_of(tmp_path / "result.mp4", "audio")
    first = whole.index(part[0])
    assert part == whole[first : first + len(part)]
    assert len(part) == pytest.approx(0.6 * 44100 / 1024, abs=1)


def test_transport_streams_begin_at_zero(tmp_path: Path) -> None:
    film = tmp_path / "film.ts"
    write_video(film, moving(12), times=[5000 + 40 * i for i in range(12)], audio=None)
    assert times_of(film)[0] >= 5
    pass_through(film, tmp_path / "result.mp4")
    np.testing.assert_allclose(
        times_of(tmp_path / "result.mp4"), np.array(times_of(film)) - times_of(film)[0], atol=2e-4
    )
    done = pass_through(film, tmp_path / "part.mp4", start=0.2)
    assert done.frames == 7


def test_animations_come_out_and_go_in(tmp_path: Path) -> None:
    from fststyle.images.animation import load_frames

    film = write_video(tmp_path / "film.mp4", moving(8), aspect=Fraction(2, 1))
    for suffix in (".gif", ".webp"):
        target = tmp_path / f"result{suffix}"
        pass_through(film, target, square=True, crf=None)
        animation = load_frames(target)
        assert animation.size == (128, 48)
        assert animation.loop == 0
        assert sum(animation.durations) == pytest.approx(320, abs=1)
        shown = [frame.pixels for frame in animation.frames()]
        assert len(shown) == 8
        np.testing.assert_allclose(255 * patch(shown[4]), (200, 100, 50), atol=12)
    pass_through(tmp_path / "result.gif", tmp_path / "again.mp4")
    assert times_of(tmp_path / "again.mp4") == times_of(film)


def test_no_gif_is_too_fast_for_its_viewers(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", moving(30), times=[10 * i for i in range(30)])
    pass_through(film, tmp_path / "result.gif", square=True, crf=None)
    times = times_of(tmp_path / "result.gif")
    assert np.diff(times).min() >= 0.0199
    assert 14 <= len(times) <= 15


def damaged(film: Path, target: Path, number: int) -> Path:
    """Overwrite most of one frame's packet, in place."""
    import av

    content = bytearray(film.read_bytes())
    with av.open(str(film)) as container:
        packets = [bytes(p) for p in container.demux(video=0) if p.size]
    begin = content.index(packets[number])
    content[begin + 4 : begin + len(packets[number])] = b"\xa5" * (len(packets[number]) - 4)
    target.write_bytes(content)
    return target


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "libx264"), (".mkv", "mpeg4")])
def test_a_broken_frame_is_replaced_by_the_one_before(
    tmp_path: Path, suffix: str, codec: str
) -> None:
    whole = write_video(
        tmp_path / f"whole{suffix}", moving(12), codec=codec, options={"g": "1"}, audio=None
    )
    film = damaged(whole, tmp_path / f"film{suffix}", 6)
    seen: list[float] = []

    def work(pixels: NDArray[np.uint8], seconds: float) -> NDArray[np.uint8]:
        seen.append(round(seconds, 3))
        return pixels

    with VideoReader(film) as reader:
        done = convert(reader, Output(tmp_path / "result.mp4", crf=5), work)
    assert reader.damage.broken == 1
    assert done.frames == 12
    assert seen == [round(0.04 * i, 3) for i in range(12) if i != 6]
    assert times_of(tmp_path / "result.mp4") == times_of(whole)
    frames = [frame.astype(int) for frame in frames_of(tmp_path / "result.mp4")]
    assert np.abs(frames[6] - frames[5]).mean() < np.abs(frames[7] - frames[5]).mean() / 2


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".mp4"])
def test_a_truncated_film_ends_with_what_there_is(tmp_path: Path, suffix: str) -> None:
    import av

    whole = write_video(tmp_path / f"whole{suffix}", moving(60), options={"g": "5"})
    if suffix == ".mp4":  # whose index is at the end, unless it is asked for
        with (
            av.open(str(whole)) as source,
            av.open(str(tmp_path / "fast.mp4"), "w", options={"movflags": "+faststart"}) as target,
        ):
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
        whole = tmp_path / "fast.mp4"
    content = whole.read_bytes()
    film = tmp_path / f"film{suffix}"
    film.write_bytes(content[: len(content) // 2])
    with VideoReader(film) as reader:
        done = convert(reader, Output(tmp_path / "result.mp4"), same)
    assert 15 <= done.frames <= 50
    assert len(frames_of(tmp_path / "result.mp4")) == done.frames
    # A transport stream does not say how long it is.
    assert (reader.damage.truncated != "") == (suffix != ".ts")
    with VideoReader(film, duration=9) as reader:
        assert [*reader.items()] != []
    assert (reader.damage.truncated != "") == (suffix != ".ts")
    with VideoReader(film, duration=0.4) as reader:  # which there is
        assert [*reader.items()] != []
    assert reader.damage.truncated == ""


def test_sound_films_are_not_taken_for_truncated(tmp_path: Path) -> None:
    for suffix in (".mkv", ".mp4", ".ts", ".webm"):
        codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
        film = tmp_path / f"film{suffix}"
        write_video(film, moving(30), codec=codec, audio=None if suffix == ".webm" else "aac")
        with VideoReader(film) as reader:
            count = sum(1 for item in reader.items() if hasattr(item, "pixels"))
        assert count == 30
        assert reader.damage.truncated == ""
        assert reader.damage.broken == 0


def test_stopping_leaves_what_is_done(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", moving(40))
    counts: list[int] = []
    with VideoReader(film) as reader:
        done = convert(
            reader,
            Output(tmp_path / "result.mp4"),
            same,
            on_frame=counts.append,
            stop=lambda: len(counts) == 10,
        )
    assert (done.frames, done.is_whole) == (10, False)
    assert counts == list(range(1, 11))
    assert len(frames_of(tmp_path / "result.mp4")) == 10
    assert packets_of(tmp_path / "result.mp4", "audio") != []
    with VideoReader(film) as reader, pytest.raises(KeyboardInterrupt):
        convert(reader, Output(tmp_path / "none.mp4"), same, stop=lambda: True)
    assert {p.name for p in tmp_path.iterdir()} == {"film.mp4", "result.mp4"}


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize(("interleaved", "frames"), [(False, 50), (True, 50), (True, 97)])
def test_stopping_leaves_the_sound_of_what_is_done(
    tmp_path: Path, suffix: str, interleaved: bool, frames: int
) -> None:
    import av

    # Where the sound lies behind all pictures in the file, it is read after the stop.
    chapters = [(0, 1000), (1000, 4000)]
    film = write_video(
        tmp_path / f"film{suffix}", moving(100), interleaved=interleaved, chapters=chapters
    )
    result = tmp_path / f"result{suffix}"
    counts: list[int] = []
    with VideoReader(film) as reader:
        convert(
            reader,
            Output(result),
            same,
            on_frame=counts.append,
            stop=lambda: len(counts) == frames,
        )
    end = frames / 25
    assert chapters_of(result) == [("part 1", 0, 1), ("part 2", 1, pytest.approx(end, abs=0.002))]
    with av.open(str(result)) as container:
        assert container.duration is not None
        assert container.duration / 1e6 == pytest.approx(end, abs=0.05)  # of the sound
        ends = {"video": 0.0, "audio": 0.0}
        for packet in container.demux():
            if packet.pts is not None and packet.size:
                last = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                if packet.stream.type in ends:
                    ends[packet.stream.type] = max(ends[packet.stream.type], last)
    assert ends["video"] == pytest.approx(end, abs=0.002)
    assert ends["audio"] == pytest.approx(end, abs=0.03)


def test_subtitles_end_where_the_film_does(tmp_path: Path) -> None:
    import av

    film = write_video(tmp_path / "film.mkv", moving(20), subtitles="subrip")  # to 0.4 s
    with VideoReader(film, duration=0.2) as reader:
        convert(reader, Output(tmp_path / "result.mkv"), same)
    with av.open(str(tmp_path / "result.mkv")) as container:
        assert container.duration is not None
        assert container.duration / 1e6 == pytest.approx(0.2, abs=0.05)
        (packet,) = (p for p in container.demux(subtitles=0) if p.size)
        assert (packet.pts, packet.duration) == (100, 100)


@pytest.mark.parametrize(
    ("suffix", "codec", "square"),
    [(".webm", None, True), (".mkv", "vp9", True), (".mkv", None, False), (".mp4", "vp9", False)],
)
def test_pixels_that_are_not_square(
    tmp_path: Path, suffix: str, codec: str | None, square: bool
) -> None:
    film = write_video(tmp_path / "film.mp4", moving(3), aspect=Fraction(4, 3), audio=None)
    output = Output(tmp_path / f"result{suffix}", codec)
    assert output.needs_square_pixels == square
    with VideoReader(film, square=square) as reader:
        convert(reader, output, same)
    facts = facts_of(output.path)
    width, height = facts["size"]
    assert width * (facts["aspect"] or 1) / height == pytest.approx(64 * 4 / 3 / 48, rel=0.01)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_chapters_are_cut_as_the_film_is(tmp_path: Path, suffix: str) -> None:
    chapters = [(0, 800), (800, 1600), (1600, 2400)]
    film = write_video(tmp_path / f"film{suffix}", moving(60), chapters=chapters)
    for start, duration, expected in (
        (0.0, None, [("part 1", 0, 0.8), ("part 2", 0.8, 1.6), ("part 3", 1.6, 2.4)]),
        (1.0, None, [("part 2", 0, 0.6), ("part 3", 0.6, 1.4)]),
        (0.4, 0.8, [("part 1", 0, 0.4), ("part 2", 0.4, 0.8)]),
    ):
        with VideoReader(film, start=start, duration=duration) as reader:
            convert(reader, Output(tmp_path / f"result{suffix}"), same)
        assert chapters_of(tmp_path / f"result{suffix}") == expected


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", moving(20))
    target = tmp_path / "result.mp4"
    target.write_bytes(b"before")

    def fail(pixels: NDArray[np.uint8], seconds: float) -> NDArray[np.uint8]:
        raise VideoError("no more")

    with VideoReader(film) as reader, pytest.raises(VideoError, match="no more"):
        convert(reader, Output(target), fail)
    assert target.read_bytes() == b"before"
    assert {p.name for p in tmp_path.iterdir()} == {"film.mp4", "result.mp4"}
    assert not [t for t in threading.enumerate() if t.name.startswith("fststyle")]


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits of file sizes are of Unix")
    film = write_video(tmp_path / "film.mp4", moving(60, 96, 128))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        with VideoReader(film) as reader, raises(VideoError, "cannot_write"):
            convert(reader, Output(tmp_path / "result.mp4", crf=0), same)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert {p.name for p in tmp_path.iterdir()} == {"film.mp4"}


def test_a_film_that_is_killed_is_not_there(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", moving(30))
    program = (
        "import sys, time\nfrom pathlib import Path\n"
        "from fststyle.video.reader import VideoReader\n"
        "from fststyle.video.convert import convert\n"
        "from fststyle.video.encoders import Output\n"
        "def work(pixels, seconds):\n"
        "    print(seconds, flush=True)\n    time.sleep(0.2)\n    return pixels\n"
        "with VideoReader(Path(sys.argv[1])) as reader:\n"
        "    convert(reader, Output(Path(sys.argv[2])), work)\n"
    )
    target = tmp_path / "result.mp4"
    command = [sys.executable, "-c", program, str(film), str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        process.kill()
        process.wait(timeout=60)
    assert not target.exists()


def test_the_stages_overlap_and_hold_little(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", moving(40), audio=None)
    ahead: list[int] = []
    with VideoReader(film) as reader:
        items = reader.items
        count = 0

        def counted() -> Any:
            nonlocal count
            for item in items():
                count += 1
                yield item

        def work(pixels: NDArray[np.uint8], seconds: float) -> NDArray[np.uint8]:
            time.sleep(0.01)
            ahead.append(count - len(ahead))
            return pixels

        reader.items = counted  # type: ignore[method-assign]
        convert(reader, Output(tmp_path / "result.mp4"), work)
    assert 2 <= max(ahead) <= 10
