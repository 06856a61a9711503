"""Check for optional packages, and name the command that installs the missing ones."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from fststyle.errors import SettingError
from fststyle.files import shell_word, temporary_folder

# importlib.metadata and urllib are slow to import. Only errors and `fststyle doctor` need them.


def require_packages(extra: str, *packages: str) -> None:
    """Check that packages are installed, without importing them, and have a temporary folder.

    Args:
        extra: The extra of fststyle that installs them, such as ``train``.
        packages: Names of the packages, as in an ``import`` statement.

    Raises:
        SettingError: A package is missing (code ``missing_package``).
        FststyleError: The extra is ``train`` or ``web``, and there is no temporary folder (code
            ``no_temporary_folder``).
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingError(
            f"This needs {_listed(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
            "installed.",
            remedy=f"Install the extra {extra!r} of fststyle.",
            code="missing_package",
            details={"packages": missing, "extra": extra},
        )
    if extra in ("train", "web"):  # importing torch without a temporary folder fails
        with temporary_folder():
            pass


def install_line(extra: str) -> str:
    """Return the command that installs an extra, matching how fststyle was installed.

    Args:
        extra: Name of the extra, such as ``train``.

    Returns:
        A shell command. It installs from the same local folder or file as before if that still
        exists, and from the package index otherwise.
    """
    source, is_editable = _installed_from()
    what = f"{'fststyle' if source is None else source}[{extra}]"
    return f"pip install {'-e ' if is_editable else ''}{shell_word(what)}"


def _installed_from() -> tuple[Path | None, bool]:
    """Find the local source of this installation, and whether the installation is editable."""
    import importlib.metadata
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        text = importlib.metadata.distribution("fststyle").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:  # run from a clone that is not installed
        return Path(__file__).parents[2], True
    origin = json.loads(text) if text else {}
    address = urlsplit(origin.get("url", ""))
    if address.scheme != "file":
        return None, False
    path = Path(url2pathname(address.path))
    if not path.exists():
        return None, False
    return path, bool(origin.get("dir_info", {}).get("editable"))


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
