"""Where a share of what will come lies: by rank among what came before, or in a log-normal distribution.

The rank ceil((n + 1) p) covers a share p of exchangeable calls however they are distributed, which no quantile of the
past itself does (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005; conformal prediction).
"""

from __future__ import annotations

import math

DEVIATIONS = {50: 0.0, 90: 1.281552, 95: 1.644854, 99: 2.326348}
"""Where these percents lie in a normal distribution, in standard deviations."""


def rank_of(percent: int, calls: int) -> int:
    """Which of *calls* values, the least being 1, covers *percent* of 100; more than *calls* where none does."""
    return -(-(calls + 1) * percent // 100)


def log_normal(median: float, sigma: float, percent: int) -> float:
    """What *percent* of 100 are at most, of a log-normal distribution; *sigma* is that of the natural logarithm."""
    return median * math.exp(sigma * DEVIATIONS[percent])
