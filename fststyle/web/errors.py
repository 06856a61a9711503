"""What a server answers where it does not do what it is asked for."""

from __future__ import annotations

from fststyle.errors import FststyleError


class Refusal(FststyleError):
    """A request that is not carried out; the sentence is for the person who made it.

    Args:
        status: Of HTTP.
        code: A word for programs, such as ``queue_full``.
        sentence: What is wrong, with its remedy. It names no path of the server.
    """

    def __init__(self, status: int = 422, code: str = "refused", sentence: str = "") -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
