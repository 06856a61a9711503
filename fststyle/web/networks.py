"""The server's styles: lists of them, and a cache of loaded networks."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

from fststyle.errors import NoNetworkError, StyleError
from fststyle.runtime.runner import KEPT_STRENGTHS, Runtime, load_runtime
from fststyle.styles import find, quality
from fststyle.styles.find import FoundStyle, art_folder, art_info, list_styles, zoo_folder
from fststyle.styles.info import StyleInfo
from fststyle.styles.style_file import read_style
from fststyle.stylize.blend import style_weights
from fststyle.stylize.strokes import WORKING_SIDE
from fststyle.stylize.stylizer import Stylizer
from fststyle.web.errors import Refusal
from fststyle.web.models import Artwork, Style

_MAX_BYTES: Final = 800_000_000
_NETWORK_BYTES: Final = 15_000_000  # approximate memory of a loaded network
_PIXEL_BYTES: Final = 100  # approximate memory that it keeps per pixel of its largest photo
_MAX_PIXELS: Final = WORKING_SIDE**2  # larger photos are shrunk to this size or split into tiles

log = logging.getLogger(__name__)


@dataclass
class _Loaded:
    """A loaded network.

    Attributes:
        stamp: Path, modification time and size of its file.
        runtime: The network.
        pixels: Number of pixels in the largest photo so far.
    """

    stamp: tuple[str, int, int]
    runtime: Runtime
    pixels: int = 0

    @property
    def bytes(self) -> int:
        networks = KEPT_STRENGTHS if self.runtime.has_dial else 1
        return networks * (_NETWORK_BYTES + _PIXEL_BYTES * min(self.pixels, _MAX_PIXELS))


class Networks:
    """A cache of loaded networks, shared by all threads.

    A network keeps the memory that its largest photo needed. The cache therefore has a limit in
    bytes and drops the least recently used networks.

    Args:
        threads: Number of CPU threads for each network. By default, OpenVINO chooses.
        max_bytes: Approximate limit for the memory of all networks.
    """

    def __init__(self, threads: int | None = None, max_bytes: int = _MAX_BYTES) -> None:
        self._threads = threads
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()

    def stylizer(self, style: str, pixels: int = 0) -> Stylizer:
        """Create a stylizer for one style or a blend.

        Args:
            style: One or more styles, which match `fststyle.web.models.BLEND`.
            pixels: Number of pixels in the photo to be stylised.

        Returns:
            A stylizer equivalent to ``Stylizer(style)``.

        Raises:
            FststyleError: A style is unknown, has no network or is damaged, or all weights are 0.
        """
        weights = parse_blend(style)
        with self._lock:
            parts = [(self._load(name, pixels), weight) for name, weight in weights.items()]
            while sum(each.bytes for each in self._loaded.values()) > self._max_bytes:
                self._loaded.popitem(last=False)
        return Stylizer.of(parts)

    def _load(self, name: str, pixels: int) -> Runtime:
        """Return a network and mark it as the most recently used."""
        found = find_network(name)
        with _refusing_damaged(name):
            status = found.path.stat()
            stamp = (str(found.path), status.st_mtime_ns, status.st_size)
            loaded = self._loaded.pop(name, None)
            if loaded is None or loaded.stamp != stamp:
                runtime = load_runtime(found.path, device="cpu", threads=self._threads)
                loaded = _Loaded(stamp, runtime)
        loaded.pixels = max(loaded.pixels, pixels)
        self._loaded[name] = loaded
        return loaded.runtime


def parse_blend(style: str) -> dict[str, float]:
    """Parse styles and their weights, as the command line does.

    Args:
        style: One or more styles, which match `fststyle.web.models.BLEND`.

    Returns:
        The weight of each style. The weights add up to 1.

    Raises:
        SettingError: All weights are 0.

    Example:
        >>> parse_blend("great_wave:3,ink_wash:1")
        {'great_wave': 0.75, 'ink_wash': 0.25}
    """
    weights: dict[str, float] = {}
    for item in style.split(","):
        name, colon, weight = item.partition(":")
        weights[name] = weights.get(name, 0.0) + (float(weight) if colon else 1.0)
    return style_weights(weights)


def find_network(name: str) -> FoundStyle:
    """Find a trained style by its name, which must not be a path.

    Raises:
        Refusal: No style has this name (code ``unknown_style``).
        NoNetworkError: The style has no trained network.
    """
    try:
        return find.find_network(name)
    except NoNetworkError:
        raise
    except StyleError as error:
        raise Refusal(f"Unknown style {name!r}.", code="unknown_style") from error


def browser_model(name: str) -> bytes:
    """Return the network of a style in the form that the page's runner uses.

    Args:
        name: Name of a trained style.

    Returns:
        The style file or, for a style with a dial, a model with the input ``position``, which
        browsers can set.

    Raises:
        FststyleError: The style is unknown, has no network or is damaged.
    """
    path = find_network(name).path
    with _refusing_damaged(name):
        content = read_style(path).selected()
        return content.with_position() if content.network.dial else path.read_bytes()


def list_networks() -> list[Style]:
    """List the trained styles with the details that the page shows. Damaged files are skipped."""
    styles = []
    for found in list_styles():
        if found.kind != "network":
            continue
        try:
            content = read_style(found.path)
        except StyleError as error:
            log.warning("%s", error)
            continue
        origin: Literal["shipped", "own"]
        origin = "shipped" if found.path.parent == zoo_folder() else "own"
        style = Style(
            **_facts(found.name, content.info),
            origin=origin,
            bytes=found.path.stat().st_size,
            dial=content.network.dial,
            recommended_strength=content.styles[0].strength,
        )
        styles.append(style)
    return styles


def list_artworks() -> list[Artwork]:
    """List fststyle's own artworks. Photos can be repainted in their styles."""
    names = sorted(path.stem for path in art_folder().glob("*.jpg"))
    return [Artwork(**_facts(name, art_info(name))) for name in names]


@contextmanager
def _refusing_damaged(name: str) -> Iterator[None]:
    """Turn errors of a style file into a `Refusal` without its path."""
    try:
        yield
    except (OSError, StyleError) as error:
        log.warning("%s", error)
        raise Refusal(
            f"The style {name} is damaged.", remedy="Choose another.", code="damaged"
        ) from error


def _facts(name: str, info: StyleInfo) -> dict[str, Any]:
    found = quality.recorded(info)
    return {
        "name": name,
        "title": info.title or info.name,
        "artist": info.artist,
        "year": "" if info.year is None else str(info.year),
        "licence": info.licence,
        "quality": f"equals {found[0].equals_text()} L-BFGS iterations" if found else "",
    }
