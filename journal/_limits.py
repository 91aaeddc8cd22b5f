"""Every limit of the journal in one place, each with its reason.

The limits of the line format outlive a release: they are part of ``docs/format.md``.
"""

from __future__ import annotations

LINE_BYTES_MAX = 256 * 1024
"""A line, its line feed included.  A reader can hold any line in memory, and a write of this size is seldom torn."""

SEGMENT_BYTES_MAX = 64 * 1024 * 1024
"""Where a segment rotates: small enough to check in a tenth of a second, large enough that a year is few files."""

SEGMENT_NUMBER_MAX = 99_999_999
"""Eight digits in a segment's file name."""

TICK_MAX = 2**31 - 1
"""``seq`` and ``tick`` stay below 2^31, so that any language and any column type holds them."""

MERGED_TICK_MAX = 2**30
"""A merge refuses a writer whose tick is above this: one bad folder must not use up everybody's ticks."""

INTEGER_MAX = 2**53 - 1
"""JSON numbers are exact up to here in every language."""

ADJUSTED_USD_MAX = 10**12
"""An adjustment, and all of an invoice: far above any bill, and a thousand of them are below what a sum can be."""

ATTRIBUTE_BYTES_MAX = 256
"""Names, ids and attributes, in UTF-8."""

TAGS_MAX = 32
"""Tags of one call."""

CALL_KEYS_MAX = 8
"""Keys under which one call may be known elsewhere."""

RAW_STRING_CHARACTERS_MAX = 128
"""Strings longer than this are dropped from ``usage_raw``: they are text, and text is not journaled."""

RAW_USAGE_BYTES_MAX = 16 * 1024
"""A larger ``usage_raw`` is replaced by its size and SHA-256."""

REASON_BYTES_MAX = 4096
"""The reason of an administrative event."""

AHEAD_US_MAX = 24 * 3600 * 1_000_000
"""A call from further ahead than this is refused where it is recorded or imported; live calls keep it, marked."""

LOCK_ASKED_TIMES = 50
"""How often the lock is asked for before it is waited for asleep: some 0.2 ms.  With eight appenders that gives 1.2
times the events of one, where 0 gives 0.9; with 100, the slowest wait longer and no more is done."""

BEGUN_BYTES_MAX = 4096
"""Up to how much the disk is told to begin with before a sync: telling it of whole pages would also drop them."""

SYNC_WAIT_S = 0.5
"""How long whoever opens a segment waits for syncs of it that go on without the lock, before beginning the next one:
longer than nearly any sync, so that only a process that was stopped in one costs a segment."""

LOOKED_US_MAX = 1_000_000
"""How long an appender goes on without looking at names in the journal that only another hand than keledger's can have
put there: shorter than anybody takes to play back a copy and go on."""

LOCK_WAIT_S = 5.0
"""How long an appender waits for the lock before it gives up: far longer than any append, short enough for a person."""

BATCH_BYTES_MAX = 4 * 1024 * 1024
"""Lines appended under one lock and sync.  Others wait for at most some ten milliseconds."""

READ_BYTES = 256 * 1024
"""Buffer of a pass over a segment (measured: larger ones are not faster)."""

RECORD_LINE_BYTES_MAX = 1024 * 1024
"""One line of ``keledger record``: larger input is surely not one call."""
