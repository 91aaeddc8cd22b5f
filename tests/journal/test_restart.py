"""What holds a position after a restart of the machine: an unbroken chain of hashes below it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from keledger.journal import Home, Position, boot_id, chain_leads_to, scan_journal
from keledger.journal._line import TAIL_BYTES
from keledger.journal._writer import Appender

from .support import note
from .tampering import chained, hash_of, lines_of

SEGMENTS = 4


@pytest.fixture
def segments(home: Home) -> list[Path]:
    """Segments of one writer, each but the last with a torn tail that the next one seals off."""
    for number in range(1, SEGMENTS + 1):
        appender = Appender(home)
        appender.append([note("x" * 300), note("y" * 300)])
        appender.close()
        (writer,) = home.writers()
        if number < SEGMENTS:
            with open(home.segments(writer)[-1], "ab") as file:
                file.write(b'{"torn')
    return home.segments(writer)


def position(home: Home) -> tuple[str, Position]:
    ((writer, found),) = scan_journal(home).positions.items()
    return writer, found


def lose_a_sector(path: Path) -> None:
    """What a power cut does to a line in the middle that was never synced: its end stays, and states its hash."""
    at = len(lines_of(path)[0]) + 200
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(bytes(100))


def lose_the_end(path: Path) -> None:
    os.truncate(path, len(b"".join(lines_of(path)[:2])))


def go_another_way(path: Path) -> None:
    """Every line fits, and the last is another one of the same length."""
    lines = lines_of(path)
    lines[2] = chained(hash_of(lines[1]), lines[2][:-TAIL_BYTES].replace(b"yyy", b"zzz"))
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize("first_segment", range(1, SEGMENTS + 1))
def test_an_untouched_journal_holds(home: Home, segments: list[Path], first_segment: int) -> None:
    writer, found = position(home)
    assert found.segment == len(segments) == SEGMENTS
    assert chain_leads_to(home, writer, found, first_segment)


def test_what_stands_behind_the_position_does_not_matter(home: Home, segments: list[Path]) -> None:
    writer, found = position(home)
    with open(segments[-1], "ab") as file:
        file.write(b"garbage\n" * 3)
    assert chain_leads_to(home, writer, found, 1)


@pytest.mark.parametrize("harm", [lose_a_sector, lose_the_end, go_another_way, Path.unlink])
@pytest.mark.parametrize("number", range(1, SEGMENTS + 1))
def test_what_was_lost_is_noticed_from_its_segment_on(
    home: Home, segments: list[Path], number: int, harm: Callable[[Path], object]
) -> None:
    writer, found = position(home)
    harm(segments[number - 1])
    held = [chain_leads_to(home, writer, found, first) for first in range(1, SEGMENTS + 1)]
    assert held == [first > number for first in range(1, SEGMENTS + 1)]


def test_a_chain_of_other_lines_does_not_lead_there(home: Home, segments: list[Path]) -> None:
    """Every line of it fits the one above, and the last hash is another."""
    writer, found = position(home)
    other = Position(found.segment, found.offset_bytes, found.seq, found.tick, "0" * 64, found.lines)
    assert not chain_leads_to(home, writer, other, 1)


def test_the_system_tells_which_start_this_is() -> None:
    assert boot_id() == boot_id()
    if Path("/proc/sys/kernel/random/boot_id").exists():
        assert len(boot_id()) == 36
