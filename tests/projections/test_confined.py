"""``keledger sql``: what it answers, and everything that it must not do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import Home, KeledgerError, UsageError
from keledger.projections import (
    Projection,
    _engine,
    digest,
    open_projection,
    rebuild,
    report_daily,
    run_sql,
)
from keledger.projections._confined import TABLES

from .support import append, call, call_id, void

CALL_COLUMNS = [
    "id", "started_at", "writer", "sequence", "session", "prompt", "prompt_version", "statement", "client",
    "client_call_id", "provider", "model", "response_model", "status", "input_tokens", "output_tokens",
    "cache_read_input_tokens", "cache_creation_input_tokens", "reasoning_output_tokens", "cost_usd",
    "recorded_cost_usd", "reported_cost_usd", "cost_state", "user", "project", "team", "cost_center", "recorded_user",
    "recorded_project", "recorded_team", "recorded_cost_center", "tags", "duration_ms", "origin", "quality", "run",
    "http_status", "error_type", "estimate_id",
]  # fmt: skip


@pytest.fixture(params=["tail", "layer"])
def here(home: Home, request: pytest.FixtureRequest) -> Home:
    return filled(home, has_layer=request.param == "layer")


def filled(home: Home, *, has_layer: bool) -> Home:
    """The home with some calls."""
    append(
        home,
        *(call(number, usd=f"{number}.5", user=f"u{number % 2}", tags={"env": "dev"}) for number in range(6)),
    )
    append(home, call(0), void(1))
    if has_layer:
        rebuild(home)
    return home


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One home for all statements that are refused: each is held to change no byte of it."""
    return filled(Home.at(tmp_path_factory.mktemp("untouched") / "home"), has_layer=True)


@pytest.fixture
def projection(here: Home) -> Iterator[Projection]:
    with open_projection(here) as opened:
        yield opened


def rows(projection: Projection, statement: str) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = run_sql(projection, statement).as_json()["rows"]
    return shown


def test_tables(projection: Projection) -> None:
    (one,) = rows(projection, f"SELECT * FROM calls WHERE id = '{call_id(3)}'")
    assert list(one) == CALL_COLUMNS
    assert one["started_at"] == "2026-03-01T12:00:00.000000Z"
    assert (one["cost_usd"], one["user"], one["tags"]) == ("3.500000000000", "u1", {"env": "dev"})
    assert rows(projection, "SELECT SUM(usd) AS usd FROM charges") == [{"usd": "16.500000000000"}]
    assert rows(projection, "SELECT SUM(cost_usd) AS usd FROM calls") == [{"usd": "16.500000000000"}]
    assert rows(projection, "SELECT date, calls, cost_usd FROM daily") == [
        {"date": "2026-03-01", "calls": 5, "cost_usd": "16.500000000000"}
    ]
    assert rows(projection, "SELECT session, calls, cost_usd FROM sessions") == [
        {"session": None, "calls": 5, "cost_usd": "16.500000000000"}
    ]
    assert rows(projection, "SELECT reason, cost_usd FROM uncounted ORDER BY reason") == [
        {"reason": "copy", "cost_usd": "0.002475000000"},
        {"reason": "voided", "cost_usd": "1.500000000000"},
    ]
    assert rows(projection, "DESCRIBE charges")[0]["column_name"] == "call_id"


@pytest.mark.parametrize(
    "columns",
    ["data", "*", "e", "data.reason", "COLUMNS('.*')", "data->>'reason' AS reason", "id, MAX(data) OVER ()"],
)
def test_data_of_events_is_there_where_it_is_named(projection: Projection, columns: str) -> None:
    found = rows(projection, f"SELECT {columns} FROM events AS e WHERE type = 'call.voided'")
    assert "test" in str(found[0])
    assert len(found) == 1


def test_events(projection: Projection) -> None:
    wanted = [
        {"type": "call.completed", "n": 7},
        {"type": "call.voided", "n": 1},
        {"type": "segment.opened", "n": 1},
    ]
    counting = "SELECT type, COUNT(*) AS n FROM events {} GROUP BY type ORDER BY type"
    assert rows(projection, counting.format("")) == wanted
    assert rows(projection, counting.format("WHERE data IS NOT NULL")) == wanted
    thin = rows(projection, "SELECT id, type, v, time, writer, seq, tick FROM events ORDER BY tick")
    thick = rows(projection, "SELECT * FROM events ORDER BY tick")
    assert [row["seq"] for row in thin] == list(range(1, 10))
    assert thin == [{name: value for name, value in row.items() if name != "data"} for row in thick]
    assert thick[1]["data"]["cost"]["total_usd"] == "0.5"
    assert [row["column_name"] for row in rows(projection, "DESCRIBE events")][-1] == "data"


def test_events_are_those_of_the_projection(here: Home) -> None:
    """What is appended after a projection was opened is in none of its tables."""
    with open_projection(here) as projection:
        append(here, *(call(f"later {number}") for number in range(5)))
        assert rows(projection, "SELECT COUNT(data) AS n FROM events") == [{"n": 9}]
        assert projection.positions == dict.fromkeys(here.writers(), 9)


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("1", 1),
        ("9007199254740991", 9007199254740991),
        ("9007199254740993", "9007199254740993"),
        ("170141183460469231731687303715884105727", "170141183460469231731687303715884105727"),
        ("CAST('0.000000000001' AS DECIMAL(38,12))", "0.000000000001"),
        ("CAST('-123456789012345.678901234567' AS DECIMAL(38,12))", "-123456789012345.678901234567"),
        ("CAST(1.5 AS DOUBLE)", 1.5),
        ("CAST('nan' AS DOUBLE)", None),
        ("CAST('inf' AS DOUBLE)", None),
        ("NULL", None),
        ("TRUE", True),
        ("'é☃'", "é☃"),
        ("DATE '2026-03-01'", "2026-03-01"),
        ("TIMESTAMP '2026-03-01 10:00:00.5'", "2026-03-01T10:00:00.500000"),
        ("TIMESTAMPTZ '2026-03-01 10:00:00+02'", "2026-03-01T08:00:00.000000Z"),
        ("[TIMESTAMPTZ '2026-03-01 10:00:00+02']", "['2026-03-01 08:00:00+00']"),
        ("TIME '10:00:00'", "10:00:00"),
        ("INTERVAL 1 HOUR", "1:00:00"),
        ("'ab'::BLOB", "YWI="),
        ("[1.25, NULL]", ["1.25", None]),
        ("{'a': 1.5, 'b': [2]}", {"a": "1.5", "b": [2]}),
        ("MAP {1: 2.5}", {"1": "2.5"}),
        ("'{\"a\": [1, 2]}'::JSON", {"a": [1, 2]}),
        ("'00000000-0000-7000-8000-000000000000'::UUID", "00000000-0000-7000-8000-000000000000"),
    ],
)
def test_values(projection: Projection, expression: str, wanted: object) -> None:
    assert rows(projection, f"SELECT {expression} AS x") == [{"x": wanted}]


def test_columns_of_one_name(projection: Projection) -> None:
    result = run_sql(projection, "SELECT 1 AS a, 2 AS a, 3 AS b, 4 AS A")
    assert len(set(result.columns)) == 4
    assert list(result.rows[0].values()) == [1, 2, 3, 4]
    assert run_sql(projection, "SELECT 1 AS a WHERE FALSE").as_json() == {"columns": ["a"], "rows": []}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT i FROM range(200000) AS t(i) ORDER BY (i * 7919) % 200003 DESC",
        "SELECT i, TIMESTAMPTZ '2026-01-01 00:00:00+00' FROM range(200000) AS r(i) ORDER BY (i * 7919) % 200003 DESC;",
    ],
)
def test_the_order_of_the_statement_holds(projection: Projection, statement: str) -> None:
    found = [row["i"] for row in rows(projection, statement)]
    assert found == sorted(range(200000), key=lambda i: -((i * 7919) % 200003))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 -- a remark at the end",
        "SELECT 1;",
        "  ;SELECT 1  ; ",
        "FROM calls SELECT COUNT(*)",
        "WITH a AS (SELECT * FROM calls), b AS (SELECT * FROM a) SELECT COUNT(*) FROM a, b",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r",
        "SELECT (WITH x AS (SELECT 1 AS y) SELECT y FROM x)",
        "VALUES (1), (2)",
        "SELECT * FROM main.calls LIMIT 1",
        "SELECT * FROM CALLS LIMIT 1",
        "SELECT unnest([1, 2]), UNNEST(['a'])",
        "SELECT * FROM generate_series(1, 3), unnest([1, 2])",
        "SUMMARIZE daily",
        "SELECT * FROM calls ORDER BY ALL LIMIT 2",
        "SELECT x.* FROM (DESCRIBE calls) AS x",
        "TABLE daily",
    ],
)
def test_statements_that_are_run(projection: Projection, statement: str) -> None:
    assert run_sql(projection, statement).rows


REFUSED = [
    # files and folders
    "SELECT * FROM '{secret}'",
    'SELECT * FROM "{secret}"',
    "DESCRIBE '{secret}'",
    "SUMMARIZE '{secret}'",
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_blob('{secret}')",
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM read_json('{secret}')",
    "SELECT * FROM read_parquet('{secret}')",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM parquet_metadata('{secret}')",
    "SELECT * FROM glob('{folder}/*')",
    "COPY calls TO '{folder}/out.csv'",
    "COPY (SELECT 1) TO '{folder}/out.json'",
    "COPY calls FROM '{secret}'",
    "EXPORT DATABASE '{folder}/out'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{folder}/new.duckdb'",
    "ATTACH ':memory:' AS other",
    "COPY FROM DATABASE layer_0 TO memory",
    "COPY calls TO '/dev/stdout'",
    "SELECT * FROM calls, LATERAL (SELECT * FROM read_text('{secret}'))",
    "SELECT * FROM calls WHERE EXISTS (SELECT 1 FROM read_text('{secret}'))",
    "SELECT (SELECT content FROM read_text('{secret}'))",
    "SELECT * FROM (VALUES (1)) UNION ALL SELECT size FROM read_blob('{secret}')",
    "SELECT read_text('{secret}')",
    "SELECT * FROM read_json_objects('{secret}')",
    "SELECT * FROM read_ndjson_auto('{secret}')",
    "SELECT * FROM read_csv_auto('{secret}')",
    "SELECT * FROM parquet_scan('{secret}')",
    "SELECT * FROM parquet_schema('{secret}')",
    "SELECT * FROM read_duckdb('{folder}/other.duckdb')",
    "SELECT * FROM sqlite_scan('{secret}', 'x')",
    # the network
    "SELECT * FROM 'https://127.0.0.1:9/x.csv'",
    "SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')",
    "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "SELECT * FROM postgres_scan('host=127.0.0.1', 'public', 'x')",
    "SELECT * FROM iceberg_scan('https://127.0.0.1:9/x')",
    "ATTACH 'https://127.0.0.1:9/x.duckdb'",
    "COPY calls TO 's3://bucket/x.csv'",
    "INSTALL spatial FROM 'http://127.0.0.1:9'",
    # changes
    "DETACH layer_0",
    "CREATE SCHEMA x",
    "CREATE SEQUENCE x",
    "CREATE TYPE x AS ENUM ('a')",
    "CREATE INDEX x ON calls (id)",
    "CREATE OR REPLACE PERSISTENT SECRET x (TYPE s3)",
    "DROP SECRET x",
    "COMMENT ON TABLE calls IS 'x'",
    "TRUNCATE calls",
    "MERGE INTO calls USING daily ON TRUE WHEN MATCHED THEN DELETE",
    "EXECUTE p",
    "DEALLOCATE p",
    "ROLLBACK",
    "CALL enable_logging()",
    "SELECT write_log('x')",
    "SELECT * FROM force_checkpoint('memory')",
    "SELECT * FROM checkpoint()",
    "CREATE TABLE x AS SELECT 1",
    "CREATE TEMP TABLE x AS SELECT 1",
    "CREATE VIEW x AS SELECT 1",
    "CREATE MACRO f(a) AS a",
    "CREATE SECRET (TYPE s3)",
    "INSERT INTO calls VALUES (1)",
    "UPDATE calls SET model = 'x'",
    "DELETE FROM calls",
    "DROP VIEW calls",
    "ALTER TABLE calls ADD COLUMN x INTEGER",
    "WITH x AS (INSERT INTO calls VALUES (1) RETURNING *) SELECT * FROM x",
    # settings and extensions
    "SET memory_limit = '100GB'",
    "SET GLOBAL enable_external_access = true",
    "SET SESSION threads = 1",
    "RESET lock_configuration",
    "RESET ALL",
    "LOAD '{folder}/x.duckdb_extension'",
    "PRAGMA enable_profiling",
    "PRAGMA database_list",
    "INSTALL httpfs",
    "LOAD httpfs",
    "UPDATE EXTENSIONS",
    "SET VARIABLE files = 'x'",
    "CALL pragma_version()",
    "USE layer_0",
    # what tells of the machine or of the tables behind
    "SELECT * FROM duckdb_databases()",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM duckdb_extensions()",
    "SELECT * FROM duckdb_temporary_files()",
    "SELECT * FROM duckdb_variables()",
    "SELECT * FROM duckdb_logs()",
    "SELECT * FROM duckdb_functions()",
    "SELECT * FROM duckdb_tables()",
    "SELECT * FROM duckdb_external_file_cache()",
    "SELECT * FROM which_secret('x', 's3')",
    "SELECT * FROM pragma_database_size()",
    "SELECT * FROM pragma_table_info('call_fact')",
    "SELECT * FROM pragma_database_list",
    "SELECT * FROM pragma_storage_info('calls')",
    "SELECT * FROM duckdb_databases",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM pg_catalog.pg_settings",
    "SELECT * FROM call_fact",
    "SELECT * FROM layer_0.call_lines",
    "SELECT * FROM tail_call_lines",
    "WITH duckdb_databases AS (SELECT * FROM duckdb_databases) SELECT * FROM duckdb_databases",
    "WITH RECURSIVE duckdb_views AS (TABLE duckdb_views UNION ALL TABLE duckdb_views) SELECT * FROM duckdb_views",
    "WITH b AS (SELECT * FROM sqlite_master), sqlite_master AS (SELECT 1) SELECT * FROM b",
    "SELECT * FROM calls WHERE id IN (WITH x AS (SELECT 1) SELECT path FROM duckdb_databases)",
    "SHOW TABLES",
    "SHOW ALL TABLES",
    "SHOW DATABASES",
    "SELECT current_setting('temp_directory')",
    "SELECT Current_Setting('home_directory')",
    "SELECT getvariable('files')",
    "SELECT getenv('HOME')",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('call_fact')",
    "SELECT * FROM json_execute_serialized_sql('x')",
    # Python's variables and objects
    "SELECT * FROM secret_rows",
    "SELECT * FROM pandas_scan(1)",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM arrow_scan_dumb(1, 2, 3)",
    "SELECT * FROM python_map_function(1)",
    "SELECT * FROM seq_scan('calls')",
    # more or less than one statement
    "",
    ";",
    "-- nothing",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP VIEW calls",
    "BEGIN",
    "CHECKPOINT",
    "VACUUM",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE SELECT 1",
    "PREPARE p AS SELECT 1",
    "PIVOT calls ON model USING COUNT(*)",
    # mistakes
    "SELEC 1",
    "SELECT 'open",
    "SELECT",
    "SELECT nothing FROM calls",
    "SELECT * FROM nothing",
    "SELECT no_such_function(1)",
    "SELECT CAST('x' AS INTEGER)",
    "SELECT error('mine')",
    "SELECT 1 \0",
    "\ud800",
]


@pytest.mark.parametrize("statement", REFUSED)
def test_statements_that_are_refused(untouched: Home, tmp_path: Path, statement: str) -> None:
    folder = tmp_path / "outside"
    folder.mkdir()
    secret = folder / "secret.csv"
    secret.write_text("name\nsecret\n")
    secret_rows = [("secret",)]
    before = {path: path.read_bytes() for path in untouched.path.rglob("*") if path.is_file()}
    with open_projection(untouched) as projection, pytest.raises(UsageError) as caught:
        run_sql(projection, statement.format(folder=folder, secret=secret))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert str(untouched.projections) not in str(caught.value)
    assert [path.name for path in folder.iterdir()] == ["secret.csv"]
    assert {path: path.read_bytes() for path in untouched.path.rglob("*") if path.is_file()} == before
    assert secret_rows


@pytest.mark.parametrize(
    "statement",
    [
        "COPY (SELECT 1) TO '{folder}/out.csv'",
        "SELECT * FROM read_text('{secret}')",
        "SELECT * FROM '{secret}'",
        "SELECT * FROM read_text('{journal}')",
        "COPY (SELECT 1) TO '{journal}'",
        "ATTACH '{folder}/new.duckdb'",
        "EXPORT DATABASE '{folder}/out'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET memory_limit = '100GB'",
        "SET temp_directory = '{folder}'",
        "SELECT * FROM secret_rows",
    ],
)
def test_the_last_fence_holds_alone(here: Home, tmp_path: Path, statement: str) -> None:
    """Where a statement got past the parser's fences, the connection itself still has no way out."""
    secret = tmp_path / "secret.csv"
    secret.write_text("name\nsecret\n")
    secret_rows = [("secret",)]
    (writer,) = here.writers()
    (journal,) = here.segments(writer)
    before = journal.read_bytes()
    with open_projection(here) as projection:
        run_sql(projection, "SELECT * FROM events LIMIT 1")
        with pytest.raises(_engine.duckdb.Error):
            projection.connection.execute(statement.format(folder=tmp_path, secret=secret, journal=journal)).fetchall()
    assert journal.read_bytes() == before
    assert not (tmp_path / "out.csv").exists()
    assert secret_rows


def test_a_statement_that_never_ends(projection: Projection) -> None:
    begin = time.monotonic()
    with pytest.raises(KeledgerError, match=r"stopped after 0\.3 s"):
        run_sql(projection, "SELECT COUNT(*) FROM range(10000000000) AS t(i) WHERE i % 7 = i % 5", timeout_s=0.3)
    assert time.monotonic() - begin < 30
    assert rows(projection, "SELECT COUNT(*) AS n FROM calls") == [{"n": 5}]


def test_a_statement_that_wants_all_memory(projection: Projection) -> None:
    with pytest.raises(KeledgerError, match="more memory than 50MB"):
        run_sql(projection, "SELECT LIST(i ORDER BY i % 7) FROM range(100000000) AS t(i)", memory_limit="50MB")
    assert rows(projection, "SELECT COUNT(*) AS n FROM calls") == [{"n": 5}]


def test_reports_go_on_after_a_statement(projection: Projection) -> None:
    wanted = (report_daily(projection).as_json(), digest(projection))
    run_sql(projection, "SELECT 1")
    run_sql(projection, "SELECT * FROM events")
    assert (report_daily(projection).as_json(), digest(projection)) == wanted


def test_nothing_is_left_behind(here: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.chdir(folder)
    before = sorted(here.path.rglob("*"))
    with open_projection(here) as projection:
        run_sql(projection, "SELECT * FROM events")
        digest(projection)
        with pytest.raises(UsageError):
            run_sql(projection, "SELECT CAST(data AS INTEGER) FROM events")
    assert list(folder.iterdir()) == []
    assert sorted(here.path.rglob("*")) == before


def test_tables_are_told_by_every_refusal(projection: Projection) -> None:
    for statement in ("SELECT * FROM costs", "SHOW TABLES"):
        with pytest.raises(UsageError, match=", ".join(TABLES)):
            run_sql(projection, statement)
