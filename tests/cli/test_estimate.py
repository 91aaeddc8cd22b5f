"""``keledger estimate`` as people and programs use it."""

from __future__ import annotations

import base64
import json
import os
import re
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import Home, Ledger
from keledger.projections import open_projection, run_sql

from .support import Outcome, forge, json_lines, keledger, keledger_process, keledger_terminal, truth

MODEL = ("--model", "openai/gpt-5-mini")
TEXT = "Tell me what whales eat, and where."


@pytest.fixture(autouse=True)
def own_home(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home that commands find, which does not exist yet."""
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))


def row(*arguments: str, given: str | bytes = b"") -> dict[str, Any]:
    """The one estimate that these arguments have."""
    outcome = keledger("estimate", *arguments, given=given)
    assert outcome.status == 0, outcome.err
    (only,) = outcome.json["rows"]
    return dict(only)


def body(text: str = TEXT, **fields: Any) -> dict[str, Any]:
    """A request of OpenAI's chat completions."""
    return {"messages": [{"role": "user", "content": text}], **fields}


def write(path: Path, *values: object) -> str:
    """Write values as JSON, one a line."""
    path.write_text(json_lines(*values), encoding="utf-8")
    return str(path)


def recorded(*arguments: str) -> str:
    """The id of an estimate that these arguments have journaled."""
    outcome = keledger("estimate", *arguments, "--record")
    assert outcome.status == 0, outcome.err
    (event_id,) = outcome.json["recorded"]
    return str(event_id)


def call(estimate_id: str | None = None, input_tokens: int = 100, output_tokens: int = 50, **fields: Any) -> None:
    """Record a call that came of an estimate."""
    usage = {"input_uncached": input_tokens, "output_text": output_tokens}
    told = {"provider": "openai", "model": "gpt-5-mini", "usage": usage, **fields}
    outcome = keledger("record", given=json_lines(told | ({"estimate_id": estimate_id} if estimate_id else {})))
    assert outcome.status == 0, outcome.err


# What it says


def test_the_json(home: Home) -> None:
    outcome = keledger("estimate", *MODEL, "--text", TEXT)
    assert outcome.status == 0
    shown = outcome.json
    assert list(shown) == ["schema_version", "report", "currency", "at", "book", "position", "findings", "rows"]
    assert (shown["schema_version"], shown["report"], shown["currency"]) == (1, "estimate", "USD")
    (only,) = shown["rows"]
    # 9 tokens of text, 5 that a request has and 4 a message
    assert only == {
        "provider": "openai",
        "model": "gpt-5-mini",
        "method": "tiktoken:o200k_base",
        "counted_tokens": 18,
        "input_tokens": {"p5": 15, "p50": 18, "p95": 21, "basis": "prior", "calls": 0, "cached": 0},
        "output_tokens": {"p50": 252, "p90": 2013, "max": 128_000, "basis": "prior", "calls": 0},
        # 0.25 and 2 USD a million
        "cost_usd": {"p50": "0.0005085", "p90": "0.00403125", "max": "0.25600525"},
        "cost_state": "priced",
        "notes": [],
    }
    assert outcome.err.splitlines() == [
        f"keledger: there is no journal at {home.path} yet: estimates learn from calls that are journaled"
    ]
    assert not home.path.exists()


TABLE = """\
Tokens, and cost in USD, of one call: at the median, for nine of ten (90 %), with the longest answer (max)
Model                       Input  In 5-95 %  Output  Out 90 %  Out max       Cost  Cost 90 %   Cost max
──────────────────────────  ─────  ─────────  ──────  ────────  ───────  ─────────  ─────────  ─────────
openai/gpt-5-mini              18      15-21     252     2,013  128,000  $0.000508  $0.004031  $0.256005
anthropic/claude-haiku-4-5     19      14-30     252     2,013   64,000  $0.001279  $0.010095  $0.320030
gpt-5-mini: input counted by tiktoken:o200k_base; there is no past call to learn from yet, so all ranges are shipped \
figures.
claude-haiku-4-5: input counted by proxy:o200k_base*1.19 (n=0); there is no past call to learn from yet, so all ranges \
are shipped figures.
"""


def test_the_table_compares_models() -> None:
    outcome = keledger("estimate", "--pretty", "--model", "gpt-5-mini,claude-haiku-4-5", "--text", TEXT)
    assert outcome.status == 0
    assert outcome.out == TABLE


def test_a_model_by_two_names_is_compared_once() -> None:
    outcome = keledger("estimate", "-m", "gpt-5-mini,openai/gpt-5-mini", "-m", "gpt-5-mini", "--text", TEXT)
    assert [each["model"] for each in outcome.json["rows"]] == ["gpt-5-mini"]


@pytest.mark.parametrize("calls", [(), ("--calls", "500")])
@pytest.mark.parametrize("columns", [40, 80])
def test_on_a_narrow_terminal(columns: int, calls: Sequence[str]) -> None:
    shown = keledger_terminal("estimate", "-m", "gpt-5-mini,claude-sonnet-4-5", "--text", TEXT, *calls, columns=columns)
    assert shown.status == 0
    lines = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in shown.out.splitlines()]
    table = [line for line in lines if not line.startswith("keledger: ") and "there is no journal" not in line]
    assert all(len(line) <= columns for line in table if "$" in line or "─" in line), shown.out
    assert "Cost" in shown.out
    assert "too narrow for: " in shown.out


def test_a_terminal_gets_no_hint_of_stdin() -> None:
    shown = keledger_terminal("estimate", *MODEL)
    assert shown.status == 2
    assert "nothing to estimate: give a file, --text TEXT, or - for stdin" in " ".join(shown.out.split())


# What it is given


def test_the_same_text_in_every_form(tmp_path: Path) -> None:
    plain = tmp_path / "text.txt"
    plain.write_text(TEXT, encoding="utf-8")
    marked = tmp_path / "marked.txt"
    marked.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    request = write(tmp_path / "request.json", body())
    indented = tmp_path / "indented.json"
    indented.write_text(json.dumps(body(), indent=2).replace("\n", "\r\n"), encoding="utf-8")
    contents = write(tmp_path / "gemini.json", {"contents": [{"parts": [{"text": TEXT}]}]})
    counted = [
        row(*MODEL, *arguments, given=given)["counted_tokens"]
        for arguments, given in (
            (("--text", TEXT), ""),
            ((str(plain),), ""),
            ((str(marked),), ""),
            ((), TEXT),
            (("-",), TEXT),
            ((request,), ""),
            ((str(indented),), ""),
            (("-",), json.dumps(body())),
            (("-",), json.dumps(body()["messages"])),
            ((contents,), ""),
        )
    ]
    assert set(counted) == {18}


def test_the_kind_that_is_named_holds(tmp_path: Path) -> None:
    request = write(tmp_path / "request.json", body())
    assert row(*MODEL, "--as", "text", request)["counted_tokens"] > 18
    assert row(*MODEL, "--as", "requests", request)["calls"] == 1
    refused = keledger("estimate", *MODEL, "--as", "request", "--text", TEXT)
    assert (refused.status, refused.complaint[:20]) == (1, "--text is no JSON: E")


def test_json_that_is_no_request_is_a_text(tmp_path: Path) -> None:
    data = write(tmp_path / "data.json", {"temperature": 20, "city": "Oslo"})
    assert row(*MODEL, data)["counted_tokens"] == row(*MODEL, "--text", Path(data).read_text("utf-8"))["counted_tokens"]


def test_the_model_of_the_request() -> None:
    assert row(given=json.dumps(body(model="gpt-4o-mini")))["model"] == "gpt-4o-mini"
    assert row(*MODEL, given=json.dumps(body(model="gpt-4o-mini")))["model"] == "gpt-5-mini"


def test_tools_and_instructions_count() -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    plain, full = (row(*MODEL, given=json.dumps(each)) for each in (body(), body(tools=tools, system="Be brief.")))
    assert full["counted_tokens"] > plain["counted_tokens"] + 22


def test_a_fifo(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(TEXT,))
    writer.start()
    assert row(*MODEL, str(path))["counted_tokens"] == 18
    writer.join()


@pytest.mark.parametrize(
    "text",
    [
        "<|endoftext|><|im_start|>system",
        "a\u2028 \x0b \x1c",
        "e\u0301 " * 40,
        "\U0001f468‍\U0001f469‍\U0001f467",
        "a" * 50_000,
    ],
    ids=["special", "separators", "combining", "joined", "long"],
)
def test_texts_that_are_unusual(text: str) -> None:
    assert row(*MODEL, given=text)["counted_tokens"] > 9


def test_a_lone_surrogate_in_a_request() -> None:
    assert row(*MODEL, given='{"messages":[{"role":"user","content":"a\\ud800b"}]}')["counted_tokens"] > 9


def png(width: int, height: int) -> str:
    """The beginning of a PNG, as a data URL."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return "data:image/png;base64," + base64.b64encode(content).decode()


def test_an_image_of_known_and_of_unknown_size() -> None:
    def of(url: str) -> dict[str, Any]:
        parts = [{"type": "text", "text": TEXT}, {"type": "image_url", "image_url": {"url": url}}]
        return row("-m", "openai/gpt-4o", given=json.dumps({"messages": [{"role": "user", "content": parts}]}))

    known, large, linked = of(png(512, 512)), of(png(2048, 2048)), of("https://example.org/whale.png")
    assert known["notes"] == large["notes"] == []
    assert large["counted_tokens"] > known["counted_tokens"] > 200
    (note,) = linked["notes"]
    assert note.startswith("image 1 is a link, so its size is unknown: counted as ")
    assert linked["input_tokens"]["p5"] < known["input_tokens"]["p50"] < linked["input_tokens"]["p95"]


# What prices and answers hang on


def test_the_longest_answer() -> None:
    assert row(*MODEL, given=json.dumps(body(max_tokens=77)))["output_tokens"]["max"] == 77
    asked = row(*MODEL, "--max-output-tokens", "10", "--text", TEXT)
    assert asked["output_tokens"] == {"p50": 10, "p90": 10, "max": 10, "basis": "prior", "calls": 0}
    assert asked["cost_usd"]["max"] == asked["cost_usd"]["p90"] == "0.00002525"
    several = row(*MODEL, given=json.dumps(body(n=3, max_tokens=10)))
    assert several["output_tokens"]["max"] == several["output_tokens"]["p50"] == 30
    together = row(*MODEL, "--calls", "2", given=json.dumps(body(n=3, max_tokens=10)))
    assert together["output_tokens"]["p50"] == together["output_tokens"]["max"] == 60


def test_the_terms_of_a_price() -> None:
    standard = row(*MODEL, "--text", TEXT)["cost_usd"]["p50"]
    assert standard == "0.0005085"
    for given, arguments in (
        (body(), ("--context", "processing=batch")),
        (body(service_tier="flex"), ()),
        (body(), ("--context", "service_tier=flex")),
        (body(service_tier="priority"), ("--context", "service_tier=flex")),
    ):
        assert row(*MODEL, *arguments, given=json.dumps(given))["cost_usd"]["p50"] == "0.00025425"
    assert row(*MODEL, given=json.dumps(body(service_tier="default")))["cost_usd"]["p50"] == standard
    unpriced = row(*MODEL, "--context", "processing=dreamt", "--text", TEXT)
    assert unpriced["cost_state"] == "unpriced"
    assert unpriced["cost_usd"] == {"p50": None, "p90": None, "max": None}
    assert unpriced["notes"] == ["the price book has no price of gpt-5-mini with processing=dreamt"]


def test_a_tier_that_only_the_large_end_of_the_range_reaches() -> None:
    """Gemini 2.5 Pro costs 1.25 and 10 USD a million up to 200,000 tokens of input, 2.50 and 15 above."""
    told = row("-m", "google/gemini-2.5-pro", "--max-output-tokens", "1", given="whale " * 180_000)
    taken = told["input_tokens"]
    assert taken["p50"] < 200_000 < taken["p95"]
    assert told["cost_usd"]["p50"] == pico(taken["p50"] * 1_250_000 + 10_000_000)
    assert told["cost_usd"]["p90"] == pico(taken["p95"] * 2_500_000 + 15_000_000)


def pico(amount: int) -> str:
    """Picodollars as USD."""
    return f"{amount // 10**12}.{amount % 10**12:012d}".rstrip("0")


@pytest.mark.parametrize("arguments", [(), ("--calls", "9"), ("--context", "processing=dreamt")])
def test_embeddings_have_no_answer(arguments: Sequence[str]) -> None:
    told = row("-m", "openai/text-embedding-3-small", *arguments, given=json.dumps({"input": TEXT}))
    assert (told["output_tokens"]["p50"], told["output_tokens"]["p90"], told["output_tokens"]["max"]) == (0, 0, 0)
    if not arguments:
        assert told["counted_tokens"] == 9
        assert set(told["cost_usd"].values()) == {"0.00000018"}


def test_more_than_the_context_window_has() -> None:
    (note,) = row("-m", "openai/gpt-4o", given="whale " * 130_000)["notes"]
    assert note == "that is more than the context window of gpt-4o has: 128,000 tokens"


# What is learned


def test_an_estimate_is_learned_from_when_its_call_is_recorded(home: Home) -> None:
    asked = (*MODEL, "--prompt", "whales", "--prompt-version", "1", "--text", TEXT)
    for _ in range(2):
        call(recorded(*asked), 36, 70, prompt="whales", prompt_version="1")
    with Ledger.open(home.path) as ledger:
        event_id = recorded(*asked)
        facts = {"provider": "openai", "model": "gpt-5-mini", "prompt": "whales", "prompt_version": "1"}
        with ledger.call(**facts, estimate_id=event_id) as answered:
            answered.complete({"usage": {"prompt_tokens": 36, "completion_tokens": 70}})
    told = row(*asked)
    assert told["input_tokens"]["basis"] == told["output_tokens"]["basis"] == "prompt"
    assert told["input_tokens"]["calls"] == told["output_tokens"]["calls"] == 3
    assert 30 < told["input_tokens"]["p50"] <= 36
    assert told["method"] == f"tiktoken:o200k_base*{told['input_tokens']['p50'] / 18:.2f} (n=3)"
    assert told["input_tokens"]["p5"] <= 36 <= told["input_tokens"]["p95"]
    out = keledger("estimate", "--pretty", *asked).out
    assert "(n=3), learned from 3 calls of this prompt; output learned from 3 calls of this prompt." in out

    other = row(*MODEL, "--prompt", "whales", "--prompt-version", "2", "--text", TEXT)
    assert (other["input_tokens"]["basis"], other["input_tokens"]["calls"]) == ("model", 3)
    assert other["output_tokens"]["basis"] == "prior"  # three answers say too little of a model
    assert other["notes"] == ["no answered call of prompt whales, version 2, with this model is journaled"]
    newest = row(*MODEL, "--prompt", "whales", "--text", TEXT)
    assert newest["input_tokens"] == told["input_tokens"]
    proxied = row("-m", "anthropic/claude-haiku-4-5", "--prompt", "whales", "--text", TEXT)
    assert proxied["input_tokens"]["basis"] == "prior"
    assert proxied["method"].startswith("proxy:o200k_base*")


def test_the_calls_of_a_model_say_what_is_told_of_a_new_prompt() -> None:
    for number in range(9):
        call(recorded(*MODEL, "--text", TEXT), 27, 100 + number)
    told = row(*MODEL, "--prompt", "new", "--text", TEXT)
    assert (told["input_tokens"]["basis"], told["input_tokens"]["calls"]) == ("model", 9)
    assert (told["output_tokens"]["basis"], told["output_tokens"]["calls"]) == ("model", 9)
    assert 23 <= told["input_tokens"]["p50"] <= 27
    assert told["output_tokens"]["p50"] == 104
    assert ", learned from 9 calls of this model; output learned from 9 calls of this model." in (
        keledger("estimate", "--pretty", *MODEL, "--text", TEXT).out
    )
    many = row(*MODEL, "--calls", "20", "--text", TEXT)
    assert (many["input_tokens"]["basis"], many["input_tokens"]["calls"]) == ("model", 9)
    assert many["method"].endswith("(n=9)")


def test_calls_that_name_no_estimate_teach_answers_alone() -> None:
    call(prompt="whales")
    out = keledger("estimate", "--pretty", *MODEL, "--prompt", "whales", "--text", TEXT).out
    assert out.endswith(
        "\nInput counted by tiktoken:o200k_base, with no call yet to learn from that names its estimate; "
        "output learned from 1 call of this prompt.\n"
    )


def test_a_cache_that_past_calls_had_lowers_what_is_usual_alone() -> None:
    costs = []
    for version, usage in (("plain", {"input_uncached": 18}), ("cached", {"input_uncached": 9, "cache_read": 9})):
        facts = {"prompt": "p", "prompt_version": version, "usage": usage | {"output_text": 20}}
        for _ in range(3):
            call(**facts)
        told = row(*MODEL, "--prompt", "p", "--prompt-version", version, "--text", TEXT)
        costs.append((told["input_tokens"]["cached"], told["cost_usd"]))
    (none, plain), (half, cheaper) = costs
    assert (none, half) == (0, 9)
    assert float(plain["p50"]) - float(cheaper["p50"]) == pytest.approx(9 * 0.225e-6)
    assert (plain["p90"], plain["max"]) == (cheaper["p90"], cheaper["max"])


def test_an_estimate_that_was_wrong_lately_says_so() -> None:
    asked = (*MODEL, "--prompt", "drifting", "--prompt-version", "1", "--text", TEXT)
    event_id = recorded(*asked)
    usages = [18] * 20 + [60] * 5
    calls = [
        {
            "provider": "openai", "model": "gpt-5-mini", "prompt": "drifting", "prompt_version": "1",
            "estimate_id": event_id, "usage": {"input_uncached": taken, "output_text": 5},
        }
        for taken in usages
    ]  # fmt: skip
    assert keledger("record", given=json_lines(*calls)).status == 0
    (note,) = row(*asked)["notes"]
    assert note == "5 of the last 10 calls were outside of the range estimated for them"
    for many in ((), ("--calls", "3")):
        assert f"\n{note.capitalize()}.\n" in keledger("estimate", "--pretty", *asked, *many).out


def test_a_model_without_a_price_is_told_in_tokens_once_it_was_called() -> None:
    refused = keledger("estimate", "-m", "acme/unheard-of", "--text", TEXT)
    assert (refused.status, refused.complaint) == (
        1,
        (
            "acme/unheard-of has no price here, for no rule says which model it is; "
            "keledger prices set PROVIDER/MODEL --input 0.25 --output 2 gives a model a price"
        ),
    )
    call(provider="acme", model="unheard-of")
    for name in ("acme/unheard-of", "unheard-of"):
        told = row("-m", name, "--text", TEXT)
        assert (told["provider"], told["model"], told["cost_state"]) == ("acme", "unheard-of", "unpriced")
        assert told["method"] == "proxy:o200k_base*1.12 (n=0)"
        assert told["notes"] == ["the price book has no price of unheard-of for input_uncached, output_text"]
    assert "?" in keledger("estimate", "--pretty", "-m", "unheard-of", "--text", TEXT).out
    assert row("-m", "unheard-of", "--calls", "4", "--text", TEXT)["cost_usd"] == {
        "p50": None,
        "p90": None,
        "max": None,
    }


# Many calls


MANY_KEYS = [
    "provider", "model", "calls", "method", "counted_tokens", "input_tokens", "output_tokens", "cost_usd",
    "cost_per_call_usd", "cost_state", "notes",
]  # fmt: skip


def test_so_many_calls_of_one_kind() -> None:
    one = row(*MODEL, "--text", TEXT)
    told = row(*MODEL, "--calls", "500", "--text", TEXT)
    assert list(told) == MANY_KEYS
    assert (told["calls"], told["counted_tokens"], told["method"]) == (500, 9_000, "tiktoken:o200k_base")
    p50, p90, most = (float(told["cost_usd"][name]) for name in ("p50", "p90", "max"))
    assert 500 * float(one["cost_usd"]["p50"]) < p50 < p90 < most
    assert told["cost_usd"]["max"] == "128.002625"
    assert float(told["cost_per_call_usd"]["p90"]) == pytest.approx(p90 / 500)
    assert told == row(*MODEL, "--calls", "500", "--text", TEXT), "the same calls have the same estimate each time"


def test_the_sum_is_not_so_many_times_the_high_end_of_one() -> None:
    calls = [
        {
            "provider": "openai",
            "model": "gpt-5-mini",
            "prompt": "p",
            "usage": {"input_uncached": 18, "output_text": each},
        }
        for each in (10, 20, 40, 1000) * 10
    ]
    assert keledger("record", given=json_lines(*calls)).status == 0
    one = row(*MODEL, "--prompt", "p", "--text", TEXT)
    many = row(*MODEL, "--prompt", "p", "--calls", "500", "--text", TEXT)
    assert one["output_tokens"]["p90"] == 1000
    assert many["output_tokens"]["p90"] < 0.5 * 500 * 1000
    assert many["output_tokens"]["p50"] == pytest.approx(500 * 267.5, rel=0.15)


def test_a_billion_calls_and_one_more() -> None:
    told = row(*MODEL, "--calls", "1000000000", "--text", TEXT)
    assert told["counted_tokens"] == 18 * 10**9
    for wrong in ("0", "-1", "1000000001", "many"):
        refused = keledger("estimate", *MODEL, "--calls", wrong, "--text", TEXT)
        assert refused.status == 2
        assert "--calls" in refused.complaint


def test_a_list_of_requests(tmp_path: Path) -> None:
    path = write(tmp_path / "requests.jsonl", body(), body(TEXT * 3), body())
    told = row(*MODEL, path)
    assert (told["calls"], told["counted_tokens"]) == (3, 18 + 36 + 18)
    assert row(*MODEL, "--calls", "10", path)["calls"] == 30
    assert row(*MODEL, "-", given=Path(path).read_text("utf-8"))["calls"] == 3
    out = keledger("estimate", "--pretty", *MODEL, path).out
    assert out.splitlines()[1].split("  ")[-1].strip() == "Per call"


def test_batch_files_as_providers_take_them(tmp_path: Path) -> None:
    openai = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body(model="gpt-5-mini")}
    anthropic = {"custom_id": "b", "params": body(model="claude-haiku-4-5", max_tokens=10)}
    path = write(tmp_path / "mixed.jsonl", openai, anthropic, openai)
    outcome = keledger("estimate", path)
    (told,) = outcome.json["rows"]
    assert (told["provider"], told["model"], told["calls"]) == (None, None, 3)
    assert told["method"] == "tiktoken:o200k_base, proxy:o200k_base*1.19 (n=0)"
    assert told["output_tokens"]["max"] == 2 * 128_000 + 10
    assert "2 models" in keledger("estimate", "--pretty", path).out
    compared = keledger("estimate", "-m", "gpt-5-mini,claude-haiku-4-5,openai/gpt-5-mini", path).json["rows"]
    assert [(each["model"], each["calls"]) for each in compared] == [("gpt-5-mini", 3), ("claude-haiku-4-5", 3)]


def test_what_ends_a_line_elsewhere_does_not_end_one_of_a_list(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    lines = [json.dumps(body(f"one{mark}two"), ensure_ascii=False) for mark in ("\u2028", "\x85", "\u2029")]
    path.write_bytes("\r\n\r\n".join(["", *lines, ""]).encode())
    assert row(*MODEL, str(path))["calls"] == 3


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 2 is no JSON: Expecting property name"),
        ("[]", "line 2 is no request: write a JSON object with messages, contents or input"),
        ("7", "line 2 is no request: "),
        ('{"messages":[]}', "line 2: there is nothing to count: the prompt is empty"),
        ('{"a":1}', "line 2: the request has none of messages, contents, input and prompt"),
        ('{"messages":5}', "line 2: messages of the request is of the type int"),
        ('{"messages":[{"role":"user","content":"x"}],"top_p":NaN}', "line 2 is no JSON: NaN is no number in JSON"),
        ("[" * 100_000, "line 2 is nested too deeply to be a request"),
        (json.dumps(body()).replace('"Tell', '"Tell \x00'), "line 2 is no JSON: Invalid control character"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(f"{json.dumps(body())}\n{line}\n", encoding="utf-8")
    if "\x00" in line:
        path.write_text(f"{json.dumps(body())}\n{line.replace(chr(0), chr(1))}\n", encoding="utf-8")
    refused = keledger("estimate", *MODEL, str(path))
    assert refused.status == 1
    assert refused.complaint.startswith(f"{path} {complaint}")


def test_a_line_whose_model_nobody_knows(tmp_path: Path) -> None:
    path = write(tmp_path / "requests.jsonl", body(model="gpt-5-mini"), body(model="gpt-5-mimi"), body())
    refused = keledger("estimate", path)
    assert refused.status == 1
    assert refused.complaint.startswith(f"{path} line 2: gpt-5-mimi has no price here")
    assert "did you mean openai/gpt-5-mini" in refused.complaint


# Recording


def test_what_is_recorded(home: Home) -> None:
    outcome = keledger("estimate", *MODEL, "--prompt", "p", "--calls", "7", "--text", TEXT, "--record")
    assert outcome.status == 0
    assert outcome.err == ""
    (event_id,) = outcome.json["recorded"]
    with open_projection(home) as projection:
        ((*told,),) = [tuple(each.values()) for each in run_sql(
            projection, "SELECT id, origin, prompt, calls, counted_tokens, method FROM estimates"
        ).rows]  # fmt: skip
    assert told == [event_id, "command", "p", 7, 126, "tiktoken:o200k_base"]
    shown = keledger("estimate", "--pretty", *MODEL, "--text", TEXT, "--record")
    assert re.search(r"^keledger: journaled as [0-9a-f-]{36}: a call that names it", shown.err)


def test_a_mixed_list_is_recorded_by_model(tmp_path: Path, home: Home) -> None:
    path = write(tmp_path / "mixed.jsonl", body(model="gpt-5-mini"), body(model="gpt-4o"), body(model="gpt-4o"))
    assert len(keledger("estimate", path, "--record").json["recorded"]) == 2
    rows = keledger("sql", "SELECT model, calls FROM estimates ORDER BY model").json["rows"]
    assert [(each["model"], each["calls"]) for each in rows] == [("gpt-4o", 2), ("gpt-5-mini", 1)]


def test_what_is_too_large_to_be_journaled_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "many.jsonl", *[body()] * 80)  # each may be answered with 128,000 tokens
    outcome = keledger("estimate", *MODEL, "--calls", "1000000000", path, "--record")
    assert (outcome.status, outcome.out) == (1, "")
    assert "9007199254740991" in outcome.complaint


def test_without_record_nothing_is_written(used: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    before = truth(used)
    assert keledger("estimate", *MODEL, "--text", TEXT).err == ""
    assert truth(used) == before


# What is wrong


@pytest.mark.parametrize(
    ("arguments", "given", "status", "complaint"),
    [
        ((*MODEL, "--text", ""), b"", 1, "--text is empty: give a text, a request as JSON, or requests one a line"),
        ((*MODEL,), b"", 1, "stdin is empty: "),
        ((*MODEL,), b" \r\n\t", 1, "stdin holds nothing but white space: "),
        ((*MODEL,), b"\xef\xbb\xbf", 1, "stdin is empty: "),
        ((*MODEL,), b"a\0b", 1, "stdin is a binary file, not a text: "),
        ((*MODEL,), "whale".encode("utf-16"), 1, "stdin is not in UTF-8 but, as it begins, in UTF-16: "),
        ((*MODEL,), b"wh\xe9le", 1, "stdin is no text in UTF-8 (byte 2 is no part of any character): "),
        ((*MODEL,), b'{"messages":[]}', 1, "there is nothing to count: the prompt is empty"),
        ((*MODEL,), b'{"messages":null}', 1, "the request has none of messages"),
        ((*MODEL,), b'{"messages":"' + b"[" * 5 + b'"}x', 0, ""),
        ((*MODEL,), b'{"messages":' + b"[" * 100_000, 1, "stdin is nested too deeply to be a request; --as text"),
        ((*MODEL,), b'{"messages":' + b"[" * 99 + b"]" * 99 + b"}", 1, "the request is nested deeper than 64 levels"),
        ((*MODEL, "--as", "request"), b"{}", 1, "the request has none of messages"),
        ((*MODEL, "--as", "request"), b"[1]", 1, "stdin is no request: write a JSON object"),
        ((*MODEL, "--as", "request"), b'{"input":' + b"9" * 5000 + b"}", 1, "stdin is no JSON: "),
        ((), TEXT.encode(), 2, "no model is named: give --model"),
        (("-m", ","), TEXT.encode(), 2, "Invalid value for --model: it names no model"),
        (("-m", "gpt-5-mimi"), TEXT.encode(), 1, "gpt-5-mimi has no price here"),
        (("-m", "nobody/nothing-like-it-xyzzy"), TEXT.encode(), 1, "nobody/nothing-like-it-xyzzy has no price here"),
        (("-m", "llama-4-scout"), TEXT.encode(), 1, "llama-4-scout has "),
        ((*MODEL, "--context", "batch"), TEXT.encode(), 2, "Invalid value for --context: 'batch' is no context"),
        ((*MODEL, "--prompt-version", "1"), TEXT.encode(), 2, "--prompt-version needs --prompt"),
        ((*MODEL, "--set", "a=b"), TEXT.encode(), 2, "--set gives values to a KePrompt prompt"),
        ((*MODEL, "--max-output-tokens", "0"), TEXT.encode(), 2, "Invalid value for '--max-output-tokens'"),
        ((*MODEL, "--text", "a", "b"), b"", 2, "--text and a file exclude each other"),
    ],
)  # fmt: skip
def test_one_line_says_what_is_wrong(
    home: Home, arguments: Sequence[str], given: bytes, status: int, complaint: str
) -> None:
    outcome = keledger("estimate", *arguments, given=given)
    assert outcome.status == status, outcome.err
    if status:
        assert outcome.complaint.startswith(complaint)
        assert outcome.out == ""
    assert not home.path.exists()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert keledger("estimate", *MODEL, str(tmp_path)).complaint == f"{tmp_path}: Is a directory"
    missing = str(tmp_path / "missing")
    assert keledger("estimate", *MODEL, missing).complaint == f"{missing}: No such file or directory"
    broken = tmp_path / "broken.json"
    broken.write_text('{"messages": [', encoding="utf-8")
    refused = keledger("estimate", *MODEL, str(broken))
    assert refused.complaint.startswith(f"{broken} is no JSON: ")
    assert refused.complaint.endswith("--as text counts it as it stands")
    assert row(*MODEL, "--as", "text", str(broken))["counted_tokens"] == 13


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_others_own(tmp_path: Path) -> None:
    path = tmp_path / "closed.txt"
    path.write_text(TEXT, encoding="utf-8")
    path.chmod(0)
    assert keledger("estimate", *MODEL, str(path)).complaint == f"{path}: Permission denied"


def test_stdin_that_is_closed() -> None:
    outcome = keledger_process("estimate", *MODEL, prefix=("sh", "-c", 'exec "$@" <&-', "sh"))
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.complaint.startswith("stdin is empty: ")


def test_a_damaged_journal_is_told_and_still_answers(used: Home) -> None:
    forge(used, "estimate.made", {"calls": "many"})
    path = used.segments(used.writers()[0])[-1]
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"gpt-5-mini", b"gpt-5-mono")
    path.write_bytes(b"".join(lines))
    outcome = keledger("estimate", *MODEL, "--prompt", "hello", "--text", TEXT)
    assert outcome.status == 0
    shown = outcome.json
    assert shown["findings"]
    assert shown["rows"][0]["output_tokens"]["calls"] == 1
    assert outcome.err


# How it works


NO_SOCKETS = """\
import socket, sys
def refuse(*_args, **_named):
    raise AssertionError("a socket")
for name in ("socket", "create_connection", "socketpair", "getaddrinfo", "gethostbyname", "create_server"):
    setattr(socket, name, refuse)
from keledger.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_without_any_network() -> None:
    arguments = ("estimate", "-m", "gpt-5-mini,claude-haiku-4-5,gpt-4", "--text", TEXT, "--json")
    done = subprocess.run(
        [sys.executable, "-c", NO_SOCKETS, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    assert [each["method"] for each in json.loads(done.stdout)["rows"]] == [
        "tiktoken:o200k_base", "proxy:o200k_base*1.19 (n=0)", "tiktoken:cl100k_base",
    ]  # fmt: skip


MEASURED = """\
import resource, sys
from keledger.cli.main import main
status = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024), file=sys.stderr)
sys.exit(status)
"""


def measured(path: str) -> tuple[Outcome, int]:
    """What a process made of a file, and how many bytes it took at most."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "estimate", *MODEL, "--json", path],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr), int(done.stderr.splitlines()[-1])


@pytest.mark.parametrize("suffix", ["txt", "json"])
def test_ten_megabytes_are_held_twice_and_no_more(tmp_path: Path, suffix: str) -> None:
    """The file as it is read, and its text; nothing else of that size."""
    peaks = []
    for name, times in (("small", 1), ("large", 10_000)):
        text = "def eat(whale, krill_kg=3.5):\n    return whale.mass / krill_kg  # 17 % of it\n" * 13 * times
        path = tmp_path / f"{name}.{suffix}"
        path.write_text(text if suffix == "txt" else json.dumps(body(text)), encoding="utf-8")
        outcome, peak_bytes = measured(str(path))
        peaks.append(peak_bytes)
        assert outcome.json["rows"][0]["counted_tokens"] > 200 * times
    assert peaks[1] - peaks[0] < (2.5 if suffix == "txt" else 4) * 10_000_000


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("max_tokens", -4, "max_tokens is -4: the longest answer allowed is a number from 1 on"),
        ("max_completion_tokens", "many", 'max_completion_tokens is "many": the longest answer'),
        ("max_output_tokens", True, "max_output_tokens is true: the longest answer"),
        ("tools", "x", "tools is no list: write a list of definitions, or leave it out"),
    ],
)
def test_a_field_that_no_provider_would_take(tmp_path: Path, field: str, value: object, complaint: str) -> None:
    path = tmp_path / "request.json"
    path.write_text(json.dumps({"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hi"}], field: value}))
    refused = keledger("estimate", str(path))
    assert (refused.status, refused.out) == (1, "")
    assert complaint in refused.complaint


def test_an_empty_name_of_a_prompt_is_none() -> None:
    assert keledger("estimate", *MODEL, "--prompt", " ", "--text", TEXT).status == 2
