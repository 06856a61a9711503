from __future__ import annotations

from fststyle.markdown import markdown_table


def test_cells_cannot_break_the_table() -> None:
    actual = markdown_table(["", "b|c"], [["a\nb", ""], ["x", "**1**"]])
    assert actual.splitlines() == [
        "|  | b\\|c |",
        "| --- | --- |",
        "| a b |  |",
        "| x | **1** |",
    ]
