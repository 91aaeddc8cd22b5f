"""Estimating calls by what the journal teaches: the calls of the same prompt and model, then those of the model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from keledger.journal import Home, current_prices, now_us
from keledger.journal.capture.shape import shape_of
from keledger.journal.estimates import (
    ANSWERS,
    LATELY_CALLS,
    MODEL_PAIRS,
    NEAREST_OF,
    OWN_PAIRS,
    Counted,
    Estimate,
    InputPrior,
    Learned,
    Pair,
    Past,
    PastOutput,
    Stated,
    Terms,
    count_request,
    estimate,
    learn,
)
from keledger.journal.prices import Book
from keledger.journal.usage import CONTEXT_FIELDS, pricing_context

from . import _engine as engine
from ._engine import Connection
from ._estimates import define_estimates
from ._projection import Projection, open_projection

OUTLINED_CHARACTERS = 128
"""So much of each text of a request is kept where its shape is all that is asked for: no word that tells is longer."""

_EVERY = "1 = 1"
_OF_PROMPT = "c.prompt = $prompt AND c.prompt_version IS NOT DISTINCT FROM $version"
_NEWEST_VERSION = "SELECT prompt_version FROM call_fact WHERE prompt = ? ORDER BY started_us DESC, id DESC LIMIT 1"


class Subject(NamedTuple):
    """Of what calls: which model, and which prompt in which version (None: of no prompt that has a name)."""

    provider: str
    model: str
    prompt: str | None = None
    prompt_version: str | None = None


class Estimator:
    """Estimates by what a projection holds and by the prices of a book.

    What was learned of a prompt and model is kept: a batch asks for it once.
    """

    def __init__(self, projection: Projection, book: Book) -> None:
        self.projection = projection
        self.book = book
        self._past: dict[tuple[Subject, str], Past] = {}
        self._learned: dict[tuple[Any, ...], Learned] = {}

    @classmethod
    def open(cls, home: str | os.PathLike[str] | None = None) -> Self:
        """For a home: *home*, else ``KELEDGER_HOME``, else the user's default.  Close it, or use it in a ``with``.

        It estimates by what is journaled now.  Raises HomeError where the place cannot be a home.
        """
        found = Home.at(home)
        projection = open_projection(found)
        prices = current_prices(found)
        return cls(projection, prices.store.load_book(prices.manifest.sha256))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the projection's files."""
        self.projection.close()

    def estimate(
        self, request: object, subject: Subject, *, context: Mapping[str, str] | None = None, at_us: int | None = None
    ) -> Estimate:
        """What one call will take and cost whose request is *request*: a provider's request body, or its text.

        *context* is what else the price hangs on (``service_tier``, ``processing``), beside what the request says;
        *at_us* when it is to be made, else now.  Raises InputRefused for what is no request, or has nothing in it.
        """
        body = as_request(request)
        counted = count_request(body, provider=subject.provider, model=subject.model)
        shape = shape_of(outline(body))
        asked = {name: shape[name] for name in ("service_tier", "speed") if name in shape} | dict(context or {})
        terms = Terms(
            self.book,
            subject.provider,
            subject.model,
            now_us() if at_us is None else at_us,
            {name: asked[name] for name in asked.keys() - CONTEXT_FIELDS} | pricing_context(asked),
            shape.get("cache_write", "none"),
        )
        return estimate(self.learned(subject, counted, terms), counted, shape)

    def learned(self, subject: Subject, counted: Counted, terms: Terms) -> Learned:
        """What the journal teaches of these calls, where they are counted like this."""
        # To two digits, so that the requests of a batch, whose priors differ by a hair, are one.
        prior = InputPrior(counted.ratio, round(counted.least, 2), round(counted.most, 2))
        key = (subject, counted.method, prior, tuple(sorted(terms.context.items())), terms.cache_write)
        known = self._learned.get(key)
        if known is None:
            known = self._learned[key] = learn(terms, prior, self.past(subject, counted.method))
        return known._replace(terms=terms)

    def past(self, subject: Subject, method: str) -> Past:
        """The calls to learn from; pairs with an estimate only where that was counted by the same *method*."""
        known = self._past.get((subject, method))
        if known is None:
            known = self.projection.run(lambda connection: _read_past(connection, subject, method))
            self._past[subject, method] = known
        return known

    def newest_version(self, prompt: str) -> str | None:
        """The version that the newest call of a prompt names; None where there is none, or it names none."""
        rows = self.projection.query(_NEWEST_VERSION, [prompt])
        return rows[0][0] if rows else None


def as_request(given: object) -> object:
    """A plain text as the request that a chat begins with; anything else as it is."""
    return {"messages": [{"role": "user", "content": given}]} if isinstance(given, str) else given


def outline(request: object) -> object:
    """A request with its long texts cut: what is told of its shape is the same, but for sizes, and nothing is copied.

    A request of 10 MB is otherwise written out as JSON, and in another spelling, only to be measured.
    """
    if isinstance(request, str):
        return request[:OUTLINED_CHARACTERS]
    if isinstance(request, dict):
        return {name: outline(value) for name, value in request.items()}
    if isinstance(request, (list, tuple)):
        return [outline(value) for value in request]
    return request


def _read_past(connection: Connection, subject: Subject, method: str) -> Past:
    define_estimates(connection)
    model = [subject.provider, subject.model]
    model_pairs = _rows(connection, "duckdb_estimate_pairs", [*model, method], None, MODEL_PAIRS)
    model_outputs = _rows(connection, "duckdb_past_outputs", model, None, ANSWERS)
    pairs: list[tuple[Any, ...]] = []
    outputs: list[tuple[Any, ...]] = []
    if subject.prompt is not None:
        pairs = _rows(connection, "duckdb_estimate_pairs", [*model, method], subject, OWN_PAIRS)
        outputs = _rows(connection, "duckdb_past_outputs", model, subject, NEAREST_OF)
    told = [row for row in model_pairs if row[2] is None] if subject.prompt is None else pairs
    return Past(
        stated=[_stated(row) for row in told[-LATELY_CALLS:]],
        pairs=[_pair(row) for row in pairs],
        model_pairs=[_pair(row) for row in model_pairs],
        outputs=[PastOutput(taken, answered) for taken, _, answered in outputs],
        model_outputs=[PastOutput(taken, answered) for taken, _, answered in model_outputs],
        cached=[(taken, read) for taken, read, _ in outputs],
    )


def _rows(
    connection: Connection, name: str, parameters: list[str], subject: Subject | None, limit: int
) -> list[tuple[Any, ...]]:
    """The last rows of a query, oldest first: of all calls, or of those of one prompt version."""
    condition = _EVERY
    if subject is not None:
        place = len(parameters) + 1
        condition = _OF_PROMPT.replace("$prompt", f"${place}").replace("$version", f"CAST(${place + 1} AS VARCHAR)")
        parameters = [*parameters, subject.prompt, subject.prompt_version]  # type: ignore[list-item]
    statement = engine.sql(name).format(condition=condition, limit=limit)
    return connection.execute(statement, parameters).fetchall()[::-1]


def _pair(row: tuple[Any, ...]) -> Pair:
    counted, taken, prompt, version, *_ = row
    return Pair(counted, taken, None if prompt is None else f"{prompt}\n{version or ''}")


def _stated(row: tuple[Any, ...]) -> Stated:
    _, taken, _, _, p5, p50, p95 = row
    return Stated(p5, p50, p95, taken)
