"""What a budget says: which calls it covers, how much they may cost, and what becomes of a call that may not."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import orjson

from keledger.journal._cleaning import Cleaner
from keledger.journal._days import AFTER_ALL_US, WEEKDAYS, Zone
from keledger.journal._errors import InputRefused, UsageError
from keledger.journal._money import micro_per_million, pico_to_usd, usd_to_pico
from keledger.journal._time import format_time, parse_time
from keledger.journal._zone import check_zone
from keledger.journal.capture.declared import WrongBudget, limit_usd
from keledger.journal.usage import provider_name

from ._windows import Period

COLUMNS = (
    "provider", "model", "prompt", "prompt_version", "session", "run", "client", "user", "project", "team",
    "cost_center", "os_user", "origin",
)  # fmt: skip
"""What calls are told apart by, beside ``tag:KEY``: all of it is known before a call is sent."""

ACTIONS = ("block", "warn")
HOLDS = ("p50", "p90", "p99", "max")
ON_LOST = ("count", "release")
WARN_PERCENT = (80, 100)
"""Where a budget warns that does not say where."""

NAME_LENGTH_MAX = 63
"""Characters of a budget's name: as many as a tag's key may have."""

_NAME = re.compile(rf"[a-z0-9][a-z0-9_.-]{{0,{NAME_LENGTH_MAX - 1}}}")
_TAG = re.compile(r"tag:[a-z][a-z0-9_.-]{0,62}")
_PERCENT = re.compile(r"[1-9][0-9]?|100")
_RATE = re.compile(r"0*([0-9]+)(?:\.([0-9]+?)0*)?")
_DAY = re.compile(r"\d{4}-?\d{2}-?\d{2}", re.ASCII)
_COMMA = re.compile(r"(?<!\\),")
_SPECIAL = re.compile(r"[,*]")
_ESCAPED = re.compile(r"\\([,*])")


class Condition(NamedTuple):
    """What one column must be: its exact recorded value, or none at all.

    With *each* it may be anything, and every value has a window of its own; so have the calls that have none.
    """

    column: str
    value: str | None
    each: bool = False

    def __str__(self) -> str:
        if self.each:
            return f"{self.column}=*"
        written = _SPECIAL.sub(r"\\\g<0>", self.value or "")
        return f"{self.column}={written}"

    def as_data(self) -> dict[str, Any]:
        """As ``budget.set`` has it."""
        if self.each:
            return {"column": self.column, "each": True}
        return {"column": self.column} if self.value is None else {"column": self.column, "value": self.value}


class Scope(NamedTuple):
    """Which calls count together, and for how long.  Budgets of equal scopes have the same sums.

    So that what means the same is equal: conditions stand in the order of their columns, *timezone* is UTC where no
    window depends on it, and *week_start* is ``mon`` where no week is counted.
    """

    where: tuple[Condition, ...]
    period: Period
    timezone: str
    week_start: str

    @classmethod
    def of(cls, where: Iterable[Condition], period: Period, timezone: str, week_start: str | None) -> Scope:
        """The scope that these make, in its one form."""
        is_calendar = period.resets and period.days is None
        is_week = period.kind == "week"
        return cls(
            tuple(sorted(where, key=lambda condition: condition.column)),
            period,
            timezone if is_calendar else "UTC",
            week_start if is_week and week_start is not None else WEEKDAYS[0],
        )

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Scope:
        """The scope in the data of a ``budget.set``."""
        where = (Condition(each["column"], each.get("value"), each.get("each", False)) for each in data["where"])
        return cls.of(where, Period.parse(data["period"]), data["timezone"], data.get("week_start"))

    @property
    def definition(self) -> str:
        """The scope as JSON, equal where the scope is."""
        return orjson.dumps(
            {
                "period": str(self.period),
                "timezone": self.timezone,
                "week_start": self.week_start,
                "where": [condition.as_data() for condition in self.where],
            },
            option=orjson.OPT_SORT_KEYS,
        ).decode()


class Raise(NamedTuple):
    """A higher limit, for good or for calls that begin before ``until_us``; ``id`` is that of its event."""

    id: str
    limit_pico: int
    until_us: int | None
    raised_us: int
    """When it was journaled."""


class Budget(NamedTuple):
    """A budget as one ``budget.set`` has it, with the raises that followed.

    *id* is that of its event, and *tick* its place in the order.  *timezone* is where the days of a raise are counted,
    whatever the period.  *unpriced_pico_per_token* is known where *unpriced* is ``rate``.
    """

    id: str
    name: str
    action: str
    limit_pico: int
    scope: Scope
    timezone: str
    warn_percent: tuple[int, ...]
    hold: str
    on_lost: str
    unpriced: str
    unpriced_pico_per_token: int | None
    tick: int
    raises: tuple[Raise, ...] = ()

    def as_of(self, instant_us: int) -> Budget:
        """The budget without the raises that were made later: for looking back.  A call is held to all that there are,
        for no clock decides which of two events came first."""
        if all(raised.raised_us <= instant_us for raised in self.raises):
            return self
        return self._replace(raises=tuple(raised for raised in self.raises if raised.raised_us <= instant_us))

    def limit_pico_at(self, instant_us: int) -> int:
        """The limit that holds for a call which begins then: that of the last raise that is not over, else its own."""
        for raised in reversed(self.raises):
            if raised.until_us is None or instant_us < raised.until_us:
                return raised.limit_pico
        return self.limit_pico


def budget_fields(
    name: str,
    *,
    limit: str,
    period: str,
    where: Sequence[str] = (),
    timezone: str = "UTC",
    week_start: str | None = None,
    warn: str | None = None,
    action: str = "block",
    hold: str = "p90",
    on_lost: str = "count",
    unpriced: str | None = None,
) -> dict[str, Any]:
    """What ``budget.set`` says of a budget, from what a person wrote.

    *limit* is in USD, *period* one of ``PERIODS``.  *where* are conditions like ``project=crm``, ``team=`` (has none)
    or ``user=*`` (a window for each), several in one text parted by commas; a comma or ``*`` of a value is written
    ``\\,`` and ``\\*``.  *warn* are percentages like ``80,95``, or ``none``.  *unpriced* is ``block``, ``allow``, or a
    rate in USD per million tokens of any kind; without it, a budget that blocks refuses calls that nobody can price.

    Raises UsageError or InputRefused with one sentence that says what is wrong, and what belongs there.
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"{name[:64]!r} is no name for a budget: use up to {NAME_LENGTH_MAX} of a-z, 0-9, '_', '.' and '-', "
            "the first one of a-z or 0-9"
        )
    fields: dict[str, Any] = {
        "name": name,
        "action": _one_of("action", action, ACTIONS),
        "limit_usd": _limit(limit),
        "period": str(Period.parse(period)),
        "timezone": check_zone(timezone, "timezone"),
    }
    if week_start is not None and period != "week":
        raise UsageError(f"a budget for each {period} has no week that could start on {week_start!r}: leave it out")
    if period == "week":
        fields["week_start"] = _one_of("week_start", week_start or WEEKDAYS[0], WEEKDAYS)
    if hold == "max" and action == "block" and unpriced not in (None, "block"):
        raise UsageError(
            f"hold max and unpriced {unpriced[:64]!r} contradict each other: nobody knows the most that a call can "
            "cost whose model has no price; take another hold, or leave unpriced out"
        )
    return {
        **fields,
        "where": [condition.as_data() for condition in parse_where(where)],
        "warn_percent": _percentages(warn),
        "hold": _one_of("hold", hold, HOLDS),
        "on_lost": _one_of("on_lost", on_lost, ON_LOST),
        **_unpriced(unpriced, action),
    }


def parse_where(given: Iterable[str]) -> tuple[Condition, ...]:
    """Conditions as people write them; see :func:`budget_fields`."""
    found: dict[str, Condition] = {}
    for text in given:
        for part in _COMMA.split(text):
            condition = _condition(part.strip())
            if condition.column in found:
                raise UsageError(f"{condition.column} stands twice in the scope, and no call has two: name it once")
            found[condition.column] = condition
    return tuple(found.values())


def _condition(text: str) -> Condition:
    column, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{text[:64]!r} is no condition: write it like project=crm, team= (has none) or user=* (each)")
    _check_column(column)
    value = value.strip()
    if value == "*":
        return Condition(column, None, each=True)
    plain = Cleaner(live=False).text(column, _ESCAPED.sub(r"\1", value))
    if plain is not None and column == "provider":
        plain = provider_name(plain)  # as calls have it
    return Condition(column, plain)


def _check_column(column: str) -> None:
    if column in COLUMNS or _TAG.fullmatch(column) is not None:
        return
    near = difflib.get_close_matches(column, COLUMNS, n=1)
    if column.startswith("tag"):
        hint = "a tag is written like tag:release, its key being of a-z, 0-9, '_', '.' and '-'"
    elif near:
        hint = f"did you mean {near[0]!r}?"
    else:
        hint = f"there is {', '.join(COLUMNS)} and tag:KEY"
    raise UsageError(f"{column[:64]!r} is no attribute by which a budget tells calls apart; {hint}")


def _limit(text: str) -> str:
    try:
        return limit_usd(text)
    except WrongBudget as error:
        raise UsageError(str(error)) from None


def _one_of(what: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise UsageError(f"{what} can be {', '.join(allowed[:-1])} or {allowed[-1]}, not {value[:64]!r}")
    return value


def _percentages(text: str | None) -> list[int]:
    if text is None:
        return list(WARN_PERCENT)
    if text == "none":
        return []
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if _PERCENT.fullmatch(part) is None:
            raise UsageError(
                f"{part[:64]!r} is no percentage to warn at: give whole numbers from 1 to 100 like 80,95, or none"
            )
    return sorted({int(part) for part in parts})


def _unpriced(text: str | None, action: str) -> dict[str, str]:
    if text is None:
        return {"unpriced": "block" if action == "block" else "allow"}
    if text in ("block", "allow"):
        return {"unpriced": text}
    found = _RATE.fullmatch(text)
    whole, fraction = found.groups("") if found is not None else ("", "")
    rate = f"{whole}.{fraction}" if fraction.strip("0") else whole
    try:
        if not micro_per_million(rate):
            raise InputRefused("a rate of 0 is allow")
    except InputRefused:
        raise UsageError(
            f"unpriced can be block, allow, or a rate in USD per million tokens like 15 (above 0, below 10^12, at most "
            f"6 decimals), not {text[:64]!r}"
        ) from None
    return {"unpriced": "rate", "unpriced_usd_per_million": rate}


def read_scope(definition: str) -> Scope:
    """The scope of a :attr:`Scope.definition`."""
    return Scope.of_data(orjson.loads(definition))


def read_budget(event: Mapping[str, Any]) -> Budget:
    """The budget of a ``budget.set``.

    Raises UsageError where it cannot be counted here: its zone is not in this machine's time-zone database.
    """
    data = event["data"]
    rate = data.get("unpriced_usd_per_million")
    return Budget(
        id=event["id"],
        name=data["name"],
        action=data["action"],
        limit_pico=usd_to_pico(data["limit_usd"]),
        scope=Scope.of_data(data),
        timezone=check_zone(data["timezone"], f"budget {data['name']}"),
        warn_percent=tuple(data["warn_percent"]),
        hold=data["hold"],
        on_lost=data["on_lost"],
        unpriced=data["unpriced"],
        unpriced_pico_per_token=micro_per_million(rate) if rate is not None else None,
        tick=event["tick"],
    )


def with_raise(budget: Budget, event: Mapping[str, Any]) -> Budget:
    """The budget with one more raise: that of a ``budget.raised``."""
    data = event["data"]
    until = data.get("until")
    until_us = parse_time(until) if until is not None else None
    raised = Raise(event["id"], usd_to_pico(data["limit_usd"]), until_us, parse_time(event["time"]))
    return budget._replace(raises=(*budget.raises, raised))


def raise_fields(budget: Budget, limit: str, until: str | None, now_us: int) -> dict[str, Any]:
    """What ``budget.raised`` says, but who and why, from what a person wrote.

    *until* is the last day on which it holds, in the budget's zone (``2026-11-30``, ``today``), or an instant with its
    offset; None is for good.
    Raises UsageError for what is no limit, day or instant, InputRefused for a limit that is not above the one in force
    and for a raise that would be over already.
    """
    raised = _limit(limit)
    until_us = _until_us(until, Zone(budget.timezone), now_us) if until is not None else None
    if until_us is not None and until_us <= now_us:
        raise InputRefused(f"a raise until {until} would be over already: it can only end in the future")
    in_force = budget.limit_pico_at(now_us)
    if usd_to_pico(raised) <= in_force:
        raise InputRefused(
            f"the limit of budget {budget.name} is {pico_to_usd(in_force)} USD now, and {raised} does not raise it; to "
            "lower it, set the budget anew"
        )
    fields = {"name": budget.name, "budget_id": budget.id, "limit_usd": raised}
    return fields | ({"until": format_time(until_us)} if until_us is not None else {})


def _until_us(text: str, zone: Zone, now_us: int) -> int:
    try:
        if text == "today":
            return zone.end_us(zone.day(now_us))
        until_us = zone.end_us(date.fromisoformat(text)) if _DAY.fullmatch(text) else parse_time(text)
    except (ValueError, InputRefused):
        raise UsageError(
            f"{text[:64]!r} is no day or time for a raise to end: write it like 2026-11-30, today, or "
            "2026-11-30T18:00:00+01:00"
        ) from None
    if until_us >= AFTER_ALL_US:
        raise UsageError(f"{text} is the last day that there is: leave it out for a raise that holds for good")
    return until_us
