"""Under ``keledger run --estimate``: KePrompt gets as far as its first call, whichever keys it lacks.

Loaded by path beside ``client.py``, by its rules, and only where no call is to be made.
"""

from __future__ import annotations

import functools
from typing import Any

STAND_IN = "none"
"""What KePrompt is given for a key that it lacks; it goes nowhere."""


def lack_no_key(module: Any) -> None:
    """Have KePrompt find a key for every provider.  *module* is that of its machine."""
    config = type(module.get_config())
    original = config.get_api_key

    @functools.wraps(original)
    def get_api_key(self: Any, provider: Any) -> Any:
        return original(self, provider) or STAND_IN

    config.get_api_key = get_api_key
