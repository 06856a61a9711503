"""The error for refused requests, and the HTTP status for each error code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fststyle.errors import FststyleError

STATUSES: Final = {
    "bad_form": 400,
    "empty": 400,
    "missing_part": 400,
    "no_token": 401,
    "no_jobs": 403,
    "other_site": 403,
    "no_network": 404,
    "not_found": 404,
    "unknown_job": 404,
    "unknown_style": 404,
    "wrong_method": 405,
    "upload_too_slow": 408,
    "already_exists": 409,
    "job_running": 409,
    "out_of_memory": 413,
    "too_large": 413,
    "too_many_pixels": 413,
    "content_type": 415,
    "not_an_image": 415,
    "bad_host": 421,
    "queue_full": 429,
    "internal": 500,
    "too_slow": 503,
}
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
