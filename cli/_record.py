"""``keledger record``: calls from any program, one JSON object a line."""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack, closing

import click
import orjson

from keledger.journal import Ledger, NewEvent

from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import OutputLost, say
from ._progress import Progress
from ._recording import Input, Recording

SOURCE_PATTERN = r"[A-Za-z0-9_.:-]{1,127}"

EXAMPLES = (
    "keledger record calls.jsonl",
    "keledger record --partial --source import:proxy calls.jsonl",
    """echo '{"provider":"openai","model":"gpt-5-mini","usage":{"input_uncached":812}}' | keledger record""",
)


@command(
    name="record",
    examples=EXAMPLES,
    statuses={
        1: "a failure, or lines were refused (also with --partial)",
        3: "a price file is damaged, and nothing was written",
    },
)
@click.argument("file", default="-", metavar="[FILE|-]")
@click.option("--partial", is_flag=True, help="Record the acceptable lines where others are refused.")
@click.option("--again", is_flag=True, help="Record a file's lines without an id once more, as new calls.")
@click.option(
    "--source",
    default="record",
    metavar="NAME",
    show_default=True,
    help="Whose ids these are: another source's same id is another call.  import:NAME marks imported calls.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print no event ids.")
@common_options
@pass_settings
def record(settings: Settings, file: str, partial: bool, again: bool, source: str, quiet: bool) -> None:
    """Record finished calls, one JSON object a line.

    A line names provider, model and usage_raw (the provider's own usage object), usage (buckets) or
    reported_cost_usd, and any other field of a call; time is when it began.  All lines are checked before one is
    written.  It prints the event ids, with --json an object a line.

    A line's id is its key: the same id is the same call, however often it is recorded.  Lines of a file without one
    are known by the file's content and their number, so that running the command again after a crash completes it.
    Lines on stdin without an id are new each time.
    """
    if re.fullmatch(SOURCE_PATTERN, source) is None:
        raise click.BadParameter(f"{source!r} must match {SOURCE_PATTERN}", param_hint="--source")
    with ExitStack() as stack:
        given = stack.enter_context(closing(Input(file)))
        if given.file.isatty():
            say("reading calls from the terminal, one JSON object a line; Ctrl-D ends")
        ledger = stack.enter_context(Ledger.open(settings.home_folder))
        recording = stack.enter_context(closing(Recording(ledger, given, source=source, by_content=not again)))
        with Progress("checking", hidden=quiet) as progress:
            recording.check(progress)
        for refusal in recording.refusals:
            say(f"{given.name} line {refusal.line}: {refusal.sentence}")
        if recording.refused and not partial:
            say(f"{_refused(recording, given)}, so nothing was written: mend them{_others(recording)}")
            raise click.exceptions.Exit(1)
        printer = Printer(as_json=settings.json is True, quiet=quiet)
        with Progress("recording", hidden=quiet) as progress:
            recording.write(printer, progress)
        for alert in recording.alerts:
            say(alert)
    if recording.refused:
        say(f"{_refused(recording, given)}; {recording.accepted:,} recorded")
        printer.close()
        raise click.exceptions.Exit(1)
    if not recording.accepted:
        say(f"{given.name} holds no calls")
    printer.close()


def _refused(recording: Recording, given: Input) -> str:
    total = recording.accepted + recording.refused
    shown = f" (the first {len(recording.refusals)} are named)" if recording.refused > len(recording.refusals) else ""
    return f"{recording.refused:,} of {total:,} calls in {given.name} {_are(recording.refused)} refused{shown}"


def _others(recording: Recording) -> str:
    if not recording.accepted:
        return ""
    return f", or record the other {recording.accepted:,} with --partial"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


class Printer:
    """Prints recorded calls.  Where that fails, or nobody reads them any more, recording goes on all the same."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._as_json = as_json
        self._quiet = quiet
        self._broken: BrokenPipeError | OutputLost | None = None

    def __call__(self, line: int, event: NewEvent) -> None:
        """Print one recorded call: its id, or an object."""
        if self._quiet or self._broken is not None:
            return
        try:
            sys.stdout.write((_as_json(line, event) if self._as_json else event.id) + "\n")
        except (BrokenPipeError, OutputLost) as error:
            self._broken = error

    def close(self) -> None:
        """Raise BrokenPipeError or OutputLost where it could not print all."""
        if self._broken is not None:
            raise self._broken


def _as_json(line: int, event: NewEvent) -> str:
    data = orjson.loads(event.data)
    shown = {
        "line": line,
        "id": event.id,
        "type": event.type,
        "status": data["status"],
        "cost_state": data["cost"]["state"],
        "cost_usd": data["cost"].get("total_usd"),
    }
    return orjson.dumps(shown).decode()
