"""UTC days cut at the bounds of local days, so that SQL can count these without knowing a zone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta

from keledger.journal import DAY_US, Zone

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Calendar:
    """Pieces of UTC days, each within one local day, and a width that divides all their bounds."""

    utc_days_us: list[int]
    starts_us: list[int]
    ends_us: list[int]
    labels: list[str]
    slot_us: int


def calendar(zone: Zone, utc_days_us: Iterable[int], label: Callable[[date], str]) -> Calendar:
    """The given UTC days, told by their first instant, cut at the bounds of local days and labelled by these."""
    made = Calendar([], [], [], [], 0)
    bounds: set[int] = set()
    for utc_day_us in utc_days_us:
        day, last = zone.day(utc_day_us), zone.day(utc_day_us + DAY_US - 1)
        while True:
            start_us, end_us = zone.start_us(day), zone.end_us(day)
            if start_us < end_us:
                made.utc_days_us.append(utc_day_us)
                made.starts_us.append(max(start_us, utc_day_us))
                made.ends_us.append(min(end_us, utc_day_us + DAY_US))
                made.labels.append(label(day))
                bounds.update((start_us, end_us))
            if day >= last:
                break
            day += _DAY
    return replace(made, slot_us=math.gcd(DAY_US, *bounds))
