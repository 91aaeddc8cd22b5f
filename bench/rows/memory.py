"""The most memory that a rebuild has resident, at a million calls and at four."""

from __future__ import annotations

from collections.abc import Iterator

from bench._figures import Figure
from bench._processes import answer_of, part
from bench._workshop import LARGE, Workshop
from keledger.journal import Home

PEAK_MB_MAX = 450.0


def measure(workshop: Workshop) -> Iterator[Figure]:
    """The peak is the kernel's own, of a process that does nothing but rebuild."""
    calls = workshop.size.calls
    peak_mb = _peak_mb(workshop, workshop.home())
    yield Figure(
        "memory", f"rebuild of {calls:,} calls", peak_mb, "MB", "the kernel's count of a process", at_most=PEAK_MB_MAX
    )
    if not workshop.size.large:
        return
    large_mb = _peak_mb(workshop, workshop.large_home())
    yield Figure(
        "memory",
        f"rebuild of {LARGE * calls:,} calls",
        large_mb,
        "MB",
        "the kernel's count of a process",
        at_most=PEAK_MB_MAX,
    )
    yield Figure(
        "memory",
        f"{LARGE * calls:,} calls against {calls:,}",
        large_mb / peak_mb,
        "x",
        f"{peak_mb:.0f} MB",
        at_most=1.3,
        measured={"peak_mb": peak_mb, "large_peak_mb": large_mb},
    )


def _peak_mb(workshop: Workshop, home: Home) -> float:
    workshop.say("memory: a rebuild")
    peak_mb: float = answer_of(part("peak", *part("rebuild", home.path)), workshop.environment)["peak_mb"]
    workshop.is_built(home)
    return peak_mb
