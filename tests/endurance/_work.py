"""One appending process: its share of calls, deterministic by key, in batches of random size."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from keledger.journal import Ledger

BATCHES = ((70, 1, 1), (20, 2, 50), (9, 50, 500), (1, 1000, 3000))
"""Weight, fewest, most events: mostly single calls, now and then a write of megabytes, which a kill can tear."""


def key_of(worker: int, number: int) -> str:
    """The caller's key of a call: the same at every try."""
    return f"{worker}:{number}"


def tokens_of(worker: int, number: int) -> tuple[int, int]:
    """Input and output tokens of a call."""
    return 1 + (number * 7919 + worker) % 4001, 1 + (number * 104_729 + worker) % 997


def call_of(worker: int, number: int) -> dict[str, Any]:
    """The call as ``record`` takes it."""
    tokens_in, tokens_out = tokens_of(worker, number)
    return {
        "id": key_of(worker, number),
        "provider": "openai",
        "model": "gpt-5-mini",
        "time": f"2026-11-{1 + number % 20:02d}T{worker % 24:02d}:00:00Z",
        "session": f"worker {worker}",
        "usage": {"input_uncached": tokens_in, "output_text": tokens_out},
    }


def acknowledged(told: Path) -> int:
    """How many calls of its share a worker was told to be durable: the last whole line of its file."""
    try:
        lines = told.read_bytes().split(b"\n")
    except FileNotFoundError:
        return 0
    return int(lines[-2]) if len(lines) > 1 else 0


def work(home: Path, told: Path, worker: int, share: int, seed: str) -> None:
    """Append from the first call that is not acknowledged on; note after each append how far that was."""
    sizes = random.Random(seed)
    descriptor = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with Ledger.open(home) as ledger:
        done = acknowledged(told)
        while done < share:
            (_, fewest, most) = sizes.choices(BATCHES, [weight for weight, *_ in BATCHES])[0]
            upto = min(share, done + sizes.randint(fewest, most))
            ledger.record_many([call_of(worker, number) for number in range(done, upto)])
            os.write(descriptor, b"%d\n" % upto)  # a killed process loses nothing that write(2) took
            done = upto
