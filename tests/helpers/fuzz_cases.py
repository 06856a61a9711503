"""Damaged and hostile files, for the tests and for ``scripts/force.py``.

    python fuzz_cases.py photos|styles|videos|runs SEED SECONDS FOLDER

The process has little memory. It prints a JSON object: for each kind of file, how many were read
and refused, and the slowest in seconds; and ``megabytes``, the peak memory of the process. If a
file crashes the reader, it is left in FOLDER as "case" and its kind as "kind", and the process
fails with the traceback.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import resource
import shutil
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from fststyle.errors import FststyleError, PhotoError, StyleError, TrainingError, VideoError
from fststyle.images import exif as ex
from fststyle.images.animation import load_frames
from fststyle.images.load import load_photo
from fststyle.images.save import encode
from fststyle.styles.style_file import read_style

MEMORY = 3 << 30  # address space, of which libraries map nearly half
CPU_SECONDS = 20.0  # for one case; more is a hang


def photos() -> dict[str, bytes]:
    """Return a small photo in every common format and mode."""
    noise = np.random.default_rng(0)
    rgb = Image.fromarray(noise.integers(0, 255, (17, 24, 3), np.uint8)).resize((48, 34))
    alpha = rgb.copy()
    alpha.putalpha(rgb.convert("L"))
    palette = rgb.quantize(16)
    palette.info["transparency"] = 3
    deep = Image.fromarray(noise.integers(0, 65535, (34, 48), np.uint16))
    floats = Image.fromarray(noise.random((34, 48), np.float32))
    exif = Image.Exif()
    exif[0x0112] = 6
    from fststyle.images.colour import srgb_profile

    profile = srgb_profile().replace(b"sRGB", b"mine")  # else it is not applied
    more = {"append_images": [rgb.rotate(90), rgb], "save_all": True, "duration": 40}
    wanted: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "JPEG": (rgb, {"exif": exif, "icc_profile": profile}),
        "JPEG progressive": (rgb, {"progressive": True}),
        "JPEG cmyk": (rgb.convert("CMYK"), {}),
        "PNG": (rgb, {"exif": exif, "icc_profile": profile}),
        "PNG alpha": (alpha, {}),
        "PNG palette": (palette, {}),
        "PNG 16": (deep, {}),
        "PNG animated": (rgb, more),
        "PNG bits": (rgb.convert("1"), {}),
        "WEBP": (rgb, {"exif": exif}),
        "WEBP alpha": (alpha, {"lossless": True}),
        "WEBP animated": (rgb, more),
        "GIF": (palette, {}),
        "GIF animated": (rgb, more),
        "TIFF": (rgb, {}),
        "TIFF lzw": (alpha, {"compression": "tiff_lzw", "exif": exif}),
        "TIFF deflate": (rgb.convert("CMYK"), {"compression": "tiff_adobe_deflate"}),
        "TIFF jpeg": (rgb, {"compression": "jpeg"}),
        "TIFF 16": (deep, {}),
        "TIFF float": (floats, {}),
        "TIFF pages": (rgb, {k: more[k] for k in ("append_images", "save_all")}),
        "BMP": (rgb, {}),
        "BMP palette": (palette, {}),
        "PPM": (rgb, {}),
        "ICO": (rgb, {"sizes": [(32, 32)]}),
        "TGA": (rgb, {"compression": "tga_rle"}),
        "JPEG2000": (rgb, {}),
    }
    signed = Image.fromarray(noise.integers(-30_000, 30_000, (34, 48), np.int32))
    wanted |= {
        "TIFF signed": (signed, {}),
        "DIB": (rgb, {}),
        "PPM grey": (rgb.convert("L"), {}),
        "PPM bits": (rgb.convert("1"), {}),
        "PPM float": (floats, {}),
        "MPO": (rgb, {"append_images": [rgb], "save_all": True}),
        "PCX": (rgb, {}),
        "SGI": (rgb, {}),
        "QOI": (alpha, {}),
        "TGA raw": (alpha, {}),
        "JPEG2000 raw": (rgb.convert("L"), {"no_jp2": True}),
        "ICNS": (rgb, {}),
    }
    if features.check("avif"):
        wanted["AVIF"] = (rgb, {"exif": exif, "speed": 10})
        wanted["AVIF alpha"] = (alpha, {"speed": 10})
    files = {}
    for name, (image, options) in wanted.items():
        file = BytesIO()
        image.save(file, name.split()[0], **options)
        files[name] = file.getvalue()
    words = noise.integers(0, 65_536, (9, 12, 4), dtype=np.uint16)
    for bits, samples in (("16 bits", words[..., :3]), ("16 bits alpha", words)):
        for form in ("PNG", "TIFF"):
            files[f"{form} {bits}"] = encode(samples, form)
    files["TIFF planar"] = planar_tiff(words)
    if find_spec("pillow_heif"):
        from pillow_heif import HeifFile, from_pillow

        heif: HeifFile = from_pillow(rgb)
        file = BytesIO()
        heif.save(file)
        files["HEIF"] = file.getvalue()
    files["EPS"] = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    return files


def planar_tiff(words: NDArray[np.uint16]) -> bytes:
    """Return a TIFF with one strip for each channel."""
    height, width, channels = words.shape
    data = np.moveaxis(words, 2, 0).astype("<u2").tobytes()
    size = len(data) // channels
    exif = ex.Exif()
    numbers = {
        256: [width], 257: [height], 258: [16] * channels, 259: [1], 262: [2],
        273: [8 + size * index for index in range(channels)], 277: [channels], 278: [height],
        279: [size] * channels, 284: [2], 338: [2],
    }  # fmt: skip
    exif.image.update((tag, exif.entry(ex.LONG, *values)) for tag, values in numbers.items())
    return ex.header("<", 8 + len(data)) + data + ex.folders(exif, start=8 + len(data))


def mutated(rng: random.Random, original: bytes, files: list[bytes]) -> bytes:
    """Damage a file, by accident or on purpose, perhaps with a part of another one."""
    data = bytearray(original)
    kind = rng.choice(("truncate", "flip", "flip", "numbers", "splice", "repeat", "drop"))
    if kind == "truncate":
        del data[rng.randrange(len(data)) :]
    elif kind == "flip":
        near = rng.choice((64, 512, len(data)))  # headers decide the most
        for _ in range(rng.choice((1, 1, 2, 4, 16))):
            data[rng.randrange(min(near, len(data)))] ^= 1 << rng.randrange(8)
    elif kind == "numbers":  # lengths and sizes
        place = rng.randrange(min(rng.choice((128, len(data))), len(data)))
        size = rng.choice((1, 2, 4, 8))
        data[place : place + size] = rng.choice((b"\xff", b"\x00", b"\x7f", b"\x80")) * size
    elif kind == "splice":
        other = rng.choice(files)
        data = data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]
    else:
        start, length = rng.randrange(len(data)), rng.randrange(1, 200)
        part = data[start : start + length]
        data[start : start + length] = part * rng.choice((2, 50)) if kind == "repeat" else b""
    return bytes(data)


def refused(error: FststyleError) -> str:
    """Check that one sentence says why."""
    if not 10 < len(str(error)) < 2000 or "\n" in str(error):
        raise AssertionError(f"no sentence: {error}")
    return "refused"


def check_photo(path: Path) -> str:
    """Read a photo. Anything but a photo or a `PhotoError` is a fault."""
    try:
        photo = load_photo(path)
        frames = [f.pixels.shape for f, _ in zip(load_frames(path).frames(), "abcde", strict=False)]
    except PhotoError as error:
        return refused(error)
    assert photo.pixels.dtype == np.float32
    assert photo.pixels.ndim == 3
    assert photo.pixels.shape[2] == 3
    assert photo.pixels.size > 0
    assert photo.pixels.min() >= 0  # not a number fails too
    assert photo.pixels.max() <= 1
    assert photo.alpha is None or photo.alpha.shape == photo.pixels.shape[:2]
    assert len(set(frames)) == 1
    return "read"


def spliced_model(rng: random.Random, files: list[bytes]) -> bytes:
    """A style file whose parts are of another, elsewhere, or larger than they are."""
    from onnx import ModelProto, TensorProto

    model = ModelProto.FromString(rng.choice(files))
    other = ModelProto.FromString(rng.choice(files))
    nodes, tensors = model.graph.node, model.graph.initializer
    node, tensor = rng.choice(nodes), rng.choice(tensors)
    kind = rng.randrange(14)
    if kind == 0:
        return bytes(model.SerializeToString() + other.SerializeToString())  # merges
    if kind == 1:
        model.MergeFrom(other)
    elif kind == 2:
        node.CopyFrom(rng.choice(other.graph.node))
    elif kind == 3:
        tensor.CopyFrom(rng.choice(other.graph.initializer))
    elif kind == 4 and node.input:  # a cycle
        node.input[0] = rng.choice(nodes).output[0]
    elif kind == 5:
        nodes.append(node)
    elif kind == 6:
        tensor.dims[:] = [rng.choice((-1, 0, 2**31, 2**40, 2**62)) for _ in range(4)]
    elif kind == 7:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=rng.choice(("/etc/passwd", "../x")))
    elif kind == 8:
        node.op_type = rng.choice(("If", "Loop", "Einsum", "Constant", "RandomNormal", "Sub"))
    elif kind == 9:
        attribute = node.attribute.add()
        attribute.name, attribute.type = "body", 5
        attribute.g.CopyFrom(other.graph)
    elif kind == 10:
        tensor.data_type = rng.randrange(-1, 30)
    elif kind == 11:
        entry = rng.choice(model.metadata_props)
        entry.value = rng.choice(("", "[" * 9999, "{}", "9" * 5000, "null", "true", '"a"'))
    elif kind == 12:
        for entry in model.metadata_props:
            if entry.key == "network":
                values = json.loads(entry.value)
                value: object = rng.choice((-1, 0, 2**31, 10**30, 1e300, None, "a", [], True))
                entry.value = json.dumps(values | {rng.choice(list(values)): value})
    else:
        model.functions.add().name = "Relu"
    return bytes(model.SerializeToString())


def check_style(path: Path) -> str:
    """Read one style file; anything but its numbers or a `StyleError` is a fault."""
    try:
        style = read_style(path)
    except StyleError as error:
        return refused(error)
    assert all(np.isfinite(array).all() for array in style.weights.values())
    assert len(style.model) < 2 * path.stat().st_size + 20_000
    folded = style.selected().folded(4.0)
    assert all(np.isfinite(array).all() for array in folded.weights.values())
    return "read"


def photo_cases(rng: random.Random, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield whole photos, then damaged ones without end."""
    files = photos()
    yield from files.items()
    while True:
        name = rng.choice(list(files))
        yield name, mutated(rng, files[name], list(files.values()))


def style_cases(rng: random.Random, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the style files of a folder, then damaged and hostile ones without end."""
    files = [path.read_bytes() for path in sorted(folder.glob("*.onnx"))]
    yield from (("whole", data) for data in files)
    while True:
        kind = rng.choice(("spliced", "spliced", "weights", "bytes"))
        if kind == "spliced":
            yield kind, spliced_model(rng, files)
        elif kind == "weights":
            yield kind, with_other_weights(rng, rng.choice(files))
        else:
            yield kind, mutated(rng, rng.choice(files), files)


def with_other_weights(rng: random.Random, data: bytes) -> bytes:
    """Change the numbers of a style file, up to those that overflow."""
    from onnx import ModelProto, numpy_helper

    model = ModelProto.FromString(data)
    tensor = rng.choice([t for t in model.graph.initializer if t.name.endswith(("weight", "bias"))])
    array = numpy_helper.to_array(tensor).astype(np.float32)
    value = rng.choice((np.nan, np.inf, -np.inf, 3.4e38, 0.0, 10 ** rng.uniform(-45, 38)))
    if rng.random() < 0.5:
        with np.errstate(over="ignore", invalid="ignore"):
            array *= np.float32(value)
    else:
        array.flat[rng.randrange(array.size)] = value
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return bytes(model.SerializeToString())


def videos() -> dict[str, bytes]:
    """Return a tiny video for each encoder that PyAV contains and that works here."""
    import av

    noise = np.random.default_rng(0).integers(0, 255, (6, 48, 64, 3), np.uint8)
    files = {}
    for name in sorted(av.codecs_available):
        try:
            codec = av.Codec(name, "w")
        except ValueError:
            continue
        if codec.type != "video" or not codec.video_formats or codec.experimental:
            continue
        # Matroska and AVI together hold almost every codec.
        for container in ("mkv", "avi", "mov"):
            with contextlib.suppress(av.FFmpegError, ValueError, RuntimeError):
                files[name] = small_video(container, name, codec.video_formats[0].name, noise)
                break
    return files


def small_video(container: str, codec: str, pixels: str, frames: NDArray[np.uint8]) -> bytes:
    import av

    file = BytesIO()
    formats = {"mkv": "matroska"}
    with av.open(file, "w", format=formats.get(container, container)) as output:
        stream: Any = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for frame in frames:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        output.mux(stream.encode(None))
    return file.getvalue()


def check_video(path: Path) -> str:
    """Decode a video. Anything but frames of one size or a `VideoError` is a fault."""
    from fststyle.video.container import Frame
    from fststyle.video.reader import VideoReader

    try:
        with VideoReader(path) as reader:
            items = list(itertools.islice(reader.items(), 400))
    except VideoError as error:
        return refused(error)
    frames = [item.pixels for item in items if isinstance(item, Frame) and item.pixels is not None]
    assert len({(frame.shape, frame.dtype) for frame in frames}) <= 1  # damaged ones are None
    return "read"


def video_cases(rng: random.Random, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield whole videos, then damaged ones without end."""
    files = videos()
    yield from files.items()
    while True:
        name = rng.choice(list(files))
        yield name, mutated(rng, files[name], list(files.values()))


SETTINGS = {"seed": 0, "style": {"name": "wave"}, "optim": {"lr": 0.1}}


def run_cases(rng: random.Random, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the two files that a run is resumed from, then damaged ones without end."""
    import torch

    state = {"status": "running", "started": "2026-01-01", "settings": SETTINGS}
    checkpoint = BytesIO()
    torch.save({"fststyle": {"steps_made": 3}, "weights": torch.arange(99.0)}, checkpoint)
    files = {"run.json": json.dumps(state).encode(), "last.ckpt": checkpoint.getvalue()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    yield from files.items()
    while True:
        name = rng.choice(list(files))
        yield name, mutated(rng, files[name], list(files.values()))


def check_run(path: Path) -> str:
    """Resume a run, or begin a new one. Anything but a run or a `TrainingError` is a fault."""
    from fststyle.training.run_folder import Run, find_resumable

    runs = path.parent / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    (runs / "run").mkdir(parents=True)
    for name in ("run.json", "last.ckpt"):
        shutil.copy(path.parent / name, runs / "run")
    shutil.copy(path, runs / "run" / (path.parent / "kind").read_text())
    try:
        found = find_resumable(runs / "run", SETTINGS, "auto")
        run = Run.new(runs / "new", SETTINGS) if found is None else Run.resume(found, SETTINGS)
    except TrainingError as error:
        return refused(error)
    run.close()
    return "read"


Check = Callable[[Path], str]
Cases = Callable[[random.Random, Path], Iterator[tuple[str, bytes]]]
KINDS: dict[str, tuple[Check, Cases]] = {
    "photos": (check_photo, photo_cases),
    "styles": (check_style, style_cases),
    "videos": (check_video, video_cases),
    "runs": (check_run, run_cases),
}


def main(what: str, seed: str, seconds: str, place: str) -> None:
    """Try cases until the time is over."""
    folder, rng = Path(place), random.Random(int(seed))
    check, make_cases = KINDS[what]
    cases = make_cases(rng, folder)
    path = folder / "case"
    kind, data = next(cases)
    (folder / "kind").write_text(kind)
    path.write_bytes(data)
    check(path)  # imports what it needs before the memory is limited
    memory = MEMORY if "torch" not in sys.modules else 10 * MEMORY  # torch maps much more
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    slowest: dict[str, float] = defaultdict(float)
    end = time.monotonic() + float(seconds)
    tries = 0
    try:
        while time.monotonic() < end or tries < (120 if what == "photos" else 50):
            kind, data = next(cases)
            path.write_bytes(data)
            (folder / "kind").write_text(kind)
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # ends the process
            begin = time.process_time()
            outcomes[kind][check(path)] += 1
            slowest[kind] = max(slowest[kind], time.process_time() - begin)
            tries += 1
    finally:
        kinds = {
            kind: {**counts, "slowest": round(slowest[kind], 2)}
            for kind, counts in outcomes.items()
        }
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps({"kinds": kinds, "megabytes": megabytes}))


if __name__ == "__main__":
    main(*sys.argv[1:])
