"""``keledger keprompt enable``: a KePrompt of another environment is watched without anything typed in front."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from keledger.journal import Ledger
from keledger.journal.budgets import budget_fields
from keledger.journal.capture import Installation, KePromptUnusable, disable, enable, find
from keledger.journal.capture._enable import interpreter_of

from .support import KELEDGER, Stage, end, own_venv, wait_for


@pytest.fixture
def enabled(stage: Stage) -> Installation:
    """The stage's KePrompt in a small environment of its own, enabled."""
    stage.keprompt = own_venv(stage.folder / "venv", stage.keprompt)
    return enable(find(str(stage.keprompt)))


def test_calls_are_journaled_without_a_launcher(stage: Stage, enabled: Installation) -> None:
    ended = stage.run(stage.chat("tool"))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [call["status"] for call in stage.calls()] == ["ok", "ok"]
    assert len({call["run"] for call in stage.calls()}) == 1
    stage.check_against_provider()


def test_under_a_launcher_as_well_each_call_is_journaled_once(stage: Stage, enabled: Installation) -> None:
    ended = stage.run(stage.watched(stage.chat("tool")))
    assert "keledger: 2 calls, " in ended.stderr
    assert len(stage.calls()) == 2


def test_ctrl_c_does_not_take_the_helper_along(stage: Stage, enabled: Installation) -> None:
    running = stage.start(stage.chat("tool slow"))
    wait_for(lambda: len(stage.provider.asked) == 2)
    os.killpg(running.pid, signal.SIGINT)
    end(running)
    wait_for(lambda: len(stage.calls()) == 2)
    assert [call["status"] for call in stage.calls()] == ["ok", "unknown"]


def test_a_killed_keprompt_is_noticed(stage: Stage, enabled: Installation) -> None:
    running = stage.start(stage.chat("slow"))
    wait_for(lambda: stage.provider.asked)
    running.kill()
    running.communicate()
    [call] = wait_for(stage.calls)
    assert (call["status"], call["error_type"]) == ("unknown", "ClientDied")


def test_disabled_again_nothing_is_journaled(stage: Stage, enabled: Installation) -> None:
    assert not disable(enabled).enabled
    assert not enabled.pth.exists()
    assert stage.run(stage.chat("hello")).returncode == 0
    assert not stage.home.path.exists()


def test_the_bootstrap_imports_builtins_only(enabled: Installation) -> None:
    def imported() -> set[str]:
        command = [enabled.interpreter, "-X", "importtime", "-c", "pass"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
        return {line.rpartition("|")[2].strip() for line in lines}

    with_it = imported()
    enabled.pth.unlink()
    assert with_it - imported() <= set(sys.builtin_module_names)


def test_a_keledger_that_is_gone_does_no_harm(stage: Stage, enabled: Installation) -> None:
    text = enabled.pth.read_text()
    enabled.pth.write_text(re.sub(r"/[^\"']*client\.py", "/nowhere/client.py", text))
    found = find(str(stage.keprompt))
    assert found.enabled
    assert not found.intact
    plain = subprocess.run([enabled.interpreter, "-c", "print(1)"], capture_output=True, text=True, check=True)
    assert (plain.stdout, plain.stderr) == ("1\n", "")
    ended = stage.run(stage.chat("hello"))
    assert ended.returncode == 0
    assert ended.stderr.startswith("keledger: /nowhere/client.py cannot be loaded")
    assert ended.stderr.count("\n") == 1
    enabled.pth.write_text(text.replace(sys.executable, "/nowhere/python"))
    ended = stage.run(stage.chat("hello"))
    assert ended.returncode == 0
    assert "/nowhere/python cannot be started" in ended.stderr
    assert len(list(stage.home.spool.iterdir())) == 1


def test_a_helper_keeps_the_budgets_of_the_home(stage: Stage, enabled: Installation) -> None:
    with Ledger.open(stage.home.path) as ledger:
        ledger.budgets.set(budget_fields("all", limit="0.01", period="total"))
    running = stage.start(stage.chat("tool slow"))
    wait_for(lambda: len(stage.provider.asked) == 2)
    os.killpg(running.pid, signal.SIGINT)
    end(running)
    wait_for(lambda: len(stage.calls()) == 2)
    with Ledger.open(stage.home.path) as ledger:
        assert [hold["state"] for hold in ledger.budgets.holds()] == ["lost"]
        ledger.budgets.raise_limit("all", "0.011", None, "a little more")
        ledger.budgets.set(budget_fields("none", limit="0.000001", period="total"))
    ended = stage.run(stage.chat("hello"))
    assert (ended.returncode, len(stage.provider.asked)) == (1, 2)
    assert "keledger: call refused: budget none says no" in ended.stderr


def test_where_a_budget_blocks_a_keledger_that_cannot_be_started_lets_nothing_go(
    stage: Stage, enabled: Installation
) -> None:
    with Ledger.open(stage.home.path) as ledger:
        ledger.budgets.set(budget_fields("all", limit="100", period="total"))
    enabled.pth.write_text(enabled.pth.read_text().replace(sys.executable, "/nowhere/python"))
    ended = stage.run(stage.chat("hello"))
    assert (ended.returncode, stage.provider.asked) == (1, [])
    assert "/nowhere/python cannot be started" in ended.stderr
    assert "keledger: call refused: keledger does not answer" in ended.stderr


def test_the_command(stage: Stage) -> None:
    script = own_venv(stage.folder / "venv", stage.keprompt)

    def keprompt(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}"}
        command = [*KELEDGER, "keprompt", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    def row() -> dict[str, object]:
        rows = json.loads(keprompt("status", "--json").stdout)["rows"]
        return next(row for row in rows if row["interpreter"] == str(script.parent / "python"))

    assert (row()["keprompt"], row()["fits"], row()["enabled"]) == ("3.1.0", True, False)
    assert keprompt("enable").returncode == 0
    assert (row()["enabled"], row()["keledger"], row()["keledger_present"]) == (True, sys.executable, True)
    assert keprompt("disable").returncode == 0
    assert row()["enabled"] is False
    missing = keprompt("enable", "--keprompt", str(stage.folder / "nothing"))
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("first_lines", "named"),
    [
        ("#!{python}\n", True),
        ("#! {python} -sE\n", True),
        ("#!/usr/bin/env python\n", True),
        ("#!/usr/bin/env -S python -u\n", True),
        ("#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n", True),
        ("#!/bin/sh\n'''exec' {python} \"$0\" \"$@\"\n' '''\n", True),
        ("#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")\"/'python' \"$0\" \"$@\"\n' '''\n", True),
        ("#!/bin/bash\npyenv exec keprompt\n", False),
        ("\x7fELF\n", False),
        ("", False),
        ("#!/nowhere/python\n", False),
    ],
)
def test_the_interpreter_of_a_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_lines: str, named: bool
) -> None:
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    script = tmp_path / "keprompt"
    script.write_text(first_lines.format(python=python) + "import keprompt\n")
    if named:
        assert interpreter_of(str(script)) == str(python)
    else:
        with pytest.raises(KePromptUnusable):
            interpreter_of(str(script))


def test_an_environment_without_keprompt_cannot_be_enabled(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "empty"], check=True)
    found = find(python=str(tmp_path / "empty" / "bin" / "python"))
    assert found.version is None
    with pytest.raises(KePromptUnusable, match="has no keprompt"):
        enable(found)
