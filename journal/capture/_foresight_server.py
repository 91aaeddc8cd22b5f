"""A server that looks ahead: calls are estimated before they are made, dear ones confirmed, and models chosen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ._client_end import ClientEnd
from ._foresight import Estimating, Foresight, Wanted, must_be_confirmed, sentences, wanted
from ._recorder import Recorder
from ._server import CallServer, reason_of
from .client import confirmation_stands, home_folder, run_flags, says_to_confirm

if TYPE_CHECKING:
    from keledger.journal.estimates import Estimate

WHAT_ESTIMATES = frozenset(("confirm_above", "estimate", "estimates"))
"""Flags of a run by which each of its calls is estimated."""

ANSWERS = ("yes", "no", "no_terminal")
"""What a client may answer to a question, as the journal has it."""


class ForesightServer(CallServer):
    """As :class:`CallServer`, for clients whose requests it may ask to be shown.

    *open_estimating* is called once, when a call is first to be estimated.  ``unconfirmed`` counts the calls that the
    user did not let go, ``expected_usd`` has what those that were sent were expected to cost (p50), by their ids; None
    where nobody knew.
    """

    def __init__(
        self,
        open_ledger: Callable[[], Recorder],
        say: Callable[[str], None],
        open_estimating: Callable[[], Estimating],
    ) -> None:
        super().__init__(open_ledger, say)
        self.unconfirmed = 0
        self.expected_usd: dict[str, str | None] = {}
        self.foresight = Foresight(open_estimating)
        self._foresight_wanted = False

    def _has_to_prepare(self) -> bool:
        return super()._has_to_prepare() or self._foresight_wanted

    def _prepare(self) -> None:
        if super()._has_to_prepare():
            super()._prepare()
            return
        self._foresight_wanted = False
        with contextlib.suppress(Exception):  # told where a call needs it
            self.foresight.estimating.prepare()

    def _handle(self, client: ClientEnd, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "request":
            self._estimate(client, message["begin"], message["request"])
        elif kind == "choose":
            self._choose(client, message)
        elif kind == "answer":
            self._take_answer(client, message["begin"], message["answer"])
        else:
            super()._handle(client, message)
            if kind == "hello":
                # What estimates takes half a second to load, in which the client's own imports go on.
                self._foresight_wanted = not WHAT_ESTIMATES.isdisjoint(run_flags())
            elif kind == "end":
                client.shows.pop(message["begin"]["id"], None)

    def _admit(self, client: ClientEnd, begin: dict[str, Any]) -> None:
        """Let a call go, or refuse it; one to be estimated is to be shown first."""
        try:
            wants = self._wanted(begin)
        except Exception as error:  # noqa: BLE001  an amount that is none; a fault only where leave must be had
            if _is_told(error) or _is_to_be_confirmed(begin):
                self._refuse(client, begin, reason_of(error))
                return
            self._say(f"it cannot be told whether a call is to be confirmed: {reason_of(error)}")
            wants = None
        if wants is None:
            super()._admit(client, begin)
        else:
            client.shows[begin["id"]] = wants
            client.reply("show", begin["id"], blocks=wants.blocks)

    def _wanted(self, begin: dict[str, Any]) -> Wanted | None:
        """Why a call is to be estimated; None where it is not."""
        ledger = self._opened_ledger(again=_is_to_be_confirmed(begin))
        if ledger is not None:
            return wanted(begin, ledger.confirm_above(begin))
        from keledger.journal._attributes import confirm_above
        from keledger.journal._errors import HomeError

        if says_to_confirm(home_folder() / "config.toml"):
            raise HomeError(f"{self._ledger_problem}; and it says which calls are to be confirmed")
        return wanted(begin, confirm_above(_flags(begin), begin.get("cwd"), {}))

    def _estimate(self, client: ClientEnd, begin: dict[str, Any], request: object) -> None:
        """Estimate a call that was shown, and go on as it was wanted."""
        wants = client.shows.pop(begin["id"])
        limit_usd = wants.confirm_above_usd
        try:
            found = self.foresight.estimating.estimate(begin, request)
        except Exception as error:  # noqa: BLE001  whatever it is, it is told
            problem = f"this call cannot be estimated: {reason_of(error)}"
            if wants.only:
                self._refuse(client, begin, problem)
            elif limit_usd is not None:
                self._ask(client, begin, limit_usd, None, [problem])
            else:
                self._say(problem)
                super()._admit(client, begin)
            return
        if wants.only:
            self.foresight.estimates.append((begin, request, found))
            client.reply("refuse", begin["id"], text="only an estimate was asked for, and nothing was sent")
        elif limit_usd is not None and must_be_confirmed(found, limit_usd):
            self._ask(client, begin, limit_usd, found, sentences(found))
        else:
            self._foretold(begin, found, None)
            super()._admit(client, begin)

    def _ask(
        self, client: ClientEnd, begin: dict[str, Any], limit_usd: str, found: Estimate | None, told: list[str]
    ) -> None:
        client.asked[begin["id"]] = (begin, limit_usd, found)
        client.reply("confirm", begin["id"], sentences=told)

    def _take_answer(self, client: ClientEnd, begin: dict[str, Any], answer: str) -> None:
        """Go on with a call that the user was asked about."""
        if answer not in ANSWERS:
            raise ValueError("no answer")
        _, limit_usd, found = client.asked.pop(begin["id"])
        self._foretold(begin, found, {"above_usd": limit_usd, "answer": answer})
        if answer == "yes":
            super()._admit(client, begin)
            return
        self.unconfirmed += 1
        why = "there is no terminal to ask for leave at" if answer == "no_terminal" else "it was not confirmed"
        self._refuse(client, begin, f"it may cost more than ${limit_usd}, and {why}")

    def _unanswered(self, client: ClientEnd, identifier: str) -> None:
        """Somebody ended it at the question, which is a no."""
        begin, limit_usd, found = client.asked.pop(identifier)
        self.unconfirmed += 1
        self._foretold(begin, found, {"above_usd": limit_usd, "answer": "no"})

    def _take_back(self, client: ClientEnd, identifier: str) -> None:
        client.shows.pop(identifier, None)
        if identifier in client.asked:
            self._unanswered(client, identifier)
        if identifier in client.calls:
            self.expected_usd.pop(identifier, None)
        super()._take_back(client, identifier)

    def _drop(self, client: ClientEnd) -> None:
        super()._drop(client)
        for identifier in list(client.asked):
            self._unanswered(client, identifier)

    def _refuse(self, client: ClientEnd, begin: dict[str, Any], refusal: str) -> None:
        self.expected_usd.pop(begin["id"], None)
        super()._refuse(client, begin, refusal)

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
            self._say(f"the estimate of a call cannot be journaled: {reason_of(error)}")

    def _choose(self, client: ClientEnd, message: dict[str, Any]) -> None:
        """Choose a model for a call that is not begun yet, and journal which and why."""
        begin, request, asked, offered = (message[name] for name in ("begin", "request", "asked", "offered"))
        try:
            found = self.foresight.estimating.choose(begin, request, asked, offered)
        except Exception as error:  # noqa: BLE001  whatever it is, it is told
            client.reply("refuse", begin["id"], text=reason_of(error))
            return
        only = "estimate" in _flags(begin)
        if only:
            self._say(found.sentence)  # what the client says of it is not shown then
        try:
            ledger = self._opened_ledger()
            if ledger is not None and not only:
                ledger.record_choice(found.fields(), begin)
        except Exception as error:  # noqa: BLE001  the call goes on with what was chosen
            self._say(f"the choice of a model cannot be journaled: {reason_of(error)}")
        client.reply("chosen", begin["id"], model=found.name, text=found.sentence)


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
