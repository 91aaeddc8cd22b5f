"""What was told before a call: estimates, and models that were chosen by them, as events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._administration import Administration
from ._attributes import NAMES
from ._calls import TEXT_FIELDS
from ._cleaning import json_safe
from ._identity import input_sha256, new_id
from ._line import NewEvent
from ._time import format_time, now_us
from ._validate import check_live_data

_ABOUT = frozenset((*TEXT_FIELDS, *NAMES, "run", "attempt", "provider", "model", "tags", "os_user", "repaired"))
"""What an estimate repeats of the call that it is about."""


class Foretelling(Administration):
    """What a ledger keeps of what was told before a call.  None of it holds anything, or costs anything."""

    def record_estimate(
        self,
        told: Mapping[str, Any],
        begin: Mapping[str, Any],
        *,
        for_call: bool = True,
        confirm: Mapping[str, str] | None = None,
    ) -> str:
        """Journal an estimate; returns the event's id, which the call is to name as ``estimate_id``.

        *told* are the fields of ``estimate.made`` as :meth:`Estimate.fields` has them, *begin* is what is known of the
        call, as :meth:`reserve` takes it; with *for_call* it is the very call that follows.  *confirm* has
        ``above_usd`` and the ``answer``, where somebody was asked.  Raises as appending does.
        """
        about = {"call_id": begin["id"]} if for_call else {}
        if confirm is not None:
            about["confirm"] = dict(confirm)
        return self._foretell("estimate.made", {**told, **about}, begin, shape=True)

    def confirm_above(self, begin: Mapping[str, Any]) -> str | None:
        """From which cost on a call is to be confirmed, in USD; None where nobody says so.

        *begin* is what is known of the call, as :meth:`reserve` takes it.  Raises UsageError for what is no amount.
        """
        flags = begin.get("run_flags")
        return self._attributes.confirm_above(flags if isinstance(flags, Mapping) else {}, begin.get("cwd"))

    def record_choice(self, chosen: Mapping[str, Any], begin: Mapping[str, Any]) -> str:
        """Journal which model was chosen and why; returns the event's id.

        *chosen* has ``provider``, ``model``, ``requirements``, ``suitable``, ``left_out``, ``left_out_models`` and
        ``book`` of ``model.chosen``, *begin* is what is known of the call that follows.  Raises as appending does.
        """
        return self._foretell("model.chosen", {"chosen_at": format_time(now_us()), **chosen}, begin, shape=False)

    def _foretell(self, event_type: str, told: Mapping[str, Any], begin: Mapping[str, Any], *, shape: bool) -> str:
        begin = json_safe(begin, strict=False)
        asked = self._asked(begin).data
        data = {
            "input_sha256": input_sha256(event_type, {"told": told, "about": begin}),
            **{name: value for name, value in asked.items() if name in _ABOUT},
            "origin": str(begin.get("origin") or "hook"),
            **told,
        }
        if shape and "request" in asked:
            data["request"] = asked["request"]
        check_live_data(event_type, data)
        event = NewEvent.of(event_type, new_id(), data)
        self._append([event])
        return event.id
