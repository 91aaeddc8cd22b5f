"""The table of buckets, and OpenTelemetry's totals over it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from ._types import Bucket, TokenTotals

_CACHE_READS = ("cache_read", "cache_read_audio")
_CACHE_WRITES = ("cache_write_5m", "cache_write_1h")


@cache
def load_buckets() -> Mapping[str, Bucket]:
    """Return the table in ``data/buckets.toml``, in its order; read when first asked for.

    The file is found by the path of the data package, because importlib.resources takes longer to
    import than the table to read.
    """
    import tomllib
    from pathlib import Path

    import keledger.data

    text = Path(keledger.data.__path__[0], "buckets.toml").read_text(encoding="utf-8")
    return MappingProxyType(
        {name: Bucket(name, row["unit"], row["side"], row["modality"]) for name, row in tomllib.loads(text).items()}
    )


@cache
def _token_buckets(side: str) -> tuple[str, ...]:
    return tuple(b.name for b in load_buckets().values() if b.unit == "tokens" and b.side == side)


def token_totals(usage: Mapping[str, int]) -> TokenTotals:
    """Return OpenTelemetry's five totals of a map of buckets.

    Only buckets in tokens count: seconds of sound, pages and searches are in none of the totals, nor is
    a bucket this release does not know.
    """

    def total(names: tuple[str, ...]) -> int:
        return sum(usage.get(name, 0) for name in names)

    return TokenTotals(
        input_tokens=total(_token_buckets("input")),
        output_tokens=total(_token_buckets("output")),
        cache_read_input_tokens=total(_CACHE_READS),
        cache_creation_input_tokens=total(_CACHE_WRITES),
        reasoning_output_tokens=usage.get("output_reasoning", 0),
    )
