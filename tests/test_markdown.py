from __future__ import annotations

import pytest

from fststyle.markdown import markdown_table


def test_cells_cannot_break_the_table() -> None:
    actual = markdown_table(["", "b|c"], [["a\nb", ""], ["x", "**1**"]])
    assert actual.splitlines() == [
        "|  | b\\|c |",
        "| --- | --- |",
        "| a b |  |",
        "| x | **1** |",
    ]


def test_rows_have_as_many_cells_as_the_header() -> None:
    with pytest.raises(ValueError, match="1 cells in a table with 2 columns"):
        markdown_table(["a", "b"], [["c"]])
