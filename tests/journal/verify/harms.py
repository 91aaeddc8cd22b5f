"""What may be done to a home, and what of it ``verify`` tells: one case at least for every kind of finding."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import orjson

from keledger.journal import Home, Ledger
from keledger.journal._line import TAIL_BYTES, ZERO_HASH
from keledger.journal.budgets import budget_fields
from keledger.journal.budgets._store import FILE_NAME
from tests.journal.tampering import chained, cut_lines, edit_line, hash_of, lines_of
from tests.journal.unreadable import shut

from .support import far, own
from .wrong_calls import (
    VOID,
    add_wrong,
    amounts_exchanged,
    data_of,
    misspelt,
    told_twice,
    unpriced,
    wrong_call,
    wrong_cost,
    wrong_first_line,
)


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


def _shut(home: Home) -> None:
    shut(own(home)[1])


def _packed(home: Home) -> None:
    own(home)[1].rename(own(home)[1].with_suffix(".jsonl.zst"))


def tear_the_tail(home: Home) -> None:
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


def _copied_over(home: Home) -> None:
    shutil.copy(own(home)[2], own(home)[1])


def _foreign(number: int) -> Callable[[Home], None]:
    """Put a segment of the merged writer behind the own ones."""

    def harm(home: Home) -> None:
        newest = own(home)[-1]
        shutil.copy(far(home)[number], newest.with_name(f"{int(newest.stem) + 1:08d}.jsonl"))

    return harm


def _outdated(home: Home) -> None:
    lines = lines_of(far(home)[0])
    far(home)[0].write_bytes(chained(ZERO_HASH, lines[0][:-TAIL_BYTES].replace(b'"0.1.0"', b'"9.1.0"')))
    for path in far(home)[1:]:
        path.unlink()


def _conflict(home: Home) -> None:
    event_id = orjson.loads(lines_of(far(home)[0])[2])["id"]
    add_wrong(home, id=event_id)


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
    cost = {**data_of(home)["cost"], "book": layer}  # type: ignore[dict-item]
    add_wrong(home, data=data_of(home, cost=cost))


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


def _guard_wrong(home: Home) -> None:
    """A window's sum is another one than the journal's; the file says nothing of it."""
    with Ledger.open(home.path) as ledger:
        ledger.budgets.set(budget_fields("all", limit="5", period="total"))
    connection = sqlite3.connect(home.path / "guard" / FILE_NAME)
    with connection:
        connection.execute("UPDATE sums SET amounts = '1,0,0,0,0,0,1,0,0,0,0' WHERE scope = 2")
    connection.close()


def _rewritten_far(home: Home) -> None:
    """The merged writer's last line is another one than was merged, with a hash that fits."""
    path = far(home)[-1]
    lines = lines_of(path)
    body = lines[-1][:-TAIL_BYTES].replace(b'"far"', b'"fur"')
    path.write_bytes(b"".join([*lines[:-1], chained(hash_of(lines[-2]), body)]))


HARMS: dict[str, tuple[Callable[[Home], None], str, set[str]]] = {
    "sums of budgets that nobody journaled": (_guard_wrong, "events", {"guard_differs"}),
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
    "a segment that is shut": (_shut, "chain", {"segment_unreadable", "seal_missing"}),
    "a packed segment": (_packed, "chain", {"segment_packed", "chain_broken", "seal_missing"}),
    "a shortened segment": (_segment_short, "chain", {"segment_short", "chain_broken"}),
    "a damaged head": (_seal_missing, "chain", {"line_damaged", "seal_missing"}),
    "a FIFO": (_strange, "chain", {"segment_strange"}),
    "a torn tail": (tear_the_tail, "chain", {"tail_torn"}),
    "a residue": (_residue, "chain", {"residue_sealed"}),
    "a headless file": (_headless, "chain", {"segment_headless", "tail_torn"}),
    "a repeated segment": (_repeated, "chain", {"segment_repeated"}),
    "a segment copied over a lower one": (
        _copied_over,
        "chain",
        {"segment_repeated", "chain_broken", "seal_missing"},
    ),
    "a segment of another writer": (_foreign(0), "chain", {"segment_foreign"}),
    "a segment of another writer with seals": (_foreign(1), "chain", {"segment_foreign"}),
    "a later release": (_outdated, "chain", {"reader_outdated"}),
    "no JSON": (
        lambda home: add_wrong(home, lambda body: body[:-1]),
        "events",
        {"line_unreadable"},
    ),
    "JSON twice": (lambda home: add_wrong(home, lambda body: b"[" + body), "chain", {"line_unreadable"}),
    "another key": (lambda home: add_wrong(home, lambda body: body + b',"a":1'), "events", {"envelope_wrong"}),
    "data that is a list": (lambda home: add_wrong(home, data=[1]), "events", {"envelope_wrong"}),
    "another writer": (lambda home: add_wrong(home, source="/keledger/0000000000000000"), "chain", {"envelope_wrong"}),
    "another time": (lambda home: add_wrong(home, time="2026-11-21 19:00"), "chain", {"envelope_wrong"}),
    "a tick beyond": (lambda home: add_wrong(home, tick=2**31), "chain", {"envelope_wrong"}),
    "a gap in seq": (lambda home: add_wrong(home, seq=900), "chain", {"sequence_broken"}),
    "an old tick": (lambda home: add_wrong(home, tick=3), "chain", {"tick_backwards"}),
    "a gap in seq between segments": (_renumbered(b"seq", 900), "chain", {"sequence_broken"}),
    "an old tick between segments": (_renumbered(b"tick", 3), "chain", {"tick_backwards"}),
    "too long": (
        lambda home: add_wrong(home, type="moon.phased", data={"x": "x" * 300_000}),
        "chain",
        {"line_too_long"},
    ),
    "a wrong field": (
        lambda home: add_wrong(home, data=data_of(home, duration_ms="long")),
        "content",
        {"content_wrong"},
    ),
    "a wrong administrative event": (
        lambda home: add_wrong(home, type="call.voided", data={"call_id": "x"}),
        "events",
        {"content_wrong"},
    ),
    "a wrong sum": (
        lambda home: add_wrong(home, data=data_of(home, cost={**data_of(home)["cost"], "total_usd": "5"})),  # type: ignore[dict-item]
        "content",
        {"cost_wrong"},
    ),
    "a time that is none": (
        lambda home: add_wrong(home, time="2026-13-01T00:00:00.000000Z"),
        "chain",
        {"envelope_wrong"},
    ),
    "hour 24": (lambda home: add_wrong(home, time="2026-11-30T24:00:00.000000Z"), "chain", {"envelope_wrong"}),
    "a start that is none": (wrong_call(started_at="2026-11-31T00:00:00.000000Z"), "content", {"content_wrong"}),
    "a start in a wrong February": (wrong_call(started_at="2026-02-29T10:00:00.000000Z"), "content", {"content_wrong"}),
    "a key twice in an envelope": (misspelt(b'"v":1,', b'"v":1,"v":1,'), "chain", {"envelope_wrong"}),
    "an escaped key twice in an envelope": (
        misspelt(b'"v":1,', b'"v":1,"\\u0076":1,'),
        "chain",
        {"envelope_wrong"},
    ),
    "a key twice": (misspelt(b'"provider":', b'"provider":"x","provider":'), "content", {"content_wrong"}),
    "a key twice below": (misspelt(b'"usd":', b'"usd":"0","usd":'), "content", {"content_wrong"}),
    "an escaped key twice": (
        misspelt(b'"model":', b'"m\\u006fdel" : "x","model":'),
        "content",
        {"content_wrong"},
    ),
    "a key twice in an administrative event": (
        misspelt(b'"reason":', b'"reason":"another","reason":', type="call.voided", data=VOID),
        "events",
        {"content_wrong"},
    ),
    "a key twice in a later release's event": (
        misspelt(b'"a":1', b'"a":1,"a":1', type="moon.phased", data={"a": 1}),
        "events",
        {"content_wrong"},
    ),
    "a key twice far down": (
        misspelt(b'"a":1', b'"a":' + b'{"b":' * 900 + b'{"c":1,"c":1}' + b"}" * 900, type="moon.phased", data={"a": 1}),
        "events",
        {"content_wrong"},
    ),
    "a float": (wrong_call(moon=[0.25]), "content", {"content_wrong"}),
    "a float spelled otherwise": (misspelt(b'"usage":', b'"moon":1E3,"usage":'), "content", {"content_wrong"}),
    "a used bucket without a count": (
        lambda home: add_wrong(home, data=data_of(home, usage={**data_of(home)["usage"], "cache_write_5m": 0})),  # type: ignore[dict-item]
        "content",
        {"content_wrong"},
    ),
    "a count beyond": (wrong_call(usage={"requests": 2**53}), "content", {"content_wrong"}),
    "a user not in NFC": (wrong_call(user="Rene\u0301"), "content", {"content_wrong"}),
    "a tag not in NFC": (wrong_call(tags={"who": "Rene\u0301"}), "content", {"content_wrong"}),
    "priced without a total": (wrong_cost(total_usd=None), "content", {"cost_wrong"}),
    "reported without a total": (wrong_cost(state="reported", total_usd=None, lines=[]), "content", {"cost_wrong"}),
    "reported with other lines": (wrong_cost(state="reported"), "content", {"cost_wrong"}),
    "unknown with a total": (wrong_cost(state="unknown", lines=[]), "content", {"cost_wrong"}),
    "unknown with lines": (wrong_cost(state="unknown", total_usd=None), "content", {"cost_wrong"}),
    "unpriced with a total": (wrong_cost(state="unpriced"), "content", {"cost_wrong"}),
    "unpriced with all prices": (wrong_cost(state="unpriced", total_usd=None), "content", {"cost_wrong"}),
    "priced with a price missing": (wrong_cost(missing=["output_text"]), "content", {"cost_wrong"}),
    "free of charge": (wrong_cost(lines=[], total_usd="0"), "content", {"cost_wrong"}),
    "another amount": (wrong_first_line(usd="0.5"), "content", {"cost_wrong"}),
    "another price": (wrong_first_line(usd_per_million="999"), "content", {"cost_wrong"}),
    "a price that is none": (wrong_first_line(usd_per_million="-1"), "content", {"cost_wrong"}),
    "another quantity": (wrong_first_line(quantity=1, usd_per_million="1", usd="0.000001"), "content", {"cost_wrong"}),
    "amounts exchanged": (amounts_exchanged, "content", {"cost_wrong"}),
    "every bucket twice": (told_twice, "content", {"cost_wrong"}),
    "unpriced with an amount": (unpriced(usd="0.5"), "content", {"cost_wrong"}),
    "unpriced with a price that is none": (unpriced(usd_per_million="-1"), "content", {"cost_wrong"}),
    "unpriced with a bucket that is not missing": (unpriced(usd_per_million=None), "content", {"cost_wrong"}),
    "another bucket": (wrong_first_line(bucket="input_pages"), "content", {"cost_wrong"}),
    "other usage": (
        lambda home: add_wrong(home, data=data_of(home, usage={**data_of(home)["usage"], "output_text": 1})),  # type: ignore[dict-item]
        "content",
        {"cost_wrong"},
    ),
    "more usage": (
        lambda home: add_wrong(home, data=data_of(home, usage={**data_of(home)["usage"], "output_audio": 1})),  # type: ignore[dict-item]
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
