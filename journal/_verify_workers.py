"""Checking segments in processes of their own: hashing and parsing hold the GIL, so threads would not help.

A worker is ``sys.executable`` with the parent's ``sys.path``: it works in a script without a ``__main__`` guard, in a
notebook and in a forked server alike.  Tasks go to its stdin, one JSON object a line; answers come from its stdout in
frames.  Whatever goes wrong with a worker, its segment is not in the answer, and the caller checks that itself.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import struct
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from ._segment import Finding, SegmentScan
from ._verify_segment import Depth, FirstEvent, SegmentCheck, check_segment

WORKERS_MAX = 8
"""More seldom help: then memory or the disk is what is waited for."""

WORKERS_PAY_BYTES = 96 * 1024 * 1024
"""Two workers start in some 0.15 s, in which one process checks 15 to 60 MB; a smaller journal is done as soon."""

WORKER_START_S = 10.0
"""A worker that has not said by then that it is there is given up: ``sys.executable`` may be no Python at all."""

_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from {module} import serve; serve()"
_FRAME = struct.Struct(">8sII")
_MAGIC = b"keledger"
_BLOBS = ("ids", "digests", "id_ends")
_READ_BYTES = 1024 * 1024


class Task(NamedTuple):
    """A segment to be checked from the hash that its own first line states."""

    path: Path
    previous: bytes
    length: int | None


def worker_count(tasks: int, bytes_in_all: int) -> int:
    """How many workers pay for a journal; 0 where none does, or none can be started."""
    frozen = getattr(sys, "frozen", False)  # then sys.executable is the frozen program itself
    if tasks < 2 or bytes_in_all < WORKERS_PAY_BYTES or not sys.executable or frozen:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(tasks, cores, WORKERS_MAX) if cores > 1 else 0


def check_in_workers(
    tasks: Sequence[Task], depth: Depth, workers: int, on_bytes: Callable[[Path, int], None]
) -> dict[Path, SegmentCheck]:
    """Check segments in *workers* processes.  What a worker did not bring to an end is missing from the result.

    *on_bytes* is told, in this thread, how many bytes of which segment were read.
    """
    return _Pool(tasks, depth, on_bytes).run(workers)


class _Pool:
    """Workers, what they are at, and what is still to be done."""

    def __init__(self, tasks: Sequence[Task], depth: Depth, on_bytes: Callable[[Path, int], None]) -> None:
        self._waiting = deque(tasks)
        self._depth, self._on_bytes = depth, on_bytes
        self._workers: list[_Worker] = []
        self._done: dict[Path, SegmentCheck] = {}

    def run(self, workers: int) -> dict[Path, SegmentCheck]:
        deadline = time.monotonic() + WORKER_START_S
        with selectors.DefaultSelector() as selector:
            try:
                self._start(workers, selector)
                while self._workers:
                    starting = any(worker.task is None for worker in self._workers)
                    heard = selector.select(max(0.0, deadline - time.monotonic()) if starting else None)
                    for key, _ in heard:
                        self._hear(key.data, selector)
                    if not heard:
                        self._give_up_silent(selector)
            finally:
                for worker in self._workers:
                    worker.end()
        return self._done

    def _start(self, workers: int, selector: selectors.BaseSelector) -> None:
        for _ in range(workers):
            try:
                worker = _Worker()
            except OSError:  # there is no such program, or there may be no more processes
                return
            self._workers.append(worker)
            selector.register(worker.output, selectors.EVENT_READ, worker)

    def _hear(self, worker: _Worker, selector: selectors.BaseSelector) -> None:
        """Take what a worker says; let go of one that is gone, talks nonsense or has nothing left to do."""
        try:
            messages = worker.messages()
        except (_WorkerGone, OSError, ValueError):
            return self._let_go(worker, selector)
        for message, blob in messages:
            task = worker.task
            if task is not None and "bytes" in message:
                self._on_bytes(task.path, message["bytes"])
                continue
            if task is not None and "check" in message:
                check = self._done[task.path] = _unpacked(task, message["check"], blob)
                self._on_bytes(task.path, check.scan.end)
            if not self._waiting:
                return self._let_go(worker, selector)
            try:
                worker.give(self._waiting.popleft(), self._depth)
            except OSError:
                return self._let_go(worker, selector)
        return None

    def _give_up_silent(self, selector: selectors.BaseSelector) -> None:
        for worker in [worker for worker in self._workers if worker.task is None]:
            self._let_go(worker, selector)

    def _let_go(self, worker: _Worker, selector: selectors.BaseSelector) -> None:
        selector.unregister(worker.output)
        self._workers.remove(worker)
        worker.end()


class _WorkerGone(Exception):
    """A worker has ended, or what it says is not understood."""


class _Worker:
    """One process, as its parent sees it."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", _PROGRAM.format(module=__name__)]
        self._process = subprocess.Popen(
            [*command, *(entry for entry in sys.path if isinstance(entry, str))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        self._received = bytearray()
        self.task: Task | None = None

    @property
    def output(self) -> Any:
        """What the worker writes."""
        return self._process.stdout

    def give(self, task: Task, depth: Depth) -> None:
        """Hand over the next task.  Raises OSError where the worker is gone."""
        self.task = task
        assert self._process.stdin is not None
        request = {"path": str(task.path), "previous": task.previous.hex(), "length": task.length, "depth": depth}
        self._process.stdin.write(orjson.dumps(request, option=orjson.OPT_APPEND_NEWLINE))

    def messages(self) -> list[tuple[dict[str, Any], bytes]]:
        """What has come in whole.  Raises _WorkerGone at the end."""
        received = os.read(self.output.fileno(), _READ_BYTES)
        if not received:
            raise _WorkerGone
        self._received += received
        messages = []
        while len(self._received) >= _FRAME.size:
            magic, text_length, blob_length = _FRAME.unpack_from(self._received)
            if magic != _MAGIC:
                raise _WorkerGone
            blob_start = _FRAME.size + text_length
            end = blob_start + blob_length
            if len(self._received) < end:
                break
            message = orjson.loads(self._received[_FRAME.size : blob_start])
            messages.append((message, bytes(self._received[blob_start:end])))
            del self._received[:end]
        return messages

    def end(self) -> None:
        """End the process, whatever it is at."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def serve() -> None:
    """A worker's whole life: answer each line of stdin, until its end or until nobody listens."""
    _send(sys.stdout.buffer, {"ready": True})
    for line in sys.stdin.buffer:
        request = orjson.loads(line)
        try:
            check = check_segment(
                Path(request["path"]),
                bytes.fromhex(request["previous"]),
                depth=request["depth"],
                length=request["length"],
                on_bytes=lambda done: _send(sys.stdout.buffer, {"bytes": done}),
            )
        except OSError:  # the parent will meet it, too, and tell
            _send(sys.stdout.buffer, {"failed": True})
        else:
            _send(sys.stdout.buffer, {"check": _packed(check)}, _blob(check))


def _send(stream: BinaryIO, message: Mapping[str, Any], blob: bytes = b"") -> None:
    text = orjson.dumps(message)
    stream.write(_FRAME.pack(_MAGIC, len(text), len(blob)) + text)
    stream.write(blob)
    stream.flush()


def _packed(check: SegmentCheck) -> dict[str, Any]:
    """A check as JSON; its bytes follow in one blob."""
    scan = check.scan
    return {
        "scan": {
            "end": scan.end,
            "last_hash": scan.last_hash.hex(),
            "lines": scan.lines,
            "line_number": scan.line_number,
            "runs": scan.runs,
            "findings": scan.findings,
            "torn_at": scan.torn_at,
        },
        "first": check.first and [*check.first],
        "last_seq": check.last_seq,
        "highest_seq": check.highest_seq,
        "last_tick": check.last_tick,
        "types": check.types,
        "unknown": check.unknown,
        "books": check.books,
        "merged": check.merged,
        "lengths": [len(part) for part in _blobs(check)],
    }


def _blobs(check: SegmentCheck) -> list[bytes]:
    return [check.scan.last_line, *(getattr(check, name) for name in _BLOBS)]


def _blob(check: SegmentCheck) -> bytes:
    return b"".join(_blobs(check))


def _unpacked(task: Task, packed: dict[str, Any], blob: bytes) -> SegmentCheck:
    parts, start = [], 0
    for length in packed["lengths"]:
        parts.append(blob[start : start + length])
        start += length
    found = packed["scan"]
    scan = SegmentScan(
        end=found["end"],
        last_hash=bytes.fromhex(found["last_hash"]),
        last_line=parts[0],
        lines=found["lines"],
        line_number=found["line_number"],
        runs=[(start, end) for start, end in found["runs"]],
        findings=[Finding(**finding) for finding in found["findings"]],
        torn_at=found["torn_at"],
    )
    return SegmentCheck(
        task.path,
        task.previous,
        task.length,
        scan,
        first=FirstEvent(*packed["first"]) if packed["first"] else None,
        last_seq=packed["last_seq"],
        highest_seq=packed["highest_seq"],
        last_tick=packed["last_tick"],
        types=Counter(packed["types"]),
        unknown=packed["unknown"],
        books=packed["books"],
        merged=[(offset, position) for offset, position in packed["merged"]],
        **dict(zip(_BLOBS, parts[1:], strict=True)),
    )
