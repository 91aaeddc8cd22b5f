"""Refusals: which budget says no to a call, with what numbers, and what can be done about it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from keledger.journal._days import Zone
from keledger.journal._errors import BudgetExceeded, BudgetRefusal
from keledger.journal._money import PICODOLLARS, pico_to_usd
from keledger.journal._segment import read_head
from keledger.journal._time import format_time

from ._alerts import of_group
from ._fold import Fold
from ._standing import Standing
from ._store import Place

_CENT_PICO = PICODOLLARS // 100


@dataclass(frozen=True, slots=True)
class Refused:
    """One budget's refusal: as the event tells it, and as the caller gets it."""

    data: dict[str, Any]
    told: BudgetRefusal

    @property
    def cause(self) -> str:
        """Why: see :class:`BudgetRefusal`."""
        return self.told.cause


def refusal_of(
    stand: Standing, cause: str, *, asked: Mapping[str, Any], amount: int | None = None, detail: str | None = None
) -> Refused:
    """The refusal of a budget that stands like this."""
    data = {**stand.as_data(), "cause": cause}
    if amount is not None:
        data["asked_usd"] = pico_to_usd(amount)
    if detail is not None:
        data["detail"] = detail
    if cause == "limit":
        sentence = _limit_sentence(stand, amount or 0)
    elif cause == "unpriced":
        sentence = (
            f"{stand.name} refuses a call that nobody can price, and no price is known for {asked['provider']}/"
            f"{asked['model']}: keledger prices set {asked['provider']}/{asked['model']} --input USD --output USD "
            "--reason TEXT sets one, in USD per million tokens"
        )
    else:
        sentence = f"{stand.name} holds the most that a call can cost, which nobody knows of this one: {detail}"
    return Refused(data, _told(stand, cause, amount, sentence))


def refused_together(refusals: Sequence[Refused]) -> BudgetExceeded:
    """The exception for a call that these refuse."""
    return BudgetExceeded("; ".join(each.told.sentence for each in refusals), [each.told for each in refusals])


def unreadable_refusals(fold: Fold) -> list[Refused]:
    """What stands in the home that this release cannot read and must not pass over."""
    found = []
    for about, event in fold.unreadable.items():
        place = Place(*event["place"])
        program = _program(fold, place)
        sentence = (
            f"{about} was journaled as {event['type']} version {event['v']}{program}, which this keledger cannot read: "
            f"no call goes out while a budget blocks; upgrade keledger in {sys.prefix}"
        )
        detail = f"{about}: {event['type']} version {event['v']}"
        if event.get("damaged"):
            where = f"journal/{place.writer}/{place.segment:08d}.jsonl, byte {place.start}"
            sentence = (
                f"the line that set {about} is damaged ({where}), so nobody knows what it allows: no call goes out "
                "until the file is restored from a copy, or the budget is set anew (keledger budget set)"
            )
            detail = f"{about}: damaged line, {where}"
        data = {"cause": "unreadable", "detail": detail}
        if isinstance(event["name"], str):
            data["name"] = event["name"]
        told = BudgetRefusal("unreadable", event["name"], None, "0", "0", "0", None, None, sentence)
        found.append(Refused(data, told))
    return found


def _program(fold: Fold, place: Place) -> str:
    """By which program a line was written, where its segment tells."""
    folder = fold.store.path.parent.parent / "journal" / place.writer
    try:
        head = read_head(folder / f"{place.segment:08d}.jsonl")
    except OSError:
        head = None
    return f" by {head.event['data']['program']}" if head is not None else ""


def _told(stand: Standing, cause: str, amount: int | None, sentence: str) -> BudgetRefusal:
    data = stand.as_data()
    return BudgetRefusal(
        cause,
        data.get("name"),
        data.get("declared"),
        data["limit_usd"],
        data["spent_usd"],
        data["held_usd"],
        pico_to_usd(amount) if amount is not None else None,
        data.get("window_to"),
        sentence,
    )


def _limit_sentence(stand: Standing, amount: int) -> str:
    group = of_group(stand.summed.group(stand.key[1])) if stand.budget is not None else ""
    return (
        f"{stand.name}{group} says no: of {dollars(stand.limit_pico)}{_per(stand)} {dollars(stand.spent_pico)} is "
        f"spent and {dollars(stand.held_pico)} held, and this call may cost {dollars(amount)}; {_reset(stand)}"
        f"{_how_to_raise(stand, amount)}"
    )


def _per(stand: Standing) -> str:
    period = stand.summed.scope.period
    if stand.declared is not None:
        return f" for this {stand.declared}"
    if period.days is not None:
        return f" in {period.days} days"
    return {"session": " a session", "total": " in all"}.get(period.kind, f" a {period.kind}")


def _reset(stand: Standing) -> str:
    if not stand.resets:
        return ""
    if stand.summed.is_rolling:
        return "what was spent longest ago leaves the window hour by hour; "
    zone = stand.summed.scope.timezone
    return f"the window resets {local_time(stand.window.end_us, zone)} ({zone}); "


def _how_to_raise(stand: Standing, amount: int) -> str:
    needed = stand.spent_pico + stand.held_pico + amount
    to = pico_to_usd(max(2 * stand.limit_pico, -(-needed // _CENT_PICO) * _CENT_PICO))
    if stand.declared == "run":
        return f"to allow more: keledger run --budget {to} ..."
    if stand.declared == "session":
        return f"to allow more: --set keledger_budget={to}, or set the session's budget to {to} where it stands"
    assert stand.budget is not None, "a budget that nobody declared was set"
    until = ""
    if stand.resets and not stand.summed.is_rolling:
        until = f" --until {Zone(stand.budget.timezone).day(stand.window.end_us - 1)}"
    return f"to raise it: keledger budget raise {stand.budget.name} --to {to}{until} --reason TEXT"


def dollars(pico: int) -> str:
    """Exact money for people: at least two decimals."""
    sign, usd = ("-", pico_to_usd(-pico)) if pico < 0 else ("", pico_to_usd(pico))
    whole, _, fraction = usd.partition(".")
    return f"{sign}${whole}.{fraction.ljust(2, '0')}"


def local_time(instant_us: int, timezone: str) -> str:
    """An instant on a zone's clocks, to the minute."""
    from zoneinfo import ZoneInfo

    if not -62_135_510_400_000_000 < instant_us < 253_402_214_400_000_000:  # a day from where dates end
        return format_time(instant_us)
    zone = UTC if timezone == "UTC" else ZoneInfo(timezone)
    return datetime.fromtimestamp(instant_us // 1_000_000, UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M")
