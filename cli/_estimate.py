"""``keledger estimate``: what a call will take and cost, before it is made."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import click

from keledger.journal import Home, InputRefused, Ledger, NotFound, UsageError, current_prices
from keledger.journal._identity import new_id
from keledger.journal.capture.shape import LIMITS
from keledger.journal.estimates import Estimate, ManyEstimate, estimate_many
from keledger.journal.prices import Book
from keledger.projections import Estimator, Subject, open_projection

from ._book_asked import asked_model
from ._estimate_input import KINDS, Given, model_names, read_given
from ._estimate_tables import show
from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import say
from ._prices_asked import parse_context
from ._progress import Progress

EXAMPLES = (
    "keledger estimate --model gpt-5-mini report.txt",
    "keledger estimate --model gpt-5-mini,claude-haiku-4-5 --prompt summarize request.json",
    "keledger estimate --model gpt-5-mini --calls 500 request.json",
    "keledger estimate prompts/hello.prompt --set name=Ada",
    "git diff | keledger estimate --model gpt-5-mini",
)


CALLS_MAX = 10**9
"""Of so many calls the sums of tokens are still counts that an event can hold."""

_CALLED = """
    SELECT DISTINCT provider, model FROM call_fact WHERE model = ? AND provider = COALESCE(?, provider) ORDER BY ALL
"""

SET_EXAMPLE = "PROVIDER/MODEL --input 0.25 --output 2"


class Asked(NamedTuple):
    """What the command line says of the calls, beside what they hold."""

    models: tuple[str, ...]
    prompt: str | None
    prompt_version: str | None
    context: dict[str, str]
    max_output_tokens: int | None


@command(
    name="estimate",
    examples=EXAMPLES,
    statuses={1: "a failure: what was given cannot be counted, or nobody knows the model; stderr says what to do"},
)
@click.argument("file", required=False, metavar="[FILE|-]")
@click.option("-t", "--text", metavar="TEXT", help="Estimate this text.")
@click.option(
    "-m", "--model", "models", metavar="MODEL,…", multiple=True,
    help="MODEL or PROVIDER/MODEL; several are compared.  Else the one that the request names.",
)  # fmt: skip
@click.option("--as", "kind", type=click.Choice(KINDS), help="What the file holds; else that is told by looking at it.")
@click.option("--set", "values", metavar="NAME=VALUE", multiple=True, help="A variable of a KePrompt prompt.")
@click.option("--prompt", metavar="NAME", help="Learn from the past calls of this prompt.")
@click.option("--prompt-version", metavar="VERSION", help="Of this version of it; else of the newest that was called.")
@click.option("--max-output-tokens", type=click.IntRange(min=1), metavar="N", help="The longest answer allowed.")
@click.option("--context", metavar="KEY=VALUE,…", default="", help="What else prices hang on, as processing=batch.")
@click.option("--calls", type=click.IntRange(1, CALLS_MAX), metavar="N", help="The sum of N such calls.")
@click.option("--record", is_flag=True, help="Journal the estimate; prints the id by which its call may name it.")
@common_options
@pass_settings
def estimate(settings: Settings, /, **given: Any) -> None:
    """Tell what a call will take and cost, before it is made.

    FILE is a text, a request as JSON (messages, tools, images), a list of requests with one a line, or a KePrompt
    prompt file, which KePrompt itself renders without making a call; - is stdin.  Nothing is sent anywhere.

    Input tokens are told at the median, and from and to where nine of ten calls will end; output tokens and cost at the
    median, for nine of ten calls, and with the longest answer allowed.  They are learned from past calls of the same
    prompt and model, else of the model, else from shipped figures; it is told from how many calls, and how it was
    counted.  Several calls are told together: what one takes more, another takes less.
    """
    told = read_given(given["file"], given["text"], given["kind"])
    if told.kind == "prompt":
        from ._estimate_keprompt import estimate_prompt  # brings the launcher along

        estimate_prompt(settings, told, given)
        return
    if given["values"]:
        raise UsageError("--set gives values to a KePrompt prompt, and this is none: use --as prompt if it is one")
    asked = _asked(given)
    home = settings.home
    is_used = home.check()
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        subjects = Subjects(Estimator(projection, current_book(home)), asked)
        rows: Sequence[Estimate] | Sequence[ManyEstimate]
        if told.kind == "requests":
            rows = many_estimates(subjects, told, asked, given["calls"] or 1)
        else:
            rows = estimates_of(subjects, told.request(), asked)
            if given["calls"]:
                rows = [estimate_many([row], given["calls"]) for row in rows]
        ids = [event_id for row in rows for event_id in record(home, row, asked)] if given["record"] else []
        show(settings, rows, ids, projection)
    if not (is_used or ids):
        say(f"there is no journal at {home.path} yet: estimates learn from calls that are journaled")


def _asked(given: dict[str, Any]) -> Asked:
    models = model_names(given["models"])
    if given["prompt"] is not None and not given["prompt"].strip():
        raise click.BadParameter("it is empty: name a prompt", param_hint="--prompt")
    if given["prompt_version"] is not None and given["prompt"] is None:
        raise UsageError("--prompt-version needs --prompt: say of which prompt it is a version")
    context = parse_context(given["context"])
    return Asked(models, given["prompt"], given["prompt_version"], context, given["max_output_tokens"])


def current_book(home: Home) -> Book:
    """The book by which the home's next call will be priced."""
    prices = current_prices(home)
    return prices.store.load_book(prices.manifest.sha256)


class Subjects:
    """Of which calls estimates are: with each of the models asked for, of the prompt that was named.

    What a name means is asked once: a list of requests has few.
    """

    def __init__(self, estimator: Estimator, asked: Asked) -> None:
        self.estimator = estimator
        self._asked = asked
        self._known: dict[str, tuple[str, str]] = {}
        self._version = asked.prompt_version
        if asked.prompt is not None and self._version is None:
            self._version = estimator.newest_version(asked.prompt)

    def of(self, request: object) -> list[Subject]:
        """Each model once, by whatever name.  Raises NotFound, click.UsageError."""
        named = self._asked.models or (_model_of(request),)
        models = dict.fromkeys(self._model(text) for text in named)
        return [Subject(*model, self._asked.prompt, self._version) for model in models]

    def _model(self, text: str) -> tuple[str, str]:
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = self._find(text)
        return known

    def _find(self, text: str) -> tuple[str, str]:
        """The model of a name; one without a price where it was called before, for its tokens can be told."""
        projection, book = self.estimator.projection, self.estimator.book
        try:
            return asked_model(projection, book, text)
        except NotFound as error:
            provider, slash, model = text.strip().rpartition("/") if text.count("/") < 2 else text.partition("/")
            called = projection.query(_CALLED, [model, provider if slash else None])
            if len(called) != 1:
                raise NotFound(f"{error}; keledger prices set {SET_EXAMPLE} gives a model a price") from None
            return called[0][0], called[0][1]


def estimates_of(subjects: Subjects, request: object, asked: Asked) -> list[Estimate]:
    """The estimate of one request with each of the models asked for."""
    body = limited(request, asked.max_output_tokens)
    _check(body)
    return [
        _with_prompt(subjects.estimator.estimate(body, subject, context=asked.context), subject)
        for subject in subjects.of(request)
    ]


def _check(request: object) -> None:
    """Raise InputRefused for what no provider would take, and nobody could count by."""
    if not isinstance(request, dict):
        return
    for name in LIMITS:
        limit = request.get(name)
        if limit is not None and (type(limit) is not int or limit < 1):
            raise InputRefused(f"{name} is {json.dumps(limit)[:40]}: the longest answer allowed is a number from 1 on")
    if request.get("tools") is not None and not isinstance(request["tools"], list):
        raise InputRefused("tools is no list: write a list of definitions, or leave it out")


def _with_prompt(row: Estimate, subject: Subject) -> Estimate:
    """Say so where the prompt that was named has no call: it may be misspelt."""
    if subject.prompt is None or "prompt" in (row.input.basis, row.output.basis):
        return row
    version = f", version {subject.prompt_version}," if subject.prompt_version else ""
    note = f"no answered call of prompt {subject.prompt}{version} with this model is journaled"
    return row._replace(notes=(note, *row.notes))


def many_estimates(subjects: Subjects, told: Given, asked: Asked, times: int) -> list[ManyEstimate]:
    """The estimates of a list of requests: together, or, where models are compared, with each of them."""
    total = told.lines()
    found: dict[str, list[Estimate]] = {}
    with Progress("counting") as progress:
        for number, request in told.requests():
            try:
                rows = estimates_of(subjects, request, asked)
            except (InputRefused, NotFound, UsageError) as error:
                raise InputRefused(f"{told.name} line {number}: {error}") from None
            for row in rows:
                found.setdefault(f"{row.terms.provider}/{row.terms.model}" if asked.models else "", []).append(row)
            progress(number, total)
    with Progress("drawing") as progress:
        return [estimate_many(rows, times, progress=progress) for rows in found.values()]


def _model_of(request: object) -> str:
    model = request.get("model") if isinstance(request, dict) else None
    if not isinstance(model, str) or not model:
        raise UsageError("no model is named: give --model, such as --model openai/gpt-5-mini, or a request with one")
    return model


def limited(request: object, tokens: int | None) -> object:
    """The request with a limit on its answer, where one was asked for on the command line."""
    if tokens is None:
        return request
    body = {"messages": [{"role": "user", "content": request}]} if isinstance(request, str) else request
    return {**body, "max_tokens": tokens} if isinstance(body, dict) else body


def record(home: Home, row: Estimate | ManyEstimate, asked: Asked) -> Iterator[str]:
    """Journal an estimate as one of the command line's, a list of requests by model; gives the ids."""
    with Ledger.open(home.path) as ledger:
        for part in row.by_model() if isinstance(row, ManyEstimate) else (row,):
            fields = part.fields()
            begin = {
                "id": new_id(),
                "origin": "command",
                "provider": fields["provider"],
                "model": fields["model"],
                "prompt": asked.prompt,
                "prompt_version": asked.prompt_version,
                "environment": ledger.environment,
                "cwd": os.getcwd(),
            }
            yield ledger.record_estimate(fields, begin, for_call=False)
