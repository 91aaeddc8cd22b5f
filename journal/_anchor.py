"""Anchors: how far each writer had come, with the hashes, to be kept where whoever could rewrite the home cannot.

An anchor is a JSON object, or its *head*: one string that can be written down,
``keledger1:<digest>:<writer>.<seq>.<hash>,…:<check>``.  The digest is the first 128 bits of SHA-256 over
``<writer> <seq> <hash>`` LF of every line that is named, by writer; four digits of each hash tell which line it is
that does not fit; the check, four digits of SHA-256 over all before the last colon, tells a slip of the pen from
damage.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson

import keledger

from ._disk import Disk
from ._errors import HomeError, NotFound, UsageError
from ._home import WRITER_NAME, Home
from ._line import stamps
from ._opening import find_last
from ._plain_file import read_plain_file
from ._segment import read_end
from ._settled import settled, sync_named
from ._time import TIME_PATTERN, format_time, now_us

SCHEMA_VERSION = 1
HEAD_NAME = "keledger1"

DIGEST_DIGITS = 32
"""128 bits: nobody finds other lines with the same digest.  (For two histories made up beforehand: 2^64 attempts.)"""

_HASH_DIGITS = 4
_CHECK_DIGITS = 4
_FILE_BYTES_MAX = 16 * 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(TIME_PATTERN, re.ASCII)
_HEAD = re.compile(
    rf"({HEAD_NAME}:([0-9a-f]{{{DIGEST_DIGITS}}}):([0-9a-f.,]+)):([0-9a-f]{{{_CHECK_DIGITS}}})", re.ASCII
)
_HEAD_LINE = re.compile(rf"([0-9a-f]{{16}})\.([1-9][0-9]{{0,9}})\.([0-9a-f]{{{_HASH_DIGITS}}})", re.ASCII)
_HOW = "give the file or the head that keledger anchor made"


@dataclass(frozen=True, slots=True)
class AnchoredLine:
    """The last line of one writer when the anchor was taken; from a head, ``hash`` is how it begins."""

    writer: str
    seq: int
    hash: str
    segment: int | None = None
    offset_bytes: int | None = None
    """Where the line ends in its segment."""
    tick: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The line as an anchor's file names it."""
        return {
            "writer": self.writer,
            "segment": self.segment,
            "offset_bytes": self.offset_bytes,
            "seq": self.seq,
            "tick": self.tick,
            "hash": self.hash,
        }


@dataclass(frozen=True, slots=True)
class Anchor:
    """Lines that must never go missing or change again, by writer, and how the anchor is called in findings."""

    lines: tuple[AnchoredLine, ...]
    digest: str
    time: str | None = None
    program: str | None = None
    name: str = "the anchor"

    @property
    def head(self) -> str:
        """The anchor as one string."""
        named = ",".join(f"{line.writer}.{line.seq}.{line.hash[:_HASH_DIGITS]}" for line in self.lines)
        text = f"{HEAD_NAME}:{self.digest}:{named}"
        return f"{text}:{_check_of(text)}"

    def as_json(self) -> dict[str, Any]:
        """The anchor as its file has it.  It names neither home, user nor host."""
        return {
            "schema_version": SCHEMA_VERSION,
            "report": "anchor",
            "time": self.time,
            "program": self.program,
            "head": self.head,
            "positions": [line.as_json() for line in self.lines],
        }

    def fits(self, hashes: Mapping[tuple[str, int], str]) -> bool:
        """Whether the digest is that of these hashes, by writer and seq; lines that are missing are told elsewhere."""
        here = [(line.writer, line.seq, hashes.get((line.writer, line.seq), "")) for line in self.lines]
        return _digest_of(here) == self.digest

    @classmethod
    def read(cls, given: str) -> Self:
        """An anchor from its head, or from a file that holds either form.  Raises UsageError where it is none."""
        if given.strip().lower().startswith(HEAD_NAME.rstrip("1")) and ":" in given and not os.path.exists(given):
            return cls._of_head(given, f"the anchor {given.strip()[:18]}…")
        try:
            content = read_plain_file(Path(given))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no file can have this name"
            raise UsageError(f"anchor {given[:200]!r}: {reason}; {_HOW}") from None
        name = f"the anchor {given}"
        if len(content) > _FILE_BYTES_MAX:
            raise UsageError(f"{name} is too long to be one: {_HOW}")
        if content.lstrip().startswith(b"{"):
            return cls._of_json(content, name)
        return cls._of_head(content.decode("utf-8", "replace"), name)

    @classmethod
    def _of_head(cls, given: str, name: str) -> Self:
        found = _HEAD.fullmatch(given.strip().lower())
        if found is None:
            raise UsageError(f"{name} is not an anchor that this release can read: {_HOW}")
        text, digest, named, check = found.groups()
        if check != _check_of(text):
            raise UsageError(f"{name} is misspelled: its last {_CHECK_DIGITS} digits do not fit the others")
        parts = [_HEAD_LINE.fullmatch(part) for part in named.split(",")]
        lines = tuple(AnchoredLine(part[1], int(part[2]), part[3]) for part in parts if part is not None)
        if len(lines) != len(parts):
            raise UsageError(f"{name} is not an anchor that this release can read: {_HOW}")
        return cls(lines, digest, name=name)

    @classmethod
    def _of_json(cls, content: bytes, name: str) -> Self:
        try:
            given = orjson.loads(content)
            if (given["schema_version"], given["report"]) != (SCHEMA_VERSION, "anchor"):
                raise ValueError
            lines = tuple(map(_line_of, given["positions"]))
            time, program = given["time"], given["program"]
            if not (lines and isinstance(program, str) and isinstance(time, str) and _TIME.fullmatch(time)):
                raise ValueError
            head = given["head"]
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{name} is not an anchor that this release can read: {_HOW}") from None
        anchor = cls(lines, _digest_of((line.writer, line.seq, line.hash) for line in lines), time, program, name)
        if head != anchor.head:
            raise UsageError(f"{name} contradicts itself, its head is not that of its positions: {_HOW}")
        return anchor


def anchor(home: Home, *, disk: Disk | None = None) -> Anchor:
    """Take an anchor: the last synced line of every writer, under the lock.

    Only the ends are read; whether all below them is whole is for ``verify``.  Raises NotFound where there is no
    event, HomeError where the home cannot be read or its lock is not to be had.
    """
    if not home.check():
        raise NotFound(f"there is no keledger home at {home.path}: there is nothing to anchor")
    disk = disk or Disk()
    try:
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(FileNotFoundError):
                stack.enter_context(settled(home, disk))
            lines = [line for writer in home.writers() if (line := _last_line(home, disk, writer)) is not None]
    except TimeoutError as error:
        message = f"{error.strerror}; nothing was anchored; find it with fuser or lsof, or try again"
        raise HomeError(message) from error
    except OSError as error:
        message = f"cannot read {error.filename or home.journal}: {error.strerror}; nothing was anchored"
        raise HomeError(message) from error
    if not lines:
        raise NotFound(f"the journal at {home.path} holds no events yet: there is nothing to anchor")
    digest = _digest_of((line.writer, line.seq, line.hash) for line in lines)
    return Anchor(tuple(lines), digest, format_time(now_us()), f"keledger {keledger.__version__}")


def _last_line(home: Home, disk: Disk, writer: str) -> AnchoredLine | None:
    """A writer's last line, synced: who wrote it may have died before its sync.  Called under the lock."""
    paths = home.segments(writer)
    if not paths:
        return None
    path, end = paths[-1], read_end(paths[-1])
    if end is not None:
        try:
            seq, tick = stamps(end.line)
        except ValueError:
            raise HomeError(f"the last line of {path} is no event: run keledger verify") from None
        length, digest = end.size_bytes, end.hash
    else:
        last = find_last(home, writer)
        if last is None:
            return None
        path = path.with_name(last.file)
        seq, tick, length, digest = last.seq, last.tick, last.length_bytes, last.hash
    sync_named(home, disk, path)
    for named in (path, path.parent, home.journal):
        disk.sync_name(named)
    return AnchoredLine(writer, seq, digest.hex(), int(path.stem), length, tick)


def _line_of(position: Mapping[str, Any]) -> AnchoredLine:
    """One position of an anchor's file.  Raises ValueError, KeyError or TypeError where it is none."""
    line = AnchoredLine(
        position["writer"],
        position["seq"],
        position["hash"],
        position["segment"],
        position["offset_bytes"],
        position["tick"],
    )
    numbers = (line.seq, line.segment, line.offset_bytes, line.tick)
    if not all(type(number) is int and number > 0 for number in numbers):
        raise ValueError
    if not WRITER_NAME.fullmatch(line.writer) or not _SHA256.fullmatch(line.hash):
        raise ValueError
    return line


def _digest_of(lines: Sequence[tuple[str, int, str]] | Iterator[tuple[str, int, str]]) -> str:
    text = "".join(f"{writer} {seq} {digest}\n" for writer, seq, digest in lines)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:DIGEST_DIGITS]


def _check_of(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:_CHECK_DIGITS]
