"""The table of models' limits: its form, its names, where it comes from, and how it is looked up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keledger.data
from keledger.journal._model_limits import limits_of, models_beginning_with, names_beginning_with
from tests.budgets.books import shipped

LINES = Path(keledger.data.__path__[0], "model_limits.jsonl").read_text(encoding="utf-8").splitlines()
HEADER = json.loads(LINES[0])
ROWS: list[Mapping[str, Any]] = [json.loads(line) for line in LINES[1:]]


def test_it_says_where_it_comes_from_and_by_what_licence() -> None:
    assert HEADER.keys() == {"keledger_limits", "source", "date", "license"}
    assert "litellm 1.109.1" in HEADER["source"]
    assert "genai-prices 0.2.3" in HEADER["source"]
    assert "Copyright (c) 2023 Berri AI" in HEADER["license"]
    assert "Permission is hereby granted, free of charge" in HEADER["license"]


def test_every_line_is_one_model_in_order() -> None:
    named = [(row["provider"], row["model"]) for row in ROWS]
    assert named == sorted(set(named))
    for row in ROWS:
        names = ("provider", "model", "context_window", "output_limit", "reasons", "vision", "tools")
        assert list(row) == [name for name in names if name in row]
        assert row.keys() & {"context_window", "output_limit"}
        assert all(row.get(name, 1) > 0 for name in ("context_window", "output_limit"))
        assert all(isinstance(row.get(name, False), bool) for name in ("reasons", "vision", "tools"))


def test_every_model_is_found_by_its_own_name() -> None:
    for row in ROWS:
        found = limits_of(shipped(), row["provider"], row["model"])
        assert (found.context_window or 0) >= row.get("context_window", 0), row
        assert (found.output_limit or 0) >= row.get("output_limit", 0), row


def test_most_of_what_the_makers_sell_as_chat_has_an_output_limit() -> None:
    """What a hold of the size max needs where a request sets no limit."""
    for provider, model in (
        ("openai", "gpt-6-sol"), ("openai", "gpt-5-mini"), ("openai", "gpt-4o"), ("anthropic", "claude-opus-5-5"),
        ("anthropic", "claude-haiku-4-5"), ("google", "gemini-3.8-flash"), ("x-ai", "grok-4.7"),
        ("deepseek", "deepseek-v4-pro"), ("mistral", "codestral-2508"), ("cerebras", "qwen-3-32b"),
    ):  # fmt: skip
        assert limits_of(shipped(), provider, model).output_limit, (provider, model)


def test_models_are_found_by_how_their_names_begin() -> None:
    found = set(models_beginning_with("anthropic", "claude-sonnet-4"))
    assert {"claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "claude-sonnet-4-6"} <= found
    assert all(name.startswith("claude-sonnet-4") for name in found)
    assert list(models_beginning_with("nobody", "claude")) == []
    named = [("p", 'a"b'), ("p", 'a"c'), ("q", 'a"d')]
    lines = [{"header": 1}, *({"provider": provider, "model": model} for provider, model in named)]
    content = "\n".join(json.dumps(line, separators=(",", ":")) for line in lines).encode()
    assert list(names_beginning_with(content, "p", 'a"')) == ['a"b', 'a"c']
