"""A table of reported and true values, in which the wrong cells stand out, as text and as HTML."""

import html
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """Rows of named columns, each a pair of lists: what was reported and what is true.

    A cell whose two values differ shows both: in HTML struck out and marked, in text as
    `24 -> 23`.

    Args:
        labels: one text a row.
        columns: name to (reported, true), two sequences as long as `labels`.

    Raises:
        ValueError: a column of another length.

    >>> Comparison(["pool"], {"height": ([24], [23]), "channels": ([64], [64])})
          height    channels
    pool  24 -> 23  64
    >>> Comparison(["pool"], {"height": ([24], [23])}).wrong
    1
    """

    labels: list[str]
    columns: dict[str, tuple[list, list]]

    def __post_init__(self):
        for name, (reported, true) in self.columns.items():
            if not len(reported) == len(true) == len(self.labels):
                raise ValueError(
                    f"column {name!r} must have {len(self.labels)} reported and true values; got "
                    f"{len(reported)} and {len(true)}. Give one for each label."
                )

    @property
    def wrong(self) -> int:
        """Number of cells whose reported value is not the true one."""
        return sum(r != t for pair in self.columns.values() for r, t in zip(*pair, strict=True))

    def __repr__(self) -> str:
        table = [["", *self.columns]]
        for row, label in enumerate(self.labels):
            table.append([label, *(_text(r[row], t[row]) for r, t in self.columns.values())])
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in table
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ("", *self.columns))
        body = []
        for row, label in enumerate(self.labels):
            cells = "".join(_cell(r[row], t[row]) for r, t in self.columns.values())
            body.append(f'<tr><td style="text-align:left">{html.escape(label)}</td>{cells}</tr>')
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _show(value) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _text(reported, true) -> str:
    return _show(true) if reported == true else f"{_show(reported)} -> {_show(true)}"


def _cell(reported, true) -> str:
    if reported == true:
        return f"<td>{html.escape(_show(true))}</td>"
    return (
        '<td style="background:#fde0d2;color:#000"><del>'
        f"{html.escape(_show(reported))}</del> <b>{html.escape(_show(true))}</b></td>"
    )
