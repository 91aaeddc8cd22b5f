"""The package's door, its table of buckets, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from keledger.journal import usage
from keledger.journal.usage import BUCKETS, TokenTotals, token_totals

# The line format's buckets: they may grow, but none may go or change its side or unit.
LINE_FORMAT = {
    "tokens input": "input_uncached cache_read cache_write_5m cache_write_1h input_audio cache_read_audio"
    " input_image input_video",
    "tokens output": "output_text output_reasoning output_audio output_image output_video",
    "ms input": "input_audio_ms",
    "pages input": "input_pages",
    "chars input": "input_chars",
    "searches none": "web_searches file_searches",
    "requests none": "requests",
}


def test_the_door_offers_what_it_says() -> None:
    # Sorted as ruff does: constants, classes, functions.
    assert usage.__all__ == sorted(usage.__all__, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    for name in usage.__all__:
        assert getattr(usage, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'BUCKET'"):
        usage.BUCKET  # noqa: B018  the point is that it raises


def test_every_bucket_of_the_line_format_is_in_the_table() -> None:
    for kind, names in LINE_FORMAT.items():
        for name in names.split():
            bucket = BUCKETS[name]
            assert (bucket.name, f"{bucket.unit} {bucket.side}") == (name, kind)


def test_the_table_holds_known_words_only() -> None:
    for bucket in BUCKETS.values():
        assert bucket.unit in {"tokens", "ms", "pages", "chars", "searches", "requests"}
        assert bucket.side in {"input", "output", "none"}
        assert bucket.modality in {"text", "audio", "image", "video", "document", "any", "none"}
    with pytest.raises(TypeError):
        BUCKETS["new"] = BUCKETS["requests"]  # type: ignore[index]


def test_token_totals_are_opentelemetrys() -> None:
    # Powers of ten, so that each sum tells its parts.
    counts = {name: 10**i for i, name in enumerate(name for name, b in BUCKETS.items() if b.unit == "tokens")}
    others = {name: 7 for name, bucket in BUCKETS.items() if bucket.unit != "tokens"}
    assert token_totals({**counts, **others, "a_bucket_of_the_future": 5}) == TokenTotals(
        input_tokens=11_111_111,
        output_tokens=11_111 * 10**8,
        cache_read_input_tokens=100_010,
        cache_creation_input_tokens=1_100,
        reasoning_output_tokens=10**9,
    )
    assert token_totals({}) == TokenTotals(0, 0, 0, 0, 0)


def test_the_import_loads_nothing_heavy() -> None:
    # A launcher waits for this import: no dataclasses (7 ms), no decimal, no resources, no table yet.
    code = (
        "import sys, types; journal = types.ModuleType('keledger.journal');"
        "import keledger; journal.__path__ = [sys.argv[1]]; sys.modules['keledger.journal'] = journal;"
        "import keledger.journal.usage;"
        "print(sorted({'dataclasses', 'decimal', 'tomllib', 'importlib.resources', 'pydantic', 'json',"
        " 'genai_prices', 'pathlib'} & set(sys.modules)))"
    )
    journal = usage.__file__.rpartition("usage")[0]
    run = subprocess.run([sys.executable, "-I", "-B", "-c", code, journal], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
