"""Text in a cell of a CSV file, so that no spreadsheet takes it for a formula, and back.

Names in the journal come from anywhere: a prompt called ``=HYPERLINK(…)`` must be a text wherever the file is opened.
The rule is OWASP's (https://owasp.org/www-community/attacks/CSV_Injection, as of August 2025): what begins with
``= + - @``, a tab, a carriage return or a line feed gets a ``'`` in front, which spreadsheets read as "this is text".
It is taken further in two ways.  Of leading spaces, quotes, control and invisible characters the first one behind
them counts, and signs that compatibility makes equal (full-width ``＝``) count as what they equal.  And each part of a
text behind a ``,`` or ``;``, a tab or a line end is held to the rule, too: a spreadsheet that is set to another
separator makes cells of these.

The ``'`` stands also in front of what begins with one itself, so :func:`plain_text` gives back exactly what was.
"""

from __future__ import annotations

import re
import unicodedata

MARK = "'"

_PART = re.compile(r"(?<=[,;\t\r\n])")
_TRIGGERS = frozenset("=+-@−\t\r\n\0")
"""U+2212 is the typographer's minus, which no compatibility makes a hyphen, and some spreadsheets do."""

_QUOTES = frozenset("'\"`´")
_PASSED_OVER = frozenset(("Cc", "Cf", "Pf", "Pi", "Zl", "Zp", "Zs"))
"""Unicode's categories of control and format characters, quotes, and spaces."""

_LINK = re.compile(r"\|.*!", re.DOTALL)
"""A link to another program, as in ``cmd|'/C calc'!A0``: old spreadsheets followed these."""


def cell_text(text: str) -> str:
    """*text* for a cell, a ``'`` in front of each part that a spreadsheet might execute."""
    parts = _PART.split(text)
    marked = [MARK + part if _is_marked(part) else part for part in parts]
    if _LINK.search(text) and marked[0] == parts[0]:
        marked[0] = MARK + marked[0]
    return "".join(marked)


def plain_text(cell: str) -> str:
    """The text that :func:`cell_text` was given: each part that begins with a ``'`` loses one."""
    return "".join(part.removeprefix(MARK) for part in _PART.split(cell))


def _is_marked(part: str) -> bool:
    """Whether a part needs a ``'``: it begins with one, or the first character that matters is a trigger."""
    if part.startswith(MARK):
        return True
    for character in part:
        for plain in unicodedata.normalize("NFKC", character):
            if plain in _TRIGGERS:
                return True
            if plain not in _QUOTES and unicodedata.category(plain) not in _PASSED_OVER:
                return False
    return False
