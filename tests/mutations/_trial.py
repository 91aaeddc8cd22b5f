"""One mutation in a copy of the packages, and the tests that are to notice it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ._edits import Edit

ROOT = Path(__file__).resolve().parents[2]
THEN = ("tests/promises", "tests/journal")
FILE_S, ALL_S = 180, 1200
"""How long one file and all of them may take: a mutation may make a test wait for ever, which is noticed too."""


@dataclass(frozen=True)
class Trial:
    """What the tests said."""

    red: str
    """The first test that failed; empty where all passed."""
    summary: str
    seconds: float


def misfits(edits: Iterable[Edit]) -> list[str]:
    """What is wrong with edits that no longer fit the source."""
    wrong = []
    for edit in edits:
        found = (ROOT / edit.file).read_text().count(edit.old)
        if found != 1 or edit.new == edit.old:
            wrong.append(f"{edit.name}: its text stands {found} times in {edit.file}, not once: change _edits.py")
        if not (ROOT / edit.first).exists():
            wrong.append(f"{edit.name}: there is no {edit.first}: change _edits.py")
    return wrong


class Workshop:
    """A copy of the packages, laid out as they are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
        self._places: dict[str, Path] = {}
        for package, source in settings["package-dir"].items():
            place = folder.joinpath(*package.split("."))
            shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            self._places[source] = place
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(folder),
            # Edits may be of one length and made within one second, which is all that compiled files are told by.
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [sys.executable, "-c", "import keledger.journal; print(keledger.journal.__file__)"]
        used = subprocess.run(command, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=True)
        if not Path(used.stdout.strip()).is_relative_to(folder):
            raise RuntimeError(f"{used.stdout.strip()} is used instead of the copy in {folder}")

    def attempt(self, edit: Edit) -> Trial:
        """Run the tests on the copy with one edit, until the first that fails."""
        source, _, name = edit.file.partition("/")
        path = self._places[source] / name
        before = path.read_text()
        path.write_text(before.replace(edit.old, edit.new))
        try:
            found = self._run([edit.first], FILE_S, "-x")
            if found.red:
                return found
            rest = self._run([file for file in _files() if file != edit.first], ALL_S, "-x")
            return Trial(rest.red, rest.summary, found.seconds + rest.seconds)
        finally:
            path.write_text(before)

    def baseline(self, edits: Sequence[Edit], jobs: int) -> Trial:
        """Run every test on the copy as it is."""
        return self._run(sorted({*_files(), *(edit.first for edit in edits)}), ALL_S, "-n", str(jobs))

    def _run(self, files: Sequence[str], longest_s: int, *options: str) -> Trial:
        started = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=no", "-p", "no:cacheprovider", *options, *files],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                told, _ = process.communicate(timeout=longest_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                return Trial(f"a test in {files[0]} waits for ever", "", time.monotonic() - started)
        seconds = time.monotonic() - started
        summary = told.strip().splitlines()[-1] if told.strip() else "no output"
        if process.returncode == 0:
            return Trial("", summary, seconds)
        red = re.search(r"^(?:FAILED|ERROR) (?:tests/)?(.+?)(?: - .*)?$", told, re.MULTILINE)
        return Trial(red[1] if red else f"pytest ended with {process.returncode}: {summary}", summary, seconds)


def _files() -> list[str]:
    return [str(path.relative_to(ROOT)) for folder in THEN for path in sorted((ROOT / folder).glob("test_*.py"))]
