"""keledger's side of the line: one thread that serves all clients of a run, and journals what they say.

The launcher and the helper both run it.  Whoever waits for `go` in front of a request has it from the ledger, for a
budget may be in the way; the ledger, whose import takes the time, is opened when a client has said `hello` and nobody
waits.  A fault of keledger's lets the call go, except where a budget stands that blocks.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ._foresight import Estimating, Foresight, Wanted, must_be_confirmed, sentences, wanted
from .client import (
    PROTOCOL,
    budget_blocks,
    confirmation_stands,
    encode,
    home_folder,
    keep,
    run_flags,
    says_to_confirm,
    spool_folder,
)

if TYPE_CHECKING:
    from keledger.journal.estimates import Estimate

LINE_BYTES_MAX = 1024 * 1024
"""A longer line is no message: the usage object, the largest part of one, is held to a quarter of this."""

REQUEST_BYTES_MAX = 256 * 1024 * 1024
"""The same, for a client whose request is to be estimated: above what providers take."""

READ_BYTES = 256 * 1024

WHAT_ESTIMATES = frozenset(("confirm_above", "estimate", "estimates"))
"""Flags of a run by which each of its calls is estimated."""

ANSWERS = ("yes", "no", "no_terminal")
"""What a client may answer to a question, as the journal has it."""

COVERED_ROWS_MAX = 200
"""What covers a call is told in one line, which must fit in what a socket takes at once."""


class Recorded(Protocol):
    """What became of a call: in the journal, or, with the reason why, in the spool."""

    @property
    def journaled(self) -> bool: ...

    @property
    def problem(self) -> str | None: ...

    @property
    def alerts(self) -> Sequence[str]: ...


class Reserved(Protocol):
    """A hold on budgets; ``alerts`` are sentences for the user."""

    @property
    def alerts(self) -> Sequence[str]: ...


class Recorder(Protocol):
    """What a server needs of a Ledger."""

    def reserve(self, begin: Mapping[str, Any]) -> Reserved | None: ...

    def release(self, call_id: str) -> None: ...

    def covers(self, begin: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]: ...

    def confirm_above(self, begin: Mapping[str, Any]) -> str | None: ...

    def record_estimate(
        self, told: Mapping[str, Any], begin: Mapping[str, Any], *, confirm: Mapping[str, str] | None = None
    ) -> str: ...

    def record_choice(self, chosen: Mapping[str, Any], begin: Mapping[str, Any]) -> str: ...

    def record_hook(self, begin: Mapping[str, Any], end: Mapping[str, Any] | None) -> Recorded: ...

    def close(self) -> None: ...


class CallServer:
    """Serves the clients of one run: :meth:`listen` or :meth:`adopt`, then :meth:`serve` again and again.

    *open_ledger* is called once, when a client is there; *open_estimating*, where there is one, when a call is first
    to be estimated.  *say* takes a sentence for the user.  ``recorded``
    counts the calls that were handed to the ledger, ``spooled`` those that wait in the spool instead, ``unsent``
    those whose request never left, ``refused`` those that a budget did not let go, ``unconfirmed`` those that the user
    did not.
    """

    def __init__(
        self,
        open_ledger: Callable[[], Recorder],
        say: Callable[[str], None],
        open_estimating: Callable[[], Estimating] | None = None,
    ) -> None:
        self.recorded = 0
        self.spooled = 0
        self.unsent = 0
        self.refused = 0
        self.unconfirmed = 0
        self.expected_usd: dict[str, str | None] = {}
        """What the calls that were sent were expected to cost (p50), by their ids; None where nobody knew."""
        self.foresight = Foresight(open_estimating) if open_estimating is not None else None
        self._open_ledger = open_ledger
        self._say = say
        self._selector = selectors.DefaultSelector()
        self._clients: set[_Client] = set()
        self._ledger: Recorder | None = None
        self._ledger_wanted = False
        self._foresight_wanted = False
        self._ledger_problem: str | None = None
        self._said = False

    def listen(self, listener: socket.socket) -> None:
        """Take the connections of this user's processes."""
        listener.setblocking(False)
        self.watch(listener, lambda: self._accept(listener))

    def adopt(self, connection: socket.socket) -> None:
        """Serve a connection that is there already."""
        connection.setblocking(False)
        client = _Client(connection)
        self._clients.add(client)
        self.watch(connection, lambda: self._read(client))

    def watch(self, readable: socket.socket | int, callback: Callable[[], None]) -> None:
        """Call *callback* from :meth:`serve` when *readable* can be read."""
        self._selector.register(readable, selectors.EVENT_READ, callback)

    @property
    def has_clients(self) -> bool:
        """Whether anybody is connected."""
        return bool(self._clients)

    @property
    def has_calls(self) -> bool:
        """Whether a call is under way."""
        return any(client.calls for client in self._clients)

    def serve(self, wait_s: float | None) -> bool:
        """Wait for something to do, at most *wait_s* (None: for ever), and do it.  Whether there was anything."""
        events = self._selector.select(0 if self._ledger_wanted or self._foresight_wanted else wait_s)
        for key, _ in events:
            key.data()
        if not events and self._ledger_wanted:
            self._opened_ledger()
            return True
        if not events and self._foresight_wanted:
            self._foresight_wanted = False
            with contextlib.suppress(Exception):  # told where a call needs it
                self._foresight().estimating.prepare()
            return True
        return bool(events)

    def close(self) -> None:
        """Stop.  Calls still under way are left to their clients, which notice and keep them in the spool."""
        for client in self._clients:
            client.connection.close()
        self._selector.close()
        if self._ledger is not None:
            self._ledger.close()

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # gone again before it was taken
        if is_own_user(connection):
            self.adopt(connection)
        else:
            connection.close()

    def _read(self, client: _Client) -> None:
        try:
            received = client.connection.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._client_died(client)
            return
        try:
            for line in client.lines(received):
                self._handle(client, json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            # It does not speak this protocol.  Once cut off, a client of ours keeps its calls in the spool.
            self._drop(client)

    def _handle(self, client: _Client, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "hello":
            if message["protocol"] != PROTOCOL:
                raise ValueError("another protocol")
            self._ledger_wanted = self._ledger is None and self._ledger_problem is None
            # What estimates takes half a second to load, in which the client's own imports go on.
            self._foresight_wanted = self.foresight is not None and not WHAT_ESTIMATES.isdisjoint(run_flags())
        elif kind == "begin":
            self._admit(client, message["begin"])
        elif kind == "request":
            self._estimate(client, message["begin"], message["request"])
        elif kind == "choose":
            self._choose(client, message)
        elif kind == "answer":
            self._take_answer(client, message["begin"], message["answer"])
        elif kind == "covers":
            begin = message["begin"]
            client.reply("covered", begin["id"], rows=self.covers(begin))
        elif kind == "end":
            begin = message["begin"]
            client.calls.pop(begin["id"], None)
            client.shows.pop(begin["id"], None)
            if client.last_ended != begin["id"]:  # told again after an interrupt
                client.last_ended = begin["id"]
                self._record(begin, message["end"])
            client.reply("done", begin["id"])
        elif kind == "unsent":
            self._take_back(client, message["id"])

    def covers(self, begin: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What the budgets that cover a call have left, as :meth:`Ledger.covers` tells it; nothing where it cannot."""
        ledger = self._opened_ledger()
        try:
            return [dict(row) for row in ledger.covers(begin)][:COVERED_ROWS_MAX] if ledger is not None else []
        except Exception as error:  # noqa: BLE001  nobody's call may end for a question
            self._say(f"budgets cannot be told: {_reason(error)}")
            return []

    def _admit(self, client: _Client, begin: dict[str, Any]) -> None:
        """Let a call go, or refuse it, once the ledger has said which; one to be estimated is to be shown first."""
        try:
            wants = self._wanted(begin)
        except Exception as error:  # noqa: BLE001  an amount that is none; a fault only where leave must be had
            if _is_told(error) or _is_to_be_confirmed(begin):
                self._refuse(client, begin, _reason(error))
                return
            self._say(f"it cannot be told whether a call is to be confirmed: {_reason(error)}")
            wants = None
        if wants is None:
            self._decide(client, begin)
        else:
            client.shows[begin["id"]] = wants
            client.reply("show", begin["id"], blocks=wants.blocks)

    def _wanted(self, begin: dict[str, Any]) -> Wanted | None:
        """Why a call is to be estimated; None where it is not."""
        if self.foresight is None:
            return None
        ledger = self._opened_ledger(again=_is_to_be_confirmed(begin))
        if ledger is not None:
            return wanted(begin, ledger.confirm_above(begin))
        from keledger.journal._attributes import confirm_above
        from keledger.journal._errors import HomeError

        if says_to_confirm(home_folder() / "config.toml"):
            raise HomeError(f"{self._ledger_problem}; and it says which calls are to be confirmed")
        return wanted(begin, confirm_above(_flags(begin), begin.get("cwd"), {}))

    def _estimate(self, client: _Client, begin: dict[str, Any], request: object) -> None:
        """Estimate a call that was shown, and go on as it was wanted."""
        wants = client.shows.pop(begin["id"])
        foresight, limit_usd = self._foresight(), wants.confirm_above_usd
        try:
            found = foresight.estimating.estimate(begin, request)
        except Exception as error:  # noqa: BLE001  whatever it is, it is told
            problem = f"this call cannot be estimated: {_reason(error)}"
            if wants.only:
                self._refuse(client, begin, problem)
            elif limit_usd is not None:
                self._ask(client, begin, limit_usd, None, [problem])
            else:
                self._say(problem)
                self._decide(client, begin)
            return
        if wants.only:
            foresight.estimates.append((begin, found))
            client.reply("refuse", begin["id"], text="only an estimate was asked for, and nothing was sent")
        elif limit_usd is not None and must_be_confirmed(found, limit_usd):
            self._ask(client, begin, limit_usd, found, sentences(found))
        else:
            self._foretold(begin, found, None)
            self._decide(client, begin)

    def _foresight(self) -> Foresight:
        if self.foresight is None:
            raise ValueError("nothing here looks ahead, so nobody was asked to show a call")
        return self.foresight

    def _ask(
        self, client: _Client, begin: dict[str, Any], limit_usd: str, found: Estimate | None, told: list[str]
    ) -> None:
        client.asked[begin["id"]] = (begin, limit_usd, found)
        client.reply("confirm", begin["id"], sentences=told)

    def _take_answer(self, client: _Client, begin: dict[str, Any], answer: str) -> None:
        """Go on with a call that the user was asked about."""
        if answer not in ANSWERS:
            raise ValueError("no answer")
        _, limit_usd, found = client.asked.pop(begin["id"])
        self._foretold(begin, found, {"above_usd": limit_usd, "answer": answer})
        if answer == "yes":
            self._decide(client, begin)
            return
        self.unconfirmed += 1
        why = "there is no terminal to ask for leave at" if answer == "no_terminal" else "it was not confirmed"
        self._refuse(client, begin, f"it may cost more than ${limit_usd}, and {why}")

    def _unanswered(self, client: _Client, identifier: str) -> None:
        """Somebody ended it at the question, which is a no."""
        begin, limit_usd, found = client.asked.pop(identifier)
        self.unconfirmed += 1
        self._foretold(begin, found, {"above_usd": limit_usd, "answer": "no"})

    def _take_back(self, client: _Client, identifier: str) -> None:
        """Forget a call that was announced, and never left."""
        client.shows.pop(identifier, None)
        if identifier in client.asked:
            self._unanswered(client, identifier)
        if client.calls.pop(identifier, None) is not None:
            self.unsent += 1
            self.expected_usd.pop(identifier, None)
            self._release(identifier)

    def _foretold(self, begin: dict[str, Any], found: Estimate | None, confirm: Mapping[str, str] | None) -> None:
        """Journal the estimate of a call, which is to name it."""
        ledger = self._opened_ledger()
        if found is None or ledger is None:
            return
        if confirm is None or confirm["answer"] == "yes":
            self.expected_usd[begin["id"]] = found.cost.p50_usd
        try:
            begin["estimate_id"] = ledger.record_estimate(found.fields(), begin, confirm=confirm)
        except Exception as error:  # noqa: BLE001  the call goes on; without its estimate there is less to learn from
            self._say(f"the estimate of a call cannot be journaled: {_reason(error)}")

    def _choose(self, client: _Client, message: dict[str, Any]) -> None:
        """Choose a model for a call that is not begun yet, and journal which and why."""
        begin, request, asked, offered = (message[name] for name in ("begin", "request", "asked", "offered"))
        try:
            found = self._foresight().estimating.choose(begin, request, asked, offered)
        except Exception as error:  # noqa: BLE001  whatever it is, it is told
            client.reply("refuse", begin["id"], text=_reason(error))
            return
        only = "estimate" in _flags(begin)
        if only:
            self._say(found.sentence)  # what the client says of it is not shown then
        try:
            ledger = self._opened_ledger()
            if ledger is not None and not only:
                ledger.record_choice(found.fields(), begin)
        except Exception as error:  # noqa: BLE001  the call goes on with what was chosen
            self._say(f"the choice of a model cannot be journaled: {_reason(error)}")
        client.reply("chosen", begin["id"], model=found.name, text=found.sentence)

    def _decide(self, client: _Client, begin: dict[str, Any]) -> None:
        refusal = self._refusal(client, begin)
        if refusal is not None:
            self.refused += 1
            self._refuse(client, begin, refusal)
            return
        client.calls[begin["id"]] = begin
        known = {"estimate_id": begin["estimate_id"]} if "estimate_id" in begin else {}
        client.reply("go", begin["id"], **known)

    def _refuse(self, client: _Client, begin: dict[str, Any], refusal: str) -> None:
        self.expected_usd.pop(begin["id"], None)
        self._say(f"call refused: {refusal}")
        client.reply("refuse", begin["id"], text=refusal)

    def _refusal(self, client: _Client, begin: dict[str, Any]) -> str | None:
        """Hold a call against the budgets that cover it.  Why it must not be made; None where it may."""
        blocks = bool(begin.get("declared")) or budget_blocks()
        if blocks:
            client.reply("wait", begin["id"])  # however long it takes, nothing goes without an answer
        ledger = self._opened_ledger(again=blocks)
        if ledger is None:
            problem = self._ledger_problem
        else:
            try:
                reservation = ledger.reserve(begin)
            except Exception as error:  # noqa: BLE001  whatever it is, it is told, and decided below
                if _is_refusal(error):
                    return str(error)
                problem = _reason(error)
            else:
                self._tell(reservation.alerts if reservation is not None else ())
                return None
        if blocks or budget_blocks():
            return f"{problem}; and where a budget blocks nothing is sent without being held against it"
        return None

    def _release(self, call_id: str) -> None:
        """Give back what is held for a call that was not made."""
        if self._ledger is None:
            return
        try:
            self._ledger.release(call_id)
        except Exception as error:  # noqa: BLE001  it is found lost later, and told as such
            self._say(f"the hold of call {call_id} cannot be given back: {_reason(error)}")

    def _tell(self, alerts: Sequence[str]) -> None:
        for sentence in alerts:
            self._say(sentence)

    def _client_died(self, client: _Client) -> None:
        """The end of the file: what was under way was sent, and nobody will ever know what it took."""
        self._drop(client)
        for begin in client.calls.values():
            self._record(begin, None)

    def _drop(self, client: _Client) -> None:
        self._selector.unregister(client.connection)
        self._clients.discard(client)
        client.connection.close()
        for identifier in list(client.asked):
            self._unanswered(client, identifier)

    def _record(self, begin: dict[str, Any], end: dict[str, Any] | None) -> None:
        ledger = self._opened_ledger()
        if ledger is None:
            keep(begin, end)
            self._spools(self._ledger_problem or "the home cannot be opened")
            self.spooled += 1
            return
        try:
            recorded = ledger.record_hook(begin, end)
        except Exception as error:  # noqa: BLE001  whatever it is, the call must not go down with it
            keep(begin, end)
            self._spools(_reason(error))
            self.spooled += 1
            return
        self.recorded += recorded.journaled
        self.spooled += not recorded.journaled
        self._tell(recorded.alerts)
        if not recorded.journaled:
            self._spools(recorded.problem or "the journal cannot be written")

    def _opened_ledger(self, *, again: bool = False) -> Recorder | None:
        """The ledger, opened when it is first needed; where that failed, *again* tries once more."""
        self._ledger_wanted = False
        if self._ledger is None and (again or self._ledger_problem is None):
            try:
                self._ledger = self._open_ledger()
            except Exception as error:  # noqa: BLE001  the command must run whatever is wrong with the home
                self._ledger_problem = _reason(error)
        return self._ledger

    def _spools(self, reason: str) -> None:
        """Say once why calls are not journaled, and where they wait."""
        if not self._said:
            self._say(f"{reason}; calls wait in {spool_folder()} and are journaled as soon as that is possible")
        self._said = True


class _Client:
    """One connection: what arrived of the next line, and the calls under way by their id."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.calls: dict[str, dict[str, Any]] = {}
        self.shows: dict[str, Wanted] = {}
        """Calls whose requests are awaited."""
        self.asked: dict[str, tuple[dict[str, Any], str, Estimate | None]] = {}
        """Calls of which the user is asked, above which cost that is done, and the estimate, where there is one."""
        self._received = bytearray()
        self.last_ended: str | None = None

    def lines(self, received: bytes) -> list[bytes]:
        """The lines that are whole now.  Raises ValueError where one gets longer than any message is."""
        searched = len(self._received)
        self._received += received
        if self._received.find(b"\n", searched) < 0:
            # A request stands in the line of one who was asked to show it, or has a model chosen for it.
            holds_request = self.shows or self._received.startswith(b'{"type":"choose"')
            if len(self._received) > (REQUEST_BYTES_MAX if holds_request else LINE_BYTES_MAX):
                raise ValueError("no line feed")
            return []
        *lines, rest = bytes(self._received).split(b"\n")
        self._received = bytearray(rest)
        return lines

    def reply(self, kind: str, identifier: str, **facts: object) -> None:
        # Where nobody reads any more, the end of the file follows, and that is what counts.
        with contextlib.suppress(OSError):
            self.connection.send(encode({"type": kind, "id": identifier, **facts}))


def is_own_user(connection: socket.socket) -> bool:
    """Whether the process at the other end is of this user.

    Linux tells (SO_PEERCRED, see socket(7)).  Elsewhere the socket's folder answers for it, which only its owner
    can enter.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return bool(uid == os.geteuid())


def _flags(begin: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was given to the ``keledger run`` that a call is of."""
    flags = begin.get("run_flags")
    return flags if isinstance(flags, Mapping) else {}


def _is_to_be_confirmed(begin: Mapping[str, Any]) -> bool:
    """Whether a call is to be estimated or confirmed before it is made, as far as can be told without a ledger."""
    folder = begin.get("cwd")
    return not {"confirm_above", "estimate"}.isdisjoint(_flags(begin)) or confirmation_stands(
        folder if isinstance(folder, str) else None
    )


def _is_told(error: Exception) -> bool:
    """Whether an error says what is wrong with what was given."""
    from keledger.journal._errors import KeledgerError

    return isinstance(error, KeledgerError)


def _is_refusal(error: Exception) -> bool:
    """Whether a budget said no, rather than keledger failed."""
    from keledger.journal._errors import BudgetExceeded

    return isinstance(error, BudgetExceeded)


def _reason(error: Exception) -> str:
    """What went wrong.  An unexpected error is told by its kind alone: its text may quote the call."""
    from keledger.journal._errors import KeledgerError

    return str(error) if isinstance(error, (KeledgerError, OSError)) else f"unexpected {type(error).__name__}"
