"""``python -m tests.golden FOLDER``: make the golden journal and what it says in a new folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

import keledger.journal._merge  # what is patched must be imported
import keledger.projections  # noqa: F401
from keledger.journal import Home, scan_journal, verify

from .figures import figures
from .history import write
from .prices import shipped_instead
from .still import Machine


def make(folder: Path) -> Home:
    """Make it.  Raises FileExistsError where the folder is there."""
    folder.mkdir(mode=0o700)
    with tempfile.TemporaryDirectory() as work:
        desktop, laptop = Home.at(Path(work, "desktop")), Home.at(Path(work, "laptop"))
        machine = Machine("golden 2")
        with machine.entered(), shipped_instead():
            for doing in write(machine, desktop, laptop):
                print(doing, file=sys.stderr)
        for name in ("journal", "prices"):
            shutil.copytree(desktop.path / name, folder / name)
        identity = json.loads((desktop.path / "writer.json").read_text())
        # Figures by a book ask which adoptions are the home's own; the machine and the folder do not matter.
        identity |= {"machine": "golden", "home": "/golden"}
        (folder / "writer.json").write_text(json.dumps(identity, indent=1) + "\n")
        (folder / "writer.json").chmod(0o600)
    home = Home.at(folder)
    (folder / "expected.json").write_text(json.dumps(expected(home), indent=1, sort_keys=True) + "\n")
    shutil.rmtree(home.projections, ignore_errors=True)
    return home


def expected(home: Home) -> dict[str, object]:
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
        "figures": figures(home),
    }


if __name__ == "__main__":
    make(Path(sys.argv[1]))
