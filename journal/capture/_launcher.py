"""``keledger run``: start a command whose model calls are journaled, and stay until all of them are.

The command comes first.  Nothing heavy is imported before it runs, no fault of keledger's keeps it from running,
and it has the stdout, terminal, signals and exit status that it would have alone.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time

TYPE_CHECKING = False  # as typing has it, whose import would take longer than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn

    from ._foresight import Estimating
    from ._foresight_server import ForesightServer
    from ._recorder import Recorder

ON_PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "on_path")
"""What goes in front of PYTHONPATH."""

ADDRESS_BYTES_MAX = 100
"""A unix socket's address has room for 108 bytes on Linux and 104 on macOS, a closing NUL included."""

ASKING = "asking"
"""A file beside the socket: whose turn it is to ask the user something (``asking.py``)."""

BACKLOG = 128
"""Connections that may wait to be taken while the ledger is being imported."""

DRAIN_WAIT_S = 2.0
"""How long calls are waited for that the command's own children still have under way when it has ended."""

FROM_KEYBOARD = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)
"""The terminal sends these to the command too, so they are passed on only where they did not come from there."""

PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT)

IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python ignores these from its start; the command gets them as other programs do."""

JOB_CONTROL = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
"""Where one of these stops the command, the launcher stops as well, so that the shell takes notice."""


class CommandNotStarted(Exception):
    """The command could not be started.  ``status`` is a shell's: 127 not found, 126 found but not executable."""

    def __init__(self, command: str, error: OSError) -> None:
        found = not isinstance(error, FileNotFoundError)
        super().__init__(f"{command}: " + (f"cannot be executed: {error.strerror}" if found else "command not found"))
        self.status = 126 if found else 127


class Outcome:
    """How a run ended: the command's status as a shell gives it, the run's id, and what became of its calls."""

    def __init__(self, status: int, run: str, server: ForesightServer | None, budget: Mapping[str, Any] | None) -> None:
        self.status = status
        self.run = run
        self.recorded = server.recorded if server else 0
        self.spooled = server.spooled if server else 0
        self.unsent = server.unsent if server else 0
        self.refused = server.refused if server else 0
        self.unconfirmed = server.unconfirmed if server else 0
        self.expected_usd = list(server.expected_usd.values()) if server else []
        """What each of the calls that were estimated and sent was expected to cost (p50); None where nobody knew."""
        self.estimates = server.foresight.estimates if server else []
        """What was told where only estimates were asked for."""
        self.budget = budget
        """How the run's own budget stands, as :meth:`Ledger.covers` tells it; None without one."""


def launch(
    command: list[str],
    *,
    home: str,
    flags: Mapping[str, object],
    say: Callable[[str], None],
    open_estimating: Callable[[], Estimating],
    statements: bool = False,
    output: int | None = None,
) -> Outcome:
    """Run *command* and journal its model calls in *home*.

    *flags* are the attributes given to ``keledger run``, as ``budget`` what it may cost, and what is to be estimated
    or confirmed; *say* takes a sentence for the user; *statements* turns on ``.budget`` and ``.cost_check``;
    *open_estimating* makes what estimates calls, when one is to be; *output* is a file for what the command writes to
    stdout and stderr, else it has ours.  Inside another run with the same home the command simply takes this process's
    place, under the outer launcher.  Raises CommandNotStarted.
    """
    inside = _is_inside_run_of(home)
    _inherit_flags(flags)
    if statements:
        os.environ["KELEDGER_STATEMENTS"] = "1"
    if inside:
        _become(command)
    run = os.environ.setdefault("KELEDGER_RUN", _new_run())
    os.environ["KELEDGER_HOME"] = home
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (ON_PATH, os.environ.get("PYTHONPATH"))))
    listener = _listen(say)
    server, budget = None, None
    try:
        signals = _hear_signals()
        child = Command(command, output)
        try:
            server = _attend(child, signals, listener, home, say, open_estimating)
            if server is not None:
                budget = _budget_of_run(server)
                server.close()
        except Exception as error:  # noqa: BLE001  a fault of keledger's is no reason to leave the command alone
            say(f"calls are not journaled from here on, they go to the spool: {type(error).__name__}: {error}")
            child.wait(signals)
    finally:
        if listener is not None:
            _remove(listener)
    return Outcome(child.status or 0, run, server, budget)


def _attend(
    child: Command,
    signals: int,
    listener: socket.socket | None,
    home: str,
    say: Callable[[str], None],
    open_estimating: Callable[[], Estimating],
) -> ForesightServer | None:
    """Stay until the command has ended and its calls are journaled.  None where no client ever came."""
    if not _client_comes(child, signals, listener):
        return None
    from ._foresight_server import ForesightServer

    server = ForesightServer(lambda: _open_ledger(home), say, open_estimating)
    if listener is not None:
        server.listen(listener)
    server.watch(signals, lambda: child.attend(signals))
    while child.status is None:
        server.serve(None)
    _drain(server)
    return server


def _client_comes(child: Command, signals: int, listener: socket.socket | None) -> bool:
    """Wait for the first client: what serves it is not even imported for a command that calls no model."""
    watched: list[int | socket.socket] = [signals] if listener is None else [signals, listener]
    while True:
        ended = child.status is not None
        readable = select.select(watched, (), (), 0 if ended else None)[0]
        if listener in readable:
            return True
        if ended:
            return False
        child.attend(signals)


class Command:
    """The command as a child process."""

    def __init__(self, command: list[str], output: int | None = None) -> None:
        actions = [] if output is None else [(os.POSIX_SPAWN_DUP2, output, number) for number in (1, 2)]
        try:
            self._pid = os.posix_spawnp(
                command[0], command, os.environ, file_actions=actions, setsigdef=IGNORED_BY_PYTHON
            )
        except OSError as error:
            raise CommandNotStarted(command[0], error) from None
        self.status: int | None = None
        """None while it runs; then as a shell has it, 128 + n where signal n ended it."""

    def wait(self, signals: int) -> None:
        """Stay until it has ended, and do nothing but that."""
        while self.status is None:
            select.select([signals], (), ())
            self.attend(signals)

    def attend(self, signals: int) -> None:
        """Act on the signals that have arrived: look after the child, or pass them on to it."""
        for number in os.read(signals, 512):
            if number == signal.SIGCHLD:
                self._look_after()
            elif self.status is None and not (number in FROM_KEYBOARD and _terminal_is_ours()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, number)

    def _look_after(self) -> None:
        while self.status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG | os.WUNTRACED)
            if pid == 0:
                return
            if not os.WIFSTOPPED(status):
                code = os.waitstatus_to_exitcode(status)
                self.status = code if code >= 0 else 128 - code
            elif os.WSTOPSIG(status) in JOB_CONTROL:
                os.kill(os.getpid(), signal.SIGSTOP)


def _is_inside_run_of(home: str) -> bool:
    address, outer_home = os.environ.get("KELEDGER_SOCKET"), os.environ.get("KELEDGER_HOME")
    if not address or not outer_home or os.path.realpath(outer_home) != os.path.realpath(home):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(address)
        except OSError:  # the outer launcher has ended
            return False
    return True


def _inherit_flags(flags: Mapping[str, object]) -> None:
    """Leave the flags to the clients; those of an inner run stand above those of an outer one, tag by tag.

    A budget an inner run can only tighten: it is a part of the outer one.  So is what is to be confirmed.
    """
    outer = os.environ.get("KELEDGER_RUN_FLAGS")
    if flags:
        import json

        merged: Any = {}
        with contextlib.suppress(ValueError):  # somebody else's idea of that variable
            merged = json.loads(outer) if outer else {}
        merged = merged if isinstance(merged, dict) else {}
        for name in merged.keys() & flags.keys() & {"budget", "confirm_above"}:
            from .declared import tighter

            flags = {**flags, name: tighter(merged[name], flags[name], or_zero=name == "confirm_above")}
        merged = {**merged, **flags, "tags": {**merged.get("tags", {}), **flags.get("tags", {})}}  # type: ignore[dict-item]
        os.environ["KELEDGER_RUN_FLAGS"] = json.dumps(merged, separators=(",", ":"))


def _become(command: list[str]) -> NoReturn:
    for number in IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise CommandNotStarted(command[0], error) from None


def _new_run() -> str:
    """A UUID of version 7 (RFC 9562), as the client makes them: importing one would take longer."""
    random = os.urandom(10).hex()
    variant = "89ab"[int(random[0], 16) % 4]
    digits = f"{time.time_ns() // 1_000_000:012x}7{random[1:4]}{variant}{random[4:19]}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _listen(say: Callable[[str], None]) -> socket.socket | None:
    """Listen at a socket that only this user can reach, in a folder of its own, and leave its address."""
    problem = "no folder is left to try"
    for base in (os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("TMPDIR"), "/tmp"):  # noqa: S108
        folder = f"{base}/keledger-{os.urandom(6).hex()}"
        if not base or len(os.fsencode(f"{folder}/calls")) > ADDRESS_BYTES_MAX:
            continue
        try:
            os.mkdir(folder, 0o700)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            previous = os.umask(0o177)
            try:
                listener.bind(f"{folder}/calls")
            finally:
                os.umask(previous)
            listener.listen(BACKLOG)
        except OSError as error:
            problem = f"{folder}: {error.strerror}"
            continue
        os.environ["KELEDGER_SOCKET"] = f"{folder}/calls"
        return listener
    say(f"no socket can be made ({problem}), so the calls of this run go to the spool")
    os.environ.pop("KELEDGER_SOCKET", None)
    return None


def _remove(listener: socket.socket) -> None:
    address = listener.getsockname()
    listener.close()
    folder = os.path.dirname(address)
    for path in (address, f"{folder}/{ASKING}"):
        with contextlib.suppress(OSError):
            os.unlink(path)
    with contextlib.suppress(OSError):
        os.rmdir(folder)


def _hear_signals() -> int:
    """Have signals come as bytes out of a pipe, and survive them: what is under way is to be journaled."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, *FROM_KEYBOARD, *PASSED_ON):
        # What was ignored from the start stays so, for the command too: nohup, a shell's background jobs.
        if number == signal.SIGCHLD or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: None)
    return reading


def _terminal_is_ours() -> bool:
    """Whether this process is in the foreground of a terminal, where the keyboard's signals reach everyone."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _open_ledger(home: str) -> Recorder:
    # With what the closing line needs: now it is loaded while the command goes on, later somebody would wait.
    from keledger.journal import Ledger, tail_totals  # noqa: F401

    from .client import run_flags

    ledger = Ledger.open(home)
    ledger.prepare(guarded="budget" in run_flags())
    return ledger


def _budget_of_run(server: ForesightServer) -> Mapping[str, Any] | None:
    """How the run's own budget stands, once a call was made or refused under it."""
    from .client import run_flags, uuid7

    limit = run_flags().get("budget")
    if limit is None or not (server.recorded or server.refused or server.unsent):
        return None
    asked = {"id": uuid7(), "run": os.environ["KELEDGER_RUN"], "declared": [{"scope": "run", "limit_usd": limit}]}
    return next((row for row in server.covers(asked) if row["declared"] == "run"), None)


def _drain(server: ForesightServer) -> None:
    """Take what the command has left behind: messages not read yet, and for a while calls of its own children."""
    deadline = time.monotonic() + DRAIN_WAIT_S
    while server.serve(0) or server.has_calls:
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            return
        server.serve(min(remaining_s, 0.1) if server.has_calls else 0)
