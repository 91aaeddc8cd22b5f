"""Counting: the same tokens as tiktoken makes of the whole text, in flat memory."""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keledger.journal.estimates import _counting
from keledger.journal.estimates._counting import BLANKS_MAX, count_bytes, count_text, pieces, token_ids

from .support import SCRIPTS, SPECIAL, VOCABULARIES, reference, varied_text

ROOT = Path(__file__).parents[2]
ODD = [
    *SPECIAL, "'s", "'S", "'ll", "'lL", "'ſ", "'", "''", "don't", "DON'T", "a", "Z", "aB", "ß", "ǅ",
    "é", "e\u0301", "\u0301", "ʰ", "ª", "中", "文。", "、", "！", "か", "ー", "ไ", "ท่", "한", "ا", "ً", "1",
    "12", "1234", "٣", "½", "Ⅷ", "²", "𝟘", "_", "/", "//", "\\", "{", "}", "=", "…", "\u200b", "\u200d",
    "👩\u200d👩", "🇩", "\ud83d", "\ude00", "\ud83d\ude00", "\uffff", "\u0378", "\x00", "\x1c", "\x1f",
    "\x85", "\xa0", "\u3000", "\u2028", "\u1680", "\u180e", "\ufeff", " ", "  ", "\t", "\n", "\r",
    "\r\n", "\x0b", "\x0c", " \n", "\n ", "\n\n", " \t\n \r", "/\n/", ".\n/",
]  # fmt: skip
COMMON = ["I'm", "it's", "a", "B", "1", "中", "/", ".", "'", "\n", "\r", " ", "   ", "\t", "e\u0301"]
nasty = st.lists(
    st.sampled_from(COMMON)
    | st.lists(st.sampled_from(COMMON), max_size=6).map("".join)
    | st.sampled_from(ODD)
    | st.text(),
    max_size=30,
).map("".join)


def together(text: str, name: str, piece_characters: int) -> list[int]:
    return list(chain.from_iterable(token_ids(text, name, piece_characters=piece_characters)))


@pytest.mark.parametrize("name", VOCABULARIES)
@settings(deadline=None)  # the first example loads a vocabulary
@given(text=nasty, piece_characters=st.integers(1, 12))
@example(text="I'm it's DON'T I'M we'll 'S", piece_characters=1)
@example(text="a    b\t\t\tc\n   d  \n     e   ", piece_characters=1)
@example(text="123456 12345a7 ٣٤٥1234", piece_characters=1)
@example(text="a'll 5'l5 }\n\n/x\n y", piece_characters=1)
@example(text="中文。\n中文 \n\n }\n}\r\n/", piece_characters=1)
def test_pieces_have_the_tokens_of_the_whole(name: str, text: str, piece_characters: int) -> None:
    assert together(text, name, piece_characters) == reference(name).encode_ordinary(text)
    assert "".join(pieces(text, piece_characters)) == text


@pytest.mark.parametrize("name", VOCABULARIES)
def test_every_letter_and_mark_is_cut_as_it_may(name: str) -> None:
    letters = re.findall(f"[{_counting._LETTERS}]", "".join(map(chr, range(0xD800))))
    marks = re.findall(f"[{_counting._MARKS}]", "".join(map(chr, range(0x10000))))
    assert len(letters) > 30_000
    assert {unicodedata.category(letter)[0] for letter in letters} == {"L"}
    assert {unicodedata.category(mark)[0] for mark in marks} == {"P", "S"}
    text = "".join(f"{c}\n{c}7{c}\r\n{c} \t{c}!7\n{c}" for c in letters) + "".join(
        f"a{m}7{m}\nb{m}{m}a{m} a\n{m}" for m in marks
    )
    assert together(text, name, 1) == reference(name).encode_ordinary(text)
    assert sum(1 for _ in pieces(text, 1)) > 6 * len(letters)


@pytest.fixture(scope="module")
def ten_megabytes() -> str:
    return varied_text(10_000_000)


@pytest.mark.parametrize("name", VOCABULARIES)
def test_ten_megabytes_have_the_same_tokens(name: str, ten_megabytes: str) -> None:
    expected = reference(name).encode_ordinary(ten_megabytes)
    assert together(ten_megabytes, name, _counting.PIECE_CHARACTERS) == expected
    assert count_text(ten_megabytes[:10_000], name) == len(reference(name).encode_ordinary(ten_megabytes[:10_000]))


def test_harmony_counts_text_as_o200k_base_does() -> None:
    text = varied_text(20_000)
    expected = len(reference("o200k_harmony").encode_ordinary(text))
    assert count_text(text, "o200k_harmony") == count_text(text, "o200k_base") == expected


def test_an_unknown_vocabulary_is_an_error() -> None:
    with pytest.raises(KeyError):
        count_text("a", "p50k_base")


@pytest.mark.parametrize(
    "unit",
    [
        "def f(a,b):return{'x':a+b}\n",
        '{"id":12345,"name":"n","tags":["a","b"]},',
        "var a=function(b){return b.c(1)};",
        "これは文章です。次の文章は、長い。",
        "中文没有空格，但是有标点。",
        "aGVsbG8gd29ybGQ5+/7Zk3",
        "0.123456,",
        "}\n}\n",
        "https://example.org/a/b?c=d&e=f",
        "ข้อความภาษาไทย1",
        "слово за словом, и так далее ",
    ],
)
def test_texts_without_many_spaces_are_cut_too(unit: str) -> None:
    text = unit * 2000
    assert max(map(len, pieces(text, 100))) <= 100 + len(unit)
    for name in VOCABULARIES:
        assert together(text, name, 100) == reference(name).encode_ordinary(text)


@pytest.mark.parametrize("unit", ["x", "中", "=", "\n", "👩\u200d"])
def test_where_no_place_is_found_a_piece_grows(unit: str) -> None:
    text = unit * 3000
    assert list(pieces(text, 100)) == [text]
    for name in VOCABULARIES:
        assert together(text, name, 100) == reference(name).encode_ordinary(text)


@pytest.mark.parametrize("end", ["", "x", "\nx"])
@pytest.mark.parametrize("name", VOCABULARIES)
def test_blanks_that_tiktoken_fails_at_are_counted(name: str, end: str) -> None:
    text = "a" + " " * 1_300_000 + end
    assert "".join(pieces(text, 100)) == text
    counted = count_text(text, name)
    shorter = reference(name).encode_ordinary("a" + " " * 130_000 + end)
    assert abs(counted - 10 * len(shorter)) <= 40


def test_blanks_that_it_can_take_are_not_cut() -> None:
    text = "a" + " " * BLANKS_MAX
    assert list(pieces(text, 100)) == [text]
    assert [len(piece) for piece in pieces(text + " ", 100)] == [BLANKS_MAX + 1, 1]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("é" * 4, 2), ("\ud800", 1), ("x" * 300_001, 75_001)],
)
def test_four_bytes_are_a_token_where_nothing_better_is_known(text: str, tokens: int) -> None:
    assert count_bytes(text) == tokens


MEMORY = """
import resource, sys
from keledger.journal.estimates._counting import count_text
from tests.estimates.support import varied_text
text = varied_text(10_000_000)
count_text(text[:50_000], "o200k_base")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert count_text(text, "o200k_base") > 2_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_text() -> None:
    ran = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, cwd=ROOT)
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    assert int(ran.stdout) * unit_bytes < 60_000_000


def test_scripts_are_in_the_varied_text(ten_megabytes: str) -> None:
    assert len(ten_megabytes.encode()) >= 10_000_000
    assert all(any(first <= ord(c) <= last for c in ten_megabytes) for first, last in SCRIPTS)
    assert all(special in ten_megabytes for special in SPECIAL)
