"""The table of models: the tiers and the rule that gives them, the limits, and the user's own facts over both."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import keledger.data
from keledger.journal import Home, HomeError
from keledger.journal.estimates import QUALITIES, ModelTable, load_models, load_tiers
from keledger.journal.estimates._models import FACTS
from tests.budgets.books import shipped

FILE: dict[str, Any] = tomllib.loads(Path(keledger.data.__path__[0], "model_tiers.toml").read_text(encoding="utf-8"))
MEASURES = {measure["id"]: measure for measure in FILE["measure"]}
ENTRIES: list[dict[str, Any]] = FILE["model"]
TIER_OF = {name: entry["tier"] for entry in ENTRIES for name in entry["names"]}


def tier_by_rule(entry: dict[str, Any]) -> str:
    """What the file's own rule makes of an entry."""
    if "at_least" in entry:
        return str(TIER_OF[entry["at_least"]])
    reached = [entry["figure"] >= threshold for threshold in MEASURES[entry["measure"]]["thresholds"]]
    return QUALITIES[sum(reached)]


def configured(home: Home, text: str) -> ModelTable:
    home.path.mkdir(mode=0o700, exist_ok=True)
    home.config.write_text(text, encoding="utf-8")
    return load_models(home, shipped())


# --- the tiers


def test_every_tier_follows_by_the_rule_from_what_stands_beside_it() -> None:
    assert tuple(FILE["qualities"]) == QUALITIES
    for entry in ENTRIES:
        assert entry["tier"] == tier_by_rule(entry), entry["names"][0]


def test_an_entry_is_a_figure_or_a_makers_word_with_source_and_date() -> None:
    for entry in ENTRIES:
        measured, told = {"measure", "entry", "figure"}, {"at_least", "source", "date", "why"}
        assert entry.keys() - {"names", "tier"} in (measured, told), entry["names"][0]
        if "figure" in entry:
            assert 0 < entry["figure"] < 100
        else:
            assert re.fullmatch(r"20\d\d-\d\d-\d\d", entry["date"])
            assert TIER_OF[entry["at_least"]]
            assert any("figure" in other for other in ENTRIES if entry["at_least"] in other["names"])
    for measure in MEASURES.values():
        assert measure["thresholds"] == sorted(set(measure["thresholds"]))
        assert len(measure["thresholds"]) == len(QUALITIES) - 1
        assert measure["source"]
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", measure["date"])


def test_every_name_is_one_of_the_shipped_book_and_stands_once() -> None:
    models = {f"{provider}/{model}" for provider, model in shipped().models()}
    names = Counter(name for entry in ENTRIES for name in entry["names"])
    assert not [name for name, times in names.items() if times > 1]
    assert not names.keys() - models
    assert set(FILE["makers"]) <= {provider for provider, _ in shipped().models()}


def test_the_models_that_people_use_have_a_tier() -> None:
    assert len(ENTRIES) >= 80
    assert Counter(entry["tier"] for entry in ENTRIES).keys() == set(QUALITIES)
    for name in (
        "openai/gpt-6.1-sol", "openai/gpt-5-mini", "openai/gpt-4o-mini", "anthropic/claude-opus-5-5",
        "anthropic/claude-haiku-4-5", "google/gemini-3.8-flash", "x-ai/grok-4.6", "deepseek/deepseek-v4-pro",
        "cohere/command-a", "meta/muse-spark-1.2", "openrouter/qwen/qwen3.7-max", "moonshotai/kimi-k3",
    ):  # fmt: skip
        assert name in TIER_OF, name


def test_a_tier_has_its_basis_and_what_it_rests_on(home: Home) -> None:
    table = load_models(home, shipped())
    measured = table.find("openai", "gpt-5-mini")
    assert measured is not None
    fact = measured.facts["quality"]
    assert (fact.value, fact.basis, fact.why) == ("medium", "measured", "65.91 as gpt-5-mini-high")
    assert "LiveBench 2026-01-08" in fact.source
    told = table.find("anthropic", "claude-opus-5-5")
    assert told is not None
    fact = told.facts["quality"]
    assert (fact.value, fact.basis) == ("highest", "maker")
    assert "at least that of anthropic/claude-opus-5" in str(fact.why)


# --- the table


def test_a_row_has_its_limits_and_capabilities_with_source_and_date(home: Home) -> None:
    found = load_models(home, shipped()).find("anthropic", "claude-haiku-4-5")
    assert found is not None
    assert (found.name, found.quality, found.use) == ("anthropic/claude-haiku-4-5", "medium", True)
    assert (found.context_window, found.output_limit) == (200_000, 64_000)
    assert [found.can(name) for name in ("vision", "tools", "reasons")] == [True, True, True]
    assert list(found.facts) == list(FACTS)
    for name in FACTS[1:]:
        assert found.facts[name].basis == "listed"
        assert "litellm 1.109.1" in found.facts[name].source
        assert found.facts[name].date == "2026-11-22"
    told = found.as_json()
    assert list(told) == ["provider", "model", *FACTS, "use", "facts"]
    assert told["facts"]["tools"]["value"] is told["tools"] is True


def test_every_model_of_the_book_is_a_row_once_and_in_order(home: Home) -> None:
    rows = list(load_models(home, shipped()).rows())
    names = [(row.provider, row.model) for row in rows]
    assert names == sorted(set(shipped().models()))
    assert sum(row.quality is not None for row in rows) == len(TIER_OF)
    table = load_models(home, shipped())
    assert table.counts() == Counter(row.provider for row in rows)
    assert list(table.rows({"openai"})) == [row for row in rows if row.provider == "openai"]


def test_a_model_is_found_by_any_name_that_the_book_understands(home: Home) -> None:
    table = load_models(home, shipped())
    for provider, model, name in (
        ("Anthropic", "claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4-5"),
        ("gemini", "models/gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("zai", "glm-4.5", "zai/GLM-4.5"),
    ):
        found = table.find(provider, model)
        assert found is not None
        assert found.name == name
    assert table.find("openai", "gpt-five-minus") is None


def test_a_model_without_a_line_of_its_own_has_that_of_its_dated_names(home: Home) -> None:
    found = load_models(home, shipped()).find("cohere", "command-a")
    assert found is not None
    assert found.output_limit is not None


def test_what_is_not_known_is_not_false(home: Home) -> None:
    rows = list(load_models(home, shipped()).rows())
    assert {row.can("vision") for row in rows} == {True, False, None}
    assert {row.can("tools") for row in rows} == {True, False, None}
    unknown = next(row for row in rows if row.can("tools") is None)
    assert unknown.as_json()["tools"] is None


# --- the user's own facts


def test_the_users_facts_stand_over_the_shipped_ones(home: Home) -> None:
    table = configured(
        home,
        """
        timezone = "UTC"
        [models."openai/gpt-5-mini"]
        quality = "high"
        tools = false
        context_window = 1000
        """,
    )
    found = table.find("openai", "gpt-5-mini-2025-08-07")
    assert found is not None
    assert (found.quality, found.can("tools"), found.context_window) == ("high", False, 1000)
    assert found.facts["quality"].basis == "user"
    assert found.facts["quality"].source == str(home.config)
    assert found.facts["quality"].date is None
    assert found.facts["output_limit"].basis == "listed"
    assert list(found.facts) == list(FACTS)


def test_the_users_names_are_those_of_calls(home: Home) -> None:
    table = configured(home, '[models."gemini/models/gemini-2.5-pro"]\nquality = "highest"\n')
    found = table.find("google", "gemini-2.5-pro")
    assert found is not None
    assert found.quality == "highest"


def test_a_model_that_only_the_user_knows_becomes_a_row(home: Home) -> None:
    table = configured(home, '[models."Acme/Own-1"]\nquality = "high"\noutput_limit = 4096\nvision = true\n')
    (row,) = (row for row in table.rows() if row.provider == "acme")
    assert row == table.find("acme", "own-1")
    assert (row.name, row.quality, row.output_limit, row.can("vision")) == ("acme/own-1", "high", 4096, True)
    assert (row.context_window, row.can("tools")) == (None, None)


def test_what_a_reseller_has_from_its_maker_is_the_resellers_own_row(home: Home) -> None:
    table = configured(home, '[models."azure/gpt-5-mini"]\ncontext_window = 1000\n')
    own, makers = table.find("azure", "gpt-5-mini"), table.find("openai", "gpt-5-mini")
    assert own is not None
    assert makers is not None
    assert (own.name, own.context_window) == ("azure/gpt-5-mini", 1000)
    assert makers.context_window == 400_000


def test_a_model_that_is_not_to_be_used(home: Home) -> None:
    table = configured(home, '[models."openai/gpt-5-mini"]\nuse = false\n[models."openai/gpt-5"]\nuse = true\n')
    unused, used = table.find("openai", "gpt-5-mini"), table.find("openai", "gpt-5")
    assert unused is not None
    assert used is not None
    assert (unused.use, used.use) == (False, True)
    assert unused.quality == "medium"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[models."openai/gpt-5"]\nquality = "hgh"', 'quality is "hgh"; write one of low, medium, high, highest'),
        ('[models."openai/gpt-5"]\nquality = 3', "quality is 3; write one of"),
        ('[models."openai/gpt-5"]\ntools = "yes"', 'tools is "yes"; write true or false'),
        ('[models."openai/gpt-5"]\nuse = 0', "use is 0; write true or false"),
        ('[models."openai/gpt-5"]\ncontext_window = true', "context_window is true; write a whole number"),
        ('[models."openai/gpt-5"]\ncontext_window = 0', "context_window is 0; write a whole number"),
        ('[models."openai/gpt-5"]\noutput_limit = 1.5', "output_limit is 1.5; write a whole number"),
        ('[models."openai/gpt-5"]\noutput_limit = -1', "output_limit is -1; write a whole number"),
        ('[models."openai/gpt-5"]\noutput_limit = 9223372036854775807', "write a whole number"),
        ('[models."openai/gpt-5"]\nqualty = "high"', "qualty is no fact of a model; there is quality"),
        ('[models."gpt-5"]\nquality = "high"', 'models."gpt-5" names no provider and model'),
        ('[models."/gpt-5"]\nquality = "high"', "names no provider and model"),
        ('[models]\n"openai/gpt-5" = "high"', 'models."openai/gpt-5" is no table'),
        ('models = "all"', "models is no table"),
        ("[models", "cannot be read"),
    ],
)
def test_what_is_wrong_in_the_config_is_said_in_one_line(home: Home, text: str, complaint: str) -> None:
    with pytest.raises(HomeError) as raised:
        configured(home, text)
    assert complaint in str(raised.value)
    assert str(raised.value).startswith(str(home.config))
    assert "\n" not in str(raised.value)


def test_the_tiers_are_read_as_they_stand() -> None:
    tiers = load_tiers()
    assert {f"{provider}/{model}": fact.value for (provider, model), fact in tiers.qualities.items()} == TIER_OF
    assert list(tiers.makers) == FILE["makers"]
