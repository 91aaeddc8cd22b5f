"""Lines that only a hand or another release can have written: none takes the report with it."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from keledger.journal import Home, NewEvent
from keledger.projections import digest, open_projection, rebuild, report_daily, run_sql

from .support import append, call, call_data, call_id, drop_cache, void


def raw(event_type: str, data: Any, name: str = "odd") -> NewEvent:
    """An event whose data nobody validated."""
    return NewEvent(event_type, call_id(name), orjson.dumps(data) if not isinstance(data, bytes) else data)


def state(home: Home) -> tuple[int, list[str], str]:
    with open_projection(home) as projection:
        calls = report_daily(projection).totals["calls"]
        return calls, [finding.kind for finding in projection.findings], digest(projection)


@pytest.mark.parametrize(
    "data",
    [
        call_data() | {"started_at": "yesterday"},
        call_data() | {"duration_ms": "long"},
        call_data() | {"usage": {"input_uncached": "many"}},
        call_data() | {"usage": []},
        call_data() | {"cost": "0.1"},
        call_data() | {"cost": {"state": "priced", "total_usd": "0.1e3", "lines": []}},
        call_data() | {"cost": {"state": "priced", "total_usd": "1,5", "lines": []}},
        call_data() | {"cost": {"state": "priced", "total_usd": "1", "lines": {}}},
        call_data() | {"cost": {"total_usd": "1", "lines": []}},
        {name: value for name, value in call_data().items() if name != "started_at"},
        {name: value for name, value in call_data().items() if name != "provider"},
        {name: value for name, value in call_data().items() if name != "cost"},
        [],
        b'{"started_at":"2026-01-01T00:00:00.000000Z",}',
        b"\xff",
    ],
)
def test_a_call_that_cannot_be_read_is_left_out_and_named(home: Home, data: Any) -> None:
    append(home, call(1), raw("call.completed", data), call(2))
    append(home, *(call(number) for number in range(3, 20)))
    caught_up = state(home)
    assert caught_up[:2] == (19, ["line_unreadable"])
    rebuild(home)
    assert state(home) == caught_up
    with open_projection(home) as projection:
        (finding,) = projection.findings
        totals = report_daily(projection).totals
    assert "byte" in finding.message
    assert "is not counted" in finding.message
    assert "tmp" not in finding.message.partition("is not counted")[2]
    assert totals["cost_usd"] == "0.047025"


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        ("split.set", {"name": "b", "action": "block", "usage": "none", "cost": 5, "tags": ["x"]}),
        ("fx.set", {"cost": "5", "started_at": "tomorrow", "usage": [1]}),
        ("something.new", ["a", "list"]),
        ("something.new", b'"text"'),
        ("something.new", b"null"),
        ("experiment.started", {"usage": 1}),
    ],
)
def test_types_of_other_releases_are_kept_and_counted(home: Home, event_type: str, data: Any) -> None:
    append(home, call(1), raw(event_type, data), raw(event_type, data, "odd too"), call(2), void(2))
    for _ in range(2):
        calls, kinds, _ = state(home)
        assert (calls, kinds) == (1, ["events_unread"])
        with open_projection(home) as projection:
            (finding,) = projection.findings
            rows = run_sql(projection, f"SELECT data FROM events WHERE type = '{event_type}'").rows
        assert not finding.damage
        assert f"2 events {event_type} v1" in finding.message
        assert rows == ({"data": orjson.loads(raw(event_type, data).data)},) * 2
        rebuild(home)


def test_higher_versions_of_calls_are_kept_and_not_counted(home: Home) -> None:
    append(home, call(1), call(2))
    (writer,) = home.writers()
    (path,) = home.segments(writer)
    # The third line again, as a later release might write it: another version, and another shape.
    from keledger.journal._line import chained_hash, stated_hash

    lines = path.read_bytes().splitlines(keepends=True)
    body = lines[2][:-76].replace(b'"v":1', b'"v":2').replace(b'"seq":3,"tick":3', b'"seq":4,"tick":4')
    body = re.sub(rb'"cost":\{.*?\]\}', b'"cost":"free"', body)
    previous = stated_hash(lines[2])
    assert previous is not None
    digest_of_line = chained_hash(previous, body + b"x" * 76).hex().encode()
    path.write_bytes(b"".join(lines) + body + b',"hash":"' + digest_of_line + b'"}\n')
    for _ in range(2):
        calls, kinds, _ = state(home)
        assert (calls, kinds) == (2, ["events_unread"])
        with open_projection(home) as projection:
            assert "1 event call.completed v2" in projection.findings[0].message
            assert run_sql(projection, "SELECT v, COUNT(*) AS n FROM events GROUP BY v ORDER BY v").rows == (
                {"v": 1, "n": 3},
                {"v": 2, "n": 1},
            )
        rebuild(home)
    drop_cache(home)
    assert state(home)[0] == 2


def test_a_call_with_its_keys_in_another_order_counts(home: Home) -> None:
    """The format fixes the order; a reader need not rely on it."""
    append(home, call(1))
    (writer,) = home.writers()
    (path,) = home.segments(writer)
    from keledger.journal._line import chained_hash, stated_hash

    lines = path.read_bytes().splitlines(keepends=True)
    event = orjson.loads(lines[1])
    event |= {"id": call_id(2), "seq": 3, "tick": 3}
    del event["hash"]
    body = orjson.dumps(dict(reversed(list(event.items()))))[:-1]
    previous = stated_hash(lines[1])
    assert previous is not None
    digest_of_line = chained_hash(previous, body + b"x" * 76).hex().encode()
    path.write_bytes(b"".join(lines) + body + b',"hash":"' + digest_of_line + b'"}\n')
    assert state(home)[:2] == (2, [])
