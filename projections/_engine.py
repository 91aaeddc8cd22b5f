"""DuckDB, as the projections use it: how it is imported, opened and confined."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keledger.journal import KeledgerError
from keledger.journal.usage import NORMALIZER_VERSION

if TYPE_CHECKING:
    import duckdb as duckdb
else:
    try:
        # The extension module alone: the package around it (dataframes, relations, functions) takes 90 ms longer to
        # import, which is as much as a warm report over a million calls.
        import _duckdb as duckdb
    except ImportError:  # the module's name is not part of DuckDB's interface
        import duckdb as duckdb

Connection = duckdb.DuckDBPyConnection


class CacheDamaged(Exception):
    """A file of the cache is missing, cut, changed, or another than the manifest says."""


@contextlib.contextmanager
def noticing_damage() -> Iterator[None]:
    """Turn what DuckDB raises for a bad file into CacheDamaged, and leave its other errors alone.

    A block whose checksum does not fit raises the base of all its errors, itself.
    """
    try:
        yield
    except duckdb.Error as error:
        kinds = (
            duckdb.IOException,
            duckdb.InternalException,
            duckdb.FatalException,
            duckdb.SerializationException,
            duckdb.TransactionException,  # a commit that could not write its file
        )
        if isinstance(error, kinds) or type(error) is duckdb.Error:
            raise CacheDamaged(first_line(error)) from error
        raise


@contextlib.contextmanager
def noticing_used_up_memory() -> Iterator[None]:
    """Turn what DuckDB raises where a question needs more memory than it may have into KeledgerError.

    It may have four fifths of the machine's.  Behind its first sentence it advises on settings that nobody has here.
    """
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        told = first_line(error).partition(" Database is launched")[0]
        raise KeledgerError(
            "there is not enough memory for this: ask for fewer days or calls (--since, --until, --where), or use a "
            f"machine that has more; DuckDB says: {told}"
        ) from error


def first_line(error: BaseException) -> str:
    """The first line of a message of DuckDB's, which may go on with the statement."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


UNREADABLE = (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.OutOfRangeException)
"""What it raises for a line that is no JSON, or whose values do not fit the columns."""

_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    # Nothing may reach for a network: DuckDB would download a missing extension.
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    # A table that is not there must not be looked for among Python's variables.
    "python_enable_replacements": "false",
    # The order of rows is made by ORDER BY alone; keeping that of the files costs memory and threads.
    "preserve_insertion_order": "false",
}


def connect(*, memory_limit: str | None = None, spill: Path | None = None) -> Connection:
    """A new in-memory database.  Without *spill* nothing is ever written to disk."""
    settings = dict(_SETTINGS)
    settings["temp_directory"] = "" if spill is None else str(spill)
    if memory_limit is not None:
        settings["memory_limit"] = memory_limit
    return duckdb.connect(":memory:", config=settings)


def confine(connection: Connection, *, memory_limit: str, folder: Path | None) -> None:
    """Take from a connection every way to a file but below *folder*, and the way back.

    What is attached stays readable.  There is no way out of this short of a new connection.
    """
    settings = [
        f"memory_limit = {quote(memory_limit)}",
        "TimeZone = 'UTC'",
        "preserve_insertion_order = true",
    ]
    if folder is not None:
        settings.append(f"allowed_directories = [{quote(str(folder) + '/')}]")
    settings += ["enable_external_access = false", "lock_configuration = true"]
    for setting in settings:
        connection.execute(f"SET {setting}")


@contextlib.contextmanager
def using_schema(connection: Connection, name: str) -> Iterator[None]:
    """Let what is made without a schema's name go into this one.  A view finds its own schema's tables first."""
    connection.execute(f'USE "{name}"')
    try:
        yield
    finally:
        connection.execute("USE main")


def quote(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def set_files(connection: Connection, paths: list[Path]) -> None:
    """Name the files that the next statement with ``getvariable('files')`` reads."""
    connection.execute(f"SET VARIABLE files = [{', '.join(quote(str(path)) for path in paths)}]")


def set_normalizer(connection: Connection, version: int = NORMALIZER_VERSION) -> None:
    """Name the normaliser for statements with ``getvariable('normalizer')``."""
    connection.execute(f"SET VARIABLE normalizer = {version}")


@functools.cache
def sql(name: str) -> str:
    """The text of one of this package's ``.sql`` files."""
    return Path(__file__).with_name(f"{name}.sql").read_text(encoding="utf-8")


def statements(name: str) -> list[str]:
    """The statements of a file, which end in a semicolon at a line's end."""
    return [part for part in re.split(r";\s*\n", sql(name)) if part.strip()]


def version() -> str:
    """DuckDB's major and minor version, by which its files are known."""
    return ".".join(str(duckdb.__version__).split(".")[:2])


def one(connection: Connection, statement: str, parameters: list[Any] | None = None) -> Any:
    """The first column of the only row."""
    row = connection.execute(statement, parameters or []).fetchone()
    return None if row is None else row[0]
