"""Markdown tables, for reports and benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table with one line for each row.

    Args:
        header: Column titles.
        rows: Cells of each row, one for each column. Line breaks become spaces, and vertical bars
            are escaped.

    Returns:
        The table, without a line break at the end.

    Example:
        >>> print(markdown_table(["size", "ms"], [["256", "9.7"]]))
        | size | ms |
        | --- | --- |
        | 256 | 9.7 |
    """
    return "\n".join(map(_line, [header, ["---"] * len(header), *rows]))


def _line(cells: Sequence[str]) -> str:
    escaped = (" ".join(cell.replace("|", "\\|").split()) for cell in cells)
    return f"| {' | '.join(escaped)} |"
