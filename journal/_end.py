"""The end of the newest segment: where it lies, and how whole lines are written and synced behind it."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

from . import _limits as limits
from ._disk import Disk
from ._errors import HomeError
from ._line import stamps
from ._opening import Last


class WriteFailed(Exception):
    """A write or sync failed; ``whole_lines`` tells whether a whole line may stand in the file."""

    def __init__(self, reason: str, error: OSError, whole_lines: bool) -> None:
        super().__init__(reason)
        self.reason, self.error, self.whole_lines = reason, error, whole_lines
        self.lock_given_back = False
        """Whether a sync failed that went on without the lock: the segment is left already."""


class Tail:
    """The end of the newest segment, as of the last look under the lock."""

    __slots__ = (
        "_disk",
        "descriptor",
        "end",
        "hash",
        "holds_events",
        "is_settled",
        "next_path",
        "number",
        "path",
        "seq",
        "tick",
    )

    def __init__(
        self, disk: Disk, descriptor: int, path: Path, end: int, line_hash: bytes, seq: int = 0, tick: int = 0
    ) -> None:
        self._disk = disk
        self.descriptor, self.path, self.end = descriptor, path, end
        self.hash, self.seq, self.tick = line_hash, seq, tick
        self.holds_events = False
        """Whether anything follows the segment's first line: one that has nothing else is never left for being full."""
        self.is_settled = True
        """Whether all up to here is known synced: not where the last line is another process's, which may be dead."""
        self.number = int(path.stem)
        self.next_path = str(path.with_name(f"{self.number + 1:08d}.jsonl"))

    def take(self, line: bytes) -> None:
        """Go on from the last line of the segment."""
        try:
            self.seq, self.tick = stamps(line)
        except ValueError:
            raise HomeError(f"the last line of {self.path} is no event: run keledger verify") from None
        self.holds_events, self.is_settled = True, False

    def last(self) -> Last:
        """The last line, for a segment that continues it."""
        return Last(self.path.name, self.end, self.seq, self.tick, self.hash)

    def write(self, data: bytes) -> None:
        """Write whole lines behind the end; whoever calls moves the end.  Raises WriteFailed."""
        try:
            written = self._disk.write(self.descriptor, data)
        except OSError as error:
            raise WriteFailed("write_failed", error, self._whole_line_after()) from error
        if written != len(data):
            short = OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes were taken (no space left)")
            raise WriteFailed("write_failed", short, b"\n" in data[:written])

    def begin_sync(self, length_bytes: int) -> None:
        """Let the disk begin with what was written behind the end, of this length; :meth:`sync` is to follow."""
        with contextlib.suppress(OSError):  # if it matters, the sync will tell
            self._disk.begin_sync(self.descriptor, self.end, length_bytes)

    def sync(self) -> None:
        """Bring all that was written to stable storage.  Raises WriteFailed; it is not to be called again, then."""
        try:
            self._disk.sync(self.descriptor)
        except OSError as error:
            raise WriteFailed("sync_failed", error, True) from error

    def share(self) -> bool:
        """Share the segment's flock until :meth:`unshare`, or the descriptor is closed; False where that fails."""
        try:
            self._disk.share(self.descriptor)
        except OSError:
            return False
        return True

    def unshare(self) -> None:
        """End what :meth:`share` began.  Raises OSError."""
        self._disk.unlock(self.descriptor)

    def _whole_line_after(self) -> bool:
        """Whether a failed write left a whole line behind the last synced one; in doubt, yes."""
        try:
            left = self._disk.read_at(self.descriptor, self.end, limits.LINE_BYTES_MAX)
        except OSError:
            return True
        return b"\n" in left
