"""The package's door, and what going through it costs."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import keledger.projections


def test_all_is_sorted_and_true() -> None:
    names = keledger.projections.__all__
    assert names == sorted(names)
    visible = {
        name
        for name, value in vars(keledger.projections).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert visible == set(names)


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
