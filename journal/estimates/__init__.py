"""What a call will take and cost, told before it is made: counting, calibration and the choice of a model.

Nothing here imports DuckDB or opens a network connection; what past calls taught is handed in.  Names are imported
when they are first used: nobody who asks for no estimate pays for one.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, without its import
if TYPE_CHECKING:
    from ._accuracy import Accuracy, Stated, accuracy, lately_off
    from ._batch import BatchEstimate, Part, Rate, estimate_batch
    from ._calibration import (
        InputEstimate,
        InputFit,
        InputHistory,
        InputPrior,
        ModelFit,
        Pair,
        Spread,
        estimate_input,
        fit_input,
        fit_model,
    )
    from ._output import OutputEstimate, OutputFit, OutputPrior, PastOutput, estimate_output, fit_output

__all__ = [
    "Accuracy",
    "BatchEstimate",
    "InputEstimate",
    "InputFit",
    "InputHistory",
    "InputPrior",
    "ModelFit",
    "OutputEstimate",
    "OutputFit",
    "OutputPrior",
    "Pair",
    "Part",
    "PastOutput",
    "Rate",
    "Spread",
    "Stated",
    "accuracy",
    "estimate_batch",
    "estimate_input",
    "estimate_output",
    "fit_input",
    "fit_model",
    "fit_output",
    "lately_off",
]

_MODULES: dict[str, tuple[str, ...]] = {
    "_accuracy": ("Accuracy", "Stated", "accuracy", "lately_off"),
    "_batch": ("BatchEstimate", "Part", "Rate", "estimate_batch"),
    "_calibration": (
        "InputEstimate",
        "InputFit",
        "InputHistory",
        "InputPrior",
        "ModelFit",
        "Pair",
        "Spread",
        "estimate_input",
        "fit_input",
        "fit_model",
    ),
    "_output": ("OutputEstimate", "OutputFit", "OutputPrior", "PastOutput", "estimate_output", "fit_output"),
}
_PLACES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    module = _PLACES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = found
    return found
