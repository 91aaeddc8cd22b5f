"""Administrative events: what people decide about calls, months and money, with who decided and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ._cleaning import check_reason
from ._identity import id_of_key, input_sha256, new_id
from ._line import NewEvent
from ._money import check_adjusted, usd_to_pico
from ._unchanged import check_unchanged
from ._validate import check_data
from ._watching import Watching

if TYPE_CHECKING:
    from ._anchor import Anchor


class Administration(Watching):
    """What a ledger does when somebody decides: calls voided, reprices applied, months closed, money adjusted."""

    def void(self, call_id: str, reason: str) -> str:
        """Take a call out of every report, for a stated reason; returns the event's id.  The call stays journaled."""
        return self._administer("call.voided", {"call_id": call_id}, reason)

    def revert_void(self, call_id: str, reason: str) -> str:
        """Let a voided call count again, for a stated reason; returns the event's id."""
        return self._administer("void.reverted", {"call_id": call_id}, reason)

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
