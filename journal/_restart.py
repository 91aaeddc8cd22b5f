"""What a restart of the machine takes with it: lines that were read and had never been synced.

A reader sees what stands in the page cache.  An appender that is killed between its write and its sync leaves whole
lines there, which a power cut may take in any part: sectors from their middle, while their end stays.  So a position
that was taken before a restart holds only where every line below it, as far as it was read since the restart before,
is held to its hash again.
"""

from __future__ import annotations

from ._home import Home
from ._reader import Position, read_bounds
from ._segment import scan_segment


def chain_leads_to(home: Home, writer: str, position: Position, first_segment: int) -> bool:
    """Whether one unbroken chain of hashes leads from the beginning of a segment to *position*.

    Then every line in between is the one that stood there when the position was taken.  Raises OSError.
    """
    paths = {int(path.stem): path for path in home.segments(writer)}
    heads, seals = read_bounds({number: path for number, path in paths.items() if number >= first_segment})
    seals[position.segment] = position.offset_bytes
    previous: bytes | None = None
    for number in range(first_segment, position.segment + 1):
        if seals.get(number) == 0:
            continue  # it was never an event's place, whether it is there or not
        head = heads.get(number)
        if head is None or previous not in (None, head.prev_hash):
            return False
        scan = scan_segment(paths[number], head.prev_hash, length=seals.get(number))
        if scan.findings or scan.torn_at is not None:
            return False
        previous = scan.last_hash
    return previous is not None and previous.hex() == position.hash
