"""The SQL files: the portable ones keep to the common subset, the loader to the events and buckets it reads."""

from __future__ import annotations

import re
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
import sqlglot
from pydantic import BaseModel
from sqlglot import exp

import keledger.projections
from keledger.journal import Home
from keledger.journal._events import MODELS, Call
from keledger.journal.prices import PriceStore
from keledger.journal.usage import BUCKETS
from keledger.projections import (
    Hypothesis,
    _engine,
    _opened,
    _staging,
    effect_of_book,
    open_projection,
    report_efficiency,
    report_whatif,
)
from keledger.projections._pricing import formulas

from .repricing import adopt
from .support import append, call, uncosted, void

PORTABLE = (
    "uncounted", *_opened.FACTS, "slot", "rollup", "session_rollup", "pricing", "whatif_rollup", "efficiency_rollup",
    "cache_reach", "cache_rollup", "cache_write", "cache_saving",
)  # fmt: skip

TABLES = (
    "call_line", "call_key", "cost_line", "repriced_cost_line", "void_line", "usage_line", "rate_key", "book_rate",
    "whatif_call", "cache_call",
)  # fmt: skip
"""What the portable files stand on: other engines would have to offer it under these names."""

FUNCTIONS = {
    "CASE",
    "CAST",
    "COALESCE",
    "COUNT",
    "FIRST_VALUE",
    "MAX",
    "MIN",
    "ROW_NUMBER",
    "SUBSTRING",
    "SUM",
}
"""What ran with equal results on DuckDB, Spark, ClickHouse, DataFusion and PostgreSQL."""

FORBIDDEN = {
    exp.Qualify: "QUALIFY",
    exp.Filter: "FILTER",
    exp.Div: "division",
    exp.IntDiv: "division",
    exp.Star: "SELECT *",
    exp.TryCast: "TRY_CAST",
    exp.Bracket: "subscripts",
    exp.Struct: "structs",
    exp.Lambda: "lambdas",
    exp.Unnest: "UNNEST",
}

PLACEHOLDERS = {
    "slot_us": "900000000",
    "columns": "c.provider AS column_0, ",
    "groups": "c.provider, ",
    "cost": "cost_pico",
    "state": "cost_state",
    "condition": "1 = 1",
    "fact": "call_fact",
    "usage": "usage_line",
    **formulas(tuple(BUCKETS)),
    "carrying": "c.id AS id, ",
    "carried": "p.id AS id, ",
}

OTHER_PLACEHOLDERS = {
    "rollup": {"columns": "s.column_0, "},
    "whatif_rollup": {"columns": "c.provider AS column_0, ", "month": "", "groups": "GROUP BY c.provider"},
    "efficiency_rollup": {"groups": "c.provider"},
    "cache_reach": {"lifetime_us": "3600000000", "write_costs_pico": "write_1h_costs_pico"},
}

KEPT = {"slot", "cache_reach", "cache_write"}
"""Made into tables, on which others stand."""


def text(name: str) -> str:
    placeholders = PLACEHOLDERS | OTHER_PLACEHOLDERS.get(name, {})
    return _engine.sql(name).format(**placeholders) if "{" in _engine.sql(name) else _engine.sql(name)


def test_every_file_is_held_to_something() -> None:
    folder = Path(keledger.projections.__path__[0])
    for path in folder.glob("*.sql"):
        assert path.stem in PORTABLE or path.stem.startswith("duckdb_"), path
        assert all(len(line) <= 120 for line in path.read_text().splitlines()), path


@pytest.mark.parametrize("dialect", ["duckdb", "spark", "postgres", "clickhouse"])
@pytest.mark.parametrize("name", PORTABLE)
def test_portable_files_parse_everywhere(name: str, dialect: str) -> None:
    (statement,) = sqlglot.parse(text(name), read=dialect)
    assert isinstance(statement, exp.Select | exp.Union)


@pytest.mark.parametrize("name", PORTABLE)
def test_portable_files_keep_to_the_subset(name: str) -> None:
    statement = sqlglot.parse_one(text(name), read="postgres")
    for kind, what in FORBIDDEN.items():
        found = [node for node in statement.find_all(kind) if not isinstance(node.parent, exp.Count)]
        assert not found, f"{what}: {found[0]}"
    for function in statement.find_all(exp.Func):
        if not isinstance(function, (exp.And, exp.Or, exp.If)):  # an If is one arm of a CASE
            assert function.sql_name() in FUNCTIONS, function.sql()
    for select in statement.find_all(exp.Select):
        for item in select.expressions:
            named = isinstance(item, exp.Alias) or (name == "rollup" and item.name.startswith("column_"))
            assert named, f"without AS: {item.sql()}"
    for join in statement.find_all(exp.Join):
        assert join.side in ("", "LEFT"), join.sql()
        assert join.kind in ("INNER", ""), join.sql()
        assert join.method == "", join.sql()
    for window in statement.find_all(exp.Window):
        order = window.args["order"].expressions
        assert order, window.sql()
    for kind in statement.find_all(exp.DataType):
        assert kind.this in (exp.DataType.Type.DECIMAL, exp.DataType.Type.BIGINT), kind.sql()
    assert "user" not in {column.name.lower() for column in statement.find_all(exp.Column)}
    assert "user" not in {alias.alias.lower() for alias in statement.find_all(exp.Alias)}
    assert "::" not in text(name)
    assert "%" not in text(name) or name in ("slot", "rollup", "day_fact", "pricing")


def test_the_same_texts_on_another_engine(home: Home) -> None:
    """SQLite, which the standard library brings, reads the files as they stand and says the same."""
    append(
        home,
        *(call(number, usd=f"{number}.5", session=f"s{number % 3}", prompt=f"p{number % 2}") for number in range(20)),
        *(call(number, given=number % 2) for number in range(4)),
        call("import", origin="import:x", call_keys=["k"]),
        call("worse import", origin="import:y", call_keys=["k"], quality="under_count"),
        call("early", started_at="1969-12-31T23:59:59.999999Z", **uncosted("unpriced")),
        call("failed", status="unknown", **uncosted("unknown")),
        *(
            call(f"large {number}", prompt="p", usage={"input_uncached": 2000 * number, "cache_read": 100})
            for number in range(1, 4)
        ),
        void(7),
        void(8),
        void(8, revert=True),
    )
    other = sqlite3.connect(":memory:")
    with open_projection(home) as projection:
        # All leave behind what their last statements stand on.
        book = PriceStore(home.prices).load_book(adopt(home, "halved"))
        report_whatif(projection, Hypothesis(discount_percent=Decimal(10)), book)
        report_efficiency(projection, book)
        effect_of_book(projection, book)
        for table in TABLES:
            names = [row[0] for row in projection.query(f"DESCRIBE {table}")]
            rows = projection.query(f"SELECT {', '.join(names)} FROM {table}")
            other.execute(f"CREATE TABLE {table} ({', '.join(names)})")
            places = ", ".join("?" * len(names))
            other.executemany(f"INSERT INTO {table} VALUES ({places})", [tuple(map(plain, row)) for row in rows])
        other.execute(f"CREATE TABLE uncounted_line AS {text('uncounted')}")
        days = "SELECT DISTINCT slot_us - (slot_us + 62135596800000000) % 86400000000 AS day_us FROM slot"
        ever = "SELECT day_us AS utc_day_us, day_us AS start_us, day_us + 86400000000 AS end_us, 'd' AS label"
        for name in PORTABLE:
            said = sorted(other.execute(text(name)).fetchall(), key=repr)
            wanted = sorted((tuple(map(plain, row)) for row in projection.query(text(name))), key=repr)
            assert said == wanted, name
            assert said, name
            if name in _opened.FACTS:
                other.execute(f"CREATE VIEW {name} AS {text(name)}")
            if name in KEPT:
                other.execute(f"CREATE TABLE {name} AS {text(name)}")
                projection.query(f"CREATE OR REPLACE TEMP TABLE {name} AS {text(name)}")
            if name == "slot":
                other.execute(f"CREATE TABLE calendar AS {ever} FROM ({days})")
                projection.query(f"CREATE TEMP TABLE calendar AS {ever} FROM ({days})")


def plain(value: Any) -> Any:
    """A value as SQLite has it."""
    if isinstance(value, Decimal):
        return int(value)
    return value if isinstance(value, (int, str, type(None))) else str(value)


# What the loader reads, held to the models and the buckets.


def loader_columns() -> dict[str, Any]:
    """The fields of ``data`` that the loader names, with their types; structures as dicts."""
    (data,) = re.findall(r"data: '(STRUCT\(.*\))'", _engine.sql("duckdb_load_calls"), re.S)
    kind = exp.DataType.build(data, dialect="duckdb")
    return _fields(kind)


def _fields(kind: exp.DataType) -> dict[str, Any]:
    return {part.name: _shape(part.args["kind"]) for part in kind.expressions}


def _shape(kind: exp.DataType) -> Any:
    if kind.is_type("struct"):
        return _fields(kind)
    if kind.is_type("array"):
        return [_shape(kind.expressions[0])]
    return kind.sql("duckdb")


def test_the_loader_reads_fields_that_calls_have() -> None:
    hold_fields(loader_columns(), Call, "data")


def hold_fields(columns: dict[str, Any], model: type[BaseModel], place: str) -> None:
    for name, shape in columns.items():
        if place == "data.usage":
            continue
        assert name in model.model_fields, f"{place}.{name}"
        kinds = python_kinds(model.model_fields[name].annotation)
        wanted = sql_kind(shape)
        assert wanted in kinds, f"{place}.{name} is {kinds}, read as {shape}"
        inner = shape[0] if isinstance(shape, list) else shape
        for kind in inner_models(model.model_fields[name].annotation):
            if isinstance(inner, dict):
                hold_fields(inner, kind, f"{place}.{name}")


def python_kinds(annotation: Any) -> set[str]:
    """The JSON kinds that a field may have."""
    if isinstance(annotation, type):
        if issubclass(annotation, BaseModel):
            return {"object"}
        names = {str: "text", int: "integer", bool: "boolean", dict: "object", list: "list"}
        return {names[annotation]} if annotation in names else set()
    origin = getattr(annotation, "__origin__", None)
    if origin in (list, dict):
        return {"list" if origin is list else "object"}
    kinds: set[str] = set()
    for argument in get_args(annotation):
        kinds |= {"text"} if isinstance(argument, str) else python_kinds(argument)
    return kinds


def inner_models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in inner_models(argument)]


def sql_kind(shape: Any) -> str:
    if isinstance(shape, list):
        return "list"
    if isinstance(shape, dict) or shape.startswith("MAP") or shape == "JSON":
        return "object"
    return {"BIGINT": "integer", "BOOLEAN": "boolean"}.get(shape, "text")


def test_plain_types_do_not_contradict_the_loader() -> None:
    """Lines of these types stand in files that DuckDB reads with the columns of calls."""
    assert MODELS.keys() == _staging.PLAIN_TYPES | _staging.CALL_TYPES, (
        "a new type: may DuckDB read its lines as calls?"
    )
    columns = loader_columns()
    for name in _staging.PLAIN_TYPES:
        for field, info in MODELS[name].model_fields.items():
            if field in columns:
                assert sql_kind(columns[field]) in python_kinds(info.annotation), f"{name}.{field}"


@pytest.mark.parametrize(("side", "column"), [("input", "input_tokens"), ("output", "output_tokens")])
def test_token_columns_sum_the_buckets_of_their_side(side: str, column: str) -> None:
    wanted = {name for name, bucket in BUCKETS.items() if bucket.unit == "tokens" and bucket.side == side}
    (sum_of,) = re.findall(rf",\n([^,]*(?:, 0\)[^,]*)*) AS {column},", _engine.sql("duckdb_load_calls"))
    assert set(re.findall(r"data\.usage\.(\w+)", sum_of)) == wanted
    usage = loader_columns()["usage"]
    assert wanted <= usage.keys()


def test_all_buckets_are_read() -> None:
    assert list(loader_columns()["usage"]) == list(BUCKETS)
    for name in ("duckdb_usage", "duckdb_charges", "duckdb_load_calls"):
        assert set(re.findall(r"\b(?:[ucr]|data)\.(?:usage\.)?(\w+)", _engine.sql(name))) >= BUCKETS.keys(), name
