"""Every call priced again by one book: the bases ``latest`` and ``known:DATE``."""

from __future__ import annotations

from keledger.journal import Home, NotFound, format_time
from keledger.journal.prices import PriceStore

from . import _engine as engine
from ._basis import Basis, adopted_books, book_of
from ._engine import Connection
from ._loading import define_costs
from ._pricing import Pricer


def price_by_basis(basis: Basis, connection: Connection, home: Home) -> None:
    """Let call_line stand for what calls cost by the book of *basis*, with its rates in ``basis_rate``.

    A call whose usage is not known keeps what was recorded.  Raises NotFound where no book was known, JournalDamaged
    where its files are bad.
    """
    pricer = Pricer(connection, "basis_rate")
    books = adopted_books(connection, home)
    sha256 = book_of(basis, books)
    book = basis.book or (PriceStore(home.prices).load_book(sha256) if sha256 is not None else None)
    if book is not None:
        pricer.price(book, "basis_price")
        connection.execute(engine.sql("duckdb_basis"))
        define_costs(connection, "basis_cost")
    elif books:
        first = format_time(books[-1][1])[:10]
        raise NotFound(f"no price book was known here by the end of {basis.name[6:]}: the first one came on {first}")
    elif engine.one(connection, "SELECT COUNT(*) FROM loaded_line"):
        raise NotFound(f"{home.path} has adopted no price book: there is none for {basis.name}")
