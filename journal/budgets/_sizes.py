"""How large a hold is: what a call may cost, told before it is made.

Three of the policies learn from what the last calls of the same prompt and model took, and fall back on shipped priors
where too few are known; the fourth, ``max``, is an upper bound (:mod:`._bounds`).  ``docs/budgets.md`` has the rules
and how often each of them is overshot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from keledger.journal._model_limits import limits_of
from keledger.journal._money import usd_to_pico
from keledger.journal._quantiles import log_normal, rank_of
from keledger.journal.prices import BUCKETS, TIER_BUCKETS, Book

from ._bounds import Unbounded, Unpriced, most_tokens, upper_bound

__all__ = ["History", "Sized", "Unbounded", "Unpriced", "history_key", "size_at_rate", "size_hold"]

HISTORY_CALLS_MAX = 100
"""How many calls of a prompt and model are remembered: enough for a 99th percentile, few enough to follow a change."""

PERCENT = {"p50": 50, "p90": 90, "p99": 99}
"""The policies that learn, and the share of calls that their hold is to cover."""

LOOKED_AT = {"p50": 50, "p90": 50, "p99": HISTORY_CALLS_MAX}
"""How many of the last calls a policy looks at: measured on real traces, 30 cover as well as 300 (P50 and P90)."""

MODELS_KEPT_MAX = 1_000
"""Models of which is remembered that they have prices."""

_HOUR_US = 3_600_000_000
_priced_in: dict[tuple[str, str], tuple[str, int]] = {}
"""By provider and model the book, and the hour in which what was taken last had a price by it."""

_PICO_MAX = 2**62
"""What a part of a call's cost is cut to where it is remembered: JSON's integers end at 2^63."""

_OUTPUT_TOKENS = frozenset(bucket for bucket in BUCKETS if bucket.startswith("output_"))
_OUTPUT_BUCKETS = _OUTPUT_TOKENS | {"web_searches", "file_searches", "requests"}
"""What does not grow with the request: the answer, and fees."""

_PRIORS = Path(__file__).parents[2] / "data" / "hold_priors.toml"


class Sized(NamedTuple):
    """What a call may cost, and how that was come to.

    ``method`` is ``history``, ``prior``, ``bound``, ``rate`` (all tokens at one price) or ``free``; ``calls`` says how
    many past ones were known.  The tokens are those for which the amount stands.
    """

    amount_pico: int
    method: str
    calls: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Past(NamedTuple):
    """One call of a history: what it took, and what that cost by which of the history's books, None if unpriced."""

    book: int
    request_bytes: int | None
    input_tokens: int
    input_pico: int | None
    output_tokens: int
    output_pico: int | None
    usage: Mapping[str, int]
    context: Mapping[str, str] | None
    response_model: str | None


class _Priced(NamedTuple):
    """What one call of a history cost: so much for each byte of its request, rounded up, and so much besides.

    ``total_pico`` is all of it, for a request of which nobody knows how long it is.
    """

    pico_per_byte: int
    other_pico: int
    total_pico: int
    input_tokens: int
    output_tokens: int


class History:
    """What the last calls of one prompt and model took.  Never changed: what adds to it returns another one.

    ``rows`` are JSON values, from which it can be made again.  Rows that are not of this form are no calls.
    """

    __slots__ = ("_books", "_calls", "_priced")

    def __init__(self, rows: object = None) -> None:
        self._books: list[str] = []
        self._calls: list[Sequence[Any]] = []
        if isinstance(rows, dict) and rows.get("form") == 1:
            self._books, self._calls = rows["books"], rows["calls"]
        self._priced: list[_Priced] | None = None

    @property
    def rows(self) -> dict[str, Any]:
        """The calls, newest last, as JSON values."""
        return {"form": 1, "books": self._books, "calls": self._calls}

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, data: Mapping[str, Any], *, request_bytes: int | None) -> History:
        """With one more call: *data* of its event, and how long its request was where that is known."""
        usage, cost = data["usage"], data["cost"]
        input_pico, output_pico = _parts(cost) if cost["state"] == "priced" else (None, None)
        answered = data.get("response_model")
        calls = self._calls[1 - HISTORY_CALLS_MAX :]
        books, calls = _still_used(self._books, calls)
        book = cost.get("book", "")  # which an event need not name
        if book not in books:
            books = [*books, book]
        input_tokens = output_tokens = 0
        for bucket, count in usage.items():
            if bucket in TIER_BUCKETS:
                input_tokens += count
            elif bucket in _OUTPUT_TOKENS:
                output_tokens += count
        call = _Past(
            books.index(book),
            request_bytes,
            input_tokens,
            input_pico,
            output_tokens,
            output_pico,
            usage,
            data.get("pricing_context"),
            answered if answered != data["model"] else None,
        )
        grown = History()
        grown._books, grown._calls = books, [*calls, list(call)]
        if self._priced is not None:
            lost = len(self._calls) > len(calls) and self._calls[0][3] is not None
            grown._priced = self._priced[1:] if lost else self._priced[:]
            if input_pico is not None:
                grown._priced.append(_as_priced(call))
        return grown

    def repriced(self, book: Book, provider: str, model: str, at_us: int) -> History:
        """With all calls priced by *book*, as if they were made at this instant; itself where they are."""
        if self._books == [book.sha256] or not self._calls:
            return self
        calls = [_priced_again(call, book, self._books, provider, model, at_us) for call in self.all()]
        return _history([book.sha256], [list(call) for call in calls])

    def all(self) -> list[_Past]:
        """All calls, oldest first."""
        return [_Past._make(call) for call in self._calls]

    def priced(self) -> list[_Priced]:
        """What the calls cost that have a price, oldest first."""
        if self._priced is None:
            self._priced = [_as_priced(call) for call in self._calls if call[3] is not None]
        return self._priced


def history_key(provider: str, model: str, prompt: str | None) -> str:
    """Under what the calls of a prompt and model are remembered together; calls without a prompt are, too."""
    return f"{provider}\n{model}\n{prompt or ''}"


def size_hold(
    policy: str,
    *,
    book: Book,
    provider: str,
    model: str,
    at_us: int,
    context: Mapping[str, str],
    shape: Mapping[str, Any] | None,
    history: History | None,
) -> Sized | Unbounded | Unpriced:
    """What to keep back for a call of *model*, begun at *at_us*, by one of the policies p50, p90, p99 and max.

    *book* is the one that will price the call, *context* the pricing context asked for, *shape* what is told of the
    request (``capture/shape.py``), *history* what :func:`history_key` finds.
    """
    if policy == "max":
        bound = upper_bound(book, provider, model, at_us=at_us, context=context, shape=shape)
        if not isinstance(bound, (Unbounded, Unpriced)):
            method = "bound" if bound.amount_pico else "free"
            return Sized(bound.amount_pico, method, 0, bound.input_tokens, bound.output_tokens)
        return bound
    if book.match(provider, model) is None:
        return Unpriced(f"the price book has no model {model} of {provider}")
    known = history.repriced(book, provider, model, at_us) if history is not None else History()
    calls = known.priced()[-LOOKED_AT[policy] :]
    costs = _hypothetical(calls, None if shape is None else shape.get("bytes"))
    rank = rank_of(PERCENT[policy], len(costs))
    if rank <= len(costs):
        unpriced = _unpriced_now(known, book, provider, model, at_us)
        return unpriced or _learned("history", calls, costs, sorted(costs)[rank - 1])
    prior = _prior(policy, book, provider, model, at_us, context, shape)
    if isinstance(prior, Unpriced):
        return prior
    if costs and max(costs) > prior.amount_pico:
        return _learned("prior", calls, costs, max(costs))
    return prior._replace(calls=len(costs))


def size_at_rate(
    policy: str,
    pico_per_token: int,
    *,
    book: Book,
    provider: str,
    model: str,
    shape: Mapping[str, Any] | None,
    history: History | None,
) -> Sized | Unbounded:
    """What to keep back for a call of a model that no book prices, every token of it at one flat price."""
    if policy == "max":
        most = most_tokens(book, provider, model, shape)
        if isinstance(most, Unbounded):
            return most
        tokens = most.input_tokens + most.output_tokens
        return Sized(tokens * pico_per_token, "rate", 0, most.input_tokens, most.output_tokens)
    input_tokens, output_tokens = _prior_tokens(policy, book, provider, model, shape)
    calls = history.all() if history is not None else []
    took = sorted(((call.input_tokens, call.output_tokens) for call in calls), key=sum)
    rank = rank_of(PERCENT[policy], len(took))
    if took and (rank <= len(took) or sum(took[-1]) > input_tokens + output_tokens):
        input_tokens, output_tokens = took[min(rank, len(took)) - 1]
    return Sized((input_tokens + output_tokens) * pico_per_token, "rate", len(took), input_tokens, output_tokens)


def _hypothetical(calls: Sequence[_Priced], request_bytes: int | None) -> list[int]:
    """What each of the past calls would have cost with a request of this length.

    The part of a cost that grows with the request is taken as proportional to it.
    """
    if not request_bytes:
        return [total for _, _, total, _, _ in calls]
    return [per_byte * request_bytes + other for per_byte, other, _, _, _ in calls]


def _as_priced(call: Sequence[Any]) -> _Priced:
    _, length, input_tokens, input_pico, output_tokens, output_pico, _, _, _ = call
    total = input_pico + output_pico
    if not length:
        return _Priced(0, total, total, input_tokens, output_tokens)
    return _Priced(-(-input_pico // length), output_pico, total, input_tokens, output_tokens)


def _unpriced_now(history: History, book: Book, provider: str, model: str, at_us: int) -> Unpriced | None:
    """Whether what was taken last has no price any more, as where a model was withdrawn; looked up once an hour."""
    hour = at_us // _HOUR_US
    if _priced_in.get((provider, model)) == (book.sha256, hour):
        return None
    last = next(call for call in reversed(history.all()) if call.input_pico is not None)
    cost = _price(last, book, provider, model, at_us)
    if cost["state"] == "unpriced":
        return _no_price(cost, provider, model)
    if len(_priced_in) >= MODELS_KEPT_MAX:
        _priced_in.clear()
    _priced_in[provider, model] = (book.sha256, hour)
    return None


def _no_price(cost: Mapping[str, Any], provider: str, model: str) -> Unpriced:
    return Unpriced(f"the price book has no price of {model} of {provider} for {', '.join(cost['missing'])}")


def _learned(method: str, calls: Sequence[_Priced], costs: Sequence[int], amount: int) -> Sized:
    """A size that is what one of the past calls would have cost."""
    call = calls[costs.index(amount)]
    return Sized(amount, method if amount else "free", len(costs), call.input_tokens, call.output_tokens)


def _prior(
    policy: str,
    book: Book,
    provider: str,
    model: str,
    at_us: int,
    context: Mapping[str, str],
    shape: Mapping[str, Any] | None,
) -> Sized | Unpriced:
    """What a call of this shape costs by the shipped priors."""
    input_tokens, output_tokens = _prior_tokens(policy, book, provider, model, shape)
    usage = {"input_uncached": input_tokens, "output_text": output_tokens, "requests": 1}
    cost = book.price(provider=provider, model=model, usage=usage, at_us=at_us, context=context)
    if cost["state"] == "unpriced" and cost["missing"] == ["output_text"]:  # as embeddings have none
        output_tokens = 0
        usage = {"input_uncached": input_tokens, "requests": 1}
        cost = book.price(provider=provider, model=model, usage=usage, at_us=at_us, context=context)
    if cost["state"] == "unpriced":
        return _no_price(cost, provider, model)
    amount = usd_to_pico(cost["total_usd"])
    return Sized(amount, "prior" if amount else "free", 0, input_tokens, output_tokens)


def _prior_tokens(
    policy: str, book: Book, provider: str, model: str, shape: Mapping[str, Any] | None
) -> tuple[int, int]:
    """Tokens of input and output that the priors expect of a call of this shape."""
    priors, shape = _priors(), shape or {}
    limits = limits_of(book, provider, model)
    if shape.get("bytes"):
        input_tokens = math.ceil(shape["bytes"] / priors["input"]["bytes_per_token"][policy])
        if not shape.get("self_contained") and limits.context_window:
            input_tokens = min(input_tokens, limits.context_window)  # most of the bytes may be those of a picture
    else:
        input_tokens = _quantile(priors["input"]["unknown"], policy)
    kind = "plain" if limits.reasons is False else "reasoning"
    output_tokens = _quantile(priors["output"][kind], policy)
    limit = shape.get("max_output_tokens")
    return input_tokens, min(output_tokens, limit or output_tokens) * shape.get("choices", 1)


def _quantile(distribution: Mapping[str, float], policy: str) -> int:
    """A share's place in a log-normal distribution, in whole tokens."""
    return math.ceil(log_normal(distribution["median_tokens"], distribution["sigma"], PERCENT[policy]))


@cache
def _priors() -> dict[str, Any]:
    """``data/hold_priors.toml``, read when a hold first needs it."""
    import tomllib

    return tomllib.loads(_PRIORS.read_text(encoding="utf-8"))


def _history(books: list[str], calls: Sequence[Sequence[Any]]) -> History:
    return History({"form": 1, "books": books, "calls": calls})


def _still_used(books: list[str], calls: list[Sequence[Any]]) -> tuple[list[str], list[Sequence[Any]]]:
    """A history without the books by which none of its calls is priced any more."""
    used = {call[0] for call in calls} if len(books) > 1 else set(range(len(books)))
    if len(used) == len(books):
        return books, calls
    kept = sorted(used)
    return [books[place] for place in kept], [[kept.index(call[0]), *call[1:]] for call in calls]


def _parts(cost: Mapping[str, Any]) -> tuple[int, int]:
    """A cost in two: what grows with the request, and what does not."""
    input_pico = output_pico = 0
    for line in cost["lines"]:
        pico = usd_to_pico(line["usd"]) if "usd" in line else 0
        if line["bucket"] in _OUTPUT_BUCKETS:
            output_pico += pico
        else:
            input_pico += pico
    return min(input_pico, _PICO_MAX), min(output_pico, _PICO_MAX)


def _priced_again(call: _Past, book: Book, books: Sequence[str], provider: str, model: str, at_us: int) -> _Past:
    """A past call by another book; what that has no price for keeps its own."""
    if books[call.book] == book.sha256:
        return call._replace(book=0)
    cost = _price(call, book, provider, model, at_us)
    if cost["state"] != "priced":
        return call._replace(book=0)
    input_pico, output_pico = _parts(cost)
    return call._replace(book=0, input_pico=input_pico, output_pico=output_pico)


def _price(call: _Past, book: Book, provider: str, model: str, at_us: int) -> dict[str, Any]:
    """The cost of a past call, were it made at this instant."""
    return book.price(
        provider=provider,
        model=book.priced_model(provider, model, call.response_model),
        usage=call.usage,
        at_us=at_us,
        context=call.context or {},
    )
