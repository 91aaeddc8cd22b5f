"""Capture: journal the model calls of programs that know nothing of keledger.

:func:`launch` runs a command whose calls are journaled.  :func:`enable` has a KePrompt watched whenever it runs,
with :func:`serve_client` as the helper beside it; :func:`disable` ends that.  What runs inside KePrompt is
``client.py``, which is loaded by its path.  Names are imported when they are first used: a launcher must not load
what it does not need.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._enable import Installation as Installation
    from ._enable import KePromptUnusable as KePromptUnusable
    from ._enable import disable as disable
    from ._enable import enable as enable
    from ._enable import find as find
    from ._enable import find_all as find_all
    from ._foresight import Estimating as Estimating
    from ._foresight import sentences as sentences
    from ._helper import serve_client as serve_client
    from ._launcher import CommandNotStarted as CommandNotStarted
    from ._launcher import Outcome as Outcome
    from ._launcher import launch as launch

_MODULES = {
    "_enable": ("Installation", "KePromptUnusable", "disable", "enable", "find", "find_all"),
    "_foresight": ("Estimating", "sentences"),
    "_helper": ("serve_client",),
    "_launcher": ("CommandNotStarted", "Outcome", "launch"),
}

__all__ = [
    "CommandNotStarted",
    "Estimating",
    "Installation",
    "KePromptUnusable",
    "Outcome",
    "disable",
    "enable",
    "find",
    "find_all",
    "launch",
    "sentences",
    "serve_client",
]


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
