"""keledger's side of the line: one thread that serves all clients of a run, and journals what they say.

The launcher and the helper both run it.  Whoever waits for `go` in front of a request has it from the ledger, for a
budget may be in the way; the ledger, whose import takes the time, is opened when a client has said `hello` and nobody
waits.  A fault of keledger's lets the call go, except where a budget stands that blocks.
"""

from __future__ import annotations

import json
import selectors
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ._client_end import ClientEnd, is_own_user
from ._recorder import Recorder
from .client import PROTOCOL, budget_blocks, keep, spool_folder

READ_BYTES = 256 * 1024

COVERED_ROWS_MAX = 200
"""What covers a call is told in one line, which must fit in what a socket takes at once."""


class CallServer:
    """Serves the clients of one run: :meth:`listen` or :meth:`adopt`, then :meth:`serve` again and again.

    *open_ledger* is called once, when a client is there.  *say* takes a sentence for the user.  ``recorded``
    counts the calls that were handed to the ledger, ``spooled`` those that wait in the spool instead, ``unsent``
    those whose request never left, ``refused`` those that a budget did not let go.
    """

    def __init__(self, open_ledger: Callable[[], Recorder], say: Callable[[str], None]) -> None:
        self.recorded = 0
        self.spooled = 0
        self.unsent = 0
        self.refused = 0
        self._open_ledger = open_ledger
        self._say = say
        self._selector = selectors.DefaultSelector()
        self._clients: set[ClientEnd] = set()
        self._ledger: Recorder | None = None
        self._ledger_wanted = False
        self._ledger_problem: str | None = None
        self._said = False

    def listen(self, listener: socket.socket) -> None:
        """Take the connections of this user's processes."""
        listener.setblocking(False)
        self.watch(listener, lambda: self._accept(listener))

    def adopt(self, connection: socket.socket) -> None:
        """Serve a connection that is there already."""
        connection.setblocking(False)
        client = ClientEnd(connection)
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
        events = self._selector.select(0 if self._has_to_prepare() else wait_s)
        for key, _ in events:
            key.data()
        if not events and self._has_to_prepare():
            self._prepare()
            return True
        return bool(events)

    def _has_to_prepare(self) -> bool:
        """Whether something is to be loaded while nobody waits for an answer."""
        return self._ledger_wanted

    def _prepare(self) -> None:
        """Load something of that."""
        self._opened_ledger()

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

    def _read(self, client: ClientEnd) -> None:
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

    def _handle(self, client: ClientEnd, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "hello":
            if message["protocol"] != PROTOCOL:
                raise ValueError("another protocol")
            self._ledger_wanted = self._ledger is None and self._ledger_problem is None
        elif kind == "begin":
            self._admit(client, message["begin"])
        elif kind == "covers":
            begin = message["begin"]
            client.reply("covered", begin["id"], rows=self.covers(begin))
        elif kind == "end":
            begin = message["begin"]
            client.calls.pop(begin["id"], None)
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
            self._say(f"budgets cannot be told: {reason_of(error)}")
            return []

    def _take_back(self, client: ClientEnd, identifier: str) -> None:
        """Forget a call that was announced, and never left."""
        if client.calls.pop(identifier, None) is not None:
            self.unsent += 1
            self._release(identifier)

    def _admit(self, client: ClientEnd, begin: dict[str, Any]) -> None:
        """Let a call go, or refuse it, once the ledger has said which."""
        refusal = self._refusal(client, begin)
        if refusal is not None:
            self.refused += 1
            self._refuse(client, begin, refusal)
            return
        client.calls[begin["id"]] = begin
        known = {"estimate_id": begin["estimate_id"]} if "estimate_id" in begin else {}
        client.reply("go", begin["id"], **known)

    def _refuse(self, client: ClientEnd, begin: dict[str, Any], refusal: str) -> None:
        self._say(f"call refused: {refusal}")
        client.reply("refuse", begin["id"], text=refusal)

    def _refusal(self, client: ClientEnd, begin: dict[str, Any]) -> str | None:
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
                problem = reason_of(error)
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
            self._say(f"the hold of call {call_id} cannot be given back: {reason_of(error)}")

    def _tell(self, alerts: Sequence[str]) -> None:
        for sentence in alerts:
            self._say(sentence)

    def _client_died(self, client: ClientEnd) -> None:
        """The end of the file: what was under way was sent, and nobody will ever know what it took."""
        self._drop(client)
        for begin in client.calls.values():
            self._record(begin, None)

    def _drop(self, client: ClientEnd) -> None:
        self._selector.unregister(client.connection)
        self._clients.discard(client)
        client.connection.close()

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
            self._spools(reason_of(error))
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
                self._ledger_problem = reason_of(error)
        return self._ledger

    def _spools(self, reason: str) -> None:
        """Say once why calls are not journaled, and where they wait."""
        if not self._said:
            self._say(f"{reason}; calls wait in {spool_folder()} and are journaled as soon as that is possible")
        self._said = True


def _is_refusal(error: Exception) -> bool:
    """Whether a budget said no, rather than keledger failed."""
    from keledger.journal._errors import BudgetExceeded

    return isinstance(error, BudgetExceeded)


def reason_of(error: Exception) -> str:
    """What went wrong.  An unexpected error is told by its kind alone: its text may quote the call."""
    from keledger.journal._errors import KeledgerError

    return str(error) if isinstance(error, (KeledgerError, OSError)) else f"unexpected {type(error).__name__}"
