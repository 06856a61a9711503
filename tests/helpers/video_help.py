"""Films made for the tests, by PyAV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

MILLISECOND = Fraction(1, 1000)


def moving(count: int, height: int = 48, width: int = 64) -> list[NDArray[np.uint8]]:
    """Frames of a smooth pattern that moves, with a patch of (200, 100, 50) in the middle."""
    x, y = np.arange(width)[np.newaxis], np.arange(height)[:, np.newaxis]
    frames = []
    for index in range(count):
        waves = [np.sin((x + 2 * index) / a + y / b) for a, b in ((5, 9), (7, 6), (9, 5))]
        frame = (127 + 80 * np.stack(waves, axis=2)).astype(np.uint8)
        frame[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = (200, 100, 50)
        frames.append(frame)
    return frames


def write_video(
    path: Path,
    frames: Sequence[NDArray[np.uint8]],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    matrix: int = 1,
    full: bool = False,
    times: Sequence[int] | None = None,
    degrees: int | None = None,
    aspect: Fraction | None = None,
    audio: str | None = "aac",
    subtitles: str | None = None,
    title: str = "",
    options: dict[str, str] | None = None,
    chapters: Sequence[tuple[int, int]] = (),
    interleaved: bool = True,
) -> Path:
    """Write a film of 25 frames a second, or with its frames' times in milliseconds.

    Its sound is a tone of 440 Hz, as long as the pictures; it has a subtitle from 0.1 to 0.4 s.
    """
    times = times or [40 * index for index in range(len(frames))]
    ends = [*times[1:], times[-1] + 40]
    scaler = 5 if matrix in (5, 6) else matrix
    settings = {"crf": "5", "preset": "ultrafast"} if codec == "libx264" else {}
    # What is muxed last comes last in the file, unless the muxer may wait for it.
    muxing = {} if interleaved else {"max_interleave_delta": "1"}
    with av.open(str(path), "w", options=muxing) as container:
        if chapters:
            container.set_chapters(
                [
                    {
                        "id": index,
                        "start": start,
                        "end": end,
                        "time_base": MILLISECOND,
                        "metadata": {"title": f"part {index}"},
                    }
                    for index, (start, end) in enumerate(chapters, 1)
                ]
            )
        container.metadata["title"] = title
        container.metadata["location"] = "+48.8584+002.2945/"
        video: Any = container.add_stream(codec, rate=25, options=settings | (options or {}))
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = pixels
        context = video.codec_context
        context.time_base = video.time_base = MILLISECOND
        context.colorspace, context.color_range = matrix, 2 if full else 1
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if degrees is not None:
            video.set_display_rotation(degrees)
        sound: Any = None
        if audio is not None:
            sound = container.add_stream(audio, rate=44100)
            sound.layout = "mono"
        text: Any = None
        if subtitles is not None:
            text = container.add_mux_stream(subtitles, time_base=MILLISECOND)
            text.metadata["language"] = "fra"
        for pixels_, begin, end in zip(frames, times, ends, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels_, "rgb24").reformat(
                format=pixels, dst_colorspace=scaler, dst_color_range=2 if full else 1
            )
            frame.pts, frame.time_base, frame.duration = begin, MILLISECOND, end - begin
            container.mux(video.encode(frame))
        for packet in video.encode(None):
            container.mux(packet)
        for samples in _tone(ends[-1] / 1000) if sound is not None else ():
            container.mux(sound.encode(samples))
        if sound is not None:
            container.mux(sound.encode(None))
        if text is not None:
            packet = av.Packet(b"\x00\x05hello" if subtitles == "mov_text" else b"hello")
            packet.stream, packet.time_base = text, MILLISECOND
            packet.pts, packet.duration = 100, 300
            packet.dts = packet.pts
            container.mux(packet)
    return path


def _tone(seconds: float) -> Iterator[Any]:
    wave = 0.2 * np.sin(2 * np.pi * 440 / 44100 * np.arange(int(seconds * 44100)))
    for begin in range(0, len(wave), 1024):
        piece = wave[np.newaxis, begin : begin + 1024].astype(np.float32)
        samples = av.AudioFrame.from_ndarray(piece, "fltp", "mono")
        samples.sample_rate, samples.pts = 44100, begin
        samples.time_base = Fraction(1, 44100)
        yield samples


def packets_of(path: Path, kind: str) -> list[bytes]:
    """The packets of sound or subtitles, without the gaps between subtitles."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        return [bytes(p) for p in container.demux(stream) if p.size > 2]


def chapters_of(path: Path) -> list[tuple[str, float, float]]:
    """Title, beginning and end of each chapter, in seconds."""
    with av.open(str(path)) as container:
        found: list[Any] = container.chapters()
    return [
        (
            chapter["metadata"]["title"],
            round(float(chapter["start"] * chapter["time_base"]), 3),
            round(float(chapter["end"] * chapter["time_base"]), 3),
        )
        for chapter in found
    ]


def times_of(path: Path) -> list[float]:
    """When each frame is shown, in seconds."""
    with av.open(str(path)) as container:
        return [round(float(f.pts * f.time_base), 4) for f in container.decode(video=0)]  # type: ignore[operator]


def frames_of(path: Path) -> list[NDArray[Any]]:
    """The frames as RGB."""
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]


def facts_of(path: Path) -> dict[str, Any]:
    """What a program such as ffprobe prints of a film."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        context = video.codec_context
        return {
            "format": container.format.name,
            "streams": [s.type for s in container.streams],
            "codec": context.name,
            "size": (context.width, context.height),
            "pixels": context.pix_fmt,
            "matrix": int(context.colorspace),
            "range": int(context.color_range),
            "aspect": video.sample_aspect_ratio,
            "rate": video.average_rate,
            "seconds": None if container.duration is None else container.duration / 1e6,
            "metadata": dict(container.metadata),
            "languages": [s.metadata.get("language") for s in container.streams],
        }


def scene(seed: int, height: int = 64, width: int = 80) -> NDArray[np.uint8]:
    """Large soft shapes in colours of their own."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 16
    phases, tint = rng.uniform(0, 6, (3, 2)), rng.uniform(40, 200, 3)
    waves = [np.sin(x + p) * np.cos(y + q) for p, q in phases]
    levels = np.clip(tint + 50 * np.stack(waves, axis=2), 0, 255)
    return np.asarray(levels, np.uint8)


def with_shape(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    changed = frame.copy()
    changed[40:, 10:60] = (255, 250, 245)
    return changed
