"""The package's door, and what going through it costs."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keledger.projections


def test_all_is_sorted_and_there() -> None:
    names = keledger.projections.__all__
    assert names == sorted(names)
    assert set(names) == keledger.projections._PLACES.keys()
    for name in names:
        assert getattr(keledger.projections, name) is getattr(keledger.projections, name)
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        keledger.projections.nothing_of_this_name  # noqa: B018


def test_the_type_checker_sees_the_same_names() -> None:
    source = Path(str(keledger.projections.__file__)).read_text(encoding="utf-8")
    declared = re.findall(r"^    from \.(\w+) import (\w+) as (\w+)$", source, re.M)
    assert {name: place for place, name, _ in declared} == keledger.projections._PLACES
    assert all(name == alias for _, name, alias in declared)


def test_everything_public_says_what_it_is() -> None:
    for name in keledger.projections.__all__:
        value = getattr(keledger.projections, name)
        if callable(value) and getattr(value, "__module__", "").startswith("keledger"):
            assert inspect.getdoc(value), name


@pytest.mark.parametrize(
    "module", ["pydantic", "rich", "click", "tiktoken", "genai_prices", "numpy", "pandas", "duckdb"]
)
def test_what_a_report_does_not_import(module: str) -> None:
    """The package ``duckdb`` around the extension module costs as much as a report; see ``_engine``."""
    script = (
        "import sys, keledger.projections as p; from keledger.journal import Home\n"
        "with p.open_projection(Home.at('/nonexistent/home')) as projection: p.report_daily(projection)\n"
        f"sys.exit({module!r} in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or f"{module} is imported"
