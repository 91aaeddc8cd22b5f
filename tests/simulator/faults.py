"""What goes wrong, and how often: drawn anew for each world, so that each has weather of its own."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from random import Random

_ERRORS: dict[str, tuple[int, ...]] = {
    "open": (errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EIO, errno.ENOSPC, errno.EDQUOT),
    "write": (errno.EIO, errno.ENOSPC, errno.EDQUOT),
    "fdatasync": (errno.EIO, errno.ENOSPC, errno.EDQUOT),
    "fsync": (errno.EIO, errno.ENOSPC),
    "mkdir": (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EDQUOT),
    "link": (errno.EIO, errno.ENOSPC, errno.EPERM),
    "replace": (errno.EIO, errno.ENOSPC, errno.EACCES),
    "unlink": (errno.EIO, errno.EACCES),
    "chmod": (errno.EIO, errno.EPERM),
    "fstat": (errno.EIO,),
    "pread": (errno.EIO,),
    "flock": (errno.EIO, errno.ENOLCK),
    "unlock": (errno.EIO,),
    "close": (errno.EIO,),
}
"""The errors that each call may fail with, out of those that its manual page names.  access(2) is not among them: the
kernel answers it from memory, and its caller could not tell an error from an absence."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that happens at a system call."""

    kind: str
    """``errno``, ``short`` (a write takes less), ``kill``, ``power``, or ``pause``: others run first."""
    code: int = 0

    def __str__(self) -> str:
        return errno.errorcode[self.code] if self.code else self.kind


class Faults:
    """Draws faults for system calls; nothing goes wrong while it is *calm*."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._weights = {
            "errno": chance.choice([0, 1, 3]),
            "short": chance.choice([0, 1]),
            "kill": chance.choice([0, 1, 2]),
            "power": chance.choice([0, 1, 2]),
            "pause": chance.choice([0, 2, 6]),
        }
        self._usual_rate = chance.choice([0.0, 0.01, 0.03, 0.1]) if any(self._weights.values()) else 0.0
        self.calm = False

    @property
    def rate(self) -> float:
        """The share of system calls at which something happens."""
        return 0.0 if self.calm else self._usual_rate

    def draw(self, call: str) -> Fault | None:
        """What happens at this call; None where what was drawn cannot happen to it."""
        kind = self._chance.choices(list(self._weights), list(self._weights.values()))[0]
        if kind == "errno":
            codes = _ERRORS.get(call)
            return Fault(kind, self._chance.choice(codes)) if codes else None
        if kind == "short" and call != "write":
            return None
        return Fault(kind)
