"""Lines that somebody vouched for, an anchor or a merge: each still stands where it was, with its hash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ._home import Home
from ._line import stamps, stated_hash
from ._reader import Position, scan_journal
from ._segment import Finding
from ._verify_segment import SegmentCheck, fitting_lines


@dataclass(frozen=True, slots=True)
class Promised:
    """A line that was there once: the *seq*-th of *writer*."""

    writer: str
    seq: int
    hash: str
    """In hexadecimal, or how it begins."""
    by: str
    """Who says so, as the beginning of a sentence."""


class PromisedLines:
    """Looks promised lines up in what a pass has found to fit."""

    def __init__(self, home: Home, checks: Sequence[SegmentCheck], positions: Mapping[str, Position]) -> None:
        self._home, self._checks, self._positions = home, checks, positions
        self._last_seqs: dict[str, int] = {}
        for check in checks:
            self._last_seqs[check.writer] = max(check.highest_seq, self._last_seqs.get(check.writer, 0))

    def hashes(self, promises: Sequence[Promised]) -> dict[tuple[str, int], str]:
        """The hashes of the promised lines that are here, by writer and seq."""
        wanted = {(promise.writer, promise.seq) for promise in promises}
        found: dict[tuple[str, int], str] = {}
        for check in self._checks:
            if check.first is not None:
                seqs = {
                    seq
                    for writer, seq in wanted
                    if writer == check.writer and check.first.seq <= seq <= check.highest_seq
                }
                if seqs:
                    found |= {(check.writer, seq): digest for seq, digest in _stated(check, seqs)}
        late = {writer for writer, seq in wanted if seq > self._last_seq(writer)}
        for writer in late:
            found |= {key: digest for key, digest in self._since_then(writer) if key in wanted}
        return found

    def findings(self, promises: Sequence[Promised], hashes: Mapping[tuple[str, int], str]) -> list[Finding]:
        """Which of the promises are broken, and how."""
        return [finding for promise in promises if (finding := self._broken(promise, hashes)) is not None]

    def is_behind(self, promise: Promised, hashes: Mapping[tuple[str, int], str]) -> bool:
        """Whether the writer's lines here end before the promised one."""
        return (promise.writer, promise.seq) not in hashes and self._last_seq(promise.writer) < promise.seq

    def _broken(self, promise: Promised, hashes: Mapping[tuple[str, int], str]) -> Finding | None:
        folder = self._home.journal / promise.writer
        told = f"{promise.by} names line {promise.seq} of writer {promise.writer}"
        stated = hashes.get((promise.writer, promise.seq))
        if stated is not None:
            if stated.startswith(promise.hash):
                return None
            what = "its hash here is another: the chain was rewritten, or the home went on from an older copy of itself"
            return Finding("line_rewritten", str(folder), f"{told}; {what}")
        last = self._last_seq(promise.writer)
        if not last:
            return Finding("writer_missing", str(folder), f"{told}; none of its lines is here")
        if last < promise.seq:
            what = f"but only {last} are here: its end was cut off, or this is an older copy of the home"
            return Finding("end_missing", str(folder), f"{told}, {what}")
        what = "it is not here, though later ones are: its segment is missing or damaged"
        return Finding("line_missing", str(folder), f"{told}; {what}")

    def _last_seq(self, writer: str) -> int:
        return self._last_seqs.get(writer, 0)

    def _since_then(self, writer: str) -> Iterator[tuple[tuple[str, int], str]]:
        """Lines that were appended or merged after the pass: whoever vouches for them may just have done so."""
        position = self._positions.get(writer)
        since = {writer: position} if position is not None else None
        for chunk in scan_journal(self._home, since, writer=writer, skip_unreadable=True).chunks:
            for line in chunk.lines():
                yield from _key_and_hash(chunk.path, line)


def _stated(check: SegmentCheck, seqs: set[int]) -> Iterator[tuple[int, str]]:
    for _, _, line in fitting_lines(check):
        for (_, seq), digest in _key_and_hash(check.path, line):
            if seq in seqs:
                yield seq, digest


def _key_and_hash(path: Path, line: bytes) -> Iterator[tuple[tuple[str, int], str]]:
    """Writer, seq and hash of a line; nothing for one that is no event, which is told already."""
    digest = stated_hash(line)
    try:
        seq, _ = stamps(line)
    except ValueError:
        return
    if digest is not None:
        yield (path.parent.name, seq), digest.hex()
