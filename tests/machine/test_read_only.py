"""A home on a read-only mount: it is read as ever, and what is new is refused or waits in the spool."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from keledger.journal import AppendRefused, Home, HomeError, Ledger, verify
from tests.cli.support import json_lines, keledger_process
from tests.journal.support import call, calls, tree_bytes

from .conftest import Mount

pytestmark = pytest.mark.machine

READING: Sequence[Sequence[str]] = (
    ("daily", "--json"),
    ("verify",),
    ("sql", "SELECT count(*) AS n FROM calls"),
    ("export", "--format", "jsonl", "-o", "-"),
)


@pytest.fixture
def read_only(home: Home, mount: Mount) -> Home:
    """A home with two calls, mounted over itself read-only; nothing has read it before."""
    with Ledger.open(home.path) as ledger:
        ledger.record_many([call(), call()])
    mount(home.path, "--bind", str(home.path))
    mount(home.path, "-o", "remount,bind,ro")
    return home


@pytest.mark.parametrize("arguments", READING, ids=lambda arguments: arguments[0])
def test_it_is_read(read_only: Home, arguments: Sequence[str]) -> None:
    outcome = keledger_process("--home", str(read_only.path), *arguments)
    assert outcome.status == 0, outcome
    assert outcome.out


@pytest.mark.parametrize("command", ["record", "void", "replay"])
def test_what_writes_is_refused_in_one_sentence(read_only: Home, command: str) -> None:
    before = tree_bytes(read_only.path)
    arguments = {"void": (calls(read_only)[0]["id"], "--reason", "a test")}.get(command, ())
    outcome = keledger_process("--home", str(read_only.path), command, *arguments, given=json_lines(call()))
    assert (outcome.status, outcome.out) == (1, "")
    assert "read-only" in outcome.complaint.lower()
    assert tree_bytes(read_only.path) == before


def test_the_library_is_refused_too(read_only: Home) -> None:
    before = tree_bytes(read_only.path)
    with Ledger.open(read_only.path) as ledger, pytest.raises((HomeError, AppendRefused), match="read-only"):
        ledger.record(**call())
    assert tree_bytes(read_only.path) == before


def test_a_watched_call_waits_in_the_spool_and_counts_once_later(read_only: Home, mount: Mount, tmp_path: Path) -> None:
    with Ledger.open(read_only.path) as ledger:
        with ledger.call(provider="openai", model="gpt-5-mini") as watched:
            watched.complete({"usage": call()["usage_raw"], "model": "gpt-5-mini"})
        assert len(list(read_only.spool.glob("*.json"))) == 1
        mount(read_only.path, "-o", "remount,bind,rw")
        ledger.record(**call())
    assert not list(read_only.spool.glob("*.json"))
    assert len(calls(read_only)) == 4
    assert keledger_process("--home", str(read_only.path), "daily", "--json").json["totals"]["calls"] == 4
    assert not verify(read_only).findings
