"""Opening a cache and the tail behind it: one connection on which every table is defined."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keledger.journal import Finding, Home, Position

from . import _engine as engine
from ._basis import CURRENT, Basis
from ._build import Reading
from ._cache import Cache, Manifest, Marks
from ._engine import Connection
from ._loading import (
    MEMORY,
    UNAPPLIED,
    Layers,
    bears_on,
    covers_any,
    define_costs,
    define_lines,
    define_loaded_costs,
    find_uncounted,
    load,
)
from ._staging import stage

FACTS = ("call_fact", "charge_fact", "day_fact", "session_fact")
"""The portable files that stand on each other in this order, each a view of its name.  Most reports need the first
alone, so the others are defined where they are asked for."""

_TAIL = "tail_"


@dataclass(slots=True)
class Opened:
    """A connection with everything defined on it, and where its content comes from."""

    connection: Connection
    seen: Manifest | None
    """The manifest on disk at that moment."""
    positions: Mapping[str, Position]
    findings: tuple[Finding, ...]
    unread: Mapping[str, int]
    anew: bool
    """Which lines count, or what they cost, had to be found anew, because the tail bears on it."""
    repriced: bool
    """Whether the current costs stand in a table of the connection, not in the layers."""
    layers: Layers
    """The tables of lines that everything stands on."""
    rates: str | None
    """The table of what calls were repriced by; None where none was."""
    basis: Basis = CURRENT
    """What call_line stands for."""
    complete: bool = False
    """Whether all facts are defined."""
    spent: bool = False
    """Whether nothing but closing may be done with the connection."""


def open_reading(
    cache: Cache, home: Home, reading: Reading, seen: Manifest | None, through: Mapping[str, int] | None
) -> Opened:
    """Attach the layers, load the tail into memory, and define the tables over both; with *through* up to there."""
    manifest, scan = reading.manifest or Manifest(), reading.scan
    findings: list[Finding] = []
    unread: Counter[str] = Counter()
    connection = engine.connect()
    try:
        with engine.noticing_used_up_memory(), engine.noticing_damage():
            prefixes = [f"layer_{number}." for number in range(len(manifest.layers))]
            for prefix, layer in zip(prefixes, manifest.layers, strict=True):
                cache.attach(connection, layer, prefix.removesuffix("."))
                unread.update(layer.unread)
            remarked = repriced = False
            imported = sum(layer.imported for layer in manifest.layers)
            accounting = any(layer.accounting for layer in manifest.layers)
            if scan.chunks or not prefixes:
                with tempfile.TemporaryDirectory(prefix="keledger-") as folder:
                    staged = stage(scan.chunks, Path(folder))
                    findings = load(connection, _TAIL, staged)
                unread.update(staged.unread)
                accounting = accounting or staged.accounting > 0
                remarked = bears_on(connection, _TAIL, prefixes, new_voids=staged.voids, old_imported=imported)
                repriced = bool(staged.reprices) or covers_any(connection, _TAIL, manifest.repriced_through)
                prefixes.append(_TAIL)
            define_lines(connection, prefixes, through=through)
            anew = remarked or repriced
            if through is not None:  # what the layers know is of all of the journal
                remarked = repriced = True
            held, rates = manifest.findings, None
            if repriced:
                from ._reprices import reprice_lines  # brings pricing along, which few readers need

                rates = "repriced_rate"
                assigned = reprice_lines(connection, home, rates)
                held = (*(finding for finding in held if finding.kind != UNAPPLIED), *assigned.findings)
                define_costs(connection, "repriced")
            elif manifest.rates is not None:
                rates = "rates.rate"
                cache.attach(connection, manifest.rates, "rates")
            _define_uncounted(connection, cache, manifest.marks, remarked)
            connection.execute(f"CREATE VIEW call_fact AS {engine.sql('call_fact')}")
    except BaseException:
        connection.close()
        raise
    return Opened(
        connection=connection,
        seen=seen,
        positions=scan.positions,
        findings=tuple(dict.fromkeys([*held, *scan.findings, *findings])),
        unread=unread,
        anew=anew,
        repriced=repriced,
        layers=Layers(tuple(map(_anywhere, prefixes)), imported > 0, accounting, through),
        rates=rates,
    )


def _anywhere(prefix: str) -> str:
    """The prefix of tables, as it is known in every schema."""
    return prefix if "." in prefix else f"{MEMORY}.{prefix}"


def define_facts(opened: Opened, basis: Basis) -> None:
    """Define what :func:`open_reading` left out, over call_line and call_fact, which stand for a basis."""
    from ._pricing import define_rates, define_usage

    connection = opened.connection
    define_usage(connection)
    define_rates(connection, "basis_rate" if basis.by_one_book else opened.rates)
    for name in ("duckdb_base", "duckdb_charges"):
        for statement in engine.statements(name):
            connection.execute(statement)
    for fact in FACTS[1:]:
        connection.execute(f"CREATE OR REPLACE VIEW {fact} AS {engine.sql(fact)}")


def define_basis(opened: Opened, home: Home, basis: Basis) -> None:
    """Define call_line at the costs of a basis.  Raises NotFound where no book was known that it names."""
    if basis.by_one_book:
        from ._basis_prices import price_by_basis  # brings pricing along

        price_by_basis(basis, opened.connection, home)
    elif basis == CURRENT and not opened.repriced:
        define_loaded_costs(opened.connection)
    else:
        define_costs(opened.connection, "repriced" if basis == CURRENT else None)


def define_schema(opened: Opened, home: Home, basis: Basis) -> None:
    """Define call_line, all facts and what people see once more, at the costs of a basis, in a schema of its name."""
    connection = opened.connection
    connection.execute(f'CREATE SCHEMA "{basis.name}"')
    with engine.using_schema(connection, basis.name):
        define_basis(opened, home, basis)
        connection.execute(f"CREATE VIEW call_fact AS {engine.sql('call_fact')}")
        define_facts(opened, basis)
        for statement in engine.statements("duckdb_views"):
            connection.execute(statement)


def _define_uncounted(connection: Connection, cache: Cache, marks: Marks | None, remarked: bool) -> None:
    if remarked:
        find_uncounted(connection, "uncounted_line")
    elif marks is not None:
        cache.attach(connection, marks, "marks")
        connection.execute("CREATE VIEW uncounted_line AS SELECT * FROM marks.uncounted_lines")
    else:
        connection.execute("CREATE TABLE uncounted_line (writer VARCHAR, seq BIGINT, id UUID, reason VARCHAR)")
