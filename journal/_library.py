"""A call made in this process: watched by a ``with`` block."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ._attributes import NAMES
from ._calls import check_field_names
from ._errors import KeledgerError, UsageError
from ._identity import new_id
from ._time import format_time, now_us
from .capture.declared import WrongBudget, declared
from .capture.shape import shape_of
from .usage import extract_response, provider_name

if TYPE_CHECKING:
    from ._ledger import Ledger
    from ._watching import Recorded
    from .budgets._enforcement import Reservation
    from .estimates import Estimate


_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class LibraryCall:
    """One call about to be made.

    ``complete(response)`` tells how it was answered.  Leaving the block by an exception records ``call.failed``: status
    ``error`` where the exception carries an HTTP status, else ``unknown``, for it may have been billed.  Leaving it
    without ``complete()`` is ``unknown`` too; after ``not_sent()`` nothing is recorded.  The exception goes on.

    Entering the block reserves what the call may cost, where a budget covers it, and raises BudgetExceeded where one
    says no: then nothing is to be sent.  ``async with`` does the same without holding up the event loop.
    """

    def __init__(
        self, ledger: Ledger, fields: Mapping[str, Any], request: object, estimate: Estimate | None = None
    ) -> None:
        check_field_names(fields)
        if "id" in fields:
            raise UsageError("ledger.call() makes its own id; give client_call_id or call_keys instead")
        self.id = new_id()
        self.recorded: Recorded | None = None
        self.reservation: Reservation | None = None
        """What is held for the call, where a budget covers it."""
        self._ledger = ledger
        self._fields = dict(fields)
        self._request = request
        self._estimate = estimate
        self._end: dict[str, Any] | None = None
        self._not_sent = False
        self._started_ns = 0
        self._pid = 0
        self._begin: dict[str, Any] = {}
        self._met = threading.Lock()

    def __enter__(self) -> LibraryCall:
        if self._begin:
            raise UsageError("this call was entered before: make a new one with ledger.call() for each")
        self._pid = os.getpid()
        attributes = {name: self._fields.pop(name) for name in (*NAMES, "tags") if name in self._fields}
        self._begin = {
            "id": self.id,
            "origin": "library",
            "started_at": format_time(now_us()),
            "run": self._ledger.run,
            "attributes": attributes,
            "environment": self._ledger.environment,
            "cwd": _working_folder(),
            "pricing_context": _requested_context(self._request),
            **self._fields,
        }
        if self._request is not None:
            self._begin["request"] = shape_of(self._request)
            if _names_another(self._request, self._begin["model"]):
                self._begin["request"]["unbounded"] = "other_models"
        if declared_budgets := _declared():
            self._begin["declared"] = declared_budgets
        if self._estimate is not None:
            self._foretell(self._estimate)
        self.reservation = self._ledger.reserve(self._begin)
        _warn(self.reservation.alerts if self.reservation is not None else ())
        self._started_ns = time.monotonic_ns()
        return self

    def _foretell(self, estimate: Estimate) -> None:
        """Journal the estimate.  Without it there is less to learn from, which is no reason not to make the call."""
        try:
            self._begin["estimate_id"] = self._ledger.record_estimate(estimate.fields(), self._begin)
        except KeledgerError as error:
            _warn([f"the estimate of a call is not journaled: {error}"])

    async def __aenter__(self) -> LibraryCall:
        import asyncio  # whoever gets here has it

        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(None, self._enter_beside)
        except asyncio.CancelledError:  # the thread may go on, and nobody will ever leave the block
            loop.run_in_executor(None, self._give_back_if_second)
            raise

    def _enter_beside(self) -> LibraryCall:
        """Enter in a thread beside the event loop, whose task may be cancelled meanwhile."""
        self.__enter__()
        self._give_back_if_second()
        return self

    def _give_back_if_second(self) -> None:
        """Called by a thread that has entered, and for a task that was cancelled while it did: the later one leaves."""
        if not self._met.acquire(blocking=False):
            self.not_sent()
            self.__exit__(None, None, None)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import asyncio

        # Begun at once, and shielded: a task that is cancelled once more must not leave its call half told.
        loop = asyncio.get_running_loop()
        await asyncio.shield(loop.run_in_executor(None, self.__exit__, kind, error, traceback))

    def complete(self, response: object, **fields: Any) -> None:
        """Tell how the call was answered.

        *response* is the provider's response or just its usage object, as parsed JSON or as its SDK's object; no text
        of it is kept.  *fields* stand above what is read from it (``finish_reason``, ``reported_cost_usd``, …).
        """
        facts = extract_response(response, provider_name(str(self._begin.get("provider") or "")))
        end: dict[str, Any] = {
            "usage_raw": facts.usage,
            "usage_format": facts.usage_format,
            "response_id": facts.response_id,
            "response_model": facts.response_model,
            "finish_reason": facts.finish_reason,
            "pricing_context": _answered_context(response) or dict(facts.pricing_context),
            "status": "ok",
        }
        self._end = {key: value for key, value in {**end, **fields}.items() if value is not None}
        check_field_names(fields)  # last, so that a misspelt one does not cost what was answered

    def not_sent(self) -> None:
        """Tell that the request was never sent: nothing can have been billed, and nothing is recorded."""
        self._not_sent = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if os.getpid() != self._pid:
            # A forked child leaves the block too; the call, and its hold, are its parent's.
            if self._end is not None:
                _warn([f"call {self.id} was completed in a forked child, which records nothing of it: its parent does"])
            return
        duration_ms = (time.monotonic_ns() - self._started_ns) // 1_000_000
        if self._end is None:
            if self._not_sent:
                with contextlib.suppress(KeledgerError):  # the hold is found lost; what was not sent must not fail
                    self._ledger.release(self.id)
                return
            self._end = _failure(error)
        self._end.setdefault("duration_ms", duration_ms)
        self.recorded = self._ledger.record_hook(self._begin, self._end)
        _warn(self.recorded.alerts)


def _names_another(request: object, model: object) -> bool:
    """Whether a request is for another model than the call says: nobody knows which of them will answer."""
    named = request.get("model") if isinstance(request, Mapping) else None
    return isinstance(named, str) and isinstance(model, str) and named.split("/")[-1] != model.split("/")[-1]


def _warn(sentences: Sequence[str]) -> None:
    """Tell whoever runs the program, by its own means: without any set up, ``logging`` writes to stderr."""
    if sentences:
        import logging  # which a call without a word does not need

        for sentence in sentences:
            logging.getLogger("keledger").warning(sentence)


def _declared() -> list[dict[str, str]]:
    """The budget of the ``keledger run`` that this process was started by.  Raises UsageError where it is none."""
    text = os.environ.get("KELEDGER_RUN_FLAGS")
    if not text:
        return []
    try:
        return declared(None, json.loads(text))
    except WrongBudget as error:
        raise UsageError(str(error)) from None
    except ValueError:  # somebody else's idea of that variable
        return []


def _failure(error: BaseException | None) -> dict[str, Any]:
    """What an exception tells of a failed call: its class and HTTP status, never its text."""
    if error is None:
        return {"status": "unknown"}
    status = _attribute(error, "status_code") or _attribute(_attribute(error, "response"), "status_code")
    end: dict[str, Any] = {"status": "unknown", "error_type": type(error).__name__}
    if isinstance(status, int) and not isinstance(status, bool) and 100 <= status <= 599:
        end |= {"status": "error", "http_status": status}
    return end


def _answered_context(response: object) -> dict[str, str]:
    """The service tier that a whole response names, in the provider's word: it may say that the standard one held."""
    named = response.get("service_tier") if isinstance(response, Mapping) else _attribute(response, "service_tier")
    return _tier(named)


def _tier(named: object) -> dict[str, str]:
    """A service tier under its name; what is no single word is none, and may be private."""
    return {"service_tier": named} if isinstance(named, str) and _WORD.fullmatch(named) else {}


def _attribute(thing: object, name: str) -> object:
    """An attribute of somebody else's object, whose property may raise; None then."""
    try:
        return getattr(thing, name, None)
    except Exception:  # noqa: BLE001
        return None


def _working_folder() -> str | None:
    """Where this process is; None where that folder is gone."""
    try:
        return os.getcwd()
    except OSError:
        return None


def _requested_context(request: object) -> dict[str, str]:
    """The service tier that a request asks for; the response's own word stands above it."""
    return _tier(request.get("service_tier") if isinstance(request, Mapping) else None)
