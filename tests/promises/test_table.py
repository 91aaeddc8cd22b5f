"""``docs/promises.md``: each promise names tests that are there, and each file of this folder is named."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "promises.md"
ROWS = re.findall(r"^\| *(\d+) \| (.*?) \| (.*?) \| (.*?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_all_ten_promises_are_there_in_their_order() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, 11))


def test_each_promise_is_held_by_tests_that_are_there() -> None:
    for number, _, how, held_by in ROWS:
        named = re.findall(r"`(tests/[\w/]+\.py)`", held_by)
        assert any(Path(name).name.startswith(f"test_{int(number):02d}_") for name in named), number
        assert [name for name in named if not (ROOT / name).is_file()] == [], number
        modules = re.findall(r"`(_\w+\.py)`", how)
        assert [name for name in modules if not any((ROOT / "journal").rglob(name))] == [], number


def test_each_test_of_this_folder_is_named() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [path.name for path in Path(__file__).parent.glob("test_*.py") if path.name not in page] == []
