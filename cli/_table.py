"""Tables of plain columns: fast for hundreds of rows, and honest in a narrow terminal.

A table that is too wide first cuts its texts, each column down to its ``least``, then leaves columns out, those with
the highest ``drop`` first, and says which.  Numbers are never cut or wrapped.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import click

TEXT_WIDTH_MIN = 12
"""A text column is usually cut to no less: below, names can no longer be told apart."""

TEXT_WIDTH_LAST = 4
"""Where there is nothing left to leave out, texts are cut to this, so that numbers stay whole."""

GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """One column: numbers stand right and whole, text stands left and may be cut."""

    title: str
    number: bool = False
    least: int = TEXT_WIDTH_MIN
    """A text is cut to no less than this: what is to be typed again, as an id, must be whole."""
    drop: int = 0
    """Columns with the highest are left out first where the terminal is too narrow; those with 0 never."""


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one row, as text.  ``kind`` is ``plain``, ``part`` (of the row above) or ``total``."""

    cells: Sequence[str]
    kind: str = "plain"


@dataclass(slots=True)
class Table:
    """Rows under columns."""

    columns: Sequence[Column]
    rows: list[Row] = field(default_factory=list)

    def add(self, *cells: str, kind: str = "plain") -> None:
        """Add a row; one cell a column."""
        self.rows.append(Row([printable(cell) for cell in cells], kind))

    def lines(self, width: int | None) -> Iterator[str]:
        """The table's lines, styled, within *width* columns where that can be (None: however wide)."""
        shown, widths = self._fit(width)
        yield click.style(self._line([printable(column.title) for column in self.columns], shown, widths), bold=True)
        rule = GAP.join(_rule() * widths[index] for index in shown)
        yield rule
        for row in self.rows:
            if row.kind == "total":
                yield rule
            text = self._line(row.cells, shown, widths)
            # None, not False: an attribute that is turned off is an escape sequence, too.
            yield click.style(text, bold=row.kind == "total" or None, dim=row.kind == "part" or None) if text else text
        left_out = [printable(column.title) for index, column in enumerate(self.columns) if index not in shown]
        if left_out and width is not None:
            yield from wrapped(f"(too narrow for: {', '.join(left_out)}; --json has all)", width)

    def _fit(self, width: int | None) -> tuple[list[int], list[int]]:
        """Which columns are shown, and how wide each of all is."""
        widths = [
            max(display_width(printable(column.title)), *(display_width(row.cells[index]) for row in self.rows), 0)
            for index, column in enumerate(self.columns)
        ]
        shown = list(range(len(self.columns)))
        if width is None:
            return shown, widths
        leasts = [column.least for column in self.columns]
        while (excess := _total(widths, shown) - width) > 0:
            fitted = self._cut(widths, shown, excess, leasts)
            if fitted is not None:
                return shown, fitted
            droppable = [index for index in shown if self.columns[index].drop]
            if not droppable:
                return shown, self._cut(widths, shown, excess, [TEXT_WIDTH_LAST] * len(leasts)) or widths
            shown.remove(max(droppable, key=lambda index: self.columns[index].drop))
        return shown, widths

    def _cut(self, widths: Sequence[int], shown: Sequence[int], excess: int, leasts: Sequence[int]) -> list[int] | None:
        """The widths with texts cut by *excess* in all, the widest first; None where they cannot give so much."""
        fitted = list(widths)
        texts = [index for index in shown if not self.columns[index].number]
        for _ in range(excess):
            wide = [index for index in texts if fitted[index] > leasts[index]]
            if not wide:
                return None
            fitted[max(wide, key=lambda index: fitted[index])] -= 1
        return fitted

    def _line(self, cells: Sequence[str], shown: Sequence[int], widths: Sequence[int]) -> str:
        parts = []
        for index in shown:
            cell = cells[index]
            space = widths[index] - display_width(cell)
            if space < 0:
                cell, space = cut(cell, widths[index]), 0
            parts.append(" " * space + cell if self.columns[index].number else cell + " " * space)
        return GAP.join(parts).rstrip()


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[index] for index in shown) + len(GAP) * (len(shown) - 1)


def _rule() -> str:
    return "─" if can_show("─") else "-"


def can_show(text: str) -> bool:
    """Whether stdout's encoding has the characters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def wrapped(text: str, width: int | None) -> list[str]:
    """The text in lines of *width* columns, words and numbers whole."""
    return [text] if width is None else textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def printable(text: str) -> str:
    """The text on one line, control characters made visible: a model's name must not steer the terminal."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def display_width(text: str) -> int:
    """How many columns the text takes in a terminal: wide East Asian characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """The text cut to *width* columns, marked as cut."""
    mark = "…" if can_show("…") else "~"
    kept, used = [], 1
    for character in text:
        used += _character_width(character)
        if used > width:
            break
        kept.append(character)
    return "".join(kept) + mark


def terminal_width() -> int | None:
    """``COLUMNS``, else the terminal's; None where stdout is no terminal: then nothing is left out."""
    if os.environ.get("COLUMNS", "").isdigit() or sys.stdout.isatty():
        return max(shutil.get_terminal_size().columns, 1)
    return None


def count(value: int) -> str:
    """A number with separators of thousands."""
    return f"{value:,}"


def money(usd: str) -> str:
    """An amount in USD for a table, rounded to six decimals."""
    from keledger.journal._money import shown_usd  # late, for help texts import this module and need no money

    return shown_usd(usd)


def exact_money(usd: str) -> str:
    """An amount in USD with every digit."""
    amount = Decimal(usd)
    return f"{'-' if amount < 0 else ''}${abs(amount):,f}"


def duration(milliseconds: int) -> str:
    """A duration in seconds."""
    return f"{milliseconds / 1000:,.3f} s"
