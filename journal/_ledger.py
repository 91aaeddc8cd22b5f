"""The library: record calls into a home."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from . import _limits as limits
from ._adopting import Adoption, adopt, adopt_planned, adoption_of_loaded, current_prices, plan_adoption
from ._adoption import what_holds
from ._asked_call import AskedCall, asked_call
from ._attributes import AttributeResolver
from ._calls import build_call, check_attributes, check_field_names
from ._cleaning import DEPTH_MAX, Cleaner, check_reason, json_kind, json_safe
from ._disk import Disk
from ._errors import BudgetExceeded, HomeError, InputRefused, KeledgerError, LockHeld, UsageError
from ._home import Home, remedy
from ._identity import ID_PATTERN, id_of_key, input_sha256, new_id
from ._json import SCALARS, is_plain
from ._library import LibraryCall
from ._line import NewEvent
from ._money import check_adjusted, usd_to_pico
from ._spool import Spool
from ._unchanged import check_unchanged
from ._validate import check_data, check_live_data, prepare_check
from ._writer import Appender
from .prices import Book, BookManifest, PriceStore
from .usage import CONTEXT_FIELDS, pricing_context, token_totals

if TYPE_CHECKING:
    from ._anchor import Anchor
    from ._merge import Merged
    from .budgets import Budgets
    from .budgets._enforcement import Enforcement, Reservation

BLOCKING = "guard/blocking"
"""Stands in a home while a budget does that blocks: for who cannot read the journal any more."""

_COUNTED_BY = frozenset(("provider", "model", "prompt", "prompt_version", "session", "run", "client"))
"""Fields of a call, beside its attributes, that say which budgets cover it: a held call keeps them to its end."""

_ID = re.compile(ID_PATTERN)
_SOURCE = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a recorded call."""

    id: str
    status: str
    cost_state: str
    total_usd: str | None
    input_tokens: int
    output_tokens: int
    journaled: bool = True
    """False where the journal could not take it: the call waits in the spool, for the reason in ``problem``."""
    problem: str | None = None
    alerts: tuple[str, ...] = ()
    """Thresholds of budgets that it crossed, a sentence each."""


class Ledger:
    """One home, open for recording.  Safe to share between threads, and usable in forked children."""

    def __init__(self, home: Home, *, program: str, disk: Disk | None = None) -> None:
        self.home = home
        self._disk = disk or Disk()
        self._appender = Appender(home, disk=self._disk, program=program)
        self._spool = Spool(home, self._disk)
        self._attributes = AttributeResolver(home, self._disk)
        self._store = PriceStore(home.prices)
        self._book: Book | None = None
        self._book_as_of = -1
        self._book_path = ""
        self._adoption: Adoption | None = None
        self._has_budgets = False
        self._blocking = str(home.path / BLOCKING)
        self._enforcement: Enforcement | None = None
        self._reserved: dict[str, Reservation] = {}
        self.environment = self._attributes.environment
        """The ``KELEDGER_*`` variables that say whose calls these are, as of opening."""
        self.run = os.environ.get("KELEDGER_RUN") or new_id()

    @classmethod
    def open(cls, home: str | os.PathLike[str] | None = None) -> Ledger:
        """Open a home: *home*, else ``KELEDGER_HOME``, else the user's default.  It is made on the first event.

        Raises HomeError where the place cannot be a home (another owner, not a folder, open to others).
        """
        import keledger

        found = Home.at(home)
        found.check()
        return cls(found, program=f"keledger {keledger.__version__}")

    def close(self) -> None:
        """Give all descriptors back.  Holds of calls that are under way still are found lost."""
        if self._enforcement is not None:
            self._enforcement.close()
        self._appender.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, *, provider: str, model: str, request: object = None, **fields: Any) -> LibraryCall:
        """A call about to be made, as a context manager: ``with ledger.call(…) as call: call.complete(response)``.

        *fields* are those of :meth:`record` that are known before the call (prompt, session, project, tags, …).
        *request* is not journaled.  Leaving the block by an exception, or without ``complete()``, records a
        failed call; see :class:`LibraryCall`.
        """
        return LibraryCall(self, {"provider": provider, "model": model, **fields}, request)

    def record(self, *, source: str = "record", **fields: Any) -> str:
        """Record one finished call and return its event id.

        *fields*: ``provider``, ``model``, and ``usage_raw`` (the provider's own usage object), ``usage`` (buckets)
        or ``reported_cost_usd``; any other field of a call; ``time`` is when it began.  ``id`` is the caller's key:
        recording the same key again is the same event.

        Raises InputRefused for a field that is not acceptable (nothing is written), AppendRefused and
        AppendUnknown as appending does.
        """
        event = self.event_of(fields, source=source)
        self.append_events([event])
        return event.id

    def record_many(self, calls: Iterable[Mapping[str, Any]], *, source: str = "record") -> list[str]:
        """Record several finished calls, all checked before one is written; one lock and sync each 4 MiB."""
        events = [self.event_of(fields, source=source) for fields in calls]
        self.append_events(events)
        return [event.id for event in events]

    def event_of(self, fields: Mapping[str, Any], *, source: str = "record", key: str | None = None) -> NewEvent:
        """Check one call as ``record`` takes it and make its event, without writing anything.

        *key* stands in where the call has no ``id`` of its own.  Raises InputRefused.
        """
        if not isinstance(fields, (dict, Mapping)):  # dict first: asking an abstract class takes longer
            raise InputRefused(f"a call must be an object, not {json_kind(fields)}")
        check_field_names(fields)
        fields, plain = _plain_fields(fields)
        check_attributes(fields)
        if source != "record" and _SOURCE.fullmatch(source) is None:
            raise UsageError(f"{source[:64]!r} is no source name: use letters, digits and . _ : -, at most 128")
        given_key = fields.get("id", key)
        if given_key is not None and (not isinstance(given_key, str) or not given_key):
            raise InputRefused(f"id must be a string that names the call, not {json_kind(given_key)}")
        if given_key is not None:
            Cleaner(live=False).text("id", given_key, limit=limits.REASON_BYTES_MAX)
        event_id = id_of_key(source, given_key) if given_key is not None else new_id()
        built = build_call(
            fields,
            self._attributes.resolve(fields),
            book=self._current_book(),
            origin=source if source.startswith("import:") else "record",
            os_user=self._attributes.os_user,
            live=False,
            run=self.run,
            plain=plain,
        )
        check_data(built.type, built.data)
        return NewEvent.of(built.type, event_id, built.data)

    def append_events(self, events: Sequence[NewEvent]) -> Sequence[str]:
        """Append events made by :meth:`event_of`; returns a sentence for each threshold of a budget that they crossed.

        Raises as appending does.
        """
        self._append(events)
        if not self._has_budgets:
            return ()
        try:
            return self._enforcing().raise_alerts(orjson.loads(event.data) for event in events)
        except KeledgerError:  # the calls are journaled; who comes next raises the alerts
            return ()

    @property
    def budgets(self) -> Budgets:
        """The home's budgets: set, raised, removed and asked for."""
        from .budgets import Budgets

        return Budgets(self._enforcing(), self._attributes)

    def reserve(self, begin: Mapping[str, Any]) -> Reservation | None:
        """Keep back what a call may cost that is about to be made; None where no budget covers it.

        *begin* is what :meth:`record_hook` takes; beside it ``request``, what is told of the request
        (:func:`.shape_of`), and ``declared``, budgets of the call's own run and session:
        ``[{"scope": "run", "limit_usd": "0.5"}]``.

        Raises BudgetExceeded where a budget says no, or one that blocks cannot be asked: the call must not be made.
        Where the journal cannot be read and no budget that blocks is known of, the call may be.
        """
        declared = begin.get("declared") or ()
        if (known := self._reserved.get(begin["id"])) is not None:
            return known
        try:
            book = self._current_book()
            if not (self._has_budgets or declared or self._is_marked()):
                return None
            asked = self._asked(begin)
            for each in declared:
                if each["scope"] not in asked.data:
                    raise InputRefused(f"it is declared for the call's {each['scope']}, and the call names none")
            self._adopt_due()
            enforcement = self._enforcing()
        except (KeledgerError, OSError) as error:
            if declared or self._is_marked():
                raise BudgetExceeded(f"no call goes out while a budget blocks that cannot be asked: {error}") from error
            return None
        reservation = enforcement.reserve(asked, declared=declared, book=book)
        if reservation is not None:
            self._reserved[begin["id"]] = reservation
        return reservation

    def release(self, call_id: str, cause: str = "not_sent") -> None:
        """Give the hold of a call back that was never sent; nothing where it has none.  Raises as appending does."""
        if self._reserved.pop(call_id, None) is not None:
            self._enforcing().release(call_id, cause)

    def covers(self, begin: Mapping[str, Any]) -> list[dict[str, Any]]:
        """How the budgets stand that cover a call, those first that it declares: a row for each, money as text."""
        declared = begin.get("declared") or ()
        self._current_book()
        if not (self._has_budgets or declared):
            return []
        return self._enforcing().covers(self._asked(begin), declared)

    def record_hook(self, begin: Mapping[str, Any], end: Mapping[str, Any] | None) -> Recorded:
        """Record a call that was watched: what was known before it, and after (None: the program died in between).

        *begin* holds ``id`` (the event's), fields of a call, and where its attributes come from: ``attributes`` (the
        call itself), ``run_flags``, ``environment``, ``cwd``; ``origin`` is ``hook`` unless given.  A watched call is
        repaired, never refused; where the journal cannot take it, it is spooled.
        """
        begin, _ = _safe(begin)
        end = _safe(end)[0] if end is not None else None
        held = self._reserved.pop(begin["id"], None)
        try:
            event, alerts = self._append_watched(begin, end, held)
        except Exception as error:  # noqa: BLE001 - whatever it is, a finished call must not go down with it
            self._spool.keep(begin, end)
            problem = str(error) if isinstance(error, KeledgerError) else f"{self.home.path}: {_told(error)}"
            return Recorded(str(begin["id"]), "unknown", "unknown", None, 0, 0, journaled=False, problem=problem)
        except BaseException:  # Ctrl-C: the call is kept first
            self._spool.keep(begin, end)
            raise
        return replace(_recorded(event), alerts=alerts)

    def bring_in_spooled(self) -> int:
        """Journal what waits in the spool; returns how many calls that were.  What cannot be taken goes on waiting."""
        count = 0
        for path, content in self._spool.waiting():
            with contextlib.suppress(Exception):  # one file that cannot be taken must not keep the others waiting
                try:
                    self._append_spooled(content["begin"], content["end"])
                except LockHeld:
                    break  # each of the others would be waited for as long
                self._spool.remove(path)
                count += 1
        return count

    def prepare(self, *, guarded: bool = False) -> None:
        """Load what the first call will need, while nobody waits for it.  Nothing is made for a new home.

        *guarded* says that calls will declare budgets, also where the home has none.
        """
        for event_type in ("call.completed", "call.failed"):
            prepare_check(event_type)
        with contextlib.suppress(Exception):  # told when a call needs it
            adopted, has_budgets = what_holds(self.home, self._disk)
            if adopted is not None:
                self._store.load_book(adopted)
            if guarded or has_budgets:
                prepare_check("call.reserved")
                enforcement = self._enforcing()
                if adopted is not None:
                    enforcement.guard.ready()

    def void(self, call_id: str, reason: str) -> str:
        """Take a call out of every report, for a stated reason; returns the event's id.  The call stays journaled."""
        return self._administer("call.voided", {"call_id": call_id}, reason)

    def revert_void(self, call_id: str, reason: str) -> str:
        """Let a voided call count again, for a stated reason; returns the event's id."""
        return self._administer("void.reverted", {"call_id": call_id}, reason)

    def merge(self, folder: str | os.PathLike[str], reason: str | None = None) -> Merged:
        """Take in the journals and price books of another home, or a copy of one: see ``docs/format.md``.

        Raises MergeRefused, JournalDamaged or UsageError; nothing was changed then.
        """
        from ._merge import merge  # brings verify along, which no call needs

        merged = merge(self.home, folder, appender=self._appender, actor=self._attributes.os_user, reason=reason)
        if merged.lines and what_holds(self.home, self._disk).has_budgets:
            self._enforcing().guard.ready()  # so that no call need wait until what came is folded in its place
        return merged

    def manifest(self) -> BookManifest:
        """The book that the next call will be priced by: the adopted one, or the shipped one that is to be adopted."""
        return current_prices(self.home, self._disk).manifest

    def adopt_prices(self, adoption: Adoption, reason: str, *, based_on: str | None) -> str | None:
        """Price all calls from now on by another book, for a stated reason; calls that are journaled stay as they are.

        *adoption* is made by :func:`replaced_layer`, *based_on* is the id of the book that it changes: that of
        :meth:`manifest`; None where the home must have adopted none yet.  Returns the event's id; None where the home
        has this very book already.

        Raises InputRefused or UsageError for a book that breaks the rules, KeledgerError where another process has
        adopted other prices than *based_on* meanwhile, and as appending does.  Nothing is adopted then.
        """
        adoption = replace(adoption, reason=check_reason(reason))
        actor = self._attributes.os_user
        event_id = adopt(self.home, self._appender, self._store, adoption, actor=actor, based_on=based_on)
        self._look_again()
        return event_id

    def apply_reprice(self, reprice: Mapping[str, Any], reason: str, *, since: Anchor | None = None) -> str:
        """Let calls cost what a book says, for a stated reason; returns the event's id.  The calls stay journaled.

        *reprice* are the fields of ``reprice.applied`` but who and why; :mod:`keledger.projections` computes them.
        *since* is an anchor that was taken before that was done: raises KeledgerError, and nothing is written, where
        anybody has journaled a reprice behind it.
        """
        return self._administer("reprice.applied", dict(reprice), reason, since=since)

    def revert_reprice(self, reprice_id: str, reason: str, *, since: Anchor | None = None) -> str:
        """Take a reprice back, for a stated reason; returns the event's id.  *since* as for :meth:`apply_reprice`."""
        return self._administer("reprice.reverted", {"reprice_id": reprice_id}, reason, since=since)

    def close_period(self, closing: Mapping[str, Any], reason: str, *, since: Anchor | None = None) -> str:
        """Close a month, for a stated reason; returns the event's id.

        *closing* are the fields of ``period.closed`` but who and why; :mod:`keledger.projections` computes them.
        *since* as for :meth:`apply_reprice`, for closings.
        """
        return self._administer("period.closed", dict(closing), reason, since=since)

    def reopen_period(self, close_id: str, reason: str, *, since: Anchor | None = None) -> str:
        """Take a closing back, for a stated reason; returns the event's id.  *since* as for :meth:`close_period`."""
        return self._administer("period.reopened", {"close_id": close_id}, reason, since=since)

    def record_invoice(self, invoice: Mapping[str, Any], reason: str) -> str:
        """Journal what a provider invoiced; returns the event's id: the same file for the same month has one id.

        *invoice* are the fields of ``invoice.recorded`` but who and why.
        """
        key = " ".join(str(invoice[name]) for name in ("provider", "period", "timezone", "source_sha256"))
        return self._administer("invoice.recorded", dict(invoice), reason, key=key)

    def adjust(self, adjustment: Mapping[str, Any], reason: str, *, since: Anchor | None = None) -> str:
        """Book money beside the calls, for a stated reason; returns the event's id.

        *adjustment* are the fields of ``charge.adjusted`` but who and why.  What ``reverses`` another one has an id
        that is made of that one's: an adjustment is taken back once.  *since* as for :meth:`apply_reprice`, for
        adjustments.  Raises InputRefused for an amount above ``ADJUSTED_USD_MAX``, too.
        """
        if isinstance(amount := adjustment.get("amount_usd"), str):
            check_adjusted(usd_to_pico(amount))
        return self._administer(
            "charge.adjusted", dict(adjustment), reason, key=adjustment.get("reverses"), since=since
        )

    def _administer(
        self,
        event_type: str,
        fields: dict[str, Any],
        reason: str,
        *,
        key: str | None = None,
        since: Anchor | None = None,
    ) -> str:
        """Append an event.  One with a *key* is known by it: how it was called and why makes it no other event.

        With *since* only where no event of its family stands behind that anchor.
        """
        reason = check_reason(reason)
        given = {**fields, "reason": reason}
        if key is not None:
            given = {name: value for name, value in fields.items() if name != "source_name"}
        data = {
            "input_sha256": input_sha256(event_type, given),
            **fields,
            "actor": self._attributes.os_user,
            "reason": reason,
        }
        check_data(event_type, data)
        event_id = id_of_key(f"keledger:{event_type}", key) if key is not None else new_id()
        event = NewEvent.of(event_type, event_id, data)
        if since is None:
            self._append([event])
            return event.id
        with self._appender.locked(beside_syncs=True):
            self._appender.writer()
            check_unchanged(self.home, since, event_type.partition(".")[0])
            self._appender.append_locked([event])
        return event.id

    def _append_watched(
        self, begin: Mapping[str, Any], end: Mapping[str, Any] | None, held: Reservation | None
    ) -> tuple[NewEvent, tuple[str, ...]]:
        """Append a watched call, and settle its hold; returns the event and the alerts that it gave rise to."""
        event, data = self._watched_event(begin, end, held)
        if held is None and not self._has_budgets:
            self._append([event])
            return event, ()
        self._adopt_due()
        alerts = self._enforcing().settle(event, data)
        if self._spool.is_waiting():
            self.bring_in_spooled()
        return event, alerts

    def _append_spooled(self, begin: Mapping[str, Any], end: Mapping[str, Any] | None) -> None:
        """Append a call that has waited: its hold, if it had one, is of a process that has ended, or lost already."""
        self._current_book()
        if not (self._has_budgets or begin.get("declared")):
            self._append_adopting([self._watched_event(begin, end, None)[0]])
            return
        held = self._enforcing().reserved(str(begin["id"]))
        event, data = self._watched_event(begin, end, held)
        self._adopt_due()
        self._enforcing().settle(event, data)

    def _asked(self, begin: Mapping[str, Any]) -> AskedCall:
        begin, plain = _safe(begin)
        return asked_call(
            begin,
            self._attributes_of(begin),
            _context(begin, {}),
            os_user=self._attributes.os_user,
            plain=plain,
        )

    def _attributes_of(self, begin: Mapping[str, Any]) -> dict[str, Any]:
        return self._attributes.resolve(
            begin.get("attributes") or {},
            flags=begin.get("run_flags"),
            environment=begin.get("environment") or {},
            folder=begin.get("cwd"),
            live=True,
        )

    def _watched_event(
        self, begin: Mapping[str, Any], end: Mapping[str, Any] | None, held: Reservation | None
    ) -> tuple[NewEvent, dict[str, Any]]:
        """The event of a watched call and its data.  What its hold says of it is repeated, and its book prices it."""
        ended: Mapping[str, Any] = end if end is not None else {"status": "unknown", "error_type": "ClientDied"}
        told = {**begin, **(end or {})}
        fields = {**begin, **ended, "pricing_context": _context(begin, ended)}
        attributes, book = None, None
        if held is not None:
            fields |= {name: begin.get(name) for name in _COUNTED_BY & ended.keys()}
            fields["started_at"] = held.asked.data["started_at"]
            attributes = held.asked.data
            book = self._store.load_book(held.book)
        built = build_call(
            fields,
            attributes if attributes is not None else self._attributes_of(begin),
            book=book or self._current_book(),
            origin=str(begin.get("origin") or "hook"),
            os_user=self._attributes.os_user,
            live=True,
            fingerprint=told,
            plain=is_plain(told),
        )
        if held is not None:
            built.data["hold_id"] = held.hold_id
        event_id = begin["id"]
        if not isinstance(event_id, str) or _ID.fullmatch(event_id) is None:
            raise InputRefused("the call's id is no UUID in its one spelling")
        check_live_data(built.type, built.data)
        return NewEvent.of(built.type, event_id, built.data), built.data

    def _is_marked(self) -> bool:
        """Whether the home is marked as one where a budget blocks: another process may just have set the first one."""
        return os.path.lexists(self._blocking)

    def _enforcing(self) -> Enforcement:
        if self._enforcement is None:
            from .budgets._enforcement import Enforcement  # SQLite comes with it, which no home without budgets needs

            self._enforcement = Enforcement(self.home, self._disk, self._appender)
        return self._enforcement

    def _append(self, events: Sequence[NewEvent]) -> None:
        self._append_adopting(events)
        if self._spool.is_waiting():
            self.bring_in_spooled()

    def _append_adopting(self, events: Sequence[NewEvent]) -> None:
        """Append after the book is adopted that prices the events, where that is due."""
        self._adopt_due()
        self._appender.append(events)

    def _adopt_due(self) -> None:
        """Adopt the book that calls are priced by, where the home does not have it yet."""
        adoption = self._adoption
        if self._book is not None and adoption is None and not self._has_book():
            adoption = adoption_of_loaded(self._store, self._book.sha256)  # the home was removed meanwhile
        if adoption is not None:
            actor = self._attributes.os_user
            if adopt_planned(self.home, self._appender, self._store, adoption, actor):
                self._adoption = None
            else:
                self._look_again()  # another process has adopted other prices meanwhile

    def _look_again(self) -> None:
        """Look up the home's book anew for the next call."""
        self._adoption = None
        self._book_as_of = -1

    def _has_book(self) -> bool:
        try:
            return self._disk.exists(self._book_path)
        except OSError as error:
            raise HomeError(f"cannot look at {self._book_path}: {error.strerror}; {remedy(error)}") from error

    def _current_book(self) -> Book:
        """The home's book, looked up again when another process may have adopted one.

        Where the shipped list is to be adopted, that is done with the next event that is appended, and not before.
        """
        seen = self._appender.adoptions_seen
        if self._book is None or (self._book_as_of != seen and self._adoption is None):
            adopted, self._has_budgets = what_holds(self.home, self._disk)
            if self._book is None:
                self._adoption = plan_adoption(self._store, adopted)
            planned = self._adoption
            if planned is not None:
                adopted = planned.manifest.sha256
                self._store.hold(planned.files)
            if adopted is not None and (self._book is None or self._book.sha256 != adopted):
                self._book = self._store.load_book(adopted)
                self._book_path = str(self.home.prices / adopted)
            self._book_as_of = seen
        if self._book is None:
            raise HomeError(f"{self.home.path} names no price book any more: run keledger verify")
        return self._book


def _plain_fields(fields: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The fields as JSON values, and whether they are plain ones.  Raises InputRefused that names the field."""
    given = fields if type(fields) is dict else dict(fields)
    odd = [name for name, value in given.items() if type(value) not in SCALARS and not is_plain(value, DEPTH_MAX)]
    if not odd:
        return given, True
    given = dict(given)
    for name in odd:
        try:
            given[name] = json_safe(given[name], strict=True)
        except InputRefused as error:
            raise InputRefused(f"{name}: {error}") from None
    return given, False


def _safe(given: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """What is told of a watched call, as JSON values, and whether it came as plain ones."""
    if type(given) is dict and is_plain(given, DEPTH_MAX):
        return given, True
    return json_safe(given, strict=False), False


def _context(begin: Mapping[str, Any], ended: Mapping[str, Any]) -> dict[str, str]:
    """What a price may hang on: what was answered stands above what was asked for, also where it says that the standard
    price holds."""
    told = {**(begin.get("pricing_context") or {}), **(ended.get("pricing_context") or {})}
    return {name: told[name] for name in told.keys() - CONTEXT_FIELDS} | pricing_context(told)


def _told(error: Exception) -> str:
    """An unexpected error by its kind; its text may quote the call."""
    return (error.strerror or "") if isinstance(error, OSError) else f"unexpected {type(error).__name__}"


def _recorded(event: NewEvent) -> Recorded:
    data = orjson.loads(event.data)
    totals = token_totals(data["usage"])
    cost = data["cost"]
    return Recorded(
        event.id,
        data["status"],
        cost["state"],
        cost.get("total_usd"),
        totals.input_tokens,
        totals.output_tokens,
    )
