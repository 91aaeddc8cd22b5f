"""The upper bound of a call's cost: that nothing a request can come back with costs more, and where there is none."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keledger.journal import parse_time, usd_to_pico
from keledger.journal._model_limits import limits_of
from keledger.journal.budgets import _bounds as bounds
from keledger.journal.budgets._bounds import Bound, Unbounded, Unpriced, upper_bound
from keledger.journal.capture.shape import shape_of
from keledger.journal.prices import ALWAYS_US, Book, Cell
from keledger.journal.usage import normalize
from tests.budgets.books import book_of, shipped

NOW_US = parse_time("2026-11-20T12:00:00.000000Z")
YEAR_US = 365 * 24 * 3600 * 10**6

TEXT = {"role": "user", "content": "How many days has a leap year?"}
PICTURE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}
TOOL = {"type": "function", "function": {"name": "days", "parameters": {"type": "object", "properties": {}}}}

TEXT_INPUT = ("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h")
MEDIA_INPUT = ("input_audio", "cache_read_audio", "input_image", "input_video")
TEXT_OUTPUT = ("output_text", "output_reasoning")
MEDIA_OUTPUT = ("output_audio", "output_image", "output_video")


def bound_of(
    book: Book, provider: str, model: str, request: Mapping[str, Any], at_us: int = NOW_US, **context: str
) -> Bound | Unbounded | Unpriced:
    """The bound of a call with this request."""
    return upper_bound(book, provider, model, at_us=at_us, context=context, shape=shape_of(request))


def text_tokens(request: Mapping[str, Any]) -> int:
    """How many tokens a request of text can be, by the premises in the documents."""
    shape = shape_of(request)
    return int(shape["bytes"] + shape["growth_bytes"] + 2048 + 16 * shape["messages"] + 256 * shape["tools"])


@cache
def models() -> list[tuple[str, str]]:
    """Every model of the shipped book."""
    return shipped().models()


LARGE = {"role": "user", "content": "x" * 300_000}
MESSAGES = st.sampled_from([TEXT, LARGE, PICTURE])
LIMITS = st.sampled_from([None, 1, 1000, 500_000])


@st.composite
def requests(draw: st.DrawFn, messages: st.SearchStrategy[Any], limits: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Requests that differ in all that a bound depends on."""
    tools = draw(st.integers(0, 2))
    drawn = {
        "messages": [draw(messages)] * (1 + tools),
        "tools": [TOOL] * tools or None,
        "max_tokens": draw(limits),
        "n": draw(st.sampled_from([None, 2])),
        "service_tier": draw(st.sampled_from([None, "auto", "default", "flex", "priority"])),
        "speed": draw(st.sampled_from([None, "fast"])),
        "cache_control": draw(st.sampled_from([None, {"ttl": "5m"}, {"ttl": "1h"}])),
        "generationConfig": draw(st.sampled_from([None, {"thinkingConfig": {"thinkingBudget": 0}}])),
    }
    return {name: value for name, value in drawn.items() if value is not None}


def split(draw: st.DrawFn, total: int, buckets: tuple[str, ...]) -> dict[str, int]:
    """A total spread over buckets in any way; all in one of them as often as not."""
    if draw(st.booleans()):
        return {draw(st.sampled_from(buckets)): total}
    cuts = sorted(draw(st.lists(st.integers(0, total), min_size=len(buckets) - 1, max_size=len(buckets) - 1)))
    parts = [after - before for before, after in itertools.pairwise([0, *cuts, total])]
    return {bucket: part for bucket, part in zip(buckets, parts, strict=True) if part}


def up_to(draw: st.DrawFn, most: int) -> int:
    """A count up to a maximum, which is drawn as often as not; and the edges of price tiers."""
    edges = [edge for size in (32_000, 100_000, 128_000, 200_000, 256_000, 272_000) for edge in (size, size + 1)]
    return draw(st.just(most) | st.integers(0, most) | st.sampled_from([min(edge, most) for edge in edges]))


@st.composite
def answers(draw: st.DrawFn, book: Book, provider: str, model: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """What a request can come back with: usage, terms, and the model that answered."""
    shape, limits = shape_of(request), limits_of(book, provider, model)
    is_text = shape["self_contained"]
    most = text_tokens(request) if is_text else limits.context_window or 0
    inputs = [bucket for bucket in TEXT_INPUT if bucket != "cache_write_1h" or shape["cache_write"] == "1h"]
    if "claude" in model and shape["cache_write"] == "none":
        inputs.remove("cache_write_5m")
    usage = split(draw, up_to(draw, most), tuple(inputs if is_text else [*inputs, *MEDIA_INPUT]))
    answer = request.get("max_tokens") or limits.output_limit or 0
    choices = request.get("n", 1)
    own = limits.output_limit or 0
    if ("gemini" in model or "grok" in model) and "generationConfig" not in request:
        usage |= {"output_reasoning": up_to(draw, own * choices), "output_text": up_to(draw, answer * choices)}
    elif not is_text and draw(st.booleans()):
        usage |= split(draw, up_to(draw, max(answer, own) * choices), (*TEXT_OUTPUT, *MEDIA_OUTPUT))
        assume(any(rate for rate in book.rates(provider, model, {}) if bounds._makes_media(rate)))
    else:
        usage |= split(draw, up_to(draw, answer * choices), TEXT_OUTPUT)
    tier = draw(st.sampled_from([None, "flex", "priority", "fast"]))
    if request.get("service_tier") in ("default", "flex"):
        tier = {"default": None, "flex": "flex"}[request["service_tier"]]
    terms = {
        "service_tier": tier,
        "speed": draw(st.sampled_from([None, request.get("speed")])),
        "region": draw(st.sampled_from([None, "us"])),
        "processing": draw(st.sampled_from([None, "batch"])),
    }
    dated = [name for other, name in book.models() if other == provider and name.startswith(f"{model}-20")]
    return {
        "usage": {**{bucket: count for bucket, count in usage.items() if count}, "requests": 1},
        "context": {name: value for name, value in terms.items() if value is not None},
        "answered": draw(st.sampled_from([None, model, *dated])),
    }


def check(data: st.DataObject, book: Book, provider: str, model: str, request: dict[str, Any], at_us: int) -> None:
    """No answer to a request costs more than the bound that was told before it."""
    bound = bound_of(book, provider, model, request, at_us)
    assume(isinstance(bound, Bound))
    assert isinstance(bound, Bound)
    answer = data.draw(answers(book, provider, model, request))
    cost = book.price(
        provider=provider,
        model=book.priced_model(provider, model, answer["answered"]),
        usage=answer["usage"],
        at_us=at_us,
        context=answer["context"],
    )
    if cost["state"] == "priced":
        assert usd_to_pico(cost["total_usd"]) <= bound.amount_pico


@given(st.data(), st.integers(NOW_US - 2 * YEAR_US, NOW_US + YEAR_US))
def test_no_answer_of_a_shipped_model_costs_more_than_its_bound(data: st.DataObject, at_us: int) -> None:
    first = data.draw(st.sampled_from(["anthropic", "openai", "google", "x-ai", "deepseek", "mistral", "openrouter"]))
    provider, model = data.draw(st.sampled_from([named for named in models() if named[0] == first]))
    check(data, shipped(), provider, model, data.draw(requests(MESSAGES, LIMITS)), at_us)


PRICES = st.sampled_from(["0", "0.000001", "0.25", "3", "15", "75.5", None])
BUCKET_PRICES = st.fixed_dictionaries(
    {"input_uncached": PRICES, "output_text": PRICES},
    optional=dict.fromkeys((*TEXT_INPUT[1:], *MEDIA_INPUT, "output_reasoning", *MEDIA_OUTPUT, "requests"), PRICES),
)


@st.composite
def price_books(draw: st.DrawFn) -> Book:
    """A book of one model and its dated revision at all kinds of terms, hours, days and sizes."""
    cells = [Cell("house", "m", "", draw(BUCKET_PRICES))]
    for _ in range(draw(st.integers(0, 5))):
        model = draw(st.sampled_from(["m", "m", "m-2026-01-01"]))
        context = draw(st.sampled_from(["", "service_tier=priority", "service_tier=flex", "processing=batch"]))
        over = draw(st.sampled_from([-1, 3000, 200_000]))
        span = draw(st.sampled_from([(-ALWAYS_US, NOW_US), (NOW_US, ALWAYS_US)]))
        minutes = draw(st.sampled_from([(0, 1440), (0, 720), (720, 1440)]))
        weekdays = draw(st.sampled_from(["1111111", "1111100", "0000011"]))
        new = Cell("house", model, context, draw(BUCKET_PRICES), *span, *minutes, weekdays, over)
        same = [each for each in cells if (each.model, each.context, each.input_over) == (model, context, over)]
        if not any(new.meets(each) for each in same):
            cells.append(new)
    return book_of(cells)


@given(st.data(), price_books(), st.integers(NOW_US - YEAR_US, NOW_US + YEAR_US))
def test_no_answer_by_any_book_costs_more_than_its_bound(data: st.DataObject, book: Book, at_us: int) -> None:
    check(data, book, "house", "m", data.draw(requests(st.sampled_from([TEXT, LARGE]), st.just(1000))), at_us)


@pytest.mark.parametrize(
    ("provider", "model", "request_", "usage_format", "usage_raw"),
    [
        pytest.param(
            "x-ai", "grok-4.7", {"messages": [TEXT], "max_tokens": 100}, "xai.chat",
            {"prompt_tokens": 700, "completion_tokens": 100, "total_tokens": 400_800,
             "completion_tokens_details": {"reasoning_tokens": 400_000}},
            id="xAI counts reasoning beside the limit",
        ),
        pytest.param(
            "google", "gemini-2.5-flash",
            {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 100}},
            "gemini.generate_content",
            {"promptTokenCount": 2000, "candidatesTokenCount": 100, "thoughtsTokenCount": 24_576},
            id="Gemini's documents do, too",
        ),
        pytest.param(
            "anthropic", "claude-sonnet-4-5",
            {"messages": [TEXT], "max_tokens": 10, "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            "anthropic.messages",
            {"input_tokens": 3, "cache_creation_input_tokens": 2000, "output_tokens": 10,
             "cache_creation": {"ephemeral_1h_input_tokens": 2000, "ephemeral_5m_input_tokens": 0}},
            id="Claude's cache written for an hour",
        ),
        pytest.param(
            "openai", "gpt-5.6-sol", {"messages": [TEXT], "max_completion_tokens": 10}, "openai.chat",
            {"prompt_tokens": 2000, "completion_tokens": 10, "total_tokens": 2010, "service_tier": "priority",
             "prompt_tokens_details": {"cache_write_tokens": 2000}},
            id="OpenAI's cache is written unasked, and its project's tier may be a dear one",
        ),
    ],
)  # fmt: skip
def test_what_providers_send_is_within_the_bound(
    provider: str, model: str, request_: dict[str, Any], usage_format: str, usage_raw: dict[str, Any]
) -> None:
    bound, found = bound_of(shipped(), provider, model, request_), normalize(usage_raw, usage_format)
    assert isinstance(bound, Bound)
    cost = shipped().price(
        provider=provider, model=model, usage=found.usage, at_us=NOW_US, context=found.pricing_context
    )
    assert cost["state"] == "priced"
    assert usd_to_pico(cost["total_usd"]) <= bound.amount_pico


def cell(prices: dict[str, str | None], model: str = "m", **conditions: Any) -> Cell:
    """A price of the house's model."""
    return Cell("house", model, conditions.pop("context", ""), prices, **conditions)


FLAT: dict[str, str | None] = {"input_uncached": "1", "output_text": "10"}
LONG = {"messages": [{"role": "user", "content": "x" * 300_000}], "max_tokens": 100}
SHORT = {"messages": [TEXT], "max_tokens": 100}


@pytest.mark.parametrize(
    ("cells", "request_", "input_rate", "more_pico"),
    [
        pytest.param([cell(FLAT)], SHORT, 1, 100 * 10, id="input and output"),
        pytest.param([cell(FLAT)], {**SHORT, "n": 4}, 1, 400 * 10, id="four answers"),
        pytest.param([cell({**FLAT, "output_reasoning": "60"})], SHORT, 1, 100 * 60, id="reasoning is dearer"),
        pytest.param([cell({**FLAT, "cache_write_5m": "1.25"})], SHORT, 1.25, 1000, id="a cache may be written"),
        pytest.param([cell({**FLAT, "cache_write_1h": "2"})], SHORT, 1, 1000, id="but not for an hour unasked"),
        pytest.param(
            [cell({**FLAT, "cache_write_1h": "2"})],
            {**SHORT, "cache_control": {"ttl": "1h"}}, 2, 1000, id="only where that is asked for",
        ),
        pytest.param([cell({**FLAT, "requests": "7"})], SHORT, 1, 1007, id="a fee for the call"),
        pytest.param([cell({**FLAT, "input_image": "9"})], SHORT, 1, 1000, id="text is no picture"),
        pytest.param([cell({**FLAT, "cache_read": "4"})], SHORT, 4, 1000, id="cached input may be the dearest"),
        pytest.param([cell(FLAT), cell({"input_uncached": "2"}, input_over=200_000)], SHORT, 1, 1000, id="one tier"),
        pytest.param([cell(FLAT), cell({"input_uncached": "2"}, input_over=200_000)], LONG, 2, 1000, id="two tiers"),
        pytest.param(
            [cell(FLAT), cell({"output_text": "20"}, context="service_tier=priority")], SHORT, 1, 1000,
            id="terms without a price for input",
        ),
        pytest.param(
            [cell(FLAT), cell({"input_uncached": "2", "output_text": "20"}, context="service_tier=priority")],
            SHORT, 2, 2000, id="a project may set a tier",
        ),
        pytest.param(
            [cell(FLAT), cell({"input_uncached": "2", "output_text": "20"}, context="service_tier=priority")],
            {**SHORT, "service_tier": "default"}, 1, 1000, id="unless the request does",
        ),
        pytest.param(
            [cell(FLAT), cell({"input_uncached": "2", "output_text": "20"}, context="speed=fast")],
            SHORT, 1, 1000, id="a fast mode that is not asked for",
        ),
        pytest.param(
            [cell(FLAT), cell({"input_uncached": "2", "output_text": "20"}, context="speed=fast")],
            {**SHORT, "speed": "fast"}, 2, 2000, id="a fast mode that is",
        ),
        pytest.param(
            [cell(FLAT), cell({"input_uncached": "5", "output_text": "50"}, model="m-2024-05-13")],
            SHORT, 5, 5000, id="a dated revision may answer",
        ),
        pytest.param(
            [cell(FLAT), cell({"input_uncached": "5", "output_text": "50"}, model="m-large")],
            SHORT, 1, 1000, id="another model may not",
        ),
        pytest.param(
            [cell(FLAT, valid_to_us=NOW_US), cell({"input_uncached": "3", "output_text": "30"}, valid_from_us=NOW_US)],
            SHORT, 3, 3000, id="the price of its instant",
        ),
        pytest.param(
            [cell(FLAT, minute_to=720), cell({"input_uncached": "3", "output_text": "30"}, minute_from=720)],
            SHORT, 3, 3000, id="and of its minute",
        ),
        pytest.param(
            [cell(FLAT, weekdays="1111011"), cell({"input_uncached": "3", "output_text": "30"}, weekdays="0000100")],
            SHORT, 3, 3000, id="and of its weekday, a Friday",
        ),
    ],
)  # fmt: skip
def test_the_bound_is_what_the_dearest_answer_costs(
    cells: list[Cell], request_: dict[str, Any], input_rate: float, more_pico: int
) -> None:
    tokens = text_tokens(request_)
    bound = bound_of(book_of(cells), "house", "m", request_)
    assert isinstance(bound, Bound)
    pico = 1_000_000  # a dollar per million is so many picodollars a token
    fee = 7 * pico if more_pico == 1007 else 0
    output = (more_pico - (7 if fee else 0)) * pico
    assert bound.amount_pico == max(int(tokens * input_rate * pico) + output + fee, _other_terms(cells, tokens))
    assert bound.input_tokens == tokens


def _other_terms(cells: list[Cell], tokens: int) -> int:
    """What the dearest output alone costs, where terms have no price for input."""
    only_output = [each for each in cells if each.context and "input_uncached" not in each.usd_per_million]
    return max((100 * int(each.usd_per_million["output_text"] or 0) * 10**6 for each in only_output), default=0)


def test_a_tier_that_is_cheaper_does_not_make_the_bound_lower() -> None:
    book = book_of([cell({**FLAT, "input_uncached": "5"}), cell({"input_uncached": "1"}, input_over=200_000)])
    bound = bound_of(book, "house", "m", LONG)
    assert isinstance(bound, Bound)
    assert bound.amount_pico == 200_000 * 5 * 10**6 + 100 * 10 * 10**6


@pytest.mark.parametrize(
    ("model", "request_", "reason"),
    [
        ("gpt-4o", {"messages": [TEXT], "web_search_options": {}}, "search the web"),
        ("gpt-4o", {"messages": [TEXT], "new": 1}, "does not know"),
        ("gpt-4o", {"messages": [TEXT], "n": -1}, "number of answers"),
        ("gpt-4o-search-preview", SHORT, "searches, or calls other models, by itself"),
        ("o3-deep-research", SHORT, "by itself"),
        ("gpt-5-chat-latest", SHORT, "comes to mean other models"),
        ("gpt-4o", {"messages": [TEXT], "max_tokens": 10**12, "n": 10**6}, "more tokens than a count may be"),
    ],
)
def test_where_there_is_no_bound_it_says_why(model: str, request_: dict[str, Any], reason: str) -> None:
    found = bound_of(shipped(), "openai", model, request_)
    assert isinstance(found, Unbounded), found
    assert reason in found.reason


def test_every_word_of_a_shape_has_its_reason() -> None:
    for word in sorted(bounds.REASONS):
        shape = {**shape_of(SHORT), "unbounded": word}
        found = upper_bound(shipped(), "openai", "gpt-4o", at_us=NOW_US, context={}, shape=shape)
        assert found == Unbounded(bounds.REASONS[word])
    shape = {**shape_of(SHORT), "unbounded": "server_tool"}
    found = upper_bound(shipped(), "openai", "gpt-4o", at_us=NOW_US, context={}, shape=shape)
    assert isinstance(found, Unbounded)


def test_a_bound_that_no_amount_can_tell_is_none() -> None:
    book = book_of([cell({"input_uncached": "1", "output_text": "999999999999"})])
    found = bound_of(book, "house", "m", {"messages": [TEXT], "max_tokens": 10**12})
    assert found == Unbounded("its bound is more than an amount of money may be")


@pytest.mark.parametrize(
    ("cells", "request_", "reason"),
    [
        ([cell(FLAT)], {"messages": [TEXT]}, "it sets no limit for the answer, and nobody knows that of m"),
        ([cell(FLAT)], {"messages": [PICTURE], "max_tokens": 9}, "nobody knows the context window of m"),
        ([cell({**FLAT, "output_image": "40"})], SHORT, "pictures and sound pass over the limit"),
    ],
)
def test_a_model_that_nobody_knows_is_bounded_by_its_request_alone(
    cells: list[Cell], request_: dict[str, Any], reason: str
) -> None:
    found = bound_of(book_of(cells), "house", "m", request_)
    assert isinstance(found, Unbounded), found
    assert reason in found.reason


def test_a_window_that_ends_below_a_price_for_more_is_not_relied_on() -> None:
    book = book_of([
        Cell("openai", "gpt-4o", "", FLAT), Cell("openai", "gpt-4o", "", {"input_uncached": "2"}, input_over=500_000)
    ])  # fmt: skip
    found = bound_of(book, "openai", "gpt-4o", {"messages": [PICTURE], "max_tokens": 9})
    assert isinstance(found, Unbounded)
    assert "larger than is known" in found.reason


def test_sound_by_the_second_has_no_bound_in_tokens() -> None:
    book = book_of([Cell("openai", "gpt-4o", "", {**FLAT, "input_audio_ms": "1"})])
    assert isinstance(bound_of(book, "openai", "gpt-4o", {"messages": [PICTURE], "max_tokens": 9}), Unbounded)
    assert isinstance(bound_of(book, "openai", "gpt-4o", SHORT), Bound)


def test_pictures_and_sound_may_pass_over_the_request_s_limit() -> None:
    book = book_of([Cell("openai", "gpt-4o", "", {**FLAT, "output_audio": "80"})])
    for asked, most in ((9, 16_384), (50_000, 50_000)):
        bound = bound_of(book, "openai", "gpt-4o", {"messages": [TEXT], "max_tokens": asked, "n": 2})
        assert isinstance(bound, Bound)
        assert bound.output_tokens == 2 * most
        assert bound.amount_pico == bound.input_tokens * 10**6 + bound.output_tokens * 80 * 10**6


def test_a_request_with_pictures_is_a_window_full_of_the_dearest_input() -> None:
    book = book_of([Cell("openai", "gpt-4o", "", {**FLAT, "input_image": "4"})])
    bound = bound_of(book, "openai", "gpt-4o", {"messages": [PICTURE], "max_tokens": 9})
    assert bound == Bound(128_000 * 4 * 10**6 + 9 * 10 * 10**6, 128_000, 9)


def test_what_is_billed_by_the_character_has_no_more_of_them_than_bytes() -> None:
    plain, by_character = (
        bound_of(book_of([cell({**FLAT, **more})]), "house", "m", SHORT) for more in ({}, {"input_chars": "30"})
    )
    assert isinstance(plain, Bound)
    assert isinstance(by_character, Bound)
    assert by_character.amount_pico == plain.amount_pico + shape_of(SHORT)["bytes"] * 30 * 10**6


@pytest.mark.parametrize(
    ("budget", "output_tokens"), [(0, 100), (512, 100 + 65_536), (None, 100 + 65_536)], ids=["off", "on", "unsaid"]
)
def test_gemini_s_thoughts_come_on_top_unless_they_are_turned_off(budget: int | None, output_tokens: int) -> None:
    thinking = {} if budget is None else {"thinkingConfig": {"thinkingBudget": budget}}
    request = {"contents": "Hi", "generationConfig": {"maxOutputTokens": 100, **thinking}}
    bound = bound_of(shipped(), "google", "gemini-2.5-flash", request)
    assert isinstance(bound, Bound)
    assert bound.output_tokens == output_tokens


def test_a_model_that_always_thinks_is_not_believed_to_be_off() -> None:
    off = {"contents": "Hi", "generationConfig": {"maxOutputTokens": 100, "thinkingConfig": {"thinkingBudget": 0}}}
    bound = bound_of(shipped(), "google", "gemini-2.5-pro", off)
    assert isinstance(bound, Bound)
    assert bound.output_tokens == 100 + 65_536


def test_a_provider_that_searches_by_itself_has_no_bound() -> None:
    found = bound_of(book_of([Cell("perplexity", "m", "", FLAT)]), "perplexity", "m", SHORT)
    assert isinstance(found, Unbounded)
    assert "by itself" in found.reason


@pytest.mark.parametrize("missing", ["input_uncached", "output_text"])
def test_without_a_price_there_is_no_bound(missing: str) -> None:
    book = book_of([cell({**FLAT, missing: None})])
    found = bound_of(book, "house", "m", SHORT)
    assert isinstance(found, Unpriced)
    assert missing in found.reason
    assert isinstance(bound_of(book, "house", "other", SHORT), Unpriced)


def test_what_is_not_told_of_a_request_is_taken_at_its_worst() -> None:
    book = book_of([cell({**FLAT, "cache_write_1h": "2"})])
    whole = shape_of(SHORT)
    for name in ("bytes", "growth_bytes", "messages", "tools", "choices", "self_contained"):
        shape = {key: value for key, value in whole.items() if key != name}
        assert isinstance(upper_bound(book, "house", "m", at_us=NOW_US, context={}, shape=shape), Unbounded), name
    shape = {key: value for key, value in whole.items() if key != "cache_write"}
    bound = upper_bound(book, "house", "m", at_us=NOW_US, context={}, shape=shape)
    assert isinstance(bound, Bound)
    assert bound.amount_pico == text_tokens(SHORT) * 2 * 10**6 + 100 * 10 * 10**6
    assert isinstance(upper_bound(book, "house", "m", at_us=NOW_US, context={}, shape=None), Unbounded)


def test_claude_s_cache_is_written_only_where_the_request_says_so() -> None:
    caching = {**SHORT, "cache_control": {"type": "ephemeral"}}
    plain, cached = (bound_of(shipped(), "anthropic", "claude-haiku-4-5", request) for request in (SHORT, caching))
    assert isinstance(plain, Bound)
    assert isinstance(cached, Bound)
    assert plain.amount_pico == text_tokens(SHORT) * 10**6 + 100 * 5 * 10**6
    assert cached.amount_pico == text_tokens(caching) * 1_250_000 + 500 * 10**6


def test_the_known_limits_are_those_of_either_name() -> None:
    dated = limits_of(shipped(), "anthropic", "claude-sonnet-4-5-20250929")
    assert dated == limits_of(shipped(), "anthropic", "anthropic/claude-sonnet-4-5")
    assert (dated.context_window, dated.output_limit, dated.reasons) == (1_000_000, 64_000, True)
    assert limits_of(shipped(), "gemini", "models/gemini-2.5-flash").output_limit == 65_536
    assert set(limits_of(shipped(), "house", "m")) == {None}
    assert limits_of(shipped(), "openai", "gpt-5-2025-08-07").context_window == 400_000
    assert bound_of(shipped(), "openai", "gpt-5-2025-08-07", {"messages": [PICTURE], "max_tokens": 9})[1] == 400_000
