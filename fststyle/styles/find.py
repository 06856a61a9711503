"""Find styles: the user's own, those in the bundled zoo, and the bundled artworks."""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from fststyle.errors import FststyleError, NoNetworkError, PhotoError, StyleError
from fststyle.files import reason, shell_word, user_data_folder, write_atomically
from fststyle.images.extensions import PHOTO_SUFFIXES
from fststyle.styles.info import STYLE_NAME, StyleInfo

_NO_FILE: Final = "The file {path} does not exist."
_GIVE_IMAGE: Final = "Give the path of the style image."

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundStyle:
    """A style that `find_style` has found.

    Attributes:
        kind: ``network`` for a style file, or ``picture`` for a style image without a trained
            network.
        path: Path of the style file or the style image.
        name: Name of the file, without its extension.
        style: Name of the style in the file, or an empty string for the first style.

    Example:
        >>> from fststyle.styles.find import find_style
        >>> find_style("great_wave").kind
        'network'
    """

    kind: Literal["network", "picture"]
    path: Path
    name: str
    style: str = ""


def user_styles_folder() -> Path:
    """Return the folder of the user's own trained styles. This folder may not exist yet."""
    return user_data_folder() / "styles"


def check_user_styles() -> None:
    """Check that the folder of the user's styles can be read, if it exists.

    Raises:
        StyleError: The folder cannot be read (code ``cannot_read``). Other styles can be used.
    """
    folder = user_styles_folder()
    try:
        os.stat(os.path.join(folder, "."))  # fails if the files in the folder cannot be opened
        os.scandir(folder).close()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        problem = f"Cannot read the folder of your styles, {{path}}: {reason(error)}."
        remedy = "Change its permissions. The bundled styles can be used."
        raise StyleError(problem, path=folder, remedy=remedy, code="cannot_read") from error


def zoo_folder() -> Path:
    """Return the folder of the trained styles that are bundled with fststyle."""
    return Path(__file__).parents[1] / "zoo"


def art_folder() -> Path:
    """Return the folder of the bundled artworks: a ``NAME.jpg`` and a ``NAME.json`` for each."""
    return Path(__file__).parents[1] / "art"


def find_style(text: str) -> FoundStyle:
    """Find a style by its path or its name.

    Args:
        text: Path of a style file or a style image, or the name of a style. Names are looked up
            first among the user's styles, then in the zoo, and then among the bundled artworks.
            Both may be followed by ``#`` and the name of a style in a file with several styles.

    Returns:
        The first style found.

    Raises:
        StyleError: The name is unknown (code ``unknown_style``), the file does not
            exist (``not_found``), or its extension is unknown (``unknown_extension``).

    Example:
        >>> find_style("great_wave").kind
        'network'
        >>> find_style("great_wav")
        Traceback (most recent call last):
        ...
        fststyle.errors.StyleError: Unknown style 'great_wav'; did you mean great_wave? \
        See the names that list_styles returns.
    """
    text = _with_home(text)
    file, inner_name = split_reference(text)
    if inner_name:
        found = find_style(file)
        if found.kind == "network":
            return replace(found, style=inner_name)
    path = Path(text)
    if _is_path(text):
        network = path.suffix.lower() == ".onnx"
        if not network and path.suffix.lower() not in PHOTO_SUFFIXES:
            problem = "{path} has neither the extension of a style file (.onnx) nor of an image."
            raise StyleError(problem, path=text, code="unknown_extension")
        if not os.path.lexists(path):
            remedy = "Check the path, or use the name of a style."
            raise StyleError(_NO_FILE, path=text, remedy=remedy, code="not_found")
        return FoundStyle("network" if network else "picture", path, path.stem)
    for style in (*_all_styles(), *unlisted_styles()):
        if style.name == text:
            return style
    check_user_styles()
    raise _unknown("style", text, [style.name for style in list_styles()])


def split_reference(text: str) -> tuple[str, str]:
    """Split ``FILE#STYLE`` into the style file and the name of a style in it.

    Args:
        text: Path or name of a style, optionally followed by ``#`` and a name. A path of an
            existing file is not split.

    Returns:
        The path or name, and the name of the style, or an empty string.

    Example:
        >>> split_reference("styles/marine.onnx#great_wave")
        ('styles/marine.onnx', 'great_wave')
        >>> split_reference("great_wave")
        ('great_wave', '')
    """
    file, mark, style = text.rpartition("#")
    if not mark or os.path.isfile(text) or not STYLE_NAME.fullmatch(style):
        return text, ""
    return file, style


def find_network(text: str) -> FoundStyle:
    """Find a style that has a trained network.

    Args:
        text: Path or name of the style, as in `find_style`.

    Returns:
        The style. Its ``kind`` is always ``network``.

    Raises:
        StyleError: The style cannot be found, as in `find_style`.
        NoNetworkError: The style is only an image (code ``no_network``). The error's
            ``details["training"]`` contains the settings for ``train.py`` to train a network.

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
    """Return the settings to type after ``train.py`` to train a network for a style image."""
    if found.path.parent == art_folder():
        return f"style={found.name}"
    name = re.sub(r"[^a-z0-9]+", "_", found.name.lower()).strip("_")[:64] or "mine"
    if re.fullmatch(r"[A-Za-z./][A-Za-z0-9_./-]*", str(found.path)):
        return f"style.image={found.path} style.name={name}"
    # Hydra's quotes, in which a backslash is special before a quote, and OmegaConf's ``${``.
    path = re.sub(r"(\\*)('|$)", r"\1\1\2", str(found.path)).replace("'", "\\'")
    path = path.replace("${", "\\${")
    image = shell_word(f"style.image='{path}'")
    return f"{image} style.name={name}"


def list_styles() -> list[FoundStyle]:
    """List all styles that can be found by name.

    Returns:
        All networks, and the artworks without a network, sorted by name. If a network of the user
        has the same name as one in the zoo, only the user's network is listed.

    Example:
        >>> "starry_night" in [style.name for style in list_styles()]
        True
    """
    styles: dict[str, FoundStyle] = {}
    for style in _all_styles():
        styles.setdefault(style.name, style)
    return sorted(styles.values(), key=lambda style: style.name)


def unlisted_styles() -> list[FoundStyle]:
    """List the user's style files that `list_styles` omits because of their names.

    Other programs give copies names such as ``wave (1).onnx``. `find_style` finds these files by
    their exact names.
    """
    paths = _files(user_styles_folder(), ".onnx")
    return [
        FoundStyle("network", path, path.stem)
        for path in paths
        if not STYLE_NAME.fullmatch(path.stem)
    ]


def find_picture(text: str) -> Path:
    """Find a style image for training or optimisation.

    Args:
        text: Path of the image, or the name of a bundled artwork.

    Returns:
        The path of the style image.

    Raises:
        PhotoError: The file does not exist (code ``not_found``), or is a style file
            (``not_an_image``).
        StyleError: The name is unknown (code ``unknown_style``), or belongs to a trained network
            whose style image is not bundled (``no_style_image``).
    """
    text = _with_home(text)
    if _is_path(text):
        if not os.path.lexists(text):
            raise PhotoError(_NO_FILE, path=text, remedy="Check the path.", code="not_found")
        if Path(text).suffix.lower() == ".onnx":
            problem = "{path} is a trained network, not an image."
            raise PhotoError(problem, path=text, remedy=_GIVE_IMAGE, code="not_an_image")
        return Path(text)
    artworks = {path.stem: path for path in _named_files(art_folder(), ".jpg")}
    if text in artworks:
        return artworks[text]
    if any(style.name == text for style in _all_styles()):
        problem = f"The style image of {text!r} is not bundled, only its trained network."
        raise StyleError(problem, remedy=_GIVE_IMAGE, code="no_style_image")
    raise _unknown("style image or artwork", text, sorted(artworks))


def art_info(name: str) -> StyleInfo:
    """Read the description of a bundled artwork.

    Args:
        name: Name of the artwork.

    Returns:
        The artwork's title, artist, year, source and licence.

    Raises:
        StyleError: The name is unknown (code ``unknown_style``), or the description
            cannot be read (``cannot_read``) or is damaged (``damaged``).

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
        problem, remedy = "Cannot read {path}.", "Reinstall fststyle."
        path = known[name]
        raise StyleError(problem, path=path, remedy=remedy, code="cannot_read") from error
    return StyleInfo.from_json(text)


def _with_home(text: str) -> str:
    return text if os.path.lexists(text) else os.path.expanduser(text)


def _is_path(text: str) -> bool:
    # Names contain neither dots nor slashes.
    return bool(Path(text).suffix) or os.sep in text or "/" in text


def _files(folder: Path, suffix: str) -> list[Path]:
    """List the visible files with an extension, whose upper and lower case do not matter."""
    paths = sorted(path for path in folder.glob("[!.]*") if path.suffix.lower() == suffix)
    return [path for path in paths if os.path.isfile(path)]


def _named_files(folder: Path, suffix: str) -> list[Path]:
    return [path for path in _files(folder, suffix) if STYLE_NAME.fullmatch(path.stem)]


def _all_styles() -> Iterator[FoundStyle]:
    """Yield all styles that can be found by name, starting with those that take precedence."""
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
    problem, remedy = f"Unknown {what} {text!r}{guess}", "See the names that list_styles returns."
    return StyleError(problem, remedy=remedy, code="unknown_style")


def install(style_file: Path, interrupted: bool) -> Path | None:
    """Copy a style file to the folder where `find_style` finds it by name.

    An existing network with the same name is renamed and kept.

    Args:
        style_file: Path of the trained style.
        interrupted: Whether training was interrupted. If so, an existing network is not replaced.

    Returns:
        The path of the copy. If no copy was made, logs a warning and returns ``None``.
    """
    target = user_styles_folder() / style_file.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            if interrupted:
                log.warning(
                    "%s already exists and was kept; the new network is %s", target, style_file
                )
                return None
            previous = target.with_stem(f"{target.stem}-previous")
            write_atomically(previous, target.read_bytes())
            log.info("This network replaces an older one, which is now called %s", previous.stem)
        elif (zoo_folder() / target.name).exists():
            log.info(
                "The name %s now refers to this network; delete %s to use the bundled one again",
                target.stem,
                target,
            )
        write_atomically(target, style_file.read_bytes())
    except (OSError, FststyleError) as error:
        log.warning("Cannot copy the style to %s (%s).", target, error)
        return None
    return target
