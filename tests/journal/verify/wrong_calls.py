"""Calls and other events that fit the chain, with something about them that is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import orjson

from keledger.journal import Home
from keledger.journal._money import pico_to_usd, usd_to_pico
from tests.journal.tampering import append_body, lines_of, next_body

from .support import own

VOID = {"input_sha256": "0" * 64, "call_id": "0" * 8 + "-0000" * 3 + "-" + "0" * 12, "actor": "me", "reason": "a test"}


def add_wrong(home: Home, edit: Callable[[bytes], bytes] = lambda body: body, **changed: object) -> None:
    """Append a call that fits the chain, with something about it that is wrong."""
    path = own(home)[-1]
    append_body(path, edit(next_body(path, **changed)))


def data_of(home: Home, **changed: object) -> dict[str, object]:
    """The data of the newest call, with other fields."""
    path = next(path for path in reversed(own(home)) if any(b'"call.completed"' in line for line in lines_of(path)))
    line = next(line for line in reversed(lines_of(path)) if b'"type":"call.completed"' in line)
    return {**orjson.loads(line)["data"], **changed}


def wrong_call(**changed: object) -> Callable[[Home], None]:
    """A call with another field than it had."""
    return lambda home: add_wrong(home, data=data_of(home, **changed))


def misspelt(old: bytes, new: bytes, **changed: object) -> Callable[[Home], None]:
    """A call, or another event, in which something stands that no program of this project writes."""

    def harm(home: Home) -> None:
        def edit(body: bytes) -> bytes:
            assert old in body
            return body.replace(old, new, 1)

        add_wrong(home, edit, **changed)

    return harm


def wrong_cost(**changed: object) -> Callable[[Home], None]:
    """A call whose cost is told otherwise; None takes a part of it away."""

    def harm(home: Home) -> None:
        cost = {**data_of(home)["cost"], **changed}  # type: ignore[dict-item]
        add_wrong(home, data=data_of(home, cost={name: part for name, part in cost.items() if part is not None}))

    return harm


def wrong_first_line(**changed: object) -> Callable[[Home], None]:
    """A call whose first line of cost is told otherwise, with a total that is the sum of its lines all the same."""

    def harm(home: Home) -> None:
        cost: Any = data_of(home)["cost"]
        lines = [{**cost["lines"][0], **changed}, *cost["lines"][1:]]
        total = pico_to_usd(sum(usd_to_pico(line["usd"]) for line in lines))
        wrong_cost(lines=lines, total_usd=total)(home)

    return harm


def unpriced(**changed: object) -> Callable[[Home], None]:
    """A call of which only the first bucket has a price, in a line with something else about it."""

    def harm(home: Home) -> None:
        cost: Any = data_of(home)["cost"]
        told = [{"usd_per_million": line["usd_per_million"], **changed} for line in cost["lines"][:1]]
        lines = [
            {
                name: part
                for name, part in {"bucket": line["bucket"], "quantity": line["quantity"], **more}.items()
                if part
            }
            for line, more in itertools.zip_longest(cost["lines"], told, fillvalue=dict[str, Any]())
        ]
        wrong_cost(state="unpriced", total_usd=None, lines=lines, missing=[line["bucket"] for line in lines[1:]])(home)

    return harm


def amounts_exchanged(home: Home) -> None:
    """Two buckets' amounts stand at each other's lines; the sum is as it was."""
    first, second, *others = data_of(home)["cost"]["lines"]  # type: ignore[index]
    assert first["usd"] != second["usd"]
    wrong_cost(lines=[{**first, "usd": second["usd"]}, {**second, "usd": first["usd"]}, *others])(home)


def told_twice(home: Home) -> None:
    """A cost of every bucket twice, and the sum of that."""
    cost: Any = data_of(home)["cost"]
    wrong_cost(lines=cost["lines"] * 2, total_usd=pico_to_usd(2 * usd_to_pico(cost["total_usd"])))(home)
