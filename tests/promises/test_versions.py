"""Mixed versions: what a later release wrote is kept, counted, carried along and named, and changes no figure.

Old journals, too: every golden one of ``data/golden`` goes through the commands, and a cache of another DuckDB is
none of ours.  Their bytes are held to in ``tests/journal/test_golden.py``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import keledger
import keledger.data
from keledger.journal import Home, Ledger, scan_journal, tail_totals, verify
from keledger.journal._events import MODELS, TYPES_RESERVED
from keledger.projections import rebuild
from keledger.projections._engine import version
from tests.cli.support import Outcome, forge, truth
from tests.cli.support import keledger as command
from tests.journal.support import call, calls, tree_bytes

GOLDEN = Path(keledger.data.__path__[0]) / "golden"

FAMILIES = {
    "journal": ("segment.opened", "merge.completed", "import.completed"),
    "calls": (
        "estimate.made", "call.reserved", "call.completed", "call.failed", "call.blocked", "call.voided",
        "void.reverted", "model.chosen",
    ),
    "holds": ("hold.released", "hold.lost", "hold.resolved"),
    "budgets": ("budget.set", "budget.removed", "budget.raised", "alert.raised", "alert.delivered"),
    "prices": ("prices.adopted", "reprice.applied", "reprice.reverted"),
    "accounting": ("charge.adjusted", "invoice.recorded", "period.closed", "period.reopened", "fx.set"),
    "allocation": ("attribution.set", "attribution.removed", "split.set", "split.removed"),
    "experiments": ("experiment.started", "experiment.ended", "outcome.recorded"),
    "unheard of": ("moon.phased", "call.dreamt", "budgets", "a.b.c-9"),
}  # fmt: skip
"""The types of design section 3 by family, and some that no release has thought of."""

SHAPES: Mapping[str, Any] = {
    "usage": "text", "cost": ["list"], "started_at": 5, "call_id": {"an": "object"}, "book": "no hash", "layers": {},
    "seals": "none", "prev_hash": 3, "writers": 7, "tags": [1], "status": None, "origin": {}, "input_sha256": 8,
    "name": "monthly", "action": "block", "amount_usd": "1000000", "call_keys": "k", "run": 0, "provider": [], "v": "x",
}  # fmt: skip
"""Fields of today's events in shapes that none of them has: where a line is read as what it is not, this trips it."""

LATER = tuple(
    (family, event_type, version)
    for family, types in FAMILIES.items()
    for event_type in types
    for version in (1, 2, 999)
    if version > 1 or event_type not in MODELS
)


@pytest.fixture
def used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home with two calls, which commands find."""
    with Ledger.open(tmp_path / "home") as ledger:
        ledger.record(**call(id="first", session="s"))
        ledger.record(**call(id="second", session="s"))
    monkeypatch.setenv("KELEDGER_HOME", str(ledger.home.path))
    return ledger.home


def figures(*arguments: str) -> Any:
    """What a command says as JSON, without the findings and positions that tell of what it met."""
    shown = command("--json", *arguments).json
    return {name: value for name, value in shown.items() if name not in ("findings", "position")}


def test_the_families_are_all_that_are_reserved() -> None:
    assert {name for family in FAMILIES.values() for name in family} >= set(TYPES_RESERVED)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_later_release_wrote_is_kept_and_changes_no_figure(used: Home, tmp_path: Path, family: str) -> None:
    """Of each type that is not read, at its first version and at higher ones, amid calls of this release."""
    before = {name: figures(*name.split()) for name in ("daily", "sessions -b", "session s")}
    digest = command("replay", "--digest").out
    closing = tail_totals(used, run="x")
    later = [forge(used, kind, dict(SHAPES), v=version) for of, kind, version in LATER if of == family]
    assert later

    verified = command("verify")
    assert (verified.status, verified.json["damaged"], verified.json["findings"]) == (0, False, [])
    assert verified.json["unknown_events"] == len(later)
    assert {name: figures(*name.split()) for name in before} == before
    told = command("daily")
    assert len(told.json["findings"]) == len(later)
    assert {(found["kind"], found["severity"]) for found in told.json["findings"]} == {("events_unread", "note")}
    assert told.err.count("upgrade keledger") == len(later)
    assert tail_totals(used, run="x") == closing
    assert command("replay", "--digest").out == digest
    rebuild(used)
    assert command("replay", "--digest").out == digest
    assert set(later) <= set(command("export", "--events").out.encode().splitlines(keepends=True))

    other = Home.at(tmp_path / "other")
    with Ledger.open(other.path) as ledger:
        ledger.record(**call(id="third"))
        ledger.merge(used.path)
        ledger.merge(used.path)
    (writer,) = used.writers()
    assert tree_bytes(other.journal / writer) == tree_bytes(used.journal / writer)
    assert not verify(other).damaged
    assert verify(other).unknown == len(later)

    with Ledger.open(used.path) as ledger:  # and this release goes on behind them
        ledger.record(**call(id="fourth"))
    assert len(calls(used)) - sum(kind in ("call.completed", "call.failed") for _, kind, _ in _of(family)) == 3
    assert command("daily").json["totals"]["calls"] == 3
    assert not verify(used).damaged


def _of(family: str) -> list[tuple[str, str, int]]:
    return [entry for entry in LATER if entry[0] == family]


def test_a_known_type_of_a_higher_version_is_not_read_as_the_first(used: Home) -> None:
    """Though its data would be good for version 1 to the letter."""
    first = calls(used)[0]
    adopted = next(
        json.loads(line) for chunk in scan_journal(used).chunks for line in chunk.lines() if b"adopted" in line
    )
    before = figures("daily")
    forge(used, "call.completed", first["data"], v=2)
    forge(used, "call.voided", {"input_sha256": "0" * 64, "call_id": first["id"], "actor": "x", "reason": "y"}, v=2)
    forge(used, "prices.adopted", adopted["data"] | {"book": "0" * 64}, v=2)
    assert figures("daily") == before
    with Ledger.open(used.path) as ledger:
        ledger.record(**call(id="behind"))
    assert calls(used)[-1]["data"]["cost"]["book"] == adopted["data"]["book"]


def test_keys_that_this_release_does_not_know_survive_and_disturb_nothing(used: Home, tmp_path: Path) -> None:
    """At the top of ``data`` and within it: a later release may add a field without a new version."""
    data = calls(used)[0]["data"]
    digest = command("replay", "--digest").out
    novel = data | {"novelty": {"deep": [1, "two"]}, "cost": data["cost"] | {"discount": "0.1"}}
    line = forge(used, "call.completed", novel)
    verified = command("verify")
    assert (verified.status, verified.json["findings"], verified.json["unknown_events"]) == (0, [], 0)
    daily = command("daily").json
    assert (daily["totals"]["calls"], daily["totals"]["cost_usd"], daily["findings"]) == (3, "0.001545", [])
    assert command("replay", "--digest").out != digest
    assert line in command("export", "--events").out.encode().splitlines(keepends=True)
    with Ledger.open(tmp_path / "other") as other:
        other.merge(used.path)
    assert line in b"".join(tree_bytes(other.home.journal).values())


@pytest.mark.parametrize(
    ("needed", "told"),
    [
        ("0.0.9", False),
        (keledger.__version__, False),
        (f"{keledger.__version__}.0", False),
        ("99.1", True),
        ("x", True),
    ],
)
def test_a_segment_for_later_readers_says_to_upgrade(used: Home, needed: str, told: bool) -> None:
    """Its lines are read as well as they can be; whoever looks is told, again and again, and nothing is damaged."""
    path = used.segments(used.writers()[0])[0]
    head = json.loads(path.read_bytes().splitlines()[0])
    lines = [json.loads(line) for line in path.read_bytes().splitlines()[1:]]
    path.write_bytes(b"")
    _write(path, head, head["data"] | {"reader_min": needed})
    for line in lines:
        _write(path, line, line["data"])
    for _ in range(2):
        verified = command("verify")
        assert verified.status == 0
        daily = command("daily")
        assert daily.json["totals"]["calls"] == 2
        for found in (verified.json["findings"], daily.json["findings"]):
            assert [(each["kind"], each["severity"]) for each in found] == [("reader_outdated", "note")] * told
        assert ("upgrade" in daily.err) == told
        assert (f"{path}: it is to be read with keledger {needed} or later" in daily.err) == told
        rebuild(used)


def _write(path: Path, event: Mapping[str, Any], data: Any) -> None:
    """Write an event again behind what is there, its hash made anew."""
    content = path.read_bytes()
    previous = content[-67:-3].decode() or "0" * 64
    body = json.dumps({**event, "data": data} | {"hash": None}, separators=(",", ":"), ensure_ascii=False)
    raw = body.removesuffix(',"hash":null}').encode()
    digest = hashlib.sha256(bytes.fromhex(previous) + raw).hexdigest()
    path.write_bytes(content + raw + f',"hash":"{digest}"}}\n'.encode())


@pytest.mark.parametrize("release", sorted(path.name for path in GOLDEN.iterdir() if path.is_dir()))
def test_every_released_versions_journal_goes_through_the_commands(tmp_path: Path, release: str) -> None:
    home = Home.at(tmp_path / "home")
    shutil.copytree(GOLDEN / release, home.path)
    home.path.chmod(0o700)
    before = truth(home)
    expected = json.loads((home.path / "expected.json").read_text())

    def run(*arguments: str) -> Outcome:
        outcome = command("--home", str(home.path), *arguments)
        assert outcome.status == 0, outcome.err
        return outcome

    assert run("verify").json["types"] == expected["types"]
    # By recorded prices, for else a closed month shows what counted when it was closed.
    daily = run("daily", "--timezone", "UTC", "--prices", "recorded").json["totals"]
    assert daily["calls"] + run("sql", "SELECT COUNT(*) AS n FROM uncounted").json["rows"][0]["n"] == sum(
        expected["types"].get(name, 0) for name in ("call.completed", "call.failed")
    )
    digest = run("replay", "--digest").out
    assert len(run("export", "--events").out.splitlines()) == sum(expected["types"].values())
    assert truth(home) == before
    with Ledger.open(tmp_path / "merged") as merged:
        merged.merge(home.path)
    assert command("--home", str(merged.home.path), "replay", "--digest").out == digest


OTHER_READER = """
import json, sys
from keledger.journal import Home
from keledger.projections import digest, open_projection, rebuild, report_daily
from keledger.projections._engine import version
home = Home.at(sys.argv[1])
rebuild(home)
with open_projection(home) as projection:
    daily = report_daily(projection).as_json()
    print(json.dumps({"duckdb": version(), "digest": digest(projection), "daily": daily}))
"""


def test_a_cache_of_another_duckdb_is_not_ours_and_gives_the_same_digest(used: Home) -> None:
    """Each has its folder; a folder that bears the other's name is read rightly, or built again."""
    python = os.environ.get("KELEDGER_TEST_OTHER_DUCKDB")
    if not python:
        pytest.skip("KELEDGER_TEST_OTHER_DUCKDB names no python with another duckdb, and with orjson and pydantic")

    def other() -> dict[str, Any]:
        environment = {**os.environ, "PYTHONPATH": str(Path(keledger.__file__).parents[1])}
        done = subprocess.run(
            [python, "-c", OTHER_READER, used.path], capture_output=True, text=True, check=True, env=environment
        )
        return dict(json.loads(done.stdout))

    wanted = {"digest": command("replay", "--digest").out.strip(), "daily": command("--json", "daily").json}
    rebuild(used)
    (ours,) = used.projections.iterdir()
    content = tree_bytes(ours)
    theirs_said = other()
    assert theirs_said.pop("duckdb") != version()
    assert theirs_said == wanted
    theirs = next(path for path in used.projections.iterdir() if path != ours)
    assert tree_bytes(ours) == content
    swapped = used.projections / "swapped"
    for first, second in ((ours, swapped), (theirs, ours), (swapped, theirs)):
        first.rename(second)
    assert {name: other()[name] for name in wanted} == wanted
    assert command("replay", "--digest").out.strip() == wanted["digest"]
    assert command("--json", "daily").json == wanted["daily"]
