"""Usage: what providers say they billed, brought to buckets that do not overlap.

:func:`extract_response` takes the usage object out of a response, :func:`normalize` turns it into
buckets, :func:`token_totals` sums these to OpenTelemetry's five token counts.  Nothing here prices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from . import _v1
from ._buckets import load_buckets, token_totals
from ._formats import detect_format
from ._providers import provider_name
from ._response import extract_response
from ._types import Bucket, Normalized, ResponseFacts, TokenTotals
from ._v1_reading import CONTEXT_FIELDS, pricing_context

__all__ = [
    "BUCKETS",
    "CONTEXT_FIELDS",
    "NORMALIZER_VERSION",
    "USAGE_FORMATS",
    "Bucket",
    "Normalized",
    "ResponseFacts",
    "TokenTotals",
    "detect_format",
    "extract_response",
    "normalize",
    "pricing_context",
    "provider_name",
    "token_totals",
]

# The version that new calls are counted with.
NORMALIZER_VERSION = 1

# Every released version stays: a reprice counts a call again only where its version is not the newest,
# and a replay must be able to tell what an old one said.
_VERSIONS: Mapping[int, Callable[[Mapping[str, object], str], Normalized]] = MappingProxyType({1: _v1.normalize})

# The formats the newest version reads.
USAGE_FORMATS: frozenset[str] = frozenset(_v1.FORMATS)

# The table of buckets by name, in the order of data/buckets.toml; read at first use.
BUCKETS: Mapping[str, Bucket]


def normalize(usage_raw: Mapping[str, object], usage_format: str, *, version: int = NORMALIZER_VERSION) -> Normalized:
    """Turn a provider's usage object into buckets that do not overlap.

    ``usage_raw`` is the object as the provider sent it, parsed from JSON; ``usage_format`` one of
    :data:`USAGE_FORMATS`, see :func:`detect_format`.  No content raises: what is not a count between 0
    and 2**53-1 is noted and passed over, an unknown format gives a result that is not readable.

    Raises ValueError for a version that this release does not have.
    """
    try:
        count = _VERSIONS[version]
    except KeyError:
        known = ", ".join(map(str, _VERSIONS))
        raise ValueError(
            f"usage was counted by normaliser version {version!r}, this release has {known}: upgrade keledger"
        ) from None
    return count(usage_raw, usage_format)


def __getattr__(name: str) -> Mapping[str, Bucket]:
    if name == "BUCKETS":
        return load_buckets()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
