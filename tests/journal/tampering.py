"""Changing a journal as a fault or an attacker would."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from keledger.journal import Home
from keledger.journal import _limits as limits
from keledger.journal._identity import new_id
from keledger.journal._line import TAIL_BYTES, ZERO_HASH
from keledger.journal._writer import Appender

from .support import note


def copy_of(home: Home, folder: Path) -> Home:
    """A copy of a home that goes on with the same writer, as a machine's backup does that is put back."""
    copied = Home.at(shutil.copytree(home.path, folder))
    path = copied.path / "writer.json"
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), "home": os.path.realpath(folder)}))
    return copied


def chained(previous: bytes, body: bytes) -> bytes:
    """The line that a body makes behind the hash *previous*."""
    return body + b',"hash":"%b"}\n' % hashlib.sha256(previous + body).hexdigest().encode()


def hash_of(line: bytes) -> bytes:
    """The hash that a line states."""
    return bytes.fromhex(line[-67:-3].decode())


def lines_of(path: Path) -> list[bytes]:
    """The lines of a segment."""
    return path.read_bytes().splitlines(keepends=True)


def append_body(path: Path, body: bytes) -> bytes:
    """Append a line that fits its chain, whatever its body is; returns it."""
    line = chained(hash_of(lines_of(path)[-1]), body)
    with open(path, "ab") as file:
        file.write(line)
    return line


def next_body(path: Path, **changed: object) -> bytes:
    """The body of a call like the last of a segment, as the next line of it, but for what is *changed*."""
    last = orjson.loads(lines_of(path)[-1])
    model = next(orjson.loads(line) for line in reversed(lines_of(path)) if b'"type":"call.completed"' in line)
    event = {**model, "id": new_id(), "seq": last["seq"] + 1, "tick": last["tick"] + 1, **changed}
    return orjson.dumps({key: value for key, value in event.items() if key != "hash"}).removesuffix(b"}")


def seal_off(path: Path, length_bytes: int) -> None:
    """Let the next segment seal a newest one at *length_bytes*, where a line ends; what stands behind is residue."""
    whole = path.read_bytes()
    path.write_bytes(whole[:length_bytes])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "SEGMENT_BYTES_MAX", 1)
        Appender(Home.at(path.parents[2])).append([note("in the next segment")])
    path.write_bytes(whole)


def edit_line(path: Path, number: int, edit: Callable[[bytes], bytes]) -> None:
    """Change one line of a segment, by its index."""
    lines = lines_of(path)
    assert edit(lines[number]) != lines[number]
    lines[number] = edit(lines[number])
    path.write_bytes(b"".join(lines))


def recompute(home: Home, writer: str, from_seq: int, edit: Callable[[bytes], bytes]) -> None:
    """Change the body of one line without changing its length, and recompute every hash behind it."""
    previous, renamed = ZERO_HASH, (b"", b"")
    for path in home.segments(writer):
        lines = []
        for line in lines_of(path):
            body = line[:-TAIL_BYTES]
            if b'"type":"segment.opened"' in body and renamed[0]:
                body = body.replace(*renamed)
            if orjson.loads(line)["seq"] == from_seq:
                assert edit(body) != body
                assert len(edit(body)) == len(body)
                body = edit(body)
            lines.append(chained(previous, body))
            previous = hash_of(lines[-1])
            renamed = (hash_of(line).hex().encode(), previous.hex().encode())
        path.write_bytes(b"".join(lines))


def cut_lines(home: Home, writer: str, count: int) -> None:
    """Cut whole lines off a writer's end; a segment that is left empty goes, too."""
    for path in reversed(home.segments(writer)):
        lines = lines_of(path)
        kept = lines[: max(0, len(lines) - count)]
        count -= len(lines) - len(kept)
        path.write_bytes(b"".join(kept)) if kept else path.unlink()
        if not count:
            return
