"""What is told of a call before it is made: whether it is wanted, what it is, and what becomes of it.

The server has one of these.  What estimates comes from outside (it reads projections, which the journal knows nothing
of) and is made when a call first needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from keledger.journal.estimates import Estimate


class Chosen(Protocol):
    """A model that was chosen: under the name by which it was offered, why, and the event's fields."""

    @property
    def name(self) -> str: ...

    @property
    def sentence(self) -> str: ...

    def fields(self) -> dict[str, Any]: ...


class Estimating(Protocol):
    """What a server needs to look ahead."""

    def prepare(self) -> None: ...

    def estimate(self, begin: Mapping[str, Any], request: object) -> Estimate: ...

    def choose(
        self, begin: Mapping[str, Any], request: object, asked: Mapping[str, Any], offered: Sequence[str]
    ) -> Chosen: ...


class Wanted(NamedTuple):
    """Why a call is to be estimated: it is not to be made at all (``only``), it may have to be confirmed, or the
    estimate is to be journaled beside it."""

    only: bool
    confirm_above_usd: str | None
    record: bool

    @property
    def blocks(self) -> bool:
        """Whether the call must not go out without an answer."""
        return self.only or self.confirm_above_usd is not None


def wanted(begin: Mapping[str, Any], confirm_above_usd: str | None) -> Wanted | None:
    """What the run's flags and the files want told of a call; None where nothing is."""
    flags = begin.get("run_flags")
    flags = flags if isinstance(flags, dict) else {}
    found = Wanted(bool(flags.get("estimate")), confirm_above_usd, bool(flags.get("estimates")))
    return found if found.blocks or found.record else None


class Foresight:
    """What looks ahead, opened when it is first needed, and what it told where no call was to be made."""

    def __init__(self, open_estimating: Callable[[], Estimating]) -> None:
        self._open = open_estimating
        self._estimating: Estimating | None = None
        self.estimates: list[tuple[Mapping[str, Any], object, Estimate]] = []
        """Where no call was to be made: what is known of it, its request, and what was told."""

    @property
    def estimating(self) -> Estimating:
        """What estimates, opened when it is first needed."""
        if self._estimating is None:
            self._estimating = self._open()
        return self._estimating


def must_be_confirmed(found: Estimate, confirm_above_usd: str) -> bool:
    """Whether a call is expected to cost more than that in one of ten cases, or nobody knows what it costs."""
    from keledger.journal._money import usd_to_pico

    p90_usd = found.cost.p90_usd
    return p90_usd is None or usd_to_pico(p90_usd) > usd_to_pico(confirm_above_usd)


def sentences(found: Estimate) -> list[str]:
    """An estimate for people, a sentence each."""
    from keledger.journal._money import shown_usd

    taken, answer, cost = found.input, found.output, found.cost
    name = f"{found.terms.provider}/{found.terms.model}"
    most = f", at most {answer.max:,}" if answer.max is not None else ""
    told = [f"{name}: {taken.p50:,} input tokens ({taken.p5:,} to {taken.p95:,})"]
    told[0] += f", {answer.p50:,} output (nine of ten below {answer.p90:,}{most})"
    if cost.p50_usd is None or cost.p90_usd is None:
        told.append(f"what it costs is not known: nobody has a price for {', '.join(cost.missing) or 'it'}")
    else:
        most = f", at most {shown_usd(cost.max_usd)}" if cost.max_usd is not None else ""
        told.append(f"expected to cost {shown_usd(cost.p50_usd)}, nine of ten below {shown_usd(cost.p90_usd)}{most}")
    learned, outputs = _calls(taken.basis, taken.calls), _calls(answer.basis, answer.calls)
    told.append(f"counted by {found.method}; input learned from {learned}, output from {outputs}")
    return [*told, *found.notes]


def _calls(basis: str, calls: int) -> str:
    return "no past calls" if basis == "prior" else f"{calls:,} call{'' if calls == 1 else 's'} of the {basis}"
