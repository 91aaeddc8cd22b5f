"""How many tokens of input a request has, told before it is sent: counted, with what its provider adds to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from ._counting import count_bytes, count_text
from ._families import Prior, load_priors, prior_of
from ._image_size import image_size
from ._images import Range, image_tokens, is_listed
from ._request import Image, Read, read_request
from ._vocabularies import load_vocabulary

HEURISTIC = "heuristic:bytes/4"


class Counted(NamedTuple):
    """The tokens of a request, and how sure that is.

    ``tokens`` times ``ratio`` is the median of what to expect, that times ``least`` and ``most`` the 5th and the 95th
    percentile, before anything was learned from calls.  ``notes`` are sentences on what was assumed or left out.
    """

    tokens: int
    """Text by the vocabulary, what the provider adds, and images.  The last two are in tokens of the provider's own, so
    they are divided by ``ratio`` first and whole again in the median; at a ratio of 1 it is a plain sum."""
    method: str
    """``tiktoken:o200k_base`` (the model's own vocabulary), ``proxy:o200k_base`` or ``heuristic:bytes/4``."""
    ratio: float
    least: float
    most: float
    notes: tuple[str, ...]


def count_prompt(text: str, *, provider: str, model: str) -> Counted:
    """Count a text as the one message of a user.  Raises InputRefused where it is empty."""
    return count_request(text, provider=provider, model=model)


def count_request(request: object, *, provider: str, model: str) -> Counted:
    """Count a request: the body that is sent, the arguments of a provider's Python library, or a text.

    Nothing is sent and nothing is downloaded.  Raises InputRefused where the request has none of the known forms
    (OpenAI's chat completions, responses and embeddings, Anthropic's messages, Gemini's generateContent), or is empty.
    """
    read = read_request(request)
    prior = prior_of(provider, model)
    notes: list[str] = []
    has_vocabulary = load_vocabulary(prior.vocabulary) is not None
    if not has_vocabulary:
        notes.append(f"the vocabulary {prior.vocabulary} is not on this machine: four bytes were taken for a token")
    text = _count(read.texts, prior)
    written_again = _count((*read.definitions, *read.schemas), prior)
    images = _count_images(read.images, model, notes)
    notes += _left_out(read)

    priors = load_priors()
    added = prior.request + prior.message * read.messages + prior.tool * len(read.definitions)
    added += prior.tools if read.definitions else 0
    in_own_tokens = added + read.token_ids + images.likely
    tokens = max(1, round(text + written_again + in_own_tokens / prior.ratio))
    median = tokens * prior.ratio

    def bound(factor: float, bytes_factor: float, overhead_factor: float, of_images: int) -> float:
        of_text = prior.ratio * factor * (1.0 if has_vocabulary else bytes_factor)
        again = overhead_factor * (of_text * written_again + added)
        return (of_text * text + again + read.token_ids + of_images) / median

    return Counted(
        tokens=tokens,
        method=_method(prior) if has_vocabulary else HEURISTIC,
        ratio=prior.ratio,
        least=min(1.0, bound(prior.least, priors.bytes[0], priors.overhead[0], images.least)),
        most=max(1.0, bound(prior.most, priors.bytes[1], priors.overhead[1], images.most)),
        notes=tuple(notes),
    )


def _method(prior: Prior) -> str:
    return f"{'tiktoken' if prior.exact else 'proxy'}:{prior.vocabulary}"


def _count(texts: Iterable[str], prior: Prior) -> int:
    if load_vocabulary(prior.vocabulary) is None:
        return sum(count_bytes(text) for text in texts)
    return sum(count_text(text, prior.vocabulary) for text in texts)


def _count_images(images: tuple[Image, ...], model: str, notes: list[str]) -> Range:
    least = likely = most = 0
    for number, image in enumerate(images, 1):
        size = image_size(image.data) if image.data is not None else None
        found = image_tokens(model, size, image.detail)
        if size is None and is_listed(model) and found.least < found.most:
            where = "unreadable" if image.data is not None else image.where
            notes.append(
                f"image {number} is {where}, so its size is unknown: "
                f"counted as {found.least:,} to {found.most:,} tokens"
            )
        least, likely, most = least + found.least, likely + found.likely, most + found.most
    if images and not is_listed(model):
        notes.append(
            f"how this model counts images is not known: each counted as {found.least:,} to {found.most:,} tokens"
        )
    return Range(least, likely, most)


def _left_out(read: Read) -> list[str]:
    """A sentence for each kind of what the model reads and nobody can count from here."""
    return [
        f"not counted: {kind}" + (f" ({many} times)" if many > 1 else "") for kind, many in Counter(read.others).items()
    ]
