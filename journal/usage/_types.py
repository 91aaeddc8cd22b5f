"""What the usage package returns.

Named tuples, not dataclasses: importing :mod:`dataclasses` takes 7 ms, more than the rest of this
package, and whoever starts a model call waits for it.
"""

from __future__ import annotations

from typing import NamedTuple


class Bucket(NamedTuple):
    """One kind of quantity a call is billed for, as ``data/buckets.toml`` describes it.

    ``unit`` is ``tokens``, ``ms``, ``pages``, ``chars``, ``searches`` or ``requests``; ``side`` is
    ``input``, ``output`` or ``none``; ``modality`` is ``text``, ``audio``, ``image``, ``video``,
    ``document``, ``any`` or ``none``.
    """

    name: str
    unit: str
    side: str
    modality: str


class TokenTotals(NamedTuple):
    """OpenTelemetry's five token counts (``gen_ai.usage.*``).

    ``input_tokens`` includes cached tokens, ``output_tokens`` includes reasoning; the other three are
    parts of these two, not additions to them.
    """

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int
    reasoning_output_tokens: int


class Normalized(NamedTuple):
    """A provider's usage object in keledger's terms.

    ``usage`` maps buckets to counts between 1 and 2**53-1; buckets do not overlap, zeros are left out
    and ``requests`` is 1.  Where ``readable`` is false no token count could be read: ``usage`` is then
    empty and the call's usage is unknown, which is not the same as zero.

    ``notes`` says in fixed words what was odd: ``<field>:unreadable``, ``<part>><whole>`` for a part cut
    down to its whole, and so on; no word of it is taken from the content.

    ``reported_cost_usd`` is what the provider says the call cost, in plain decimals (no exponent, not
    rounded), or None.  ``pricing_context`` holds what changes the price: ``service_tier``,
    ``processing``, ``speed`` and ``region``, without the values that mean the standard price.
    """

    usage: dict[str, int]
    notes: tuple[str, ...]
    reported_cost_usd: str | None
    pricing_context: dict[str, str]
    readable: bool


class ResponseFacts(NamedTuple):
    """What keledger keeps of a provider's response; never the text of a message.

    ``usage`` is the usage object as plain JSON values, None where the response has none;
    ``usage_format`` is its format for :func:`normalize`, None where it can't be told.
    ``finish_reason`` is the provider's own word.  ``pricing_context`` comes from the response around
    the usage object; :class:`Normalized` holds what stands inside of it.
    """

    usage: dict[str, object] | None
    usage_format: str | None
    response_id: str | None
    response_model: str | None
    finish_reason: str | None
    pricing_context: dict[str, str]
