"""The error for refused requests, and the HTTP status for each error code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fststyle.errors import FststyleError

_CODES: Final = {
    400: ("bad_form", "empty", "missing_part"),
    401: ("no_token",),
    403: ("no_jobs", "other_site"),
    404: ("no_network", "not_found", "unknown_job", "unknown_style"),
    405: ("wrong_method",),
    408: ("upload_too_slow",),
    409: ("already_exists", "job_running"),
    413: ("out_of_memory", "too_large", "too_many_pixels"),
    415: ("not_an_image",),
    421: ("bad_host",),
    429: ("queue_full",),
    500: ("internal",),
    503: ("too_slow",),
    507: ("no_temporary_folder",),
}
STATUSES: Final = {code: status for status, codes in _CODES.items() for code in codes}
"""HTTP status for each error code. All other codes are about a setting or an image: status 422."""

UNKNOWN: Final = "The request failed on the server. The reason is in the server's log."
"""Message for clients if the original message would reveal a path on the server."""


class Refusal(FststyleError):
    """A request that the server refuses. The message never contains a path on the server."""

    default_code = "refused"


class ClientGone(Exception):
    """The client has closed the connection and no longer waits for a response."""


def status_of(error: FststyleError) -> int:
    """Return the HTTP status for an error, based on its code.

    Example:
        >>> status_of(Refusal("Too many requests.", code="queue_full"))
        429
    """
    return STATUSES.get(error.code, 422)


def public_message(error: FststyleError, names: Mapping[str, str] | None = None) -> str:
    """Return an error message for clients, without any path on the server.

    Args:
        error: The error.
        names: Maps the path of each file that the client knows to a name, such as ``The photo``.

    Returns:
        The message with the file's name in place of its path, or `UNKNOWN` if ``names`` does not
        contain the path.

    Example:
        >>> error = FststyleError("{path} is damaged.", path="upload.bin")
        >>> public_message(error, {"upload.bin": "The photo"})
        'The photo is damaged.'
    """
    if error.path is None or "{path}" not in error.problem:
        return error.describe()
    name = (names or {}).get(error.path)
    return UNKNOWN if name is None else error.describe(path=name)
