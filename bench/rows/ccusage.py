"""A daily report of the same Claude calls by keledger, cold and warm, and by ccusage, which keeps nothing between runs.

ccusage reads the transcripts that Claude Code leaves (``projects/<project>/<session>.jsonl``).  Each call stands both
in such a transcript and in a journal; both programs must find the same tokens on every day.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from bench._figures import Figure, ratio
from bench._processes import ProcessFailed, keledger, run
from bench._transcripts import make_both
from bench._workshop import Workshop

VERSION = "20.0.24"
"""Of the package on npm.  From 19.0 on it is a native program behind a small script for node."""

CALLS_MAX = 100_000
"""What heavy use of a year or two leaves.  Recording them one by one takes most of the row's time."""

ROUNDS_MAX = 7

TOKENS = ("inputTokens", "outputTokens", "cacheReadTokens", "cacheCreationTokens")
"""What ccusage counts.  Its input is without what was cached."""


def measure(workshop: Workshop) -> Iterator[Figure]:
    """Whole processes in turns; the files of both are in the disk's cache."""
    command = installed(workshop)
    if command is None:
        return
    folder = workshop.new_folder("ccusage")
    calls = min(workshop.size.calls, CALLS_MAX)
    workshop.say(f"ccusage: making {calls:,} calls of Claude models")
    home = make_both(folder / "home", folder / "claude", calls)
    environment = workshop.environment | {"KELEDGER_HOME": str(home.path), "CLAUDE_CONFIG_DIR": str(folder / "claude")}
    theirs_s: list[float] = []
    cold_s: list[float] = []
    warm_s: list[float] = []
    for number in range(min(workshop.size.repeats, ROUNDS_MAX) + 1):
        theirs = run([*command, "daily", "--json", "--offline"], environment)
        shutil.rmtree(home.projections, ignore_errors=True)
        cold = run(keledger("daily", "--json"), environment)
        warm = run(keledger("daily", "--json"), environment)
        costs = compare(theirs.output, cold.output, calls)
        compare(theirs.output, warm.output, calls)
        if number:  # the first round fills the disk's cache
            for kept, ended in zip((theirs_s, cold_s, warm_s), (theirs, cold, warm), strict=True):
                kept.append(ended.wall_s)
    floor = f"ccusage {VERSION} {statistics.median(theirs_s):.2f} s and {costs.theirs_usd:,.2f} USD"
    for what, ours_s in (("cold", cold_s), ("warm", warm_s)):
        value, spread = ratio(ours_s, theirs_s)
        yield Figure(
            "ccusage",
            f"daily, {calls:,} Claude calls, {what}, time",
            value,
            "x",
            f"{floor}; keledger {statistics.median(ours_s):.2f} s and {float(costs.ours_usd):,.2f} USD",
            spread,
            measured={"ccusage_s": statistics.median(theirs_s), "keledger_s": statistics.median(ours_s)},
        )


def why_not() -> str | None:
    """What keeps ccusage from being installed; None where nothing is known to."""
    return next((f"{name} is not there" for name in ("node", "npm") if shutil.which(name) is None), None)


def installed(workshop: Workshop) -> list[str] | None:
    """ccusage's command line, installed into the workshop; None, after saying why, where it cannot be had."""
    reason = why_not()
    if reason is None:
        folder = workshop.new_folder("npm")
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0", "--loglevel=error"]
        command = [str(folder / "node_modules" / ".bin" / "ccusage")]
        try:
            run(["npm", "install", "--prefix", str(folder), *quiet, f"ccusage@{VERSION}"], workshop.environment)
            run([*command, "--version"], workshop.environment)
        except ProcessFailed as error:
            reason = str(error).partition("\n")[0]
        else:
            return command
    workshop.say(f"ccusage: skipped: {reason}")
    return None


@dataclass(frozen=True, slots=True)
class Costs:
    """What both say that the calls cost.  ccusage adds floating-point numbers up."""

    ours_usd: str
    theirs_usd: float


def compare(theirs: bytes, ours: bytes, calls: int) -> Costs:
    """Hold two daily reports to the same days and tokens.  Raises AssertionError where they differ."""
    report, their_report = orjson.loads(ours), orjson.loads(theirs)
    our_days = {row["date"]: _tokens_of(row) for row in report["rows"]}
    their_days = {row["period"]: tuple(row[name] for name in TOKENS) for row in their_report["daily"]}
    if report["totals"]["calls"] != calls or our_days != their_days:
        days = our_days.keys() | their_days.keys()
        different = sorted(day for day in days if our_days.get(day) != their_days.get(day))
        raise AssertionError(
            f"keledger has {report['totals']['calls']} of {calls} calls; "
            f"{len(different)} days differ: {', '.join(different[:3])}"
        )
    return Costs(report["totals"]["cost_usd"], their_report["totals"]["totalCost"])


def _tokens_of(row: Mapping[str, Any]) -> tuple[int, ...]:
    read, written = row["cache_read_input_tokens"], row["cache_creation_input_tokens"]
    return row["input_tokens"] - read - written, row["output_tokens"], read, written
