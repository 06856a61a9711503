"""Find styles: those that the user trained, the zoo, and our own artworks."""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fststyle.errors import FststyleError, NoNetworkError, PhotoError, StyleError
from fststyle.files import user_data_folder, write_atomically
from fststyle.images.load import PHOTO_SUFFIXES
from fststyle.styles.info import STYLE_NAME, StyleInfo

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundStyle:
    """A style as `find_style` found it.

    Attributes:
        kind: ``network`` for a style file, or ``picture`` for a style image without a trained
            network.
        path: The style file or the style image.
        name: The file's name without its extension.

    Example:
        >>> from fststyle.styles.find import find_style
        >>> find_style("great_wave").kind
        'network'
    """

    kind: Literal["network", "picture"]
    path: Path
    name: str


def user_styles_folder() -> Path:
    """Return the folder of the styles that the user has trained. It may not exist yet."""
    return user_data_folder() / "styles"


def zoo_folder() -> Path:
    """Return the folder of the trained styles that come with fststyle."""
    return Path(__file__).parents[1] / "zoo"


def art_folder() -> Path:
    """Return the folder of our own artworks, each ``NAME.jpg`` with ``NAME.json``."""
    return Path(__file__).parents[1] / "art"


def find_style(text: str) -> FoundStyle:
    """Find a style by its path or name.

    Args:
        text: The path of a style file or of a style image, or a name. Names are looked up among
            the user's styles, then in the zoo, then among our artworks.

    Returns:
        The first style that is found.

    Raises:
        StyleError: There is no style of this name (code ``unknown_style``), there is no such file
            (``not_found``), or its extension is unknown (``unknown_extension``).

    Example:
        >>> find_style("great_wave").kind
        'network'
        >>> find_style("great_wav")
        Traceback (most recent call last):
        ...
        fststyle.errors.StyleError: There is no style 'great_wav'; did you mean great_wave? \
        See the names that list_styles returns.
    """
    path = Path(text)
    if _is_path(text):
        network = path.suffix.lower() == ".onnx"
        if not network and path.suffix.lower() not in PHOTO_SUFFIXES:
            raise StyleError(
                "The extension of {path} is neither .onnx, of a style file, nor one of an image.",
                path=text,
                code="unknown_extension",
            )
        if not os.path.isfile(path):
            raise StyleError(
                "There is no file {path}.",
                path=text,
                remedy="Check the path, or choose the name of a style.",
                code="not_found",
            )
        return FoundStyle("network" if network else "picture", path, path.stem)
    for style in _all_styles():
        if style.name == text:
            return style
    raise _unknown("style", text, [style.name for style in list_styles()])


def find_network(text: str) -> FoundStyle:
    """Find a style that has a trained network.

    Args:
        text: A path or a name, as for `find_style`.

    Returns:
        The style. Its ``kind`` is ``network``.

    Raises:
        StyleError: There is no such style, as in `find_style`.
        NoNetworkError: The style is only an image (code ``no_network``). The error's
            ``details["training"]`` are the settings with which ``train.py`` trains a network.

    Example:
        >>> from fststyle.styles.find import find_network
        >>> find_network("great_wave").name
        'great_wave'
    """
    found = find_style(text)
    if found.kind == "network":
        return found
    raise NoNetworkError(
        f"No network has been trained for the style {found.name}; it is only an image.",
        path=found.path,
        remedy="Train one, or optimise a single photo instead.",
        details={"name": found.name, "training": training_settings(found)},
    )


def training_settings(found: FoundStyle) -> str:
    """Return the settings that train a network for a style image, as typed after ``train.py``."""
    if found.path.parent == art_folder():
        return f"style={found.name}"
    path = str(found.path)
    if not re.fullmatch(r"[\w./-]+", path):
        return f"\"style.image='{path}'\" style.name=NAME"  # the shell's quotes, and Hydra's
    return f"style.image={path} style.name=NAME"


def list_styles() -> list[FoundStyle]:
    """List the styles that have a name.

    Returns:
        Networks, and artworks without a network, sorted by name. A network of the user hides one
        of the same name in the zoo.

    Example:
        >>> "starry_night" in [style.name for style in list_styles()]
        True
    """
    styles: dict[str, FoundStyle] = {}
    for style in _all_styles():
        styles.setdefault(style.name, style)
    return sorted(styles.values(), key=lambda style: style.name)


def find_picture(text: str) -> Path:
    """Find a style image, to train or optimise with it.

    Args:
        text: A path, or the name of one of our artworks.

    Returns:
        The path of the style image.

    Raises:
        PhotoError: There is no file at the path (code ``not_found``), or it is a style file
            (``not_an_image``).
        StyleError: There is no artwork of that name (code ``unknown_style``), or only its network
            (``no_style_image``).
    """
    if _is_path(text):
        if not os.path.isfile(text):
            raise PhotoError(
                "There is no style image {path}.",
                path=text,
                remedy="Check the path.",
                code="not_found",
            )
        if Path(text).suffix.lower() == ".onnx":
            raise PhotoError(
                "{path} is a trained network, not an image.",
                path=text,
                remedy="Give the path of its style image.",
                code="not_an_image",
            )
        return Path(text)
    artworks = {path.stem: path for path in _named_files(art_folder(), ".jpg")}
    if text in artworks:
        return artworks[text]
    if any(style.name == text for style in _all_styles()):
        raise StyleError(
            f"The style image of {text!r} is not included, only its trained network.",
            remedy="Give the path of the style image.",
            code="no_style_image",
        )
    raise _unknown("style image or artwork", text, sorted(artworks))


def art_info(name: str) -> StyleInfo:
    """Read the description of one of our artworks.

    Args:
        name: Name of the artwork.

    Returns:
        Its title, artist, year, source and licence.

    Raises:
        StyleError: There is no such artwork (code ``unknown_style``), or its description cannot be
            read (``cannot_read``) or is damaged (``damaged``).

    Example:
        >>> art_info("ink_wash").title
        'Misty Ranges'
    """
    known = {path.stem: path for path in _named_files(art_folder(), ".json")}
    if name not in known:
        raise _unknown("artwork", name, sorted(known))
    try:
        text = known[name].read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StyleError(
            "Cannot read {path}.",
            path=known[name],
            remedy="Install fststyle again.",
            code="cannot_read",
        ) from error
    return StyleInfo.from_json(text)


def _is_path(text: str) -> bool:
    # Names have no dots and no slashes.
    return bool(Path(text).suffix) or os.sep in text or "/" in text


def _named_files(folder: Path, suffix: str) -> list[Path]:
    paths = folder.glob(f"*{suffix}")
    return sorted(path for path in paths if STYLE_NAME.fullmatch(path.stem) and path.is_file())


def _all_styles() -> Iterator[FoundStyle]:
    """Yield all styles that have a name, in the order in which `find_style` prefers them."""
    for folder in (user_styles_folder(), zoo_folder()):
        for path in _named_files(folder, ".onnx"):
            yield FoundStyle("network", path, path.stem)
    for path in _named_files(art_folder(), ".jpg"):
        yield FoundStyle("picture", path, path.stem)


def _unknown(what: str, text: str, names: list[str]) -> StyleError:
    wanted = text.lower()
    near = [name for name in names if wanted and wanted in name]
    near += [n for n in difflib.get_close_matches(wanted, names, cutoff=0.5) if n not in near]
    guess = f"; did you mean {' or '.join(near[:3])}?" if near else "."
    return StyleError(
        f"There is no {what} {text!r}{guess}",
        remedy="See the names that list_styles returns.",
        code="unknown_style",
    )


def install(style_file: Path, interrupted: bool) -> Path | None:
    """Copy a style file to the folder where `find_style` finds it by name.

    An existing network is kept under another name.

    Args:
        style_file: The trained style.
        interrupted: Training was interrupted. An existing network is then not replaced.

    Returns:
        The copy, or None, after a warning, if there is none.
    """
    target = user_styles_folder() / style_file.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            if interrupted:
                log.warning("%s already exists and was kept; the new one is %s", target, style_file)
                return None
            previous = target.with_stem(f"{target.stem}-previous")
            write_atomically(previous, target.read_bytes())
            log.info("This network replaces an older one, which is now called %s", previous.stem)
        elif (zoo_folder() / target.name).exists():
            log.info(
                "The name %s now means this network; delete %s to use the included one again",
                target.stem,
                target,
            )
        write_atomically(target, style_file.read_bytes())
    except (OSError, FststyleError) as error:
        log.warning("Cannot copy the style to %s (%s).", target, error)
        return None
    return target
