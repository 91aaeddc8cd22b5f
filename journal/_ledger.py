"""The library: record calls into a home."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from . import _limits as limits
from ._adopting import Adoption, adopt, current_prices
from ._adoption import what_holds
from ._calls import build_call, check_attributes, check_field_names
from ._cleaning import DEPTH_MAX, Cleaner, check_reason, json_kind, json_safe
from ._errors import InputRefused, KeledgerError, UsageError
from ._foretelling import Foretelling
from ._home import Home
from ._identity import id_of_key, new_id
from ._json import SCALARS, is_plain
from ._library import LibraryCall
from ._line import NewEvent
from ._validate import check_data, prepare_check
from .prices import BookManifest

if TYPE_CHECKING:
    from ._merge import Merged
    from .budgets import Budgets
    from .estimates import Estimate

_SOURCE = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


class Ledger(Foretelling):
    """One home, open for recording.  Safe to share between threads, and usable in forked children."""

    @classmethod
    def open(cls, home: str | os.PathLike[str] | None = None) -> Ledger:
        """Open a home: *home*, else ``KELEDGER_HOME``, else the user's default.  It is made on the first event.

        Raises HomeError where the place cannot be a home (another owner, not a folder, open to others).
        """
        import keledger

        found = Home.at(home)
        found.check()
        return cls(found, program=f"keledger {keledger.__version__}")

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(
        self, *, provider: str, model: str, request: object = None, estimate: Estimate | None = None, **fields: Any
    ) -> LibraryCall:
        """A call about to be made, as a context manager: ``with ledger.call(…) as call: call.complete(response)``.

        *fields* are those of :meth:`record` that are known before the call (prompt, session, project, tags, …).
        *request* is not journaled.  *estimate* is what was told of this call (:class:`keledger.Estimator`): it is
        journaled before the call, and held against what that comes to.  Leaving the block by an exception, or without
        ``complete()``, records a failed call; see :class:`LibraryCall`.
        """
        return LibraryCall(self, {"provider": provider, "model": model, **fields}, request, estimate)

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
