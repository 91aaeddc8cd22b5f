"""Disks on which calls fail, die, fall short or are written down, and small histories to run on them."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from keledger.journal import AppendRefused, AppendUnknown, Home, HomeError, NewEvent
from keledger.journal._disk import Disk
from keledger.journal._writer import Appender
from tests.journal.support import events, note

CALLS = tuple(sorted(name for name, what in vars(Disk).items() if callable(what) and not name.startswith("_")))
"""Every call of the write path on the operating system: all that :class:`Disk` has."""

FAILURES = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EACCES, errno.EMFILE, errno.EINTR)
"""What each call is made to fail with."""

SMALL_SEGMENT_BYTES = 2300
"""Three events of :func:`append_script` fill such a segment; see the fixture ``small_segments``."""

Fault = Callable[[str], None]
"""What happens instead of a call, or just before it; it is told the call's name."""


def failing(code: int) -> Fault:
    """A fault that raises OSError."""

    def fault(name: str) -> None:
        raise OSError(code, os.strerror(code), name)

    return fault


def kill_me(_name: str = "") -> None:
    """A fault that ends the process at once, as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def ignore(_: object = None) -> None:
    """For whoever need not be told."""


class WatchedDisk(Disk):
    """The real disk, each call of it handed to :meth:`around`."""

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        return functools.partial(self.around, name, found) if name in CALLS else found

    def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Make the call, or do not.  *call* is the real one, bound to this disk."""
        return call(*arguments)


class FaultyDisk(WatchedDisk):
    """A disk on which *fault* happens at the *at*-th call, or from it on where it is *persistent*.

    Only the calls in *names* are counted; ``made`` has their names, the failed ones too.  With ``at=0`` nothing
    ever fails: that is how the calls of a history are counted.  A *late* fault comes after the call has had its effect.
    """

    def __init__(
        self,
        at: int = 0,
        fault: Fault = kill_me,
        names: Sequence[str] = CALLS,
        *,
        persistent: bool = False,
        late: bool = False,
    ) -> None:
        self.at, self.fault, self.names, self.persistent, self.late = at, fault, names, persistent, late
        self.made: list[str] = []

    def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Count, and let the fault happen first."""
        if name in self.names:
            self.made.append(name)
            if len(self.made) == self.at or (self.persistent and 0 < self.at < len(self.made)):
                if self.late or name == "close":  # a descriptor is gone, also where closing it fails
                    opened = call(*arguments)
                    if name.startswith(("open_", "create_")):
                        os.close(opened)
                self.fault(name)
        return call(*arguments)


class ShortWrites(WatchedDisk):
    """A disk that takes only the first *keep* bytes of its *at*-th write."""

    def __init__(self, at: int, keep: int) -> None:
        self.at, self.keep, self.writes = at, keep, 0

    def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Cut the data of one write."""
        if name == "write":
            self.writes += 1
            descriptor, data = arguments
            return call(descriptor, data[: self.keep] if self.writes == self.at else data)
        return call(*arguments)


@dataclass(frozen=True, slots=True)
class Step:
    """One call that was made: on which file, and through a descriptor that was opened at which step."""

    call: str
    path: Path | None
    opened_at: int | None = None
    failed: bool = False


class RecordingDisk(WatchedDisk):
    """A disk that writes down what is done to which file, in ``trace``."""

    def __init__(self) -> None:
        self.trace: list[Step] = []
        self._open: dict[int, tuple[Path, int]] = {}

    def around(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Note the call when it has returned, or failed."""
        subject = arguments[-1] if name in ("link", "replace") else arguments[0]
        path, opened_at = self._open.get(subject, (None, None)) if isinstance(subject, int) else (Path(subject), None)
        try:
            result = call(*arguments)
        except OSError:
            self.trace.append(Step(name, path, opened_at, failed=True))
            raise
        self.trace.append(Step(name, path, opened_at))
        if name.startswith(("open_", "create_")) and path is not None:
            self._open[result] = (path, len(self.trace) - 1)
        elif name == "close":
            self._open.pop(subject, None)
        return result

    def path_at(self, index: int) -> Path:
        """The file of a step that is known to have one."""
        path = self.trace[index].path
        assert path is not None
        return path

    def steps(self, call: str, path: Path | None = None) -> list[int]:
        """Where in the trace this was done (to this file)."""
        return [
            index for index, step in enumerate(self.trace) if step.call == call and (path is None or step.path == path)
        ]


@dataclass(slots=True)
class Outcomes:
    """What appending said of each event, by id."""

    done: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


SCRIPT_EVENTS = 6


def script_events() -> list[NewEvent]:
    """The events of :func:`append_script`, with new ids."""
    return [note(f"{number}" + "x" * 300) for number in range(SCRIPT_EVENTS)]


def append_script(home: Home, disk: Disk | None = None, acknowledged: Callable[[str], object] = ignore) -> None:
    """Six events, one append each: a first open, appends and, with ``small_segments``, rotations.

    What fails is sent once more under its id; *acknowledged* is told each id when its append has returned.
    """
    appender = Appender(home, disk=disk)
    try:
        for event in script_events():
            try:
                appender.append([event])
            except (AppendRefused, AppendUnknown, HomeError):
                appender.append([event])
            acknowledged(event.id)
    finally:
        appender.close()


def append_once(home: Home, disk: Disk | None, events_to_send: Sequence[NewEvent]) -> Outcomes:
    """Each event sent once, whatever comes of it.  A home that cannot be used has refused it, too."""
    outcomes = Outcomes()
    appender = Appender(home, disk=disk)
    try:
        for event in events_to_send:
            try:
                appender.append([event])
            except AppendUnknown:
                outcomes.unknown.append(event.id)
            except (AppendRefused, HomeError):
                outcomes.refused.append(event.id)
            else:
                outcomes.done.append(event.id)
    finally:
        appender.close()
    return outcomes


def script_calls(folder: Path) -> list[str]:
    """The names of the calls that :func:`append_script` makes, in order."""
    disk = FaultyDisk()
    append_script(Home.at(folder / "counted"), disk)
    return disk.made


def counted_ids(home: Home) -> list[str]:
    """Ids of the events that :func:`note` made, each once, as a report counts them."""
    return list(dict.fromkeys(event["id"] for event in events(home) if event["type"] == "test.noted"))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended, and what it had told until then."""

    status: int
    """Its exit status; minus the signal's number where one ended it."""
    told: list[str]

    @property
    def killed(self) -> bool:
        """Whether ``kill -9`` ended it."""
        return self.status == -signal.SIGKILL


Tell = Callable[[str], object]


def in_child(action: Callable[[Tell], object]) -> Ended:
    """Run *action* in a forked child, which may be killed at any moment; it tells lines through its argument."""
    with started_child(action) as child:
        return child.ended()


class Child:
    """A forked child that runs, and a pipe on which it tells lines."""

    def __init__(self, pid: int, receive: int) -> None:
        self.pid, self._receive = pid, receive
        self._status: int | None = None

    def wait_for_line(self) -> str:
        """The next line that the child tells; empty where it has ended."""
        line = bytearray()
        while (byte := os.read(self._receive, 1)) not in (b"", b"\n"):
            line += byte
        return line.decode()

    def send(self, number: int) -> None:
        """Send the child a signal."""
        os.kill(self.pid, number)

    def ended(self) -> Ended:
        """Wait for its end."""
        told = bytearray()
        while block := os.read(self._receive, 65536):
            told += block
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return Ended(self._status, told.decode().split())

    def wait(self) -> int:
        """Wait for its end, though a child of its own keeps the pipe open, and return its status."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status

    def close(self) -> None:
        """Kill it where it still runs, and reap it."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self._receive)


@contextlib.contextmanager
def started_child(action: Callable[[Tell], object]) -> Iterator[Child]:
    """A forked child that runs *action*; it is killed and reaped at the end, if it has not ended by then."""
    receive, send = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads: none of them holds what the child needs
        pid = os.fork()
    if pid == 0:
        _run(action, receive, send)
    os.close(send)
    child = Child(pid, receive)
    try:
        yield child
    finally:
        child.close()


def _run(action: Callable[[Tell], object], receive: int, send: int) -> NoReturn:
    try:
        os.close(receive)
        action(lambda line: os.write(send, f"{line}\n".encode()))
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing of the parent may go on running here
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)
