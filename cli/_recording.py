"""Calls on their way from lines to the journal: every line checked, the good ones kept aside, then written."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, BinaryIO

import orjson

from keledger.journal import AppendRefused, AppendUnknown, InputRefused, KeledgerError, Ledger, NewEvent
from keledger.journal import _limits as limits

from ._json_lines import JsonLine, JsonLines

REFUSALS_KEPT_MAX = 20
"""A file of another kind has a refusal on every line; the first few say it all."""

KEPT_IN_MEMORY_BYTES_MAX = 64 * 1024 * 1024
"""Checked calls beyond this wait in a temporary file, so that a file of any size can be recorded."""

ENVELOPE_BYTES_MAX = 512
"""What a line adds to an event's data, rounded up."""

OnProgress = Callable[[int, int], None]


class Input:
    """What is to be recorded: an open file, its name for messages, and its content's hash where it is a plain file."""

    def __init__(self, path: str) -> None:
        """Open the file at *path*, or stdin for ``-``.  Raises KeledgerError where it cannot be read."""
        self.name = "stdin" if path == "-" else path
        self.sha256: str | None = None
        self.length_bytes = 0
        self.file: BinaryIO = sys.stdin.buffer
        if path != "-":
            try:
                file = open(path, "rb")  # noqa: SIM115 - close() closes it
                self.file = file
                self._look_at(file)
            except IsADirectoryError:
                raise KeledgerError(f"{path} is a folder: give a file of JSON lines, or - for stdin") from None
            except OSError as error:
                raise KeledgerError(f"{path} cannot be read: {error.strerror}") from None

    def _look_at(self, file: BufferedReader) -> None:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode):  # a pipe can be read only once, so nothing is known of it beforehand
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            self.length_bytes = file.tell()
            file.seek(0)

    def close(self) -> None:
        """Close the file, unless it is stdin."""
        if self.file is not sys.stdin.buffer:
            self.file.close()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that cannot be recorded, and why."""

    line: int
    sentence: str


class Recording:
    """One input's calls.  *source* is the namespace of their ids.

    With *by_content* a file's lines without an id are known by the file's hash and their number; otherwise, and on
    a stream, they are new each time.
    """

    def __init__(self, ledger: Ledger, given: Input, *, source: str, by_content: bool) -> None:
        self._ledger, self._given, self._source = ledger, given, source
        self._by_content = by_content and given.sha256 is not None
        self._kept = tempfile.SpooledTemporaryFile(KEPT_IN_MEMORY_BYTES_MAX)  # noqa: SIM115 - close() closes it
        self._meanings: dict[str, tuple[int, bytes]] = {}
        self.accepted = 0
        self.refused = 0
        self.refusals: list[Refusal] = []
        """The first of those refused."""
        self.alerts: list[str] = []
        """Thresholds of budgets that were reached, a sentence each."""

    def close(self) -> None:
        """Give the temporary file back."""
        self._kept.close()

    def check(self, on_progress: OnProgress) -> None:
        """Read and check every line; *on_progress* is told bytes read and bytes in all, where that is known.

        Raises InputRefused where the input is not made of lines, or became another one while it was read.
        """
        lines = JsonLines(self._given.file)
        for line in lines:
            if line.opens_only and not self.accepted and not self.refused:
                raise InputRefused(
                    f"{self._given.name} line {line.number} is only the beginning of a JSON value: record takes one "
                    "call a line; jq -c . puts each on one"
                )
            try:
                self._keep(line.number, self._event(line))
            except InputRefused as problem:
                self._refuse(line.number, str(problem))
            if self._given.length_bytes:
                on_progress(lines.bytes_read, self._given.length_bytes)
        if self._given.sha256 not in (None, lines.sha256):
            raise InputRefused(f"{self._given.name} changed while it was read: nothing was written; run it again")

    def _event(self, line: JsonLine) -> NewEvent:
        if line.problem is not None:
            raise InputRefused(line.problem)
        _refuse_mistakes(line.value)
        if isinstance(line.value, dict) and line.value.get("id") is None:
            line.value.pop("id", None)  # null is no key
        key = f"{self._given.sha256}:{line.number}" if self._by_content else None
        event = self._ledger.event_of(line.value, source=self._source, key=key)
        if "id" in line.value:
            self._refuse_second_meaning(line, event)
        return event

    def _refuse_second_meaning(self, line: JsonLine, event: NewEvent) -> None:
        """In the journal the first would count; in one input it is a mistake that can still be mended."""
        meaning = bytes.fromhex(orjson.loads(event.data)["input_sha256"])
        first, known = self._meanings.setdefault(event.id, (line.number, meaning))
        if known != meaning:
            raise InputRefused(f"its id stands on line {first} already, with another content: an id is one call")

    def _keep(self, number: int, event: NewEvent) -> None:
        self.accepted += 1
        self._kept.write(b"%d %b %b %b\n" % (number, event.id.encode(), event.type.encode(), event.data))

    def _refuse(self, number: int, sentence: str) -> None:
        self.refused += 1
        if len(self.refusals) < REFUSALS_KEPT_MAX:
            self.refusals.append(Refusal(number, sentence))

    def write(self, on_recorded: Callable[[int, NewEvent], None], on_progress: OnProgress) -> None:
        """Append what was kept, at most 4 MiB under one lock and sync, and tell of each call when it is durable.

        Raises what appending raises, with how far it came.
        """
        done = 0
        for batch in self._batches():
            try:
                self.alerts += self._ledger.append_events([event for _, event in batch])
            except (AppendRefused, AppendUnknown) as error:
                raise type(error)(f"{error}; {self._how_far(done)}") from error
            for number, event in batch:
                on_recorded(number, event)
            done += len(batch)
            on_progress(done, self.accepted)

    def _how_far(self, done: int) -> str:
        if self._by_content:
            return f"{done:,} of {self.accepted:,} calls are recorded: running it again completes it"
        return f"{done:,} of {self.accepted:,} calls are recorded: give the others again"

    def _batches(self) -> Iterator[list[tuple[int, NewEvent]]]:
        self._kept.seek(0)
        batch: list[tuple[int, NewEvent]] = []
        length = 0
        for line in self._kept:
            number, event_id, event_type, data = line.rstrip(b"\n").split(b" ", 3)
            if batch and length + len(data) + ENVELOPE_BYTES_MAX > limits.BATCH_BYTES_MAX:
                yield batch
                batch, length = [], 0
            batch.append((int(number), NewEvent(event_type.decode(), event_id.decode(), data)))
            length += len(data) + ENVELOPE_BYTES_MAX
        if batch:
            yield batch


def _refuse_mistakes(value: Any) -> None:
    """Raise InputRefused, with better advice than "unknown field", for what people give instead of a call."""
    if isinstance(value, list):
        raise InputRefused("it is a list, not a call: jq -c '.[]' makes lines of a list")
    if isinstance(value, dict) and "specversion" in value:
        raise InputRefused("it is an event, not a call: keledger merge DIR takes in the events of another journal")
