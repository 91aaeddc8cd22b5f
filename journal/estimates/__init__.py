"""What a call will take and cost, told before it is made: counting, calibration and the choice of a model.

Nothing here imports DuckDB or opens a network connection; what past calls taught is handed in.  Names are imported
when they are first used: nobody who asks for no estimate pays for one.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, without its import

__all__: list[str] = []

_MODULES: dict[str, tuple[str, ...]] = {}
_PLACES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    module = _PLACES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = found
    return found
