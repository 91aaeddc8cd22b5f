"""``keledger models suggest``: which models suit a prompt, the cheapest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import click

from keledger.journal import Finding, Home, NotFound, UsageError, format_time, now_us
from keledger.journal.estimates import (
    QUALITIES,
    CallProfile,
    Candidate,
    Choice,
    LeftOut,
    Requirements,
    choose,
    expected_costs,
    load_tiers,
    parse_max_cost,
)
from keledger.journal.prices import Book
from keledger.projections import called_providers, open_projection, prompt_profiles, token_ratio

from ._group import command
from ._models_asked import UNKNOWN, Models, name_column, open_models, parse_needs, parse_providers, told_capabilities
from ._options import Settings, common_options, pass_settings
from ._output import warn_findings, write_json, write_table
from ._progress import Progress
from ._table import Column, Table, count, money, printable, terminal_width, wrapped

ROWS_SHOWN = 10
"""More suggestions than this help nobody; --limit asks for others."""

LEFT_OUT_SHOWN = 5
"""Of those left out, so many: the ones nearest to fitting.  --left-out shows all."""


class _Past(NamedTuple):
    """What the journal tells: the prompt's profiles, who was called, and what is wrong with it."""

    profiles: Sequence[CallProfile]
    called: frozenset[str]
    findings: Sequence[Finding]


class _Considered(NamedTuple):
    """The providers whose models were looked at, why these, and how many models others have."""

    providers: frozenset[str]
    because: str
    others: int


@command(
    name="suggest",
    examples=(
        "keledger models suggest --prompt summarize --quality high --max-cost 0.10",
        "keledger models suggest --prompt triage --needs tools,vision --provider openai --provider anthropic",
        "keledger models suggest --input-tokens 20000 --output-tokens 800 --quality medium",
    ),
)
@click.option("--prompt", metavar="NAME", help="For calls of this prompt, by the tokens that its past calls took.")
@click.option("--prompt-version", metavar="VERSION", help="By the calls of this version of it alone.")
@click.option("--input-tokens", type=click.IntRange(0, 2**53 - 1), help="Without --prompt: of so many tokens of input,")
@click.option("--output-tokens", type=click.IntRange(0, 2**53 - 1), help="and so many of output.")
@click.option("--quality", type=click.Choice(QUALITIES), help="Only models of at least this quality.")
@click.option("--max-cost", metavar="USD", help="Only models on which a large call (p90) costs no more than this.")
@click.option("--needs", metavar="NEED,…", multiple=True, help="Only models known to have these: tools, vision.")
@click.option("--provider", "providers", metavar="PROVIDER", multiple=True, help="Only of these.  May be given again.")
@click.option("--all", "everything", is_flag=True, help="Of all providers, those included that sell what others make.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=ROWS_SHOWN, show_default=True, help="Show so many in the table."
)
@click.option("--left-out", "all_left_out", is_flag=True, help="Show every model that was left out, and why.")
@common_options
@pass_settings
def suggest(settings: Settings, /, **given: Any) -> None:
    """Show which models suit a prompt, the cheapest first.

    Costs are those of a usual call (p50, by which the models are ranked) and of a large one (p90, which --max-cost
    limits), at the tokens of the prompt's own past calls, converted to each model's tokenizer, and at today's prices.
    Of the models that do not suit, each is told with what it fails by.

    Without --provider or --all, models of their makers and of the providers that you have called are looked at.
    Where no model meets what is asked, the nearest is told, and the exit status is 1.
    """
    _check_profile(given)
    needs = parse_needs(given["needs"])
    max_cost_pico = parse_max_cost(given["max_cost"]) if given["max_cost"] is not None else None
    home = settings.home_to_read()
    models = open_models(home)
    past = _past(home, given, models.book)
    considered = _considered(given, models, past)
    at_us = now_us()
    rows = models.table.rows(considered.providers)
    candidates = expected_costs(rows, past.profiles, models.book, at_us, token_ratio)
    choice = choose(candidates, Requirements(given["quality"], max_cost_pico, needs))
    if settings.as_json:
        write_json(_document(given, models, past, considered, at_us, choice))
    else:
        _show(given, models, past, considered, choice)
    warn_findings(finding.as_json() for finding in past.findings)
    if not choice.chosen:
        raise NotFound(_nothing_fits(choice))


def _check_profile(given: dict[str, Any]) -> None:
    """Raise UsageError where it is not said what the call is like, or said twice."""
    supposed = [given["input_tokens"], given["output_tokens"]]
    if given["prompt"] is None:
        if given["prompt_version"] is not None:
            raise UsageError("--prompt-version needs --prompt: say of which prompt it is a version")
        if None in supposed:
            raise UsageError("say what the call is like: --prompt NAME, or --input-tokens N with --output-tokens N")
    elif supposed != [None, None]:
        raise UsageError("--prompt and --input-tokens or --output-tokens exclude each other: give one of the two")


def _past(home: Home, given: dict[str, Any], book: Book) -> _Past:
    with Progress("catching up") as progress, open_projection(home, on_progress=progress) as projection:
        called = frozenset(book.own_name(provider, "")[0] for provider in called_providers(projection))
        if given["prompt"] is None:
            profiles = [CallProfile.supposed(given["input_tokens"], given["output_tokens"])]
        else:
            profiles = prompt_profiles(projection, given["prompt"], given["prompt_version"])
        return _Past(profiles, called, projection.findings)


def _considered(given: dict[str, Any], models: Models, past: _Past) -> _Considered:
    counts = models.table.counts()
    known = frozenset(counts)
    if given["providers"]:
        wanted, because = parse_providers(given["providers"], models.book, known), "those asked for"
    elif given["everything"]:
        wanted, because = known, "all"
    else:
        wanted, because = known & {*load_tiers().makers, *past.called}, "makers, and those that were called"
    return _Considered(wanted, because, sum(counts[provider] for provider in known - wanted))


def _nothing_fits(choice: Choice) -> str:
    if choice.nearest is None:
        return "there is no model to choose from"
    name = choice.nearest.candidate.facts.name
    return f"no model meets what is asked; {name} comes nearest: {choice.nearest.reason}"


def _show(given: dict[str, Any], models: Models, past: _Past, considered: _Considered, choice: Choice) -> None:
    if choice.chosen:
        shown = choice.chosen[: given["limit"]]
        write_table(_table(shown), _heading(given, choice, len(shown)))
    for sentence in _sentences(given, models, past, considered, choice):
        for line in wrapped(printable(sentence), terminal_width()):
            click.echo(line)


def _heading(given: dict[str, Any], choice: Choice, shown: int) -> str:
    what = f"the prompt {given['prompt']}" if given["prompt"] is not None else "such a call"
    if given["prompt_version"] is not None:
        what += f" in version {given['prompt_version']}"
    fitting = len(choice.chosen)
    which = f"{count(fitting)} models suit" if fitting != 1 else "1 model suits"
    first = f", the {count(shown)} cheapest" if shown < fitting else ", the cheapest first"
    return f"{which} {what}{first}; cost of one call in USD"


def _table(shown: Sequence[Candidate]) -> Table:
    table = Table(
        [
            name_column(candidate.facts for candidate in shown),
            Column("Quality", least=8),
            Column("Usual", number=True),
            Column("Large", number=True),
            Column("Input", number=True, drop=2),
            Column("Output", number=True, drop=3),
            Column("Can", least=8, drop=4),
            Column("Tokens by", drop=1),
        ]
    )
    for candidate in shown:
        told = candidate.as_json()
        table.add(
            candidate.facts.name,
            candidate.facts.quality or UNKNOWN,
            money(told["p50_usd"]),
            money(told["p90_usd"]),
            count(candidate.input_tokens),
            count(candidate.output_tokens),
            told_capabilities(candidate.facts),
            _tokens_by(candidate),
        )
    return table


def _tokens_by(candidate: Candidate) -> str:
    if candidate.tokens_from is None:
        return "as given"
    if candidate.tokens_own:
        return f"{count(candidate.tokens_calls)} own calls" if candidate.tokens_calls != 1 else "1 own call"
    told = candidate.as_json()["tokens"]
    if told["least"] == told["most"] == "1":
        return "same tokenizer"
    return f"x {told['least']} to {told['most']}"


def _sentences(
    given: dict[str, Any], models: Models, past: _Past, considered: _Considered, choice: Choice
) -> Iterator[str]:
    most_called = max(past.profiles, key=lambda profile: profile.calls)
    if most_called.name is not None:
        yield (
            f"Tokens are those of {_calls(most_called.calls)} on {most_called.name}, on a model with another tokenizer "
            "by the ratios of the two: the middle for a usual call (p50), the top for a large one (p90, nine in ten "
            "take no more). A model with calls of its own has its own tokens. One that reasons more than the other "
            "writes more than is told here."
        )
    yield (
        f"Prices are those of book {models.book.sha256[:12]}, on standard terms, now. Input and output are tokens of a "
        "large call."
    )
    others = f"; {count(considered.others)} models of others are not (--all)" if considered.others else ""
    yield f"Looked at: {', '.join(sorted(considered.providers)) or 'nobody'} ({considered.because}){others}."
    if not choice.left_out:
        return
    if given["all_left_out"]:
        yield f"Left out: {count(len(choice.left_out))}."
        shown: Sequence[LeftOut] = choice.left_out
    else:
        yield f"Left out: {count(len(choice.left_out))}, of these nearest to fitting (--left-out shows all):"
        shown = choice.nearest_first()[:LEFT_OUT_SHOWN]
    for left in shown:
        yield f"  {left.candidate.facts.name}: {left.reason}"


def _calls(number: int) -> str:
    return f"{count(number)} calls" if number != 1 else "1 call"


def _document(
    given: dict[str, Any], models: Models, past: _Past, considered: _Considered, at_us: int, choice: Choice
) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "report": "models_suggest",
        "currency": "USD",
        "at": format_time(at_us),
        "book": models.book.sha256,
        "prompt": given["prompt"],
        "prompt_version": given["prompt_version"],
        "profiles": [profile.as_json() for profile in past.profiles],
        "providers": {
            "considered": sorted(considered.providers),
            "because": considered.because,
            "models_of_others": considered.others,
        },
        "findings": [finding.as_json() for finding in past.findings],
        **choice.as_json(),
    }
