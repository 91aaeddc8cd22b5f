"""``verify``: every kind of finding, at its place, at each depth, and told the same by workers."""

from __future__ import annotations

import ast
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keledger.journal
import keledger.projections
from keledger.journal import Home, Ledger, UsageError, verify
from keledger.journal import _limits as limits
from keledger.journal import _verify_conflicts as comparing
from keledger.journal._line import TAIL_BYTES, ZERO_HASH
from keledger.journal._money import pico_to_usd, usd_to_pico
from keledger.journal._verify import _Progress
from keledger.journal._verify_call import cost_flaw
from keledger.journal._verify_segment import DEPTHS, _Lines
from keledger.journal._verify_spelling import repeated_keys, spelling_flaw
from keledger.journal.prices import BUCKETS, Book, Cell
from tests.prices.conftest import PriceFolder

from .support import call
from .tampering import append_body, chained, copy_of, cut_lines, edit_line, hash_of, lines_of, next_body

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A sound home of two writers, one merged, of several segments each."""
    folder = tmp_path_factory.mktemp("verify")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "SEGMENT_BYTES_MAX", 6_000)
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        with Ledger.open(folder / "other") as other:
            for number in range(12):
                other.record(**call(session="far", id=f"far {number}"))
        with Ledger.open(folder / "home") as ledger:
            for number in range(20):
                ledger.record(**call(session="near", id=f"near {number}"))
            ledger.merge(folder / "other")
    return Home.at(folder / "home")


@pytest.fixture
def home(model: Home, tmp_path: Path) -> Home:
    """A copy of :func:`model`."""
    return copy_of(model, tmp_path / "home")


def own(home: Home) -> list[Path]:
    """The segments of the home's own writer."""
    return home.segments(str(orjson.loads((home.path / "writer.json").read_bytes())["writer"]))


def far(home: Home) -> list[Path]:
    """The segments of the merged writer."""
    (writer,) = set(home.writers()) - {own(home)[0].parent.name}
    return home.segments(writer)


def _newest(home: Home, edit: Callable[[bytes], bytes] = lambda body: body, **changed: object) -> None:
    """Append a call that fits the chain, with something about it that is wrong."""
    path = own(home)[-1]
    append_body(path, edit(next_body(path, **changed)))


def _data(home: Home, **changed: object) -> dict[str, object]:
    path = next(path for path in reversed(own(home)) if any(b'"call.completed"' in line for line in lines_of(path)))
    line = next(line for line in reversed(lines_of(path)) if b'"type":"call.completed"' in line)
    return {**orjson.loads(line)["data"], **changed}


def _call(**changed: object) -> Callable[[Home], None]:
    """A call with another field than it had."""
    return lambda home: _newest(home, data=_data(home, **changed))


def _spelled(old: bytes, new: bytes, **changed: object) -> Callable[[Home], None]:
    """A call, or another event, in which something stands that no program of this project writes."""

    def harm(home: Home) -> None:
        def edit(body: bytes) -> bytes:
            assert old in body
            return body.replace(old, new, 1)

        _newest(home, edit, **changed)

    return harm


def _cost(**changed: object) -> Callable[[Home], None]:
    """A call whose cost is told otherwise; None takes a part of it away."""

    def harm(home: Home) -> None:
        cost = {**_data(home)["cost"], **changed}  # type: ignore[dict-item]
        _newest(home, data=_data(home, cost={name: part for name, part in cost.items() if part is not None}))

    return harm


def _first_line(**changed: object) -> Callable[[Home], None]:
    """A call whose first line of cost is told otherwise, with a total that is the sum of its lines all the same."""

    def harm(home: Home) -> None:
        cost: Any = _data(home)["cost"]
        lines = [{**cost["lines"][0], **changed}, *cost["lines"][1:]]
        total = pico_to_usd(sum(usd_to_pico(line["usd"]) for line in lines))
        _cost(lines=lines, total_usd=total)(home)

    return harm


def _unpriced(**changed: object) -> Callable[[Home], None]:
    """A call of which only the first bucket has a price, in a line with something else about it."""

    def harm(home: Home) -> None:
        cost: Any = _data(home)["cost"]
        told = [{"usd_per_million": line["usd_per_million"], **changed} for line in cost["lines"][:1]]
        lines = [
            {
                name: part
                for name, part in {"bucket": line["bucket"], "quantity": line["quantity"], **more}.items()
                if part
            }
            for line, more in itertools.zip_longest(cost["lines"], told, fillvalue={})
        ]
        _cost(state="unpriced", total_usd=None, lines=lines, missing=[line["bucket"] for line in lines[1:]])(home)

    return harm


def _exchanged(home: Home) -> None:
    """Two buckets' amounts stand at each other's lines; the sum is as it was."""
    first, second, *others = _data(home)["cost"]["lines"]  # type: ignore[index]
    assert first["usd"] != second["usd"]
    _cost(lines=[{**first, "usd": second["usd"]}, {**second, "usd": first["usd"]}, *others])(home)


def _told_twice(home: Home) -> None:
    """A cost of every bucket twice, and the sum of that."""
    cost: Any = _data(home)["cost"]
    _cost(lines=cost["lines"] * 2, total_usd=pico_to_usd(2 * usd_to_pico(cost["total_usd"])))(home)


def _line_damaged(home: Home) -> None:
    edit_line(own(home)[1], 2, lambda line: line.replace(b'"near"', b'"fear"'))


def _segment_short(home: Home) -> None:
    path = own(home)[1]
    path.write_bytes(b"".join(lines_of(path)[:-1]))


def _seal_missing(home: Home) -> None:
    """The head that seals a segment is damaged, though lines behind it are not."""
    edit_line(own(home)[2], 0, lambda line: line.replace(b'"reason":"full"', b'"reason":"fell"'))


def _strange(home: Home) -> None:
    os.mkfifo(own(home)[-1].with_name("00000099.jsonl"))


def _packed(home: Home) -> None:
    own(home)[1].rename(own(home)[1].with_suffix(".jsonl.zst"))


def _torn(home: Home) -> None:
    with open(own(home)[-1], "ab") as file:
        file.write(b'{"specversion"')


def _residue(home: Home) -> None:
    with open(own(home)[1], "ab") as file:
        file.write(b"\0" * 10)


def _headless(home: Home) -> None:
    newest = own(home)[-1]
    newest.with_name(f"{int(newest.stem) + 1:08d}.jsonl").write_bytes(b'{"spec')


def _repeated(home: Home) -> None:
    newest = own(home)[-1]
    shutil.copy(own(home)[1], newest.with_name(f"{int(newest.stem) + 1:08d}.jsonl"))


def _foreign(home: Home) -> None:
    newest = own(home)[-1]
    shutil.copy(far(home)[0], newest.with_name(f"{int(newest.stem) + 1:08d}.jsonl"))


def _outdated(home: Home) -> None:
    lines = lines_of(far(home)[0])
    far(home)[0].write_bytes(chained(ZERO_HASH, lines[0][:-TAIL_BYTES].replace(b'"0.1.0"', b'"9.1.0"')))
    for path in far(home)[1:]:
        path.unlink()


def _conflict(home: Home) -> None:
    event_id = orjson.loads(lines_of(far(home)[0])[2])["id"]
    _newest(home, id=event_id)


def _price_missing(home: Home) -> None:
    _book(home).unlink()


def _price_damaged(home: Home) -> None:
    with open(_book(home), "ab") as file:
        file.write(b" ")


def _book(home: Home) -> Path:
    return home.prices / str(orjson.loads(lines_of(own(home)[0])[1])["data"]["book"])


def _book_wrong(home: Home) -> None:
    """A call names a layer, which is whole, where a book should be named."""
    layer = orjson.loads(_book(home).read_bytes())["names"]
    cost = {**_data(home)["cost"], "book": layer}  # type: ignore[dict-item]
    _newest(home, data=_data(home, cost=cost))


def _renumbered(name: bytes, number: int) -> Callable[[Home], None]:
    """Say another seq or tick in the first line of the newest segment, with hashes that fit."""

    def harm(home: Home) -> None:
        path = own(home)[-1]
        lines = lines_of(path)
        previous = bytes.fromhex(orjson.loads(lines[0])["data"]["prev_hash"])
        body = re.sub(rb'"%b":\d+' % name, b'"%b":%d' % (name, number), lines[0][:-TAIL_BYTES], count=1)
        path.write_bytes(chained(previous, body))

    return harm


def _spool_waiting(home: Home) -> None:
    home.spool.mkdir(mode=0o700, parents=True)
    (home.spool / "x.json").write_text('{"keledger_spool":1}')


def _spool_open(home: Home) -> None:
    home.spool.mkdir(parents=True)
    home.spool.chmod(0o777)


def _rewritten_far(home: Home) -> None:
    """The merged writer's last line is another one than was merged, with a hash that fits."""
    path = far(home)[-1]
    lines = lines_of(path)
    body = lines[-1][:-TAIL_BYTES].replace(b'"far"', b'"fur"')
    path.write_bytes(b"".join([*lines[:-1], chained(hash_of(lines[-2]), body)]))


VOID = {"input_sha256": "0" * 64, "call_id": "0" * 8 + "-0000" * 3 + "-" + "0" * 12, "actor": "me", "reason": "a test"}

HARMS: dict[str, tuple[Callable[[Home], None], str, set[str]]] = {
    "a changed line": (_line_damaged, "chain", {"line_damaged"}),
    "a missing segment": (
        lambda home: own(home)[1].unlink(),
        "chain",
        {"segment_missing", "chain_broken"},
    ),
    "a missing first segment": (
        lambda home: own(home)[0].unlink(),
        "chain",
        {"segment_missing", "chain_broken"},
    ),
    "a packed segment": (_packed, "chain", {"segment_packed", "chain_broken", "seal_missing"}),
    "a shortened segment": (_segment_short, "chain", {"segment_short", "chain_broken"}),
    "a damaged head": (_seal_missing, "chain", {"line_damaged", "seal_missing"}),
    "a FIFO": (_strange, "chain", {"segment_strange"}),
    "a torn tail": (_torn, "chain", {"tail_torn"}),
    "a residue": (_residue, "chain", {"residue_sealed"}),
    "a headless file": (_headless, "chain", {"segment_headless", "tail_torn"}),
    "a repeated segment": (_repeated, "chain", {"segment_repeated"}),
    "a segment of another writer": (_foreign, "chain", {"segment_foreign"}),
    "a later release": (_outdated, "chain", {"reader_outdated"}),
    "no JSON": (
        lambda home: _newest(home, lambda body: body[:-1]),
        "events",
        {"line_unreadable"},
    ),
    "JSON twice": (lambda home: _newest(home, lambda body: b"[" + body), "chain", {"line_unreadable"}),
    "another key": (lambda home: _newest(home, lambda body: body + b',"a":1'), "events", {"envelope_wrong"}),
    "data that is a list": (lambda home: _newest(home, data=[1]), "events", {"envelope_wrong"}),
    "another writer": (lambda home: _newest(home, source="/keledger/0000000000000000"), "chain", {"envelope_wrong"}),
    "another time": (lambda home: _newest(home, time="2026-11-21 19:00"), "chain", {"envelope_wrong"}),
    "a tick beyond": (lambda home: _newest(home, tick=2**31), "chain", {"envelope_wrong"}),
    "a gap in seq": (lambda home: _newest(home, seq=900), "chain", {"sequence_broken"}),
    "an old tick": (lambda home: _newest(home, tick=3), "chain", {"tick_backwards"}),
    "a gap in seq between segments": (_renumbered(b"seq", 900), "chain", {"sequence_broken"}),
    "an old tick between segments": (_renumbered(b"tick", 3), "chain", {"tick_backwards"}),
    "too long": (lambda home: _newest(home, type="moon.phased", data={"x": "x" * 300_000}), "chain", {"line_too_long"}),
    "a wrong field": (
        lambda home: _newest(home, data=_data(home, duration_ms="long")),
        "content",
        {"content_wrong"},
    ),
    "a wrong administrative event": (
        lambda home: _newest(home, type="call.voided", data={"call_id": "x"}),
        "events",
        {"content_wrong"},
    ),
    "a wrong sum": (
        lambda home: _newest(home, data=_data(home, cost={**_data(home)["cost"], "total_usd": "5"})),  # type: ignore[dict-item]
        "content",
        {"cost_wrong"},
    ),
    "a time that is none": (
        lambda home: _newest(home, time="2026-13-01T00:00:00.000000Z"),
        "chain",
        {"envelope_wrong"},
    ),
    "hour 24": (lambda home: _newest(home, time="2026-11-30T24:00:00.000000Z"), "chain", {"envelope_wrong"}),
    "a start that is none": (_call(started_at="2026-11-31T00:00:00.000000Z"), "content", {"content_wrong"}),
    "a start in a wrong February": (_call(started_at="2026-02-29T10:00:00.000000Z"), "content", {"content_wrong"}),
    "a key twice in an envelope": (_spelled(b'"v":1,', b'"v":1,"v":1,'), "chain", {"envelope_wrong"}),
    "an escaped key twice in an envelope": (_spelled(b'"v":1,', b'"v":1,"\\u0076":1,'), "chain", {"envelope_wrong"}),
    "a key twice": (_spelled(b'"provider":', b'"provider":"x","provider":'), "content", {"content_wrong"}),
    "a key twice below": (_spelled(b'"usd":', b'"usd":"0","usd":'), "content", {"content_wrong"}),
    "an escaped key twice": (_spelled(b'"model":', b'"m\\u006fdel" : "x","model":'), "content", {"content_wrong"}),
    "a key twice in an administrative event": (
        _spelled(b'"reason":', b'"reason":"another","reason":', type="call.voided", data=VOID),
        "events",
        {"content_wrong"},
    ),
    "a key twice in a later release's event": (
        _spelled(b'"a":1', b'"a":1,"a":1', type="moon.phased", data={"a": 1}),
        "events",
        {"content_wrong"},
    ),
    "a key twice far down": (
        _spelled(b'"a":1', b'"a":' + b'{"b":' * 900 + b'{"c":1,"c":1}' + b"}" * 900, type="moon.phased", data={"a": 1}),
        "events",
        {"content_wrong"},
    ),
    "a float": (_call(moon=[0.25]), "content", {"content_wrong"}),
    "a float spelled otherwise": (_spelled(b'"usage":', b'"moon":1E3,"usage":'), "content", {"content_wrong"}),
    "a used bucket without a count": (
        lambda home: _newest(home, data=_data(home, usage={**_data(home)["usage"], "cache_write_5m": 0})),  # type: ignore[dict-item]
        "content",
        {"content_wrong"},
    ),
    "a count beyond": (_call(usage={"requests": 2**53}), "content", {"content_wrong"}),
    "a user not in NFC": (_call(user="Rene\u0301"), "content", {"content_wrong"}),
    "a tag not in NFC": (_call(tags={"who": "Rene\u0301"}), "content", {"content_wrong"}),
    "priced without a total": (_cost(total_usd=None), "content", {"cost_wrong"}),
    "reported without a total": (_cost(state="reported", total_usd=None, lines=[]), "content", {"cost_wrong"}),
    "reported with other lines": (_cost(state="reported"), "content", {"cost_wrong"}),
    "unknown with a total": (_cost(state="unknown", lines=[]), "content", {"cost_wrong"}),
    "unknown with lines": (_cost(state="unknown", total_usd=None), "content", {"cost_wrong"}),
    "unpriced with a total": (_cost(state="unpriced"), "content", {"cost_wrong"}),
    "unpriced with all prices": (_cost(state="unpriced", total_usd=None), "content", {"cost_wrong"}),
    "priced with a price missing": (_cost(missing=["output_text"]), "content", {"cost_wrong"}),
    "free of charge": (_cost(lines=[], total_usd="0"), "content", {"cost_wrong"}),
    "another amount": (_first_line(usd="0.5"), "content", {"cost_wrong"}),
    "another price": (_first_line(usd_per_million="999"), "content", {"cost_wrong"}),
    "a price that is none": (_first_line(usd_per_million="-1"), "content", {"cost_wrong"}),
    "another quantity": (_first_line(quantity=1, usd_per_million="1", usd="0.000001"), "content", {"cost_wrong"}),
    "amounts exchanged": (_exchanged, "content", {"cost_wrong"}),
    "every bucket twice": (_told_twice, "content", {"cost_wrong"}),
    "unpriced with an amount": (_unpriced(usd="0.5"), "content", {"cost_wrong"}),
    "unpriced with a price that is none": (_unpriced(usd_per_million="-1"), "content", {"cost_wrong"}),
    "unpriced with a bucket that is not missing": (_unpriced(usd_per_million=None), "content", {"cost_wrong"}),
    "another bucket": (_first_line(bucket="input_pages"), "content", {"cost_wrong"}),
    "other usage": (
        lambda home: _newest(home, data=_data(home, usage={**_data(home)["usage"], "output_text": 1})),  # type: ignore[dict-item]
        "content",
        {"cost_wrong"},
    ),
    "more usage": (
        lambda home: _newest(home, data=_data(home, usage={**_data(home)["usage"], "output_audio": 1})),  # type: ignore[dict-item]
        "content",
        {"cost_wrong"},
    ),
    "a conflict": (_conflict, "events", {"conflict"}),
    "a merged writer's end": (lambda home: cut_lines(home, far(home)[0].parent.name, 2), "events", {"end_missing"}),
    "a merged writer": (lambda home: shutil.rmtree(far(home)[0].parent), "events", {"writer_missing"}),
    "a merged writer rewritten": (_rewritten_far, "events", {"line_rewritten"}),
    "a missing price file": (_price_missing, "events", {"price_file_missing"}),
    "a damaged price file": (_price_damaged, "events", {"price_file_damaged"}),
    "no book": (_book_wrong, "events", {"price_book_wrong"}),
    "a waiting call": (_spool_waiting, "chain", {"spool_waiting"}),
    "an open spool": (_spool_open, "chain", {"spool_open"}),
}
"""What is done to a home, the first depth that finds it, and the kinds that are told then."""

NOTES = {"segment_headless", "residue_sealed", "reader_outdated", "spool_waiting"}

OF_ONE_LINE = {"line_damaged", "line_unreadable", "envelope_wrong", "sequence_broken", "tick_backwards",
               "line_too_long", "content_wrong", "cost_wrong", "conflict", "tail_torn"}  # fmt: skip

OF_A_WRITER = {"end_missing", "writer_missing", "line_rewritten"}


def test_a_sound_home(model: Home) -> None:
    for depth in DEPTHS:
        found = verify(model, depth=depth)
        assert (found.findings, found.lines, found.unknown) == ([], sum(found.types.values()), 0)
        assert set(found.writers) == set(model.writers())
        assert found.lines == sum(found.writers.values())
        assert found.types["segment.opened"] == len(own(model)) + len(far(model))
    assert (verify(model).books, verify(model, depth="chain").books) == (1, 0)


@pytest.mark.parametrize("name", HARMS)
def test_each_harm_is_found_where_it_is_from_its_depth_on(home: Home, name: str) -> None:
    harm, first_depth, kinds = HARMS[name]
    whole = verify(home).lines
    harm(home)
    for depth in DEPTHS:
        found = verify(home, depth=depth)
        told = {finding.kind for finding in found.findings}
        if DEPTHS.index(depth) < DEPTHS.index(first_depth):  # type: ignore[arg-type]
            assert told == set()
            continue
        assert kinds <= told
        if not kinds & {"segment_missing", "reader_outdated", "line_damaged"}:
            assert told == kinds
        assert found.lines > whole / 3  # it goes on behind what it found
        for finding in found.findings:
            assert finding.damage == (finding.kind not in NOTES)
            assert finding.path in finding.message or finding.kind in OF_A_WRITER
            if finding.kind in OF_ONE_LINE:
                line = lines_of(Path(finding.path))[(finding.line or 0) - 1]
                assert Path(finding.path).read_bytes()[finding.offset_bytes :].startswith(line)
                assert f"byte {finding.offset_bytes}" in finding.message


MANY_HARMS = (
    "a wrong field",
    "a gap in seq",
    "a wrong sum",
    "a conflict",
    "no JSON",
    "a torn tail",
    "a residue",
    "a changed line",
    "a FIFO",
    "a merged writer rewritten",
    "a damaged price file",
    "a damaged head",
)


@pytest.mark.parametrize("depth", DEPTHS)
def test_workers_tell_the_same_in_the_same_order(home: Home, depth: str) -> None:
    _newest(home, type="moon.phased")
    for name in MANY_HARMS:
        HARMS[name][0](home)
    assert depth in DEPTHS
    here = verify(home, depth=depth, workers=0)
    assert len(here.findings) > 5
    assert verify(home, depth=depth, workers=2) == here


def _kinds_in_code() -> Iterator[str]:
    """What the code calls its findings."""
    folders = (Path(package.__path__[0]) for package in (keledger.journal, keledger.projections))
    for path in (path for folder in folders for path in folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                first = node.args[0]
                if called in ("Finding", "line_finding", "_note", "_found") and isinstance(first, ast.Constant):
                    yield str(first.value)
                if called == "_no_event" and isinstance(node.args[3], ast.Constant):
                    yield str(node.args[3].value)


def _kinds_in_docs() -> dict[str, str]:
    page = (DOCS / "format.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `([a-z_]+)` \| (damage|note) \|", page, re.MULTILINE))


def test_the_page_names_every_kind_and_no_other() -> None:
    told = _kinds_in_docs()
    assert set(told) == set(_kinds_in_code())
    tried = set().union(*(kinds for _, _, kinds in HARMS.values()))
    assert tried - set(told) == set()
    of_reports = {"events_unread"}
    assert {kind for kind, severity in told.items() if severity == "note"} == NOTES | of_reports
    against_anchors = {"line_missing", "anchor_differs", "home_rolled_back"}
    assert set(told) - tried == against_anchors | of_reports


def test_keys_that_a_later_release_added_are_kept_and_nothing_wrong(home: Home) -> None:
    _newest(home, data=_data(home, moon="full"))
    _newest(home, type="call.voided", data={**VOID, "moon": "full"})
    _newest(home, data=_data(home, moon={"text": 'a key": 1.5}, twice, "a key": .5]'}))
    _unpriced()(home)
    assert verify(home).findings == []


def test_other_spellings_of_the_same_are_nothing_wrong(home: Home) -> None:
    """Another writer of the format may put white space and escapes where it likes; keys of one name may stand apart."""
    _spelled(b'"provider":"openai"', b'"provider" : "\\u006fpenai"')(home)
    _spelled(b'"data":{', b'"data": {\t')(home)
    _spelled(b'"usage":', b'"moon":[{"usage":1},{"usage":{"usage":"\\",\\"usage\\":"}}],"usage" :')(home)
    _spelled(b'"a":1', b'"a":' + b"[" * 900 + b"]" * 900, type="moon.phased", data={"a": 1})(home)
    assert verify(home).findings == []


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> tuple[Book, Book]:
    """The shipped book, and one in which a request has its fee."""
    prices = PriceFolder(tmp_path_factory.mktemp("books") / "prices")
    fee = prices.layer("user", Cell("openai", "gpt-5-mini", "", {"requests": "10000", "web_searches": "0"}))
    return prices.book(prices.shipped_layers()), prices.book([fee, *prices.shipped_layers()])


@given(
    usage=st.dictionaries(st.sampled_from(BUCKETS), st.integers(1, 2**40), max_size=6),
    asked=st.sampled_from([("openai", "gpt-5-mini"), ("google", "gemini-2.5-flash"), ("openai", "no-such-model")]),
    reported=st.none() | st.sampled_from(["0", "0.25", "-3"]),
    usage_known=st.booleans(),
    has_fee=st.booleans(),
)
def test_every_cost_that_a_book_makes_is_nothing_wrong(
    books: tuple[Book, Book],
    usage: dict[str, int],
    asked: tuple[str, str],
    reported: str | None,
    usage_known: bool,
    has_fee: bool,
) -> None:
    cost = books[has_fee].price(
        provider=asked[0],
        model=asked[1],
        usage=usage,
        at_us=1_790_000_000_000_000,
        context={},
        reported_cost_usd=reported,
        usage_known=usage_known,
    )
    assert cost_flaw({"usage": usage, "cost": cost}) is None
    for state in {"priced", "reported", "unpriced", "unknown"} - {cost["state"]}:
        if cost["lines"]:
            assert cost_flaw({"usage": usage, "cost": {**cost, "state": state}}) is not None


@given(st.recursive(
    st.integers(-(2**53), 2**53) | st.text(max_size=8) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
))  # fmt: skip
def test_what_is_written_once_is_not_found_twice_however_it_is_spelled(value: object) -> None:
    data = {"value": value}
    for spelled in (orjson.dumps(data), json.dumps(data).encode(), json.dumps(data, indent=1).encode()):
        assert spelling_flaw(data, spelled) is None
        assert list(repeated_keys(b'{"a":1,"a":' + spelled + b"}")) == [1]
        assert list(repeated_keys(b'{"a":[' + spelled.replace(b"{", b'{"value":0,', 1) + b"]}")) == [2]


@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: b"." in orjson.dumps(number)))
def test_a_fraction_is_found_where_no_model_looks(number: float) -> None:
    for data in ({"a": number}, {"a": [1, number, 2]}, {"a": {"b": number, "c": ""}}):
        assert spelling_flaw(data, orjson.dumps(data)) is not None


def test_a_depth_that_is_none(home: Home) -> None:
    with pytest.raises(UsageError, match="there is no depth 'deep'"):
        verify(home, depth="deep")  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, 2])
def test_progress_goes_on_to_the_end_and_never_back(home: Home, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _torn(home)
    told: list[tuple[int, int]] = []
    verify(home, workers=workers, on_progress=lambda done, total: told.append((done, total)))
    size = sum(path.stat().st_size for writer in home.writers() for path in home.segments(writer))
    assert told == sorted(told)
    assert len(told) > len(own(home))
    assert {total for _, total in told} == {size}
    assert told[-1] == (size, size)


@given(
    place=st.integers(0, 330) | st.integers(0, 1000),
    text=st.sampled_from(['"', "\\", " ", "0", "1", "-", "}", ",", "\xff", "e", '"v":1,', ""]),
)
@settings(max_examples=300, deadline=None)
def test_a_line_is_judged_alike_however_it_is_read(model: Home, place: int, text: str) -> None:
    """The quick look at how a line begins and the parse of the whole line agree on what is an event."""
    path = own(model)[0]
    body = lines_of(path)[3][:-TAIL_BYTES]
    line = chained(bytes(32), body[:place] + text.encode("latin-1") + body[place + len(text) :])
    quick, whole = _Lines(path, "content", None), _Lines(path, "content", None)
    whole._starts = lambda _: None
    for lines in (quick, whole):
        lines.each(1, 0, line)
    names = ("findings", "first", "seq", "highest_seq", "tick", "types", "unknown", "books", "merged", "ids", "digests")
    assert {name: getattr(quick, name) for name in names} == {name: getattr(whole, name) for name in names}


@pytest.mark.parametrize(("first", "second"), [(own, far), (far, own)], ids=["own first", "own second"])
def test_the_first_copy_by_tick_counts_and_copies_of_one_input_are_no_conflict(
    home: Home, first: Callable[[Home], list[Path]], second: Callable[[Home], list[Path]]
) -> None:
    """Whichever writer's name comes first, only ticks say which copy does."""
    event, path = orjson.loads(lines_of(first(home)[0])[2]), second(home)[-1]
    append_body(path, next_body(path, id=event["id"], data=event["data"], tick=900))
    assert verify(home).findings == []
    append_body(path, next_body(path, id=event["id"], data={**event["data"], "input_sha256": "0" * 64}, tick=901))
    (finding,) = verify(home).findings
    assert (finding.kind, finding.path) == ("conflict", str(path))
    assert f"{event['id']} stands with another input at {first(home)[0].parent.name}/" in finding.message


def test_what_was_sealed_off_is_not_counted_though_the_seal_is_damaged(home: Home) -> None:
    """Lines that a failed sync left behind stand again in the next segment, whose own first line is damaged then."""
    below, above = own(home)[-3:-1]
    append_body(below, next_body(below))
    append_body(below, next_body(below))
    assert [finding.kind for finding in verify(home).findings] == ["residue_sealed"]
    edit_line(above, 0, lambda line: line.replace(b'"reason":"full"', b'"reason":"fell"'))
    for workers in (0, 2):
        found = verify(home, workers=workers)
        assert {"line_damaged"} <= {finding.kind for finding in found.findings}
        assert sum(found.types.values()) == found.lines


def test_what_is_merged_while_verify_is_at_it_is_not_missing(home: Home, tmp_path: Path) -> None:
    """The event that names the merged writer is read, though the writer was not there when the pass began."""
    with Ledger.open(tmp_path / "new") as new:
        new.record(**call())
    (writer,) = Home.at(tmp_path / "new").writers()

    def merge(done: int, total: int) -> None:
        if writer not in home.writers():
            with Ledger.open(home.path) as ledger:
                ledger.merge(tmp_path / "new")

    found = verify(home, workers=0, on_progress=merge)
    assert found.types["merge.completed"] == 2
    assert writer not in found.writers
    assert found.findings == []


def test_progress_waits_where_a_segment_is_read_again() -> None:
    told: list[tuple[int, int]] = []
    progress = _Progress(lambda done, total: told.append((done, total)))
    one, other = Path("1"), Path("2")
    progress.expect(one, 10)
    progress.expect(other, 20)
    for path, done in ((one, 6), (one, 2), (one, 8), (other, 30), (one, 10)):
        progress.tell(path, done)
    progress.finish()
    assert told == [(6, 30), (8, 30), (28, 30), (30, 30)]


@given(st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(2**63, 2**63 + 5), max_size=20), max_size=5))
def test_what_repeats_is_found_in_any_number_of_parts(ends: list[list[int]]) -> None:
    from array import array
    from collections import Counter

    counted = Counter(end for part in ends for end in part)
    expected = {end for end, times in counted.items() if times > 1}
    arrays = [array("Q", sorted(part)) for part in ends]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "_AT_ONCE", random.Random(len(counted)).randint(1, 30))
        assert comparing._repeated(arrays) == expected


APPENDING = """
import sys
from keledger.journal import Ledger, _limits as limits
limits.SEGMENT_BYTES_MAX = 20_000
home, others = sys.argv[1], sys.argv[2]
number = 0
with Ledger.open(home) as ledger:
    while True:
        ledger.record(provider="openai", model="gpt-5-mini", usage={"input_uncached": 1})
        number += 1
        if number == 5:
            print("going", flush=True)
        if number % 10 == 0 and number < 200:
            with Ledger.open(f"{others}/{number}") as other:
                other.record(provider="openai", model="gpt-5-mini", usage={"input_uncached": 1})
            ledger.merge(f"{others}/{number}")
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_is_found_while_another_process_appends_and_merges(home: Home, tmp_path: Path, workers: int) -> None:
    (tmp_path / "others").mkdir()
    command = [sys.executable, "-c", APPENDING, str(home.path), str(tmp_path / "others")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"going\n"
            before = verify(home).lines
            for look in itertools.count(1):  # until something has come while it was looked at
                found = verify(home, workers=workers)
                assert found.findings == []
                assert process.poll() is None
                if look >= 6 and found.lines > before:
                    break
        finally:
            process.send_signal(signal.SIGKILL)
