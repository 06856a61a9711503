from __future__ import annotations

import pytest
from pydantic import ValidationError

from fststyle.stylize.control import Control
from fststyle.web.models import StylizeRequest


@pytest.mark.parametrize(
    "style",
    ["", "a/b", "..", "a.onnx", "one:-1", "one:nan", "a:1,", "A", "a\n", "a,b,c,d,e"],
)
def test_styles_are_names(style: str) -> None:
    with pytest.raises(ValidationError):
        StylizeRequest(style=style)


def test_settings_become_a_control() -> None:
    request = StylizeRequest(style="one:0.6,other", size="full", scale=2, keep_colors=True)
    assert request.control() == Control(size="full", scale=2, keep_colors=True)
