"""Markdown tables, for reports and benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a table, one line for each row.

    Args:
        header: Titles of the columns.
        rows: Cells of each row, as many as there are columns. Line breaks become spaces, and
            vertical bars are escaped.

    Returns:
        The lines, without a final line break.

    Example:
        >>> print(markdown_table(["size", "ms"], [["256", "9.7"]]))
        | size | ms |
        | --- | --- |
        | 256 | 9.7 |
    """
    lines = [_line(header), _line(["---"] * len(header))]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"{len(row)} cells in a table of {len(header)} columns: {row}")
        lines.append(_line(row))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    escaped = (" ".join(cell.replace("|", "\\|").split()) for cell in cells)
    return f"| {' | '.join(escaped)} |"
