"""The scopes that are summed: which of them cover a call, and under what key it counts in each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from keledger.journal._days import WEEKDAYS, Zone
from keledger.journal._time import format_time

from ._policy import Condition, Scope
from ._store import SumsKey
from ._windows import HOUR_US, Period, Window, Windows

_TOTAL = Period("total")


def _each(column: str) -> Scope:
    return Scope((Condition(column, None, each=True),), _TOTAL, "UTC", "mon")


RUN, SESSION = 0, 1
"""The numbers of two scopes that are always summed, for the budgets that a call itself declares: one window for each
run, and one for each session."""

_BUILT_IN = {RUN: _each("run"), SESSION: _each("session")}


class Summed:
    """A scope under its number."""

    __slots__ = (
        "_exact", "_last", "_slot", "_told", "_window", "_windows",
        "columns", "is_rolling", "number", "resets", "scope",
    )  # fmt: skip

    def __init__(self, number: int, scope: Scope) -> None:
        self.number, self.scope = number, scope
        self.is_rolling = scope.period.kind == "rolling"
        """Whether a window is made of many slots."""
        self.resets = scope.period.resets
        """Whether its windows end some day."""
        self.columns = tuple(condition.column for condition in scope.where if condition.each)
        """The columns of which each value has a window of its own, in the order of a group's values."""
        if scope.period.kind == "session" and "session" not in self.columns:
            self.columns = (*self.columns, "session")
        self._exact = tuple((each.column, each.value) for each in scope.where if not each.each)
        self._last: tuple[tuple[str | None, ...], SumsKey] = ((), (number, "", 0))
        self._window = Window(0, 0)
        self._slot = (0, 0, 0)
        """The span of instants that the last call's slot has, and that slot."""
        self._told: tuple[Window, dict[str, str]] = (Window(0, 0), {})
        self._windows = Windows(scope.period, Zone(scope.timezone), WEEKDAYS.index(scope.week_start))

    def key(self, data: Mapping[str, Any], started_us: int) -> SumsKey | None:
        """The key under which a call, or money beside the calls, counts here; None where it is not covered.

        Asked for every budget on every call: what the last answer was made of is kept.
        """
        for column, value in self._exact:
            if value_of(data, column) != value:
                return None
        start_us, end_us, slot = self._slot
        if not start_us <= started_us < end_us:
            slot = self._windows.slot(started_us)
            window = self._windows.window(started_us)
            self._slot = (slot, slot + HOUR_US, slot) if self.is_rolling else (*window, slot)
            self._window = window
        values = tuple([value_of(data, column) for column in self.columns]) if self.columns else ()
        last_values, key = self._last
        if values != last_values or key[2] != slot:
            group = key[1] if values == last_values else orjson.dumps(values).decode()
            key = (self.number, group, slot)
            self._last = (values, key)
        return key

    def window(self, instant_us: int) -> Window:
        """The window of an instant."""
        if self._slot[0] <= instant_us < self._slot[1]:
            return self._window
        return self._windows.window(instant_us)

    def told(self, window: Window) -> dict[str, str]:
        """When a window begins and ends, as events have it; nothing of one that never ends."""
        last, told = self._told
        if last != window:
            told = {}
            if self.resets:
                told = {"window_from": format_time(window.start_us), "window_to": format_time(window.end_us)}
            self._told = (window, told)
        return told

    def group(self, text: str) -> list[dict[str, str]]:
        """A group's values as events have them, by the text of a key."""
        values = orjson.loads(text) if text else []
        return [
            {"column": column} if value is None else {"column": column, "value": value}
            for column, value in zip(self.columns, values, strict=True)
        ]

    def group_text(self, group: Iterable[Mapping[str, str]]) -> str:
        """The text of a key, by a group's values as events have them."""
        values = {each["column"]: each.get("value") for each in group}
        return orjson.dumps([values.get(column) for column in self.columns]).decode() if self.columns else ""


class Scopes:
    """All scopes that are summed.  Those that ask for an exact value are found by it."""

    def __init__(self, numbered: Mapping[int, Scope]) -> None:
        self._by_number = {number: Summed(number, scope) for number, scope in {**_BUILT_IN, **numbered}.items()}
        self._numbers = {scope.definition: number for number, scope in numbered.items()}
        self._anywhere: list[Summed] = []
        self._by_value: dict[str, dict[str | None, list[Summed]]] = {}
        for number, summed in self._by_number.items():
            if number in _BUILT_IN:
                continue
            exact = [condition for condition in summed.scope.where if not condition.each]
            if exact:
                by_value = self._by_value.setdefault(exact[0].column, {})
                by_value.setdefault(exact[0].value, []).append(summed)
            else:
                self._anywhere.append(summed)

        columns = {condition.column for scope in numbered.values() for condition in scope.where}
        self._by_tag = any(column.startswith("tag:") for column in columns)
        self._columns = sorted({"run", "session", *(column for column in columns if not column.startswith("tag:"))})
        self._asked: tuple[Any, ...] = (None,)
        self._answer: list[SumsKey] = []

    def __getitem__(self, number: int) -> Summed:
        return self._by_number[number]

    def number(self, scope: Scope) -> int | None:
        """The number of a scope; None where it is not summed."""
        return self._numbers.get(scope.definition)

    @property
    def numbered(self) -> dict[int, Scope]:
        """The scopes of budgets, by number."""
        return {number: each.scope for number, each in self._by_number.items() if number not in _BUILT_IN}

    def keys(self, data: Mapping[str, Any], started_us: int) -> list[SumsKey]:
        """Under what keys a call of these recorded fields counts.

        The answer is kept, for it is asked for four times a call: to hold and to settle it, and as each is folded.
        """
        asked = (started_us, *map(data.get, self._columns), data.get("tags") if self._by_tag else None)
        if asked[:-1] == self._asked[:-1] and asked[-1] is self._asked[-1]:
            return self._answer
        self._answer = self._keys(data, started_us)
        self._asked = asked
        return self._answer

    def _keys(self, data: Mapping[str, Any], started_us: int) -> list[SumsKey]:
        keys: list[SumsKey] = []
        run = self._by_number[RUN].key(data, started_us) if data.get("run") is not None else None
        session = self._by_number[SESSION].key(data, started_us) if data.get("session") is not None else None
        keys += [key for key in (run, session) if key is not None]
        for summed in self._candidates(data):
            key = summed.key(data, started_us)
            if key is not None:
                keys.append(key)
        return keys

    def _candidates(self, data: Mapping[str, Any]) -> Sequence[Summed]:
        if not self._by_value:
            return self._anywhere
        found = list(self._anywhere)
        for column, by_value in self._by_value.items():
            found += by_value.get(value_of(data, column), ())
        return found


def built_in_key(number: int, value: str) -> SumsKey:
    """The key of a run or a session."""
    return number, orjson.dumps([value]).decode(), 0


def value_of(data: Mapping[str, Any], column: str) -> str | None:
    """The recorded value of a column; None where there is none."""
    value: str | None
    if column.startswith("tag:"):
        tags = data.get("tags")
        value = tags.get(column[4:]) if tags else None
    else:
        value = data.get(column)
    return value
