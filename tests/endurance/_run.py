"""The run: workers that are killed at random moments and started again until all is appended, then the reckoning."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from keledger.journal import AppendRefused, Home, Ledger, pico_to_usd, scan_journal, usd_to_pico
from keledger.journal._identity import id_of_key

from ._work import acknowledged, call_of, key_of, tokens_of, work

KILL_EVERY_S = (0.01, 0.25)
REFUSED = 75
"""Exit status of a worker that waited for the lock in vain; it is started again."""


@dataclass
class Outcome:
    """What a run did and what came of it."""

    figures: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def run(folder: Path, *, events: int, processes: int, seed: int, append: bool, say: Callable[[str], None]) -> Outcome:
    """Append *events* calls from *processes* processes into ``folder/home`` under kills, then reckon."""
    crew = _Crew(folder, events, processes, seed, say)
    outcome = Outcome({"calls": f"{events:,} from {processes} processes, seed {seed}"})
    started = time.monotonic()
    if append:
        crew.run()
        appended_s = time.monotonic() - started
        outcome.figures |= {
            "appending": f"{appended_s:.1f} s, {events / appended_s:,.0f} calls/s",
            "kill -9": f"{crew.kills:,}; {crew.refused} gave up waiting for the lock",
            "restarts": f"{crew.restarts:,}",
        }
    say("reckoning")
    _reckon(folder / "home", crew.shares, outcome)
    outcome.figures["in all"] = f"{time.monotonic() - started:.1f} s"
    return outcome


class _Crew:
    """The workers.  They are forked from here, where everything is imported: a restart takes a millisecond."""

    def __init__(self, folder: Path, events: int, processes: int, seed: int, say: Callable[[str], None]) -> None:
        self.folder, self.seed, self.say = folder, seed, say
        self.home = folder / "home"
        self.shares = [events // processes + (worker < events % processes) for worker in range(processes)]
        self.random = random.Random(f"kills {seed}")
        self.alive: dict[int, int] = {}
        self.kills = self.restarts = self.refused = 0

    def run(self) -> None:
        """Kill and start again until every worker has ended well."""
        with Ledger.open(self.folder / "warm") as ledger:  # so that no worker has anything left to import
            ledger.event_of(call_of(0, 0))
        told_at = time.monotonic()
        for worker in range(len(self.shares)):
            self._start(worker)
        try:
            while self.alive:
                time.sleep(self.random.uniform(*KILL_EVERY_S))
                self._reap()
                # The lot falls on one of all workers, ended ones too: so the last one left is not killed more often.
                unlucky = self.random.randrange(len(self.shares))
                for child in [child for child, worker in self.alive.items() if worker == unlucky]:
                    os.kill(child, signal.SIGKILL)
                if time.monotonic() - told_at > 10:
                    told_at = time.monotonic()
                    self.say(f"{self._done():,} of {sum(self.shares):,} acknowledged, {self.kills:,} kills")
        finally:
            for child in self.alive:
                os.kill(child, signal.SIGKILL)

    def _start(self, worker: int) -> None:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                work(
                    self.home, self._told(worker), worker, self.shares[worker], f"{self.seed} {worker} {self.restarts}"
                )
                status = 0
            except AppendRefused:
                status = REFUSED
            except Exception:  # noqa: BLE001 - it is told, and the run ends
                traceback.print_exc()
            finally:
                os._exit(status)
        self.alive[child] = worker

    def _reap(self) -> None:
        for child, worker in list(self.alive.items()):
            ended, status = os.waitpid(child, os.WNOHANG)
            if not ended:
                continue
            del self.alive[child]
            code = os.waitstatus_to_exitcode(status)
            if code not in (0, REFUSED, -signal.SIGKILL):
                raise RuntimeError(f"worker {worker} ended with {code}")
            self.kills += code == -signal.SIGKILL
            self.refused += code == REFUSED
            if code:
                self.restarts += 1
                self._start(worker)

    def _told(self, worker: int) -> Path:
        return self.folder / f"worker-{worker}.acknowledged"

    def _done(self) -> int:
        return sum(acknowledged(self._told(worker)) for worker in range(len(self.shares)))


def _reckon(path: Path, shares: list[int], outcome: Outcome) -> None:
    """Hold the journal, ``verify`` and the reports to what was acknowledged."""
    expected = {
        id_of_key("record", key_of(worker, number)) for worker, share in enumerate(shares) for number in range(share)
    }
    lines, ids, segments = _read(Home.at(path), outcome)
    events = sum(shares)
    _hold(outcome, "acknowledged calls lost", len(expected - ids), 0)
    _hold(outcome, "calls that nobody sent", len(ids - expected), 0)
    verified = _command(path, "verify", "--json")
    _hold(outcome, "verify's exit status", verified.returncode, 0)
    counted = _command(
        path, "sql", "SELECT count(*) AS calls, count(DISTINCT id) AS ids, sum(cost_usd) AS usd FROM calls"
    )
    (row,) = json.loads(counted.stdout)["rows"] if counted.returncode == 0 else ({"error": counted.stderr},)
    _hold(outcome, "calls counted", row.get("calls"), events)
    _hold(outcome, "ids counted", row.get("ids"), events)
    _hold(outcome, "cost_usd", _plain(row.get("usd")), _expected_usd(path, shares))
    size = sum(file.stat().st_size for file in path.glob("journal/*/*.jsonl"))
    outcome.figures["journal"] = (
        f"{lines:,} call lines, {lines - len(ids):,} of them copies, {segments} segments, {size / 1e6:,.0f} MB"
    )


def _read(home: Home, outcome: Outcome) -> tuple[int, set[str], int]:
    """Call lines, their ids, and segments, by a fold of its own over every line; seq must have no gap."""
    scan = scan_journal(home)
    ids: set[str] = set()
    lines = segments = expected = gaps = 0
    for chunk in scan.chunks:
        for line in chunk.lines():
            event = orjson.loads(line)
            expected += 1
            gaps += event["seq"] != expected
            segments += event["type"] == "segment.opened"
            if event["type"] == "call.completed":
                lines += 1
                ids.add(event["id"])
    kinds = [finding.kind for finding in scan.findings]
    outcome.figures["tails sealed off"] = f"{kinds.count('residue_sealed')}"
    _hold(outcome, "damage found by the reader", sum(finding.damage for finding in scan.findings), 0)
    _hold(outcome, "gaps in seq", gaps, 0)
    _hold(outcome, "writers", len(scan.positions), 1)
    return lines, ids, segments


def _expected_usd(path: Path, shares: list[int]) -> str:
    """What all calls cost, out of the price of a million tokens of each kind."""
    with Ledger.open(path) as ledger:

        def million(bucket: str) -> int:
            event = ledger.event_of({**call_of(0, 0), "usage": {bucket: 1_000_000}})
            return usd_to_pico(orjson.loads(event.data)["cost"]["total_usd"]) // 1_000_000

        price_in, price_out = million("input_uncached"), million("output_text")
    pico = 0
    for worker, share in enumerate(shares):
        for number in range(share):
            tokens_in, tokens_out = tokens_of(worker, number)
            pico += tokens_in * price_in + tokens_out * price_out
    return pico_to_usd(pico)


def _hold(outcome: Outcome, what: str, found: Any, wanted: Any) -> None:
    outcome.figures[what] = f"{found:,}" if isinstance(found, int) else str(found)
    if found != wanted:
        outcome.problems.append(f"{what}: {found}, not {wanted}")


def _plain(usd: object) -> str:
    return pico_to_usd(usd_to_pico(format(Decimal(str(usd)).normalize(), "f"))) if usd is not None else "none"


def _command(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "keledger", "--home", str(home), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
