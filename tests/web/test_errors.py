from __future__ import annotations

import pytest

from fststyle.errors import FststyleError, PhotoError
from fststyle.web.errors import UNKNOWN, Refusal, public_message, status_of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Refusal("Too many.", code="queue_full"), 429),
        (PhotoError("It is too large.", code="too_large"), 413),
        (PhotoError("It is damaged.", code="damaged"), 422),
        (FststyleError("Anything else."), 422),
    ],
)
def test_the_status_follows_from_the_code(error: FststyleError, status: int) -> None:
    assert status_of(error) == status


def test_messages_for_clients_have_names_instead_of_paths() -> None:
    error = PhotoError("Cannot read {path}.", path="/srv/x", remedy="Choose another file.")
    assert public_message(error, {"/srv/x": "the mask"}) == (
        "Cannot read the mask. Choose another file."
    )
    assert public_message(error, {"/srv/y": "the mask"}) == UNKNOWN
    assert public_message(error) == UNKNOWN
    assert public_message(PhotoError("It is empty.", path="/srv/x")) == "It is empty."
