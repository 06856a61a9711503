"""Requests that the server refuses, and the HTTP status of each error code."""

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
"""HTTP status of each error code. All other errors of fststyle are 422: a setting or an image."""

UNKNOWN: Final = "It failed on the server; the server's log has the reason."
"""Message for clients if the real one is about a file of the server."""


class Refusal(FststyleError):
    """A request that the server does not carry out. Its message names no path of the server."""

    default_code = "refused"


class ClientGone(Exception):
    """The client has closed the connection, so nobody waits for the answer."""


def status_of(error: FststyleError) -> int:
    """Return the HTTP status of an error, by its code.

    Example:
        >>> status_of(Refusal("Too many requests.", code="queue_full"))
        429
    """
    return STATUSES.get(error.code, 422)


def public_message(error: FststyleError, names: Mapping[str, str] | None = None) -> str:
    """Return an error's message for clients, without paths of the server.

    Args:
        error: The error.
        names: Names of the files that clients know, by path, such as ``The photo``.

    Returns:
        The message with a name in place of the path, or `UNKNOWN` if that path has no name.

    Example:
        >>> error = FststyleError("{path} is damaged.", path="/tmp/x")
        >>> public_message(error, {"/tmp/x": "The photo"})
        'The photo is damaged.'
    """
    if error.path is None or "{path}" not in error.problem:
        return error.describe()
    name = (names or {}).get(error.path)
    return UNKNOWN if name is None else error.describe(path=name)
