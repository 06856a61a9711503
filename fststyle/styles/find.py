"""Where styles are found: the user's, the zoo's, and our own artworks."""

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
        kind: ``network``: a style file; ``picture``: an artwork without a trained network.
        path: The style file or the picture.
        name: The file's name without its ending.
    """

    kind: Literal["network", "picture"]
    path: Path
    name: str


def user_styles_folder() -> Path:
    """Return the folder of the styles that the user has trained; it may not exist yet."""
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
        text: The path of a style file or a picture, which is told by its ending, or a name. A
            name is looked for among the user's styles, in the zoo, then among the artworks.

    Returns:
        The first that is found.

    Raises:
        StyleError: There is none; the sentence has the names that come near.
    """
    path = Path(text)
    if _is_path(text):
        network = path.suffix.lower() == ".onnx"
        if not network and path.suffix.lower() not in PHOTO_SUFFIXES:
            raise StyleError(f"{text} is neither a style file (.onnx) nor a picture by its ending.")
        if not os.path.isfile(path):
            raise StyleError(
                f"There is no file {text}; check the path, or choose a name from 'fststyle styles'."
            )
        return FoundStyle("network" if network else "picture", path, path.stem)
    for style in _all_styles():
        if style.name == text:
            return style
    raise _unknown("style", text, [style.name for style in list_styles()])


def find_network(text: str) -> FoundStyle:
    """Find a style that has a trained network.

    Args:
        text: As for `find_style`.

    Returns:
        The style; its ``kind`` is ``network``.

    Raises:
        StyleError: As in `find_style`.
        NoNetworkError: It is only a picture (code ``no_network``). The error's
            ``details["training"]`` are the settings with which ``train.py`` trains a network.
    """
    found = find_style(text)
    if found.kind == "network":
        return found
    raise NoNetworkError(
        f"No network has been trained for the style {found.name}; it is only a picture.",
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
    """List the styles that can be called by name.

    Returns:
        Networks, and artworks that have no network, sorted by name. A network of the user
        takes the place of one in the zoo.
    """
    styles: dict[str, FoundStyle] = {}
    for style in _all_styles():
        styles.setdefault(style.name, style)
    return sorted(styles.values(), key=lambda style: style.name)


def find_picture(text: str) -> Path:
    """Find the picture of a style, to train or optimise with it.

    Args:
        text: A path, or the name of one of our artworks.

    Returns:
        The path of the picture.

    Raises:
        PhotoError: There is no file at the path, or a style file.
        StyleError: There is no artwork of that name; the sentence has the names that come near.
    """
    if _is_path(text):
        if not os.path.isfile(text):
            raise PhotoError(f"There is no picture {text}; check the path.")
        if Path(text).suffix.lower() == ".onnx":
            raise PhotoError(f"{text} is a trained network; give the path of its picture.")
        return Path(text)
    artworks = {path.stem: path for path in _named_files(art_folder(), ".jpg")}
    if text in artworks:
        return artworks[text]
    if any(style.name == text for style in _all_styles()):
        raise StyleError(
            f"The style {text!r} is a trained network only; give the path of its picture."
        )
    raise _unknown("picture or artwork", text, sorted(artworks))


def art_info(name: str) -> StyleInfo:
    """Read what is known of one of our artworks.

    Args:
        name: Of the artwork.

    Returns:
        Its title, artist, year, source and licence.

    Raises:
        StyleError: There is no such artwork, or its description is damaged.
    """
    known = {path.stem: path for path in _named_files(art_folder(), ".json")}
    if name not in known:
        raise _unknown("artwork", name, sorted(known))
    try:
        text = known[name].read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StyleError(f"{known[name]} cannot be read; install fststyle again.") from error
    return StyleInfo.from_json(text)


def _is_path(text: str) -> bool:
    # No name has a dot or a slash.
    return bool(Path(text).suffix) or os.sep in text or "/" in text


def _named_files(folder: Path, suffix: str) -> list[Path]:
    paths = folder.glob(f"*{suffix}")
    return sorted(path for path in paths if STYLE_NAME.fullmatch(path.stem) and path.is_file())


def _all_styles() -> Iterator[FoundStyle]:
    """Yield every style that has a name, those that `find_style` prefers first."""
    for folder in (user_styles_folder(), zoo_folder()):
        for path in _named_files(folder, ".onnx"):
            yield FoundStyle("network", path, path.stem)
    for path in _named_files(art_folder(), ".jpg"):
        yield FoundStyle("picture", path, path.stem)


def _unknown(what: str, text: str, names: list[str]) -> StyleError:
    wanted = text.lower()
    near = [name for name in names if wanted and wanted in name]
    near += [n for n in difflib.get_close_matches(wanted, names, cutoff=0.5) if n not in near]
    guess = f"did you mean {' or '.join(near[:3])}? " if near else ""
    return StyleError(f"There is no {what} {text!r}; {guess}'fststyle styles' lists all names.")


def install(style_file: Path, interrupted: bool) -> Path | None:
    """Copy the style file to where ``--style NAME`` finds it; one that is there is kept.

    Args:
        style_file: The trained style.
        interrupted: Then a network that is there stays.

    Returns:
        The copy; None, after a warning, where there is none.
    """
    target = user_styles_folder() / style_file.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            if interrupted:
                log.warning(
                    "The network in %s stays; use the one of this run by --style %s",
                    target,
                    style_file,
                )
                return None
            kept = target.with_stem(f"{target.stem}-previous")
            write_atomically(kept, target.read_bytes())
            log.info(
                "This network replaces an older one, which is kept as %s",
                kept.stem,
            )
        elif (zoo_folder() / target.name).exists():
            log.info(
                "--style %s is this network from now on; delete %s to have the shipped one again",
                target.stem,
                target,
            )
        write_atomically(target, style_file.read_bytes())
    except (OSError, FststyleError) as error:
        log.warning("The style could not be copied to %s (%s).", target, error)
        return None
    return target
