"""Promise 9: budgets are not built yet; what is promised of them comes with them, and their tests come here.

What holds already: their events have names that nothing else takes, and where a later release has written some, this
one keeps them, counts them, says so in every report, and takes none for a call.  ``test_versions.py`` holds that for
each type, through merges and rebuilds.
"""

from __future__ import annotations

import pytest

from keledger.journal import Home, Ledger
from keledger.journal._events import TYPES_RESERVED
from keledger.journal._validate import writes
from tests.cli.support import forge, keledger
from tests.journal.support import call, calls

EVENTS = (
    "budget.set", "budget.removed", "budget.raised", "alert.raised", "alert.delivered", "call.reserved", "call.blocked",
    "hold.released", "hold.lost", "hold.resolved",
)  # fmt: skip


@pytest.mark.parametrize("event_type", EVENTS)
def test_their_names_are_reserved_and_not_written(event_type: str) -> None:
    assert event_type in TYPES_RESERVED
    assert not writes(event_type)
    outcome = keledger("schema", event_type)
    assert (outcome.status, "reserved for a later release" in outcome.complaint) == (2, True)


def test_what_a_later_release_wrote_of_them_is_told_and_is_no_call(home: Home) -> None:
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
    spent = keledger("--home", str(home.path), "daily").json["totals"]
    for event_type in EVENTS:  # with all that a call has, so that whoever took one for a call would count it
        forge(home, event_type, calls(home)[0]["data"] | {"name": "monthly", "action": "block", "limit_usd": "0.01"})
    daily = keledger("--home", str(home.path), "daily")
    assert daily.json["totals"] == spent
    for event_type in EVENTS:
        assert f"1 event {event_type} v1 that this release keeps but does not read: upgrade keledger" in daily.err
    verified = keledger("--home", str(home.path), "verify")
    assert (verified.status, verified.json["unknown_events"]) == (0, len(EVENTS))
