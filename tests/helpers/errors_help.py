"""Errors told by their kind, code and facts instead of their sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fststyle.errors import FststyleError


@contextmanager
def raises(
    kind: type[FststyleError], code: str, *facts: object
) -> Iterator[pytest.ExceptionInfo[FststyleError]]:
    """Expect an error of exactly this kind and code, whose message holds these facts."""
    with pytest.raises(kind) as caught:
        yield caught
    assert type(caught.value) is kind
    assert caught.value.code == code
    for fact in facts:
        assert str(fact) in str(caught.value)
