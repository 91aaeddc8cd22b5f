"""Reprices: what they make of calls whatever else happens, held to a plain fold over the events.

Real homes, real merges, real books; only the disk does not sync.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from keledger.journal import Home, KeledgerError, NewEvent, anchor, format_time, verify
from keledger.journal.prices import PriceStore
from keledger.projections import (
    Selector,
    _preview,
    _projection,
    digest,
    find_book,
    list_reprices,
    open_projection,
    preview_reprice,
    rebuild,
    reprice_data,
)

from .repricing import (
    BASES,
    BOOKS,
    TURN_US,
    adopt,
    costs,
    costs_of,
    digest_of,
    folded,
    hold_preview,
    hold_sums,
    ledger_of,
    preview,
    reprice,
    undo,
)
from .support import append, drop_cache

EXAMPLES = int(os.environ.get("KELEDGER_TEST_EXAMPLES", "5"))
"""Each takes about two seconds; more are worth their time after a change of pricing or of the cache."""

MACHINES = 2

RAW = {"prompt_tokens": 900, "completion_tokens": 80, "prompt_tokens_details": {"cached_tokens": 512}}

MODELS = st.sampled_from(
    [("openai", "gpt-5-mini"), ("openai", "gpt-5-mini"), ("anthropic", "claude-sonnet-4-5"), ("nobody", "in-house")]
)
TIMES = st.sampled_from(
    ["2026-09-30T23:59:59.999999Z", "2026-10-01T00:00:00Z", "2026-10-01T06:00:00Z", "2026-11-20T12:00:00Z"]
)
USAGES = st.dictionaries(
    st.sampled_from(["input_uncached", "cache_read", "output_text", "output_reasoning"]),
    st.sampled_from([1, 999, 1000, 1001, 250_000]),
    min_size=1,
)


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    """A call as ``record`` takes it; ``older`` says that an older normaliser counted its usage."""
    provider, model = draw(MODELS)
    fields: dict[str, Any] = {"provider": provider, "model": model, "time": draw(TIMES)}
    kind = draw(st.sampled_from(["counted", "counted", "counted", "raw", "older", "refused", "unanswered"]))
    if kind == "raw":
        fields |= {"usage_raw": RAW, "usage_format": "openai.chat"}
    elif kind == "older":
        fields |= {"usage": draw(USAGES), "usage_raw": RAW, "usage_format": "openai.chat", "older": True}
    elif kind == "refused":
        fields |= {"status": "error", "http_status": 429}
    elif kind == "unanswered":
        fields |= {"status": "unknown"}
    else:
        fields |= {"usage": draw(USAGES)}
    optional = {
        "project": draw(st.sampled_from([None, "crm", "web"])),
        "session": draw(st.sampled_from([None, "s1", "s2"])),
        "pricing_context": draw(st.sampled_from([None, None, {"processing": "batch"}])),
        "reported_cost_usd": draw(st.sampled_from([None, None, "0.5"])) if kind != "refused" else None,
        "id": draw(st.sampled_from([None, None, "twice"])),
        "source": draw(st.sampled_from([None, None, None, "import:x"])),
        "call_keys": draw(st.sampled_from([None, None, ["k"]])),
    }
    return fields | {name: value for name, value in optional.items() if value is not None}


selectors = st.builds(
    Selector,
    started_from_us=st.sampled_from([None, None, TURN_US]),
    started_to_us=st.sampled_from([None, None, TURN_US, TURN_US + 1]),
    where=st.sampled_from([(), (), (("project", "crm"),), (("session", None),), (("provider", "openai"),)]),
    only_unpriced=st.sampled_from([False, False, True]),
).filter(
    lambda made: made.started_from_us is None or made.started_to_us is None or made.started_from_us < made.started_to_us
)
machines = st.integers(0, MACHINES - 1)
books = st.sampled_from([*BOOKS, "list"])
steps = st.one_of(
    st.tuples(st.just("record"), machines, st.lists(calls(), min_size=1, max_size=5)),
    st.tuples(st.just("adopt"), machines, books),
    st.tuples(st.just("reprice"), machines, st.tuples(books, selectors, st.booleans(), st.booleans())),
    st.tuples(st.just("undo"), machines, st.integers(0, 9)),
    st.tuples(st.just("void"), machines, st.integers(0, 9)),
    st.tuples(st.just("merge"), machines, st.just(None)),
    st.tuples(st.just("read"), machines, st.booleans()),
)


@pytest.fixture
def used(home: Home) -> Home:
    """A home with calls of every kind, and all books adopted, the list last."""
    record(
        home,
        {"provider": "openai", "model": "gpt-5-mini", "usage": {"input_uncached": 1001, "output_text": 10}},
        {"provider": "openai", "model": "gpt-5-mini", "usage_raw": RAW, "project": "crm", "session": "s1"},
        {"provider": "anthropic", "model": "claude-sonnet-4-5", "usage": {"input_uncached": 7}, "project": "crm"},
        {"provider": "nobody", "model": "in-house", "usage": {"input_uncached": 5}, "session": "s2"},
        {"provider": "nobody", "model": "in-house", "usage": {"input_uncached": 5}, "reported_cost_usd": "0.25"},
        {"provider": "openai", "model": "gpt-5-mini", "status": "unknown"},
        {"provider": "openai", "model": "gpt-5-mini", "usage": {"output_text": 9}, "time": "2026-09-30T12:00:00Z"},
    )
    for name in (*BOOKS, "list"):
        adopt(home, name)
    return home


def record(home: Home, *given: dict[str, Any]) -> list[str]:
    """Record calls; those of an older normaliser say so."""
    with ledger_of(home) as ledger:
        ids = []
        for fields in given:
            fields = {"time": "2026-11-20T12:00:00Z", "provider": "openai", "model": "gpt-5-mini", **fields}
            source, older = fields.pop("source", "record"), fields.pop("older", False)
            event = ledger.event_of(fields, source=source)
            if older:
                event = NewEvent.of(event.type, event.id, orjson.loads(event.data) | {"normalizer": 0})
            ledger.append_events([event])
            ids.append(event.id)
        return ids


def book_named(home: Home, name: str) -> str:
    """The id of a book of :data:`BOOKS`, adopted where it was not."""
    return adopt(home, name)


# One home.


@pytest.mark.parametrize("name", BOOKS)
def test_twice_is_once(used: Home, name: str) -> None:
    book = book_named(used, name)
    before = costs(used)
    assert reprice(used, book) is not None
    after = costs(used)
    assert after != before
    assert after == folded(used)
    assert reprice(used, book) is None
    assert preview(used, book).total.difference_pico == 0
    assert costs(used) == after


def test_by_the_recorded_book_nothing_changes(home: Home) -> None:
    record(
        home, {"usage": {"input_uncached": 5}}, {"usage_raw": RAW}, {"provider": "nobody", "usage": {"cache_read": 1}}
    )
    with open_projection(home) as projection:
        book = find_book(projection, "latest")
    assert reprice(home, book, allow_unpriced=True, reported=True) is None
    for name in BOOKS:
        reprice(home, book_named(home, name), allow_unpriced=True)
    assert costs(home) != costs(home, "recorded")
    reprice(home, book, allow_unpriced=True)
    assert costs(home) == costs(home, "recorded") == folded(home)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_undo_in_any_order(used: Home, order: tuple[int, ...]) -> None:
    recorded = digest_of(used)
    made = [
        reprice(used, book_named(used, "halved")),
        reprice(used, book_named(used, "dated"), Selector(where=(("project", "crm"),)), allow_unpriced=True),
        reprice(used, book_named(used, "free"), Selector(started_from_us=TURN_US), reported=True),
    ]
    seen = {digest_of(used)}
    for place in order:
        name = made[place]
        assert name is not None
        undo(used, name)
        assert costs(used) == folded(used)
        seen.add(digest_of(used))
    assert digest_of(used) == recorded
    assert len(seen) == 4
    with open_projection(used) as projection:
        assert all(row.reverted_at for row in list_reprices(projection))


def test_what_is_journaled_later_is_left_alone(used: Home) -> None:
    book = book_named(used, "halved")
    adopt(used, "list")
    reprice(used, book)
    before = costs(used)
    (later,) = record(used, {"usage": {"input_uncached": 100}, "time": "2026-09-01T00:00:00Z"})
    after = costs(used)
    assert after.pop(later) == ("priced", 100 * 250_000)
    assert after == before
    again = reprice(used, book)
    assert again is not None
    assert costs(used)[later] == ("priced", 100 * 125_000)


@pytest.mark.parametrize(
    ("started_from_us", "started_to_us", "changed"),
    [(TURN_US, None, [1, 2]), (None, TURN_US, [0]), (TURN_US, TURN_US + 1, [1]), (TURN_US + 1, TURN_US + 2, [2])],
)
def test_the_time_that_is_meant_is_half_open(
    home: Home, started_from_us: int | None, started_to_us: int | None, changed: list[int]
) -> None:
    times = [format_time(TURN_US + offset_us) for offset_us in (-1, 0, 1)]
    ids = record(home, *({"usage": {"input_uncached": 1}, "time": instant} for instant in times))
    reprice(home, book_named(home, "dated"), Selector(started_from_us, started_to_us))
    now, recorded = costs(home), costs(home, "recorded")
    assert [place for place, name in enumerate(ids) if now[name] != recorded[name]] == changed
    assert now == folded(home)


def test_a_large_journal_is_priced_in_parts(used: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is told between them, and what they come to is the same."""
    book = book_named(used, "halved")
    whole = preview(used, book)
    monkeypatch.setattr(_preview, "PART_CALLS", 2)
    told: list[tuple[int, int]] = []
    with open_projection(used) as projection:
        loaded = PriceStore(used.prices).load_book(book)
        parts = preview_reprice(
            projection, whole.request, loaded, on_progress=lambda done, total: told.append((done, total))
        )
    assert parts == whole
    assert told == [(done, len(told)) for done in range(1, len(told) + 1)]
    assert len(told) > 1


def test_what_another_process_has_repriced_meanwhile(used: Home) -> None:
    """Neither a second reprice nor a second undo is journaled on what was looked at before the first."""
    book = book_named(used, "halved")
    through = anchor(used)
    data = reprice_data(preview(used, book), through)
    record(used, {"usage": {"input_uncached": 3}})  # calls do no harm
    with ledger_of(used) as ledger:
        first = ledger.apply_reprice(data, "the first", since=through)
        with pytest.raises(KeledgerError, match=r"journaled a reprice in .* meanwhile: nothing was written"):
            ledger.apply_reprice(data, "the second", since=through)
        before = anchor(used)
        ledger.revert_reprice(first, "the first", since=before)
        with pytest.raises(KeledgerError, match="meanwhile"):
            ledger.revert_reprice(first, "the second", since=before)
    with open_projection(used) as projection:
        (listed,) = list_reprices(projection)
        (undone,) = projection.query("SELECT COUNT(*) FROM other_line WHERE type = 'reprice.reverted'")
    assert (listed.id, listed.reason, undone) == (first, "the first", (1,))


def test_never_without_a_price_unless_allowed(used: Home) -> None:
    book = book_named(used, "free")
    kept = preview(used, book)
    assert (kept.total.newly_unpriced, kept.kept_unpriced, kept.kept_reported) == (0, 3, 1)
    taken = preview(used, book, allow_unpriced=True)
    assert (taken.total.newly_unpriced, taken.kept_unpriced) == (3, 0)
    told = preview(used, book, allow_unpriced=True, reported=True)
    assert told.kept_reported == 0
    assert told.total.changed_calls == taken.total.changed_calls + 1
    for found in (kept, taken, told):
        hold_preview(found)


def test_usage_that_an_older_normaliser_counted(home: Home) -> None:
    """It is counted again, and that is told apart; what was too large to keep stands as it was counted."""
    given = {"usage": {"input_uncached": 900, "output_text": 80}, "usage_raw": RAW, "usage_format": "openai.chat"}
    too_large = given | {"usage_raw": {**RAW, "details": {f"k{number}": number for number in range(4000)}}}
    older, newer, large = record(home, given | {"older": True}, given, too_large | {"older": True})
    with open_projection(home) as projection:
        book = find_book(projection, "latest")
        rows = projection.query("SELECT usage_raw FROM loaded_line WHERE usage_raw LIKE '%sha256%'")
    assert len(rows) == 1
    found = preview(home, book)
    difference = 512 * (25_000 - 250_000)
    assert found.total.changed_calls == found.recount.calls == 1
    assert found.total.difference_pico == found.recount.difference_pico == difference
    # With other prices: what the counting does is told by the new prices, the rest is theirs.
    found = preview(home, book_named(home, "dated"))
    assert found.total.changed_calls == 3
    assert (found.recount.calls, found.recount.difference_pico) == (0, 0)  # everything is at one price there
    reprice(home, book)
    recorded = costs(home, "recorded")
    assert costs(home) == folded(home) == recorded | {older: ("priced", recorded[older][1] + difference)}  # type: ignore[operator]
    assert costs(home)[large] == recorded[large] == recorded[newer]


# What cannot be applied.


def test_a_book_that_is_missing_and_found_again(used: Home) -> None:
    """Without it the reprice is left out and told; the layers that were made by it go on holding what it said."""
    before = digest_of(used)
    book = book_named(used, "halved")
    reprice(used, book)
    rebuild(used)
    after = digest_of(used)
    content = (used.prices / book).read_bytes()
    (used.prices / book).unlink()
    assert digest_of(used) == after
    drop_cache(used)
    for _ in range(2):
        with open_projection(used) as projection:
            (finding,) = projection.findings
        assert finding.kind == "reprice_unapplied"
        assert Path(finding.path) == used.prices / book
        assert book in finding.message
        assert digest_of(used) == before
        rebuild(used)
    (used.prices / book).write_bytes(content)
    assert digest_of(used) == after
    with open_projection(used) as projection:
        assert projection.findings == ()


ODD: list[tuple[dict[str, Any], str]] = [
    ({"normalizer": 99}, "upgrade keledger"),
    ({"pricer": 2}, "upgrade keledger"),
    ({"normalizer": 0}, "upgrade keledger"),
    ({"selector": {"weather": "rain"}}, "does not know"),
    ({"selector": {"only": "mondays"}}, "does not know"),
    ({"selector": {"where": [{"column": "weather", "value": "x"}]}}, "no column"),
    ({"selector": {"where": [{"value": "x"}]}}, "cannot be read"),
    ({"selector": {"where": "project"}}, "cannot be read"),
    ({"selector": {"where": [{"column": "project", "value": 7}]}}, "cannot be read"),
    ({"selector": {"started_from": "yesterday"}}, "cannot be read"),
    ({"selector": {"started_from": 7}}, "cannot be read"),
    ({"selector": []}, "cannot be read"),
    ({"selector": None}, "cannot be read"),
    ({"through": [{"writer": "w"}]}, "cannot be read"),
    ({"through": {"w": 1}}, "cannot be read"),
    ({"through": [{"writer": "w", "seq": 2**70, "hash": "0"}]}, "cannot be read"),
    ({"through": None}, "cannot be read"),
    ({"book": None}, "is not applied"),
    ({"book": "../writer.json"}, "is not applied"),
    ({"book": "0" * 64}, "is not applied"),
    ({"normalizer": "one"}, "cannot be read"),
    ({"calls": None}, "cannot be read"),
]


@pytest.mark.parametrize("rebuilt", [False, True])
def test_what_this_release_cannot_apply(used: Home, rebuilt: bool) -> None:
    """Each is kept, told and left out, in memory and in a layer; other reprices stand."""
    other = reprice(used, book_named(used, "halved"), Selector(where=(("project", "crm"),)))
    before = digest_of(used)
    forged = _forged(used, *(changed for changed, _ in ODD))
    if rebuilt:
        rebuild(used)
    with open_projection(used) as projection:
        messages = [finding.message for finding in projection.findings if finding.kind == "reprice_unapplied"]
        seq_of: dict[str, int] = dict(projection.query("SELECT id, seq FROM other_line"))
        assert digest(projection) == before
    assert len(messages) == len(ODD)
    for event_id, (_, told) in zip(forged, ODD, strict=True):
        places = (event_id, f"at seq {seq_of[event_id]} ")
        (message,) = (message for message in messages if any(place in message for place in places))
        assert told in message
        undo(used, event_id)
    with open_projection(used) as projection:
        listed = {row.id: row.reverted_at for row in list_reprices(projection)}
    assert listed[str(other)] is None
    assert None not in {listed[event_id] for event_id in forged}


def _forged(home: Home, *changed: dict[str, Any]) -> list[str]:
    """Append the one reprice that there is again, each time of another id and with other data."""
    with open_projection(home) as projection:
        ((text,),) = projection.query("SELECT data FROM other_line WHERE type = 'reprice.applied'")
    forged = [
        NewEvent(
            "reprice.applied", f"01a1ff7c-0000-7000-8000-{number:012x}", json.dumps(orjson.loads(text) | other).encode()
        )
        for number, other in enumerate(changed)
    ]
    append(home, *forged)
    return [event.id for event in forged]


def test_a_reprice_that_names_nobody_covers_nothing(used: Home) -> None:
    reprice(used, book_named(used, "halved"), Selector(where=(("project", "crm"),)))
    before = digest_of(used)
    _forged(used, {"selector": {}, "through": []})
    assert digest_of(used) == before
    assert costs(used) == folded(used)


# Two machines.


def two_machines(home: Home) -> tuple[Home, Home]:
    """Another home beside *home*, which both have calls of their own."""
    other = Home.at(home.path.with_name("other"))
    for number, machine in enumerate((home, other)):
        record(machine, *({"usage": {"input_uncached": 10 + number + each}, "project": "crm"} for each in range(3)))
    return home, other


def merge(target: Home, source: Home) -> None:
    """The real thing."""
    if source.journal.is_dir():
        with ledger_of(target) as ledger:
            ledger.merge(source.path)


def test_a_reprice_leaves_alone_what_is_merged_later(home: Home) -> None:
    left, right = two_machines(home)
    reprice(left, book_named(left, "halved"))
    alone = costs(right)
    merge(left, right)
    assert {name: cost for name, cost in costs(left).items() if name in alone} == alone
    assert costs(left) == folded(left)


@pytest.mark.parametrize(("folds", "folds_on"), [(False, False), (True, True), (True, False)])
def test_a_call_that_comes_after_the_reprice_that_covers_it(
    home: Home, monkeypatch: pytest.MonkeyPatch, folds: bool, folds_on: bool
) -> None:
    """The reprice covers another machine's calls; a third home learns of the reprice first, and then of the calls."""
    monkeypatch.setattr(_projection, "TAIL_BYTES_MAX", 0 if folds else 10**9)
    left, right = two_machines(home)
    merge(left, right)
    reprice(left, book_named(left, "halved"))
    third = Home.at(home.path.with_name("third"))
    third.journal.mkdir(parents=True)
    third.path.chmod(0o700)
    (own,) = set(left.writers()) - set(right.writers())
    copy_by_hand(left, third, own)
    assert len(costs(third)) == 3
    monkeypatch.setattr(_projection, "TAIL_BYTES_MAX", 0 if folds_on else 10**9)
    copy_by_hand(right, third)
    assert len(costs(third)) == 6
    assert costs(third) == folded(third) == costs(left)
    assert digest_of(third) == digest_of(left)
    drop_cache(third)
    assert digest_of(third) == digest_of(left)


def copy_by_hand(source: Home, target: Home, *writers: str) -> None:
    """Bring some writers' files, and all prices, as a copy by hand would."""
    target.prices.mkdir(exist_ok=True, mode=0o700)
    for path in source.prices.iterdir():
        (target.prices / path.name).write_bytes(path.read_bytes())
    for writer in writers or source.writers():
        (target.journal / writer).mkdir(exist_ok=True, mode=0o700)
        for path in source.segments(writer):
            (target.journal / writer / path.name).write_bytes(path.read_bytes())


# A history takes seconds, so making one that fails shorter would take minutes.
@pytest.mark.exhaustive
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
@given(st.lists(steps, min_size=5, max_size=14))
def test_any_history(history: list[tuple[str, int, Any]]) -> None:
    """Whatever happens on two machines: the figures are those of the fold, however they were arrived at."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        homes = [Home.at(folder / f"home-{number}") for number in range(MACHINES)]
        for home in homes:
            record(home, {"usage": {"input_uncached": 10}}, {"usage_raw": RAW, "project": "crm"})
        for kind, machine, argument in history:
            take_step(patch, homes, kind, machine, argument)
        for home in homes:
            hold_together(home)
        left, right = Home.at(folder / "left"), Home.at(folder / "right")
        for target, order in ((left, homes), (right, homes[::-1])):
            for source in order:
                merge(target, source)
                patch.setattr(_projection, "TAIL_BYTES_MAX", 0 if target is left else 10**9)
                digest_of(target)
        assert digest_of(left) == digest_of(right)
        hold_together(left)


def take_step(patch: pytest.MonkeyPatch, homes: list[Home], kind: str, machine: int, argument: Any) -> None:
    """One thing that happens to one home."""
    home = homes[machine]
    if kind == "record":
        record(home, *argument)
    elif kind == "adopt":
        adopt(home, argument)
    elif kind == "reprice":
        name, selector, allow_unpriced, reported = argument
        flags = {"allow_unpriced": allow_unpriced, "reported": reported}
        book = book_named(home, name)
        before = folded(home)
        made = reprice(home, book, selector, **flags)
        assert (made is not None) == (before != folded(home))
    elif kind == "undo":
        with open_projection(home) as projection:
            standing = [row.id for row in list_reprices(projection) if row.reverted_at is None]
        if standing:
            undo(home, standing[argument % len(standing)])
    elif kind == "void":
        known = sorted(folded(home))
        if known:
            with ledger_of(home) as ledger:
                ledger.void(known[argument % len(known)], "a test")
    elif kind == "merge":
        merge(home, homes[1 - machine])
    elif kind == "read":
        # Half of the readers make a layer of what is new, however little it is.
        patch.setattr(_projection, "TAIL_BYTES_MAX", 0 if argument else 10**9)
        digest_of(home)


def hold_together(home: Home) -> None:
    """One home, caught up, without a cache, and rebuilt; its reprices taken back one after the other."""
    assert [finding.kind for finding in verify(home).findings if finding.kind != "conflict"] == []
    with open_projection(home) as projection:
        caught_up = digest(projection)
        for basis in BASES:
            if basis != "latest" or projection.book is not None:
                assert costs_of(projection, basis) == folded(home, basis), basis
        hold_sums(projection)
        ids = [row.id for row in list_reprices(projection) if row.reverted_at is None]
        assert {finding.kind for finding in projection.findings} <= {"conflict"}
    drop_cache(home)
    assert digest_of(home) == caught_up
    rebuild(home)
    assert digest_of(home) == caught_up
    copied = Home.at(home.path.with_name(f"{home.path.name}-copy"))
    copied.journal.mkdir(parents=True)
    copied.path.chmod(0o700)
    copy_by_hand(home, copied)
    for reprice_id in ids[1::2] + ids[::2]:
        undo(copied, reprice_id)
        assert costs(copied) == folded(copied)
    assert costs(copied) == costs(copied, "recorded")
