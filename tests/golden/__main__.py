"""``python -m tests.golden FOLDER``: make the golden journal that the folder is named after, and what it says."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keledger.journal._merge  # what is patched must be imported
import keledger.journal.budgets._enforcement
import keledger.projections  # noqa: F401
from keledger.journal import Home, scan_journal, verify

from . import foretelling, history, holding
from .budgets import budgets
from .figures import figures
from .prices import shipped_instead
from .still import Machine


class Golden(NamedTuple):
    """A golden journal: the seed of its machine, what happens in it, and what it must say for ever."""

    seed: str
    write: Callable[[Machine, Home, Home], Iterator[str]]
    says: Callable[[Home], dict[str, Any]]


GOLDEN = {
    "v2": Golden("golden 2", history.write, lambda home: {"figures": figures(home)}),
    "v3": Golden("golden 3", holding.write, lambda home: {"budgets": budgets(home)}),
    "v4": Golden("golden 4", foretelling.write, lambda home: {"foretold": foretelling.said(home)}),
}
"""By the names of their folders.  The first was made by hand."""


def make(folder: Path, name: str) -> Home:
    """Make one.  Raises FileExistsError where the folder is there."""
    golden = GOLDEN[name]
    folder.mkdir(mode=0o700)
    with tempfile.TemporaryDirectory() as work:
        desktop, laptop = Home.at(Path(work, "desktop")), Home.at(Path(work, "laptop"))
        machine = Machine(golden.seed)
        with machine.entered(), shipped_instead():
            for doing in golden.write(machine, desktop, laptop):
                print(doing, file=sys.stderr)
        for name in ("journal", "prices"):
            shutil.copytree(desktop.path / name, folder / name)
        identity = json.loads((desktop.path / "writer.json").read_text())
        # Figures by a book ask which adoptions are the home's own; the machine and the folder do not matter.
        identity |= {"machine": "golden", "home": "/golden"}
        (folder / "writer.json").write_text(json.dumps(identity, indent=1) + "\n")
        (folder / "writer.json").chmod(0o600)
    home = Home.at(folder)
    (folder / "expected.json").write_text(json.dumps(expected(home, golden.says), indent=1, sort_keys=True) + "\n")
    shutil.rmtree(home.projections, ignore_errors=True)
    return home


def expected(home: Home, says: Callable[[Home], dict[str, Any]]) -> dict[str, object]:
    """What ``expected.json`` holds."""
    result = verify(home)
    paths = [path for folder in (home.journal, home.prices) for path in sorted(folder.rglob("*")) if path.is_file()]
    names = {
        str(path.relative_to(home.journal if home.journal in path.parents else home.prices)): path for path in paths
    }
    return {
        "findings": [finding.kind for finding in result.findings],
        "seq": {writer: position.seq for writer, position in scan_journal(home).positions.items()},
        "sha256": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in names.items()},
        "types": dict(result.types),
        "unknown": result.unknown,
        **says(home),
    }


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[1]).name)
