"""How many tokens a text is, in flat memory: it is cut where a cut can't change the tokens, and counted piece by piece.

Where no vocabulary is at hand, four bytes are taken for a token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ._vocabularies import load_vocabulary

PIECE_CHARACTERS = 64 * 1024
"""The length from which on a piece is cut at the next place.  Cutting takes no time that can be measured."""

BLANKS_MAX = 900_000
"""tiktoken 0.14.0 fails (its regular expressions run out of stack) at 1,000,000 blanks in a row that no line break
ends.  From here on they are cut, which may change their count by a token or two; no other text is."""

BYTES_PER_TOKEN = 4

# Letters as all of Unicode's versions since 2.0 know them, for Python's table of letters and tiktoken's are of
# different years: Latin, Greek, Cyrillic, Hebrew, Arabic, Devanagari, Thai, kana, Han, Hangul.
_LETTERS = (
    "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01f5\u0391-\u03a1\u03a3-\u03ce\u0410-\u044f\u05d0-\u05ea\u0621-\u063a"
    "\u0905-\u0939\u0e01-\u0e30\u3041-\u3094\u30a1-\u30fa\u4e00-\u9fa5\uac00-\ud7a3"
)
_MARKS = "!-&(-/:-@\\[-`{-~\u3001\u3002\u300a-\u300f\uff01\uff08\uff09\uff0c\uff1a\uff1b\uff1f"

# Where a text may be cut.  tiktoken first splits a text by the vocabulary's pattern, each match from where the last one
# ended, and then makes tokens of each match by itself.  A cut is exact where in every text (1) a match ends and (2) no
# match before it would be another if the text ended there.  Nothing looks back, so what follows it is the same, too.
# A match of either pattern is of one of these kinds:
#   word      an optional character that is neither letter, digit nor line break; letters (and in o200k_base combining
#             marks); in o200k_base perhaps a contraction, such as 's
#   's        in cl100k_base a match of its own
#   digits    1 to 3 of them
#   marks     an optional space; neither blanks, letters nor digits; line breaks (in o200k_base slashes among them)
#   blanks    up to the last line break among them; or at the end of the text; or all but the last, or all of them
#
# 1. Something visible, then a space or a tab.  Behind a first character no match has a space or a tab other than blanks
#    do, and blanks do not begin with what is visible.  (2): a greedy match ends there as it does at the end of a text;
#    the look-ahead of blanks sees the visible character, which is still there.
# 2. A line break, then something visible that is no slash.  Only a slash may follow a line break in a match: no word
#    begins with one.  (2): marks have taken the same line breaks, and blanks end with the last line break of
#    their run, which is its end, whether as "up to the last line break" or as "at the end of the text".
# 3. A letter or digit, then a line break: neither words nor digits have one.  (2): greedy matches again.
# 4. A letter or digit, then a mark but for the apostrophe (which begins a contraction) and combining ones: neither
#    words nor digits have one behind their letters or digits, and marks have neither letters nor digits.  (2): as 3.
# 5. A letter or a mark, then a digit: no match has both.  (2): as 3; a digit ends a word, a contraction and marks.
# 6. A digit, then a letter: no match has both.  (2): the digits before it were counted off from the same first one.
_CUT = re.compile(
    rf"(?<=\S)(?=[ \t])|(?<=\n)(?=[^\s/])|(?<=[0-9{_LETTERS}])(?=[\r\n{_MARKS}])"
    rf"|(?<=[{_LETTERS}{_MARKS}])(?=[0-9])|(?<=[0-9])(?=[{_LETTERS}])"
)
_BLANKS = re.compile(r"[^\S\r\n]+")


def count_text(text: str, vocabulary_name: str) -> int:
    """How many tokens a text is: by the vocabulary, or as :func:`count_bytes` where that is not on this machine.

    What looks like a special token in a text is text, and a lone surrogate is counted as U+FFFD.  The memory it takes
    does not grow with the text, but for stretches in which there is no place to cut: millions of letters without a
    space, a digit or a mark (:func:`token_ids`).  Raises KeyError for a vocabulary of which nothing is known.
    """
    if load_vocabulary(vocabulary_name) is None:
        return count_bytes(text)
    return sum(map(len, token_ids(text, vocabulary_name)))


def count_bytes(text: str) -> int:
    """A token for every four bytes of UTF-8, or part of them: no vocabulary needed, and up to 2.4 times off."""
    pieces = (text[start : start + PIECE_CHARACTERS] for start in range(0, len(text), PIECE_CHARACTERS))
    length_bytes = sum(
        len(piece) if piece.isascii() else len(piece.encode("utf-8", "surrogatepass")) for piece in pieces
    )
    return -(-length_bytes // BYTES_PER_TOKEN)


def token_ids(text: str, vocabulary_name: str, *, piece_characters: int = PIECE_CHARACTERS) -> Iterator[list[int]]:
    """The ids of a text's tokens, piece by piece; all together they are those of the text as a whole.

    A piece is longer than *piece_characters* where there is no earlier place to cut.  Then tiktoken 0.14.0 takes memory
    and time: of one letter 10 MB took 460 MB and 10 to 13 s, of Han without punctuation 130 MB and 5 to 9 s, where
    10 MB of code, prose and data took 10 MB and 2 to 4 s.

    Raises LookupError where the vocabulary is not on this machine, KeyError where nothing is known of it.
    """
    encoding = load_vocabulary(vocabulary_name)
    if encoding is None:
        raise LookupError(f"no file of the vocabulary {vocabulary_name} is on this machine")
    for piece in pieces(text, piece_characters):
        yield encoding.encode_ordinary(piece)


def pieces(text: str, piece_characters: int) -> Iterator[str]:
    """A text, cut where that changes no token, into pieces of *piece_characters* or a little more."""
    start = 0
    while start < len(text):
        found = _CUT.search(text, start + piece_characters) if start + piece_characters < len(text) else None
        piece = text[start : found.start()] if found else text[start:]
        start += len(piece)
        if len(piece) < BLANKS_MAX:
            yield piece
        else:
            yield from _without_long_blanks(piece)


def _without_long_blanks(piece: str) -> Iterator[str]:
    start = 0
    for found in _BLANKS.finditer(piece):
        while found.end() - max(found.start(), start) > BLANKS_MAX:
            end = max(found.start(), start) + BLANKS_MAX
            yield piece[start:end]
            start = end
    yield piece[start:]
