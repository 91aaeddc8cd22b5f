"""Real KePrompts, each in an environment that holds neither keledger nor pydantic."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keledger.cli.demo import LocalProvider
from keledger.journal import Home
from keledger.journal.capture import client

from .line_ends import Serving
from .support import NEWEST, Stage, answer

INSTALL_WAIT_S = 600


@pytest.fixture(scope="session")
def keprompt_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The ``keprompt`` script of a version.

    ``$KELEDGER_TEST_VENVS/<version>`` is used where it is there; else the version is installed once, for all
    workers, among pytest's temporary folders.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def script(version: str) -> Path:
        given = os.environ.get("KELEDGER_TEST_VENVS")
        if given and (found := Path(given) / version / "bin" / "keprompt").exists():
            return found
        return _installed(version, shared / f"keprompt-{version}")

    return script


def _installed(version: str, venv: Path) -> Path:
    done = venv / "complete"
    with open(venv.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", venv], check=True)
            pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "install", "--quiet"]
            subprocess.run([*pip, f"keprompt=={version}"], check=True, timeout=INSTALL_WAIT_S)
            done.touch()
    return venv / "bin" / "keprompt"


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    """A provider that answers as the user's words ask for."""
    with LocalProvider(answer) as serving:
        yield serving


@pytest.fixture
def stage_of(tmp_path: Path, provider: LocalProvider, keprompt_of: Callable[[str], Path]) -> Callable[[str], Stage]:
    """A stage for a version of KePrompt."""
    return lambda version: Stage(tmp_path, provider, keprompt_of(version))


@pytest.fixture
def stage(stage_of: Callable[[str], Stage]) -> Stage:
    """A stage for the newest KePrompt."""
    return stage_of(NEWEST)


@pytest.fixture
def serving(home: Home) -> Iterator[Serving]:
    """A server with a client's end of its line."""
    opened = Serving(home)
    yield opened
    opened.finish()


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch, home: Home) -> client.Line:
    """A client's line, not connected yet, whose waits are short."""
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    for name in ("GO_WAIT_S", "DONE_WAIT_S", "LATE_WAIT_S", "GUARD_WAIT_S"):
        monkeypatch.setattr(client, name, 0.05)
    return client.Line()
