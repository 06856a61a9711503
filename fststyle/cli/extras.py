"""Optional packages: which are missing, and the line to type to install them."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from pathlib import Path

from fststyle.errors import SettingError

# Only errors and `fststyle doctor` need importlib.metadata and urllib, which are slow to import.


def require_packages(extra: str, *packages: str) -> None:
    """Check that packages are installed, without importing them.

    Args:
        extra: The extra of fststyle that installs them, such as ``train``.
        packages: The names to import.

    Raises:
        SettingError: A package is missing (code ``missing_package``).
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


def install_line(extra: str) -> str:
    """Return the line to type to install an extra, to match how fststyle was installed.

    Args:
        extra: The name of the extra, such as ``train``.

    Returns:
        A line for a shell. It names the folder or file that fststyle was installed from if that
        still exists, otherwise the package.
    """
    source, is_editable = _installed_from()
    what = f"{'fststyle' if source is None else source}[{extra}]"
    return f"pip install {'-e ' if is_editable else ''}{_quoted(what)}"


def _installed_from() -> tuple[Path | None, bool]:
    """Find the local source of this installation, and whether it is an editable one."""
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


def _quoted(text: str) -> str:
    """Quote for a shell; plain names in double quotes, which the shells of all systems know."""
    if os.name != "posix" or re.fullmatch(r"[\w ./@:+,=\[\]~-]+", text):
        return f'"{text}"'
    import shlex

    return shlex.quote(text)


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
