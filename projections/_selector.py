"""Which calls a reprice covers: by recorded fields alone, so that it means the same whatever else is journaled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from keledger.journal import UsageError, Zone, format_time, parse_time

from ._options import column


@dataclass(frozen=True, slots=True)
class Selector:
    """Calls that began in ``[started_from_us, started_to_us)`` and have every value of *where*.

    *where* are pairs of a column of reports and the exact value it must have, None standing for none; with
    *only_unpriced* just those that were recorded without a price.  Raises UsageError for a column that there is not.
    """

    started_from_us: int | None = None
    started_to_us: int | None = None
    where: tuple[tuple[str, str | None], ...] = ()
    only_unpriced: bool = False

    def __post_init__(self) -> None:
        for name, _ in self.where:
            column(name)

    def condition(self) -> tuple[str, list[Any]]:
        """As SQL over a line of calls named ``c``, and its parameters."""
        parts: list[str] = []
        parameters: list[Any] = []
        if self.started_from_us is not None:
            parts.append(f"c.started_us >= {self.started_from_us}")
        if self.started_to_us is not None:
            parts.append(f"c.started_us < {self.started_to_us}")
        if self.only_unpriced:
            parts.append("c.cost_state = 'unpriced'")
        for name, value in self.where:
            if value is None:
                parts.append(f"{column(name)} IS NULL")
            else:
                parts.append(f"{column(name)} = ?")
                parameters.append(value)
        return " AND ".join(parts) or "1 = 1", parameters

    def as_data(self) -> dict[str, Any]:
        """As the event has it."""
        data: dict[str, Any] = {}
        if self.started_from_us is not None:
            data["started_from"] = format_time(self.started_from_us)
        if self.started_to_us is not None:
            data["started_to"] = format_time(self.started_to_us)
        if self.where:
            data["where"] = [
                {"column": name} if value is None else {"column": name, "value": value} for name, value in self.where
            ]
        if self.only_unpriced:
            data["only"] = "unpriced"
        return data

    @classmethod
    def of_days(
        cls,
        since: date | None,
        until: date | None,
        timezone: str,
        *,
        where: Iterable[tuple[str, str]] = (),
        only_unpriced: bool = False,
    ) -> Selector:
        """As reports are asked for: days of a zone, both included, and values of which the empty one stands for none.

        Raises UsageError.
        """
        if since is not None and until is not None and since > until:
            raise UsageError(f"since {since} is after until {until}: there is no such day")
        zone = Zone(timezone)
        return cls(
            zone.start_us(since) if since is not None else None,
            zone.end_us(until) if until is not None else None,
            tuple((name, value or None) for name, value in where),
            only_unpriced,
        )

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Selector:
        """From an event.  Raises KeyError, ValueError, TypeError or KeledgerError where it cannot be read."""
        if not isinstance(data, Mapping):
            raise TypeError(f"its selector is a {type(data).__name__}")
        if (
            not data.keys() <= {"started_from", "started_to", "where", "only"}
            or data.get("only", "unpriced") != "unpriced"
        ):
            raise ValueError("it selects by something that this release does not know")
        return cls(
            parse_time(data["started_from"]) if "started_from" in data else None,
            parse_time(data["started_to"]) if "started_to" in data else None,
            tuple(map(_selected, data.get("where", ()))),
            "only" in data,
        )


def _selected(pair: Mapping[str, Any]) -> tuple[str, str | None]:
    """A column and its value, as an event has them: comparing a column with what is no text would fail every report."""
    name, value = pair["column"], pair.get("value")
    if not isinstance(name, str) or not isinstance(value, str | None):
        raise TypeError(f"it selects by the {type(value).__name__} {value!r}")
    return name, value
