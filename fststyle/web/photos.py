"""What the server does with one photo: the command line's own steps, from file to file.

None of it loads torch.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from fststyle.errors import FststyleError, PhotoError, StyleError
from fststyle.images.animation import ANIMATION_SUFFIXES
from fststyle.images.limits import pillow_limits
from fststyle.images.load import cannot_read, open_image
from fststyle.runtime.runner import Runtime, load_runtime
from fststyle.styles import find, quality
from fststyle.styles.find import (
    FoundStyle,
    art_folder,
    art_info,
    list_styles,
    zoo_folder,
)
from fststyle.styles.info import StyleInfo
from fststyle.styles.style_file import read_info
from fststyle.stylize.arrays import read_mask
from fststyle.stylize.blend import style_weights
from fststyle.stylize.control import Control
from fststyle.stylize.file_stylizer import FileStylizer
from fststyle.stylize.plan import Task
from fststyle.stylize.stylizer import Stylizer
from fststyle.web.errors import Refusal

FORMATS: Final = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}
"""Formats of the results, and the endings of their files."""

PICTURE_KINDS: Final = {
    "jpeg": rb"\xff\xd8\xff",
    "png": rb"\x89PNG\r\n\x1a\n",
    "webp": rb"RIFF....WEBP",
    "gif": rb"GIF8[79]a",
    "tiff": rb"II[*+]\0|MM\0[*+]",
    "bmp": rb"BM",
    "avif": rb"....ftypavi[fs]",
    "heic": rb"....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)",
    "heif": rb"....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)",
}
"""Pictures that strangers may send, and how their files begin; fewer than pillow reads."""

BLEND: Final = re.compile(
    r"[a-z0-9][a-z0-9_-]{0,63}(:[0-9]{1,3}(\.[0-9]{1,6})?)?"
    r"(,[a-z0-9][a-z0-9_-]{0,63}(:[0-9]{1,3}(\.[0-9]{1,6})?)?){0,3}"
)
"""A style by name, or up to four with their weights."""

_LARGE_PIXELS: Final = 12_000_000
_MOST_NETWORKS: Final = 24  # that are kept ready
_MOST_GROWN: Final = 4  # of those that have worked on more pixels than
_GROWN_PIXELS: Final = 500_000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wish:
    """What is asked for a photo.

    Attributes:
        style: As `BLEND` has it.
        format: Of the result, one of `FORMATS`; empty for the photo's own, or else JPEG for
            photographs and PNG for what may be none.
        control: As of `Stylizer`.
        quality: Of JPEG and WebP.
        strip: Keep no metadata.
        keep_gps: Keep the place.
    """

    style: str
    format: str = ""
    control: Control = field(default_factory=Control)
    quality: int | None = None
    strip: bool = False
    keep_gps: bool = False


class Networks:
    """Trained networks that are ready to run, for all threads; those used last are kept.

    A network keeps the memory of the largest photo that it has seen, some 150 MB at its working
    size of 1280 pixels, so few that have seen a large one are kept.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._ready: OrderedDict[str, tuple[tuple[str, int, int], Runtime]] = OrderedDict()
        self._grown: OrderedDict[str, None] = OrderedDict()

    def stylizer(self, style: str, pixels: int = 0) -> Stylizer:
        """Make a stylizer of one style or of a blend.

        Args:
            style: As `BLEND` has it.
            pixels: Of the photo that it is for.

        Returns:
            As ``Stylizer(style)``.

        Raises:
            Refusal: There is no such style, or it cannot be used.
        """
        weights = parse_blend(style)
        parts = [(self._runtime(name), weight) for name, weight in weights.items()]
        if pixels > _GROWN_PIXELS:
            with self._lock:
                for name in weights:
                    self._grown[name] = None
                    self._grown.move_to_end(name)
                while len(self._grown) > _MOST_GROWN:
                    oldest, _ = self._grown.popitem(last=False)
                    self._ready.pop(oldest, None)
        return Stylizer.of(parts)

    def _runtime(self, name: str) -> Runtime:
        found = find_network(name)
        try:
            status = found.path.stat()
            stamp = (str(found.path), status.st_mtime_ns, status.st_size)
            with self._lock:
                if name in self._ready and self._ready[name][0] == stamp:
                    self._ready.move_to_end(name)
                    return self._ready[name][1]
                runtime = load_runtime(found.path, device="cpu", threads=self._threads)
                self._ready[name] = stamp, runtime
                while len(self._ready) > _MOST_NETWORKS:
                    self._ready.popitem(last=False)
                return runtime
        except (OSError, StyleError) as error:
            log.warning("%s", error)
            raise Refusal(
                422, "style_damaged", f"The style {name} cannot be used; choose another one."
            ) from error


def parse_blend(style: str) -> dict[str, float]:
    """Say how much of which style a text means, as the command line does.

    Raises:
        Refusal: It is not as `BLEND` has it, or all weights are 0.
    """
    if not BLEND.fullmatch(style):
        raise Refusal(422, "bad_style", "Name a style, or up to four: one:0.6,other:0.4.")
    weights: dict[str, float] = {}
    for item in style.split(","):
        name, colon, weight = item.partition(":")
        weights[name] = weights.get(name, 0.0) + (float(weight) if colon else 1.0)
    try:
        return style_weights(weights)
    except FststyleError as error:
        raise Refusal(422, "bad_style", "The weights must add up to more than 0.") from error


def find_network(name: str) -> FoundStyle:
    """Find a trained style by its name, never by a path.

    Raises:
        Refusal: There is none.
    """
    if not BLEND.fullmatch(name) or ":" in name or "," in name:
        raise Refusal(422, "bad_style", "A style's name has lower-case letters, digits, _ and -.")
    try:
        return find.find_network(name)
    except StyleError as error:
        raise Refusal(404, "no_style", str(error)) from error


def list_networks() -> list[dict[str, Any]]:
    """Tell of every trained style what a page shows; damaged files are left out."""
    facts = []
    for found in list_styles():
        if found.kind != "network":
            continue
        try:
            info = read_info(found.path)
        except StyleError as error:
            log.warning("%s", error)
            continue
        is_shipped = found.path.parent == zoo_folder()
        facts.append(
            {
                **_told(info),
                "name": found.name,
                "origin": "shipped" if is_shipped else "own",
                "bytes": found.path.stat().st_size,
            }
        )
    return facts


def list_artworks() -> list[dict[str, Any]]:
    """Tell of our own artworks, which a photo can be optimised towards."""
    names = sorted(path.stem for path in art_folder().glob("*.jpg"))
    return [{**_told(art_info(name)), "name": name} for name in names]


def _told(info: StyleInfo) -> dict[str, Any]:
    found = quality.recorded(info)
    return {
        "title": info.title or info.name,
        "artist": info.artist,
        "year": "" if info.year is None else str(info.year),
        "licence": info.licence,
        "quality": f"equals {found[0].equals_text()} L-BFGS iterations" if found else "",
    }


def kind_of(path: Path) -> str | None:
    """Tell by a file's first bytes which of `PICTURE_KINDS` it is, if any."""
    with path.open("rb") as file:
        head = file.read(16)
    return next((k for k, begin in PICTURE_KINDS.items() if re.match(begin, head, re.S)), None)


def check_picture(
    path: Path, what: str, most_pixels: int, *, moving: bool = False, least_side: int = 1
) -> int:
    """Refuse a picture that is too large, before it is decoded.

    Args:
        path: A picture of one of `PICTURE_KINDS`.
        what: Its name for the person, such as ``photo``.
        most_pixels: The limit.
        moving: All frames of an animation count.
        least_side: Height and width that it must have.

    Returns:
        Its number of pixels.

    Raises:
        Refusal: It has more, or is too small, or its header cannot be read.
    """
    try:
        with pillow_limits(), path.open("rb") as file, open_image(file, path) as image:
            width, height = image.size
            frames = int(getattr(image, "n_frames", 1)) if moving else 1
    except PhotoError as error:
        raise Refusal(415, "no_picture", _without_paths(str(error), {path: what})) from error
    except Exception as error:  # on damaged files pillow's decoders raise nearly anything
        unreadable = cannot_read(path, error)
        sentence = unreadable.describe(path=f"The {what}")
        if unreadable.code == "out_of_memory":  # so large that pillow itself refuses it
            raise Refusal(413, "too_many_pixels", sentence) from error
        raise Refusal(422, "damaged", sentence) from error
    if width * height * frames > most_pixels:
        times = f" and {frames} frames" if frames > 1 else ""
        raise Refusal(
            413,
            "too_many_pixels",
            f"The {what} has {width}×{height} pixels{times}; up to "
            f"{most_pixels / 1e6:g} megapixels are taken here. Make it smaller first.",
        )
    if min(width, height) < least_side:
        raise Refusal(
            422,
            "too_small",
            f"The {what} has {width}×{height} pixels; it must have at least {least_side} a side.",
        )
    return width * height * frames


_large: Final = threading.Lock()


def stylise_file(
    files: Mapping[str, Path], wish: Wish, networks: Networks, most_pixels: int
) -> tuple[bytes, str]:
    """Stylise a photo's file, as ``fststyle stylize`` does.

    Args:
        files: ``photo``, and where wanted ``mask``; the result is written beside them.
        wish: What to do.
        networks: That are ready.
        most_pixels: Of a photo.

    Returns:
        The result's file, and its format.

    Raises:
        Refusal: The photo or a setting is not what it should be.
    """
    photo, mask = files["photo"], files.get("mask")
    file_format = wish.format or _own_format(photo)
    target = photo.with_name(f"result{FORMATS[file_format]}")
    moving = target.suffix in ANIMATION_SUFFIXES
    pixels = check_picture(photo, "photo", most_pixels, moving=moving)
    if mask is not None:
        check_picture(mask, "mask", most_pixels)
    stylizer = networks.stylizer(wish.style, pixels)
    large = pixels > _LARGE_PIXELS
    if large:
        _large.acquire()  # one at a time, for the memory's sake
    try:
        control = wish.control
        if mask is not None:
            control = replace(control, mask=read_mask(mask))
        steps = FileStylizer(
            stylizer,
            control,
            strip=wish.strip,
            keep_gps=wish.keep_gps,
            quality=wish.quality,
        )
        job = Task(photo, target)
        result, _ = steps.work(steps.read(job))
        steps.write(job, result)
        return target.read_bytes(), file_format
    except FststyleError as error:
        names = {photo: "photo", target: "result"} | ({mask: "mask"} if mask else {})
        raise Refusal(422, "not_possible", _without_paths(str(error), names)) from error
    finally:
        if large:
            _large.release()


def _own_format(photo: Path) -> str:
    kind = kind_of(photo) or ""
    if kind in FORMATS:
        return kind
    return "jpeg" if kind in ("heic", "heif", "avif", "tiff") else "png"


def _without_paths(sentence: str, names: Mapping[Path, str]) -> str:
    for path, name in names.items():
        sentence = sentence.replace(str(path), f"The {name}")
    folder = str(next(iter(names)).parent)
    return "The picture cannot be read." if folder in sentence else sentence
